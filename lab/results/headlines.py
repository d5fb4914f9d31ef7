"""The answer of a page in one sentence, computed from the records, with its uncertainty.

    lab.results.headlines.overfitting(lab.load_runs(), "strong")

Each function takes the frame of `lab.load_runs()`, of runs that share data, encoder and protocol, and returns a text,
which is empty where there is nothing to say. Pages, the report and notebooks share them.
"""

import json

import numpy as np
import pandas as pd
from scipy import stats

from lab.data import CLASS_NAMES, TASK_NAMES, TASKS
from lab.results import conflict, tables
from lab.results.significance import FEWEST_SEEDS, interval
from lab.results.words import with_interval
from lab.runs.frames import among, best_epoch, distinct_runs, ended, floors, labelled, last_rows, scores_on
from lab.runs.labels import line_labels

REFERENCE = "baseline"
ONE_SEED = ("Nothing can be told from one seed: the same recipe with another seed may score as far away as another "
            "recipe does.")
VERDICTS = {"better": f"It is better than {REFERENCE}",
            "no difference shown": f"No difference from {REFERENCE} is shown"}
COMBINERS = {"pcgrad": "PCGrad", "gradvac": "GradVac"}
SMALLEST = .0005  # a loss below it is shown as none


# ---- leaderboard -----------------------------------------------------------------------------------------------------

def leaderboard(runs: pd.DataFrame) -> str:
    """The best recipe on dev, whether it differs from the baseline, and how many recipes are below no training."""
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
    said += _verdict(runs, name, board)
    below, scored = (board["overall"] < untrained).sum(), board["overall"].notna().sum()
    if 0 < below < scored:
        said += (f" {below} of {scored} recipes score{'s' if below == 1 else ''} below the {untrained:.3f} that the "
                 "untouched encoder gives without training.")
    return said


def _verdict(runs: pd.DataFrame, name: str, board: pd.DataFrame) -> str:
    """The verdict of the leaderboard on its first row, in a sentence, or why there is none."""
    if set(board["protocol"]) == {"smoke"}:
        return "Runs with the protocol smoke are too short to compare recipes."
    if board["seeds"].iloc[0] == 1:
        return f"{ONE_SEED} {_with_seeds(runs, board)}".strip()
    if len(board) == 1:
        return "No other recipe has finished, so there is nothing to compare it with."
    verdicts, note = tables.verdicts(runs, REFERENCE)
    if name == REFERENCE:
        better = verdicts[verdicts["verdict"] == "better"] if len(verdicts) else verdicts
        if better.empty:
            return "That is the baseline itself: none of the others scored higher."
        row = better.sort_values("difference").iloc[-1]
        return (f"That is the baseline itself. But {row['recipe']} is better over the {row['used']} seeds that both "
                f"have{_by(row)}.")
    if verdicts.empty:
        return f"{note[:1].upper()}{note[1:]}."
    row = verdicts.set_index("recipe").loc[name]
    if row["low"] != row["low"]:
        why = row["verdict"].rsplit(": ", 1)[0]
        return f"There is no verdict against {REFERENCE} ({why}). {_with_seeds(runs, board)}".strip()
    if row["verdict"] == "worse":  # means over other seeds may be in another order
        return f"But it is worse than {REFERENCE} over the {row['used']} seeds that both have{_by(row)}."
    return f"{VERDICTS.get(row['verdict'], row['verdict'])}{_by(row)}, over {row['used']} seeds."


def _by(row: pd.Series) -> str:
    difference, low, high = with_interval(row["difference"], row["low"], row["high"], sign="+")
    return f": by {difference}, 95 % interval {low} to {high}"


def _with_seeds(runs: pd.DataFrame, board: pd.DataFrame) -> str:
    """The best of the recipes that have a verdict, where the first row has none."""
    verdicts, names = tables.verdicts(runs, REFERENCE)[0], np.array(line_labels(board))
    if verdicts.empty:
        return ""
    told = np.isin(names, [REFERENCE, *verdicts.loc[verdicts["low"].notna(), "recipe"]])
    if told.sum() < 2:
        return ""
    name, board = names[told][0], board[told]
    said = f"Of the {told.sum()} recipes that can be compared, {name} is best with {board['overall'].iloc[0]:.3f}. "
    return said + _verdict(runs, name, board)


# ---- curves ----------------------------------------------------------------------------------------------------------

