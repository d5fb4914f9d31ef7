"""The notebooks' exercises: a right answer, cases small enough to check by hand, and what people write instead.

`lab.teach.check` calls a learner's function on the cases. An answer that is wrong in the way of one of the typical
mistakes is told so in that mistake's words. A right answer is what `lab.teach.solution` shows; each equals the lab's
own running code (tests/test_teach.py).

Shapes: L tokens, D size of a head, B rows, H hidden size, N packed tokens, T tasks, C classes.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lab import smart


class Exercise(NamedTuple):
    """What a learner's function is asked, and what its answers tell."""

    right: Callable
    cases: dict[str, tuple]  # what a case is about -> its arguments
    wrong: dict[str, Callable]  # what to say -> the function that someone wrote who needs to hear it


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---- 01: attention ---------------------------------------------------------------------------------------------------


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """One head's attention (Vaswani et al. 2017, equation 1): (L, D) three times, mask (L,) -> (L, D)."""
    scores = q @ k.T / q.shape[-1] ** 0.5  # (L, L): a row is the token that looks, a column the one looked at
    scores = scores.masked_fill(~mask, -torch.inf)
    return scores.softmax(-1) @ v


def _attention(scale: Callable = math.sqrt, dim: int = -1, hidden: float = -torch.inf) -> Callable:
    return lambda q, k, v, mask: (q @ k.T / scale(q.shape[-1])).masked_fill(~mask, hidden).softmax(dim) @ v


_QKV = tuple(_random(3, 4, seed=s) for s in range(3))
ATTENTION = Exercise(attention, {
    "three tokens, all of them real": (*_QKV, torch.tensor([True, True, True])),
    "three tokens, the last is padding": (*_QKV, torch.tensor([True, True, False])),
}, {
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
})

# ---- 02: AdamW -------------------------------------------------------------------------------------------------------


def adamw(p: Tensor, g: Tensor, m: Tensor, v: Tensor, t: int, lr: float, betas: tuple[float, float], eps: float,
          weight_decay: float) -> tuple[Tensor, Tensor, Tensor]:
    """Step number t of AdamW (Loshchilov and Hutter 2019) in the course's form: the new p, m and v."""
    b1, b2 = betas
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g**2
    p = p - lr * (1 - b2**t) ** 0.5 / (1 - b1**t) * m / (v.sqrt() + eps)
    return p - lr * weight_decay * p, m, v


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


_ADAM = (torch.tensor([1.0, -2.0]), torch.tensor([0.5, 0.1]))
_BETAS = (0.9, 0.999)
ADAMW = Exercise(adamw, {
    "the first step, without decay": (*_ADAM, torch.zeros(2), torch.zeros(2), 1, 0.1, _BETAS, 1e-2, 0.0),
    "the third step": (*_ADAM, torch.tensor([0.2, 0.3]), torch.tensor([0.1, 0.4]), 3, 0.1, _BETAS, 1e-2, 0.0),
    "weight decay": (*_ADAM, torch.tensor([0.2, 0.3]), torch.tensor([0.1, 0.4]), 3, 0.1, _BETAS, 1e-2, 0.5),
}, {
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
})

# ---- 03: scores ------------------------------------------------------------------------------------------------------


def pearson(x: Tensor, y: Tensor) -> float | None:
    """Pearson's r of two series (N,); None where one of them is constant, for it has no r."""
    x, y = x.double() - x.double().mean(), y.double() - y.double().mean()
    if not x.any() or not y.any():
        return None
    return float(x @ y / (x.norm() * y.norm()))


def _centred(x: Tensor) -> Tensor:
    return x.double() - x.double().mean()


def _ranks(x: Tensor) -> Tensor:
    return x.argsort().argsort().double()


PEARSON = Exercise(pearson, {
    "four pairs": (torch.tensor([0.0, 1.0, 2.0, 5.0]), torch.tensor([1.0, 1.5, 4.0, 3.0])),
    "the same numbers, ten times as large": (torch.tensor([0.0, 10.0, 20.0, 50.0]), torch.tensor([1.0, 1.5, 4.0, 3.0])),
    "a constant prediction": (torch.tensor([2.0, 2.0, 2.0]), torch.tensor([0.0, 1.0, 5.0])),
}, {
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
})


def overall_score(sst: float, qqp: float, sts: float | None) -> float | None:
    """The paper's overall score: the mean of two accuracies and of (r + 1) / 2, which lies in 0 to 1 as they do."""
    return None if sts is None else (sst + qqp + (sts + 1) / 2) / 3


