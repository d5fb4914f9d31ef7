"""Records as one data frame: every metric row of a store's runs, read once, and from then on only what was added.

A record may come from anywhere. A half-written line waits for the next call, a line that is not JSON is passed over, a
row that does not follow its schema makes the run unreadable, as do rows that were changed after the run was finished,
and texts are made safe to show, here and once.
"""

import contextlib
import json
import math
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lab.errors import LabError
from lab.runs import folder, schema, stores
from lab.runs.labels import BESIDE, SHIPPED
from lab.runs.marks import MARKS, Mark, Marks
from lab.runs.reading import parse_rows, read_json

ABOUT = ("run", "name", "protocol", "encoder", "settings", "departs", "data", "fingerprint", "started", "state",
         "called")
TEXTS, NUMBERS = ("split", "task", "metric"), ("step", "epoch", "value", "seconds")
COLUMNS = ["run", "name", "seed", *ABOUT[2:], "shipped", "step", "epoch", *TEXTS, "value", "seconds"]
TAIL = 200  # bytes before the read position; they are compared to detect a file that was cut and rewritten
PIECE = 1 << 23  # bytes of rows that are parsed at once
LONGEST = 500  # characters of a text
DEEPEST = 4  # settings lie two deep


def load_runs(root: str | Path | None = None) -> pd.DataFrame:
    """Every metric row of a store's runs (see `shown_store`): one row a metric value, beside its run's settings.

    Columns: run, name, seed, protocol, encoder, settings (as JSON, without the seed and what changes neither training
    nor scores: BESIDE), departs (in what it is not the recipe of its name), data ("sample", or what it was),
    fingerprint, started (date and time), state, called (a label of one's own, or ""), shipped (with the lab), then
    step, epoch, split, task, metric, value, seconds. Texts are categories; what a record lacks is "not recorded".
    Warnings name runs that cannot be read, and say if the shipped ones are shown.
    """
    place, note = stores.shown_store(root)
    if note:
        warnings.warn(note, stacklevel=2)
    store = Store(place)
    frame = store.frame()
    for run, why in store.unreadable.items():
        warnings.warn(f"run {run} is left out: {why}", stacklevel=2)
    return frame


