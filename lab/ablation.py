"""Ablations: many experiments, each with several seeds, in worker processes that share the cores. They resume.

    lab.ablate([lab.PROTOCOLS["laptop"](recipe) for recipe in lab.RECIPES.values()], seeds=3)

A worker is this module run as a script. It reads jobs as JSON lines from its standard input and reports on them on its
standard output. It ends when its input is closed, so that no worker outlives its parent, however the parent ends.
"""

import _thread
import contextlib
import functools
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock
from tqdm.auto import tqdm

from lab.data import TASKS, Data, load_data
from lab.errors import LabError
from lab.experiment import Experiment
from lab.runs.folder import Run, check_writable, runs_root
from lab.runs.records import load_runs
from lab.runs.writer import Taken
from lab.train import fit, least, run_name

if TYPE_CHECKING:
    import pandas as pd

WORKER = (sys.executable, "-P", "-m", "lab.ablation")
REFRESH = 1  # seconds between two updates of the progress bar
STOPS_WITHIN = 30  # seconds that a worker has to record that its run was stopped
SEEDS = 3  # by default: the fewest from which intervals and verdicts follow


def ablate(experiments: Iterable[Experiment], *, seeds: int = SEEDS, workers: int = 1,
           data: Data | str | Path | None = None, root: str | Path | None = None,
           progress: bool = True) -> "pd.DataFrame":
    """Train every experiment with `seeds` seeds, its own and the following ones; returns the metric rows of these runs.

    The first seed of every recipe is trained before any second one, so that a stopped ablation can already be compared.
    Finished runs are not trained again and stopped ones are resumed, so the same call after a crash does what is left.
    A run that another process trains is left to it, and waited for once all others are done; so two equal calls share
    the work.
    `workers` processes share the cores evenly. LabError, once all other runs are finished: which failed, and why.
    """
    if seeds < 1 or workers < 1:
        raise LabError(f"seeds and workers must be 1 or more, not {seeds} and {workers}")
    data = data if isinstance(data, Data) else load_data(data)
    experiments, store = list(experiments), runs_root(root).absolute()
    check_writable(store)
    jobs = [replace(e, seed=e.seed + number) for number in range(seeds) for e in experiments]
    jobs = {run_name(e, data): e for e in jobs}  # an experiment that is listed twice is one run
    failed = _run_all(jobs, data, store, min(workers, len(jobs)), progress)
    if failed:
        raise LabError(f"{len(failed)} of {len(jobs)} runs failed, the others are finished: "
                       + "; ".join(f"{name}: {why}" for name, why in failed.items()))
    frame = load_runs(store)
    return frame[frame["run"].isin(list(jobs))].reset_index(drop=True)


