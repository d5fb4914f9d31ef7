"""Common wrong answers to the exercises of notebook 04: PCGrad and GSE."""

import torch

from lab.teach.exercises import gse, pcgrad
from lab.teach.mistakes import mistakes

_IN = {  # a part of a projection -> how it takes the current g_j in place of the original one
    "product": ("W[i] @ G[j]", "W[i] @ G @ W[j]"),
    "divisor": ("G[j, j]", "(W[j] @ G @ W[j])"),
    "direction": ("W[i, j] -= ", "W[i] -= W[j] * "),
}

PCGRAD = mistakes(pcgrad, {
    "a gradient is projected on itself: `orders` contains its own index too, which must be skipped (j != i)":
        ("j != i and ", ""),
    "g_i is projected on gradients g_j that are already projected; algorithm 1 uses the original g_j":
        (*_IN["product"], *_IN["divisor"], *_IN["direction"]),
    **{f"in the {' and the '.join(parts)} of a projection, g_j is already projected; algorithm 1 uses the original g_j":
       tuple(text for part in parts for text in _IN[part])
       for parts in (("product",), ("divisor",), ("direction",), ("product", "divisor"), ("product", "direction"),
                     ("divisor", "direction"))},
    "the product is of the current g_j with the original g_i; it is the other way round, W[i] @ G[j]":
        ("W[i] @ G[j]", "W[j] @ G[i]"),
    "g_i is projected on every g_j; project only if they conflict, g_i . g_j < 0": (" and dot < 0", ""),
    "the dot product is divided by |g_j|; a projection divides by |g_j|^2, which is G[j, j]":
        ("G[j, j]", "G[j, j].sqrt()"),
    "this is the sum of the projected gradients, as in Yu et al. (2020); here it is the mean, as in the CS224N report, "
    "which is smaller by a factor of T": ("mean(0)", "sum(0)"),
    "the dot product always uses the original g_i; it must use the current g_i, after the projections so far":
        ("W[i] @ G[j]", "G[i, j]"),
    "the conflict is looked for between the original gradients; the test too is of the current g_i, after the "
    "projections so far": ("dot < 0", "G[i, j] < 0"),
    "these are the weights of the plain mean: no gradient is projected": ("range(T)", "[]"),
    "the projection divides by G[i, i]; to remove the part along g_j, divide by |g_j|^2, which is G[j, j]":
        ("G[j, j]", "G[i, i]"),
    "the conflicting part is added (+=); subtract it": ("-=", "+="),
    "the order is ignored: gradient i must meet the others in the order of orders[i]": ("orders[i]:", "range(T):"),
    "g_i is projected where it agrees with g_j; a conflict is a negative product, dot < 0": ("dot < 0", "dot > 0"),
    "the mean runs over the wrong axis: row i holds the weights of projected gradient i, so take the mean over rows, "
    "mean(0)": ("mean(0)", "mean(1)"),
    "only the first conflict is removed: go on through all of orders[i]":
        ("dot / G[j, j]", "dot / G[j, j]; break"),
    "W is transposed: g_i loses a part along g_j, so it is W[i, j] that changes": ("W[i, j]", "W[j, i]"),
    "the product is not divided by |g_j|^2, which is G[j, j]": (" / G[j, j]", ""),
    "the loop ends where g_i meets itself: skip that with `continue`, not `break`":
        ("orders[i]:", "orders[i][:orders[i].index(i)]:"),
    "the place in the order is compared with i; it is the task at that place, j, that must not be i":
        ("j in orders[i]:", "place, j in enumerate(orders[i]):", "j != i", "place != i"),
    "every gradient meets the others in the order of the first: use orders[i]": ("orders[i]:", "orders[0]:"),
    "the product is divided by |g_i| |g_j|, which makes it a cosine; a projection divides by |g_j|^2, G[j, j]":
        ("G[j, j]", "(G[i, i] * G[j, j]).sqrt()"),
    "the product is divided by the lengths of the current g_i and of g_j; a projection divides by |g_j|^2, G[j, j]":
        ("G[j, j]", "(W[i] @ G @ W[i] * G[j, j]).sqrt()"),
    "the first task of orders[i] is left out, although it need not be i: go through all of them, and skip i (j != i)":
        ("orders[i]:", "orders[i][1:]:"),
    "the last task of orders[i] is left out, although it need not be i: go through all of them, and skip i (j != i)":
        ("orders[i]:", "orders[i][:-1]:"),
    "the order is reversed: go through orders[i] from its beginning": ("orders[i]:", "orders[i][::-1]:"),
    "g_i meets only the tasks after it; it must meet those before it too": ("j != i", "j > i"),
    "g_i meets only the tasks before it; it must meet those after it too": ("j != i", "j < i"),
    "these are the weights of gradients divided by their lengths; the update is made of the gradients themselves":
        lambda G, orders: pcgrad(G / G.diagonal().clamp_min(1e-9).sqrt() / G.diagonal().clamp_min(1e-9).sqrt()[:, None],
                                 orders),
    "it returns after the first gradient: dedent the return, so that all of them are projected":
        ("range(T)", "range(1)"),
    "the rows of G are taken for the gradients, but they are dot products: G[i, j] is g_i . g_j":
        ("torch.eye(T, dtype=G.dtype)", "G.clone()", "G[j, j]", "(G[j] @ G[j]) * G[j]", "W[i, j]", "W[i]"),
    "these are the weights of the plain sum: no gradient is projected": ("range(T)", "[]", "mean(0)", "sum(0)"),
    "this is the matrix of the projected gradients: return the mean of its rows, (T,)": (".mean(0)", ""),
})

