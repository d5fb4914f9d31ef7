"""Records as one table: every metric row of a store's runs, read once, and from then on only what was added.

A record may come from anywhere: a half-written line waits for the next look, what is no row is passed over, and a text
that no page should show is made harmless here, once.
"""

import json
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lab import runs
from lab.errors import LabError

ABOUT = ("run", "name", "protocol", "encoder", "settings", "departs", "data", "fingerprint", "started", "state")
TEXTS, NUMBERS = ("split", "task", "metric"), ("step", "epoch", "value", "seconds")
COLUMNS = ["run", "name", "seed", *ABOUT[2:], "shipped", "step", "epoch", *TEXTS, "value", "seconds"]
ADDED = {"pair": "siamese", "samples": 20}  # settings that older records lack, as those runs had them
TAIL = 200  # bytes before the place read up to, by which a file that was cut and written anew is known


def load_runs(root: str | Path | None = None) -> pd.DataFrame:
    """Every metric row of a store's runs (see `shown_store`): one row a metric value, beside its run's settings.

    Columns: run, name, seed, protocol, encoder, settings (all but the seed, as JSON), departs (in what it is not the
    recipe of its name), data ("sample", or what it was), fingerprint, started (date and time), state, shipped (with the
    lab), then step, epoch, split, task, metric, value, seconds. Texts are categories; what a record lacks is "not
    recorded". Warnings name runs that cannot be read, and say if the shipped ones are shown.
    """
    folder, note = runs.shown_store(root)
    if note:
        warnings.warn(note, stacklevel=2)
    store = Store(folder)
    frame = store.frame()
    for run, why in store.unreadable.items():
        warnings.warn(f"run {run} is left out: {why}", stacklevel=2)
    return frame


class Store:
    """The records of one folder of runs, for those who look again and again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.unreadable = folder, {}
        self._runs: dict[str, _Records] = {}
        self._words: dict[str, int] = {}  # of split, task and metric: a number each
        self._frame: pd.DataFrame | None = None

    def frame(self) -> pd.DataFrame:
        """As `load_runs`; the very same object as before where nothing has changed. Texts are categories."""
        found, changed, self.unreadable = {}, self._frame is None, {}
        for run in runs.runs_in(self.folder):
            records = self._runs.get(run.name) or _Records(run, self._words)
            try:
                changed |= records.refresh()
                found[run.name] = records
            except (LabError, OSError) as error:  # damaged, or gone while we looked
                self.unreadable[_text(run.name)] = _text(str(error))
        if changed or found.keys() != self._runs.keys():
            self._runs = found
            self._frame = self._joined()
        return self._frame

    def _joined(self) -> pd.DataFrame:
        records = list(self._runs.values())
        lengths = [len(r.values["step"]) for r in records]
        columns: dict[str, Any] = {"seed": np.repeat([r.about["seed"] for r in records], lengths),
                                   "shipped": self.folder == runs.shipped_root()}
        for name in ABOUT:
            codes, words = pd.factorize(np.array([r.about[name] for r in records], dtype=object), sort=True)
            columns[name] = pd.Categorical.from_codes(np.repeat(codes, lengths), words, ordered=True)
        for name in (*TEXTS, *NUMBERS):
            columns[name] = np.concatenate([r.values[name] for r in records] or [np.zeros(0)])
        words = np.array(list(self._words), dtype=object)
        for name in TEXTS:
            used, codes = np.unique(columns[name].astype(np.int64), return_inverse=True)
            order = np.argsort(words[used]) if len(used) else used
            columns[name] = pd.Categorical.from_codes(np.argsort(order)[codes], words[used][order], ordered=True)
        return pd.DataFrame(columns, columns=COLUMNS)


class _Records:
    """One run's settings and rows, as far as they were read."""

    def __init__(self, run: runs.Run, words: dict[str, int]) -> None:
        self.run, self.words = run, words
        self.read, self.tail, self.stamp = 0, b"", None
        self.about: dict[str, Any] = {}
        self.values = {name: np.zeros(0, np.int32 if name in TEXTS else np.float64) for name in (*TEXTS, *NUMBERS)}

    def refresh(self) -> bool:
        """Read what is new; whether there was anything. LabError, OSError: it cannot be read, or is gone."""
        stat = (self.run.folder / "experiment.json").stat()
        stamp, changed = (stat.st_mtime_ns, stat.st_size), False
        if stamp != self.stamp:
            self.about, self.stamp, changed = _about(self.run), stamp, True
        state = _text(self.run.status.get("state"))
        if state != self.about.get("state"):
            self.about["state"], changed = state, True
        return self._read_rows() or changed

    def _read_rows(self) -> bool:
        file = self.run.folder / "metrics.jsonl"
        if not file.exists():
            return False
        with open(file, "rb") as stream:
            size = stream.seek(0, 2)
            if size == self.read:
                return False
            stream.seek(max(0, self.read - len(self.tail)))
            if size < self.read or stream.read(len(self.tail)) != self.tail:  # cut back, as a resumed run is
                self.__init__(self.run, self.words)
                self.refresh()
                return True
            new = stream.read()
        whole = new[: new.rfind(b"\n") + 1]  # a line that is still being written waits
        if not whole:
            return False
        self.read, self.tail = self.read + len(whole), (self.tail + whole)[-TAIL:]
        rows = list(zip(*_rows(whole), strict=True)) or [()] * (len(TEXTS) + len(NUMBERS))
        for name, values in zip((*TEXTS, *NUMBERS), rows, strict=True):
            if name in TEXTS:
                values = [self.words.setdefault(word, len(self.words)) for word in values]
            self.values[name] = np.concatenate([self.values[name], np.array(values, self.values[name].dtype)])
        return True