def cores() -> int:
    """The cores that this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def work(e: Experiment, data: Data, step: int, finished: bool) -> int:
    """How much of a run is done after an iteration, scoring included, in rows of one forward pass.

    A backward pass counts as two forward ones, and SMART makes three passes of each.
    """
    def rows(split: str, **limits: int | None) -> int:
        return sum(least(len(data.splits[t, split].examples), e.eval_rows, limits.get(t)) for t in TASKS)

    iteration = 3 * len(TASKS) * e.batch_size * len(e.updates) * (3 if e.smart else 1)
    epoch = rows("train", **dict.fromkeys(TASKS, e.eval_train)) + rows("dev", qqp=e.eval_qqp)
    return step * iteration + step // e.iterations * epoch + finished * rows("dev")


def _run_all(jobs: dict[str, Experiment], data: Data, store: Path, workers: int, progress: bool) -> dict[str, str]:
    """Have workers train every job, by the name of its run. Returns the runs that failed, and why."""
    all_jobs = {name: {"run": name, "experiment": e.to_json(), "data": str(data.folder), "root": str(store),
                       "threads": max(1, cores() // workers), "wait": False} for name, e in jobs.items()}
    waiting = list(all_jobs.values())
    whole = {name: work(e, data, e.iterations * e.epochs, finished=True) for name, e in jobs.items()}
    done: dict[str, int] = {}
    ended, earlier, failed, shown = 0, 0, {}, 0.0
    busy: dict[subprocess.Popen, str | None] = {}  # the workers that live, and what each trains
    news: queue.SimpleQueue = queue.SimpleQueue()

    def give_job(worker: subprocess.Popen) -> None:
        job = waiting.pop(0) if waiting else None
        busy[worker] = job and job["run"]
        with contextlib.suppress(OSError):  # it has ended, and the news of that is on its way
            if job:
                print(json.dumps(job), file=worker.stdin, flush=True)
            else:
                worker.stdin.close()

    bar = tqdm(total=sum(whole.values()), desc=f"{len(jobs)} runs", disable=not progress, dynamic_ncols=True,
               bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}")
    try:
        for _ in range(workers):
            give_job(_hire(news))
        while busy:
            if time.monotonic() > shown + REFRESH:
                shown = time.monotonic()
                bar.refresh()
            try:
                worker, said = news.get(timeout=REFRESH)
            except queue.Empty:
                continue
            name = busy[worker]
            if said is None:
                del busy[worker]
                said = {"end": _cause(worker.returncode)}
                if waiting:
                    give_job(_hire(news))
            elif "taken" in said:
                job = all_jobs[name]
                if progress and not job["wait"]:
                    tqdm.write(f"{name} is being trained by another process; waiting for that once all others are done")
                waiting.append(job)
                job["wait"] = True
                give_job(worker)
                continue
            elif "end" in said:
                give_job(worker)
            if "step" in said:
                amount = work(jobs[name], data, said["step"], said["finished"])
                if name not in done:  # the work of an earlier call says nothing about the speed of this one
                    bar.initial = earlier = earlier + amount
                done[name] = amount
            elif name:
                ended += 1
                if said["end"]:
                    failed[name] = said["end"]
                    bar.total -= whole[name] - done.setdefault(name, 0)
                    if progress:
                        tqdm.write(f"{name} failed: {said['end']}")
            bar.n = sum(done.values())
            bar.set_postfix_str(f"{ended} of {len(jobs)} runs ended", refresh=False)
    finally:
        _stop(busy)
        bar.close()
    return failed


def _hire(news: queue.SimpleQueue) -> subprocess.Popen:
    """Start a worker. Its reports go to `news` as (worker, report), and (worker, None) when it has ended.

    It has a session of its own and so does not receive the terminal's Ctrl-C: the parent tells it when to stop.
    """
    worker = subprocess.Popen(WORKER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", errors="replace",
                              start_new_session=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})

    def listen() -> None:
        for line in worker.stdout:
            if line.startswith("{"):  # other lines were printed by something else while Python started
                news.put((worker, json.loads(line)))
        worker.wait()
        news.put((worker, None))

    threading.Thread(target=listen, daemon=True).start()
    return worker


def _cause(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code}"
    hint = ", as happens where memory runs out" if -code == 9 else ""
    return f"its process was ended by signal {-code}{hint}; the same call resumes it"


def _stop(workers: Iterable[subprocess.Popen]) -> None:
    """End workers; each records that its run was stopped. A second Ctrl-C, or a time-out, kills them."""
    for worker in workers:
        with contextlib.suppress(OSError):
            worker.stdin.close()
    try:
        for worker in workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.wait(STOPS_WITHIN + 1)
    finally:
        for worker in workers:
            worker.kill()


# ---- the side of the worker


def serve() -> None:
    """Train the jobs from standard input until it is closed. Only reports go to standard output."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` makes a process ignore it
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    jobs: queue.SimpleQueue = queue.SimpleQueue()

    def say(**news: object) -> None:
        print(json.dumps(news), file=out, flush=True)

    try:
        threading.Thread(target=_listen, args=(jobs,), daemon=True).start()
        while job := jobs.get():
            try:
                say(end=_train(job, say))
            except Taken:
                say(taken=True)
        os._exit(0)
    except (KeyboardInterrupt, BrokenPipeError):
        os._exit(0)  # at once, so that a second interrupt cannot disturb the exit


def _listen(jobs: queue.SimpleQueue) -> None:
    """Hand on jobs. When the parent wants no more, or has ended, interrupt the training."""
    for line in sys.stdin:
        jobs.put(json.loads(line))
    jobs.put(None)
    _thread.interrupt_main()
    time.sleep(STOPS_WITHIN)
    os._exit(1)


_data = functools.cache(load_data)


def _train(job: dict, say: Callable[..., None]) -> str | None:
    """Train one job, which begins or resumes its run. Returns None, or why it failed.

    Taken: another process trains this run. With "wait" in the job, that is waited for first.
    """
    import torch

    torch.set_num_threads(min(torch.get_num_threads(), job["threads"]))
    run = Run(Path(job["root"]) / job["run"])
    if job["wait"]:
        with contextlib.suppress(OSError), FileLock(run.folder / ".lock"):
            pass  # the folder of a start that fails is removed, which is an OSError here
    begun, training = run.exists, None
    try:
        training = fit(Experiment.from_json(job["experiment"]), data=_data(job["data"]), run=job["run"], resume=begun,
                       root=job["root"], progress=False)
        try:
            say(step=training.step, finished=training.finished)
            for _ in training:
                say(step=training.step, finished=training.finished)
        finally:
            training.close()
    except Taken:
        raise
    except LabError as error:
        if training is None and run.exists and not begun:
            raise Taken(str(error)) from None  # another process began it just now
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


if __name__ == "__main__":
    serve()
