"""All runs of a store at a glance: a row for each, with what was changed in it, how it went, and its scores."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from lab.runs.frames import scores_on
from lab.runs.labels import changes, run_labels
from lab.runs.marks import Mark

COLUMNS = ["run", "label", "recipe", "changed", "started", "minutes", "state", "overall", "sst", "qqp", "sts", "course",
           "seed", "data", "encoder", "protocol", "shipped", "tags", "note", "hidden"]


def overview(runs: pd.DataFrame, about: pd.DataFrame, status: Mapping[str, Mapping[str, Any]],
             marked: Mapping[str, Mark]) -> pd.DataFrame:
    """A row for each run, the newest first.

    runs, about, status, marked: as `records.Store` has them. label: see `run_labels`. changed: what a person changed in
    the recipe, as `--set` takes it. minutes: how long it was trained. The scores are those on all of dev at the last
    epoch; of a run without, those after its newest epoch. course: overall on dev after each epoch, a list.
    """
    found = about.set_index(about["run"].astype(str))
    labels = run_labels(about)
    scores = scores_on(runs, ["dev_full", "dev"])
    scores = scores.astype({"run": str, "task": str}).assign(whole=scores["split"] == "dev_full")
    last = scores.sort_values(["whole", "step"], kind="stable").drop_duplicates(["run", "task"], keep="last")
    last = last.pivot(index="run", columns="task", values="value").rename(columns={"all": "overall"})
    epochs = scores[(scores["task"] == "all") & ~scores["whole"]].sort_values("step").dropna(subset="value")
    seconds = runs.groupby("run", observed=True)["seconds"].max()
    timed = {run: _number(status.get(run, {}).get("seconds")) or seconds.get(run) for run in found.index}
    marks = {run: marked.get(run, Mark()) for run in found.index}
    found = found.assign(
        run=found.index, label=found.index.map(labels), recipe=found["name"],
        changed=[", ".join(f"{field}={value}" for field, value in changes(text)) for text in found["settings"]],
        started=pd.to_datetime(found["started"].astype(str).str[:19], errors="coerce"),  # by the clock of its machine
        moment=pd.to_datetime(found["started"].astype(str), errors="coerce", format="mixed", utc=True),
        minutes=pd.Series(timed, dtype=float) / 60, **{
            column: last[column].reindex(found.index) if column in last else float("nan")
            for column in ("overall", "sst", "qqp", "sts")},
        course=pd.Series(epochs.groupby("run")["value"].agg(list), dtype=object).reindex(found.index),
        tags=[list(mark.tags) for mark in marks.values()], note=[mark.note for mark in marks.values()],
        hidden=[mark.hidden for mark in marks.values()])
    return found.sort_values("moment", ascending=False, na_position="last", kind="stable", ignore_index=True)[COLUMNS]


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value == value else None
