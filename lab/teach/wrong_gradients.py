"""Common wrong answers to the exercises of notebook 04: PCGrad and GSE."""

from collections.abc import Callable, Sequence
from itertools import combinations

import torch
from torch import Tensor

from lab.teach.exercises import (
    gse,
    pcgrad,
)

# ---- 04: PCGrad ------------------------------------------------------------------------------------------------------


_PARTS = ("product", "divisor", "direction")  # where g_j occurs in a projection


def _pcgrad(itself: bool = False, running: bool = False, always: bool = False, norm: bool = False,
            total: bool = False, original: bool = False, own: bool = False, adds: bool = False, agree: bool = False,
            ordered: bool = True, once: bool = False, turned: bool = False, axis: int = 0,
            bare: bool = False, tested: bool = False, ends: bool = False, place: bool = False, alike: bool = False,
            crossed: bool = False, unlike: Sequence[str] = (), lengths: str = "") -> Callable:
    def weights(G: Tensor, orders: Sequence[Sequence[int]]) -> Tensor:
        W = torch.eye(len(G), dtype=G.dtype)
        for i, order in enumerate(orders):
            for at, j in enumerate((orders[0] if alike else order) if ordered else range(len(G))):
                if ends and j == i:
                    break
                new, old = W[j].clone(), torch.eye(len(G), dtype=G.dtype)[j]
                factor, divisor, other = (new if running or part in unlike else old for part in _PARTS)
                dot = G[i, j] if original else W[j] @ G[i] if crossed else W[i] @ G @ factor
                square = G[i, i] if own else divisor @ G @ divisor
                sign = G[i, j] if tested else dot
                if lengths:
                    square = (G[i, i] if lengths == "original" else W[i] @ G @ W[i]).sqrt() * G[j, j].sqrt()
                if (itself or (at if place else j) != i) and (always or (sign > 0 if agree else sign < 0)):
                    step = dot / (1 if bare else square.sqrt() if norm else square) * other * (-1 if adds else 1)
                    if turned:
                        W[:, i] -= step
                    else:
                        W[i] -= step
                    if once:
                        break
        return W.sum(axis) if total else W.mean(axis)

    return weights


def _projected(g: Tensor, i: int, order: Sequence[int]) -> Tensor:
    """Row i of g (T, P), projected on the other rows in an order."""
    mine = g[i]
    for j in order:
        if j != i and mine @ g[j] < 0:
            mine = mine - mine @ g[j] / (g[j] @ g[j]) * g[j]
    return mine


PCGRAD = {
    "a gradient is projected on itself: `orders` contains its own index too, which must be skipped (j != i)":
        _pcgrad(itself=True),
    "g_i is projected on gradients g_j that are already projected; algorithm 1 uses the original g_j":
        _pcgrad(running=True),
    **{f"in the {' and the '.join(parts)} of a projection, g_j is already projected; algorithm 1 uses the original g_j":
       _pcgrad(unlike=parts) for n in (1, 2) for parts in combinations(_PARTS, n)},
    "the product is of the current g_j with the original g_i; it is the other way round, W[i] @ G[j]":
        _pcgrad(crossed=True),
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
    "the loop ends where g_i meets itself: skip that with `continue`, not `break`": _pcgrad(ends=True),
    "the place in the order is compared with i; it is the task at that place, j, that must not be i":
        _pcgrad(place=True),
    "every gradient meets the others in the order of the first: use orders[i]": _pcgrad(alike=True),
    "the product is divided by |g_i| |g_j|, which makes it a cosine; a projection divides by |g_j|^2, G[j, j]":
        _pcgrad(lengths="original"),
    "the product is divided by the lengths of the current g_i and of g_j; a projection divides by |g_j|^2, G[j, j]":
        _pcgrad(lengths="current"),
    "the first task of orders[i] is left out, although it need not be i: go through all of them, and skip i (j != i)":
        lambda G, orders: pcgrad(G, [order[1:] for order in orders]),
    "the last task of orders[i] is left out, although it need not be i: go through all of them, and skip i (j != i)":
        lambda G, orders: pcgrad(G, [order[:-1] for order in orders]),
    "the order is reversed: go through orders[i] from its beginning":
        lambda G, orders: pcgrad(G, [order[::-1] for order in orders]),
    "g_i meets only the tasks after it; it must meet those before it too": lambda G, orders:
        pcgrad(G, [[j for j in order if j > i] for i, order in enumerate(orders)]),
    "g_i meets only the tasks before it; it must meet those after it too": lambda G, orders:
        pcgrad(G, [[j for j in order if j < i] for i, order in enumerate(orders)]),
    "these are the weights of gradients divided by their lengths; the update is made of the gradients themselves":
        lambda G, orders: pcgrad(G / G.diagonal().clamp_min(1e-9).sqrt() / G.diagonal().clamp_min(1e-9).sqrt()[:, None],
                                 orders),
    "it returns after the first gradient: dedent the return, so that all of them are projected":
        lambda G, orders: pcgrad(G, [orders[0], *[[] for _ in orders[1:]]]),
    "the rows of G are taken for the gradients, but they are dot products: G[i, j] is g_i . g_j": lambda G, orders:
        torch.stack([_projected(G, i, order) for i, order in enumerate(orders)]).mean(0),
    "these are the weights of the plain sum: no gradient is projected": lambda G, orders: torch.ones_like(G[0]),
    "this is the matrix of the projected gradients: return the mean of its rows, (T,)": lambda G, orders:
        torch.stack([pcgrad(G, [order if k == i else [] for k, order in enumerate(orders)]) * len(G)
                     - (1 - torch.eye(len(G), dtype=G.dtype)[i]) for i in range(len(G))]),
}


