"""Common wrong answers to the exercises and their feedback: {feedback: the wrong function}.

`lab.teach.check` compares a learner's results with these on all cases of the exercise, in this order.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lab import smart
from lab.teach.exercises import annealed, bernoulli_kl, interval, mean_pool, pearson, smart_step, symmetric_kl

Wrong = dict[str, Callable]


# ---- 01: attention ---------------------------------------------------------------------------------------------------


def _attention(scale: Callable = math.sqrt, dim: int = -1, hidden: float = -torch.inf) -> Callable:
    return lambda q, k, v, mask: (q @ k.T / scale(q.shape[-1])).masked_fill(~mask, hidden).softmax(dim) @ v


ATTENTION = {
    "the scores are not divided by sqrt(D): with large D, the softmax then selects almost a single token":
        _attention(scale=lambda D: 1),
    "the scores are divided by D; equation 1 divides by its square root": _attention(scale=lambda D: D),
    "the softmax runs over the queries (columns); each row, over the keys, must sum to 1: use dim=-1":
        _attention(dim=0),
    "a masked token still gets attention: set its scores to -inf before the softmax":
        lambda q, k, v, mask: (q @ k.T / q.shape[-1] ** 0.5).softmax(-1) @ v,
    "a score of 0 does not mask a token, because exp(0) = 1: it must be -inf": _attention(hidden=0.0),
    "the mask is applied after the softmax, so a row no longer sums to 1: mask the scores, before the softmax":
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
    "the step is divided by v; it must be divided by sqrt(v), which has the units of the gradient": _adamw(root=False),
    "v is an average of g; it must be an average of g^2": _adamw(square=False),
    "the decay is added to the gradient. That is L2 regularization: Adam then divides it by sqrt(v), so weights with "
    "large gradients decay less. AdamW subtracts lr * wd * p from the weights directly": _adamw(l2=True),
    "the decay is applied before the step, as in torch.optim.AdamW; in the course's form it follows the step":
        _adamw(first=True),
    "eps is added to the corrected sqrt(v), as in torch; in the course's form it is added to the uncorrected one":
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
    "this is the cosine of x and y: subtract their means first":
        lambda x, y: None if not _centred(x).any() else float(F.cosine_similarity(x.double(), y.double(), dim=0)),
    "this is Spearman's rank correlation; the course scores with Pearson's, on the numbers themselves":
        lambda x, y: None if not _centred(x).any() else pearson(_ranks(x), _ranks(y)),
    "a constant prediction has no Pearson r: return None. A 0 would look like a measured value":
        lambda x, y: pearson(x, y) or 0.0,
    "a constant prediction has no Pearson r: return None. A NaN makes every mean that contains it NaN":
        lambda x, y: math.nan if pearson(x, y) is None else pearson(x, y),
}
OVERALL = {
    "r is used unscaled; it ranges from -1 to 1, so (r + 1) / 2 maps it to the range of an accuracy":
        lambda sst, qqp, sts: None if sts is None else (sst + qqp + sts) / 3,
    "this is the sum; the score is the mean of the three": lambda sst, qqp, sts: None if sts is None
    else sst + qqp + (sts + 1) / 2,
    "if r is undefined, so is the overall score: return None, do not count r as 0":
        lambda sst, qqp, sts: (sst + qqp + ((sts or 0.0) + 1) / 2) / 3,
    "if r is undefined, so is the overall score: a mean of the other two is not comparable with a mean of three":
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
    "a gradient is projected on itself: `orders` contains its own index too, which must be skipped (j != i)":
        _pcgrad(itself=True),
    "g_i is projected on gradients g_j that are already projected; algorithm 1 uses the original g_j":
        _pcgrad(running=True),
    "g_i is projected on every g_j; project only if they conflict, g_i . g_j < 0": _pcgrad(always=True),
    "the dot product is divided by |g_j|; a projection divides by |g_j|^2, which is G[j, j]": _pcgrad(norm=True),
    "this is the sum of the projected gradients, as in Yu et al. (2020); here it is the mean, as in the CS224N report, "
    "which is smaller by a factor of T": _pcgrad(total=True),
    "the dot product always uses the original g_i; it must use the current g_i, after the projections so far":
        _pcgrad(original=True),
    "these are the weights of the plain mean: no gradient is projected":
        lambda G, orders: torch.full_like(G[0], 1 / len(G)),
}

# ---- 05: sentence vectors --------------------------------------------------------------------------------------------


MEAN_POOL = {
    "the mean includes padding: the vector of a sentence then depends on the longest sentence in its batch":
        lambda hidden, mask: hidden.mean(1),
    "the sum is right, but it is divided by L; divide by the number of real tokens of each sentence":
        lambda hidden, mask: (hidden * mask.unsqueeze(-1)).mean(1),
    "this is the sum: divide by the number of real tokens": lambda hidden, mask: (hidden * mask.unsqueeze(-1)).sum(1),
    "[CLS] is missing; in the lab the mean is over all real tokens, including [CLS] and [SEP]":
        lambda hidden, mask: mean_pool(hidden[:, 1:], mask[:, 1:]),
    "this is only the hidden state of [CLS]": lambda hidden, mask: hidden[:, 0],
    "this is the maximum, not the mean": lambda hidden, mask:
        hidden.masked_fill(~mask.bool().unsqueeze(-1), -torch.inf).amax(1),
    "the sum is divided by the number of tokens in the whole batch; divide by that of each sentence":
        lambda hidden, mask: (hidden * mask.unsqueeze(-1)).sum(1) / mask.sum(),
}


def _features(last: Callable) -> Callable:
    return lambda u, v: torch.cat([u, v, last(u, v).unsqueeze(-1)], -1)


COSINE_FEATURES = {
    "this is the dot product, which grows with the lengths of the vectors: divide it by both lengths":
        _features(lambda u, v: (u * v).sum(-1)),
    "the dot product is divided by only one length: divide by |u| |v|":
        _features(lambda u, v: (u * v).sum(-1) / u.norm(dim=-1)),
    "this is 5 sigmoid(20 cos), as in the head cosine_d; here the cosine itself is a feature":
        _features(lambda u, v: 5 * torch.sigmoid(20 * F.cosine_similarity(u, v, dim=-1))),
    "the cosine is the first feature; the order is [u; v; cos]":
        lambda u, v: torch.cat([F.cosine_similarity(u, v, dim=-1).unsqueeze(-1), u, v], -1),
    "this is one cosine for the whole batch; compute one per row, with dim=-1":
        _features(lambda u, v: F.cosine_similarity(u.flatten(), v.flatten(), dim=0).expand(len(u))),
}

# ---- 06: SMART -------------------------------------------------------------------------------------------------------


SYMMETRIC_KL = {
    "this is only one direction: KL(p || q) differs from KL(q || p), and SMART adds both":
        lambda p, q: F.kl_div(q.log_softmax(-1), p.log_softmax(-1), reduction="batchmean", log_target=True),
    "this is also a mean over classes (reduction='mean'); a KL is a sum over classes, so use 'batchmean'":
        lambda p, q: symmetric_kl(p, q) / p.shape[-1],
    "this is the sum over rows; with the mean, the penalty does not depend on the batch size (trap 11)":
        lambda p, q: symmetric_kl(p, q) * len(p),
    "this is half the sum of both directions (half of Jeffreys' divergence); SMART uses the whole sum":
        lambda p, q: symmetric_kl(p, q) / 2,
    "the logits are used directly: convert them to log-probabilities with log_softmax first":
        lambda p, q: ((p.exp() - q.exp()) * (p - q)).sum(-1).mean(),
    "this is the squared difference of the logits; adding a constant to all logits changes it, but no prediction":
        lambda p, q: ((p - q) ** 2).mean(),
}


def _one_class(z: Tensor, w: Tensor) -> Tensor:
    """p log(p / q) + q log(q / p) for the positive class only."""
    return ((z.sigmoid() - w.sigmoid()) * (F.logsigmoid(z) - F.logsigmoid(w))).mean()


BERNOULLI_KL = {
    "this is always 0: the softmax over a single logit is 1 for any logit (trap 1). A Bernoulli has two classes":
        lambda z, w: symmetric_kl(z.unsqueeze(-1), w.unsqueeze(-1)),
    "the softmax runs over the rows of the batch, which are independent of each other":
        lambda z, w: symmetric_kl(z.unsqueeze(0), w.unsqueeze(0)),
    "only the positive class is counted; add the other class, with the probabilities 1 - p and 1 - q":
        _one_class,
    "this is only one direction: SMART adds KL(p || q) and KL(q || p)":
        lambda z, w: (z.sigmoid() * (F.logsigmoid(z) - F.logsigmoid(w))
                      + (-z).sigmoid() * (F.logsigmoid(-z) - F.logsigmoid(-w))).mean(),
    "this is NaN or inf for large logits, where log(sigmoid(z)) loses all precision; use F.logsigmoid or log_softmax":
        lambda z, w: sum((a - b) * (a.log() - b.log())
                         for a, b in ((z.sigmoid(), w.sigmoid()), (1 - z.sigmoid(), 1 - w.sigmoid()))).mean(),
    "this is the sum over rows: take their mean": lambda z, w: bernoulli_kl(z, w) * len(z),
}
SMART_STEP = {
    "the noise moves down the gradient; it must move up, to where the prediction changes most":
        lambda noise, gradient, eta, eps: smart_step(noise, -gradient, eta, eps),
    "this is the update for reading='ball'; here eps only prevents a division by 0, it is not a radius": smart.ball,
    "this norm is over all tokens together; compute one per token (row): amax(-1, keepdim=True)":
        lambda noise, gradient, eta, eps: (noise + eta * gradient) / ((noise + eta * gradient).abs().max() + eps),
    "this is the Euclidean norm; SMART uses the infinity norm, the largest absolute value":
        lambda noise, gradient, eta, eps: (noise + eta * gradient)
        / ((noise + eta * gradient).norm(dim=-1, keepdim=True) + eps),
    "the gradient is normalized before it is added; normalize the sum of noise and step, as the libraries do":
        lambda noise, gradient, eta, eps: noise + eta * gradient / (gradient.abs().amax(-1, keepdim=True) + eps),
    "the step is not normalized": lambda noise, gradient, eta, eps: noise + eta * gradient,
    "eps is missing in the denominator: without noise and gradient the result is 0 / 0":
        lambda noise, gradient, eta, eps: smart_step(noise, gradient, eta, 0.0),
}

# ---- 07: sampling ----------------------------------------------------------------------------------------------------


def _proportional(sizes: Sequence[int], alpha: float) -> Tensor:
    p = torch.tensor(sizes, dtype=torch.float64) ** alpha
    return p / p.sum()


ANNEALED = {
    "alpha stays at 1 (proportional sampling): it must fall to 0.2 over the epochs":
        lambda s, e, E: _proportional(s, 1),
    "alpha stays at 0.5 (square-root sampling): it must fall from 1 to 0.2": lambda s, e, E: _proportional(s, 0.5),
    "alpha is 1 - 0.8 e / E, which is not 1 in the first epoch, e = 1: use (e - 1) / (E - 1)":
        lambda s, e, E: _proportional(s, 1 - 0.8 * e / E),
    "alpha falls to 0; in the last epoch it must be 0.2":
        lambda s, e, E: _proportional(s, 1 - (e - 1) / (E - 1) if E > 1 else 1.0),
    "the probabilities do not sum to 1: divide by their sum": lambda s, e, E: annealed(s, e, E)
    * sum(n ** (1 - 0.8 * (e - 1) / (E - 1) if E > 1 else 1.0) for n in s),
    "alpha rises; it must fall, so that the large data set dominates first and the small ones gain later":
        lambda s, e, E: annealed(s, E + 1 - e, E) if E > 1 else annealed(s, e, E),
    "with a single epoch, E - 1 is 0: alpha must then be 1":
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
    "1.96 is the quantile of the normal distribution; with few seeds use Student's t, 4.30 for 3 seeds and 2.78 for 5":
        _interval(t=1.96),
    "this standard deviation divides by n; that of a sample divides by n - 1": _interval(ddof=0),
    "this is the standard deviation of one seed; that of the mean is smaller by a factor of sqrt(n)":
        _interval(root=False),
    "two seeds get an interval, but t is 12.7 then, too wide to be informative; the lab returns NaN below 3 seeds":
        _interval(few=True),
    "low and high are swapped": lambda values: (interval(values)[0], *interval(values)[:0:-1]),
}


def _mcnemar(sides: int = 2, most: float = 1.0, k: Callable = lambda b, c: range(min(b, c) + 1)) -> Callable:
    return lambda b, c: min(most, sides * sum(math.comb(b + c, i) for i in k(b, c)) / 2 ** (b + c))


def _chi_square(b: int, c: int) -> float:
    from scipy import stats

    return float(stats.chi2.sf((b - c) ** 2 / (b + c), 1))


MCNEMAR = {
    "this is only one tail; either run may be the better one, so p is twice the smaller tail":
        _mcnemar(sides=1),
    "p exceeds 1 if b = c, because the two tails then overlap: limit it to 1": _mcnemar(most=math.inf),
    "this counts only the observed outcome; add the more extreme ones: k from 0 to min(b, c)":
        _mcnemar(k=lambda b, c: [min(b, c)]),
    "the tail ends at the larger count; it must end at the smaller one, min(b, c)":
        _mcnemar(most=math.inf, k=lambda b, c: range(max(b, c) + 1)),
    "range(min(b, c)) stops too early: k = min(b, c) belongs to the tail": _mcnemar(k=lambda b, c: range(min(b, c))),
    "this is McNemar's chi-square test, an approximation for b + c above about 25; the exact test is binomial":
        _chi_square,
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
    "there is a second [CLS] in the middle: remove the [CLS] of b": _cross_input(second_cls=True),
    "[PAD] is not removed: in the middle it gets attention like a word": _cross_input(pad=True),
    "neither [PAD] nor the second [CLS] is removed: the two inputs are only concatenated":
        _cross_input(pad=True, second_cls=True),
    "all segments are 0: the second sentence and its [SEP] must have segment 1": _cross_input(segments=False),
    "segment 1 begins at the [SEP] in the middle, but that belongs to the first sentence": _cross_input(shift=1),
    "the [SEP] between the sentences is missing": _cross_input(separator=False),
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
}

WRONG_ANSWERS: dict[str, Wrong] = {
    "attention": ATTENTION, "adamw": ADAMW, "pearson": PEARSON, "overall_score": OVERALL, "pcgrad": PCGRAD,
    "mean_pool": MEAN_POOL, "cosine_features": COSINE_FEATURES, "symmetric_kl": SYMMETRIC_KL,
    "bernoulli_kl": BERNOULLI_KL, "smart_step": SMART_STEP, "annealed": ANNEALED, "interval": INTERVAL,
    "mcnemar": MCNEMAR, "cross_input": CROSS_INPUT, "last_pool": LAST_POOL,
}
