"""Common wrong answers to the exercises on inputs and vectors, of notebooks 05, 09 and 10."""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from lab.teach.exercises import (
    cosine_features,
    cross_input,
    mean_pool,
)

# ---- 05: sentence vectors --------------------------------------------------------------------------------------------


def _of_real(some: slice) -> Callable:
    """The mean over some of each sentence's real tokens."""
    return lambda hidden, mask: torch.stack([of[real.bool()][some].mean(0)
                                             for of, real in zip(hidden, mask, strict=True)])


def _counted(more: int) -> Callable:
    """The sum over real tokens, divided by another number than theirs."""
    return lambda hidden, mask: (hidden * mask.unsqueeze(-1)).sum(1) / (mask.sum(1, keepdim=True) + more)


MEAN_POOL = {
    "the mean includes padding: the vector of a sentence then depends on the longest sentence in its batch":
        lambda hidden, mask: hidden.mean(1),
    "the sum is right, but it is divided by L; divide by the number of real tokens of each sentence":
        lambda hidden, mask: (hidden * mask.unsqueeze(-1)).mean(1),
    "padding is in the sum, though not in the count: multiply hidden by the mask first":
        lambda hidden, mask: hidden.sum(1) / mask.sum(1, keepdim=True),
    "the count is of the numbers in all real tokens, too large by a factor of H: count the tokens, mask.sum(1)":
        lambda hidden, mask: mean_pool(hidden, mask) / hidden.shape[-1],
    "this is the sum: divide by the number of real tokens": lambda hidden, mask: (hidden * mask.unsqueeze(-1)).sum(1),
    "[CLS] is missing; in the lab the mean is over all real tokens, including [CLS] and [SEP]":
        lambda hidden, mask: mean_pool(hidden[:, 1:], mask[:, 1:]),
    "this is only the hidden state of [CLS]": lambda hidden, mask: hidden[:, 0],
    "the vectors are divided by the length of the longest sentence; divide by that of each sentence":
        lambda hidden, mask: (hidden * mask.unsqueeze(-1)).sum(1) / mask.sum(1).max(),
    "this is one mean over the whole batch; take a mean for each sentence, over its tokens, dim=1":
        lambda hidden, mask: hidden[mask.bool()].mean(0).expand(len(hidden), -1),
    "this is the maximum, with 0 in place of padding, not the mean": lambda hidden, mask:
        (hidden * mask.unsqueeze(-1)).amax(1),
    "a sum with -inf or NaN is not finite: let padding be 0 in the sum, and divide it by the number of real tokens":
        lambda hidden, mask: hidden.masked_fill(~mask.bool().unsqueeze(-1), -torch.inf).mean(1),
    "the vectors are divided by their lengths, which is not asked for: return the mean itself":
        lambda hidden, mask: F.normalize(mean_pool(hidden, mask), dim=-1),
    "this is the maximum, not the mean": lambda hidden, mask:
        hidden.masked_fill(~mask.bool().unsqueeze(-1), -torch.inf).amax(1),
    "the sum is divided by the number of tokens in the whole batch; divide by that of each sentence":
        lambda hidden, mask: (hidden * mask.unsqueeze(-1)).sum(1) / mask.sum(),
    "keepdim is missing: the counts must be (B, 1) to divide each sentence's row, mask.sum(1, keepdim=True)":
        lambda hidden, mask: (hidden * mask.unsqueeze(-1)).sum(1) / mask.sum(1),
    "the mask is inverted: it is 1 at the real tokens": lambda hidden, mask: mean_pool(hidden, 1 - mask),
    "the sum runs over the sentences of the batch; it must run over the tokens, dim=1":
        lambda hidden, mask: (hidden * mask.unsqueeze(-1)).sum(0) / mask.sum(0).unsqueeze(-1),
    "the sum runs over the numbers in a vector; it must run over the tokens, dim=1":
        lambda hidden, mask: (hidden * mask.unsqueeze(-1)).sum(-1) / mask.sum(1, keepdim=True),
    "the mask lacks its last dimension: (B, L, H) needs (B, L, 1), mask.unsqueeze(-1)":
        lambda hidden, mask: (hidden * mask).sum(1) / mask.sum(1, keepdim=True),
    "[SEP] is missing; in the lab the mean is over all real tokens, including [CLS] and [SEP]":
        lambda hidden, mask: mean_pool(hidden[:, :-1], mask[:, 1:]),
    "padding counts as vectors of 0 in a mean over the whole batch; take a mean for each sentence":
        lambda hidden, mask: (hidden * mask.unsqueeze(-1)).mean((0, 1)).expand(len(hidden), -1),
    "this is the hidden state of the last real token": lambda hidden, mask:
        hidden[torch.arange(len(hidden)), mask.sum(1) - 1],
    "the tokens of all sentences are mixed; take a mean for each sentence": lambda hidden, mask:
        hidden[mask.bool()].mean(0),
    "this is the last position, which may be padding; take the mean over the real tokens":
        lambda hidden, mask: hidden[:, -1],
    "it is divided twice, by L and by the number of real tokens: take the sum, and divide it once": lambda hidden, mask:
        (hidden * mask.unsqueeze(-1)).mean(1) / mask.sum(1, keepdim=True),
    "[CLS] and [SEP] are missing; in the lab the mean is over all real tokens, with both": _of_real(slice(1, -1)),
    "the first real token, [CLS], is missing; in the lab the mean is over all of them": _of_real(slice(1, None)),
    "the last real token, [SEP], is missing; in the lab the mean is over all of them": _of_real(slice(-1)),
    **{f"the number of tokens is {off}; in the lab [CLS] and [SEP] count": _counted(more)
       for more, off in ((1, "one too large"), (-1, "one too small"), (-2, "two too small"))},
}


