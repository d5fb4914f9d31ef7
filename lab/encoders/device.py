"""The hardware of a run: device, cores, precision, random state, memory."""

import contextlib
import os
import sys
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from lab.errors import LabError


def pick_device(name: str) -> torch.device:
    """The device for the setting "cpu", "cuda" or "auto": cuda if there is one, else cpu.

    LabError: this machine has no such device. Apple's mps is not supported, because it has no float64, in which the lab
    computes the weights of the task gradients.
    """
    available = ["cuda", "cpu"] if torch.cuda.is_available() else ["cpu"]
    if name == "auto":
        name = available[0]
    if name not in available:
        raise LabError(f"device {name!r} is not available on this machine (available: {', '.join(available)})")
    # Of several processes that torchrun starts on a machine, each has a card of its own.
    return torch.device(name, int(os.environ.get("LOCAL_RANK", 0))) if name == "cuda" else torch.device(name)


def cores() -> int:
    """The CPU cores that this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_memory(device: torch.device) -> float | None:
    """Peak memory in MiB: allocated on a GPU, or resident in this process on a CPU. None if the system has no count."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    try:
        import resource
    except ImportError:  # Windows
        return None
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10), 1)


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager:
    """The context of a forward pass: "fp32" changes nothing, "bf16" computes matrix products in bfloat16."""
    return contextlib.nullcontext() if precision == "fp32" else torch.autocast(device.type, torch.bfloat16)


class Randomness:
    """A context that replaces torch's global random state by a run's own; the caller's is restored at the end."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self.device = device
        self.own = {kind: torch.Generator(kind).manual_seed(seed).get_state() for kind in {"cpu", device.type}}

    def now(self) -> dict[str, Tensor]:
        """The current global state, by device type."""
        state = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def restore(self, state: dict[str, Tensor]) -> None:
        """Set the global state to an earlier result of `now`; inside a `with`, the run's own state."""
        torch.set_rng_state(state["cpu"])
        if "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"], self.device)

    def __enter__(self) -> Self:
        self.callers = self.now()
        self.restore(self.own)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.own = self.now()
        self.restore(self.callers)
