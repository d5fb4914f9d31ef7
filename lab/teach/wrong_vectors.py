"""Common wrong answers to the exercises on inputs and vectors, of notebooks 05, 09 and 10."""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from lab.teach.exercises import cosine_features, cross_input, last_pool, mean_pool
from lab.teach.mistakes import mistakes

# ---- 05: sentence vectors --------------------------------------------------------------------------------------------


def _of_real(some: slice) -> Callable:
    """The mean over some of each sentence's real tokens."""
    return lambda hidden, mask: torch.stack([of[real.bool()][some].mean(0)
                                             for of, real in zip(hidden, mask, strict=True)])


MEAN_POOL = mistakes(mean_pool, {
    "the mean includes padding: the vector of a sentence then depends on the longest sentence in its batch":
        lambda hidden, mask: hidden.mean(1),
    "the sum is right, but it is divided by L; divide by the number of real tokens of each sentence":
        (".sum(1) / mask.sum(1)", ".mean(1)"),
    "padding is in the sum, though not in the count: multiply hidden by the mask first": ("(hidden * mask)", "hidden"),
    "the count is of the numbers in all real tokens, too large by a factor of H: count the tokens, mask.sum(1)":
        ("mask.sum(1)", "mask.sum(1) / hidden.shape[-1]"),
    "this is the sum: divide by the number of real tokens": (" / mask.sum(1)", ""),
    "[CLS] is missing; in the lab the mean is over all real tokens, including [CLS] and [SEP]":
        lambda hidden, mask: mean_pool(hidden[:, 1:], mask[:, 1:]),
    "this is only the hidden state of [CLS]": lambda hidden, mask: hidden[:, 0],
    "the vectors are divided by the length of the longest sentence; divide by that of each sentence":
        ("mask.sum(1)", "mask.sum(1).max()"),
    "this is one mean over the whole batch; take a mean for each sentence, over its tokens, dim=1":
        lambda hidden, mask: hidden[mask.bool()].mean(0).expand(len(hidden), -1),
    "this is the maximum, with 0 in place of padding, not the mean": (".sum(1) / mask.sum(1)", ".amax(1)"),
    "a sum with -inf or NaN is not finite: let padding be 0 in the sum, and divide it by the number of real tokens":
        lambda hidden, mask: hidden.masked_fill(~mask.bool().unsqueeze(-1), -torch.inf).mean(1),
    "the vectors are divided by their lengths, which is not asked for: return the mean itself":
        lambda hidden, mask: F.normalize(mean_pool(hidden, mask), dim=-1),
    "this is the maximum, not the mean":
        lambda hidden, mask: hidden.masked_fill(~mask.bool().unsqueeze(-1), -torch.inf).amax(1),
    "the sum is divided by the number of tokens in the whole batch; divide by that of each sentence":
        ("mask.sum(1)", "mask.sum()"),
    "keepdim is missing: the counts must be (B, 1) to divide each sentence's row, mask.sum(1, keepdim=True)":
        ("mask.sum(1)", "mask.squeeze(-1).sum(1)"),
    "the mask is inverted: it is 1 at the real tokens": lambda hidden, mask: mean_pool(hidden, 1 - mask),
    "the sum runs over the sentences of the batch; it must run over the tokens, dim=1": ("sum(1)", "sum(0)"),
    "the sum runs over the numbers in a vector; it must run over the tokens, dim=1": (".sum(1) /", ".sum(-1) /"),
    "the mask lacks its last dimension: (B, L, H) needs (B, L, 1), mask.unsqueeze(-1)":
        ("mask.unsqueeze(-1)", "mask", "mask.sum(1)", "mask.sum(1, keepdim=True)"),
    "[SEP] is missing; in the lab the mean is over all real tokens, including [CLS] and [SEP]":
        lambda hidden, mask: mean_pool(hidden[:, :-1], mask[:, 1:]),
    "padding counts as vectors of 0 in a mean over the whole batch; take a mean for each sentence":
        lambda hidden, mask: (hidden * mask.unsqueeze(-1)).mean((0, 1)).expand(len(hidden), -1),
    "this is the hidden state of the last real token":
        lambda hidden, mask: hidden[torch.arange(len(hidden)), mask.sum(1) - 1],
    "the tokens of all sentences are mixed; take a mean for each sentence":
        lambda hidden, mask: hidden[mask.bool()].mean(0),
    "this is the last position, which may be padding; take the mean over the real tokens":
        lambda hidden, mask: hidden[:, -1],
    "it is divided twice, by L and by the number of real tokens: take the sum, and divide it once":
        (".sum(1) /", ".mean(1) /"),
    "[CLS] and [SEP] are missing; in the lab the mean is over all real tokens, with both": _of_real(slice(1, -1)),
    "the first real token, [CLS], is missing; in the lab the mean is over all of them": _of_real(slice(1, None)),
    "the last real token, [SEP], is missing; in the lab the mean is over all of them": _of_real(slice(-1)),
    **{f"the number of tokens is {off}; in the lab [CLS] and [SEP] count": ("mask.sum(1)", f"(mask.sum(1) + {more})")
       for more, off in ((1, "one too large"), (-1, "one too small"), (-2, "two too small"))},
})

