"""How a training scores itself: at its start, after every epoch, and at the end, when the predictions are kept too."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from lab.batches import Rows
from lab.data import SCORES, TASKS
from lab.encoders.device import autocast
from lab.evaluate import Vectors, floors, logits, scored, used, write_predictions, write_probabilities
from lab.experiment import Experiment
from lab.runs import checkpoints
from lab.runs.disk import commit
from lab.runs.folder import Run, fill
from lab.runs.recorder import Recorder

EVAL_SEED = 42  # draws the rows that smaller evaluations score; the same rows for every recipe and seed


def score(e: Experiment, rows: Mapping[str, Rows], split: str, recorder: Recorder, vectors: Vectors | None = None,
          step: int | None = None) -> tuple[list[dict[str, Any]], dict[str, np.ndarray], dict[str, Tensor]]:
    """Metric rows, predictions, and the logits behind them."""
    with recorder.scoring(), autocast(e.precision, recorder.device):
        answers = logits(recorder.parts.model, rows, recorder.heartbeat, vectors)
        scores, predictions = scored(recorder.parts.model, rows, answers)
    return [recorder.row(split, task, metric, value, step)
            for task, of in scores.items() for metric, value in of.items()], predictions, answers


def vectors_of(e: Experiment, rows: Mapping[tuple[str, str], Rows], recorder: Recorder) -> Vectors:
    """The vectors of all texts that a training of the heads alone draws or scores."""
    needed = {("train", task): rows[task, "train"] for task in TASKS}
    needed |= {(split, task): part for split in ("dev", "dev_full", "test")
               for task, part in scored_rows(e, rows, split).items()}
    with recorder.scoring(), autocast(e.precision, recorder.device):
        return Vectors(recorder.parts.model, rows["sst", "train"].texts, used(needed), recorder.heartbeat)


def scored_rows(e: Experiment, rows: Mapping[tuple[str, str], Rows], split: str) -> dict[str, Rows]:
    """The rows of each task that a split of the record scores, always the same: task -> Rows, none without a file.

    "train" and "dev" are scored in every epoch, "dev_full" (dev) and "test" at the end.
    """
    of = {"dev_full": "dev"}.get(split, split)
    limits = {"train": dict.fromkeys(TASKS, e.eval_train), "dev": {"qqp": e.eval_qqp}, "dev_full": {"qqp": e.end_qqp}}
    return {task: rows[task, of].some(least(e.eval_rows, limits.get(split, {}).get(task)), EVAL_SEED)
            for task in TASKS if (task, of) in rows}


def score_floors(e: Experiment, alone: Mapping[tuple[str, str], Rows],
                 recorder: Recorder) -> list[dict[str, Any]]:
    """Metric rows of `evaluate.floors`, on the rows on which the model itself is scored."""
    parts = {split: {t: part for t, part in scored_rows(e, alone, split).items() if not np.isnan(part.labels).any()}
             for split in ("dev", "dev_full", "test")}
    with recorder.scoring(), autocast(e.precision, recorder.device):
        return [recorder.row(*found) for found in floors(recorder.parts.model.bert, alone, parts, recorder.heartbeat)]


def score_epoch(e: Experiment, rows: Mapping[tuple[str, str], Rows], recorder: Recorder,
                vectors: Vectors | None = None) -> list[dict[str, Any]]:
    """Metric rows of train and dev after an epoch. The recorder's state remembers the epoch that is best on dev."""
    found = [row for split in ("train", "dev")
             for row in score(e, scored_rows(e, rows, split), split, recorder, vectors)[0]]
    if not recorder.state["step"]:  # a model without training is not the best of a training
        return found
    overall, best = of_trained(e, found), recorder.state["best"]
    # A null score (from a constant STS prediction) never beats a score. If all are null, the latest epoch is the best.
    if best is None or best["overall"] is None or (overall is not None and overall > best["overall"]):
        recorder.state["best"] = {"step": recorder.state["step"], "overall": overall}
    return found


def of_trained(e: Experiment, rows: Iterable[Mapping[str, Any]]) -> float | None:
    """The overall score on dev of the tasks that are trained; None if a score is null."""
    of = {row["task"]: row["value"] for row in rows
          if row["split"] == "dev" and row["metric"] == SCORES.get(row["task"])}
    if e.tasks == TASKS:
        return of["all"]
    parts = [of[task] if task != "sts" or of[task] is None else (of[task] + 1) / 2 for task in e.tasks]
    return None if None in parts else sum(parts) / len(parts)


def score_everything(e: Experiment, rows: Mapping[tuple[str, str], Rows],
                     recorder: Recorder, vectors: Vectors | None = None) -> list[dict[str, Any]]:
    """All of dev (of QQP `end_qqp` rows), and of test where it is, with the last weights and with those best on dev.

    The predictions are written too.
    """
    last, best, found = recorder.state["step"], recorder.state["best"]["step"], []
    for name, step in [("best", best), ("last", last)] if best != last else [("last", last)]:
        fill(recorder.parts.model, checkpoints.load(recorder.run.checkpoints, step)[0], recorder.run)
        answered = []
        for split in ("dev", "test"):
            scored_as = "dev_full" if split == "dev" else split
            if part := scored_rows(e, rows, scored_as):
                scores, predictions, answers = score(e, part, scored_as, recorder, vectors, step)
                found += scores
                answered.append((split, part, predictions, answers))
        keep_answers(recorder.run, name, answered)
    if best == last:
        for kind in ("predictions", "probabilities"):
            commit(recorder.run.folder / kind / "best", partial(shutil.copytree, recorder.run.folder / kind / "last"))
    return found


def keep_answers(run: Run, name: str, answered: Sequence[tuple[str, Mapping[str, Rows], Mapping[str, np.ndarray],
                                                               Mapping[str, Tensor]]]) -> None:
    """Write the answers of the weights `name`: (split, rows, predictions, logits) of each split."""
    def predictions(folder: Path) -> None:
        for split, rows, predicted, _ in answered:
            write_predictions(folder, split, rows, predicted)

    def probabilities(folder: Path) -> None:
        for split, rows, _, answers in answered:
            write_probabilities(folder, split, rows, answers)

    commit(run.folder / "predictions" / name, predictions)
    commit(run.folder / "probabilities" / name, probabilities)


def least(*limits: int | None) -> int | None:
    """The smallest of several limits. None is no limit."""
    return min((limit for limit in limits if limit is not None), default=None)