def _features(last: Callable) -> Callable:
    return lambda u, v: torch.cat([u, v, last(u, v).unsqueeze(-1)], -1)


COSINE_FEATURES = {
    "this is the dot product, which grows with the lengths of the vectors: divide it by both lengths":
        _features(lambda u, v: (u * v).sum(-1)),
    "the dot product is divided by only one length: divide by |u| |v|":
        _features(lambda u, v: (u * v).sum(-1) / u.norm(dim=-1)),
    "the dot product is divided by only one length, |v|: divide by |u| |v|":
        _features(lambda u, v: (u * v).sum(-1) / v.norm(dim=-1)),
    "this is five times the cosine; the feature is the cosine itself":
        _features(lambda u, v: 5 * F.cosine_similarity(u, v, dim=-1)),
    "the last feature is one number, the cosine; this is |u - v|, H numbers":
        lambda u, v: torch.cat([u, v, (u - v).abs()], -1),
    "the last feature is one number, the cosine; this is u * v, H numbers": lambda u, v: torch.cat([u, v, u * v], -1),
    "the cosines are (1, B), and cat needs (B, 1): unsqueeze(-1)":
        lambda u, v: torch.cat([u, v, F.cosine_similarity(u, v, dim=-1).unsqueeze(0)], -1),
    "u . v / |u| * |v| multiplies by |v|: put the product of the lengths into parentheses":
        _features(lambda u, v: (u * v).sum(-1) / u.norm(dim=-1) * v.norm(dim=-1)),
    "this is 5 sigmoid(20 cos), as in the head cosine_d; here the cosine itself is a feature":
        _features(lambda u, v: 5 * torch.sigmoid(20 * F.cosine_similarity(u, v, dim=-1))),
    "the cosine is the first feature; the order is [u; v; cos]":
        lambda u, v: torch.cat([F.cosine_similarity(u, v, dim=-1).unsqueeze(-1), u, v], -1),
    "this is one cosine for the whole batch; compute one per row, with dim=-1":
        _features(lambda u, v: F.cosine_similarity(u.flatten(), v.flatten(), dim=0).expand(len(u))),
    "a dimension is missing: the cosine has shape (B,), and cat needs (B, 1): unsqueeze(-1)":
        lambda u, v: torch.cat([u, v, F.cosine_similarity(u, v, dim=-1)], dim=-1),
    "the cosine runs over the batch; it must run over the numbers in a vector, dim=-1":
        lambda u, v: torch.cat([u, v, F.cosine_similarity(u, v, dim=0).unsqueeze(-1)], -1),
    "a cosine has a sign: do not take its absolute value":
        _features(lambda u, v: F.cosine_similarity(u, v, dim=-1).abs()),
    "this is the cosine distance, 1 - cos; the feature is the cosine itself":
        _features(lambda u, v: 1 - F.cosine_similarity(u, v, dim=-1)),
    "the cosine is missing: it is the last feature": lambda u, v: torch.cat([u, v], -1),
    "this is only the cosine: u and v are features too": lambda u, v: F.cosine_similarity(u, v, dim=-1).unsqueeze(-1),
    "u and v are swapped; the order is [u; v; cos]": lambda u, v: cosine_features(v, u),
    "u and v are divided by their lengths; only the cosine is, and the features u and v stay as they are":
        lambda u, v: cosine_features(F.normalize(u, dim=-1), F.normalize(v, dim=-1)),
    "the dot product is divided by the squared lengths: divide by |u| |v|":
        _features(lambda u, v: (u * v).sum(-1) / (u.square().sum(-1) * v.square().sum(-1))),
    "this is the distance between u and v; the feature is their cosine": _features(lambda u, v: (u - v).norm(dim=-1)),
    "the vectors are stacked as rows; join them along the last dimension, cat(..., dim=-1)":
        lambda u, v: torch.cat([u, v, F.cosine_similarity(u, v, dim=-1).unsqueeze(-1)], dim=0),
    "u @ v.T holds the product of every row with every other, (B, B); take (u * v).sum(-1), one for each row":
        lambda u, v: torch.cat([u, v, u @ v.T / u.norm(dim=-1) / v.norm(dim=-1)], -1),
    "the order is [u; v; cos]; here the cosine stands between u and v":
        lambda u, v: torch.cat([u, F.cosine_similarity(u, v, dim=-1).unsqueeze(-1), v], -1),
    "(cos + 1) / 2 maps the cosine to 0 to 1; the feature is the cosine itself":
        _features(lambda u, v: (F.cosine_similarity(u, v, dim=-1) + 1) / 2),
    "a cosine has a sign: do not cut it off at 0":
        _features(lambda u, v: F.cosine_similarity(u, v, dim=-1).clamp_min(0)),
    "the means are subtracted first, which makes it Pearson's r; a cosine takes u and v as they are": _features(
        lambda u, v: F.cosine_similarity(u - u.mean(-1, keepdim=True), v - v.mean(-1, keepdim=True), dim=-1)),
    "the lengths run over the batch; normalize each row, with dim=-1":
        _features(lambda u, v: (F.normalize(u, dim=0) * F.normalize(v, dim=0)).sum(-1)),
    "the dot product is divided by |u|^2: divide by |u| |v|":
        _features(lambda u, v: (u * v).sum(-1) / u.square().sum(-1)),
    "the dot product is divided by |v|^2: divide by |u| |v|":
        _features(lambda u, v: (u * v).sum(-1) / v.square().sum(-1)),
    "the dot product is divided by the mean of the squared lengths: divide by |u| |v|":
        _features(lambda u, v: 2 * (u * v).sum(-1) / (u.square().sum(-1) + v.square().sum(-1))),
    "these are the three parts: join them with torch.cat(..., dim=-1)":
        lambda u, v: (u, v, F.cosine_similarity(u, v, dim=-1).unsqueeze(-1)),
    "norm() without dim is the length of the whole batch: use norm(dim=-1), one for each row":
        _features(lambda u, v: (u * v).sum(-1) / (u.norm() * v.norm())),
}

