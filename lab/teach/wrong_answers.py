"""Common wrong answers to the exercises and their feedback: {feedback: the wrong function}.

`lab.teach.check` compares a learner's results with these on all cases of the exercise, in this order.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lab import smart
from lab.teach.exercises import (
    adamw,
    annealed,
    attention,
    bernoulli_kl,
    cosine_features,
    cross_input,
    gse,
    interval,
    mcnemar,
    mean_pool,
    overall_score,
    pcgrad,
    pearson,
    smart_step,
    symmetric_kl,
)

Wrong = dict[str, Callable]


# ---- 01: attention ---------------------------------------------------------------------------------------------------


def _attention(scale: Callable = math.sqrt, dim: int = -1, hidden: float = -torch.inf) -> Callable:
    return lambda q, k, v, mask: (q @ k.T / scale(q.shape[-1])).masked_fill(~mask, hidden).softmax(dim) @ v


ATTENTION = {
    "the scores are not divided by sqrt(D): with large D, the softmax then selects almost a single token":
        _attention(scale=lambda D: 1),
    "the scores are divided by D; equation 1 divides by its square root": _attention(scale=lambda D: D),
    "the softmax runs down the columns, over the queries; it must run along each row, over the keys: use dim=-1":
        _attention(dim=0),
    "a masked token still gets attention: set its scores to -inf before the softmax":
        lambda q, k, v, mask: (q @ k.T / q.shape[-1] ** 0.5).softmax(-1) @ v,
    "a score of 0 does not mask a token, because exp(0) = 1: it must be -inf": _attention(hidden=0.0),
    "the mask is applied after the softmax, so a row no longer sums to 1: mask the scores, before the softmax":
        lambda q, k, v, mask: ((q @ k.T / q.shape[-1] ** 0.5).softmax(-1) * mask) @ v,
    "the product is transposed: row i must hold the scores of query i with all keys, which is q @ k.T":
        lambda q, k, v, mask: (k @ q.T / q.shape[-1] ** 0.5).masked_fill(~mask, -torch.inf).softmax(-1) @ v,
    "q.T @ k sums over the tokens; a score is the product of one query and one key, so q @ k.T":
        lambda q, k, v, mask: (q.T @ k / q.shape[-1] ** 0.5).masked_fill(~mask, -torch.inf).softmax(-1) @ v,
    "the mask is inverted: it is true at the real tokens, so -inf belongs where it is false (~mask)":
        lambda q, k, v, mask: attention(q, k, v, ~mask),
    "the mask is applied to rows, the queries; it must hide keys, the columns: use masked_fill(~mask, -inf) without "
    "unsqueeze(1)": lambda q, k, v, mask:
        (q @ k.T / q.shape[-1] ** 0.5).masked_fill(~mask.unsqueeze(1), -torch.inf).softmax(-1) @ v,
    "the scores are multiplied by sqrt(D); divide them": _attention(scale=lambda D: D**-0.5),
    "the scores are divided by sqrt(L), the number of tokens; equation 1 divides by sqrt(D), the size of a vector":
        lambda q, k, v, mask: (q @ k.T / len(q) ** 0.5).masked_fill(~mask, -torch.inf).softmax(-1) @ v,
    "these are the attention weights (L, L): multiply them by v":
        lambda q, k, v, mask: (q @ k.T / q.shape[-1] ** 0.5).masked_fill(~mask, -torch.inf).softmax(-1),
    "the softmax is missing: the scores are used as weights, which must be positive and sum to 1":
        lambda q, k, v, mask: (q @ k.T / q.shape[-1] ** 0.5).masked_fill(~mask, 0) @ v,
    "the keys are averaged; the weights must average the values v":
        lambda q, k, v, mask: attention(q, k, k, mask),
    "the transpose is missing: a score is the product of a query and a key, q @ k.T":
        lambda q, k, v, mask: (q @ k / q.shape[-1] ** 0.5).masked_fill(~mask, -torch.inf).softmax(-1) @ v,
    "the scores are neither divided by sqrt(D) nor masked: do both, before the softmax":
        lambda q, k, v, mask: (q @ k.T).softmax(-1) @ v,
    "adding a boolean mask adds 1 to the scores of real tokens; add -inf to the others":
        lambda q, k, v, mask: (q @ k.T / q.shape[-1] ** 0.5 + mask).softmax(-1) @ v,
    "the weights are transposed: row i holds the weights of query i, so multiply them by v as they are":
        lambda q, k, v, mask: (q @ k.T / q.shape[-1] ** 0.5).masked_fill(~mask, -torch.inf).softmax(-1).T @ v,
    "the rows of padding tokens are left out: return (L, D), whatever is in them":
        lambda q, k, v, mask: attention(q, k, v, mask)[mask],
}

# ---- 02: AdamW -------------------------------------------------------------------------------------------------------


def _adamw(corrects_m: bool = True, corrects_v: bool = True, root: bool = True, inside: bool = False, l2: bool = False,
           first: bool = False, torchs: bool = False, square: bool = True, whole: bool = False, later: int = 0,
           sign: int = 1, swapped: bool = False, outside: bool = False,
           decay: Callable = lambda wd, lr: lr * wd) -> Callable:
    def step(p, g, m, v, t, lr, betas, eps, weight_decay):  # noqa: ANN001, ANN202
        (b1, b2), g, t = betas[::-1] if swapped else betas, g + weight_decay * p * l2, t + later
        m, v = b1 * m + (1 if whole else 1 - b1) * g, b2 * v + (1 - b2) * (g**2 if square else g)
        c1, c2 = 1 - b1**t if corrects_m else 1, 1 - b2**t if corrects_v else 1
        p = p * (1 - lr * weight_decay * first)
        divisor = v / c2 if torchs else v
        divisor = (divisor + eps * inside) ** (0.5 if root else 1) / (c2 if outside else 1) + eps * (not inside)
        p = p - sign * lr * (1 if torchs or outside else c2**0.5) / c1 * m / divisor
        return p * (1 - decay(weight_decay, lr) * (not l2 and not first)), m, v

    return step


def _adamw_then(change: Callable) -> Callable:
    """What `change` makes of the right step's results and of its arguments."""
    return lambda *given: change(*adamw(*given), *given)