_SURGERY, _SUM = "surgery(gradients(p))", "gradients(p).sum(0)"

GSE = mistakes(gse, {
    "the second step takes the gradients from before the first: call gradients again, at the moved weights":
        ("p = p - lr * surgery(gradients(p))", "g = gradients(p); p = p - lr * surgery(g)", _SUM, "g.sum(0)"),
    "the second step is along the mean of the gradients; the report's second update is on the sum of the losses, so "
    "sum(0)": ("sum(0)", "mean(0)"),
    "the steps are in the wrong order: surgery first, then the plain sum":
        (_SURGERY, _SUM, f"return p - lr * {_SUM}", f"return p - lr * {_SURGERY}"),
    "both steps are PCGrad's; the second is along the plain sum of the gradients": (_SUM, _SURGERY),
    "both steps are along the plain sum: that is the control `sum_sum`, without surgery": (_SURGERY, _SUM),
    "the second step is missing: another one along the sum of the gradients, at the moved weights":
        (f" - lr * {_SUM}", ""),
    "the step with surgery is missing: first p - lr * surgery(gradients(p))": (f" - lr * {_SURGERY}", ""),
    "both steps are along the mean of the gradients: the first is surgery(gradients(p)), the second their sum":
        (_SURGERY, _SUM, "sum(0)", "mean(0)"),
    "the first step is along the plain mean, without surgery": (_SURGERY, "gradients(p).mean(0)"),
    "each task takes a step of its own, as in the baseline; GSE's steps are two: surgery, then the sum":
        (f"p = p - lr * {_SURGERY}", "for i in range(len(gradients(p))): p = p - lr * gradients(p)[i]",
         f"return p - lr * {_SUM}", "return p"),
    "the second step's sum is over tasks and weights together; it must run over the tasks alone, sum(0)":
        ("sum(0)", "sum()"),
    "it climbs: a step that lowers the losses subtracts lr times the update": ("p - lr", "p + lr"),
    "the first step climbs: subtract lr times its update": ("= p - lr", "= p + lr"),
    "the second step climbs: subtract lr times its update": ("return p - lr", "return p + lr"),
    "the learning rate is missing: multiply each update by lr": ("lr * ", ""),
    "each step is half as long as it should be: both take the whole lr": ("lr * ", "lr / 2 * "),
    "this is how far the weights move: return the new weights, p minus that":
        lambda p, gradients, surgery, lr: p - gse(p, gradients, surgery, lr),
    "this is the difference to the old weights: return the new weights themselves":
        lambda p, gradients, surgery, lr: gse(p, gradients, surgery, lr) - p,
    "the weights after both steps are stacked: return only those after the second":
        lambda p, gradients, surgery, lr: torch.stack([p - lr * surgery(gradients(p)), gse(p, gradients, surgery, lr)]),
    "the second step starts from the old weights: start from those after the first":
        ("p = p - lr", "moved = p - lr", _SUM, "gradients(moved).sum(0)"),
    "the sum runs over the weights of each task; it must run over the tasks, sum(0)": ("sum(0)", "sum(1)"),
    "lr is missing in the first step": ("= p - lr * ", "= p - "),
    "lr is missing in the second step": ("return p - lr * ", "return p - "),
    "the second step takes the first task's gradient alone: take the sum over the tasks, sum(0)": (".sum(0)", "[0]"),
    "the second step takes the last task's gradient alone: take the sum over the tasks, sum(0)": (".sum(0)", "[-1]"),
    "gradients is a function: call it at the weights, gradients(p)": (_SURGERY, "surgery(gradients)"),
    "surgery takes the gradients of all tasks, one a row, (T, P), as gradients(p) returns them":
        (_SURGERY, "surgery(gradients(p).sum(0))"),
})