# ---- 09: a cross-encoder's input -------------------------------------------------------------------------------------


def _cross_input(pad: bool = False, second_cls: bool = False, separator: bool = True, shift: int = 0,
                 segments: bool = True, cls: bool = True, end: bool = True) -> Callable:
    def wrong(a: list[int], b: list[int]) -> tuple[list[int], list[int]]:
        a, b = ([i for i in of if i or pad] for of in (a, b))
        a, b = a if separator else [i for i in a if i != 102], b if second_cls else b[1:]
        a, b = a if cls else a[1:], b if end else b[:-1]
        first = len(a) - shift
        return a + b, [0] * first + [int(segments)] * (len(a) + len(b) - first)

    return wrong


def _without_one(ids: list[int]) -> list[int]:
    """Ids without the first of their [PAD]."""
    return ids if 0 not in ids else ids[:ids.index(0)] + ids[ids.index(0) + 1:]


CROSS_INPUT = {
    "there is a second [CLS] in the middle: remove the [CLS] of b": _cross_input(second_cls=True),
    "[PAD] is not removed: in the middle it gets attention like a word": _cross_input(pad=True),
    "neither [PAD] nor the second [CLS] is removed: the two inputs are only concatenated":
        _cross_input(pad=True, second_cls=True),
    "all segments are 0: the second sentence and its [SEP] must have segment 1": _cross_input(segments=False),
    "segment 1 begins at the [SEP] in the middle, but that belongs to the first sentence": _cross_input(shift=1),
    "the [SEP] between the sentences is missing": _cross_input(separator=False),
    "the [CLS] at the start is missing: remove only that of b": _cross_input(cls=False),
    "the [SEP] at the end is missing": _cross_input(end=False),
    "segment 1 begins one token too late: the first token of b belongs to it": _cross_input(shift=-1),
    "the segments are inverted: the first sentence has 0, the second 1":
        lambda a, b: (cross_input(a, b)[0], [1 - i for i in cross_input(a, b)[1]]),
    "all segments are 1: the first sentence and its [SEP] have segment 0":
        lambda a, b: (cross_input(a, b)[0], [1] * len(cross_input(a, b)[0])),
    "the two sentences are swapped: a comes first": lambda a, b: cross_input(b, a),
    "the segments are those of the sentences with padding and both [CLS]: count after removing them":
        lambda a, b: (cross_input(a, b)[0], [0] * len(a) + [1] * len(b)),
    "the segments are missing: return (ids, segments)": lambda a, b: cross_input(a, b)[0],
    "[PAD] is moved to the end; the result has none": lambda a, b: tuple(
        of + [0] * (a.count(0) + b.count(0)) for of in cross_input(a, b)),
    "one [PAD] is removed, as by remove(0), but there may be more": lambda a, b: (
        _without_one(a) + _without_one(b)[1:], [0] * len(_without_one(a)) + [1] * (len(_without_one(b)) - 1)),
    "[PAD] is removed from the first sentence only": lambda a, b: (
        cross_input(a, [1])[0] + b[1:], [0] * len(cross_input(a, [1])[0]) + [1] * (len(b) - 1)),
    "[PAD] is removed from the second sentence only": lambda a, b: (
        a + cross_input([], b)[0], [0] * len(a) + [1] * len(cross_input([], b)[0])),
    "there are two [SEP] in the middle": lambda a, b: (
        cross_input(a, [])[0] + [102] + cross_input([], b)[0],
        [0] * (len(cross_input(a, [])[0]) + 1) + [1] * len(cross_input([], b)[0])),
    "the segments count the [CLS] of b, which is removed": lambda a, b:
        (cross_input(a, b)[0], cross_input(a, b)[1] + [1]),
    "the segments count [PAD] too: count after removing it": lambda a, b:
        (cross_input(a, b)[0], [0] * len(a) + [1] * (len(b) - 1)),
}