def _corrected(p: Tensor, m: Tensor, v: Tensor, *given: Any) -> tuple[Tensor, Tensor, Tensor]:
    """The results of a step with corrected averages. given: its arguments."""
    t, (b1, b2) = given[4], given[6]
    return p, m / (1 - b1**t), v / (1 - b2**t)


_STEPS: dict[str, dict[str, Any]] = {
    "no bias correction: m and v start at 0 and are too small at first; the step needs sqrt(1 - b2^t) / (1 - b1^t)":
        {"corrects_m": False, "corrects_v": False},
    "the step is divided by v; it must be divided by sqrt(v), which has the units of the gradient": {"root": False},
    "v is an average of g; it must be an average of g^2": {"square": False},
    "the decay is added to the gradient. That is L2 regularization: Adam then divides it by sqrt(v), so weights with "
    "large gradients decay less. AdamW subtracts lr * wd * p from the weights directly": {"l2": True},
    "the decay takes p as it was before the step, as torch.optim.AdamW does; in the course's form it follows the step, "
    "so take the moved p": {"first": True},
    "the weight decay is missing: after the step, subtract lr * weight_decay * p": {"decay": lambda wd, lr: 0.0},
    "the decay is not multiplied by lr: subtract lr * weight_decay * p": {"decay": lambda wd, lr: wd},
    "the decay has the wrong sign, so the weights grow: subtract it": {"decay": lambda wd, lr: -lr * wd},
    "eps is inside the square root; it is added to sqrt(v)": {"inside": True},
    "t is off by one: t counts from 1, so b1 ** t is right and b1 ** (t - 1) divides by 0 at the first step":
        {"later": -1},
    "t is off by one: t is already 1 at the first step, so do not add 1": {"later": 1},
    "the step goes up the gradient: subtract it from p": {"sign": -1},
    "the two betas are swapped: the first is of m, the second of v": {"swapped": True},
    "only v is corrected: divide the step by 1 - b1^t too": {"corrects_m": False},
    "only m is corrected: multiply the step by sqrt(1 - b2^t) too": {"corrects_v": False},
    "the gradient enters m whole: m = b1 * m + (1 - b1) * g": {"whole": True},
}
ADAMW = {
    **{feedback: _adamw(**made) for feedback, made in _STEPS.items()},
    "eps is added to the corrected sqrt(v), as in torch; in the course's form it is added to the uncorrected one":
        _adamw(torchs=True),
    **{f"{feedback}. Besides, eps must be added to the uncorrected sqrt(v), not to the corrected one as in torch":
       _adamw(torchs=True, **made) for feedback, made in _STEPS.items() if made.get("corrects_v", True)},
    "sqrt(v) is divided by 1 - b2^t; v is, before the root is taken": _adamw(outside=True),
    "m and v are returned corrected; return the averages themselves, since the next step starts from them. Besides, "
    "eps must be added to the uncorrected sqrt(v), not to the corrected one as in torch":
        lambda *given: _corrected(*_adamw(torchs=True)(*given), *given),
    "m and v are returned corrected; return the averages themselves, since the next step starts from them":
        _adamw_then(lambda *results_and_given: _corrected(*results_and_given)),
    "the old m and v are returned: return the new ones": _adamw_then(lambda p, m, v, *given: (p, given[2], given[3])),
    "the old p is returned: return p after the step": _adamw_then(lambda p, m, v, *given: (given[0], m, v)),
    "only p is returned: return (p, m, v)": _adamw_then(lambda p, m, v, *given: p),
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
    "r has a sign, which tells whether y rises or falls with x: do not take the absolute value":
        lambda x, y: None if pearson(x, y) is None else abs(pearson(x, y)),
    "this is r squared; r itself has a sign": lambda x, y: None if pearson(x, y) is None else pearson(x, y) ** 2,
    "y can be constant too, and r is then undefined: return None for it as for x":
        lambda x, y: pearson(x, y) if y.min() < y.max() or x.min() == x.max() else math.nan,
    "x can be constant too, and r is then undefined: return None for it as for y":
        lambda x, y: pearson(x, y) if x.min() < x.max() or y.min() == y.max() else math.nan,
    "only x is centred: subtract the mean of y from y as well": lambda x, y: None if pearson(x, y) is None else float(
        F.cosine_similarity(_centred(x), y.double(), dim=0)),
    "only y is centred: subtract the mean of x from x as well": lambda x, y: None if pearson(x, y) is None else float(
        F.cosine_similarity(x.double(), _centred(y), dim=0)),
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
    "`if not sts` is also true for r = 0, which is a number like any other: ask `sts is None`":
        lambda sst, qqp, sts: overall_score(sst, qqp, sts) if sts else None,
    "an r of 0 is a number like any other: ask `sts is None`, not whether it is true":
        lambda sst, qqp, sts: overall_score(sst, qqp, sts) if sts else (sst + qqp) / 2,
    "1 / 2 is computed first: write (sts + 1) / 2":
        lambda sst, qqp, sts: None if sts is None else (sst + qqp + sts + 1 / 2) / 3,
    "r / 2 + 1 ranges from .5 to 1.5: write (r + 1) / 2":
        lambda sst, qqp, sts: None if sts is None else (sst + qqp + sts / 2 + 1) / 3,
    "only the last term is divided by 3: put the whole sum into parentheses":
        lambda sst, qqp, sts: None if sts is None else sst + qqp + (sts + 1) / 2 / 3,
    "a negative r counts too: do not cut it off at 0":
        lambda sst, qqp, sts: None if sts is None else overall_score(sst, qqp, max(sts, 0)),
    "a negative r is worse than none: do not take its absolute value":
        lambda sst, qqp, sts: None if sts is None else overall_score(sst, qqp, abs(sts)),
    "if r is undefined, so is the overall score: return None. A NaN makes every mean that contains it NaN":
        lambda sst, qqp, sts: math.nan if sts is None else overall_score(sst, qqp, sts),
    "if r is undefined, return None: there is no mean of three numbers":
        lambda sst, qqp, sts: (sst + qqp) / 3 if sts is None else overall_score(sst, qqp, sts),
    "sts can be None, with which nothing can be computed: return None if sts is None":
        lambda sst, qqp, sts: (sst + qqp + (sts + 1) / 2) / 3,
}