def curves(runs: pd.DataFrame, metric: str = "score", split: str = "dev") -> str:
    """Which line ends best, and how far the next one is away, over the seeds that both have.

    Where no run has ended yet: which is best at the newest step that all have reached.
    """
    about = distinct_runs(runs)
    rows = scores_on(runs, [split], metric)
    rows = labelled(rows, about)
    if metric == "score":
        rows = rows[rows["task"].astype(object) == "all"]
    done = rows["state"] == "done"
    ends = "ends with" if done.any() else "so far has"
    rows = last_rows(rows[done] if done.any() else rows[rows["step"] <= rows.groupby("run")["step"].max().min()])
    rows = rows[~rows["label"].isin(rows.loc[rows["value"].isna(), "label"])]  # a seed without a score is a result
    if not done.any() and not (rows["step"] > 0).all():
        return ""
    if rows.empty or metric not in ("score", "loss") or (metric == "loss" and _kinds_of_loss(about) > 1):
        return ""
    wide = rows.groupby(["label", "seed"])["value"].mean().unstack()
    means = wide.mean(axis=1).sort_values(ascending=metric == "loss", kind="stable")
    what = f"overall score on {'all of dev' if split == 'dev_full' else split}"
    what = what if metric == "score" else "mean loss over the tasks"
    first, *others = means.index
    if not others:
        return f"{first} {ends} {what} {means.iloc[0]:.3f} ({_seeds(wide.loc[first].count())})."
    gap = (wide.loc[first] - wide.loc[others[0]]).dropna()
    return (f"{first} {ends} the {'highest' if metric == 'score' else 'lowest'} {what}: {means.iloc[0]:.3f}; "
            f"{others[0]} follows with {means.iloc[1]:.3f}{_spread(gap, 1 if metric == 'score' else -1)}")


def _kinds_of_loss(about: pd.DataFrame) -> int:
    """How many kinds of loss these runs have: of other tasks, or on another scale, as with another head for STS."""
    settings = map(json.loads, about["settings"].unique())
    return len({json.dumps([of.get("tasks"), of.get("sts_head")]) for of in settings})


def order(runs: pd.DataFrame) -> list[str]:
    """The labels of the lines, the best at the end of training first, by the overall score on dev.

    Those that have no score with some seed come last.
    """
    rows = labelled(scores_on(runs, ["dev"]), distinct_runs(runs))
    rows = ended(last_rows(rows[rows["task"].astype(object) == "all"]))
    means = rows.groupby("label")["value"].agg(lambda values: values.mean(skipna=False))
    return list(means.sort_values(ascending=False, kind="stable", na_position="last").index)


def _seeds(count: int) -> str:
    return "one seed" if count == 1 else f"{count} seeds"


def _spread(gap: pd.Series, sign: int) -> str:
    """The end of a sentence: the difference of two lines over the seeds that both have, with its 95 % interval, or why
    there is none. sign: that of a difference in favour of the first line."""
    mean, low, high = interval(gap)
    if low == low:
        shown = with_interval(mean, low, high, sign="+")
        spread = f" (95 % interval {shown[1]} to {shown[2]})" if low < high else ""
        over = "But over" if mean * sign < 0 else "Over"
        return f". {over} the {len(gap)} seeds that both have, the difference is {shown[0]}{spread}."
    have = {0: "no seed in common", 1: "one seed in common"}.get(len(gap), f"{len(gap)} seeds in common")
    return f". They have {have}; it takes {FEWEST_SEEDS} to say how much of the difference is chance."


# ---- overfitting -----------------------------------------------------------------------------------------------------

def best_epochs(runs: pd.DataFrame, name: str) -> pd.DataFrame:
    """The best epoch of each task of one line, and what training after it lost: a row for each task, and "all".

    Columns: task, best_epoch, last_epoch, at_best, at_last, lost, low, high, seeds. at_best, at_last: scores on dev,
    means over seeds. lost: their difference, with its 95 % interval over seeds, from three seeds on. The epoch is
    picked on dev itself, so `lost` is never below 0, and chance alone makes it positive.
    """
    rows = labelled(scores_on(runs, ["dev"]), distinct_runs(runs))
    rows = ended(rows[(rows["label"] == name) & (rows["epoch"] > 0)])
    found = []
    for task in (*TASKS, "all"):
        part = rows[rows["task"].astype(object) == task]
        epoch, best, last = best_epoch(part)
        if best != best or last != last:
            continue
        wide = part.pivot_table(index="run", columns="epoch", values="value", observed=True).dropna(axis=1)
        lost = wide[epoch] - wide.iloc[:, -1]
        found.append((task, epoch, wide.columns[-1], best, last, *interval(lost), len(lost)))
    return pd.DataFrame(found, columns=["task", "best_epoch", "last_epoch", "at_best", "at_last", "lost", "low", "high",
                                        "seeds"])


