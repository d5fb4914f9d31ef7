"""AdamW from scratch: Adam (Kingma & Ba 2015) with decoupled weight decay (Loshchilov & Hutter 2019).

`adamw_step` is the formula, in the "efficient" form at the end of section 2 of Kingma & Ba, as in the course. It
differs from torch.optim.AdamW in two places:

- eps is added to the uncorrected sqrt(v); torch first corrects the bias of v, so its eps matters less in early steps;
- weight decay is applied after the step, to the updated weights; torch applies it first.

With eps = 0 and without decay the two agree. `adamw_step_fused` is the same step in one pass over memory.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

Tensors = tuple[Tensor, ...]


def adamw_step(p: Tensors, g: Tensors, m: Tensors, v: Tensors, t: int, group: dict[str, Any]) -> None:
    """Step t of AdamW, in place: parameters p, gradients g, moments m and v, as tuples of equal length."""
    lr, (b1, b2), eps, weight_decay = (group[name] for name in ("lr", "betas", "eps", "weight_decay"))
    # m = b1 m + (1 - b1) g
    torch._foreach_lerp_(m, g, 1 - b1)
    # v = b2 v + (1 - b2) g^2
    torch._foreach_mul_(v, b2)
    torch._foreach_addcmul_(v, g, g, 1 - b2)
    # p = p - lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps)
    denominator = torch._foreach_sqrt(v)
    torch._foreach_add_(denominator, eps)
    torch._foreach_addcdiv_(p, m, denominator, -lr * math.sqrt(1 - b2**t) / (1 - b1**t))
    # p = p - lr wd p
    if weight_decay:
        torch._foreach_mul_(p, 1 - lr * weight_decay)


def adamw_step_fused(p: Tensors, g: Tensors, m: Tensors, v: Tensors, t: int, group: dict[str, Any]) -> None:
    """The same step with torch's fused kernel, which reads and writes each number once: much faster on a CPU.

    The kernel is torch's AdamW: its denominator is sqrt(v / (1 - b2^t)) + eps'. With eps' = eps / sqrt(1 - b2^t), that
    is the denominator above divided by sqrt(1 - b2^t), which is the factor that the step above has in front.
    """
    lr, (b1, b2), eps, weight_decay = (group[name] for name in ("lr", "betas", "eps", "weight_decay"))
    steps = [torch.tensor(float(t), device=p[0].device)] * len(p)
    torch._fused_adamw_(p, g, m, v, [], steps, lr=lr, beta1=b1, beta2=b2, weight_decay=0.0,
                        eps=eps / math.sqrt(1 - b2**t), amsgrad=False, maximize=False)
    torch.autograd.graph.increment_version(p)  # the kernel does not; a backward through a stale graph is then refused
    if weight_decay:  # after the step
        torch._foreach_mul_(p, 1 - lr * weight_decay)


class AdamW(torch.optim.Optimizer):
    """Each parameter has its own step count t. A parameter without a gradient is not updated and keeps its state.

    A sparse gradient, of an embedding, counts as the dense one that it stands for: the moments of the other rows decay.
    Raises ValueError for an invalid hyperparameter, also in a parameter group. NaN in a gradient is not detected here:
    the training loop checks the losses.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        self._dense: dict[Tensor, tuple[Tensor, Tensor]] = {}  # parameter -> zeros but for some rows, and these rows
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Check the group's hyperparameters, then add it. The constructor calls this method too."""
        group = {**self.defaults, **param_group}
        for name in ("lr", "eps", "weight_decay"):
            if not 0 <= group[name] < math.inf:  # written so that NaN fails too
                raise ValueError(f"AdamW: {name} must be finite and not negative, got {group[name]}")
        if len(group["betas"]) != 2 or not all(0 <= beta < 1 for beta in group["betas"]):
            raise ValueError(f"AdamW: betas must be two numbers in [0, 1), got {group['betas']}")
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient. Returns the loss of the closure, or None without a closure."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        moving = [(group, [p for p in group["params"] if p.grad is not None]) for group in self.param_groups]
        for group, params in moving:
            # One list for each t, because the bias correction depends on it. Usually that is one list for the encoder
            # and one for each head that has taken fewer steps.
            alike: defaultdict[tuple, list[Tensors]] = defaultdict(list)
            for p in params:
                state = self.state[p]
                if not state:
                    state.update(step=0, exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p))
                state["step"] = int(state["step"]) + 1  # int: checkpoints may store it as a tensor
                part = p, self._gradient(p), state["exp_avg"], state["exp_avg_sq"]
                alike[state["step"], p.device, p.dtype, all(x.is_contiguous() for x in part)].append(part)
            for (t, *_, contiguous), parts in alike.items():  # the kernel takes arrays without gaps
                (adamw_step_fused if contiguous else adamw_step)(*zip(*parts, strict=True), t, group)
        return loss

    def _gradient(self, p: Tensor) -> Tensor:
        """Its gradient as a dense tensor. A sparse one is put into zeros that are kept from step to step."""
        if p.grad.layout == torch.strided:
            return p.grad
        rows = p.grad._indices()[0]
        if p in self._dense:
            dense, before = self._dense[p]
            dense.index_fill_(0, before, 0.0)
        else:
            dense = torch.zeros_like(p)
        self._dense[p] = dense, rows
        return dense.index_add_(0, rows, p.grad._values())
