"""What the terminal shows: the progress of a training, and whatever a user should hear, in one line."""

import contextlib
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:  # torch takes a second to import
    from lab.runs.training import Training


def follow(training: "Training", show: Callable[["Training"], None], again: str) -> bool:
    """Train to the end and show the progress. False: the run was finished already.

    again: what continues the run, for the message where it is stopped. A signal, or an output that cannot be written
    any more, stops it at the end of the iteration, with everything saved.
    """
    from lab.runs.signals import Stopped, stopping

    if training.finished:
        print(f"{training.run.name} is finished already; nothing to do")
        return False
    if training.step:
        print(f"resuming after iteration {training.step}")

    def ask(stop: Stopped) -> None:
        training.recorder.ask_to_stop(stop)
        with contextlib.suppress(OSError):  # print() is not safe in a signal's handler
            os.write(2, f"\nlab: {stop}: stops when this iteration is done and saved; again: at once\n".encode())

    try:
        with stopping(ask):
            show(training)
    except KeyboardInterrupt as stop:
        write(f"\nstopped after iteration {training.step}{f' ({stop})' if str(stop) else ''}; {again} "
              "continues this run", training)
        raise typer.Exit(getattr(stop, "code", 130)) from None
    return True


def show_scores(training: "Training") -> None:
    """Train a fine-tuning, and print the scores of every epoch."""
    from lab.data import SCORES, SPLIT_NAMES, TASKS
    from lab.evaluate import shown

    scores: dict[tuple, dict] = {}
    for row in training:
        if row["split"] in ("dev", "dev_full", "test") and row["metric"] == SCORES.get(row["task"]):
            of = scores.setdefault((row["split"], row["step"]), {})
            of[row["task"]] = row["value"]
            if row["task"] == "all":
                line = "  ".join(f"{task} {shown(of.get(task))}" for task in TASKS)
                write(f"epoch {row['epoch']:>2}, {SPLIT_NAMES[row['split']]}:  {line}  overall {shown(row['value'])}",
                      training)


def show_losses(training: "Training") -> None:
    """Train a pretraining, and print the loss and the accuracy at masked words after every epoch."""
    from lab.data import SPLIT_NAMES

    loss = None
    for row in training:
        if row["split"] == "held_out" and row["metric"] == "loss":
            loss = row["value"]
        elif row["split"] == "held_out":
            write(f"epoch {row['epoch']:>2}, {SPLIT_NAMES['held_out']}:  loss {loss:.4f}  accuracy {row['value']:.4f}",
                  training)


def write(line: str, training: "Training") -> None:
    """Print a line above the progress bar. Where that fails, the training is asked to stop, with exit code 2."""
    from tqdm.auto import tqdm

    from lab.runs.signals import Stopped

    try:
        tqdm.write(line)
        sys.stdout.flush()
    except OSError as error:
        training.recorder.ask_to_stop(Stopped(f"standard output cannot be written: {error.strerror}", 2))
        sys.stdout = open(os.devnull, "w")  # Python would try again when it ends


def complain(message: object) -> None:
    """Print a message, which may quote anything, in one line and without control characters."""
    line = "".join(sign if sign.isprintable() else "?" for sign in " ".join(str(message).split()))
    with contextlib.suppress(OSError):
        print(f"lab: {line}", file=sys.stderr, flush=True)