# ---- 10: a pooling ---------------------------------------------------------------------------------------------------

LAST_POOL = {
    "lengths - 1 counts from the start of the batch; the sentences are concatenated, so add the lengths before each":
        lambda hidden, lengths: hidden[lengths - 1],
    "this is the first token of each sentence, [CLS]": lambda hidden, lengths: hidden[lengths.cumsum(0) - lengths],
    "hidden[-1] is the last token of the whole batch, the same for every sentence":
        lambda hidden, lengths: hidden[-1].expand(len(lengths), -1),
    "cumsum is the start of the next sentence: the last token is one before it, at cumsum - 1":
        lambda hidden, lengths: hidden[lengths.cumsum(0)],
    "this is the second to last token: the last is at cumsum - 1":
        lambda hidden, lengths: hidden[lengths.cumsum(0) - 2],
    "the start must grow by every length before it: s += n, not s = n": lambda hidden, lengths:
        hidden[torch.cat([lengths.new_zeros(1), lengths[:-1]]) + lengths - 1],
    "lengths themselves are not places: the last token of a sentence is at cumsum - 1":
        lambda hidden, lengths: hidden[lengths],
    "this is the token before each sentence: do not subtract its own length":
        lambda hidden, lengths: hidden[lengths.cumsum(0) - lengths - 1],
    "1 is subtracted from every length before the sum; subtract it once, after: lengths.cumsum(0) - 1":
        lambda hidden, lengths: hidden[(lengths - 1).cumsum(0)],
    "this is the last position after padding, which is padding in the shorter sentences": lambda hidden, lengths:
        torch.nn.utils.rnn.pad_sequence(list(hidden.split(lengths.tolist())), batch_first=True)[:, -1],
    "this cuts the batch into parts of equal length; the sentences have lengths of their own":
        lambda hidden, lengths: hidden.view(len(lengths), -1, hidden.shape[-1])[:, -1],
    "this is the mean of each sentence; take its last token":
        lambda hidden, lengths: torch.stack([part.mean(0) for part in hidden.split(lengths.tolist())]),
    "this is the largest of each sentence; take its last token":
        lambda hidden, lengths: torch.stack([part.amax(0) for part in hidden.split(lengths.tolist())]),
    "this is the sum of each sentence; take its last token":
        lambda hidden, lengths: torch.stack([part.sum(0) for part in hidden.split(lengths.tolist())]),
    "this is only the last sentence: return one row for each": lambda hidden, lengths: hidden[-1:],
    "it returns after the first sentence: dedent the return, so that all of them are read":
        lambda hidden, lengths: hidden[lengths[:1] - 1],
    "this is only the last sentence, without its row: return (S, H)": lambda hidden, lengths: hidden[-1],
    "the sentences are in reverse order: keep the order of the batch":
        lambda hidden, lengths: hidden[lengths.cumsum(0) - 1].flip(0),
    "the last tokens are joined to one long row: return (S, H)":
        lambda hidden, lengths: hidden[lengths.cumsum(0) - 1].flatten(),
    "these are the places of the last tokens: take those rows of hidden": lambda hidden, lengths: lengths.cumsum(0) - 1,
}
