"""The engine `ray`: each run is a task of a Ray cluster, on this machine alone or on many.

A worker that sees the run store trains in it, under the file locks that hold everywhere: a run is never trained twice,
and what is left of a killed one is resumed. For a worker that does not see it, this process holds the run's lock and
writes the files that the worker sends. What a worker does is in machine.py, what is sent in parcels.py.
"""

import contextlib
import functools
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lab.data import Data
from lab.encoders import sources
from lab.encoders.device import cores
from lab.engines.machine import place, weights_sha256
from lab.engines.parcels import mark, read_files, remove_checkpoints, write_file
from lab.engines.worker import Job, Report, train
from lab.errors import LabError
from lab.runs.disk import make_folder
from lab.runs.folder import Run

TRIES = 4  # of a run whose worker or machine ends: more often, and the run itself may be why
AHEAD = 16  # tasks that are submitted beyond those that the cluster has room for
STOPS_WITHIN = 30  # seconds that the tasks have to record that their runs were stopped
OBJECTS = 80 * 2**20  # bytes of memory for what is sent, on a cluster of this machine alone
ENCODER = (".json", ".txt", ".safetensors")  # the files of an encoder that are sent


def run(jobs: Iterable[Job], tell: Callable[[str | None, Report], None], refresh: float, *, data: Data,
        address: str | None = None, cpus: int = 1, gpus: float = 0,
        work: Callable[[Job], Iterator[Report]] = train) -> None:
    """Have the cluster train every job. `tell` gets the name of a run and each report on it; None: time has passed.

    work: what a task does with a job. LabError: Ray is not installed, does not answer, or has no such machine.
    """
    with _cluster(address) as ray:
        if not any(of["Resources"].get("CPU", 0) >= cpus and of["Resources"].get("GPU", 0) >= gpus
                   for of in ray.nodes() if of["Alive"]):
            raise LabError(f"no machine of the Ray cluster has {cpus} cores and {gpus:g} cards for a run")
        task = ray.remote(_task).options(num_cpus=cpus, num_gpus=gpus, max_retries=0, scheduling_strategy="SPREAD")
        Driver(ray, task, data, tell, work).train(jobs, refresh, cpus)


