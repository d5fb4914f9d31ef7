"""What people write instead of an exercise's answer, and what they need to hear: words -> the function they wrote.

`lab.teach.check` compares a learner's answers with these on all of the exercise's cases, in this order.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lab import smart
from lab.exercises import annealed, bernoulli_kl, interval, mean_pool, pearson, smart_step, symmetric_kl

Wrong = dict[str, Callable]


# ---- 01: attention ---------------------------------------------------------------------------------------------------


def _attention(scale: Callable = math.sqrt, dim: int = -1, hidden: float = -torch.inf) -> Callable:
    return lambda q, k, v, mask: (q @ k.T / scale(q.shape[-1])).masked_fill(~mask, hidden).softmax(dim) @ v


ATTENTION = {
    "the scores are not divided by sqrt(D): with large D the softmax then picks one token alone":
        _attention(scale=lambda D: 1),
    "the scores are divided by D; equation 1 divides by its square root": _attention(scale=lambda D: D),
    "the softmax goes over the tokens that look (columns); each row, over the tokens looked at, must sum to 1: dim=-1":
        _attention(dim=0),
    "a masked token is still looked at: set its scores to -inf before the softmax":
        lambda q, k, v, mask: (q @ k.T / q.shape[-1] ** 0.5).softmax(-1) @ v,
    "a masked score of 0 is not hidden, since exp(0) = 1: it must be -inf": _attention(hidden=0.0),
    "the mask comes after the softmax, so a row no longer sums to 1: mask the scores, before it":
        lambda q, k, v, mask: ((q @ k.T / q.shape[-1] ** 0.5).softmax(-1) * mask) @ v,
}

# ---- 02: AdamW -------------------------------------------------------------------------------------------------------


def _adamw(corrected: bool = True, root: bool = True, l2: bool = False, first: bool = False, torchs: bool = False,
           square: bool = True) -> Callable:
    def step(p, g, m, v, t, lr, betas, eps, weight_decay):  # noqa: ANN001, ANN202
        (b1, b2), g = betas, g + weight_decay * p * l2
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * (g**2 if square else g)
        c1, c2 = (1 - b1**t, 1 - b2**t) if corrected else (1, 1)
        p = p * (1 - lr * weight_decay * first)
        below = v.sqrt() if root else v
        p = p - lr / c1 * m / (below / c2**0.5 + eps) if torchs else p - lr * c2**0.5 / c1 * m / (below + eps)
        return p * (1 - lr * weight_decay * (not l2 and not first)), m, v

    return step


ADAMW = {
    "no bias correction: m and v start at 0 and are too small at first; the step needs sqrt(1 - b2^t) / (1 - b1^t)":
        _adamw(corrected=False),
    "the step is divided by v; it must be sqrt(v), which has the gradient's own units": _adamw(root=False),
    "v averages g; it must average g^2": _adamw(square=False),
    "the decay is added to the gradient. That is L2: Adam then divides it by sqrt(v), and large gradients decay less. "
    "AdamW takes lr * wd * p off the weights themselves": _adamw(l2=True),
    "the decay comes before the step, as in torch.optim.AdamW; in the course's form it acts on the moved weights":
        _adamw(first=True),
    "eps is added to the corrected sqrt(v), as in torch; in the course's form it is added to sqrt(v) as it stands":
        _adamw(torchs=True),
}

# ---- 03: scores ------------------------------------------------------------------------------------------------------


def _centred(x: Tensor) -> Tensor:
    return x.double() - x.double().mean()


def _ranks(x: Tensor) -> Tensor:
    return x.argsort().argsort().double()


PEARSON = {
    "this is the covariance, which grows with the scale of the scores: divide by both standard deviations":
        lambda x, y: None if not _centred(x).any() else float((_centred(x) * _centred(y)).mean()),
    "a mean of n products is divided by standard deviations over n - 1: use one or the other throughout":
        lambda x, y: None if not _centred(x).any()
        else float((_centred(x) * _centred(y)).mean() / (x.double().std() * y.double().std())),
    "this is the cosine of x and y: take their means off first":
        lambda x, y: None if not _centred(x).any() else float(F.cosine_similarity(x.double(), y.double(), dim=0)),
    "this is Spearman's rank correlation; the course scores with Pearson's, on the numbers themselves":
        lambda x, y: None if not _centred(x).any() else pearson(_ranks(x), _ranks(y)),
    "a constant prediction has no Pearson r: return None. A 0 would say that it was measured":
        lambda x, y: pearson(x, y) or 0.0,
    "a constant prediction has no Pearson r: return None. A nan spreads into every mean that it meets":
        lambda x, y: math.nan if pearson(x, y) is None else pearson(x, y),
}
OVERALL = {
    "r goes in as it is; it runs from -1 to 1, so (r + 1) / 2 brings it onto the scale of an accuracy":
        lambda sst, qqp, sts: None if sts is None else (sst + qqp + sts) / 3,
    "this is the sum; the score is a mean of three": lambda sst, qqp, sts: None if sts is None
    else sst + qqp + (sts + 1) / 2,
    "where r does not exist the overall score does not either: return None, do not count it as 0":
        lambda sst, qqp, sts: (sst + qqp + ((sts or 0.0) + 1) / 2) / 3,
    "where r does not exist the overall score does not either: a mean of the other two would compare unlike things":
        lambda sst, qqp, sts: (sst + qqp) / 2 if sts is None else (sst + qqp + (sts + 1) / 2) / 3,
}

# ---- 04: PCGrad ------------------------------------------------------------------------------------------------------


def _pcgrad(itself: bool = False, running: bool = False, always: bool = False, norm: bool = False,
            total: bool = False, original: bool = False) -> Callable:
    def weights(G: Tensor, orders: Sequence[Sequence[int]]) -> Tensor:
        W = torch.eye(len(G), dtype=G.dtype)
        for i, order in enumerate(orders):
            for j in order:
                other = W[j].clone() if running else torch.eye(len(G), dtype=G.dtype)[j]
                dot, square = (G[i, j] if original else W[i] @ G @ other), other @ G @ other
                if (itself or j != i) and (always or dot < 0):
                    W[i] -= dot / (square.sqrt() if norm else square) * other
        return W.sum(0) if total else W.mean(0)

    return weights


PCGRAD = {
    "a gradient is projected on itself: its own number is in `orders` too, and must be passed over (j != i)":
        _pcgrad(itself=True),
    "g_i is projected on the g_j that were changed already; algorithm 1 projects on the originals":
        _pcgrad(running=True),
    "g_i is projected on every g_j; only where they conflict, g_i . g_j < 0": _pcgrad(always=True),
    "the dot product is divided by |g_j|; a projection divides by |g_j|^2, which is G[j, j]": _pcgrad(norm=True),
    "this is the sum of the projected gradients; the paper's word is the mean: a factor of T": _pcgrad(total=True),
    "the dot product is the original g_i . g_j all the time; it must be that of the running g_i, after the projections "
    "so far": _pcgrad(original=True),
    "these are the weights of the plain mean: nothing was projected":
        lambda G, orders: torch.full_like(G[0], 1 / len(G)),
}

# ---- 05: sentence vectors --------------------------------------------------------------------------------------------


MEAN_POOL = {
    "the padding is averaged too: a sentence's vector then depends on the longest one of its batch":
        lambda hidden, mask: hidden.mean(1),
    "the sum is right, but it is divided by L; divide by each sentence's number of real tokens":
        lambda hidden, mask: (hidden * mask.unsqueeze(-1)).mean(1),
    "this is the sum: divide by the number of real tokens": lambda hidden, mask: (hidden * mask.unsqueeze(-1)).sum(1),
    "[CLS] is left out; in the lab the mean is over all real tokens, [CLS] and [SEP] among them":
        lambda hidden, mask: mean_pool(hidden[:, 1:], mask[:, 1:]),
    "this is the hidden state of [CLS] alone": lambda hidden, mask: hidden[:, 0],
    "this is the maximum, not the mean": lambda hidden, mask:
        hidden.masked_fill(~mask.bool().unsqueeze(-1), -torch.inf).amax(1),
    "the mean is over the whole batch: each sentence has its own number of tokens":
        lambda hidden, mask: (hidden * mask.unsqueeze(-1)).sum(1) / mask.sum(),
}


def _features(last: Callable) -> Callable:
    return lambda u, v: torch.cat([u, v, last(u, v).unsqueeze(-1)], -1)


COSINE_FEATURES = {
    "this is the dot product, which grows with the vectors' lengths: divide by both":
        _features(lambda u, v: (u * v).sum(-1)),
    "the dot product is divided by one length alone: divide by |u| |v|":
        _features(lambda u, v: (u * v).sum(-1) / u.norm(dim=-1)),
    "this is 5 sigmoid(20 cos), head cosine_d's; here the cosine itself is a feature":
        _features(lambda u, v: 5 * torch.sigmoid(20 * F.cosine_similarity(u, v, dim=-1))),
    "the cosine comes first; the order here is [u; v; cos]":
        lambda u, v: torch.cat([F.cosine_similarity(u, v, dim=-1).unsqueeze(-1), u, v], -1),
    "the cosine is that of the whole batch as one vector: it must be a number a row, dim=-1":
        _features(lambda u, v: F.cosine_similarity(u.flatten(), v.flatten(), dim=0).expand(len(u))),
}

# ---- 06: SMART -------------------------------------------------------------------------------------------------------


SYMMETRIC_KL = {
    "one direction alone: KL(p || q) is not KL(q || p), and SMART adds both":
        lambda p, q: F.kl_div(q.log_softmax(-1), p.log_softmax(-1), reduction="batchmean", log_target=True),
    "the mean is over classes too (reduction='mean'); a KL is a sum over classes, so use 'batchmean'":
        lambda p, q: symmetric_kl(p, q) / p.shape[-1],
    "the rows are added; the mean over rows keeps the penalty's size apart from the batch's (trap 11)":
        lambda p, q: symmetric_kl(p, q) * len(p),
    "it is half the sum of both directions (Jeffreys' divergence halved); SMART takes the whole sum":
        lambda p, q: symmetric_kl(p, q) / 2,
    "the logits went in as they are: make them log-probabilities with log_softmax first":
        lambda p, q: ((p.exp() - q.exp()) * (p - q)).sum(-1).mean(),
    "this is a squared difference of logits, which a shift of all logits changes though it changes no prediction":
        lambda p, q: ((p - q) ** 2).mean(),
}


def _one_class(z: Tensor, w: Tensor) -> Tensor:
    """p log(p / q) and q log(q / p) of the positive class alone."""
    return ((z.sigmoid() - w.sigmoid()) * (F.logsigmoid(z) - F.logsigmoid(w))).mean()


BERNOULLI_KL = {
    "it is always 0: a softmax over a single logit is 1 whatever the logit is (trap 1). A Bernoulli has two classes":
        lambda z, w: symmetric_kl(z.unsqueeze(-1), w.unsqueeze(-1)),
    "the softmax goes over the rows of the batch: rows have nothing to do with each other":
        lambda z, w: symmetric_kl(z.unsqueeze(0), w.unsqueeze(0)),
    "only the positive class counts; the other one, with probabilities 1 - p and 1 - q, belongs to the sum":
        _one_class,
    "one direction alone: SMART adds KL(p || q) and KL(q || p)":
        lambda z, w: (z.sigmoid() * (F.logsigmoid(z) - F.logsigmoid(w))
                      + (-z).sigmoid() * (F.logsigmoid(-z) - F.logsigmoid(-w))).mean(),
    "it is nan or inf at large logits: log(sigmoid(z)) has no digits left there; use F.logsigmoid or log_softmax":
        lambda z, w: sum((a - b) * (a.log() - b.log())
                         for a, b in ((z.sigmoid(), w.sigmoid()), (1 - z.sigmoid(), 1 - w.sigmoid()))).mean(),
    "the rows are added: take their mean": lambda z, w: bernoulli_kl(z, w) * len(z),
}
SMART_STEP = {
    "the noise goes down the gradient; it must go up, to where the prediction changes most":
        lambda noise, gradient, eta, eps: smart_step(noise, -gradient, eta, eps),
    "this is the reading `ball`: here eps is a guard against dividing by 0, not a radius": smart.ball,
    "the norm is over all tokens together; each token (row) has its own: amax(-1, keepdim=True)":
        lambda noise, gradient, eta, eps: (noise + eta * gradient) / ((noise + eta * gradient).abs().max() + eps),
    "this is the Euclidean norm; SMART's is the infinity norm, the largest absolute entry":
        lambda noise, gradient, eta, eps: (noise + eta * gradient)
        / ((noise + eta * gradient).norm(dim=-1, keepdim=True) + eps),
    "the gradient is normalized before it is added; the libraries normalize the sum of noise and step":
        lambda noise, gradient, eta, eps: noise + eta * gradient / (gradient.abs().amax(-1, keepdim=True) + eps),
    "the step is not normalized": lambda noise, gradient, eta, eps: noise + eta * gradient,
    "eps is missing below: without noise and gradient it is 0 / 0":
        lambda noise, gradient, eta, eps: smart_step(noise, gradient, eta, 0.0),
}

# ---- 07: sampling ----------------------------------------------------------------------------------------------------


def _proportional(sizes: Sequence[int], alpha: float) -> Tensor:
    p = torch.tensor(sizes, dtype=torch.float64) ** alpha
    return p / p.sum()


ANNEALED = {
    "alpha stays 1 (proportional): it must fall to 0.2 over the epochs": lambda s, e, E: _proportional(s, 1),
    "alpha stays .5 (square root): it must fall from 1 to 0.2": lambda s, e, E: _proportional(s, 0.5),
    "alpha is 1 - 0.8 e / E: epochs count from 1, so that is not 1 in the first; (e - 1) / (E - 1)":
        lambda s, e, E: _proportional(s, 1 - 0.8 * e / E),
    "alpha falls to 0; the last epoch has alpha = 0.2":
        lambda s, e, E: _proportional(s, 1 - (e - 1) / (E - 1) if E > 1 else 1.0),
    "the weights do not sum to 1: divide by their sum": lambda s, e, E: annealed(s, e, E)
    * sum(n ** (1 - 0.8 * (e - 1) / (E - 1) if E > 1 else 1.0) for n in s),
    "alpha rises: the large set comes first, the small ones at the end": lambda s, e, E: annealed(s, E + 1 - e, E)
    if E > 1 else annealed(s, e, E),
    "with one epoch alone (E - 1) is 0: alpha is 1 there":
        lambda s, e, E: annealed(s, e, E) if E > 1 else torch.full((len(s),), math.nan, dtype=torch.float64),
}

# ---- 08: intervals ---------------------------------------------------------------------------------------------------


def _interval(t: float | None = None, ddof: int = 1, root: bool = True, few: bool = False) -> Callable:
    def wrong(values: Sequence[float]) -> tuple[float, float, float]:
        from scipy import stats

        x, n = torch.tensor(values, dtype=torch.float64), len(values)
        if n < (2 if few else 3):
            return float(x.mean()), math.nan, math.nan
        spread = float(x.std(correction=ddof)) / (n**0.5 if root else 1)
        half = (t or stats.t.ppf(0.975, n - 1)) * spread
        return float(x.mean()), float(x.mean()) - half, float(x.mean()) + half

    return wrong


INTERVAL = {
    "1.96 is the normal distribution's; with few seeds Student's t with n - 1 is 4.30 at 3 and 2.78 at 5":
        _interval(t=1.96),
    "the standard deviation divides by n; of a sample it divides by n - 1": _interval(ddof=0),
    "this is the spread of one seed; that of their mean is smaller by sqrt(n)": _interval(root=False),
    "two seeds get an interval: t is 12.7 there, wider than anything it could tell; the lab gives nan below 3":
        _interval(few=True),
    "low and high have changed places": lambda values: (interval(values)[0], *interval(values)[:0:-1]),
}


def _mcnemar(sides: int = 2, most: float = 1.0, k: Callable = lambda b, c: range(min(b, c) + 1)) -> Callable:
    return lambda b, c: min(most, sides * sum(math.comb(b + c, i) for i in k(b, c)) / 2 ** (b + c))


def _chi_square(b: int, c: int) -> float:
    from scipy import stats

    return float(stats.chi2.sf((b - c) ** 2 / (b + c), 1))


MCNEMAR = {
    "this is one tail alone; either run might have been the better one, so p is twice the smaller tail":
        _mcnemar(sides=1),
    "p is above 1 where b = c, for the two tails overlap there: take 1 at most": _mcnemar(most=math.inf),
    "this counts exactly this outcome; add the more extreme ones: k from 0 to min(b, c)":
        _mcnemar(k=lambda b, c: [min(b, c)]),
    "the tail goes up to the larger count; it must end at the smaller one, min(b, c)":
        _mcnemar(most=math.inf, k=lambda b, c: range(max(b, c) + 1)),
    "range(min(b, c)) stops one short: k = min(b, c) belongs to the tail": _mcnemar(k=lambda b, c: range(min(b, c))),
    "McNemar's chi-square approximates this from b + c of about 25 on; the exact one is binomial": _chi_square,
}

# ---- 09: a cross-encoder's input -------------------------------------------------------------------------------------


def _cross_input(pad: bool = False, second_cls: bool = False, separator: bool = True, shift: int = 0,
                 segments: bool = True) -> Callable:
    def wrong(a: list[int], b: list[int]) -> tuple[list[int], list[int]]:
        a, b = ([i for i in of if i or pad] for of in (a, b))
        a, b = a if separator else [i for i in a if i != 102], b if second_cls else b[1:]
        first = len(a) - shift
        return a + b, [0] * first + [int(segments)] * (len(a) + len(b) - first)

    return wrong


CROSS_INPUT = {
    "a second [CLS] stands in the middle: the first of b must go": _cross_input(second_cls=True),
    "[PAD] stays: in the middle it is attended to as if it were a word": _cross_input(pad=True),
    "[PAD] stays and so does the second [CLS]: the halves were joined as they were": _cross_input(pad=True,
                                                                                              second_cls=True),
    "every segment is 0: the second sentence, with its [SEP], has segment 1": _cross_input(segments=False),
    "segment 1 begins at the [SEP] in the middle, which belongs to the first sentence": _cross_input(shift=1),
    "the [SEP] between the sentences is missing": _cross_input(separator=False),
}

# ---- 10: a pooling ---------------------------------------------------------------------------------------------------

LAST_POOL = {
    "lengths - 1 counts from the batch's beginning; sentences stand one after the other: add up the lengths before":
        lambda hidden, lengths: hidden[lengths - 1],
    "this is the first token of each sentence, [CLS]": lambda hidden, lengths: hidden[lengths.cumsum(0) - lengths],
    "hidden[-1] is the last token of the whole batch, the same for every sentence":
        lambda hidden, lengths: hidden[-1].expand(len(lengths), -1),
    "cumsum is where the next sentence begins: the last token stands one before, at cumsum - 1":
        lambda hidden, lengths: hidden[lengths.cumsum(0)],
    "this is the last token but one: the last stands at cumsum - 1":
        lambda hidden, lengths: hidden[lengths.cumsum(0) - 2],
}

MISSTEPS: dict[str, Wrong] = {
    "attention": ATTENTION, "adamw": ADAMW, "pearson": PEARSON, "overall_score": OVERALL, "pcgrad": PCGRAD,
    "mean_pool": MEAN_POOL, "cosine_features": COSINE_FEATURES, "symmetric_kl": SYMMETRIC_KL,
    "bernoulli_kl": BERNOULLI_KL, "smart_step": SMART_STEP, "annealed": ANNEALED, "interval": INTERVAL,
    "mcnemar": MCNEMAR, "cross_input": CROSS_INPUT, "last_pool": LAST_POOL,
}
