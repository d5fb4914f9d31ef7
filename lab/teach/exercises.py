"""The exercises of the notebooks: the right answers, and cases that are small enough to check by hand.

`lab.teach.check` calls a learner's function on these cases and on others, drawn anew at each check (draws.py), and
compares with the right answer, which `lab.teach.solution` shows. Common wrong answers are in wrong_answers.py. Each
right answer equals the code that the lab runs (tests/teach/test_exercises.py).

Shapes: L tokens, D size of a head, B rows, H hidden size, N packed tokens, S sentences, T tasks, C classes.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lab import smart
from lab.teach import draws


class Exercise(NamedTuple):
    """The right answer to an exercise, and the cases on which a learner's function is checked."""

    right: Callable
    cases: dict[str, tuple]  # description of a case -> its arguments
    draw: Callable[[draws.Draw], dict[str, tuple]]  # more of them, of other sizes and constants
    gradients: tuple[str, ...] = ()  # the arguments to which training needs the gradient
    matters: Callable | None = None  # (answer, *arguments) -> the part or form of the answer that is compared
    also: Callable | None = None  # the same values with another gradient, which is right too
    parts: tuple[str, ...] = ()  # the names of the results, where there are several


EXERCISES: dict[str, Exercise] = {}


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---- 01: attention ---------------------------------------------------------------------------------------------------


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Attention of one head (Vaswani et al. 2017, equation 1): q, k, v (L, D), mask (L,) -> (L, D)."""
    scores = q @ k.T / q.shape[-1] ** 0.5  # (L, L): row = query token, column = key token
    scores = scores.masked_fill(~mask, -torch.inf)
    return scores.softmax(-1) @ v


_QKV = tuple(_random(3, 4, seed=s) for s in range(3))
EXERCISES["attention"] = Exercise(attention, {
    "three tokens, all of them real": (*_QKV, torch.tensor([True, True, True])),
    "three tokens, the last is padding": (*_QKV, torch.tensor([True, True, False])),
}, draws.attention, gradients=("q", "k", "v"), matters=lambda out, q, k, v, mask: out[mask])

# ---- 02: AdamW -------------------------------------------------------------------------------------------------------


def adamw(p: Tensor, g: Tensor, m: Tensor, v: Tensor, t: int, lr: float, betas: tuple[float, float], eps: float,
          weight_decay: float) -> tuple[Tensor, Tensor, Tensor]:
    """Step t of AdamW (Loshchilov and Hutter 2019) in the course's form. Returns the new p, m and v."""
    b1, b2 = betas
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g**2
    p = p - lr * (1 - b2**t) ** 0.5 / (1 - b1**t) * m / (v.sqrt() + eps)
    return p - lr * weight_decay * p, m, v


_ADAM = (torch.tensor([1.0, -2.0]), torch.tensor([0.5, 0.1]))
_BETAS = (0.9, 0.999)
EXERCISES["adamw"] = Exercise(adamw, {
    "the first step, without decay": (*_ADAM, torch.zeros(2), torch.zeros(2), 1, 0.1, _BETAS, 1e-2, 0.0),
    "the third step": (*_ADAM, torch.tensor([0.2, 0.3]), torch.tensor([0.1, 0.4]), 3, 0.1, _BETAS, 1e-2, 0.0),
    "weight decay": (*_ADAM, torch.tensor([0.2, 0.3]), torch.tensor([0.1, 0.4]), 3, 0.1, _BETAS, 1e-2, 0.5),
}, draws.adamw, parts=("p", "m", "v"))

# ---- 03: scores ------------------------------------------------------------------------------------------------------


def pearson(x: Tensor, y: Tensor) -> float | None:
    """Pearson's r of two series (N,); None if one of them is constant, because r is then undefined."""
    if x.min() == x.max() or y.min() == y.max():
        return None
    x, y = x.double() - x.double().mean(), y.double() - y.double().mean()
    return float(x @ y / (x.norm() * y.norm()))


