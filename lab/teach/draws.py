"""Cases that are drawn anew at each check, so that no size and no constant of an exercise can be guessed.

Each function takes a `Draw` and returns {description: arguments}, as `cases` in exercises.py. Numbers have two
decimals, so that what a message shows is exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Cases = dict[str, tuple]


class Draw:
    """A source of random sizes, numbers and tensors that leaves the learner's own random state alone."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def normal(self, *shape: int, scale: float = 1.0) -> Tensor:
        """Normal numbers, none of them within .01 of 0, float32."""
        drawn = self.random.standard_normal(shape) * scale
        return torch.tensor(np.where(np.abs(drawn) < 0.01, 0.5, drawn).round(2), dtype=torch.float32)

    def whole(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return int(self.random.integers(low, high + 1))

    def number(self, low: float, high: float) -> float:
        return round(float(self.random.uniform(low, high)), 2)

    def different(self, count: int, low: int, high: int) -> list[int]:
        """`count` different whole numbers from low to high."""
        return [int(n) for n in self.random.permutation(np.arange(low, high + 1))[:count]]

    def order(self, size: int) -> list[int]:
        """The numbers from 0 to size - 1 in a random order."""
        return self.random.permutation(size).tolist()


@dataclass(frozen=True)
class Bowls:
    """T tasks with the losses a_i |p - c_i|^2 / 2. Called with weights p (P,), it returns their gradients (T, P)."""

    a: list[float]
    c: list[list[float]]

    def __call__(self, p: Tensor) -> Tensor:
        p = torch.as_tensor(p)
        p = p if p.is_floating_point() else p.float()
        return torch.tensor(self.a, dtype=p.dtype).unsqueeze(1) * (p - torch.tensor(self.c, dtype=p.dtype))

    def __str__(self) -> str:
        return f"p -> a (p - c) with a = {self.a} and c = {self.c}"


@dataclass(frozen=True)
class Surgery:
    """PCGrad on vectors, task gradients g (T, P) -> (P,). Each task meets the others in the order of their numbers."""

    def __call__(self, g: Tensor) -> Tensor:
        projected = []
        for i, mine in enumerate(torch.as_tensor(g)):
            for j, other in enumerate(g):
                if j != i and mine @ other < 0:
                    mine = mine - mine @ other / (other @ other) * other
            projected.append(mine)
        return torch.stack(projected).mean(0)

    def __str__(self) -> str:
        return "PCGrad's update of g"


def attention(draw: Draw) -> Cases:
    L, M = draw.different(2, 4, 6)
    D, E = draw.different(2, 5, 9)

    def qkv(L: int, D: int) -> list[Tensor]:
        return [draw.normal(L, D) for _ in range(3)]

    real = torch.arange(L) < draw.whole(1, L - 2)
    scattered = torch.tensor([True, *draw.random.permutation([True, False]), True])
    low = (draw.normal(3, 2).abs() / 4).clamp(max=0.35) + 1.5
    keys = low * torch.tensor([[-2], [-2], [-1]])  # scores from -83 to -54, the masked to -27: -50 masks nothing
    return {
        f"{L} tokens of size {D}": (*qkv(L, D), torch.ones(L, dtype=torch.bool)),
        f"{L} tokens of size {E}, padded": (*qkv(L, E), real),
        f"{M} tokens of size {M}, the last is padding": (*qkv(M, M), torch.arange(M) < M - 1),
        "padding among the real tokens": (*qkv(4, D), scattered),
        "scores far below 0": (8.6 * low, keys, draw.normal(3, 2), torch.tensor([True, True, False])),
        "one token": (*qkv(1, E), torch.tensor([True])),
    }


def adamw(draw: Draw) -> Cases:
    def state(*shape: int) -> tuple[Tensor, ...]:
        return draw.normal(*shape), draw.normal(*shape), draw.normal(*shape), draw.normal(*shape).abs()

    def constants() -> tuple[float, tuple[float, float], float]:
        return draw.number(0.05, 0.5), (draw.number(0.5, 0.9), draw.number(0.6, 0.95)), draw.number(0.02, 0.3)

    n, t = draw.whole(3, 5), draw.whole(4, 9)
    start = draw.normal(n), draw.normal(n), torch.zeros(n), torch.zeros(n)
    return {
        f"the first step of {n} weights, with decay": (*start, 1, *constants(), draw.number(0.1, 0.9)),
        f"step {t} with decay": (*state(n), t, *constants(), draw.number(0.1, 0.9)),
        "step 2 of a matrix": (*state(2, 3), 2, *constants(), 0.0),
        "weights without a gradient": (draw.normal(2), *[torch.zeros(2)] * 3, t, *constants(), draw.number(0.1, 0.9)),
    }


def pearson(draw: Draw) -> Cases:
    n = draw.whole(5, 9)
    x = draw.normal(n)
    level = draw.whole(1, 5) + 0.1  # no float32: a mean of such numbers is not quite one of them
    again = draw.normal(n)
    again[-1], rises = again[0], 2 * x + draw.normal(n)
    rises[1] = rises[0]
    return {
        f"{n} random pairs": (x, draw.normal(n)),
        "numbers that fall together": (x, 2 * x + 0.3 * draw.normal(n)),
        "one rises where the other falls": (x, 3 - x + 0.3 * draw.normal(n)),
        "predictions around 100": (100 + x, x + draw.normal(n)),
        "predictions around 1000000": (1_000_000 + x, x + draw.normal(n)),
        "predictions that hardly differ": (2.5 + 0.001 * x, x + draw.normal(n)),
        "very small numbers": (1e-7 * x, 1e-3 * (x + draw.normal(n))),
        "predictions of 0 and 1": ((torch.arange(n) % 3 == 0).float(), draw.normal(n)),
        "the same number first and last": (again, rises),
        "a constant prediction": (torch.full((n,), level), x),
        "a constant gold score": (x, torch.full((n,), level)),
    }


def overall_score(draw: Draw) -> Cases:
    def pair() -> tuple[float, float]:
        return draw.number(0.3, 0.5), draw.number(0.8, 0.95)

    return {
        "random scores": (*pair(), draw.number(0.1, 0.9)),
        "a negative r": (*pair(), draw.number(-0.9, -0.1)),
        "an r of 0, which is a number": (*pair(), 0.0),
        "no Pearson r": (*pair(), None),
    }


def pcgrad(draw: Draw) -> Cases:
    def case(T: int, P: int) -> tuple[Tensor, list[list[int]]]:
        """T vectors of P numbers and different lengths, the mean of which is near 0, so that many are in conflict."""
        g = draw.normal(T, P).double()
        g = (g - g.mean(0)) * torch.tensor([[draw.number(0.5, 3)] for _ in range(T)], dtype=torch.float64)
        return g @ g.T, [draw.order(T) for _ in range(T)]

    T = draw.whole(4, 5)
    return {
        "two random gradients": case(2, 3),
        "three random gradients": case(3, 3),
        f"{T} random gradients": case(T, T + 1),
        f"{T} others": case(T, T),
        f"{T} gradients in the plane": case(T, 2),
        "one gradient alone": (torch.tensor([[draw.number(1, 4)]], dtype=torch.float64), [[0]]),
    }


def gse(draw: Draw) -> Cases:
    def case(T: int, P: int) -> tuple[Tensor, Bowls, Surgery, float]:
        """Weights among the minima of T tasks, so that most gradients are in conflict."""
        c = draw.normal(T, P, scale=2)
        p = (c.mean(0) + 0.3 * draw.normal(P)).mul(100).round() / 100
        a = [draw.number(0.5, 1.5) for _ in range(T)]
        return p, Bowls(a, [[round(x, 2) for x in row] for row in c.tolist()]), Surgery(), draw.number(0.1, 0.4)

    T, P = draw.different(2, 3, 5)
    return {
        "two random tasks": case(2, P),
        "three random tasks": case(3, 3),
        f"{T} tasks of {P} weights": case(T, P),
        "one task alone": case(1, P),
    }


def _masked(draw: Draw, B: int, L: int, H: int, longest: bool = True) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([L if longest else L - 1, *[draw.whole(1, L - 1) for _ in range(B - 1)]])
    return draw.normal(B, L, H), (torch.arange(L) < lengths.unsqueeze(1)).long()


def mean_pool(draw: Draw) -> Cases:
    B, L, H = draw.different(3, 2, 5)
    return {
        f"{B} sentences of up to {L} tokens of size {H}": _masked(draw, B, L, H),
        "as many sentences as numbers in a vector": _masked(draw, 3, 4, 3),
        "as many sentences as tokens": _masked(draw, 4, 4, 2),
        "every sentence is padded": _masked(draw, 2, L + 1, H, longest=False),
        "padding stands first": (draw.normal(2, 4, H), torch.tensor([[0, 0, 1, 1], [0, 1, 1, 1]])),
        "vectors that contain 0": (draw.normal(2, 3, H).clamp_min(0), torch.tensor([[1, 1, 1], [1, 1, 0]])),
    }


def cosine_features(draw: Draw) -> Cases:
    B, H = draw.different(2, 2, 6)
    u = draw.normal(B, H)
    return {
        f"{B} pairs of size {H}": (u, draw.normal(B, H)),
        "as many pairs as numbers in a vector": (draw.normal(3, 3, scale=3), draw.normal(3, 3)),
        "opposite vectors": (u, -2 * u),
        "one pair": (draw.normal(1, H), draw.normal(1, H, scale=3)),
    }


def symmetric_kl(draw: Draw) -> Cases:
    B, C = draw.different(2, 2, 6)
    return {
        f"{B} rows of {C} classes": (draw.normal(B, C), draw.normal(B, C)),
        f"{C} rows of {B} classes, logits of several units": (draw.normal(C, B, scale=3), draw.normal(C, B, scale=3)),
        "three rows of three classes": (draw.normal(3, 3), draw.normal(3, 3) - 5),
    }


def bernoulli_kl(draw: Draw) -> Cases:
    B = draw.whole(2, 6)
    return {
        f"{B} rows": (draw.normal(B, scale=2), draw.normal(B, scale=2)),
        "one random row": (draw.normal(1), draw.normal(1)),
        "large logits of both signs": (torch.tensor([50.0, -70.0]) + draw.normal(2), draw.normal(2)),
    }


def smart_step(draw: Draw) -> Cases:
    N, H = draw.different(2, 2, 6)

    def case(N: int, H: int) -> tuple[Tensor, Tensor, float, float]:
        return draw.normal(N, H), draw.normal(N, H, scale=3), draw.number(0.1, 2), draw.number(0.02, 0.3)

    negative = -draw.normal(2, H).abs() - 1
    return {
        f"{N} tokens of size {H}": case(N, H),
        f"{H} tokens of size {N}": case(H, N),
        "as many tokens as numbers in a vector": case(3, 3),
        "the largest numbers are negative": (negative, negative.clone(), draw.number(0.1, 2), draw.number(0.02, 0.3)),
    }


def annealed(draw: Draw) -> Cases:
    def sizes(T: int) -> list[int]:
        return [draw.whole(100, 9000) * 10 ** draw.whole(0, 1) for _ in range(T)]

    E = draw.whole(4, 12)
    T = draw.whole(4, 5)
    return {
        f"{T} tasks, epoch {E - 2} of {E}": (sizes(T), E - 2, E),
        "two tasks, the second of two epochs": (sizes(2), 2, 2),
        "the second of three epochs": (sizes(3), 2, 3),
        f"the first of {E} epochs": (sizes(3), 1, E),
        "one epoch alone": (sizes(T), 1, 1),
    }


def interval(draw: Draw) -> Cases:
    def scores(n: int) -> list[float]:
        return [round(draw.number(-2, 2) + 0.01 * i, 2) for i in range(n)]  # wide, so that every factor is seen

    n = draw.whole(6, 9)
    many, more = draw.whole(11, 15), draw.whole(32, 40)  # where a table of t ends, and where some take 1.96
    return {f"{n} values": (scores(n),), "three values": (scores(3),), "four values": (scores(4),),
            f"{many} values": (scores(many),), f"{more} values": (scores(more),),
            "two values": (scores(2),), "one value": (scores(1),)}


def mcnemar(draw: Draw) -> Cases:
    b, c = draw.different(2, 4, 9)
    return {
        f"{b} to {c}": (b, c),
        f"{c} to {b}": (c, b),
        f"{b} to {b}": (b, b),
        f"{b + 68} to {c + 35}, no approximation": (b + 68, c + 35),
        f"{b + 520} to {b + 560}, larger counts": (b + 520, b + 560),  # 2 ** n is more than a float holds
        "0 to 5": (0, 5),
    }


def cross_input(draw: Draw) -> Cases:
    def ids(n: int, padding: int = 0) -> list[int]:
        return [101, *[draw.whole(1000, 30000) for _ in range(n)], 102, *[0] * padding]

    n, m = draw.different(2, 1, 5)
    return {
        f"{n} and {m} tokens": (ids(n), ids(m)),
        f"{m} and {n} tokens, one is padded": (ids(m, max(n - m, 1)), ids(n)),
        "both are padded": (ids(n, 2), ids(m, 3)),
    }


def last_pool(draw: Draw) -> Cases:
    def packed(lengths: Sequence[int], H: int) -> tuple[Tensor, Tensor]:
        return draw.normal(sum(lengths), H), torch.tensor(lengths)

    S, H = draw.different(2, 3, 6)
    return {
        f"{S} sentences, vectors of size {H}": packed([draw.whole(1, 4) for _ in range(S)], H),
        "sentences of one token": packed([1, 1, 1], H),
        "the first sentence is the longest": packed([4, 1, 2], H),
    }
