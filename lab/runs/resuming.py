"""Resuming a run: whether settings, data and machine are those that it was begun with, and its newest checkpoint."""

import json
import platform
import re
import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lab.data import Data
from lab.errors import LabError
from lab.experiment import Settings
from lab.runs import checkpoints, schema
from lab.runs.folder import Run, fill
from lab.runs.writer import check_rows


def check_same_run(run: Run, settings: Settings, data: Data, device: torch.device,
                   sentences: Mapping[str, Any] | None) -> None:
    """LabError: the run was begun with other data, settings or sentences, or on another device."""
    recorded = run.config
    schema.check_settings(recorded, run.folder / "experiment.json")
    run.check_data(data)
    if recorded.get("device") != device.type:
        raise LabError(f"run {run.name} was begun on {recorded.get('device')}, and would not be the same run on "
                       f"{device.type}; start a new run here")
    before = type(settings).from_json(json.dumps(recorded["experiment"]))
    now, before = (json.loads(of.to_json()) for of in (settings, before))
    if differs := [key for key in now if before[key] != now[key]]:
        raise LabError(f"run {run.name} was trained with other settings ({', '.join(differs)}); name another run")
    if recorded["data"].get("sentences") != sentences:
        raise LabError(f"run {run.name} was begun with other sentences (a new test file?); start a new run")


def newest_checkpoint(run: Run, total: int, finished: bool) -> checkpoints.Checkpoint | None:
    """The newest checkpoint that can be read. LabError: there is none, although there are records.

    total: the iterations of the training. finished: it is not trained any further, so what follows does not matter.
    """
    newest = checkpoints.load_newest(run.checkpoints, total, fits=None if finished else partial(_fits, run))
    if not newest and run.rows():
        raise LabError(f"run {run.name} has no checkpoint that can be read; its records are left as they are, "
                       "so start a new run")
    return newest


def _fits(run: Run, state: dict[str, Any]) -> None:
    """LabError: the records or the best weights are not what they were when this state was saved."""
    best = state.get("best")  # its checkpoint is not there any more if a later one was better, as it will be again
    if best and best["step"] != state["step"] and best["step"] in checkpoints.steps(run.checkpoints):
        checkpoints.load(run.checkpoints, best["step"])
    if {"metrics_bytes", "metrics_sha256"} <= state.keys():  # else `restore` names what is missing
        check_rows(run, state)


def restore(run: Run, parts: checkpoints.Parts, state: dict[str, Any], tensors: dict[str, Tensor],
            saved: dict[str, Any]) -> None:
    """Go back to a checkpoint, (tensors, saved): fill the parts and the state of a recorder from it.

    LabError: another version of the lab, in which a state has other keys, has written it.
    """
    fill(parts.model, tensors, run)
    expected = state.keys() | {"metrics_bytes", "metrics_sha256"}
    if missing := sorted(expected - saved.keys()):
        raise _other_version(run, f"its checkpoint has no {missing[0]!r}")
    if unknown := sorted(saved.keys() - expected):
        raise _other_version(run, f"its checkpoint has the unknown key {unknown[0]!r}")
    state |= {key: saved[key] for key in state}
    try:
        parts.restore(tensors)
    except KeyError as error:
        raise _other_version(run, f"its checkpoint has no {error}") from None


def _other_version(run: Run, why: str) -> LabError:
    return LabError(f"run {run.name} was begun with another version of the lab ({why}); resume it with that "
                    "version, or start a new run")


def machine() -> dict[str, Any]:
    """What the last bits of a training depend on besides its settings and data."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            names = re.findall(r"^model name\s*: (.*)", file.read(), re.MULTILINE)
    except OSError:  # not Linux
        names = []
    processor = names[0] if names else platform.processor() or platform.machine()
    together = torch.distributed.is_available() and torch.distributed.is_initialized()
    return {"threads": torch.get_num_threads(), "torch": str(torch.__version__),
            "processes": torch.distributed.get_world_size() if together else 1,
            "processor": f"{processor} ({torch.backends.cpu.get_cpu_capability()})"}


def warn_of_another_machine(run: Run, saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Warn, where a checkpoint was saved on another machine than this one, `now`, that the bits will differ."""
    before = {"processes": 1} | saved.get("machine", {})
    if other := [key for key in now if key in before and before[key] != now[key]]:
        warnings.warn(f"run {run.name} was begun with {_listed(before, other)} and is resumed with "
                      f"{_listed(now, other)}: its weights will not be bit-identical to those of an undisturbed "
                      "run", stacklevel=5)  # the call of `fit`, through the recorder


def _listed(values: Mapping[str, Any], keys: list[str]) -> str:
    return ", ".join(f"{values[key]} {key}" if key in ("threads", "processes") else f"{key} {values[key]}"
                     for key in keys)