EXERCISES["pearson"] = Exercise(pearson, {
    "four pairs": (torch.tensor([0.0, 1.0, 2.0, 5.0]), torch.tensor([1.0, 1.5, 4.0, 3.0])),
    "the same numbers, ten times as large": (torch.tensor([0.0, 10.0, 20.0, 50.0]), torch.tensor([1.0, 1.5, 4.0, 3.0])),
    "a constant prediction": (torch.tensor([2.73, 2.73, 2.73]), torch.tensor([0.0, 1.0, 5.0])),
    "numbers whose squares do not fit into float32":
        (torch.tensor([1e25, 2e25, 4e25]), torch.tensor([2e25, 1e25, 5e25])),
}, draws.pearson)


def overall_score(sst: float, qqp: float, sts: float | None) -> float | None:
    """The paper's overall score: the mean of two accuracies and (r + 1) / 2, which ranges from 0 to 1 like them."""
    return None if sts is None else (sst + qqp + (sts + 1) / 2) / 3


EXERCISES["overall_score"] = Exercise(overall_score, {
    "the paper's baseline": (0.512, 0.731, 0.361),
    "an anticorrelated prediction": (0.5, 0.5, -1.0),
    "no Pearson r": (0.5, 0.6, None),
}, draws.overall_score)

# ---- 04: PCGrad ------------------------------------------------------------------------------------------------------


def pcgrad(G: Tensor, orders: Sequence[Sequence[int]]) -> Tensor:
    """PCGrad (Yu et al. 2020, algorithm 1) on the Gramian G (T, T) of the task gradients -> their weights (T,).

    The weights give the mean of the projected gradients, as in the CS224N report; Yu et al. take the sum.
    orders[i] is the order, a list of all tasks, in which gradient i is projected.
    """
    T = len(G)
    W = torch.eye(T, dtype=G.dtype)  # row i: g_i as a linear combination of the original gradients
    for i in range(T):
        for j in orders[i]:
            dot = W[i] @ G[j]  # of the current g_i with the original g_j
            if j != i and dot < 0:
                W[i, j] -= dot / G[j, j]
    return W.mean(0)


def _update(w: Tensor, G: Tensor, orders: object) -> Tensor:
    """The update that weights w (T,) make, in coordinates (T,) in units of the longest gradient.

    With G = V diag(s) V^T, the gradients are the rows of V diag(sqrt(s)), but for a rotation. Other weights with the
    same update exist where the gradients depend on each other linearly.
    """
    s, V = torch.linalg.eigh(G)
    return w @ (V * s.clamp_min(0).sqrt()) / G.diagonal().max().sqrt()


def _gramian(*vectors: tuple[float, ...]) -> Tensor:
    g = torch.tensor(vectors, dtype=torch.float64)
    return g @ g.T


EXERCISES["pcgrad"] = Exercise(pcgrad, {
    "two gradients that agree: (2, 0) and (1, 1)": (_gramian((2, 0), (1, 1)), [[0, 1], [1, 0]]),
    "two gradients in conflict: (2, 0) and (-1, 1)": (_gramian((2, 0), (-1, 1)), [[0, 1], [1, 0]]),
    "three gradients, the first meets itself last: (1, 0), (-1, .1), (-.7, -.7)":
        (_gramian((1, 0), (-1, .1), (-.7, -.7)), [[1, 2, 0], [0, 2, 1], [0, 1, 2]]),
    "the same three in another order": (_gramian((1, 0), (-1, .1), (-.7, -.7)), [[2, 1, 0], [2, 0, 1], [1, 0, 2]]),
    "the third has length 0: (1, 0), (-1, 1), (0, 0)":
        (_gramian((1, 0), (-1, 1), (0, 0)), [[1, 2, 0], [0, 2, 1], [0, 1, 2]]),
}, draws.pcgrad, matters=_update)


def gse(p: Tensor, gradients: Callable, surgery: Callable, lr: float) -> Tensor:
    """An iteration of the CS224N report's GSE, with plain gradient descent: weights p (P,) -> the new weights (P,).

    gradients(p) are the task gradients at p, (T, P); surgery(g) is PCGrad's update of such gradients, (P,).
    """
    p = p - lr * surgery(gradients(p))
    return p - lr * gradients(p).sum(0)


EXERCISES["gse"] = Exercise(gse, {
    "two tasks that conflict": (torch.tensor([0.0, 0.0]), draws.Bowls([1.0, 1.0], [[2.0, 0.0], [-1.0, 1.0]]),
                                draws.Surgery(), 0.5),
    "two tasks that agree": (torch.tensor([1.0, 2.0]), draws.Bowls([1.0, 0.5], [[2.0, 4.0], [3.0, 2.0]]),
                             draws.Surgery(), 0.5),
}, draws.gse)

