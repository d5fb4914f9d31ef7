"""`lab verify`: train the last stretch of a run again, from the checkpoint before it, and compare every bit."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from lab.errors import LabError
from lab.runs import checkpoints
from lab.runs.disk import copied
from lab.runs.folder import Run
from lab.runs.signals import Stopped
from lab.runs.training import Training
from lab.runs.writer import check_rows

TIMED = ("tokens_per_second", "peak_memory_mb")  # metrics that no two trainings have in common


def train_until(training: Training, step: int) -> None:
    """Train until an iteration is done, and save it."""
    reached = Stopped(f"it has reached iteration {step}", 0)
    training.recorder.ask_to_stop(reached, step)
    try:
        for _ in training:
            pass
    except Stopped as stop:
        if stop is not reached:
            raise


def replay(run: Run, resume: Callable[[Path], Training]) -> tuple[int, int, list[str]]:
    """Train from a run's last checkpoint but one to its last: (first iteration, last iteration, what differs).

    resume: goes on with the run in a folder, which is a copy without the last checkpoint; the run itself is only read.
    LabError: a checkpoint or the record is damaged, or the first of the two has nothing to train from.
    """
    if len(steps := checkpoints.steps(run.checkpoints)) < 2:
        raise LabError(f"run {run.name} has {len(steps)} checkpoint{'s' * (len(steps) != 1)}, and two are needed")
    first, last = steps[-2:]
    if not (run.checkpoints / f"{first:08d}" / "training.safetensors").exists():
        raise LabError(f"run {run.name}: its checkpoint before the last, of iteration {first}, holds weights alone, so "
                       "nothing can be trained from it; runs of earlier versions of the lab kept no more")
    checkpoints.load(run.checkpoints, first, for_training=True)
    weights, state = checkpoints.load(run.checkpoints, last)
    check_rows(run, state)
    run.check_finished()
    with tempfile.TemporaryDirectory(prefix="lab-verify-") as beside:
        copy = Run(Path(beside, run.name))
        for step in steps[:-1]:  # an older one may be that of the best weights
            copied(run.checkpoints / f"{step:08d}", copy.checkpoints / f"{step:08d}")
        copied(run.folder / "encoder", copy.folder / "encoder")
        for name in ("experiment.json", "metrics.jsonl"):
            copied(run.folder / name, copy.folder / name)
        train_until(resume(copy.folder), last)
        again, again_state = checkpoints.load(copy.checkpoints, last)
        rows = [[row | {"seconds": None} for row in of.rows()
                 if row["metric"] not in TIMED and first < row["step"] <= last] for of in (run, copy)]
    differing = [name for name in weights if name not in again or not weights[name].equal(again[name])]
    differing += [key for key in ("best", "drawn") if state.get(key) != again_state.get(key)]
    size = len(rows[1])  # a finished run has the scores of the end too
    if rows[0][:size] != rows[1]:
        differing.append("metrics.jsonl")
    return first + 1, last, differing