class Store:
    """The records of one folder of runs, or of several, for repeated reading.

    Of several folders, the runs that ship with the lab are called "shipped/<name>", since a run of one's own may have
    the same name. version: grows with every change of the frame. folders: the folder of each run. status: each run's
    status.json when it was last read. unreadable: run -> why it was left out then. marked: what was said
    about each run that has something said. about: a row for each run, also for those without any metric row yet.
    """

    def __init__(self, *places: Path) -> None:
        self.places, self.version = places, 0
        self.unreadable: dict[str, str] = {}
        self.folders: dict[str, Path] = {}
        self.status: dict[str, dict[str, Any]] = {}
        self.marked: dict[str, Mark] = {}
        self.about = pd.DataFrame(columns=[*ABOUT, "seed", "shipped"])
        self.marks = Marks(places[0])
        self._runs: dict[Path, _Records] = {}
        self._words: dict[str, int] = {}  # of split, task and metric: a number each
        self._frame: pd.DataFrame | None = None

    def frame(self) -> pd.DataFrame:
        """As `load_runs`; the very same object as before where nothing has changed. Texts are categories."""
        found, changed, self.unreadable = {}, self._frame is None, {}
        try:
            marks = self.marks.all()
        except LabError as error:
            marks, self.unreadable[MARKS] = {}, _text(str(error))
        for run, shipped in self._there():
            mark = SHIPPED if shipped and len(self.places) > 1 else ""
            records = self._runs.get(run.folder) or _Records(run, self._words, shipped, mark)
            try:
                changed |= records.refresh()
                mine = marks.get(f"{SHIPPED if shipped else ''}{run.name}", Mark())
                changed |= records.mark_as(mine)
                found[run.folder] = records
            except (LabError, OSError) as error:  # damaged, or gone while we looked
                self.unreadable[mark + _text(run.name)] = _text(str(error))
        self.folders = {records.about["run"]: place for place, records in found.items()}
        self.status = {records.about["run"]: records.status for records in found.values()}
        self.marked = {records.about["run"]: records.said for records in found.values() if records.said != Mark()}
        if changed or found.keys() != self._runs.keys():
            self._runs = found
            self._frame = self._joined()
            self.about = pd.DataFrame([{**r.about, "shipped": r.shipped} for r in found.values()],
                                      columns=self.about.columns)
            self.version += 1
        return self._frame

    def _there(self) -> list[tuple[folder.Run, bool]]:
        """All runs, and whether they ship with the lab."""
        found = []
        for place in self.places:
            with contextlib.suppress(OSError):  # the store itself has gone
                shipped = stores.ships(place)
                found += [(run, shipped) for run in folder.runs_in(place)]
        return found

    def _joined(self) -> pd.DataFrame:
        records = list(self._runs.values())
        lengths = [len(r.values["step"]) for r in records]
        columns: dict[str, Any] = {"seed": np.repeat(_seeds(records), lengths),
                                   "shipped": np.repeat(np.array([r.shipped for r in records], bool), lengths)}
        for name in ABOUT:
            codes, words = pd.factorize(np.array([r.about[name] for r in records], dtype=object),
                                        sort=name != "run")  # of two equal runs the first counts: one's own
            columns[name] = pd.Categorical.from_codes(np.repeat(codes, lengths), words, ordered=True)
        for name in NUMBERS:
            columns[name] = np.concatenate([r.values[name] for r in records] or [np.zeros(0)])
        words = np.array(list(self._words), dtype=object)
        for name in TEXTS:
            codes = np.concatenate([r.values[name] for r in records] or [np.zeros(0, np.int32)])
            used = np.flatnonzero(np.bincount(codes, minlength=len(words)))
            used = used[np.argsort(words[used])] if len(used) else used
            places = np.zeros(len(words), np.int32)
            places[used] = np.arange(len(used))
            columns[name] = pd.Categorical.from_codes(places[codes], words[used], ordered=True)
        return pd.DataFrame(columns, columns=COLUMNS)


class _Records:
    """One run's settings and rows, as far as they were read."""

    def __init__(self, run: folder.Run, words: dict[str, int], shipped: bool, mark: str) -> None:
        self.run, self.words, self.shipped, self.mark = run, words, shipped, mark
        self.about: dict[str, Any] = {}
        self.status: dict[str, Any] = {}
        self.stamp: tuple[int, int] | None = None  # of experiment.json: time and size
        self.said = Mark()
        self.strict = False  # whether its rows must have the keys of the present schema
        self.values = self._forget()

    def refresh(self) -> bool:
        """Read what is new; whether there was anything. LabError, OSError: it cannot be read, or is gone."""
        stamp, changed = _stamp(os.stat(self.run.folder / "experiment.json")), False
        if stamp != self.stamp:
            raw = read_json(self.run.folder / "experiment.json")
            about = _about(self.run, raw)
            about["run"] = self.mark + about["run"]
            self.about, self.stamp, changed = about, stamp, True
            self.strict = raw.get("schema") == schema.SCHEMA
        self.status = self.run.status
        state = _text(self.status.get("state"))
        if state != self.about["state"]:
            self.about["state"], changed = state, True
        if changed := self._read_rows() or changed:
            self.run.check_finished()
        return changed

    def mark_as(self, said: Mark) -> bool:
        """Take over what was said about the run; whether that is something new."""
        new = said != self.said or "called" not in self.about
        self.said, self.about["called"] = said, said.label
        return new

    def _forget(self) -> dict[str, np.ndarray]:
        self.read, self.tail, self.seen = 0, b"", None  # the place read up to, what stands before it, time and size
        return {name: np.zeros(0, np.int32 if name in TEXTS else np.float64) for name in (*TEXTS, *NUMBERS)}

    def _read_rows(self) -> bool:
        file, changed = self.run.folder / "metrics.jsonl", False
        if not file.is_file():
            if changed := self.read > 0:
                self.values = self._forget()
            return changed
        with open(file, "rb") as stream:
            seen = _stamp(os.fstat(stream.fileno()))
            if seen == self.seen:
                return False
            stream.seek(self.read - len(self.tail))
            if stream.read(len(self.tail)) != self.tail:  # cut back, as a resumed run is, or another file
                self.values, changed = self._forget(), True
                stream.seek(0)
            parts = [self.values]
            while piece := stream.read(PIECE):
                piece += stream.readline()
                whole = piece[: piece.rfind(b"\n") + 1]
                if not whole:  # a line that is still being written waits
                    break
                rows = parse_rows(whole)
                if self.strict:
                    schema.check_rows(rows, file)
                parts.append(self._columns([row for row in rows if type(row.get("metric")) is str]))
                self.read, self.tail, changed = self.read + len(whole), (self.tail + whole)[-TAIL:], True
        self.values = {name: np.concatenate([part[name] for part in parts]) for name in self.values}
        self.seen = seen
        return changed

    def _columns(self, rows: list[dict]) -> dict[str, np.ndarray]:
        columns = {}
        for name in TEXTS:
            values = [row.get(name) for row in rows]
            if set(map(type, values)) - {str}:
                values = list(map(_text, values))
            codes = {raw: self.words.setdefault(_text(raw), len(self.words)) for raw in set(values)}
            columns[name] = np.fromiter(map(codes.get, values), np.int32, len(values))
        for name in NUMBERS:
            values = [row.get(name) for row in rows]
            try:
                column = np.array(values if set(map(type, values)) <= {int, float} else [*map(_number, values)], float)
            except OverflowError:  # an integer beyond all floats
                column = np.array([*map(_number, values)], float)
            columns[name] = np.where(np.isfinite(column), column, np.nan)
        return columns


