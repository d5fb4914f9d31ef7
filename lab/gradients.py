"""Task gradients and every way to combine them.

Over the shared encoder, the gradient of task i is one vector g_i (P,), never a list of parts. A combiner sees only the
Gramian G (T, T), G_ij = g_i . g_j, and returns weights w (T,): the update is sum_i w_i g_i. PCGrad is therefore fifteen
lines that a student can check by hand, and no combiner ever copies a gradient. `state` is a dict of tensors that the
loop keeps for the combiner and saves in checkpoints.

Written here: sum, mean, pcgrad, gradvac. From TorchJD: aligned_mtl, imtl_g, mgda, fairgrad, and with the extra
`methods` cagrad, upgrad, dualproj.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from lab.errors import LabError

Gradient = Sequence[Tensor | None]  # of one task, a tensor a parameter; None: the task does not reach it
Combiner = Callable[[Tensor, torch.Generator, dict[str, Tensor]], Tensor]
BLOCK = 2**18  # elements of a gradient brought to float64 at a time: they stay in a CPU's cache
FAIRGRAD_ALPHA = 1.0
VACCINE_DECAY = 0.01


def gramian(gradients: Sequence[Gradient]) -> Tensor:
    """The inner products of T gradients over all their parameters as one vector: (T, T), float64, on the CPU."""
    total: Tensor | float = 0.0
    for parts in zip(*gradients, strict=True):
        parts, _ = touched(parts)
        like = next((part for part in parts if part is not None), None)
        if like is None:
            continue
        flat = [like.new_zeros(1).expand(like.numel()) if part is None else part.reshape(-1) for part in parts]
        for block in zip(*(part.split(BLOCK) for part in flat), strict=True):
            g = torch.stack(block).double()  # (T, BLOCK)
            total = total + g @ g.T
    return torch.as_tensor(total).cpu()


def combine(gradients: Sequence[Gradient], weights: Tensor) -> list[Tensor | None]:
    """sum_i w_i g_i, parameter by parameter. It is written into the memory of the first gradients, to avoid a copy.

    Of sparse gradients it is sparse."""
    combined = []
    scale = weights.tolist()
    for of in zip(*gradients, strict=True):
        parts, rows = touched(of)
        there = [(part, w) for part, w in zip(parts, scale, strict=True) if part is not None]
        if not there:
            combined.append(None)
            continue
        (result, first), *rest = there
        result.mul_(first)
        for part, w in rest:
            result.add_(part, alpha=w)
        if rows is not None:
            result = torch.sparse_coo_tensor(rows[None], result, next(part.shape for part in of if part is not None),
                                             is_coalesced=True, check_invariants=False)
        combined.append(result)
    return combined


@contextlib.contextmanager
def sparse_gradient(words: torch.nn.Embedding, alone: bool) -> Iterator[None]:
    """While this lasts, the gradient of an embedding on the CPU has the rows of a batch's words, and no others.

    alone: whether one process trains; several sum their gradients, which takes dense ones.
    """
    words.sparse = alone and words.weight.device.type == "cpu"
    try:
        yield
    finally:
        words.sparse = False


def touched(parts: Sequence[Tensor | None]) -> tuple[list[Tensor | None], Tensor | None]:
    """The gradients of one parameter as dense tensors of the rows that any of them has (U, H), and these rows (U,).

    A sparse gradient of the word embeddings has a row for each token of the batch. The other words, most of a small
    encoder's parameters, are then neither written nor read. Dense gradients are given back as they are, and no rows.
    """
    there = [part for part in parts if part is not None]
    if any(part.layout == torch.strided for part in there) or not there:
        return [None if part is None else part.to_dense() for part in parts], None
    rows, places = torch.cat([part._indices()[0] for part in there]).unique(return_inverse=True)
    place = iter(places.split([part._nnz() for part in there]))
    return [None if part is None else part._values().new_zeros(len(rows), *part.shape[1:]).index_add_(
        0, next(place), part._values()) for part in parts], rows


def sum_(G: Tensor, generator: torch.Generator, state: dict[str, Tensor]) -> Tensor:
    """Plain multitask: w = 1."""
    return torch.ones_like(G[0])


def mean(G: Tensor, generator: torch.Generator, state: dict[str, Tensor]) -> Tensor:
    """w = 1 / T."""
    return torch.full_like(G[0], 1 / len(G))


def pcgrad(G: Tensor, generator: torch.Generator, state: dict[str, Tensor]) -> Tensor:
    """PCGrad (Yu et al. 2020, algorithm 1). Yu et al. sum the projected gradients; the CS224N report averages them, and
    so does this.

    Row i of W holds g_i^PC = sum_k W_ik g_k. Each gradient is projected against the original gradients of the other
    tasks, in a fresh random order, and never against its own.
    """
    T = len(G)
    W = torch.eye(T, dtype=G.dtype)
    for i in range(T):
        for j in torch.randperm(T, generator=generator).tolist():
            dot = W[i] @ G[j]  # g_i^PC . g_j
            if j != i and dot < 0:
                # g_i^PC = g_i^PC - (g_i^PC . g_j / |g_j|^2) g_j
                W[i, j] -= dot / G[j, j]
    return W.mean(0)


def gradvac(G: Tensor, generator: torch.Generator, state: dict[str, Tensor]) -> Tensor:
    """Gradient Vaccine (Wang et al. 2021, equation 2), as a mean like `pcgrad`; with targets of 0 it is PCGrad.

    A cosine below its target is raised to it. The targets are moving averages of the cosines, kept by pair of tasks:
    state["targets"][a, b], where a and b are numbers of tasks. state["tasks"] (T,) says which tasks the rows of G are,
    since a sampler may leave some out; without it they are 0 ... T - 1.
    """
    T = len(G)
    W = torch.eye(T, dtype=G.dtype)
    tasks = state.get("tasks", torch.arange(T)).tolist()
    known, wanted = state.get("targets", torch.zeros(0, 0, dtype=G.dtype)), max(tasks) + 1
    if len(known) < wanted:  # a task that has not been there before
        known = torch.nn.functional.pad(known, (0, wanted - len(known), 0, wanted - len(known)))
    state["targets"] = targets = known
    for i in range(T):
        for j in torch.randperm(T, generator=generator).tolist():
            norm_i, norm_j = (W[i] @ G @ W[i]).clamp(min=0).sqrt(), G[j, j].sqrt()
            if j == i or norm_i * norm_j == 0:
                continue
            pair = tasks[i], tasks[j]
            cosine, target = (W[i] @ G[j] / (norm_i * norm_j)).clamp(-1, 1), targets[pair].clone()
            if cosine < target:
                # with s = sqrt(1 - cosine^2) and t = sqrt(1 - target^2):
                # g_i^PC += |g_i^PC| (target s - cosine t) / (|g_j| t) g_j
                s, t = (1 - cosine**2).sqrt(), (1 - target**2).sqrt()
                W[i, j] += norm_i * (target * s - cosine * t) / (norm_j * t)
            targets[pair] = (1 - VACCINE_DECAY) * target + VACCINE_DECAY * cosine
    return W.mean(0)


def borrowed(name: str, scaled_power: float = 0.0, **options: object) -> Combiner:
    """A TorchJD weighting as a combiner. G is first divided by its largest diagonal entry s (1 where that is 0).

    The weights of a method that is not scale-free are then multiplied by s ** scaled_power. LabError: G is not finite,
    or a package that the method needs is not installed.
    """

    def combiner(G: Tensor, generator: torch.Generator, state: dict[str, Tensor]) -> Tensor:
        import torchjd.aggregation

        if not G.isfinite().all():
            raise LabError(f"the gradient method {name} was given gradients that are NaN or infinite")
        s = G.diagonal().max()
        s = s if s > 0 else torch.ones_like(s)
        try:
            weighting = getattr(torchjd.aggregation, f"{name}Weighting")(**options)
            return weighting(G / s) * s**scaled_power
        except ImportError as error:
            raise LabError(f"the gradient method {name} needs the extra `methods`: pip install -e '.[methods]' "
                           f"({str(error).splitlines()[0]})") from None

    combiner.__doc__ = f"{name}, from TorchJD."
    return combiner


COMBINERS: dict[str, Combiner] = {
    "sum": sum_,
    "mean": mean,
    "pcgrad": pcgrad,
    "gradvac": gradvac,
    "aligned_mtl": borrowed("AlignedMTL"),
    "imtl_g": borrowed("IMTLG"),
    "mgda": borrowed("MGDA"),
    "fairgrad": borrowed("FairGrad", -FAIRGRAD_ALPHA / (1 + FAIRGRAD_ALPHA), alpha=FAIRGRAD_ALPHA),
    "cagrad": borrowed("CAGrad", c=0.5),
    "upgrad": borrowed("UPGrad"),
    "dualproj": borrowed("DualProj"),
}