def overfitting(runs: pd.DataFrame, name: str) -> str:
    """The trained task that lost most after its best epoch, and how much; and which tasks were not trained."""
    table, about = best_epochs(runs, name), distinct_runs(runs)
    trained = {task for text in about.loc[about["label"] == name, "settings"]
               for task in json.loads(text).get("tasks") or TASKS}
    tasks = table[table["task"].isin(trained)].sort_values("lost", ascending=False, kind="stable")
    if tasks.empty or tasks["last_epoch"].max() < 2:
        return ""
    rest = [TASK_NAMES[task] for task in table["task"] if task in TASKS and task not in trained]
    rest = f" {' and '.join(rest)} {'are' if len(rest) > 1 else 'is'} not trained." if rest else ""
    if tasks["lost"].iloc[0] < SMALLEST:
        best = ": each is best at the last epoch" if (tasks["best_epoch"] == tasks["last_epoch"]).all() else ""
        return f"No {'trained ' if rest else ''}task loses anything on dev until the end{best}{_few(tasks)}.{rest}"
    row = tasks.iloc[0]
    lost, low, high = with_interval(row["lost"], row["low"], row["high"])
    spread = f" (95 % interval {low} to {high}, over {row['seeds']} seeds)" if row["low"] < row["high"] else _few(tasks)
    said = (f"{TASK_NAMES[row['task']]} is best after epoch {row['best_epoch']:g} of {row['last_epoch']:g}; training "
            f"on lost {lost}{spread}.")
    others = [f"{TASK_NAMES[task]} {'is best ' * (not number)}after epoch {epoch:g}" for number, (task, epoch) in
              enumerate(tasks[["task", "best_epoch"]].iloc[1:].itertuples(index=False))]
    return said + (f" {' and '.join(others)}." if others else "") + rest


def _few(tasks: pd.DataFrame) -> str:
    seeds = int(tasks["seeds"].max())
    return "" if seeds >= FEWEST_SEEDS else f" ({_seeds(seeds)}, so part of this may be chance)"


# ---- gradients -------------------------------------------------------------------------------------------------------

def gradients(runs: pd.DataFrame) -> str:
    """Whether tasks conflict more than with shuffled labels, and how much combining their gradients changed."""
    said = [conflict.sentence(conflict.against_null(runs))]
    table = update_changes(runs)
    for combiner, rows in table.groupby("combiner", sort=False):
        parts, rows = [], rows.sort_values("change", kind="stable")
        ends = rows.iloc[[0, -1]] if len(rows) > 2 else rows
        for row in ends.itertuples():
            change, low, high = with_interval(*(100 * value for value in (row.change, row.low, row.high)), least=1)
            parts.append(f"{change} %" + f" ({low} to {high} %)" * (row.low < row.high)
                         + f" in {row.recipe}" * (len(table) > 1 and row.recipe != combiner))
        between = f", the least of {len(rows)} recipes, and by " if len(rows) > 2 else " and by "
        said.append(f"{combiner} changed the update by {between.join(parts)}{', the most' * (len(rows) > 2)}.")
    return " ".join(filter(None, said))