# ---- 04: PCGrad ------------------------------------------------------------------------------------------------------


def _pcgrad(itself: bool = False, running: bool = False, always: bool = False, norm: bool = False,
            total: bool = False, original: bool = False, own: bool = False, adds: bool = False, agree: bool = False,
            ordered: bool = True, once: bool = False, turned: bool = False, axis: int = 0,
            bare: bool = False, tested: bool = False) -> Callable:
    def weights(G: Tensor, orders: Sequence[Sequence[int]]) -> Tensor:
        W = torch.eye(len(G), dtype=G.dtype)
        for i, order in enumerate(orders):
            for j in order if ordered else range(len(G)):
                other = W[j].clone() if running else torch.eye(len(G), dtype=G.dtype)[j]
                dot, square = (G[i, j] if original else W[i] @ G @ other), G[i, i] if own else other @ G @ other
                sign = G[i, j] if tested else dot
                if (itself or j != i) and (always or (sign > 0 if agree else sign < 0)):
                    step = dot / (1 if bare else square.sqrt() if norm else square) * other * (-1 if adds else 1)
                    if turned:
                        W[:, i] -= step
                    else:
                        W[i] -= step
                    if once:
                        break
        return W.sum(axis) if total else W.mean(axis)

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
    "the conflict is looked for between the original gradients; the test too is of the current g_i, after the "
    "projections so far": _pcgrad(tested=True),
    "these are the weights of the plain mean: no gradient is projected":
        lambda G, orders: torch.full_like(G[0], 1 / len(G)),
    "the projection divides by G[i, i]; to remove the part along g_j, divide by |g_j|^2, which is G[j, j]":
        _pcgrad(own=True),
    "the conflicting part is added (+=); subtract it": _pcgrad(adds=True),
    "the order is ignored: gradient i must meet the others in the order of orders[i]": _pcgrad(ordered=False),
    "g_i is projected where it agrees with g_j; a conflict is a negative product, dot < 0": _pcgrad(agree=True),
    "the mean runs over the wrong axis: row i holds the weights of projected gradient i, so take the mean over rows, "
    "mean(0)": _pcgrad(axis=1),
    "only the first conflict is removed: go on through all of orders[i]": _pcgrad(once=True),
    "W is transposed: g_i loses a part along g_j, so it is W[i, j] that changes": _pcgrad(turned=True),
    "the product is not divided by |g_j|^2, which is G[j, j]": _pcgrad(bare=True),
    "these are the weights of the plain sum: no gradient is projected": lambda G, orders: torch.ones_like(G[0]),
    "this is the matrix of the projected gradients: return the mean of its rows, (T,)": lambda G, orders:
        torch.stack([pcgrad(G, [order if k == i else [] for k, order in enumerate(orders)]) * len(G)
                     - (1 - torch.eye(len(G), dtype=G.dtype)[i]) for i in range(len(G))]),
}


