"""Many experiments, each over several seeds, in worker processes that share the cores; stopped, it goes on.

    lab.ablate([lab.PROTOCOLS["laptop"](recipe) for recipe in lab.RECIPES.values()], seeds=3)

A worker is this module run as a script. Jobs come to it as JSON lines on its standard input, and news of them goes back
on its standard output. It lives as long as its input is open: however the parent ends, no worker trains on without it.
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

from tqdm.auto import tqdm

from lab.data import TASKS, Data, load_data
from lab.errors import LabError
from lab.experiment import Experiment
from lab.records import load_runs
from lab.runs import runs_root
from lab.session import least, run_name

if TYPE_CHECKING:
    import pandas as pd

WORKER = (sys.executable, "-P", "-m", "lab.ablation")
REFRESH = 1  # seconds between two looks of the progress bar
STOPS_WITHIN = 30  # seconds that a worker has to record that its run was stopped


def ablate(experiments: Iterable[Experiment], *, seeds: int = 3, workers: int = 1,
           data: Data | str | Path | None = None, root: str | Path | None = None,
           progress: bool = True) -> "pd.DataFrame":
    """Train every experiment with `seeds` seeds, its own and those after it; the metric rows of all of these runs.

    Every recipe's first seed comes before any second one, so that a stopped ablation has compared something. Finished
    runs are not trained again and stopped ones go on, so the same call after a crash does what is left. `workers`
    processes share the cores evenly. LabError, once all others are finished: names the runs that failed, and why.
    """
    if seeds < 1 or workers < 1:
        raise LabError(f"seeds and workers must be 1 or more, not {seeds} and {workers}")
    data = data if isinstance(data, Data) else load_data(data)
    experiments, store = list(experiments), runs_root(root).absolute()
    jobs = [replace(e, seed=e.seed + number) for number in range(seeds) for e in experiments]
    jobs = {run_name(e, data): e for e in jobs}  # what is listed twice is one run
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
    """How much of a run is done by an iteration, scoring included, in rows of one forward pass.

    A backward pass counts as two forward ones, and SMART makes three passes of each.
    """
    def rows(split: str, **limits: int | None) -> int:
        return sum(least(len(data.splits[t, split].examples), e.eval_rows, limits.get(t)) for t in TASKS)

    iteration = 3 * len(TASKS) * e.batch_size * len(e.updates) * (3 if e.smart else 1)
    epoch = rows("train", **dict.fromkeys(TASKS, e.eval_train)) + rows("dev", qqp=e.eval_qqp)
    return step * iteration + step // e.iterations * epoch + finished * rows("dev")


def _run_all(jobs: dict[str, Experiment], data: Data, store: Path, workers: int, progress: bool) -> dict[str, str]:
    """Have workers train every job, by its run's name; the runs that failed, and why."""
    waiting = [{"run": name, "experiment": e.to_json(), "data": str(data.folder), "root": str(store),
                "threads": max(1, cores() // workers)} for name, e in jobs.items()]
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
            elif "end" in said:
                give_job(worker)
            if "step" in said:
                amount = work(jobs[name], data, said["step"], said["finished"])
                if name not in done:  # what an earlier call did says nothing about the speed of this one
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
    """Start a worker; what it says, and None when it has ended, comes as `news` with it in front.

    In a session of its own, it does not get the terminal's Ctrl-C: when to stop is for the parent to say.
    """
    worker = subprocess.Popen(WORKER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
                              env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})

    def listen() -> None:
        for line in worker.stdout:
            if line.startswith("{"):  # and is not what something else printed while Python started
                news.put((worker, json.loads(line)))
        worker.wait()
        news.put((worker, None))

    threading.Thread(target=listen, daemon=True).start()
    return worker


def _cause(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code}"
    hint = ", as happens where memory runs out" if -code == 9 else ""
    return f"its process was ended by signal {-code}{hint}; the same call goes on with it"


def _stop(workers: Iterable[subprocess.Popen]) -> None:
    """End workers: each records that its run was stopped. A second Ctrl-C, or too long a wait, kills them."""
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


# ---- the worker's side


def _serve() -> None:
    """Train what comes on standard input until it ends; nothing but news goes to standard output."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # by default it is ignored after a shell's `&`
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    jobs: queue.SimpleQueue = queue.SimpleQueue()

    def say(**news: object) -> None:
        print(json.dumps(news), file=out, flush=True)

    try:
        threading.Thread(target=_listen, args=(jobs,), daemon=True).start()
        while job := jobs.get():
            say(end=_train(job, say))
        os._exit(0)
    except (KeyboardInterrupt, BrokenPipeError):
        os._exit(0)  # at once: a second interrupt would only disturb the way out


def _listen(jobs: queue.SimpleQueue) -> None:
    """Hand on jobs; when the parent wants no more, or is gone, interrupt the training."""
    for line in sys.stdin:
        jobs.put(json.loads(line))
    jobs.put(None)
    _thread.interrupt_main()
    time.sleep(STOPS_WITHIN)
    os._exit(1)


_data = functools.cache(load_data)


def _train(job: dict, say: Callable[..., None]) -> str | None:
    """One job: None, or why it failed."""
    import torch

    from lab.train import fit

    torch.set_num_threads(min(torch.get_num_threads(), job["threads"]))
    try:
        training = fit(Experiment.from_json(job["experiment"]), data=_data(job["data"]), run=job["run"], resume=True,
                       root=job["root"], progress=False)
        try:
            say(step=training.state["step"], finished=training.finished)
            for _ in training:
                say(step=training.state["step"], finished=training.finished)
        finally:
            training.close()
    except LabError as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


if __name__ == "__main__":
    _serve()
