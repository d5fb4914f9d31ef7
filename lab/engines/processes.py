"""The engine `processes`: workers on this machine that share its cores.

A worker is this module run as a script. It reads jobs as JSON lines from its standard input and reports on them on its
standard output. It ends when its input is closed, so that no worker outlives its parent, however the parent ends.
"""

import _thread
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from lab.engines.worker import train

WORKER = (sys.executable, "-P", "-m", "lab.engines.processes")
STOPS_WITHIN = 30  # seconds that a worker has to record that its run was stopped


def run(jobs: Iterable[dict[str, Any]], workers: int, tell: Callable[[str | None, dict[str, Any]], None],
        refresh: float) -> None:
    """Have workers train every job. `tell` gets the name of a run and each report on it; None: time has passed.

    A job whose run is trained elsewhere comes last again, and then waits.
    """
    waiting = list(jobs)
    busy: dict[subprocess.Popen, dict | None] = {}  # the workers that live, and what each trains
    news: queue.SimpleQueue = queue.SimpleQueue()

    def give_job(worker: subprocess.Popen) -> None:
        busy[worker] = job = waiting.pop(0) if waiting else None
        with contextlib.suppress(OSError):  # it has ended, and the news of that is on its way
            if job:
                print(json.dumps(job), file=worker.stdin, flush=True)
            else:
                worker.stdin.close()

    try:
        for _ in range(min(workers, len(waiting))):
            give_job(_hire(news))
        while busy:
            try:
                worker, said = news.get(timeout=refresh)
            except queue.Empty:
                tell(None, {})
                continue
            job = busy[worker]
            if said is None:
                del busy[worker]
                said = {"end": _cause(worker.returncode)}
                if waiting:
                    give_job(_hire(news))
            elif "taken" in said:
                waiting.append({**job, "wait": True})
                give_job(worker)
            elif "end" in said:
                give_job(worker)
            if job and not ("taken" in said and job["wait"]):
                tell(job["run"], said)
    finally:
        _stop(busy)


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
    hint = ", as happens where memory runs out" if -code == signal.SIGKILL else ""
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
    try:
        threading.Thread(target=_listen, args=(jobs,), daemon=True).start()
        while job := jobs.get():
            with contextlib.closing(train(job)) as reports:
                for report in reports:
                    print(json.dumps(report), file=out, flush=True)
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


if __name__ == "__main__":
    serve()
