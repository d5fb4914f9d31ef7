"""What the home page says of what trains and of what to do next, in plain sentences. Nothing here draws."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from lab.experiment import KNOWN, PROTOCOLS
from lab.results import tables
from lab.results.headlines import REFERENCE
from lab.results.significance import FEWEST_SEEDS
from lab.runs.frames import scores_on
from lab.runs.labels import changes
from lab.runs.records import SHIPPED


def progress(run: str, status: Mapping[str, Any], rows: pd.DataFrame) -> str:
    """How far a run that trains is: share done, time left, latest losses, newest score. rows: its records so far."""
    step, total = (value if isinstance(value, int) else 0 for value in map(status.get, ("step", "total")))
    parts = [f"{100 * step / total:.0f} % done" if total > 0 else "it has just begun"]
    last = rows[(rows["step"] > 0) & rows["seconds"].notna()].nlargest(1, "step")
    if total > step and len(last):
        a_step = float(last["seconds"].iloc[0]) / float(last["step"].iloc[0])
        parts.append(f"about {_duration(a_step * (total - step))} left")
    loss = rows[(rows["metric"] == "loss") & (rows["split"] == "batch")]
    loss = loss[loss["step"] == loss["step"].max()].dropna(subset="value")
    if len(loss):
        parts.append("latest loss: " + ", ".join(f"{str(row.task).upper()} {row.value:.3f}"
                                                 for row in loss.itertuples()))
    score = scores_on(rows, ["dev"])
    score = score[(score["task"] == "all") & (score["step"] > 0)].dropna(subset="value").nlargest(1, "step")
    parts += [f"latest overall score on dev: {row.value:.3f} (epoch {row.epoch:.0f})" for row in score.itertuples()]
    return f"{run}: {'; '.join(parts)}" + ("." if len(score) else "; no score yet.")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def next_steps(runs: pd.DataFrame, status: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """One or two commands, each with what it does. runs: those that share data, encoder and protocol; maybe none."""
    own = [run for run in status if not run.startswith(SHIPPED)]
    quick = "lab ablate quick", "trains five recipes with three seeds each, which is enough for verdicts."
    if not own:
        return [("lab train baseline", "trains a first run of your own, in a few minutes."), quick]
    steps = []
    if any(status[run].get("state") == "stopped" for run in own):
        steps.append(("lab train RECIPE --resume", "continues a run that was stopped: repeat the command that began "
                      "it, and add --resume to lab train."))
    board = tables.leaderboard(runs)
    known = board["name"].isin(KNOWN) & board["protocol"].isin(PROTOCOLS) & ~board["settings"].map(changes).map(bool)
    few = board[known & (board["seeds"] < FEWEST_SEEDS)]
    if len(few):
        names = " ".join(dict.fromkeys([few["name"].iloc[0], REFERENCE]))
        folder = "" if few["data"].iloc[0] == "sample" else " --data DIR"
        steps.append((f"lab ablate {names}{folder} --protocol {few['protocol'].iloc[0]} --seeds {FEWEST_SEEDS}",
                      f"trains {FEWEST_SEEDS} seeds of each recipe, the fewest that give a verdict."
                      + " DIR is the folder of this data." * bool(folder)))
    elif len(board):
        steps.append(("lab report", "writes all tables and figures to one file that opens without the dashboard."))
    else:
        steps.append(quick)
    return steps