def _gse(first: str = "surgery", second: str | None = "sum", again: bool = True, lr: Callable = lambda lr: lr,
         sign: int = 1) -> Callable:
    """GSE with other updates. again: whether the second update's gradients are taken at the moved weights."""
    def moved(p: Tensor, gradients: Callable, surgery: Callable, rate: float) -> Tensor:
        updates = {"surgery": surgery, "sum": lambda g: g.sum(0), "mean": lambda g: g.mean(0), "all": lambda g: g.sum()}
        g, new = gradients(p), p
        for update in [first] + [second] * (second is not None):
            new = new - sign * lr(rate) * updates[update](gradients(new) if again else g)
        return new

    return moved


def _each_alone(p: Tensor, gradients: Callable, surgery: Callable, lr: float) -> Tensor:
    """A step along each task's gradient, one after the other."""
    for task in range(len(gradients(p))):
        p = p - lr * gradients(p)[task]
    return p


GSE = {
    "the second step takes the gradients from before the first: call gradients again, at the moved weights":
        _gse(again=False),
    "the second step is along the mean of the gradients; the report's second update is on the sum of the losses, so "
    "sum(0)": _gse(second="mean"),
    "the steps are in the wrong order: surgery first, then the plain sum": _gse("sum", "surgery"),
    "both steps are PCGrad's; the second is along the plain sum of the gradients": _gse(second="surgery"),
    "both steps are along the plain sum: that is the control `sum_sum`, without surgery": _gse("sum"),
    "the second step is missing: another one along the sum of the gradients, at the moved weights": _gse(second=None),
    "the step with surgery is missing: first p - lr * surgery(gradients(p))": _gse("sum", None),
    "both steps are along the mean of the gradients: the first is surgery(gradients(p)), the second their sum":
        _gse("mean", "mean"),
    "the first step is along the plain mean, without surgery": _gse("mean"),
    "each task takes a step of its own, as in the baseline; GSE's steps are two: surgery, then the sum": _each_alone,
    "the second step's sum is over tasks and weights together; it must run over the tasks alone, sum(0)":
        _gse(second="all"),
    "it climbs: a step that lowers the losses subtracts lr times the update": _gse(sign=-1),
    "the learning rate is missing: multiply each update by lr": _gse(lr=lambda lr: 1.0),
    "each step is half as long as it should be: both take the whole lr": _gse(lr=lambda lr: lr / 2),
    "this is how far the weights move: return the new weights, p minus that":
        lambda p, gradients, surgery, lr: p - gse(p, gradients, surgery, lr),
    "this is the difference to the old weights: return the new weights themselves":
        lambda p, gradients, surgery, lr: gse(p, gradients, surgery, lr) - p,
    "the weights after both steps are stacked: return only those after the second":
        lambda p, gradients, surgery, lr: torch.stack([p - lr * surgery(gradients(p)), gse(p, gradients, surgery, lr)]),
    "surgery takes the task gradients one a row, (T, P): do not sum them first":
        lambda p, gradients, surgery, lr: p - lr * surgery(gradients(p).sum(0)),
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
    "the vectors are divided by the length of the longest sentence; divide by that of each sentence":
        lambda hidden, mask: (hidden * mask.unsqueeze(-1)).sum(1) / mask.sum(1).max(),
    "this is one mean over the whole batch; take a mean for each sentence, over its tokens, dim=1":
        lambda hidden, mask: hidden[mask.bool()].mean(0).expand(len(hidden), -1),
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
    "norm() without dim is the length of the whole batch: use norm(dim=-1), one for each row":
        _features(lambda u, v: (u * v).sum(-1) / (u.norm() * v.norm())),
}

# ---- 06: SMART -------------------------------------------------------------------------------------------------------


