"""The frame of `lab.load_runs()`: which of its rows are scores, which runs are one line, what a picture was made from.

Tables and figures share these functions, so that a recipe has one name and a score one meaning everywhere. They need
neither torch nor plotly.
"""

import numpy as np
import pandas as pd

from lab.data import SCORES
from lab.runs.labels import line_labels

# The columns in which runs must agree to be the seeds of one line, or of one row of a table.
KEYS = ["name", "settings", "departs", "protocol", "encoder", "data", "fingerprint"]

FLOORS = ("majority_class", "no_training_")  # the beginnings of the names of the metrics that `floors` reads


def provenance(runs: pd.DataFrame) -> str:
    """What a picture or table was made from: data, encoder, protocol, seeds, and the days on which the runs began."""
    if runs.empty:
        return "no runs"
    about = runs.drop_duplicates("run")
    many = {c: ", ".join(sorted(about[c].dropna().astype(str).unique())) for c in ("data", "encoder", "protocol")}
    seeds = about.groupby(["name", "settings", "data"], dropna=False)["seed"].nunique()
    shipped = about["shipped"].eq(True) if "shipped" in about else pd.Series([False])
    whose = " · records that ship with the lab" if shipped.all() else (
        " · own runs and records that ship with the lab" if shipped.any() else "")
    return (f"data: {many['data']} · encoder: {many['encoder']} · protocol: {many['protocol']} · "
            f"seeds: {_range(seeds)} · date: {days(about)}{whose}")


def days(runs: pd.DataFrame) -> str:
    """The day on which the runs began, or the first and the last day."""
    found = runs["started"].drop_duplicates().astype(str).str.extract(r"^(\d{4}-\d\d-\d\d)", expand=False).dropna()
    return _range(found, " to ") if len(found) else "not recorded"


def _range(values: pd.Series, to: str = "-") -> str:
    low, high = values.min(), values.max()
    return f"{low}" if low == high else f"{low}{to}{high}"


def fill_missing(runs: pd.DataFrame) -> pd.DataFrame:
    """The same rows with "not recorded" where a record lacks one of KEYS, because `groupby` would drop such rows."""
    missing = {key: runs[key].fillna("not recorded") for key in KEYS if runs[key].isna().any()}
    return runs.assign(**missing)


def among(runs: pd.DataFrame, column: str, words: list[str]) -> np.ndarray:
    """Which rows have one of these words in a column, (rows,) bool. Categories are compared by their codes: fast."""
    if not isinstance(runs[column].dtype, pd.CategoricalDtype):
        return runs[column].isin(words).to_numpy()
    return np.append(runs[column].cat.categories.isin(words), False)[runs[column].cat.codes]


def scores_on(runs: pd.DataFrame, splits: list[str], metric: str = "score") -> pd.DataFrame:
    """The rows of each task's score, and of the overall score, on these splits; or those of another metric."""
    part = runs[among(runs, "split", splits)]
    if metric != "score":
        return part[among(part, "metric", [metric])]
    return part[part["metric"].astype(object) == part["task"].astype(object).map(SCORES)]


def last_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Of each run the rows of its last step, of those that are given."""
    return rows[rows["step"] == rows.groupby("run", observed=True)["step"].transform("max")]


def floors(runs: pd.DataFrame, split: str = "dev_full") -> pd.DataFrame:
    """What no training at all gives on the rows of a split: a row for each floor, with sst, qqp, sts and overall.

    "majority class" has no score on STS, where a constant has no r. "no training (mean)" is the untouched encoder: STS
    by the cosine of its mean-pooled vectors, SST and QQP by the majority class; so for each pooling. Where runs saw
    other shares of the training rows, which may differ in their most frequent class, the highest value counts. There
    are no rows for records from before schema 3, and none where runs differ in data or encoder, since one floor is not
    that of all. Columns: floor, pooling, sst, qqp, sts, overall.
    """
    part = runs[among(runs, "split", [split]) & (runs["step"] == 0).to_numpy() & runs["value"].notna().to_numpy()]
    found: dict[tuple[str, str], float] = {}
    if len(part) and len(runs[["data", "fingerprint", "encoder"]].drop_duplicates()) == 1:
        for metric, task, value in part[["metric", "task", "value"]].itertuples(index=False):
            if str(metric).startswith(FLOORS):
                key = str(metric), str(task)
                found[key] = max(value, found.get(key, value))
    nothing, rows = float("nan"), []
    sst, qqp = (found.get(("majority_class", task), nothing) for task in ("sst", "qqp"))
    if found:
        rows.append({"floor": "majority class", "pooling": "", "sst": sst, "qqp": qqp})
    for (metric, _), r in sorted(found.items()):
        if metric.startswith("no_training_"):
            pooling = metric.removeprefix("no_training_")
            rows.append({"floor": f"no training ({pooling})", "pooling": pooling, "sst": sst, "qqp": qqp, "sts": r,
                         "overall": (sst + qqp + (r + 1) / 2) / 3})
    return pd.DataFrame(rows, columns=["floor", "pooling", "sst", "qqp", "sts", "overall"])


def best_epoch(scores: pd.DataFrame) -> tuple[float, float, float]:
    """The epoch at which the mean over seeds is highest, that mean, and the mean at the last epoch.

    scores: the rows of one score of one recipe on one split. Only epochs that all of these runs have reached count. Of
    these, an epoch in which a run has a null score has no mean; where no epoch has one, the last counts as the best.
    """
    scores = scores[scores["epoch"] > 0]  # no choice is left to make before the first step
    epochs = scores.groupby("epoch")["value"].agg(["mean", "count", "size"])
    epochs = epochs[epochs["size"] >= scores["run"].nunique()]
    means = epochs["mean"].where(epochs["count"] == epochs["size"])
    if means.empty:
        return (float("nan"),) * 3
    best = means.index[-1] if means.isna().all() else means.idxmax()
    return best, means[best], means.iloc[-1]


def distinct_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each run, with the name of its line in the column "label"; finished runs come first.

    An experiment that was run twice with one seed counts once. Two data folders of one name are two lines. A column
    "label" that the frame already has is kept: a page names all of its lines before it selects some.
    """
    about = fill_missing(runs.drop_duplicates("run").reset_index(drop=True))
    twins = about.groupby("data", observed=True)["fingerprint"].transform("nunique") > 1
    with_fingerprint = about["data"].astype(str) + " " + about["fingerprint"].astype(str)
    about = about.assign(data=about["data"].where(~twins, with_fingerprint))
    about = about.assign(label=about["label"].astype(str) if "label" in about else line_labels(about))
    about = about.assign(unfinished=about["state"] != "done").sort_values(["unfinished", "run"])
    return about.drop_duplicates(["label", "fingerprint", "seed"]).drop(columns="unfinished")


def labelled(rows: pd.DataFrame, about: pd.DataFrame) -> pd.DataFrame:
    """The rows of the runs in `about`, a frame of `distinct_runs`, with the names of their lines as "label"."""
    label = rows["run"].map(about.set_index("run")["label"])
    return rows.assign(label=label)[label.notna()]


def ended(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with a "label": of each line those of its finished runs, or all where none has finished.

    So a seed that failed, or has only begun, takes nothing from the mean of the others. Rows without states stay.
    """
    if "state" not in rows:
        return rows
    done = rows["state"] == "done"
    return rows[done | ~done.groupby(rows["label"]).transform("any")]
