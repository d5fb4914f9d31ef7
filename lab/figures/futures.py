"""The two futures of a fork: their scores and losses by iteration, and the difference between them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd
import plotly.graph_objects as go

from lab.data import SCORES, TASK_NAMES
from lab.figures.lines import line_panels
from lab.figures.panels import Panel, assemble
from lab.figures.styles import BLUE, GRAY, Style

if TYPE_CHECKING:
    from lab.whatif.futures import Fork

BEFORE, AFTER = "as it was", "changed"
STYLES = {BEFORE: Style(GRAY, "solid", "circle"), AFTER: Style(BLUE, "solid", "square")}
DIFFERENCE = {f"{AFTER} minus {BEFORE}": Style(BLUE, "dash", "diamond")}


def futures(fork: "Fork") -> go.Figure:
    """Scores on dev, their differences, and losses on the training batches, by iterations after the fork.

    Means over the pairs of step and seed, with a band over them: a 95 % interval from 3 pairs on, the range of 2.
    """
    change = ", ".join(fork.changes)
    title = f"{fork.run}: {change} changed from iteration {', '.join(map(str, fork.steps))} on"
    return assemble(futures_panels(fork.rows), title, "an early effect, not a verdict: same weights, batches and noise",
                    columns=4)


def futures_panels(rows: pd.DataFrame) -> list[Panel]:
    """The panels of `futures`."""
    pair = rows["start"].astype(str) + "-" + rows["seed"].astype(str)
    rows = rows.assign(run=pair, step=rows["step"] - rows["start"], label=rows["arm"])
    rows = rows.assign(iteration=rows["step"])
    scores = rows[rows["split"] == "dev"]
    wide = scores.pivot_table(index=["task", "run", "seed", "step", "iteration"], columns="label", values="value")
    gaps = (wide[AFTER] - wide[BEFORE]).rename("value").reset_index().assign(label=next(iter(DIFFERENCE)))
    loss = rows[(rows["split"] == "batch") & (rows["metric"] == "loss")]
    return [*_panels(scores, {task: f"{TASK_NAMES[task]}: dev" for task in SCORES}, STYLES),
            *_panels(gaps, {task: f"{TASK_NAMES[task]}: difference" for task in SCORES}, DIFFERENCE),
            *_panels(loss, {task: f"{TASK_NAMES[task]}: loss, training batches" for task in SCORES}, STYLES)]


def _panels(rows: pd.DataFrame, titles: Mapping[str, str], drawn: Mapping[str, Style]) -> list[Panel]:
    return list(line_panels(rows.assign(panel=rows["task"]), titles, drawn, "iteration").values())