OVERALL = Exercise(overall_score, {
    "the paper's baseline": (0.512, 0.731, 0.361),
    "an anticorrelated prediction": (0.5, 0.5, -1.0),
    "no Pearson r": (0.5, 0.6, None),
}, {
    "r goes in as it is; it runs from -1 to 1, so (r + 1) / 2 brings it onto the scale of an accuracy":
        lambda sst, qqp, sts: None if sts is None else (sst + qqp + sts) / 3,
    "this is the sum; the score is a mean of three": lambda sst, qqp, sts: None if sts is None
    else sst + qqp + (sts + 1) / 2,
    "where r does not exist the overall score does not either: return None, do not count it as 0":
        lambda sst, qqp, sts: (sst + qqp + ((sts or 0.0) + 1) / 2) / 3,
    "where r does not exist the overall score does not either: a mean of the other two would compare unlike things":
        lambda sst, qqp, sts: (sst + qqp) / 2 if sts is None else (sst + qqp + (sts + 1) / 2) / 3,
})

# ---- 04: PCGrad ------------------------------------------------------------------------------------------------------


def pcgrad(G: Tensor, orders: Sequence[Sequence[int]]) -> Tensor:
    """PCGrad (Yu et al. 2020, algorithm 1) on the Gramian G (T, T): weights (T,), the mean of the projected gradients.

    orders[i] is the order, a list of all tasks, in which gradient i meets the others.
    """
    T = len(G)
    W = torch.eye(T, dtype=G.dtype)  # row i: g_i as a mixture of the original gradients
    for i in range(T):
        for j in orders[i]:
            dot = W[i] @ G[j]  # of the running g_i with the original g_j
            if j != i and dot < 0:
                W[i, j] -= dot / G[j, j]
    return W.mean(0)


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


def _gramian(*vectors: tuple[float, ...]) -> Tensor:
    g = torch.tensor(vectors, dtype=torch.float64)
    return g @ g.T


PCGRAD = Exercise(pcgrad, {
    "two gradients that agree: (2, 0) and (1, 1)": (_gramian((2, 0), (1, 1)), [[0, 1], [1, 0]]),
    "two gradients in conflict: (2, 0) and (-1, 1)": (_gramian((2, 0), (-1, 1)), [[0, 1], [1, 0]]),
    "three gradients, the first meets itself last: (1, 0), (-1, .1), (-.7, -.7)":
        (_gramian((1, 0), (-1, .1), (-.7, -.7)), [[1, 2, 0], [0, 2, 1], [0, 1, 2]]),
    "the same three in another order": (_gramian((1, 0), (-1, .1), (-.7, -.7)), [[2, 1, 0], [2, 0, 1], [1, 0, 2]]),
}, {
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
})

# ---- 05: sentence vectors --------------------------------------------------------------------------------------------


def mean_pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """The mean over real tokens: hidden (B, L, H), mask (B, L) with 1 at them -> (B, H)."""
    mask = mask.unsqueeze(-1).to(hidden.dtype)  # (B, L, 1)
    return (hidden * mask).sum(1) / mask.sum(1)


MEAN_POOL = Exercise(mean_pool, {
    "one sentence without padding": (_random(1, 3, 2, seed=3), torch.tensor([[1, 1, 1]])),
    "two sentences, the second is padded": (_random(2, 4, 3, seed=4), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])),
}, {
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
})


def cosine_features(u: Tensor, v: Tensor) -> Tensor:
    """What the cosine_2d1 head's linear layer sees: u (B, H), v (B, H) -> [u; v; cos(u, v)] (B, 2H + 1)."""
    cosine = F.cosine_similarity(u, v, dim=-1).unsqueeze(-1)  # (B, 1)
    return torch.cat([u, v, cosine], dim=-1)


def _features(last: Callable) -> Callable:
    return lambda u, v: torch.cat([u, v, last(u, v).unsqueeze(-1)], -1)


COSINE_FEATURES = Exercise(cosine_features, {
    "two pairs": (torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[4.0, 3.0], [0.0, 2.0]])),
    "three random pairs": (_random(3, 4, seed=5), _random(3, 4, seed=6)),
}, {
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
})

# ---- 06: SMART -------------------------------------------------------------------------------------------------------


