"""Whether tasks conflict: the cosines between their gradients, held against what shuffled labels give.

A cosine near 0, and so conflict in half of the iterations, is what two random directions have. `against_null` therefore
compares each sampled cosine with the one on the same sentences, dropout masks and noise, but with the labels of other
rows for one of the two tasks (`lab.runs.diagnostics`). What is left is what the two tasks, and not the encoder, fresh
heads or directions that all losses share, have to do with each other.
"""

import pandas as pd

from lab.data import TASK_NAMES
from lab.results.significance import FEWEST_SEEDS, interval
from lab.runs.frames import among, distinct_runs, labelled

MORE, LESS, NONE = ("more conflict than with shuffled labels", "less conflict than with shuffled labels",
                    "no more conflict shown than with shuffled labels")
COLUMNS = ["recipe", "pair", "seeds", "windows", "cosine", "shuffled", "gap", "low", "high", "verdict"]
NOTE = ("Cosine: between the gradients of two tasks on sampled batches. Shuffled: the same with the labels of other "
        "rows for one of the tasks. Gap: their difference, with a 95 % interval")


def against_null(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each recipe and pair of tasks: the mean cosine, that with shuffled labels, and their difference (gap).

    low, high: the 95 % interval of the gap, over seeds where there are three or more, else over the windows of
    iterations of these runs, which says less: windows of one run share its weights. verdict: in words; empty without an
    interval. Empty for runs that recorded no null.
    """
    rows = runs[among(runs, "metric", ["cosine_gap", "cosine_shuffled"]) & among(runs, "split", ["sampled"])]
    rows = labelled(rows.astype({"metric": object, "task": object}), distinct_runs(runs))
    found = []
    for (recipe, pair), part in rows.groupby(["label", "task"], sort=False):
        gaps, null = (part[part["metric"] == metric] for metric in ("cosine_gap", "cosine_shuffled"))
        seeds = gaps.groupby("seed")["value"].mean()
        over_seeds = len(seeds) >= FEWEST_SEEDS  # each counts once, however many windows it has
        gap, low, high = interval(seeds if over_seeds else gaps["value"])
        shuffled = float((null.groupby("seed")["value"].mean() if over_seeds else null["value"]).mean())
        found.append({"recipe": recipe, "pair": " and ".join(TASK_NAMES[task] for task in pair.split("-")),
                      "seeds": len(seeds), "windows": len(gaps), "cosine": shuffled + gap, "shuffled": shuffled,
                      "gap": gap, "low": low, "high": high, "verdict": _verdict(low, high)})
    return pd.DataFrame(found, columns=COLUMNS)


def _verdict(low: float, high: float) -> str:
    if low != low:
        return ""
    return MORE if high < 0 else LESS if low > 0 else NONE


def sentence(table: pd.DataFrame) -> str:
    """What the table of `against_null` says, in one sentence; empty where it has no interval."""
    told = table[table["verdict"] != ""]
    if told.empty:
        return ""
    more = told[told["verdict"] == MORE]
    if more.empty:
        return "No two tasks are shown to conflict more than they do with shuffled labels."
    names = [f"{row.pair} in {row.recipe} (by {-row.gap:.3f})" for row in more.itertuples()]
    elsewhere = "; elsewhere no more is shown" if len(more) < len(told) else ""
    return f"More conflict than with shuffled labels: {', '.join(names)}{elsewhere}."
