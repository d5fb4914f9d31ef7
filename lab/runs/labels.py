"""What runs and lines are called: by the recipe, and by what was changed in it.

A line of a figure or a row of a table holds the runs of one recipe with all their seeds. Its label is the recipe's name
with the settings that a person changed, as in "multitask (lr=0.001)". A run is called by the label that its user gave
it, else by the name that `--run` gave it, else by its line and its seed.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from lab.errors import LabError

MADE = re.compile(r"-(sample-)?s\d+-[0-9a-f]{6}(-\d+)?")  # how a name ends that the lab made (`folder.name_end`)
MARK = re.compile(r"@[0-9a-f]{6}$")  # how the name of an encoder's folder ends in a table: by its weights
SHIPPED = "shipped/"  # how the names of shipped runs begin where several stores are read: no folder has such a name
LINE = ["name", "settings", "data"]  # runs that are alike in these columns are one line
# Settings that change neither a training nor its scores on dev and test: runs that differ in them alone are one line.
BESIDE = ("device", "samples", "eval_train", "checkpoints")
# Settings that are no change of a recipe: they name it, or say only how it is scored.
NO_CHANGE = {"name", "protocol", "seed", *BESIDE, "eval_qqp", "end_qqp", "eval_rows"}


@lru_cache(4096)
def changes(settings: str) -> tuple[tuple[str, str], ...]:
    """What a person changed in a recipe at its protocol: pairs of a field and its value, as `--set` takes them.

    settings: as in `load_runs`. Empty where the recipe is not one of the lab's, or the record lacks settings.
    """
    from lab.experiment import KNOWN, PROTOCOLS, Experiment  # brings torch

    made = settings_of(settings)
    name, protocol = str(made.get("name")), str(made.get("protocol"))
    wanted = {field.name for field in fields(Experiment)} - NO_CHANGE
    if name not in KNOWN or protocol not in PROTOCOLS or wanted - made.keys():
        return ()
    try:
        usual = PROTOCOLS[protocol](replace(KNOWN[name], scale=made["scale"]))
        own_scale = PROTOCOLS[protocol](KNOWN[name]).scale
    except LabError:
        return ()
    return _differing(made, json.loads(usual.to_json()) | {"scale": own_scale}, wanted)


def as_options(settings: str) -> list[str]:
    """`changes` as texts that `--set` takes: field=value. An encoder is without the mark of its weights."""
    return [f"{field}={MARK.sub('', value) if field == 'encoder' else value}" for field, value in changes(settings)]


@lru_cache(64)
def differences(recipe: str, reference: str = "baseline") -> str:
    """What a recipe sets otherwise than another, as one writes it after `--set`; "" for none that the lab knows."""
    from lab.experiment import KNOWN

    if recipe not in KNOWN:
        return ""
    made, usual = (json.loads(KNOWN[name].to_json()) for name in (recipe, reference))
    return ", ".join(f"{field}={value}" for field, value in _differing(made, usual, set(made) - NO_CHANGE))


def _differing(made: Mapping[str, Any], usual: Mapping[str, Any], fields: set[str]) -> tuple[tuple[str, str], ...]:
    """The fields in which settings differ from the usual ones, as `--set` takes them."""
    from lab.experiment import Experiment
    from lab.smart import Smart

    found: list[tuple[str, str]] = []
    for field in (field for field in usual if field in fields and made[field] != usual[field]):
        if field == "smart" and isinstance(made[field], dict):
            before = usual[field] or json.loads(Experiment(smart=Smart()).to_json())[field]
            inside = {key: value for key, value in made[field].items() if value != before.get(key)}
            if usual[field] is None:
                inside = {"weight": made[field].get("weight"), **inside}
            found += [(f"smart.{key}", as_set(value)) for key, value in inside.items()]
        else:
            found.append((field, as_set(made[field])))
    return tuple(found)


def as_set(value: Any) -> str:
    """A setting as one writes it after `--set field=`."""
    if is_dataclass(value):
        value = asdict(value)
    if isinstance(value, Mapping):
        return ",".join(f"{key}={as_set(of)}" for key, of in value.items())
    if isinstance(value, list | tuple):
        return ",".join(map(as_set, value))
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def line_labels(frame: pd.DataFrame) -> list[str]:
    """A label for each row of a frame with columns name, settings and data, and maybe `called`.

    The label is the recipe's name and, in brackets, what was changed in it; or the label of one's own that all runs of
    the line share. Where several lines would have one label, the settings in which they differ follow, or the data.
    """
    group = frame.groupby(LINE, observed=True, sort=False, dropna=False).ngroup().to_numpy()
    kinds, first = np.unique(group, return_index=True)
    about = frame[LINE].iloc[first].astype(str).set_axis(kinds)
    called = own_labels(frame).iloc[first].set_axis(kinds)
    bases: dict[tuple, list] = {}
    for kind, row in about.iterrows():
        base = (called[kind], ()) if called[kind] else (row["name"], changes(row["settings"]))
        bases.setdefault(base, []).append(kind)
    labels = np.empty(len(kinds), dtype=object)
    for (name, changed), same in bases.items():
        settings = {kind: settings_of(about["settings"][kind]) | {"data": about["data"][kind]} for kind in same}
        differ = [key for key in sorted(set().union(*settings.values()))
                  if len({repr(mine.get(key)) for mine in settings.values()}) > 1]
        for few in (["protocol"], ["data", "protocol"]):  # a protocol sets others, so its name may say enough
            values = {repr([mine.get(key) for key in few]) for mine in settings.values()}
            if {*few} < {*differ} and len(values) == len(same):
                differ = few
        for kind, mine in settings.items():
            named = [*changed, *((key, as_set(mine.get(key))) for key in differ)]
            labels[kind] = name + (f" ({', '.join(f'{key}={value}' for key, value in named)})" if named else "")
    return labels[group].tolist()


def own_labels(frame: pd.DataFrame) -> pd.Series:
    """For each row the label of one's own that all runs of its line share; "" where they do not. frame: as above."""
    if "called" not in frame:
        return pd.Series("", index=frame.index)
    called = frame["called"].astype(object).fillna("")
    lines = called.groupby([frame[key] for key in LINE], observed=True, dropna=False)
    return called.where(lines.transform("nunique") == 1, "")


def run_labels(about: pd.DataFrame) -> dict[str, str]:
    """The label of each run, no two alike. about: a row for each run, with the columns of `load_runs` up to `shipped`.
    """
    lines = line_labels(about.drop(columns="called", errors="ignore"))
    found: dict[str, str] = {}
    for line, row in zip(lines, about.to_dict("records"), strict=True):
        run, shipped = str(row["run"]), str(row["run"]).startswith(SHIPPED)
        folder = run.removeprefix(SHIPPED)
        if row.get("called"):
            found[run] = str(row["called"])
        elif folder.startswith(f"{row['name']}-") and MADE.search(folder):
            found[run] = f"{line}, seed {row['seed']}" + ", shipped" * shipped
        else:
            found[run] = run
    many = Counter(found.values())
    started = {str(run): str(day)[:16].replace("T", " ") for run, day in zip(about["run"], about["started"],
                                                                             strict=True)}
    twins = {run: f"{label}, {started[run]}" for run, label in found.items() if many[label] > 1}
    many = Counter(twins.values())
    return found | {run: label if many[label] == 1 else f"{label}, {run}" for run, label in twins.items()}


def settings_of(text: str) -> dict[str, Any]:
    """The settings of a row of `lab.load_runs()`, from their JSON; none where they are not recorded."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
