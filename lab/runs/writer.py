"""Writing a run: one process at a time, whole rows, and nothing of the user's ever deleted or overwritten."""

import atexit
import contextlib
import hashlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import torch
from filelock import FileLock, Timeout

from lab.data import checkout
from lab.errors import LabError
from lab.runs.disk import commit, make_folder, naming, remove
from lab.runs.folder import Run
from lab.runs.reading import read_json
from lab.runs.schema import SCHEMA

# What a start writes before experiment.json, in the order in which a failed one removes it. status.json says "starting"
# from first to last, so what a start that was killed has left behind is known for what it is.
STARTED = ("checkpoints", "encoder", ".encoder.part", "metrics.jsonl", ".experiment.json.part", ".status.json.part",
           "status.json", ".lock")
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


class Taken(LabError):
    """Another process writes this run."""


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
        make_folder(run.folder)
        self.rows: BinaryIO | None = None
        self.size, self.digest = 0, hashlib.sha256()  # of metrics.jsonl: its bytes as they were written
        self.lock = FileLock(run.folder / ".lock", thread_local=False)  # the thread that closes it may be another one
        try:
            self.lock.acquire(timeout=0)
        except Timeout:
            raise Taken(f"run {run.name} is being trained already, by another process; wait until it ends, or use "
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
            with contextlib.suppress(OSError):  # where the disk is full: the error was raised when the row was written
                self.rows.close()
            self.rows = None
        if not self.lock.is_locked:
            return
        try:
            if not self.begun and not self.run.exists:
                for name in STARTED:
                    if name not in self.kept:
                        remove(self.run.folder / name)
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
        """Replace status.json. On a full disk, how a training has ended is written over the last status."""
        entries = {"state": state, "heartbeat": time.time(), **entries}
        try:
            self._replace("status.json", entries)
        except OSError:
            if state in ("starting", "running"):
                raise
            with open(self.run.folder / "status.json", "r+b") as file:
                file.write(json.dumps(entries).encode())
                file.truncate()

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows to metrics.jsonl, in whole lines."""
        file = self.run.folder / "metrics.jsonl"
        lines = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode()
        with naming(file):
            if self.rows is None:
                self.rows = open(file, "ab")
            self.rows.write(lines)
            self.rows.flush()
        self.size += len(lines)
        self.digest.update(lines)

    def cut_rows(self, size: int) -> None:
        """Forget what was recorded after a checkpoint: keep the first `size` bytes of metrics.jsonl."""
        content = written(self.run)[:size]
        with open(self.run.folder / "metrics.jsonl", "ab") as file:
            file.truncate(size)
        self.size, self.digest = len(content), hashlib.sha256(content)

    def sync(self) -> dict[str, Any]:
        """Flush the appended rows to the disk. The size of metrics.jsonl in bytes, and its sha256, to be kept."""
        if self.rows:
            with naming(self.run.folder / "metrics.jsonl"):
                os.fsync(self.rows.fileno())
        return {"metrics_bytes": self.size, "metrics_sha256": self.digest.hexdigest()}

    def _replace(self, name: str, entries: Mapping[str, Any]) -> None:
        text = json.dumps(entries, indent=1)
        commit(self.run.folder / name, lambda part: part.write_text(text, encoding="utf-8"))


def written(run: Run) -> bytes:
    """The content of metrics.jsonl. LabError: something else is in its place; a named pipe would block us."""
    file = run.folder / "metrics.jsonl"
    if os.path.lexists(file) and not file.is_file():
        raise LabError(f"{file} is not a file; move it away")
    return file.read_bytes() if file.exists() else b""


def check_rows(run: Run, entries: Mapping[str, Any]) -> None:
    """LabError: metrics.jsonl does not begin with the bytes for which `Writer.sync` gave these entries."""
    content = written(run)[: entries["metrics_bytes"]]
    if len(content) < entries["metrics_bytes"]:
        raise LabError(f"{run.folder / 'metrics.jsonl'} is shorter than it was when it was saved")
    if hashlib.sha256(content).hexdigest() != entries["metrics_sha256"]:
        raise LabError(f"{run.folder / 'metrics.jsonl'} has changed since it was saved")


def _provenance() -> dict[str, Any]:
    git = ["git", "-C", str(checkout()), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        revision = subprocess.run(git, capture_output=True, text=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.TimeoutExpired):
        revision = None
    # torch says its build too, as 2.13.0+cpu or 2.13.0+cu130; the package's metadata may not.
    versions = {package: version(package) for package in ("minbert-lab", "transformers", "numpy")}
    return {"versions": versions | {"torch": str(torch.__version__)}, "threads": torch.get_num_threads(),
            "revision": revision, "started": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