# ---- 05: sentence vectors --------------------------------------------------------------------------------------------


def mean_pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """The mean over real tokens: hidden (B, L, H), mask (B, L) with 1 at real tokens -> (B, H)."""
    mask = mask.unsqueeze(-1).to(hidden.dtype)  # (B, L, 1)
    return (hidden * mask).sum(1) / mask.sum(1)


EXERCISES["mean_pool"] = Exercise(mean_pool, {
    "one sentence without padding": (_random(1, 3, 2, seed=3), torch.tensor([[1, 1, 1]])),
    "two sentences, the second is padded": (_random(2, 4, 3, seed=4), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])),
}, draws.mean_pool, gradients=("hidden",))


def cosine_features(u: Tensor, v: Tensor) -> Tensor:
    """The input of the linear layer in the cosine_2d1 head: u, v (B, H) -> [u; v; cos(u, v)] (B, 2H + 1)."""
    cosine = F.cosine_similarity(u, v, dim=-1).unsqueeze(-1)  # (B, 1)
    return torch.cat([u, v, cosine], dim=-1)


EXERCISES["cosine_features"] = Exercise(cosine_features, {
    "two pairs": (torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[4.0, 3.0], [0.0, 2.0]])),
    "three random pairs": (_random(3, 4, seed=5), _random(3, 4, seed=6)),
}, draws.cosine_features, gradients=("u", "v"))

# ---- 06: SMART -------------------------------------------------------------------------------------------------------


def symmetric_kl(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) + KL(q || p) in nats, from logits p, q (B, C): sum over classes, mean over rows."""
    p, q = p.log_softmax(-1), q.log_softmax(-1)
    return ((p.exp() - q.exp()) * (p - q)).sum(-1).mean()


_LOGITS = (torch.tensor([[1.0, 0.0, -1.0], [0.2, 0.3, 2.0]]), torch.tensor([[0.0, 0.5, -1.0], [0.1, -0.4, 1.0]]))
EXERCISES["symmetric_kl"] = Exercise(symmetric_kl, {
    "twice the same logits": (_LOGITS[0], _LOGITS[0]),
    "one row, three classes": (_LOGITS[0][:1], _LOGITS[1][:1]),
    "two rows, three classes": _LOGITS,
    "the same logits, shifted by 7: a softmax does not see that": (_LOGITS[0] + 7, _LOGITS[1]),
    "sure of two different classes": (torch.tensor([[20.0, 0.0, -20.0]]), torch.tensor([[-20.0, 0.0, 20.0]])),
}, draws.symmetric_kl, gradients=("p", "q"), also=smart.categorical)


def bernoulli_kl(z: Tensor, w: Tensor) -> Tensor:
    """The same for two Bernoulli distributions with logits z and w (B,), whose two classes have the logits [0, z]."""
    return symmetric_kl(torch.stack([torch.zeros_like(z), z], -1), torch.stack([torch.zeros_like(w), w], -1))


EXERCISES["bernoulli_kl"] = Exercise(bernoulli_kl, {
    "one row": (torch.tensor([1.0]), torch.tensor([-0.5])),
    "three rows": (torch.tensor([1.0, -2.0, 0.3]), torch.tensor([0.0, 1.0, 0.3])),
    "large logits": (torch.tensor([60.0]), torch.tensor([-60.0])),
}, draws.bernoulli_kl, gradients=("z", "w"), also=smart.bernoulli)


def smart_step(noise: Tensor, gradient: Tensor, eta: float, eps: float) -> Tensor:
    """The update of SMART's noise as in the published libraries: (N, H), (N, H) -> (N, H), one row per token."""
    step = noise + eta * gradient
    return step / (step.abs().amax(-1, keepdim=True) + eps)


_NOISE = (torch.tensor([[0.1, -0.2], [0.0, 0.3]]), torch.tensor([[1.0, 2.0], [-4.0, 0.5]]), 0.5, 0.05)
EXERCISES["smart_step"] = Exercise(smart_step, {
    "one token": (_NOISE[0][:1], _NOISE[1][:1], *_NOISE[2:]),
    "two tokens": _NOISE,
    "no noise and no gradient: the guard keeps 0 / 0 away": (torch.zeros(1, 2), torch.zeros(1, 2), 0.5, 0.05),
}, draws.smart_step)