SYMMETRIC_KL = {
    "this is only one direction: KL(p || q) differs from KL(q || p), and SMART adds both":
        lambda p, q: F.kl_div(q.log_softmax(-1), p.log_softmax(-1), reduction="batchmean", log_target=True),
    "this is also a mean over classes (reduction='mean'); a KL is a sum over classes, so use 'batchmean'":
        lambda p, q: symmetric_kl(p, q) / p.shape[-1],
    "this is the sum over rows; with the mean, the penalty does not depend on the batch size (trap 11 of notebook 09)":
        lambda p, q: symmetric_kl(p, q) * len(p),
    "this is half the sum of both directions (half of Jeffreys' divergence); SMART uses the whole sum":
        lambda p, q: symmetric_kl(p, q) / 2,
    "this is the divergence of Jensen and Shannon, a sum of both halves; SMART compares p and q directly": lambda p, q:
        sum((a.softmax(-1) * (a.log_softmax(-1) - ((p.softmax(-1) + q.softmax(-1)) / 2).log())).sum(-1)
            for a in (p, q)).mean(),
    "the logits are used directly: convert them to log-probabilities with log_softmax first":
        lambda p, q: ((p.exp() - q.exp()) * (p - q)).sum(-1).mean(),
    "this is the squared difference of the logits; adding a constant to all logits changes it, but no prediction":
        lambda p, q: ((p - q) ** 2).mean(),
    "this is only one direction, KL(q || p); SMART adds KL(p || q)":
        lambda p, q: F.kl_div(p.log_softmax(-1), q.log_softmax(-1), reduction="batchmean", log_target=True),
    "the softmax runs over the rows; it must run over the classes, dim=-1": lambda p, q: ((p.softmax(0) - q.softmax(0))
        * (p.log_softmax(0) - q.log_softmax(0))).sum(-1).mean(),
    "one direction is subtracted from the other: add the two":
        lambda p, q: symmetric_kl(p, q) - 2 * F.kl_div(p.log_softmax(-1), q.log_softmax(-1), reduction="batchmean",
                                                       log_target=True),
    "this is the sum of two cross-entropies; a KL also subtracts the entropy: p (log p - log q)":
        lambda p, q: -(p.softmax(-1) * q.log_softmax(-1) + q.softmax(-1) * p.log_softmax(-1)).sum(-1).mean(),
    "both arguments are log-probabilities, so F.kl_div needs log_target=True": lambda p, q: sum(
        F.kl_div(a.log_softmax(-1), b.log_softmax(-1), reduction="batchmean") for a, b in ((p, q), (q, p))),
    "F.kl_div takes log-probabilities as its first argument: pass log_softmax(-1), not softmax(-1)":
        lambda p, q: sum(F.kl_div(a.softmax(-1), b.softmax(-1), reduction="batchmean") for a, b in ((p, q), (q, p))),
    "this is the squared difference of the probabilities; use their logarithms, as a KL does":
        lambda p, q: ((p.softmax(-1) - q.softmax(-1)) ** 2).sum(-1).mean(),
    "this is the divergence of Jensen and Shannon, from the mean of the two; SMART compares p and q directly":
        lambda p, q: sum((a.softmax(-1) * (a.log_softmax(-1) - ((p.softmax(-1) + q.softmax(-1)) / 2).log())).sum(-1)
                         for a in (p, q)).mean() / 2,
    "this is one value for each row: take their mean": lambda p, q: torch.stack(
        [symmetric_kl(a, b) for a, b in zip(p.split(1), q.split(1), strict=True)]),
    "F.kl_div takes log-probabilities as its first argument: pass log_softmax(-1), not logits": lambda p, q:
        sum(F.kl_div(a, b.softmax(-1), reduction="batchmean") for a, b in ((p, q), (q, p))),
}


def _one_class(z: Tensor, w: Tensor) -> Tensor:
    """p log(p / q) + q log(q / p) for the positive class only."""
    return ((z.sigmoid() - w.sigmoid()) * (F.logsigmoid(z) - F.logsigmoid(w))).mean()


def _clamped(z: Tensor, w: Tensor) -> Tensor:
    """Both classes, of probabilities that are cut off."""
    p, q = (of.sigmoid().clamp(1e-6, 1 - 1e-6) for of in (z, w))
    return ((p - q) * (p.log() - q.log() - (1 - p).log() + (1 - q).log())).mean()


