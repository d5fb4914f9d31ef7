"""The machine a run is on: its device, its number format, its random state, its memory."""

import contextlib
import sys
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from lab.errors import LabError


def pick_device(name: str) -> torch.device:
    """The device of a setting; "auto" is cuda, else cpu. LabError: this machine has none such.

    mps is only used when asked for: nobody has tried it yet.
    """
    has = {"cuda": torch.cuda.is_available(), "cpu": True, "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = "cuda" if has["cuda"] else "cpu"
    if not has[name]:
        raise LabError(f"device {name!r} is not on this machine (here: {', '.join(k for k, t in has.items() if t)})")
    return torch.device(name, 0) if name == "cuda" else torch.device(name)


def peak_memory(device: torch.device) -> float | None:
    """The most memory in use so far, in MB: of the device, or of this process on a CPU. None where it isn't told."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    try:
        import resource
    except ImportError:  # Windows
        return None
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10), 1)


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager:
    """The context of a forward pass: nothing for "fp32"; for "bf16" matrix products in bfloat16."""
    return contextlib.nullcontext() if precision == "fp32" else torch.autocast(device.type, torch.bfloat16)


class Randomness:
    """A random state of the run's own, in place of torch's global one for the time of a `with`."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self.device = device
        self.own = {kind: torch.Generator(kind).manual_seed(seed).get_state() for kind in {"cpu", device.type}}

    def now(self) -> dict[str, Tensor]:
        """The global state."""
        state = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.device)
        if self.device.type == "mps":
            state["mps"] = torch.mps.get_rng_state()
        return state

    def _set(self, state: dict[str, Tensor]) -> None:
        torch.set_rng_state(state["cpu"])
        if "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"], self.device)
        if "mps" in state:
            torch.mps.set_rng_state(state["mps"])

    def __enter__(self) -> Self:
        self.callers = self.now()
        self._set(self.own)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.own = self.now()
        self._set(self.callers)
