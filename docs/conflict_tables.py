"""The tables and the picture of docs/conflict.md: conflict between tasks against shuffled labels."""

import pandas as pd
from forest import Line, forest

from lab.data import TASK_NAMES
from lab.figures.styles import styles_of
from lab.results.conflict import against_null
from lab.results.significance import FEWEST_SEEDS, interval
from lab.results.words import between

RECIPES = ("baseline", "multitask", "gradient_surgery")
MEASURES = {"conflict": "part of the iterations with a negative cosine",
            "update_cosine": "cosine of the update with the plain mean of the gradients",
            "update_length": "length of the update, over that of the plain mean"}
TICKS = (-0.15, -0.1, -0.05, 0.0, 0.05, 0.1, 0.15)


def within(runs: pd.DataFrame) -> pd.DataFrame:
    """The cosines between two batches of one task: a row for each recipe and task, with the interval over seeds."""
    rows, found = runs[(runs["metric"] == "cosine_within") & (runs["split"] == "sampled")], []
    for (recipe, task), part in rows.astype({"name": str, "task": str}).groupby(["name", "task"], sort=False):
        seeds = part.groupby("seed")["value"].mean()
        mean, low, high = interval(seeds if len(seeds) >= FEWEST_SEEDS else part["value"])
        found.append({"recipe": recipe, "pair": f"two batches of {TASK_NAMES[task]}", "seeds": len(seeds), "gap": mean,
                      "low": low, "high": high})
    return pd.DataFrame(found)


def regions(runs: pd.DataFrame) -> dict[str, list[str]]:
    """The tables of docs/conflict.md, by the names of their regions there. runs: finished, and none that departs."""
    runs = runs[runs["name"].isin(RECIPES)]
    epoch = runs[runs["run"].isin(set(runs.loc[runs["metric"] == "cosine_gap", "run"]))]
    early, late = (against_null(part) for part in (epoch[epoch["epoch"] <= 1], epoch[epoch["epoch"] > 5]))
    null = ["| recipe | tasks | seeds | cosine | with shuffled labels | difference, 95 % interval | verdict |",
            "|---|---|---|---|---|---|---|"]
    null += [f"| {row.recipe} | {row.pair} | {row.seeds} | {row.cosine:+.4f} | {row.shuffled:+.4f} "
             f"| {between(row.gap, row.low, row.high, 4)} | {row.verdict} |"
             for row in against_null(runs).itertuples()]
    epochs = ["| recipe | tasks | first epoch | epochs 6 to 10 |", "|---|---|---|---|"]
    epochs += [f"| {a.recipe} | {a.pair} | {between(a.gap, a.low, a.high, 4)} | {between(b.gap, b.low, b.high, 4)} |"
               for a, b in zip(early.itertuples(), late.itertuples(), strict=True)]
    same = ["| recipe | two batches of | seeds | cosine, 95 % interval |", "|---|---|---|---|"]
    same += [f"| {row.recipe} | {row.pair.split()[-1]} | {row.seeds} | {between(row.gap, row.low, row.high)} |"
             for row in within(runs).itertuples()]
    means = ["| measured | recipe | tasks | mean |", "|---|---|---|---|"]
    for metric, words in MEASURES.items():
        found = runs[runs["metric"] == metric].astype({"task": str}).groupby(["name", "task"])["value"].mean()
        means += [f"| {words} | {name} | {task} | {value:.4f} |" for (name, task), value in found.items()]
    return {"conflict: null": null, "conflict: epochs": epochs, "conflict: within": same, "conflict: measures": means}


def drawn(runs: pd.DataFrame) -> str:
    """A row for each pair of tasks and recipe: the difference to shuffled labels, with its interval; then `within`."""
    runs = runs[runs["name"].isin(RECIPES)]
    whole, same = against_null(runs), within(runs)
    rows = [*whole.sort_values("pair", kind="stable", ascending=False).itertuples(),
            *same.sort_values("pair", kind="stable").itertuples()]
    styles = styles_of(RECIPES)
    lines = [Line(row.pair, row.gap, row.low, row.high, styles[row.recipe].colour, row.recipe) for row in rows]
    return forest("Do the tasks conflict more than with shuffled labels?",
                  "cosine of two tasks minus that with shuffled labels; below: cosine of two batches of one task",
                  lines, TICKS)