def symmetric_kl(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) + KL(q || p) in nats, of logits (B, C) each: summed over classes, mean over rows."""
    p, q = p.log_softmax(-1), q.log_softmax(-1)
    return ((p.exp() - q.exp()) * (p - q)).sum(-1).mean()


_LOGITS = (torch.tensor([[1.0, 0.0, -1.0], [0.2, 0.3, 2.0]]), torch.tensor([[0.0, 0.5, -1.0], [0.1, -0.4, 1.0]]))
SYMMETRIC_KL = Exercise(symmetric_kl, {
    "twice the same logits": (_LOGITS[0], _LOGITS[0]),
    "one row, three classes": (_LOGITS[0][:1], _LOGITS[1][:1]),
    "two rows, three classes": _LOGITS,
    "the same logits, shifted by 7: a softmax does not see that": (_LOGITS[0] + 7, _LOGITS[1]),
}, {
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
})


def bernoulli_kl(z: Tensor, w: Tensor) -> Tensor:
    """The same for two Bernoulli distributions with logits z and w (B,): their two classes have the logits [0, z]."""
    return symmetric_kl(torch.stack([torch.zeros_like(z), z], -1), torch.stack([torch.zeros_like(w), w], -1))


def _one_class(z: Tensor, w: Tensor) -> Tensor:
    """p log(p / q) and q log(q / p) of the positive class alone."""
    return ((z.sigmoid() - w.sigmoid()) * (F.logsigmoid(z) - F.logsigmoid(w))).mean()


BERNOULLI_KL = Exercise(bernoulli_kl, {
    "one row": (torch.tensor([1.0]), torch.tensor([-0.5])),
    "three rows": (torch.tensor([1.0, -2.0, 0.3]), torch.tensor([0.0, 1.0, 0.3])),
    "large logits": (torch.tensor([60.0]), torch.tensor([-60.0])),
}, {
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
})


def smart_step(noise: Tensor, gradient: Tensor, eta: float, eps: float) -> Tensor:
    """How SMART's noise moves in the libraries' reading: (N, H), (N, H) -> (N, H), a token a row."""
    step = noise + eta * gradient
    return step / (step.abs().amax(-1, keepdim=True) + eps)


_NOISE = (torch.tensor([[0.1, -0.2], [0.0, 0.3]]), torch.tensor([[1.0, 2.0], [-4.0, 0.5]]), 0.5, 0.05)
SMART_STEP = Exercise(smart_step, {
    "one token": (_NOISE[0][:1], _NOISE[1][:1], *_NOISE[2:]),
    "two tokens": _NOISE,
    "no noise and no gradient: the guard keeps 0 / 0 away": (torch.zeros(1, 2), torch.zeros(1, 2), 0.5, 0.05),
}, {
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
})

# ---- 07: sampling ----------------------------------------------------------------------------------------------------


def annealed(sizes: Sequence[int], epoch: int, epochs: int) -> Tensor:
    """Probabilities of the tasks, (T,): N^alpha, alpha from 1 to 0.2 (Stickland and Murray 2019, section 4.3)."""
    alpha = 1 - 0.8 * (epoch - 1) / (epochs - 1) if epochs > 1 else 1.0
    p = torch.tensor(sizes, dtype=torch.float64) ** alpha
    return p / p.sum()


def _proportional(sizes: Sequence[int], alpha: float) -> Tensor:
    p = torch.tensor(sizes, dtype=torch.float64) ** alpha
    return p / p.sum()


_SIZES = [8544, 120674, 6040]  # of SST, QQP and STS
ANNEALED = Exercise(annealed, {
    "the first epoch of ten": (_SIZES, 1, 10),
    "the fourth epoch of ten": (_SIZES, 4, 10),
    "the last epoch of ten": (_SIZES, 10, 10),
    "one epoch alone": (_SIZES, 1, 1),
}, {
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
})

# ---- 08: intervals ---------------------------------------------------------------------------------------------------


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean of scores over seeds and Student's 95 % interval (mean, low, high); below 3 seeds the last two are nan."""
    from scipy import stats

    x = torch.tensor(values, dtype=torch.float64)
    mean, n = float(x.mean()), len(x)
    if n < 3:
        return mean, math.nan, math.nan
    half = stats.t.ppf(0.975, n - 1) * float(x.std()) / n**0.5  # std divides by n - 1
    return mean, mean - half, mean + half


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


INTERVAL = Exercise(interval, {
    "three seeds": ([0.52, 0.55, 0.53],),
    "five seeds": ([0.520, 0.550, 0.530, 0.541, 0.528],),
    "two seeds": ([0.52, 0.55],),
}, {
    "1.96 is the normal distribution's; with few seeds Student's t with n - 1 is 4.30 at 3 and 2.78 at 5":
        _interval(t=1.96),
    "the standard deviation divides by n; of a sample it divides by n - 1": _interval(ddof=0),
    "this is the spread of one seed; that of their mean is smaller by sqrt(n)": _interval(root=False),
    "two seeds get an interval: t is 12.7 there, wider than anything it could tell; the lab gives nan below 3":
        _interval(few=True),
    "low and high have changed places": lambda values: (interval(values)[0], *interval(values)[:0:-1]),
})

EXERCISES: dict[str, Exercise] = {
    "attention": ATTENTION, "adamw": ADAMW, "pearson": PEARSON, "overall_score": OVERALL, "pcgrad": PCGRAD,
    "mean_pool": MEAN_POOL, "cosine_features": COSINE_FEATURES, "symmetric_kl": SYMMETRIC_KL,
    "bernoulli_kl": BERNOULLI_KL, "smart_step": SMART_STEP, "annealed": ANNEALED, "interval": INTERVAL,
}
