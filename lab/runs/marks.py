"""What a person says about runs: a label of one's own, tags, a note, and which are hidden. And the bin.

All of it stands in one file of the store, marks.json, so that a run's folder keeps its name and its content. Runs that
ship with the lab are in it as "shipped/<name>". A run that is deleted is moved to the folder .bin of the store, from
which it comes back.
"""

import json
import os
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lab.errors import LabError
from lab.runs import stores
from lab.runs.disk import commit, make_folder
from lab.runs.folder import Run, checked_name, runs_in
from lab.runs.reading import read_json

MARKS, BIN, SCHEMA = "marks.json", ".bin", 1
LONGEST = {"label": 80, "tags": 40, "note": 2000}  # characters


@dataclass(frozen=True)
class Mark:
    """What is said about one run. LabError: a text is too long, or holds control characters."""

    label: str = ""
    tags: tuple[str, ...] = ()
    note: str = ""
    hidden: bool = False

    def __post_init__(self) -> None:
        for field, texts in (("label", [self.label]), ("tags", self.tags), ("note", [self.note])):
            for text in texts:
                if not isinstance(text, str) or len(text) > LONGEST[field]:
                    raise LabError(f"{field}: a text of at most {LONGEST[field]} characters")
                if not (text.replace("\n", "") if field == "note" else text).isprintable():
                    raise LabError(f"{field}: line breaks and control characters cannot stand here")


class Marks:
    """The marks of a store's runs. They are read again where the file has changed."""

    def __init__(self, store: Path) -> None:
        if stores.ships(store):
            store = stores.runs_root()
        self.file = store / MARKS
        self._stamp: tuple[int, int] | None = None
        self._marks: dict[str, Mark] = {}

    def all(self) -> dict[str, Mark]:
        """The marks of each run that has some; empty where there is no file. LabError: the file is damaged."""
        try:
            stat = os.stat(self.file)
        except OSError:
            self._stamp, self._marks = None, {}
            return self._marks
        if (stamp := (stat.st_mtime_ns, stat.st_size)) != self._stamp:
            self._marks = self._read()
            self._stamp = stamp
        return self._marks

    def set(self, *runs: str, **changes: Any) -> None:
        """Change what is said about runs, such as label="fast". LabError: the file is damaged or cannot be written."""
        if stores.ships(self.file.parent):
            raise LabError("the records that ship with the lab stay as they are; name a run store of your own with "
                           "LAB_RUNS, and they can be labelled and hidden from there")
        with self._locked():
            marks = self._read() if self.file.exists() else {}
            for run in runs:
                marks[run] = replace(marks.get(run, Mark()), **changes)
            self._write(marks)

    def _locked(self) -> FileLock:
        try:
            make_folder(self.file.parent)
            return FileLock(self.file.with_name(f".{MARKS}.lock")).acquire(timeout=10)
        except (OSError, Timeout) as error:
            raise LabError(f"{self.file}: it cannot be written ({error})") from None

    def _read(self) -> dict[str, Mark]:
        found = read_json(self.file)
        runs = found.get("runs")
        try:
            if found.get("schema") != SCHEMA or not isinstance(runs, dict):
                raise ValueError
            known = {field.name for field in fields(Mark)}
            if any(mark.keys() != known for mark in runs.values()):
                raise ValueError
            return {run: Mark(**mark | {"tags": tuple(mark["tags"])}) for run, mark in runs.items()}
        except (ValueError, TypeError, AttributeError, LabError):
            raise LabError(f"{self.file}: labels, tags and notes cannot be read, since the file is damaged or of "
                           "another version; repair it, or move it away") from None

    def _write(self, marks: dict[str, Mark]) -> None:
        kept = {run: asdict(mark) for run, mark in sorted(marks.items()) if mark != Mark()}
        text = json.dumps({"schema": SCHEMA, "runs": kept}, indent=1, ensure_ascii=False)
        try:
            commit(self.file, lambda part: part.write_text(text, encoding="utf-8"))
        except OSError as error:
            raise LabError(f"{self.file}: it cannot be written ({error.strerror})") from None


def discard(run: Run) -> None:
    """Move a run that has ended to its store's bin. LabError: it is being trained, ships with the lab, or is gone."""
    if stores.ships(run.folder.parent):
        raise LabError(f"run {run.name} ships with the lab and stays; hide it instead")
    if not run.exists:
        raise LabError(f"there is no run {run.name} any more")
    try:
        with FileLock(run.folder / ".lock").acquire(timeout=0):  # as the one that writes a run has it
            if run.status.get("state") == "running":
                raise LabError(f"run {run.name} is being trained; stop it first")
        _move(run.folder, run.folder.parent / BIN / run.name)
    except Timeout:
        raise LabError(f"run {run.name} is being trained; stop it first") from None


def discarded(store: Path) -> list[Run]:
    """The runs in the bin of a store, by name."""
    return runs_in(store / BIN)


def restore(store: Path, name: str) -> None:
    """Move a run from the bin back to its store. LabError: it is not there, or there is a run of its name now."""
    run = Run(store / BIN / checked_name(name))
    if not run.exists:
        raise LabError(f"there is no run {name} in the bin")
    _move(run.folder, store / name)


def _move(place: Path, to: Path) -> None:
    if os.path.lexists(to):
        raise LabError(f"{to} is there already; move one of the two away by hand")
    try:
        make_folder(to.parent)
        place.rename(to)
    except OSError as error:
        raise LabError(f"{place} cannot be moved to {to} ({error.strerror})") from None
