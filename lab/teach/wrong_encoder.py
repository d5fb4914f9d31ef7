"""Common wrong answers to the exercises of notebooks 01 and 02: attention and AdamW."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lab.teach.exercises import (
    adamw,
    attention,
)

# ---- 01: attention ---------------------------------------------------------------------------------------------------


def _attention(scale: Callable = math.sqrt, dim: int = -1, hidden: float = -torch.inf) -> Callable:
    return lambda q, k, v, mask: (q @ k.T / scale(q.shape[-1])).masked_fill(~mask, hidden).softmax(dim) @ v


ATTENTION = {
    "the scores are not divided by sqrt(D): with large D, the softmax then selects almost a single token":
        _attention(scale=lambda D: 1),
    "the scores are divided by D; equation 1 divides by its square root": _attention(scale=lambda D: D),
    "the softmax runs down the columns, over the queries; it must run along each row, over the keys: use dim=-1":
        _attention(dim=0),
    "a masked token still gets attention: set its column of scores to -inf before the softmax. masked_fill returns a "
    "new tensor, so assign what it returns":
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
    "the mask hides rows, the queries, but the keys that nobody may look at are columns: use masked_fill(~mask, -inf) "
    "without unsqueeze(1)": lambda q, k, v, mask:
        (q @ k.T / q.shape[-1] ** 0.5).masked_fill(~mask.unsqueeze(1), -1e9).softmax(-1) @ v,
    "the scores are multiplied by sqrt(D); divide them": _attention(scale=lambda D: D**-0.5),
    "2 is sqrt(D) only in the cases that are shown, where D is 4: take it from the arguments, q.shape[-1] ** 0.5":
        _attention(scale=lambda D: 2),
    "8 is sqrt(D) only for BERT's heads, where D is 64: take it from the arguments, q.shape[-1] ** 0.5":
        _attention(scale=lambda D: 8),
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
    "it is NaN in every case: is -inf multiplied by 0, as in (~mask) * -inf? Use masked_fill(~mask, -inf)":
        lambda q, k, v, mask: q.new_full((len(q), v.shape[-1]), math.nan),
    "the division by sqrt(D) comes before the softmax: it makes the scores smaller, not the weights":
        lambda q, k, v, mask: (q @ k.T).masked_fill(~mask, -torch.inf).softmax(-1) / q.shape[-1] ** 0.5 @ v,
    "a token sees only itself and those before it, which is causal attention; here each sees all real tokens":
        lambda q, k, v, mask: (q @ k.T / q.shape[-1] ** 0.5).masked_fill(
            ~mask | torch.ones(len(q), len(q), dtype=torch.bool).triu(1), -torch.inf).softmax(-1) @ v,
    "log_softmax gives the logarithms of the weights: use softmax":
        lambda q, k, v, mask: (q @ k.T / q.shape[-1] ** 0.5).masked_fill(~mask, -torch.inf).log_softmax(-1) @ v,
    "the softmax runs over all scores together; each row must sum to 1: use dim=-1":
        lambda q, k, v, mask: (q @ k.T / q.shape[-1] ** 0.5).masked_fill(
            ~mask, -torch.inf).flatten().softmax(0).view(len(q), -1) @ v,
    "the exponentials are not divided by their sum over each row, so the weights do not sum to 1: use softmax(-1)":
        lambda q, k, v, mask: ((q @ k.T / q.shape[-1] ** 0.5).exp() * mask) @ v,
    "each column is divided by the sum of a row: keep the dimension, sum(-1, keepdim=True), or use softmax(-1)":
        lambda q, k, v, mask: (w := (q @ k.T / q.shape[-1] ** 0.5).exp() * mask) / w.sum(-1) @ v,
    "the weights are returned too: return the output alone, (L, D)": lambda q, k, v, mask: (
        attention(q, k, v, mask), (q @ k.T / q.shape[-1] ** 0.5).masked_fill(~mask, -torch.inf).softmax(-1)),
}

# ---- 02: AdamW -------------------------------------------------------------------------------------------------------


def _adamw(corrects_m: bool = True, corrects_v: bool = True, root: bool = True, inside: bool = False, l2: bool = False,
           first: bool = False, torchs: bool = False, square: bool = True, whole: bool = False, later: int = 0,
           sign: int = 1, swapped: bool = False, outside: bool = False, guard: float | None = None,
           along: str = "new m", correction: Callable = lambda c1, c2: c2**0.5 / c1, power: Callable = pow,
           decay: Callable = lambda wd, lr: lr * wd) -> Callable:
    def step(p, g, m, v, t, lr, betas, eps, weight_decay):  # noqa: ANN001, ANN202
        (b1, b2), g, t = betas[::-1] if swapped else betas, g + weight_decay * p * l2, t + later
        eps, direction = eps if guard is None else guard, {"g": g, "old m": m}
        m, v = b1 * m + (1 if whole else 1 - b1) * g, b2 * v + (1 - b2) * (g**2 if square else g)
        c1, c2 = 1 - power(b1, t) if corrects_m else 1, 1 - power(b2, t) if corrects_v else 1
        p = p * (1 - lr * weight_decay * first)
        divisor = v / c2 if torchs else v
        divisor = (divisor + eps * inside) ** (0.5 if root else 1) / (c2 if outside else 1) + eps * (not inside)
        p = p - sign * lr * (1 / c1 if torchs or outside else correction(c1, c2)) * direction.get(along, m) / divisor
        return p * (1 - decay(weight_decay, lr) * (not l2 and not first)), m, v

    return step


def _adamw_then(change: Callable) -> Callable:
    """What `change` makes of the right step's results and of its arguments."""
    return lambda *given: change(*adamw(*given), *given)