_COSINE, _PARTS = "F.cosine_similarity(u, v, dim=-1)", "[u, v, cosine]"
_DOT, _U, _V = "(u * v).sum(-1)", "u.norm(dim=-1)", "v.norm(dim=-1)"
COSINE_FEATURES = mistakes(cosine_features, {
    "this is the dot product, which grows with the lengths of the vectors: divide it by both lengths": (_COSINE, _DOT),
    "the dot product is divided by only one length: divide by |u| |v|": (_COSINE, f"({_DOT} / {_U})"),
    "the dot product is divided by only one length, |v|: divide by |u| |v|": (_COSINE, f"({_DOT} / {_V})"),
    "this is five times the cosine; the feature is the cosine itself": ("= F.", "= 5 * F."),
    "the last feature is one number, the cosine; this is |u - v|, H numbers": (_PARTS, "[u, v, (u - v).abs()]"),
    "the last feature is one number, the cosine; this is u * v, H numbers": (_PARTS, "[u, v, u * v]"),
    "the cosines are (1, B), and cat needs (B, 1): unsqueeze(-1)": ("unsqueeze(-1)", "unsqueeze(0)"),
    "u . v / |u| * |v| multiplies by |v|: put the product of the lengths into parentheses":
        (_COSINE, f"({_DOT} / {_U} * {_V})"),
    "this is 5 sigmoid(20 cos), as in the head cosine_d; here the cosine itself is a feature":
        (_COSINE, f"(5 * torch.sigmoid(20 * {_COSINE}))"),
    "the cosine is the first feature; the order is [u; v; cos]": (_PARTS, "[cosine, u, v]"),
    "this is one cosine for the whole batch; compute one per row, with dim=-1":
        (_COSINE, "F.cosine_similarity(u.flatten(), v.flatten(), dim=0).expand(len(u))"),
    "a dimension is missing: the cosine has shape (B,), and cat needs (B, 1): unsqueeze(-1)": (".unsqueeze(-1)", ""),
    "the cosine runs over the batch; it must run over the numbers in a vector, dim=-1": ("v, dim=-1", "v, dim=0"),
    "a cosine has a sign: do not take its absolute value": (_COSINE, f"{_COSINE}.abs()"),
    "this is the cosine distance, 1 - cos; the feature is the cosine itself": ("= F.", "= 1 - F."),
    "the cosine is missing: it is the last feature": (_PARTS, "[u, v]"),
    "this is only the cosine: u and v are features too": (_PARTS, "[cosine]"),
    "u and v are swapped; the order is [u; v; cos]": (_PARTS, "[v, u, cosine]"),
    "u and v are divided by their lengths; only the cosine is, and the features u and v stay as they are":
        lambda u, v: cosine_features(F.normalize(u, dim=-1), F.normalize(v, dim=-1)),
    "the dot product is divided by the squared lengths: divide by |u| |v|": (_COSINE, f"({_DOT} / ({_U} * {_V}) ** 2)"),
    "this is the distance between u and v; the feature is their cosine": (_COSINE, "(u - v).norm(dim=-1)"),
    "the vectors are stacked as rows; join them along the last dimension, cat(..., dim=-1)":
        ("cosine], dim=-1", "cosine], dim=0"),
    "u @ v.T holds the product of every row with every other, (B, B); take (u * v).sum(-1), one for each row":
        (_PARTS, f"[u, v, u @ v.T / {_U} / {_V}]"),
    "the order is [u; v; cos]; here the cosine stands between u and v": (_PARTS, "[u, cosine, v]"),
    "(cos + 1) / 2 maps the cosine to 0 to 1; the feature is the cosine itself": (_COSINE, f"(({_COSINE} + 1) / 2)"),
    "a cosine has a sign: do not cut it off at 0": (_COSINE, f"{_COSINE}.clamp_min(0)"),
    "the means are subtracted first, which makes it Pearson's r; a cosine takes u and v as they are":
        ("(u, v, ", "(u - u.mean(-1, keepdim=True), v - v.mean(-1, keepdim=True), "),
    "the lengths run over the batch; normalize each row, with dim=-1":
        (_COSINE, "(F.normalize(u, dim=0) * F.normalize(v, dim=0)).sum(-1)"),
    "the dot product is divided by |u|^2: divide by |u| |v|": (_COSINE, f"({_DOT} / {_U} ** 2)"),
    "the dot product is divided by |v|^2: divide by |u| |v|": (_COSINE, f"({_DOT} / {_V} ** 2)"),
    "the dot product is divided by the mean of the squared lengths: divide by |u| |v|":
        (_COSINE, f"(2 * {_DOT} / ({_U} ** 2 + {_V} ** 2))"),
    "these are the three parts: join them with torch.cat(..., dim=-1)":
        ("torch.cat([u, v, cosine], dim=-1)", "u, v, cosine"),
    "norm() without dim is the length of the whole batch: use norm(dim=-1), one for each row":
        (_COSINE, f"({_DOT} / (u.norm() * v.norm()))"),
})