def _rows(lines: bytes) -> Iterator[tuple]:
    for line in lines.decode("utf-8", "replace").split("\n"):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and isinstance(row.get("metric"), str):
            yield (*(_text(row.get(name)) for name in TEXTS), *(_number(row.get(name)) for name in NUMBERS))


def _about(run: runs.Run) -> dict[str, Any]:
    config = run.config
    settings, data, departs = ADDED | config["experiment"], config.get("data"), config.get("departs")
    data = data if isinstance(data, dict) else {}
    departs = departs if isinstance(departs, list) else []
    return {"run": _text(run.name), **{key: _text(settings.get(key)) for key in ("name", "protocol", "encoder")},
            "seed": _number(settings.get("seed")), "departs": ", ".join(map(_text, departs)),
            "settings": _text(json.dumps({k: v for k, v in settings.items() if k != "seed"}, sort_keys=True)),
            "data": _text(data.get("label")), "fingerprint": _text(data.get("fingerprint")),
            "started": _text(config.get("started")), "state": ""}


def _text(value: object) -> str:
    """A text that can be shown: no control characters, no half of a surrogate pair."""
    if not isinstance(value, str):
        return "not recorded" if value is None else _text(str(value))
    bad = "\N{REPLACEMENT CHARACTER}"
    return value if value.isprintable() else "".join(c if c.isprintable() else bad for c in value)


def _number(value: object) -> float:
    """A finite number, or nan."""
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def told_apart(frame: pd.DataFrame) -> list[str]:
    """A name for each row of a frame with columns name, settings and data: the recipe's, and what tells it apart.

    Where several settings or data sets share a recipe's name, those that differ are put behind it.
    """
    about = frame[["name", "settings", "data"]].drop_duplicates().astype(str)
    names = {}
    for name, same in about.groupby("name"):
        keys = list(zip(same["settings"], same["data"], strict=True))
        settings = [json.loads(text) | {"data": data} for text, data in keys]
        differ = sorted({k for s in settings for k in s if any(other.get(k) != s[k] for other in settings)})
        for key, mine in zip(keys, settings, strict=True):
            names[name, *key] = name + (f" ({', '.join(f'{k}={mine.get(k)}' for k in differ)})" if differ else "")
    rows = frame[["name", "settings", "data"]].astype(str).itertuples(index=False)
    return [names[tuple(row)] for row in rows]
