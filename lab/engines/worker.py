"""What a worker does with a job, whatever engine has sent it: it trains one run to its end."""

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from lab.data import load_data
from lab.errors import LabError
from lab.experiment import Experiment
from lab.runs.folder import Run
from lab.runs.writer import Taken
from lab.train import fit

Job = dict[str, Any]
Report = dict[str, Any]
data_in = functools.cache(load_data)  # read once in each worker


def train(job: Job) -> Iterator[Report]:
    """Train a job, which begins or resumes its run, and report: {"step", "finished"} again and again.

    The last report is {"end": None}, {"end": why it failed} or {"taken": True}: another process trains this run. With
    "wait" in the job, that is waited for first.
    """
    torch.set_num_threads(min(torch.get_num_threads(), job["threads"]))
    run = Run(Path(job["root"]) / job["run"])
    if job["wait"]:
        with contextlib.suppress(OSError), FileLock(run.folder / ".lock"):
            pass  # the folder of a start that fails is removed, which is an OSError here
    begun, training = run.exists, None
    try:
        training = fit(Experiment.from_json(job["experiment"]), data=data_in(job["data"]), run=job["run"], resume=begun,
                       root=job["root"], progress=False)
        with contextlib.closing(training):
            yield {"step": training.step, "finished": training.finished}
            for _ in training:
                yield {"step": training.step, "finished": training.finished}
        yield {"end": None}
    except Taken:
        yield {"taken": True}
    except LabError as error:
        # without a training, another process has begun the run just now
        yield {"taken": True} if training is None and run.exists and not begun else {"end": str(error)}
    except Exception as error:
        yield {"end": f"{type(error).__name__}: {error}"}