def _stamp(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_mtime_ns, stat.st_size


def _about(run: folder.Run, raw: dict[str, Any]) -> dict[str, Any]:
    config = schema.read(raw, run.folder / "experiment.json")
    settings, data, departs = _safe(config["experiment"]), config.get("data"), config.get("departs")
    if isinstance(weights := config.get("encoder_sha256"), str):  # two encoders in one folder are not two seeds of one
        settings["encoder"] = f"{settings.get('encoder')}@{_text(weights)[:6]}"
    data = data if isinstance(data, dict) else {}
    departs = departs if isinstance(departs, list) else []
    return {"run": _text(run.name), **{key: _text(settings.get(key)) for key in ("name", "protocol", "encoder")},
            "seed": settings.get("seed"), "departs": ", ".join(map(_text, departs)),
            "settings": json.dumps({k: v for k, v in settings.items() if k not in ("seed", *BESIDE)}, sort_keys=True),
            "data": _text(data.get("label")), "fingerprint": _text(data.get("fingerprint")),
            "started": _text(config.get("started")), "state": ""}


def _safe(value: Any, depth: int = DEEPEST) -> Any:
    """Settings whose texts can be shown, cut off below the depth that settings have."""
    if isinstance(value, dict | list) and not depth:
        return "..."
    if isinstance(value, dict):
        return {_text(key): _safe(of, depth - 1) for key, of in value.items()}
    if isinstance(value, list):
        return [_safe(of, depth - 1) for of in value]
    return _text(value) if isinstance(value, str) else value


def _text(value: object) -> str:
    """A text that is safe to show: no control characters, no lone surrogates, at most LONGEST characters."""
    if not isinstance(value, str):
        return "not recorded" if value is None else _text(str(value))
    bad = "\N{REPLACEMENT CHARACTER}"
    value = value if len(value) <= LONGEST else value[: LONGEST - 3] + "..."
    return value if value.isprintable() else "".join(c if c.isprintable() else bad for c in value)


def _seeds(records: list[_Records]) -> np.ndarray:
    """The seeds as integers; if a record has an invalid one, as floats with nan in its place."""
    seeds = [r.about["seed"] for r in records]
    if all(type(seed) is int and abs(seed) < 2**63 for seed in seeds):
        return np.array(seeds, np.int64)
    return np.array([_number(seed) for seed in seeds], float)


def _number(value: object) -> float:
    """A finite number, or nan."""
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        return math.nan
    return number if math.isfinite(number) else math.nan
