"""Ablations: many experiments, each with several seeds, wherever an engine trains them. They resume.

    lab.ablate([lab.PROTOCOLS["laptop"](recipe) for recipe in lab.RECIPES.values()], seeds=3)
"""

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from lab.data import TASKS, Data, load_data
from lab.encoders.device import cores
from lab.engines import processes
from lab.errors import LabError, nearest
from lab.experiment import Experiment
from lab.runs.folder import checked_name
from lab.runs.records import load_runs
from lab.runs.scoring import least
from lab.runs.stores import check_writable, runs_root
from lab.train import check_sizes, run_name

if TYPE_CHECKING:
    import pandas as pd

ENGINES = ("processes", "ray")
REFRESH = 1  # seconds between two updates of the progress bar
SEEDS = 3  # by default: the fewest from which intervals and verdicts follow


def ablate(experiments: Iterable[Experiment], *, seeds: int = SEEDS, workers: int = 1,
           data: Data | str | Path | None = None, root: str | Path | None = None, progress: bool = True,
           engine: str = "processes", address: str | None = None, cpus: int = 1, gpus: float = 0) -> "pd.DataFrame":
    """Train every experiment with `seeds` seeds, its own and the following ones; returns the metric rows of these runs.

    The first seed of every recipe is trained before any second one, so that a stopped ablation can already be compared.
    Finished runs are not trained again and stopped ones are resumed, so the same call after a crash does what is left.
    A run that another process trains is left to it, and waited for once all others are done; so two equal calls share
    the work.
    engine: "processes": `workers` of them share this machine's cores evenly. "ray": as many runs at once as a Ray
    cluster has room for, each on `cpus` cores and `gpus` cards (.25: four runs share one); address: "auto" or
    "host:port", or None for a cluster of this machine alone, which ends with the call (docs/scale.md).
    LabError, before any run begins: one cannot have its batch size or its name; once all others are finished: which
    failed, and why.
    """
    if seeds < 1 or workers < 1 or cpus < 1 or gpus < 0:
        raise LabError(f"seeds, workers and cpus must be 1 or more, not {seeds}, {workers} and {cpus}; gpus 0 or more")
    if engine not in ENGINES:
        raise nearest(engine, ENGINES, "engine")
    if address is not None and engine != "ray":
        raise LabError("address is that of a Ray cluster: give engine ray with it")
    if "TORCHELASTIC_RUN_ID" in os.environ:
        raise LabError("torchrun shares one run among processes, and an ablation has many runs: start it without")
    data = data if isinstance(data, Data) else load_data(data)
    experiments, store = list(experiments), runs_root(root).absolute()
    check_writable(store)
    for e in experiments:  # `fit` does it too, but only as each run begins
        check_sizes(e, data)
    jobs = [replace(e, seed=e.seed + number) for number in range(seeds) for e in experiments]
    jobs = {checked_name(run_name(e, data)): e for e in jobs}  # an experiment that is listed twice is one run
    threads = cpus if engine == "ray" else max(1, cores() // min(workers, len(jobs) or 1))
    given = [{"run": name, "experiment": e.to_json(), "data": str(data.folder), "root": str(store), "threads": threads,
              "wait": False} for name, e in jobs.items()]
    tally = Tally(jobs, data, progress)
    try:
        if engine == "ray":
            from lab.engines import cluster

            cluster.run(given, tally.tell, REFRESH, data=data, address=address, cpus=cpus, gpus=gpus)
        else:
            processes.run(given, workers, tally.tell, REFRESH)
    finally:
        tally.bar.close()
    if tally.failed:
        raise LabError(f"{len(tally.failed)} of {len(jobs)} runs failed, the others are finished: "
                       + "; ".join(f"{name}: {why}" for name, why in tally.failed.items()))
    frame = load_runs(store)
    return frame[frame["run"].isin(list(jobs))].reset_index(drop=True)


def work(e: Experiment, data: Data, step: int, finished: bool) -> int:
    """How much of a run is done after an iteration, scoring included, in rows of one forward pass.

    A backward pass counts as two forward ones, and SMART makes three passes of each.
    """
    def rows(split: str, **limits: int | None) -> int:
        return sum(least(len(data.splits[t, split].examples), e.eval_rows, limits.get(t)) for t in TASKS)

    iteration = 3 * len(TASKS) * e.batch_size * len(e.updates) * (3 if e.smart else 1)
    epoch = rows("train", **dict.fromkeys(TASKS, e.eval_train)) + rows("dev", qqp=e.eval_qqp)
    return step * iteration + step // e.iterations * epoch + finished * rows("dev")


class Tally:
    """What is done of an ablation, by the reports on its runs: a progress bar, and which runs failed and why."""

    def __init__(self, jobs: Mapping[str, Experiment], data: Data, progress: bool) -> None:
        self.jobs, self.data, self.progress = jobs, data, progress
        self.whole = {name: work(e, data, e.iterations * e.epochs, finished=True) for name, e in jobs.items()}
        self.done: dict[str, int] = {}
        self.failed: dict[str, str] = {}
        self.ended = self.earlier = 0
        self.shown = 0.0
        shape = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
        self.bar = tqdm(total=sum(self.whole.values()), desc=f"{len(jobs)} runs", disable=not progress,
                        dynamic_ncols=True, bar_format=shape)

    def tell(self, name: str | None, said: Mapping[str, Any]) -> None:
        """Take a report on a run; without a name, only time has passed."""
        if time.monotonic() > self.shown + REFRESH:
            self.shown = time.monotonic()
            self.bar.refresh()
        if name is None:
            return
        if "taken" in said:
            self._say(f"{name} is being trained by another process; waiting for that once all others are done")
        elif "step" in said:
            amount = work(self.jobs[name], self.data, said["step"], said["finished"])
            if name not in self.done:  # the work of an earlier call says nothing about the speed of this one
                self.bar.initial = self.earlier = self.earlier + amount
            self.done[name] = amount
        elif "end" in said:
            self.ended += 1
            if said["end"]:
                self.failed[name] = said["end"]
                self.bar.total -= self.whole[name] - self.done.setdefault(name, 0)
                self._say(f"{name} failed: {said['end']}")
        elif "again" in said:
            self._say(f"{name}: {said['again']}")
        self.bar.n = sum(self.done.values())
        self.bar.set_postfix_str(f"{self.ended} of {len(self.jobs)} runs ended", refresh=False)

    def _say(self, line: str) -> None:
        if self.progress:
            tqdm.write(line)
