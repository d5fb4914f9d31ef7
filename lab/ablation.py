"""Many experiments, each over several seeds, in worker processes that share the cores; stopped, it goes on.

    lab.ablate([lab.PROTOCOLS["laptop"](recipe) for recipe in lab.RECIPES.values()], seeds=3)
"""

import multiprocessing
import os
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm.auto import tqdm

from lab.data import Data, load_data
from lab.errors import LabError
from lab.experiment import Experiment
from lab.runs import Run, load_runs, runs_root
from lab.session import run_name

if TYPE_CHECKING:
    import pandas as pd


def ablate(experiments: Iterable[Experiment], *, seeds: int = 3, workers: int = 1,
           data: Data | str | Path | None = None, root: str | Path | None = None,
           progress: bool = True) -> "pd.DataFrame":
    """Train every experiment with `seeds` seeds, its own and those after it; the metric rows of all of these runs.

    Every recipe's first seed comes before any second one, so that a stopped ablation has compared something. Finished
    runs are not trained again and stopped ones go on, so the same call after a crash does what is left. `workers`
    processes share the cores evenly. LabError, once all others are finished: names the runs that failed, and why.
    """
    data = data if isinstance(data, Data) else load_data(data)
    experiments = list(experiments)
    jobs = [replace(e, seed=e.seed + number) for number in range(seeds) for e in experiments]
    names = [run_name(job, data) for job in jobs]
    threads = max(1, (os.cpu_count() or 1) // workers)
    failed = {}
    with (
        tqdm(total=sum(j.iterations * j.epochs for j in jobs), desc=f"{len(jobs)} runs", unit="it",
             disable=not progress, dynamic_ncols=True) as bar,
        ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        waiting = {pool.submit(_train, job.to_json(), str(data.folder), name, str(runs_root(root)), threads): name
                   for job, name in zip(jobs, names, strict=True)}
        try:
            while waiting:
                done, _ = wait(waiting, timeout=2, return_when=FIRST_COMPLETED)
                for future in done:
                    name = waiting.pop(future)
                    if why := future.result():
                        failed[name] = why
                        tqdm.write(f"{name} failed: {why}")
                bar.n = sum(Run(runs_root(root) / name).status.get("step") or 0 for name in names)
                bar.set_postfix_str(f"{len(jobs) - len(waiting)} of {len(jobs)} runs ended")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if failed:
        raise LabError(f"{len(failed)} of {len(jobs)} runs failed, the others are finished: "
                       + "; ".join(f"{name}: {why}" for name, why in failed.items()))
    frame = load_runs(root)
    return frame[frame["run"].isin(names)].reset_index(drop=True)


def _train(experiment: str, folder: str, name: str, root: str, threads: int) -> str | None:
    """One job, in a worker process: None, or why it failed."""
    import torch

    from lab.train import fit

    torch.set_num_threads(threads)
    try:
        for _ in fit(Experiment.from_json(experiment), data=folder, run=name, resume=True, root=root, progress=False):
            pass
    except Exception as error:
        return str(error) or type(error).__name__
    return None