# ---- 09: a cross-encoder's input -------------------------------------------------------------------------------------

_A, _B, _SEGMENTS = "[i for i in a if i]", "[i for i in b if i]", "[0] * len(a) + [1] * len(b)"
CROSS_INPUT = mistakes(cross_input, {
    "there is a second [CLS] in the middle: remove the [CLS] of b": ("[1:]", ""),
    "[PAD] is not removed: in the middle it gets attention like a word": (" if i", ""),
    "neither [PAD] nor the second [CLS] is removed: the two inputs are only concatenated": (" if i", "", "[1:]", ""),
    "all segments are 0: the second sentence and its [SEP] must have segment 1": ("[1] *", "[0] *"),
    "segment 1 begins at the [SEP] in the middle, but that belongs to the first sentence":
        (_SEGMENTS, "[0] * (len(a) - 1) + [1] * (len(b) + 1)"),
    "the [SEP] between the sentences is missing": (_A, f"{_A[:-1]} and i != 102]"),
    "the [CLS] at the start is missing: remove only that of b": (_A, f"{_A}[1:]"),
    "the [SEP] at the end is missing": ("[1:]", "[1:-1]"),
    "segment 1 begins one token too late: the first token of b belongs to it":
        (_SEGMENTS, "[0] * (len(a) + 1) + [1] * (len(b) - 1)"),
    "the segments are inverted: the first sentence has 0, the second 1": (_SEGMENTS, "[1] * len(a) + [0] * len(b)"),
    "all segments are 1: the first sentence and its [SEP] have segment 0": ("[0] *", "[1] *"),
    "the two sentences are swapped: a comes first": lambda a, b: cross_input(b, a),
    "the segments are those of the sentences with padding and both [CLS]: count after removing them":
        lambda a, b: (cross_input(a, b)[0], [0] * len(a) + [1] * len(b)),
    "the segments are missing: return (ids, segments)": (f", {_SEGMENTS}", ""),
    "[PAD] is moved to the end; the result has none":
        lambda a, b: tuple(of + [0] * (a.count(0) + b.count(0)) for of in cross_input(a, b)),
    "one [PAD] is removed, as by remove(0), but there may be more":
        (_A, "[i for k, i in enumerate(a) if i or 0 in a[:k]]", _B, "[i for k, i in enumerate(b) if i or 0 in b[:k]]"),
    "[PAD] is removed from the first sentence only": (_B, "b"),
    "[PAD] is removed from the second sentence only": (_A, "a"),
    "there are two [SEP] in the middle": (_A, f"{_A} + [102]"),
    "the segments count the [CLS] of b, which is removed": (_SEGMENTS, f"{_SEGMENTS} + [1]"),
    "the segments count [PAD] too: count after removing it":
        lambda a, b: (cross_input(a, b)[0], [0] * len(a) + [1] * (len(b) - 1)),
})