# ---- 07: sampling ----------------------------------------------------------------------------------------------------


def annealed(sizes: Sequence[int], epoch: int, epochs: int) -> Tensor:
    """Task probabilities (T,), p ~ N^alpha, alpha from 1 to 0.2 (Stickland and Murray 2019, section 4.3)."""
    alpha = 1 - 0.8 * (epoch - 1) / (epochs - 1) if epochs > 1 else 1.0
    p = torch.tensor(sizes, dtype=torch.float64) ** alpha
    return p / p.sum()


_SIZES = [8544, 120674, 6040]  # of SST, QQP and STS
EXERCISES["annealed"] = Exercise(annealed, {
    "the first epoch of ten": (_SIZES, 1, 10),
    "the fourth epoch of ten": (_SIZES, 4, 10),
    "the last epoch of ten": (_SIZES, 10, 10),
    "one epoch alone": (_SIZES, 1, 1),
}, draws.annealed)

# ---- 08: intervals ---------------------------------------------------------------------------------------------------


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean over seeds and its 95 % interval by Student's t: (mean, low, high); NaN bounds below 3 seeds."""
    from scipy import stats

    x = torch.tensor(values, dtype=torch.float64)
    mean, n = float(x.mean()), len(x)
    if n < 3:
        return mean, math.nan, math.nan
    half = stats.t.ppf(0.975, n - 1) * float(x.std()) / n**0.5  # std divides by n - 1
    return mean, mean - half, mean + half


EXERCISES["interval"] = Exercise(interval, {
    "three seeds": ([0.52, 0.55, 0.53],),
    "five seeds": ([0.520, 0.550, 0.530, 0.541, 0.528],),
    "two seeds": ([0.52, 0.55],),
}, draws.interval, parts=("mean", "low", "high"))


def mcnemar(b: int, c: int) -> float:
    """McNemar's exact test (1947): p = 2 P(X <= min(b, c)), at most 1.

    b: number of examples that only the first run has right; c: only the second.
    """
    n = b + c  # X ~ Binomial(n, 1/2) where neither run is better
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(min(b, c) + 1)) / 2**n)


EXERCISES["mcnemar"] = Exercise(mcnemar, {
    "3 to 0": (3, 0),
    "2 to 9": (2, 9),
    "4 to 4": (4, 4),
    "60 to 40": (60, 40),
    "no example that only one has right": (0, 0),
}, draws.mcnemar)

# ---- 09: a cross-encoder's input -------------------------------------------------------------------------------------


def cross_input(a: list[int], b: list[int]) -> tuple[list[int], list[int]]:
    """Join a pair into one input, [CLS] a [SEP] b [SEP], and its segments (Devlin et al. 2019, figure 2).

    a, b: ids of one sentence each, as the tokenizer returns them: [CLS] 101 first, [SEP] 102 last, then any [PAD] 0.
    """
    a, b = [i for i in a if i], [i for i in b if i][1:]
    return a + b, [0] * len(a) + [1] * len(b)


EXERCISES["cross_input"] = Exercise(cross_input, {
    "two sentences of 2 tokens": ([101, 7, 8, 102], [101, 9, 5, 102]),
    "the first is padded": ([101, 7, 102, 0, 0], [101, 9, 5, 6, 102]),
    "the second is padded": ([101, 7, 8, 6, 102], [101, 9, 102, 0, 0]),
}, draws.cross_input, parts=("ids", "segments"))

# ---- 10: a pooling ---------------------------------------------------------------------------------------------------


def last_pool(hidden: Tensor, lengths: Tensor) -> Tensor:
    """The last token of each sentence in a packed batch: hidden (N, H), lengths (S,) with the sum N -> (S, H)."""
    return hidden[lengths.cumsum(0) - 1]


EXERCISES["last_pool"] = Exercise(last_pool, {
    "one sentence of 3 tokens": (torch.arange(6.0).view(3, 2), torch.tensor([3])),
    "three sentences, of 2, 1 and 3 tokens": (torch.arange(12.0).view(6, 2), torch.tensor([2, 1, 3])),
}, draws.last_pool, gradients=("hidden",))