def _gse(first: str = "surgery", second: str | None = "sum", again: bool = True, lr: Callable = lambda lr: lr,
         signs: Sequence[int] = (1, 1), rates: Sequence[bool] = (True, True), back: bool = False) -> Callable:
    """GSE with other updates. again: whether the second update's gradients are taken at the moved weights; back:
    whether the second step starts from the old weights all the same; rates: whether each step takes lr."""
    def moved(p: Tensor, gradients: Callable, surgery: Callable, rate: float) -> Tensor:
        updates = {"surgery": surgery, "sum": lambda g: g.sum(0), "mean": lambda g: g.mean(0), "all": lambda g: g.sum(),
                   "weights": lambda g: g.sum(1), "first": lambda g: g[0], "last": lambda g: g[-1]}
        g, new = gradients(p), p
        for update, rated, sign in zip([first] + [second] * (second is not None), rates, signs, strict=False):
            by = sign * (lr(rate) if rated else 1) * updates[update](gradients(new) if again else g)
            new = (p if back and update == second else new) - by
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
    "it climbs: a step that lowers the losses subtracts lr times the update": _gse(signs=(-1, -1)),
    "the first step climbs: subtract lr times its update": _gse(signs=(-1, 1)),
    "the second step climbs: subtract lr times its update": _gse(signs=(1, -1)),
    "the learning rate is missing: multiply each update by lr": _gse(lr=lambda lr: 1.0),
    "each step is half as long as it should be: both take the whole lr": _gse(lr=lambda lr: lr / 2),
    "this is how far the weights move: return the new weights, p minus that":
        lambda p, gradients, surgery, lr: p - gse(p, gradients, surgery, lr),
    "this is the difference to the old weights: return the new weights themselves":
        lambda p, gradients, surgery, lr: gse(p, gradients, surgery, lr) - p,
    "the weights after both steps are stacked: return only those after the second":
        lambda p, gradients, surgery, lr: torch.stack([p - lr * surgery(gradients(p)), gse(p, gradients, surgery, lr)]),
    "the second step starts from the old weights: start from those after the first": _gse(back=True),
    "the sum runs over the weights of each task; it must run over the tasks, sum(0)": _gse(second="weights"),
    "lr is missing in the first step": _gse(rates=(False, True)),
    "lr is missing in the second step": _gse(rates=(True, False)),
    "the second step takes the first task's gradient alone: take the sum over the tasks, sum(0)": _gse(second="first"),
    "the second step takes the last task's gradient alone: take the sum over the tasks, sum(0)": _gse(second="last"),
    "gradients is a function: call it at the weights, gradients(p)":
        lambda p, gradients, surgery, lr: p - lr * surgery(gradients),
    "surgery takes the gradients of all tasks, one a row, (T, P), as gradients(p) returns them":
        lambda p, gradients, surgery, lr: p - lr * surgery(gradients(p).sum(0)),
}