# ---- 10: a pooling ---------------------------------------------------------------------------------------------------

_END = "lengths.cumsum(0) - 1"
LAST_POOL = mistakes(last_pool, {
    "lengths - 1 counts from the start of the batch; the sentences are concatenated, so add the lengths before each":
        (_END, "lengths - 1"),
    "this is the first token of each sentence, [CLS]": (_END, "lengths.cumsum(0) - lengths"),
    "hidden[-1] is the last token of the whole batch, the same for every sentence":
        lambda hidden, lengths: hidden[-1].expand(len(lengths), -1),
    "cumsum is the start of the next sentence: the last token is one before it, at cumsum - 1": (" - 1", ""),
    "this is the second to last token: the last is at cumsum - 1": (" - 1", " - 2"),
    "the start must grow by every length before it: s += n, not s = n":
        lambda hidden, lengths: hidden[torch.cat([lengths.new_zeros(1), lengths[:-1]]) + lengths - 1],
    "lengths themselves are not places: the last token of a sentence is at cumsum - 1": (_END, "lengths"),
    "this is the token before each sentence: do not subtract its own length": (_END, "lengths.cumsum(0) - lengths - 1"),
    "1 is subtracted from every length before the sum; subtract it once, after: lengths.cumsum(0) - 1":
        (_END, "(lengths - 1).cumsum(0)"),
    "this is the last position after padding, which is padding in the shorter sentences": lambda hidden, lengths:
        torch.nn.utils.rnn.pad_sequence(list(hidden.split(lengths.tolist())), batch_first=True)[:, -1],
    "this cuts the batch into parts of equal length; the sentences have lengths of their own":
        lambda hidden, lengths: hidden.view(len(lengths), -1, hidden.shape[-1])[:, -1],
    **{f"this is the {what} of each sentence; take its last token":
       (f"hidden[{_END}]", f"torch.stack([part.{how}(0) for part in hidden.split(lengths.tolist())])")
       for what, how in (("mean", "mean"), ("largest", "amax"), ("sum", "sum"))},
    "this is only the last sentence: return one row for each": lambda hidden, lengths: hidden[-1:],
    "it returns after the first sentence: dedent the return, so that all of them are read":
        lambda hidden, lengths: hidden[lengths[:1] - 1],
    "this is only the last sentence, without its row: return (S, H)": lambda hidden, lengths: hidden[-1],
    "the sentences are in reverse order: keep the order of the batch":
        lambda hidden, lengths: last_pool(hidden, lengths).flip(0),
    "the last tokens are joined to one long row: return (S, H)":
        lambda hidden, lengths: last_pool(hidden, lengths).flatten(),
    "these are the places of the last tokens: take those rows of hidden": (f"hidden[{_END}]", _END),
})
