"""The examples on which runs differ: some of them answer right, and others wrong."""

from collections.abc import Mapping

import pandas as pd

from lab.data import CLASS_NAMES, Data
from lab.results.comparison import beside, predictions
from lab.runs.folder import Run


def flipped(runs: Mapping[str, Run], task: str, data: Data, *, weights: str = "last") -> pd.DataFrame:
    """The dev examples that some of these runs answer right and others wrong; of STS, more than 1 point off is wrong.

    runs: by the name of their column, which is none of the others. Columns: the texts, gold, the answers of each run,
    id. The examples on which fewest runs are right come first. LabError: see `predictions`.
    """
    found = {name: predictions(run, task, data, weights=weights) for name, run in runs.items()}
    table = next(iter(found.values()))
    answers = {name: beside(table, other)["prediction"] for name, other in found.items()}
    right = [(values - table["label"]).abs() <= (1 if task == "sts" else 0) for values in answers.values()]
    there = sum(values.notna() for values in answers.values()) == len(answers)
    hits = sum(each.astype(int) for each in right)
    texts = [column for column in table if column.startswith("text")]
    shown = {"gold": table["label"], **answers}
    if task != "sts":
        shown = {name: values.map(dict(enumerate(CLASS_NAMES[task]))) for name, values in shown.items()}
    flips = table[texts].assign(**shown, id=table["id"])[there & (hits > 0) & (hits < len(answers))]
    return flips.loc[hits[flips.index].sort_values(kind="stable").index].reset_index(drop=True)
