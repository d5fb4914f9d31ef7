"""Copy the records of finished runs into data/runs/, the store that ships with the lab: no weights, no text of data.

    python data/ship_runs.py STORE [--out DIR] [--data DIR]

The files experiment.json, metrics.jsonl and status.json of a run are copied unchanged. A record may hold numbers, short
names, and the line that says which data it is from. A run whose record holds anything else is refused. With the data,
the runs of each planned contrast are also tested seed by seed on the examples of dev, whose predictions do not ship;
the outcomes are written to compared.csv.
"""

import argparse
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from lab.data import load_data
from lab.errors import LabError
from lab.experiment import KNOWN, Experiment
from lab.results.comparison import compare_runs
from lab.results.plan import is_planned, plan
from lab.runs.folder import Run, checked_name, list_runs
from lab.runs.stores import shipped_root

FILES = ("experiment.json", "metrics.jsonl", "status.json")
MOST_BYTES = 11_500_000
# A word, a hub id, a version, a time, or checkpoints that stay; an absolute path or a sentence is none of them.
NAME = re.compile(r"\w[\w.+-]*(/\w[\w.+-]*)?|[\dT:+-]+|last two|every epoch")
KEY = re.compile(r"[\w -]{1,30}")
LABEL = re.compile(r"SST \d+, QQP \d+, STS \d+ from [\w.-]+")
TEXTS, NUMBERS = {"split", "task", "metric"}, {"step", "epoch", "value", "seconds"}  # of a row


def fault(run: Run) -> str | None:
    """Why a finished run's record cannot ship, in a line; None: it can."""
    try:
        checked_name(run.name)
        config, status = run.config, run.status
        experiment = Experiment.from_json(json.dumps(config["experiment"]))
    except LabError as error:
        return str(error)
    rows, data = run.rows(), config.get("data") or {}
    if experiment.name not in KNOWN:
        return f"{experiment.name!r} is not a recipe or control of the lab"
    if data.get("kind") != "files" or not LABEL.fullmatch(str(data.get("label"))):
        return f"its data is {data.get('label')!r}, not the real sets"
    if not re.fullmatch("[0-9a-f]{7,40}", str(config.get("revision"))):
        return f"it was made by code that no commit holds (revision {config.get('revision')!r})"
    if not re.match(r"\d{4}-\d\d-\d\dT", str(config.get("started"))):
        return "it does not say when it was made"
    if len(rows) != len((run.folder / "metrics.jsonl").read_bytes().splitlines()):
        return "metrics.jsonl has a line that is not a row"
    if any(set(row) != TEXTS | NUMBERS or any(isinstance(row[key], str) for key in NUMBERS) for row in rows):
        return "metrics.jsonl has a row with other fields, or a text where a number belongs"
    if ("dev_full", "all", "overall") not in {(row["split"], row["task"], row["metric"]) for row in rows}:
        return "it has no scores of all of dev"
    try:
        run.check_finished()
    except LabError as error:
        return str(error)
    rest = [{**config, "data": {**data, "label": "checked"}}, status, rows]
    return next((f"it holds {text[:60]!r}, which is no plain name"
                 for text, plain in _texts(rest) if not plain.fullmatch(text)), None)


def _texts(entry: Any) -> Iterator[tuple[str, re.Pattern]]:
    """Every text in a JSON value, and what it must look like."""
    if isinstance(entry, dict):
        for key, value in entry.items():
            yield key, KEY
            yield from _texts(value)
    elif isinstance(entry, list):
        for value in entry:
            yield from _texts(value)
    elif isinstance(entry, str):
        yield entry, NAME


def describe(run: Run) -> str:
    """A line: recipe, encoder, protocol, data, date, seed, size."""
    config = run.config
    made, data = config["experiment"], config["data"]
    departs = f" (departs in {', '.join(config['departs'])})" if config.get("departs") else ""
    return (f"{made['name']}{departs}: {made['encoder']}, {made['protocol']}, {data['label']} ({data['fingerprint']}), "
            f"{config['started'][:10]}, seed {made['seed']}, {size(run.folder) / 1000:.0f} kB")


def size(folder: Path) -> int:
    """Bytes of the files that ship."""
    return sum((folder / file).stat().st_size for file in FILES)


def ship(store: Path, out: Path) -> int:
    """Copy what can ship, and say what becomes of every run; the number of runs refused. LabError: it is too much."""
    chosen, refused = [], 0
    for run in list_runs(store):
        if (state := run.status.get("state")) != "done":
            print(f"left out: {run.name} is {state}")
        elif why := fault(run):
            refused += 1
            print(f"refused: {run.name}: {why}")
        else:
            chosen.append(run)
            print(describe(run))
    names = {run.name for run in chosen}
    total = sum(size(run.folder) for run in [*chosen, *(r for r in list_runs(out) if r.name not in names)])
    if total > MOST_BYTES:
        raise LabError(f"{out} would hold {total / 1e6:.1f} MB, more than {MOST_BYTES / 1e6:.0f}; nothing is copied")
    for run in chosen:
        (out / run.name).mkdir(parents=True, exist_ok=True)
        for file in FILES:
            shutil.copyfile(run.folder / file, out / run.name / file)
    print(f"{len(chosen)} runs copied, {refused} refused; {out} now holds {len(list_runs(out))}, {total / 1e6:.2f} MB")
    return refused


def compare(store: Path, out: Path, data: Path) -> None:
    """Write compared.csv: the tests of `compare_runs` for the pairs of finished runs that a contrast of the plan has.

    A row of a pair whose predictions are not in this store stays as it was.
    """
    file, loaded, found = out / "compared.csv", load_data(data), []
    made: dict[str, dict[int, Run]] = {}
    for run in list_runs(store):
        settings = run.config["experiment"]
        if run.status.get("state") == "done" and (run.folder / "predictions" / "last").exists() and is_planned(
                json.dumps(settings), settings["protocol"]):
            made.setdefault(settings["name"], {})[settings["seed"]] = run
    for contrast in plan()["contrasts"]:
        a, b = (made.get(contrast[side], {}) for side in "ab")
        for seed in sorted(a.keys() & b.keys()):
            tests = compare_runs(a[seed], b[seed], data=loaded)
            found.append(tests.drop(columns="metric").assign(contrast=f"{contrast['a']} - {contrast['b']}", seed=seed))
    before = [pd.read_csv(file)] if file.exists() else []
    table = pd.concat([*before, *found]).drop_duplicates(["contrast", "seed", "task", "test"], keep="last")
    table = table.sort_values(["contrast", "seed"], kind="stable")
    table[["contrast", "seed", *(c for c in table if c not in ("contrast", "seed"))]].round(6).to_csv(file, index=False)
    print(f"{file}: {len(found)} pairs of runs tested")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("store", type=Path)
    parser.add_argument("--out", type=Path, default=shipped_root())
    parser.add_argument("--data", type=Path, help="also test the planned contrasts on the examples of this folder")
    arguments = parser.parse_args()
    try:
        refused = ship(arguments.store, arguments.out)
        if arguments.data:
            compare(arguments.store, arguments.out, arguments.data)
        sys.exit(min(1, refused))
    except (LabError, OSError) as error:
        sys.exit(f"ship_runs: {error}")