def update_changes(runs: pd.DataFrame) -> pd.DataFrame:
    """How far the combined update is from the plain mean of the task gradients, as a share of the mean's length.

    A row for each recipe that combines them: recipe, combiner, seeds, change, low, high (a 95 % interval over seeds,
    from three seeds on, else over windows of iterations). From cosine c and ratio of lengths r: sqrt(1 + r^2 - 2 r c).
    """
    rows = runs[among(runs, "metric", ["update_cosine", "update_length"])]
    rows = labelled(rows.astype({"metric": object}), distinct_runs(runs))
    found = []
    for recipe, part in rows.groupby("label", sort=False):
        wide = part.pivot_table(index=["seed", "step"], columns="metric", values="value")
        if set(wide) != {"update_cosine", "update_length"}:
            continue
        r, c = wide["update_length"], wide["update_cosine"]
        change = np.sqrt((1 + r ** 2 - 2 * r * c).clip(lower=0)).dropna()
        if change.empty:
            continue
        seeds = change.groupby("seed").mean()
        updates = json.loads(part["settings"].iloc[0]).get("updates") or []
        names = [COMBINERS.get(name, name) for name in updates if name not in ("sum", "mean", "separate")]
        if updates and not names:  # the plain mean itself
            continue
        found.append((recipe, " and ".join(names) or "Combining", len(seeds),
                      *interval(seeds if len(seeds) >= FEWEST_SEEDS else change)))
    return pd.DataFrame(found, columns=["recipe", "combiner", "seeds", "change", "low", "high"])


# ---- mistakes and comparisons ----------------------------------------------------------------------------------------

def mistakes(table: pd.DataFrame, task: str, cosines: bool = False) -> str:
    """How often a run is wrong, and what it most often takes for what. table: of `comparison.predictions`. cosines: the
    answers to STS are cosines, and no points of 5."""
    table = table.dropna(subset="label")
    if table.empty:
        return ""
    if task == "sts" and cosines:
        return "the answers are cosines, from -1 to 1, which are not points off; r says how well they agree."
    if task == "sts":
        off = (table["prediction"] - table["label"]).abs()
        return (f"{_share(int((off > 1).sum()), len(off), 'pairs are more than one point off')}; the answers are "
                f"{off.mean():.2f} points off on average.")
    wrong = table[table["label"] != table["prediction"]]
    said = _share(len(wrong), len(table), "answers are wrong")
    if wrong.empty:
        return f"{said}."
    (gold, answer), many = next(wrong.groupby(["label", "prediction"]).size().sort_values().tail(1).items())
    names, times = CLASS_NAMES[task], f"{many:,} time{'s' * (many != 1)}"
    return f"{said}; the most frequent mistake takes “{names[int(gold)]}” for “{names[int(answer)]}” ({times})."


def _share(hits: int, n: int, what: str) -> str:
    """A share in words, with Wilson's 95 % interval (1927)."""
    low, high = stats.binomtest(hits, n).proportion_ci(method="wilson")
    share, low, high = with_interval(100 * hits / n, 100 * low, 100 * high, least=0)
    return f"{share} % of {n:,} {what} (95 % interval {low} to {high} %)"


def recipes(table: pd.DataFrame, a: str, b: str) -> str:
    """What two recipes differ by overall, over the seeds that both have. table: of `comparison.compare_recipes`."""
    if "all" not in set(table["task"]):
        return ""
    row = table.set_index("task").loc["all"]
    if row["difference"] != row["difference"]:
        return f"Overall, {row['verdict']}."
    said = f"Over {_seeds(row['seeds'])}, {a} minus {b} is "
    if row["low"] != row["low"]:
        return f"{said}{row['difference']:+.3f} overall: {row['verdict']}."
    by, low, high = with_interval(row["difference"], row["low"], row["high"], sign="+")
    return f"{said}{by} overall (95 % interval {low} to {high}): {row['verdict']}."


def comparison(tests: pd.DataFrame, a: str, b: str) -> str:
    """What the paired tests of two runs say. tests: of `comparison.compare_runs`; a, b: the runs' labels."""
    boot = tests[tests["test"] == "paired bootstrap"]
    told = []
    for row in boot[boot["verdict"].isin(["better", "worse"])].itertuples():
        by, low, high = with_interval(row.difference, row.low, row.high, sign="+")
        told.append(f"{row.verdict} on {TASK_NAMES[row.task]} by {by[1:]} (95 % interval {low} to {high})")
    if not told and boot["verdict"].str.startswith("cannot tell").all():
        return f"Whether {a} and {b} differ cannot be told from these examples."
    if not told:
        return f"No difference between {a} and {b} is shown on the same examples."
    for what, begins in (("no difference shown", "no difference"), ("it cannot be told", "cannot tell")):
        if rest := [TASK_NAMES[row.task] for row in boot.itertuples() if row.verdict.startswith(begins)]:
            told.append(f"{what} on {' and '.join(rest)}")
    return f"{a} against {b}: {'; '.join(told)}."
