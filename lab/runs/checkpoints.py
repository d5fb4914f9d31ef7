"""Checkpoints that survive a crash: one folder per step, written atomically and verified when it is read.

    checkpoints/<step>/model.safetensors      weights of encoder and heads
                       training.safetensors   what `Parts.tensors` gathers; a finished run keeps one, for `lab verify`
                       state.json             the recorder's state, the sha256 of each file, and one of all that

The setting `checkpoints` says which of them stay whole, so that `lab.fork` can begin there. There is no pickle: tensors
are safetensors, the rest is JSON.
"""

import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lab.encoders.device import Randomness
from lab.errors import LabError
from lab.optim import AdamW
from lab.runs.diagnostics import Window
from lab.runs.disk import commit, naming, sync

Checkpoint = tuple[dict[str, Tensor], dict[str, Any]]  # its tensors, under "file/name", and the recorder's state
STEP, PART = re.compile(r"\d{8,}"), re.compile(r"\.\d{8,}\.part")  # the names of a checkpoint, and of one being written


@dataclass
class Parts:
    """What a training is made of, as far as a checkpoint holds it. `tensors` and `restore` are inverse."""

    model: nn.Module
    optimizer: AdamW
    randomness: Randomness  # torch's global random state, from which dropout draws
    windows: dict[str, Window]  # by the split under which their rows are recorded
    generators: dict[str, torch.Generator] = field(default_factory=dict)  # the loop's own, by name
    average: nn.Module | None = None  # the second set of weights of the Bregman term
    combiners: dict[str, dict[str, Tensor]] = field(default_factory=dict)  # update -> the state that its combiner owns

    def tensors(self) -> dict[str, Tensor]:
        """All that resuming needs besides the weights of the model: moments, random states, windows, averages."""
        tensors = {**{f"window.{split}": window.values for split, window in self.windows.items()},
                   **{f"random.{kind}": value for kind, value in self.randomness.now().items()},
                   **{f"random.{name}": generator.get_state() for name, generator in self.generators.items()},
                   **{f"combiner.{update}.{name}": value for update, own in self.combiners.items()
                      for name, value in own.items()}}
        if self.average:
            tensors |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for i, parameter in enumerate(self.model.parameters()):
            moments = self.optimizer.state.get(parameter, {})
            tensors |= {f"{i}.{key}": torch.as_tensor(value) for key, value in moments.items()}
        return tensors

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take these tensors of a checkpoint. A finished run has none, and keeps its weights alone.

        Inside a `with randomness`. KeyError: a tensor is missing, or a window has other columns.
        """
        kept = {key.removeprefix("training/"): value for key, value in tensors.items() if key.startswith("training/")}
        if not kept:
            return
        for i, parameter in enumerate(self.model.parameters()):
            if f"{i}.step" in kept:  # a parameter that has taken no step yet has no moments
                self.optimizer.state[parameter] = {
                    "step": int(kept[f"{i}.step"]),
                    **{key: kept[f"{i}.{key}"].clone().to(parameter.device) for key in ("exp_avg", "exp_avg_sq")}}
        for split, window in self.windows.items():
            if kept[f"window.{split}"].shape != window.values.shape:
                raise KeyError(f"window.{split} of {window.values.shape[1]} columns")
            window.values.copy_(kept[f"window.{split}"])
        self.randomness.restore({kind: kept[f"random.{kind}"] for kind in self.randomness.own})
        for name, generator in self.generators.items():
            generator.set_state(kept[f"random.{name}"])
        if self.average:
            self.average.load_state_dict({name: kept[f"average.{name}"] for name in self.average.state_dict()})
        for key, value in kept.items():
            if key.startswith("combiner."):
                _, update, name = key.split(".", 2)
                self.combiners.setdefault(update, {})[name] = value.clone()


def every(setting: str, epoch: int) -> int:
    """The number of iterations from one checkpoint that stays to the next; 0: none stays, as with "last two".

    setting: "last two", "every epoch", or a number of iterations. epoch: the iterations of one.
    """
    return int(setting) if setting.isdigit() else {"last two": 0, "every epoch": epoch}[setting]


def steps(folder: Path) -> list[int]:
    """The steps that have a checkpoint, oldest first."""
    return sorted(int(f.name) for f in folder.glob("[0-9]*") if _is_checkpoint(f))


def _is_checkpoint(path: Path) -> bool:
    """Whether a folder is a checkpoint, perhaps a damaged one. Whatever else is there is the user's."""
    return bool(STEP.fullmatch(path.name)) and any((path / file).is_file() for file in ("state.json",
                                                                                       "model.safetensors"))


