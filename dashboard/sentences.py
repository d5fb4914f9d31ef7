"""What the home page says, in plain sentences: what was found, what trains, what to do next. Nothing here draws."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from lab.experiment import KNOWN, PROTOCOLS
from lab.results import tables
from lab.results.significance import FEWEST_SEEDS
from lab.runs.frames import floors, scores_on
from lab.runs.labels import line_labels
from lab.runs.records import SHIPPED

REFERENCE = "baseline"
ONE_SEED = ("Nothing can be told from one seed: the same recipe with another seed may score as far away as another "
            "recipe does.")
VERDICTS = {"better": f"It is better than {REFERENCE}", "worse": f"It is worse than {REFERENCE}",
            "no difference shown": f"No difference from {REFERENCE} is shown"}


def found(runs: pd.DataFrame) -> str:
    """The best recipe on dev and whether it differs from the baseline. runs: they share data, encoder and protocol."""
    board = tables.leaderboard(runs)
    if board.empty:
        return "No run among these has finished yet, so there is no result."
    best, name = board.iloc[0], line_labels(board)[0]
    if best["overall"] != best["overall"]:
        return "No recipe has an overall score: every finished run lacks the score of some task."
    seeds = "one seed" if best["seeds"] == 1 else f"the mean of {best['seeds']} seeds"
    said = f"Best on dev is {name}, with an overall score of {best['overall']:.3f} ({seeds}). "
    untrained = floors(runs)["overall"].max()
    if untrained >= best["overall"]:
        said += f"That is not above the {untrained:.3f} that the untouched encoder gives without training. "
    return said + _verdict(runs, name, board)


def _verdict(runs: pd.DataFrame, name: str, board: pd.DataFrame) -> str:
    """The verdict of the leaderboard on its first row, in a sentence, or why there is none."""
    if set(board["protocol"]) == {"smoke"}:
        return "Runs with the protocol smoke are too short to compare recipes."
    if board["seeds"].iloc[0] == 1:
        return ONE_SEED
    if len(board) == 1:
        return "No other recipe has finished, so there is nothing to compare it with."
    if name == REFERENCE:
        return "That is the baseline itself: no other recipe scored higher."
    verdicts, note = tables.verdicts(runs, REFERENCE)
    if verdicts.empty:
        return f"{note[:1].upper()}{note[1:]}."
    row = verdicts.set_index("recipe").loc[name]
    if row["low"] != row["low"]:
        return f"There is no verdict against {REFERENCE}: {row['verdict']}."
    return (f"{VERDICTS.get(row['verdict'], row['verdict'])}: by {row['difference']:+.3f}, 95 % interval "
            f"{row['low']:+.3f} to {row['high']:+.3f}, over {row['used']} seeds.")


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
                      "it, and add --resume."))
    board = tables.leaderboard(runs)
    known = board["name"].isin(KNOWN) & board["protocol"].isin(PROTOCOLS) & (board["departs"] == "")
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