def _moved(*given: Any) -> Tensor:
    """The weights after the right step."""
    return adamw(*given)[0]


def _corrected(p: Tensor, m: Tensor, v: Tensor, *given: Any) -> tuple[Tensor, Tensor, Tensor]:
    """The results of a step with corrected averages. given: its arguments."""
    t, (b1, b2) = given[4], given[6]
    return p, m / (1 - b1**t), v / (1 - b2**t)


def _averaged(with_these: Callable) -> Callable:
    """A step whose averages keep other shares of the old ones, but whose correction is right."""
    def step(p: Tensor, g: Tensor, m: Tensor, v: Tensor, t: int, lr: float, betas: tuple[float, float], eps: float,
             weight_decay: float) -> tuple[Tensor, Tensor, Tensor]:
        (b1, b2), (keeps_m, keeps_v) = betas, with_these(*betas)
        m, v = keeps_m * m + (1 - keeps_m) * g, keeps_v * v + (1 - keeps_v) * g**2
        p = p - lr * (1 - b2**t) ** 0.5 / (1 - b1**t) * m / (v.sqrt() + eps)
        return p * (1 - lr * weight_decay), m, v

    return step


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
    "eps is missing: it is added to sqrt(v)": {"guard": 0.0},
    "the step does not use the argument eps, but a constant": {"guard": 1e-8},
    "the step goes along g; it goes along m, the average of the gradients": {"along": "g"},
    "the step takes m from before it: update m and v first": {"along": "old m"},
}
ADAMW = {
    **{feedback: _adamw(**made) for feedback, made in _STEPS.items()},
    "eps is added to the corrected sqrt(v), as in torch; in the course's form it is added to the uncorrected one":
        _adamw(torchs=True),
    **{f"{feedback}. Besides, eps must be added to the uncorrected sqrt(v), not to the corrected one as in torch":
       _adamw(torchs=True, **made) for feedback, made in _STEPS.items() if not {"corrects_v", "guard"} & set(made)},
    "the correction is upside down: the step needs sqrt(1 - b2^t) / (1 - b1^t)":
        _adamw(correction=lambda c1, c2: c1 / c2**0.5),
    "v is corrected by 1 - b2^t, the step by its root: sqrt(1 - b2^t) / (1 - b1^t)":
        _adamw(correction=lambda c1, c2: c2 / c1),
    "1 - b2^t divides v, so its root multiplies the step: sqrt(1 - b2^t) / (1 - b1^t)":
        _adamw(correction=lambda c1, c2: c2**-0.5 / c1),
    "the two betas are swapped in the correction alone: it is sqrt(1 - b2^t) / (1 - b1^t)":
        _adamw(correction=lambda c1, c2: c1**0.5 / c2),
    "(1 - b1) ** t is another number than 1 - b1 ** t, which the correction needs; of b2 alike":
        _adamw(power=lambda b, t: 1 - (1 - b) ** t),
    "v is averaged with b1; the second of the betas is of v": _averaged(lambda b1, b2: (b1, b1)),
    "m is averaged with b2; the first of the betas is of m": _averaged(lambda b1, b2: (b2, b2)),
    "in m, the old average gets 1 - b1 and the gradient b1; it is the other way round":
        _averaged(lambda b1, b2: (1 - b1, b2)),
    "in v, the old average gets 1 - b2 and the square b2; it is the other way round":
        _averaged(lambda b1, b2: (b1, 1 - b2)),
    "the root is of 1 - b2^t alone: sqrt(1 - b2^t) / (1 - b1^t)": _adamw(correction=lambda c1, c2: (c2 / c1) ** 0.5),
    "eps belongs to the divisor: put it and sqrt(v) into parentheses": lambda p, g, m, v, t, lr, betas, eps, wd: (
        (_adamw(guard=0.0)(p, g, m, v, t, lr, betas, eps, 0)[0] + eps) * (1 - lr * wd),
        *adamw(p, g, m, v, t, lr, betas, eps, wd)[1:]),
    "the old average gets 1 - b and the gradient b; it is the other way round: m = b1 * m + (1 - b1) * g, v alike":
        _averaged(lambda b1, b2: (1 - b1, 1 - b2)),
    "the step takes m and v from before it: update both first": lambda p, g, m, v, t, lr, betas, eps, wd: (
        (p - lr * (1 - betas[1] ** t) ** 0.5 / (1 - betas[0] ** t) * m / (v.sqrt() + eps)) * (1 - lr * wd),
        *adamw(p, g, m, v, t, lr, betas, eps, wd)[1:]),
    "b1 * t is a product; the correction takes a power, b1 ** t":
        _adamw(power=lambda b, t: b * t, correction=lambda c1, c2: c2**0.5 / c1 if c2 > 0 else math.nan),
    "the decay is multiplied by the corrected step size; it takes lr itself: p - lr * weight_decay * p":
        lambda p, g, m, v, t, lr, betas, eps, wd: (_moved(p, g, m, v, t, lr, betas, eps, 0)
            * (1 - wd * lr * (1 - betas[1] ** t) ** 0.5 / (1 - betas[0] ** t)),
            *adamw(p, g, m, v, t, lr, betas, eps, wd)[1:]),
    "the decay does not depend on p: subtract lr * weight_decay * p": lambda p, g, m, v, t, lr, betas, eps, wd: (
        _moved(p, g, m, v, t, lr, betas, eps, 0) - lr * wd, *adamw(p, g, m, v, t, lr, betas, eps, wd)[1:]),
    "the weights decay twice, through the gradient (L2) and by themselves: AdamW has the second alone":
        lambda p, g, m, v, t, lr, betas, eps, wd: adamw(p, g + wd * p, m, v, t, lr, betas, eps, wd),
    "m is returned corrected; return the average itself, since the next step starts from it":
        _adamw_then(lambda p, m, v, *given: (p, m / (1 - given[6][0] ** given[4]), v)),
    "v is returned corrected; return the average itself, since the next step starts from it":
        _adamw_then(lambda p, m, v, *given: (p, m, v / (1 - given[6][1] ** given[4]))),
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
