"""Checkpoints that survive a crash: a folder a step, there whole or not at all, checked when it is read.

    checkpoints/<step>/model.safetensors      weights of encoder and heads
                       training.safetensors   moments, random state, open window; dropped when the run is done
                       state.json             the place in the streams, what was best so far, each file's sha256

No pickle: tensors are safetensors, the rest is JSON.
"""

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lab.errors import LabError


def steps(folder: Path) -> list[int]:
    """The steps that have a checkpoint, oldest first."""
    return sorted(int(f.name) for f in folder.glob("[0-9]*") if f.name.isdigit())


def load(folder: Path, step: int, for_training: bool = False) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A checkpoint's tensors, under "file/name", and its state. LabError: it is damaged.

    for_training: what only training needs must be there too; `finish` has dropped it from a run that is done.
    """
    here, tensors = folder / f"{step:08d}", {}
    try:
        state = json.loads((here / "state.json").read_text(encoding="utf-8"))
        for name, digest in state["files"].items():
            file = here / f"{name}.safetensors"
            if name == "training" and not for_training and not file.exists():
                continue
            if _sha256(file) != digest:
                raise LabError(f"checkpoint {file} has changed since it was written")
            tensors |= {f"{name}/{key}": value for key, value in load_file(file).items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError, SafetensorError) as error:
        raise LabError(f"checkpoint {here} cannot be read ({error})") from None
    return tensors, state


def load_newest(folder: Path, last: int = 0) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The newest checkpoint that is whole; a warning names every damaged one passed over. None: there is none.

    last: the step after which nothing is left to train; an earlier checkpoint must hold all that training needs.
    """
    for step in reversed(steps(folder)):
        try:
            return load(folder, step, for_training=step < last)
        except LabError as error:
            warnings.warn(f"{error}; going back to the checkpoint before it", stacklevel=2)
    return None


def save(folder: Path, step: int, files: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any],
         keep: Iterable[int]) -> None:
    """Write a checkpoint beside, fsync it and rename it into place; then drop all but the newest two and `keep`."""
    final = folder / f"{step:08d}"
    part = final.with_name(f".{final.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    digests = {}
    for name, tensors in files.items():
        save_file(dict(tensors), part / f"{name}.safetensors")
        digests[name] = _sha256(part / f"{name}.safetensors")
    (part / "state.json").write_text(json.dumps({**state, "files": digests}), encoding="utf-8")
    for path in [*part.iterdir(), part]:
        _fsync(path)
    if final.exists():
        shutil.rmtree(final)  # a damaged one that this run went back before
    part.rename(final)
    _fsync(folder)
    keep = {*keep, *[s for s in steps(folder) if s <= step][-2:]}
    for other in folder.iterdir():
        if not other.name.isdigit() or int(other.name) not in keep:
            shutil.rmtree(other, ignore_errors=True)


def finish(folder: Path, keep: Iterable[int]) -> None:
    """When a run is done: keep the weights of these steps, and nothing that only training needs."""
    for step in steps(folder):
        if step in keep:
            (folder / f"{step:08d}" / "training.safetensors").unlink(missing_ok=True)
        else:
            shutil.rmtree(folder / f"{step:08d}")


def _sha256(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _fsync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open a folder, and needs no such call
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