BERNOULLI_KL = {
    "this is always 0: the softmax over a single logit is 1 for any logit (trap 1 of notebook 09). A Bernoulli has two "
    "classes":
        lambda z, w: symmetric_kl(z.unsqueeze(-1), w.unsqueeze(-1)),
    "the softmax runs over the rows of the batch, which are independent of each other":
        lambda z, w: symmetric_kl(z.unsqueeze(0), w.unsqueeze(0)),
    "only the positive class is counted; add the other class, with the probabilities 1 - p and 1 - q":
        _one_class,
    "this is only one direction: SMART adds KL(p || q) and KL(q || p)":
        lambda z, w: (z.sigmoid() * (F.logsigmoid(z) - F.logsigmoid(w))
                      + (-z).sigmoid() * (F.logsigmoid(-z) - F.logsigmoid(-w))).mean(),
    "the probabilities are kept away from 0 and 1, which cuts off the divergence of large logits; use "
    "F.logsigmoid(-z), or log_softmax": _clamped,
    "this is NaN or inf for large logits, where 1 - sigmoid(z) is 0 and its logarithm -inf; use F.logsigmoid(-z), or "
    "log_softmax":
        lambda z, w: sum((a - b) * (a.log() - b.log())
                         for a, b in ((z.sigmoid(), w.sigmoid()), (1 - z.sigmoid(), 1 - w.sigmoid()))).mean(),
    "this is the sum over rows: take their mean": lambda z, w: bernoulli_kl(z, w) * len(z),
    "this is only one direction, KL(q || p): add KL(p || q)":
        lambda z, w: (w.sigmoid() * (F.logsigmoid(w) - F.logsigmoid(z))
                      + (-w).sigmoid() * (F.logsigmoid(-w) - F.logsigmoid(-z))).mean(),
    "(B, 1) against (B,) makes (B, B), every row with every other: give both the same shape":
        lambda z, w: torch.stack([bernoulli_kl(z, one.expand(len(z))) for one in w]).mean(),
    "this is also a mean over the two classes; a KL is a sum over classes": lambda z, w: bernoulli_kl(z, w) / 2,
    "the two classes have the logits 0 and z, not -z and z, which doubles the logit":
        lambda z, w: bernoulli_kl(2 * z, 2 * w),
    "the two classes have the logits 0 and z, not 1 and z, which shifts the logit by 1":
        lambda z, w: bernoulli_kl(z - 1, w - 1),
    "the sigmoid is applied twice: z and w are logits, and a function of logits must not be fed probabilities":
        lambda z, w: bernoulli_kl(z.sigmoid(), w.sigmoid()),
    "this is the squared difference of the probabilities; use their logarithms, as a KL does":
        lambda z, w: ((z.sigmoid() - w.sigmoid()) ** 2).mean(),
    "this is the squared difference of the logits; convert them to probabilities":
        lambda z, w: ((z - w) ** 2).mean(),
    "this is one value for each row: take their mean":
        lambda z, w: (z.sigmoid() - w.sigmoid()) * (z - w),
}
SMART_STEP = {
    "the noise moves down the gradient; it must move up, to where the prediction changes most":
        lambda noise, gradient, eta, eps: smart_step(noise, -gradient, eta, eps),
    "this is the update for reading='ball'; here eps only prevents a division by 0, it is not a radius": smart.ball,
    "this is half of the reading 'ball', a step that is cut off at eps; here the step is divided by its norm":
        lambda noise, gradient, eta, eps: (noise + eta * gradient).clamp(-eps, eps),
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
    "keepdim is missing: the norms must be (N, 1) to divide each token's row, amax(-1, keepdim=True)":
        lambda noise, gradient, eta, eps: (noise + eta * gradient) / ((noise + eta * gradient).abs().amax(-1) + eps),
    "abs is missing: the infinity norm is the largest absolute value, so abs() comes before amax":
        lambda noise, gradient, eta, eps: (noise + eta * gradient)
        / ((noise + eta * gradient).amax(-1, keepdim=True) + eps),
    "the norm runs over the tokens; it must run over the numbers of each token, dim=-1":
        lambda noise, gradient, eta, eps: (noise + eta * gradient)
        / ((noise + eta * gradient).abs().amax(0, keepdim=True) + eps),
    "the old noise is missing: normalize noise + eta * gradient":
        lambda noise, gradient, eta, eps: smart_step(torch.zeros_like(noise), gradient, eta, eps),
    "eta is missing: it is the size of the step along the gradient":
        lambda noise, gradient, eta, eps: smart_step(noise, gradient, 1.0, eps),
    "eps belongs to the denominator: put the norm and eps into parentheses":
        lambda noise, gradient, eta, eps: smart_step(noise, gradient, eta, 0.0) + eps,
    "the noise is scaled to the length eps; in this reading eps only prevents a division by 0":
        lambda noise, gradient, eta, eps: eps * smart_step(noise, gradient, eta, eps),
    "this divides by the sum of absolute values; the infinity norm is the largest of them":
        lambda noise, gradient, eta, eps: (noise + eta * gradient)
        / ((noise + eta * gradient).abs().sum(-1, keepdim=True) + eps),
    "the step is normalized by the norm of the gradient; normalize by the norm of noise + eta * gradient":
        lambda noise, gradient, eta, eps: (noise + eta * gradient) / (gradient.abs().amax(-1, keepdim=True) + eps),
    "the step is normalized by the norm of the old noise; normalize by the norm of noise + eta * gradient":
        lambda noise, gradient, eta, eps: (noise + eta * gradient) / (noise.abs().amax(-1, keepdim=True) + eps),
    "eta also multiplies the noise: step = noise + eta * gradient":
        lambda noise, gradient, eta, eps: smart_step(eta * noise, gradient, eta, eps),
    "eps is a lower limit of the norm here; it is added to the norm": lambda noise, gradient, eta, eps:
        (noise + eta * gradient) / (noise + eta * gradient).abs().amax(-1, keepdim=True).clamp_min(eps),
}

# ---- 07: sampling ----------------------------------------------------------------------------------------------------


def _proportional(sizes: Sequence[int], alpha: float) -> Tensor:
    p = torch.tensor(sizes, dtype=torch.float64) ** alpha
    return p / p.sum()


ANNEALED = {
    "this is proportional sampling, as if alpha stayed at 1: it is an exponent, N ** alpha, and must fall to 0.2":
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
    "alpha stays at 0.2: it must start at 1 and fall over the epochs": lambda s, e, E: _proportional(s, 0.2),
    "alpha is 1 - 0.8 (e - 1) / E, which does not reach 0.2 in the last epoch: divide by E - 1":
        lambda s, e, E: _proportional(s, 1 - 0.8 * (e - 1) / E),
    "alpha is 1 - 0.8 e / (E - 1): epochs count from 1, so use e - 1":
        lambda s, e, E: _proportional(s, 1 - 0.8 * e / (E - 1) if E > 1 else 1.0),
    "with a single epoch, E - 1 is 0, and dividing by it raises ZeroDivisionError: alpha must then be 1":
        lambda s, e, E: _proportional(s, 1 - 0.8 * (e - 1) / (E - 1)),
    "alpha falls by 0.2, from 1 to 0.8; it must fall by 0.8, to 0.2":
        lambda s, e, E: _proportional(s, 1 - 0.2 * (e - 1) / (E - 1) if E > 1 else 1.0),
    "with a single epoch alpha must be 1, as in the first epoch; this is 0.2, as in the last":
        lambda s, e, E: annealed(s, e, E) if E > 1 else _proportional(s, 0.2),
    "the shares are raised to alpha after they were normalized: normalize last, so that they sum to 1":
        lambda s, e, E: _proportional(s, 1) ** (1 - 0.8 * (e - 1) / (E - 1) if E > 1 else 1.0),
    "the exponent is 1 / alpha, which favours the large sets more and more: use N ** alpha":
        lambda s, e, E: _proportional(s, 1 / (1 - 0.8 * (e - 1) / (E - 1) if E > 1 else 1.0)),
    "divide by the sum of the powers N ** alpha, not by that of the sizes": lambda s, e, E: (
        torch.tensor(s, dtype=torch.float64) ** (1 - 0.8 * (e - 1) / (E - 1) if E > 1 else 1.0) / sum(s)),
    "every task has the same probability: use their sizes, N ** alpha": lambda s, e, E: _proportional(s, 0),
    "this is a softmax over the sizes, which gives the largest set everything: normalize N ** alpha":
        lambda s, e, E: (torch.tensor(s, dtype=torch.float64)
                         * (1 - 0.8 * (e - 1) / (E - 1) if E > 1 else 1.0)).softmax(0),
    "alpha rises from 0.2 to 1; it must fall, so that the large data set dominates first":
        lambda s, e, E: _proportional(s, 0.2 + 0.8 * (e - 1) / (E - 1) if E > 1 else 0.2),
}

