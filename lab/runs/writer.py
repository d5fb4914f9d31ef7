"""Writing a run: one process at a time, whole rows, and nothing of the user's ever deleted or overwritten."""

import atexit
import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from lab.data import checkout
from lab.errors import LabError
from lab.runs.folder import Run, read_json
from lab.runs.schema import SCHEMA

# What a start writes before experiment.json, in the order in which a failed one removes it. status.json says "starting"
# from first to last, so what a start that was killed has left behind is known for what it is.
STARTED = ("checkpoints", "encoder", "metrics.jsonl", ".experiment.json.part", ".status.json.part", "status.json",
           ".lock")
BEFORE_STATUS = (".status.json.part", ".lock")  # what a start can leave before status.json
# The runs that are written: (process, folder) -> what ends the writer. A forked process does not write its parent's.
_writers: dict[tuple[int, Path], Callable[[], None]] = {}


@atexit.register
def _end_all() -> None:
    """When Python exits: end every training that is still open, so that its status is true and its lock free."""
    for (process, _), end in list(_writers.items()):
        if process == os.getpid():
            with contextlib.suppress(Exception):
                end()


class Writer:
    """The one writer of a run, from its making to `close`.

    `end` is called when another writer of the same run is made in this process; it must close this one. LabError:
    another process writes the run, or the folder holds something that no run has written.
    """

    def __init__(self, run: Run, end: Callable[[], None]) -> None:
        self.run, self.process = run, os.getpid()
        self.key = self.process, run.folder.resolve()
        if self.key in _writers:
            _writers[self.key]()
        there, self.begun = run.folder.is_dir(), run.exists
        if not there and os.path.lexists(run.folder):
            raise LabError(f"{run.folder} is a file, not the folder of a run; name another run")
        names = sorted(entry.name for entry in run.folder.iterdir()) if there else []
        leftover = read_json(run.folder / "status.json").get("state") == "starting"
        strange = [name for name in names if name not in (STARTED if leftover else BEFORE_STATUS)]
        if strange and not self.begun:
            raise LabError(f"{run.folder} is not the folder of a run: it holds {strange[0]!r}; name another run")
        self.created = not there
        self.kept = set() if leftover else set(names) - {BEFORE_STATUS[0]}  # what is not of this start
        run.folder.mkdir(parents=True, exist_ok=True)
        self.rows: BinaryIO | None = None
        self.lock = FileLock(run.folder / ".lock", thread_local=False)  # the thread that closes it may be another one
        try:
            self.lock.acquire(timeout=0)
        except Timeout:
            raise LabError(f"run {run.name} is being trained already, by another process; wait until it ends, or use "
                           "another name") from None
        try:
            self.begun = run.exists  # another process may have begun it, and ended, before we had the lock
            if not self.begun:
                self.write_status("starting")
        except BaseException:
            self.close()
            raise
        _writers[self.key] = end

    def close(self) -> None:
        """Release the run. If it has not begun, its folder is left as it was. It is safe to call this repeatedly."""
        if self.rows:
            self.rows.close()
            self.rows = None
        if not self.lock.is_locked:
            return
        try:
            if not self.begun and not self.run.exists:
                for path in (self.run.folder / name for name in STARTED if name not in self.kept):
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
                if self.created:
                    with contextlib.suppress(OSError):  # something else has come into the folder
                        self.run.folder.rmdir()
        finally:
            self.lock.release()
            _writers.pop(self.key, None)

    def write_config(self, entries: Mapping[str, Any]) -> None:
        """Write experiment.json, with the versions and the revision that made the run. With it, the run has begun."""
        self._replace("experiment.json", {"schema": SCHEMA, **entries, **_provenance()})
        self.begun = True

    def write_status(self, state: str, **entries: object) -> None:
        """Replace status.json."""
        self._replace("status.json", {"state": state, "heartbeat": time.time(), **entries})

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows to metrics.jsonl, in whole lines."""
        if self.rows is None:
            self.rows = open(self.run.folder / "metrics.jsonl", "ab")
        self.rows.write("".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode())
        self.rows.flush()

    def cut_rows(self, size: int) -> None:
        """Forget what was recorded after a checkpoint: keep the first `size` bytes of metrics.jsonl."""
        file = self.run.folder / "metrics.jsonl"
        file.touch()
        if file.stat().st_size < size:
            raise LabError(f"{file} is shorter than when the checkpoint was written; the run cannot be resumed")
        os.truncate(file, size)

    def sync(self) -> int:
        """Flush the appended rows to the disk. Returns the size of metrics.jsonl in bytes, for `cut_rows`."""
        if self.rows:
            os.fsync(self.rows.fileno())
        file = self.run.folder / "metrics.jsonl"
        return file.stat().st_size if file.exists() else 0

    def _replace(self, name: str, entries: Mapping[str, Any]) -> None:
        part = self.run.folder / f".{name}.part"
        with open(part, "w", encoding="utf-8") as file:
            json.dump(entries, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.run.folder / name)


def _provenance() -> dict[str, Any]:
    from importlib.metadata import version

    import torch

    git = ["git", "-C", str(checkout()), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        revision = subprocess.run(git, capture_output=True, text=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.TimeoutExpired):
        revision = None
    # torch says its build too, as 2.13.0+cpu or 2.13.0+cu130; the package's metadata may not.
    versions = {package: version(package) for package in ("minbert-lab", "transformers", "numpy")}
    return {"versions": versions | {"torch": str(torch.__version__)}, "threads": torch.get_num_threads(),
            "revision": revision, "started": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