@contextlib.contextmanager
def _cluster(address: str | None) -> Iterator[Any]:
    """The module ray, connected to a cluster; one that is begun here listens on 127.0.0.1 and ends here."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None:
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # Ray's name for: on 127.0.0.1 alone
    try:
        import ray
    except ImportError:
        raise LabError("the engine ray needs the extra `cluster`: pip install -e '.[cluster]'") from None
    if ray.is_initialized():
        yield ray
        return
    alone = {"num_cpus": cores(), "include_dashboard": False, "object_store_memory": OBJECTS,
             "_node_ip_address": "127.0.0.1"}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **({} if address else alone))
    except Exception as error:  # of many kinds, as where this machine is too busy for Ray to begin in time
        where = f"no Ray cluster answers at {address}" if address else "Ray could not begin on this machine"
        raise LabError(f"{where}: {str(error).splitlines()[0]}") from None
    try:
        yield ray
    finally:
        ray.shutdown()


class Driver:
    """The side of the process that wants the runs: it submits tasks, takes their reports, and writes what is sent."""

    def __init__(self, ray: Any, task: Any, data: Data, tell: Callable[[str | None, Report], None],
                 work: Callable[[Job], Iterator[Report]]) -> None:
        self.ray, self.task, self.data, self.tell, self.work = ray, task, data, tell, work
        self.running: dict[Any, Job] = {}  # the reports of a task, as they come -> its job
        self.locks: dict[str, FileLock] = {}  # of the runs that are sent
        self.tries: dict[str, int] = {}
        self.waiting: list[Job] = []
        self.parcels: dict[str, Any] = {}  # what is sent once to each machine: folder -> its files, in Ray's store

    def train(self, jobs: Iterable[Job], refresh: float, cpus: int) -> None:
        """Train all of them."""
        self.waiting = [self._checked(job) for job in jobs]
        try:
            while self.waiting or self.running:
                room = self.ray.cluster_resources().get("CPU", 0) // cpus + AHEAD  # machines come and go
                while self.waiting and len(self.running) < room:
                    self._submit(self.waiting.pop(0))
                ready, _ = self.ray.wait(list(self.running), num_returns=max(1, len(self.running)), timeout=0)
                if not ready:
                    ready, _ = self.ray.wait(list(self.running), num_returns=1, timeout=refresh)
                for reports in ready:
                    self._take(reports)
                self.tell(None, {})
        finally:
            self._stop()

    def _checked(self, job: Job) -> Job:
        """A job with what a worker needs to know whether it has the same store, data and encoder."""
        encoder = json.loads(job["experiment"])["encoder"]
        return {**job, "mark": mark(Path(job["root"])), "fingerprint": self.data.fingerprint, "encoder": encoder,
                "encoder_sha256": weights_sha256(encoder), "send": []}

    def _submit(self, job: Job) -> None:
        """Begin a task, with what it has asked for; of a run whose files are sent, only under its lock."""
        if "store" in job["send"] and job["run"] not in self.locks and not self._lock(job):
            self._later(job)
            return
        self.running[self.task.remote(job, {what: self._parcel(what, job) for what in job["send"]}, self.work)] = job

    def _lock(self, job: Job) -> bool:
        """Lock a run that a worker trains elsewhere. False: another process has it."""
        run = Run(Path(job["root"]) / job["run"])
        make_folder(run.folder)
        lock = FileLock(run.folder / ".lock", thread_local=False)
        try:
            lock.acquire(timeout=-1 if job["wait"] else 0)
        except Timeout:
            return False
        self.locks[job["run"]] = lock
        if not run.exists:  # should this process be killed, what it has written is known for the start of a run
            write_file(run.folder, "status.json", json.dumps({"state": "starting", "heartbeat": time.time()}).encode())
        return True

    def _parcel(self, what: str, job: Job) -> Any:
        """Files in Ray's store, which brings them to the machine where a worker asks for them."""
        if what == "store":
            return self.ray.put(read_files(Path(job["root"]) / job["run"]))
        of = job["encoder"] if what == "encoder" else what
        if of not in self.parcels:
            self.parcels[of] = self.ray.put(
                {split.path.name: split.path.read_bytes() for split in self.data.splits.values()} if what == "data" else
                {name: content for name, content in read_files(sources.encoder_folder(of)).items()
                 if name.endswith(ENCODER)})
        return self.parcels[of]

    def _take(self, reports: Any) -> None:
        """Take the next report of a task, or the news that its worker or machine has ended."""
        job = self.running[reports]
        try:
            said = self.ray.get(next(reports))
        except StopIteration:
            said = {"end": "its task ended without a word"}
        except self.ray.exceptions.RayTaskError as error:
            said = {"end": str(error.cause or error).splitlines()[-1]}
        except self.ray.exceptions.RayError as error:
            said = {"lost": f"{type(error).__name__}: {(str(error).strip() or '-').splitlines()[0]}"}
        if "file" in said:
            write_file(Path(job["root"]) / job["run"], said["file"], said["bytes"])
            return
        if "there" in said:
            remove_checkpoints(Path(job["root"]) / job["run"], said["there"])
            return
        if {"end", "taken", "lost", "lacks"} & said.keys():
            del self.running[reports]
            if "lacks" in said:
                self.waiting.insert(0, {**job, "send": sorted({*job["send"], *said["lacks"]})})
                return
            if "lost" in said:
                tries = self.tries[job["run"]] = self.tries.get(job["run"], 1) + 1
                if tries <= TRIES:
                    self.waiting.insert(0, job)
                    said = {"again": f"its worker ended ({said['lost']}); another one goes on"}
                else:
                    said = {"end": f"its worker ended {TRIES} times ({said['lost']})"}
            if "taken" in said:
                self._later(job)
                return
            if "end" in said and job["run"] in self.locks:
                self.locks.pop(job["run"]).release()
        self.tell(job["run"], said)

    def _later(self, job: Job) -> None:
        """Another process trains this run: wait for it, once all others are done."""
        if not job["wait"]:
            self.tell(job["run"], {"taken": True})
        self.waiting.append({**job, "wait": True})

    def _stop(self) -> None:
        """End the tasks that still run; each records that its run was stopped."""
        for reports in self.running:
            with contextlib.suppress(self.ray.exceptions.RayError):
                self.ray.cancel(reports)
        until = time.monotonic() + STOPS_WITHIN
        while self.running and time.monotonic() < until:
            ready, _ = self.ray.wait(list(self.running), num_returns=1, timeout=1)
            for reports in ready:
                try:
                    self.ray.get(next(reports))
                except (StopIteration, self.ray.exceptions.RayError):
                    del self.running[reports]
        for lock in self.locks.values():
            lock.release()


def _task(job: Job, parcels: dict[str, Any], work: Callable[[Job], Iterator[Report]]) -> Iterator[Report]:
    """What a Ray task does: `work` on a job, with the data, the encoder and the store as this machine has them."""
    import ray

    try:
        yield from place(job, {what: functools.partial(ray.get, parcel) for what, parcel in parcels.items()}, work)
    except LabError as error:
        yield {"end": str(error)}