# ---- 08: intervals ---------------------------------------------------------------------------------------------------


def _interval(t: float | None = None, ddof: int = 1, root: bool = True, few: bool = False, df: int = -1,
              quantile: float = 0.975, width: float = 1, power: float = 0.5, less: int = 0,
              squared: bool = False) -> Callable:
    def wrong(values: Sequence[float]) -> tuple[float, float, float]:
        from scipy import stats

        x, n = torch.tensor(values, dtype=torch.float64), len(values)
        if n < (2 if few else 3):
            return float(x.mean()), math.nan, math.nan
        spread = float(x.std(correction=ddof)) ** (2 if squared else 1) / ((n - less) ** power if root else 1)
        half = width * (t or stats.t.ppf(quantile, n + df)) * spread
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
    "this standard deviation divides by n, as numpy does without ddof=1; that of a sample divides by n - 1. Below 3 "
    "seeds low and high must be NaN": _interval(ddof=0, few=True),
    "this is the variance: take its root, the standard deviation": _interval(squared=True),
    "this is the variance, divided by n: take its root, and divide by n - 1": _interval(squared=True, ddof=0),
    "this is the mean and half of the width: return (mean, mean - half, mean + half)": lambda values:
        (interval(values)[0], interval(values)[2] - interval(values)[0]),
    "the degrees of freedom are n - 1, not n": _interval(df=0),
    "the degrees of freedom are n - 1; n - 2 is for a line through points": _interval(df=-2),
    "ppf(0.95) leaves 5 % on one side; a 95 % interval leaves 2.5 % on each, so ppf(0.975)": _interval(quantile=0.95),
    "low and high are swapped; if you took ppf(0.025), it is negative: use ppf(0.975)":
        lambda values: (interval(values)[0], *interval(values)[:0:-1]),
    "this is half as wide: the interval reaches by the whole t s / sqrt(n) to both sides": _interval(width=0.5),
    "the standard deviation is divided by n; divide it by sqrt(n)": _interval(power=1.0),
    "the standard deviation is divided by sqrt(n - 1); divide it by sqrt(n)": _interval(less=1),
    "there is no t: the interval is the mean and the standard error, which covers far less than 95 %": _interval(t=1.0),
    "2 is a rule of thumb; with few seeds use Student's t, 4.30 for 3 seeds and 2.78 for 5": _interval(t=2.0),
    "below 3 seeds low and high must be NaN (math.nan), not None":
        lambda values: interval(values) if len(values) > 2 else (interval(values)[0], None, None),
    "below 3 seeds only low and high are NaN; the mean is still known":
        lambda values: interval(values) if len(values) > 2 else (math.nan,) * 3,
    "below 3 seeds low and high must be NaN: an interval of no width would claim certainty":
        lambda values: interval(values) if len(values) > 2 else (interval(values)[0],) * 3,
    "this is the half-width: return the ends of the interval, mean - half and mean + half":
        lambda values: (interval(values)[0], *[interval(values)[2] - interval(values)[0]] * 2),
    "the mean is missing: return (mean, low, high)": lambda values: interval(values)[1:],
    "this is the middle value; the interval belongs to the mean": lambda values:
        (float(torch.tensor(values, dtype=torch.float64).median()), *interval(values)[1:]),
}


def _without_a_coin(b: int, c: int) -> float:
    if b + c == 0:
        raise ValueError("n must be an integer not less than 1")
    return mcnemar(b, c)


def _mcnemar(sides: int = 2, most: float = 1.0, k: Callable = lambda b, c: range(min(b, c) + 1)) -> Callable:
    return lambda b, c: min(most, sides * sum(math.comb(b + c, i) for i in k(b, c)) / 2 ** (b + c))


def _chi_square(b: int, c: int, correction: int = 0) -> float:
    from scipy import stats

    return float(stats.chi2.sf((abs(b - c) - correction) ** 2 / (b + c), 1))


