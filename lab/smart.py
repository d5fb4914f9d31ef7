"""SMART (Jiang et al. 2020): smoothness-inducing adversarial regularization and the Bregman proximal point, per task.

A task's loss becomes loss + weight * penalty + bregman * divergence. The penalty is the divergence of the predictions
at x + noise from those at x, after the noise has moved to raise it. It needs no labels and is small in a smooth model.
The Bregman term is the divergence from the predictions of a slow average of the weights, and holds back large steps.

Shapes: N packed real tokens, H hidden size, B rows of a task, C classes.
"""

import copy
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lab.batches import Batch
from lab.errors import LabError


def library(noise: Tensor, gradient: Tensor, eta: float, eps: float) -> Tensor:
    """The step of mt-dnn and smart-pytorch: eps only guards a division, and a token's noise ends at infinity norms of
    .5 to 1. (mt-dnn's gradient is that of a sum over the rows, see `Smart.reduction`.)"""
    # step = noise + eta * gradient;   noise = step / (|step|_inf + eps)
    step = noise + eta * gradient
    return step / (step.abs().amax(-1, keepdim=True) + eps)


def ball(noise: Tensor, gradient: Tensor, eta: float, eps: float) -> Tensor:
    """The step as Jiang et al. write it: eta along the gradient's direction, then back into |noise|_inf <= eps."""
    # noise = clamp(noise + eta * gradient / |gradient|_inf, -eps, eps);   without a gradient there is no direction
    largest = gradient.abs().amax(-1, keepdim=True).clamp_min(torch.finfo(gradient.dtype).tiny)
    return (noise + eta * (gradient / largest)).clamp(-eps, eps)


READINGS: dict[str, Callable[[Tensor, Tensor, float, float], Tensor]] = {"library": library, "ball": ball}


MOST = 1e15  # of a constant or weight; from about 1e19 on, norms and variances of what it scales overflow float32


def within(default: float | None, low: float, high: float = MOST) -> Any:
    """A dataclass field with this default. Its values must lie between low and high."""
    return field(default=default, metadata={"within": (low, high)})


@dataclass(frozen=True)
class Smart:
    """SMART's constants, by default those of the CS224N report. A value out of range is a LabError."""

    weight: float = within(5.0, 0)  # lambda, of the penalty; with 0 there is the Bregman term alone
    step_size: float = within(1e-3, 0)  # eta, of the ascent
    epsilon: float = within(1e-5, 1e-12)  # "library": a guard against dividing by 0; "ball": the radius
    sigma: float = within(1e-5, 0)  # standard deviation of the first noise (smart-pytorch's "noise_var" is one too)
    # Of the ascent. With 0 steps and sigma 0 there is no noise, and dropout alone makes the penalty.
    steps: int = within(1, 0)
    reading: str = "library"  # of epsilon; or "ball"
    dropout: bool = True  # False: the passes of the penalty and of the Bregman term run without dropout
    bregman: float | None = within(None, 0)  # mu, of the Bregman term (1 in Jiang et al.); None: no such term
    reduction: str = "mean"  # over the rows, of the divergence whose gradient moves the noise; mt-dnn takes the "sum"

    def __post_init__(self) -> None:
        for of in fields(self):
            value = getattr(self, of.name)
            if not of.metadata or (value is None and of.default is None):
                continue
            (low, high), whole = of.metadata["within"], type(of.default) is int
            if isinstance(value, bool) or not isinstance(value, numbers.Integral if whole else numbers.Real) or not (
                    low <= value <= high):
                raise LabError(f"smart: {of.name} must be a {'whole ' * whole}number between {low} and {high:g}, not "
                               f"{value!r}")
            object.__setattr__(self, of.name, int(value) if whole else float(value))
        if self.reading not in tuple(READINGS):
            raise LabError(f"smart: reading {self.reading!r} is not known (valid: {', '.join(READINGS)})")
        if self.reduction not in ("mean", "sum"):
            raise LabError(f"smart: reduction {self.reduction!r} is not known (valid: mean, sum)")
        if not isinstance(self.dropout, bool):
            raise LabError(f"smart: dropout must be true or false, not {self.dropout!r}")


