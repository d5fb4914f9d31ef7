"""Files that are sent between the machines of a cluster: how they are read, written in whole, and kept in step."""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from filelock import FileLock

from lab.engines.worker import Report
from lab.errors import LabError
from lab.runs.disk import commit
from lab.runs.folder import Run

Files = dict[str, bytes]  # by their paths in a folder
MARK = ".lab-store"  # a file in the store, with a number of its own by which a worker knows it


def mark(store: Path, make: bool = True) -> str | None:
    """The number by which a store is known. None: it has none and `make` is False, or it is not seen here."""
    file = store / MARK
    if make and not file.is_file():
        commit(file, lambda part: part.write_text(os.urandom(16).hex(), encoding="utf-8"))
    return file.read_text(encoding="utf-8") if file.is_file() else None


def read_files(folder: Path) -> Files:
    """All files of a folder, except hidden ones."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)}


def unpack(files: Mapping[str, bytes], folder: Path) -> None:
    """Write files into a folder, which is there in whole or not at all."""
    def write(part: Path) -> None:
        part.mkdir()
        for name, content in files.items():
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            (part / name).write_bytes(content)

    commit(folder, write)


def unpack_once(fetch: Callable[[], Files], folder: Path) -> None:
    """Unpack what `fetch` gives, if the folder is not there. Of several workers one does it, and the others wait."""
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if not folder.is_dir():
            unpack(fetch(), folder)


def changed(folder: Path, sent: dict[str, str]) -> Iterator[Report]:
    """Reports of all files that are not as they were sent; experiment.json, which makes the folder a run, last."""
    files = read_files(folder) if folder.is_dir() else {}
    last = ("state.json", "status.json", "experiment.json")  # with which a checkpoint, or a run, is there
    for name in sorted(files, key=lambda name: (Path(name).name in last and last.index(Path(name).name) + 1, name)):
        digest = hashlib.sha256(files[name]).hexdigest()
        if sent.get(name) != digest:
            sent[name] = digest
            yield {"file": name, "bytes": files[name]}
    yield {"there": sorted(files)}


def write_file(folder: Path, name: str, content: bytes) -> None:
    """Write a file of a run, which a worker has sent. LabError: its name leads out of the run's folder."""
    if ".." in (parts := Path(name).parts) or Path(name).is_absolute() or not parts:
        raise LabError(f"{Run(folder).name}: a worker sent the file {name!r}")
    commit(folder / name, lambda part: part.write_bytes(content))


def remove_checkpoints(folder: Path, there: Iterable[str]) -> None:
    """Remove the files of checkpoints that the worker has removed; nothing else is ever removed."""
    known = set(there)
    for state in sorted((folder / "checkpoints").glob("[0-9]*/*"), reverse=True):  # state.json goes before the tensors
        if state.relative_to(folder).as_posix() not in known and state.suffix in (".json", ".safetensors"):
            state.unlink()
            with contextlib.suppress(OSError):
                state.parent.rmdir()