MCNEMAR = {
    "this is only one tail; either run may be the better one, so p is twice the smaller tail":
        _mcnemar(sides=1),
    "p exceeds 1 if b = c, because the two tails then overlap: limit it to 1": _mcnemar(most=math.inf),
    "this counts only the observed outcome; add the more extreme ones: k from 0 to min(b, c)":
        _mcnemar(k=lambda b, c: [min(b, c)]),
    "the tail ends at the larger count; it must end at the smaller one, min(b, c)":
        _mcnemar(most=math.inf, k=lambda b, c: range(max(b, c) + 1)),
    "it is 1 in every case, since the sum is too large and cut off: it ends at min(b, c), and is divided by "
    "2 ** (b + c)":
        _mcnemar(k=lambda b, c: range(max(b, c) + 1)),
    "range(min(b, c)) stops too early: k = min(b, c) belongs to the tail": _mcnemar(k=lambda b, c: range(min(b, c))),
    "this is McNemar's chi-square test, an approximation for b + c above about 25; the exact test is binomial":
        _chi_square,
    "this is the tail below b alone, which is not the smaller one if b > c: sum up to min(b, c)":
        _mcnemar(k=lambda b, c: range(b + 1)),
    "this is the tail below c alone, which is not the smaller one if c > b: sum up to min(b, c)":
        _mcnemar(k=lambda b, c: range(c + 1)),
    "k = 0 belongs to the tail: sum from 0 to min(b, c)": _mcnemar(k=lambda b, c: range(1, min(b, c) + 1)),
    "the sum must be divided by 2 ** (b + c), the number of all outcomes":
        lambda b, c: 2 * float(sum(math.comb(b + c, k) for k in range(min(b, c) + 1))),
    "this is 1 - p: p is the probability of the tails themselves": lambda b, c: 1 - mcnemar(b, c),
    "this is McNemar's chi-square test with a correction, an approximation; the exact test is binomial":
        lambda b, c: _chi_square(b, c, 1),
    "without any example on which the runs differ nothing speaks against chance: p is 1 for b = c = 0":
        lambda b, c: mcnemar(b, c) if b + c else math.nan,
    "p is 1 for b = c = 0, not 0: nothing speaks against chance": lambda b, c: mcnemar(b, c) if b + c else 0.0,
    "n is b + c, not max(b, c): all examples on which the runs differ count":
        lambda b, c: min(1.0, 2 * sum(math.comb(max(b, c), k) for k in range(min(b, c) + 1)) / 2 ** max(b, c)),
    "2 ** (b + c) is the number of outcomes of b + c examples; this divides by one power of 2 too many":
        lambda b, c: min(1.0, sum(math.comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c + 1)),
    "the binomial coefficients are missing: count with math.comb(b + c, k)":
        lambda b, c: min(1.0, 2 * len(range(min(b, c) + 1)) / 2 ** (b + c)),
    "binomtest needs at least one example: for b = c = 0, p is 1, since nothing speaks against chance":
        _without_a_coin,
    "this counts only the observed outcome, twice; add the more extreme ones: k from 0 to min(b, c)":
        _mcnemar(most=math.inf, k=lambda b, c: [min(b, c)]),
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
    "[PAD] is removed from the first sentence only": lambda a, b: (
        cross_input(a, [1])[0] + b[1:], [0] * len(cross_input(a, [1])[0]) + [1] * (len(b) - 1)),
    "[PAD] is removed from the second sentence only": lambda a, b: (
        a + cross_input([], b)[0], [0] * len(a) + [1] * len(cross_input([], b)[0])),
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
    "this is the mean of each sentence; take its last token":
        lambda hidden, lengths: torch.stack([part.mean(0) for part in hidden.split(lengths.tolist())]),
    "this is the largest of each sentence; take its last token":
        lambda hidden, lengths: torch.stack([part.amax(0) for part in hidden.split(lengths.tolist())]),
    "this is the sum of each sentence; take its last token":
        lambda hidden, lengths: torch.stack([part.sum(0) for part in hidden.split(lengths.tolist())]),
    "this is only the last sentence: return one row for each": lambda hidden, lengths: hidden[-1:],
    "this is only the last sentence, without its row: return (S, H)": lambda hidden, lengths: hidden[-1],
    "the sentences are in reverse order: keep the order of the batch":
        lambda hidden, lengths: hidden[lengths.cumsum(0) - 1].flip(0),
    "the last tokens are joined to one long row: return (S, H)":
        lambda hidden, lengths: hidden[lengths.cumsum(0) - 1].flatten(),
    "these are the places of the last tokens: take those rows of hidden": lambda hidden, lengths: lengths.cumsum(0) - 1,
}

WRONG_ANSWERS: dict[str, Wrong] = {
    "attention": ATTENTION, "adamw": ADAMW, "pearson": PEARSON, "overall_score": OVERALL, "pcgrad": PCGRAD,
    "gse": GSE, "mean_pool": MEAN_POOL, "cosine_features": COSINE_FEATURES, "symmetric_kl": SYMMETRIC_KL,
    "bernoulli_kl": BERNOULLI_KL, "smart_step": SMART_STEP, "annealed": ANNEALED, "interval": INTERVAL,
    "mcnemar": MCNEMAR, "cross_input": CROSS_INPUT, "last_pool": LAST_POOL,
}