def load(folder: Path, step: int, for_training: bool = False) -> Checkpoint:
    """A checkpoint. LabError: it is damaged.

    for_training: what only training needs must be there too; `finish` has dropped it from a run that is done.
    """
    here, tensors = folder / f"{step:08d}", {}
    try:
        state = json.loads(_regular(here / "state.json").read_text(encoding="utf-8"))
        digest = state.pop("digest", None)
        # Earlier versions of the lab wrote no digest; their weights are still good to be used, and not to go on from.
        if digest != digest_of(state) and (digest is not None or for_training):
            raise LabError(f"checkpoint {here / 'state.json'} has changed since it was written, or has no digest")
        if state["step"] != step:
            raise LabError(f"checkpoint {here} is in fact of iteration {state['step']}")
        for name, digest in state.pop("files").items():
            file = here / f"{name}.safetensors"
            if name == "training" and not for_training and not file.exists():
                continue
            if _sha256(_regular(file)) != digest:
                raise LabError(f"checkpoint {file} has changed since it was written")
            tensors |= {f"{name}/{key}": value for key, value in load_file(file).items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError, SafetensorError) as error:
        raise LabError(f"checkpoint {here} cannot be read ({error})") from None
    return tensors, state


def load_newest(folder: Path, last: int = 0,
                fits: Callable[[dict[str, Any]], None] | None = None) -> Checkpoint | None:
    """The newest checkpoint that is whole; a warning names every other one passed over. None: there is none.

    last: the step after which nothing is left to train; an earlier checkpoint must hold all that training needs. fits:
    raises a LabError for a state to which the rest of the run does not fit.
    """
    for step in reversed(steps(folder)):
        try:
            found = load(folder, step, for_training=step < last)
            if fits:
                fits(found[1])
            return found
        except LabError as error:
            warnings.warn(f"{error}; going back to the checkpoint before it", stacklevel=2)
    return None


def save(folder: Path, step: int, files: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any],
         keep: Iterable[int], every: int = 0) -> None:
    """Write a checkpoint, whole or not at all; then delete all but the newest two, `keep` and multiples of `every`."""
    final = folder / f"{step:08d}"
    if _is_checkpoint(final):
        _remove(final)  # a damaged one that this run went back before
    elif os.path.lexists(final):
        raise LabError(f"{final} is in a checkpoint's place, and no run has written it; move it away")

    def write(part: Path) -> None:
        part.mkdir()
        digests = {}
        for name, tensors in files.items():
            save_file(dict(tensors), part / f"{name}.safetensors")
            # safetensors makes files that their owner alone can read; others may who may read the folder
            (part / f"{name}.safetensors").chmod(part.stat().st_mode & 0o666)
            digests[name] = _sha256(part / f"{name}.safetensors")
        entries = {**state, "files": digests}
        (part / "state.json").write_text(json.dumps({**entries, "digest": digest_of(entries)}), encoding="utf-8")

    commit(final, write)
    _delete_all_but(folder, {*keep, *[s for s in steps(folder) if s <= step][-2:], *_stay(folder, every)})


def finish(folder: Path, keep: Iterable[int], every: int = 0) -> None:
    """When a run is done: keep the weights of these steps, and the whole checkpoint before the last one.

    From that one `lab verify` trains the last stretch again. Nothing else of what only training needs is kept, but at
    the multiples of `every`.
    """
    whole = {step for step in steps(folder) if step < max(keep)}
    whole = {*sorted(whole)[-1:], *whole.intersection(_stay(folder, every))}
    _delete_all_but(folder, {*keep, *whole})
    for step in steps(folder):
        if step not in whole:
            (folder / f"{step:08d}" / "training.safetensors").unlink(missing_ok=True)
            sync(folder / f"{step:08d}")


def _stay(folder: Path, every: int) -> list[int]:
    """The checkpoints at multiples of `every`; none for 0."""
    return [step for step in steps(folder) if step % every == 0] if every else []


def digest_of(entries: Mapping[str, Any]) -> str:
    """The sha256 of entries as JSON, whatever their order."""
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()


def _delete_all_but(folder: Path, keep: set[int]) -> None:
    """Delete the other checkpoints, and what a killed process has left of one that it wrote or deleted."""
    for other in folder.iterdir():
        if PART.fullmatch(other.name):
            shutil.rmtree(other, ignore_errors=True)
        elif _is_checkpoint(other) and int(other.name) not in keep:
            _remove(other)
    sync(folder)


def _remove(checkpoint: Path) -> None:
    """Remove a checkpoint. It loses its name first, so that none is ever there in half."""
    part = checkpoint.with_name(f".{checkpoint.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    with naming(checkpoint):
        checkpoint.rename(part)
    shutil.rmtree(part, ignore_errors=True)


def _regular(file: Path) -> Path:
    """The file, if it is one. OSError otherwise; to open a named pipe would wait for ever."""
    if not file.is_file():
        raise OSError(f"{file.name} is missing, or is not a file")
    return file


def _sha256(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