def categorical(moved: Tensor, clean: Tensor) -> Tensor:
    """SST, logits (B, C): the symmetrized KL of Jiang et al., in nats, summed over classes, mean over rows."""
    q, p = moved.log_softmax(-1), clean.log_softmax(-1)
    # KL(sg p || q) + KL(sg q || p);   each is differentiated in its second distribution alone, as in smart-pytorch
    return sum(F.kl_div(b, a.detach(), reduction="batchmean", log_target=True) for a, b in ((p, q), (q, p)))


def bernoulli(moved: Tensor, clean: Tensor) -> Tensor:
    """QQP, one logit z a row (B,): the same over the two classes [0, z]. A softmax over z alone would always be 1."""
    return categorical(*(torch.stack([torch.zeros_like(z), z], -1) for z in (moved, clean)))


def squared(moved: Tensor, clean: Tensor) -> Tensor:
    """STS, predictions (B,): mean squared difference, in squared score points."""
    return F.mse_loss(moved, clean)


DIVERGENCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"sst": categorical, "qqp": bernoulli, "sts": squared}


class Penalty(NamedTuple):
    """The divergence of each task, not multiplied by `weight`, and the mean infinity norm of the final noise."""

    values: dict[str, Tensor]
    noise_norm: Tensor


def penalties(smart: Smart, forward: Callable[[Tensor], dict[str, Tensor]], embeddings: Tensor,
              clean: Mapping[str, Tensor], generator: torch.Generator, batch: Batch | None = None) -> Penalty:
    """The penalty of each task in `clean`, its logits without noise; `forward` makes such logits from (N, H).

    `embeddings` (N, H) are what `clean` came from; both bring their graphs. The generator is the CPU's, for equal noise
    on every device. A row's noise reaches no other row, so one ascent on the sum of the tasks is an ascent for each.
    batch: where several processes share one, so that each row meets the noise that it meets in one process.
    """
    shape = (batch.tokens if batch else len(embeddings), embeddings.shape[-1])
    noise = (torch.randn(shape, generator=generator) * smart.sigma).to(embeddings)
    if batch and (places := batch.places) is not None:
        noise = noise[places.to(noise.device)]
    for _ in range(smart.steps):
        noise.requires_grad_()
        with torch.enable_grad():  # diagnostics call this without gradients
            logits = forward(embeddings.detach() + noise)
            # Each divergence is a mean over a task's rows here; times their number it is the sum, and times their share
            # it is their part of the mean over the whole batch.
            total = sum(DIVERGENCES[task](logits[task], clean[task].detach())
                        * (len(clean[task]) if smart.reduction == "sum" else batch.share[task] if batch else 1)
                        for task in clean)
        (gradient,) = torch.autograd.grad(total, noise)  # with respect to the noise only; this frees the graph
        noise = READINGS[smart.reading](noise.detach(), gradient, smart.step_size, smart.epsilon)
    logits = forward(embeddings + noise)
    return Penalty({task: DIVERGENCES[task](logits[task], clean[task]) for task in clean}, noise.abs().amax(-1).mean())


class Average:
    """The moving average of a model's weights in Jiang et al.'s momentum Bregman proximal point.

    The term is DIVERGENCES[task](logits, `average.model`'s logits), the latter made under `torch.no_grad()` and with
    the live model's dropout mode. A checkpoint keeps `average.model.state_dict()`.

    Their decay is .99 in the first tenth of a run, then .999. Ours is constant, since nothing in the lab may depend on
    the planned length of a run.
    """

    def __init__(self, model: nn.Module, decay: float = 0.99) -> None:
        self.decay, self.model = decay, copy.deepcopy(model).requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Follow the live model's weights, after its step."""
        # average = decay * average + (1 - decay) * weights
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - self.decay)
