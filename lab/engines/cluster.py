"""The engine `ray`: each run is a task of a Ray cluster, on this machine alone or on many.

A worker that sees the run store trains in it, under the file locks that hold everywhere: a run is never trained twice,
and what is left of a killed one is resumed. A worker that does not see the store trains in a folder of its own machine
and sends what it has at the end of every epoch; this process then holds the run's lock and writes the files. Data, and
an encoder that is a folder, are read where they stand on the worker's machine, if they are the same there. Where there
are none they are sent, once to each machine.
"""

import contextlib
import functools
import hashlib
import json
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lab.data import Data
from lab.encoders import sources
from lab.engines.worker import Report, data_in, train
from lab.errors import LabError
from lab.runs.disk import commit, make_folder
from lab.runs.folder import Run

Files = dict[str, bytes]  # by their paths in a folder
Job = dict[str, Any]
TRIES = 4  # of a run whose worker or machine ends: more often, and the run itself may be why
AHEAD = 16  # tasks that are submitted beyond those that the cluster has room for
EVERY = 1.0  # seconds between two reports of a task
STOPS_WITHIN = 30  # seconds that the tasks have to record that their runs were stopped
OBJECTS = 80 * 2**20  # bytes of memory for what is sent, on a cluster of this machine alone
MARK = ".lab-store"  # a file in the store, with a number of its own by which a worker knows it
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
    alone = {"num_cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
             "include_dashboard": False, "object_store_memory": OBJECTS, "_node_ip_address": "127.0.0.1"}
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
        encoder = json.loads(job["experiment"]).get("encoder") if "experiment" in job else None
        return {**job, "mark": mark(Path(job["root"])), "fingerprint": self.data.fingerprint, "encoder": encoder,
                "encoder_sha256": _sha256(encoder) if encoder else None, "send": []}

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


# ---- the side of the worker


def _task(job: Job, parcels: dict[str, Any], work: Callable[[Job], Iterator[Report]]) -> Iterator[Report]:
    """What a Ray task does: `work` on a job, with the data, the encoder and the store as this machine has them."""
    import ray

    try:
        yield from place(job, {what: functools.partial(ray.get, parcel) for what, parcel in parcels.items()}, work)
    except LabError as error:
        yield {"end": str(error)}


def place(job: Job, parcels: Mapping[str, Callable[[], Files]],
          work: Callable[[Job], Iterator[Report]]) -> Iterator[Report]:
    """Make ready what a job needs on this machine, do its work, and give on some of the reports.

    parcels: what gives the files of "data", "encoder" and "store" (of the run), as far as they are sent. Besides the
    reports of `work`: {"lacks": what of these must be sent}; {"file", "bytes"} and {"there": the names of all files} of
    a run that is sent. LabError: this machine has other data, or another encoder, than the process that wants the run.
    """
    data, encoder = _data_folder(job), _encoder_folder(job)
    lacks = [what for what, there in (("data", data.is_dir()), ("encoder", encoder is None or encoder.is_dir()),
                                      ("store", mark(Path(job["root"]), make=False) == job["mark"]))
             if not there and what not in parcels]
    if lacks:
        yield {"lacks": lacks}
        return
    if not data.is_dir():
        unpack_once(parcels["data"], data)
    if encoder and not encoder.is_dir():
        unpack_once(parcels["encoder"], encoder)
    _check(job, data, encoder)
    job = job | {"data": str(data)}
    if "store" not in parcels:
        yield from _some(work(job))
        return
    with tempfile.TemporaryDirectory(dir=_own_folder(), prefix="store-") as store:
        (_own_folder() / "cache").mkdir(exist_ok=True)
        Path(store, ".cache").symlink_to(_own_folder() / "cache")  # of token ids, for all runs on this machine
        home, sent, epoch = Path(store, job["run"]), {}, None
        unpack(parcels["store"](), home)
        iterations, last = json.loads(job["experiment"])["iterations"], []
        for report in _some(work(job | {"root": store}), iterations):
            number = report["step"] // iterations if "step" in report else None
            if number is None or number != epoch:
                epoch = number
                yield from _changed(home, sent)
            if "step" in report:
                yield report
            else:
                last.append(report)
    yield from last  # that the run has ended is said when its folder here is gone


def _some(reports: Iterator[Report], ends_of: int = 0) -> Iterator[Report]:
    """Of the many reports on the step, one a second, and where an epoch of `ends_of` iterations ends."""
    last, epoch = 0.0, None
    for report in reports:
        number = report["step"] // ends_of if ends_of and "step" in report else None
        if "step" not in report or number != epoch or time.monotonic() > last + EVERY:
            last, epoch = time.monotonic(), number
            yield report


def _data_folder(job: Job) -> Path:
    """The folder of a job's data on this machine: where it stands elsewhere too, or where it is sent."""
    return there if (there := Path(job["data"])).is_dir() else _own_folder() / f"data-{job['fingerprint']}"


def _encoder_folder(job: Job) -> Path | None:
    """The same of its encoder; None: it is no folder, and known by its name."""
    if not job["encoder_sha256"]:
        return None
    there = Path(job["encoder"]).expanduser()
    return there if there.is_dir() else _own_folder() / f"encoder-{job['encoder_sha256']}"


def _check(job: Job, data: Path, encoder: Path | None) -> None:
    """LabError: this machine has other data, or another encoder."""
    if (found := data_in(str(data)).fingerprint) != job["fingerprint"]:
        raise LabError(f"{socket.gethostname()}: {data} holds other data ({found}) than where this was started "
                       f"({job['fingerprint']}); make them equal, or take the folder away and they are sent")
    if encoder is None:
        return
    if encoder != Path(job["encoder"]).expanduser():
        sources.ELSEWHERE[job["encoder"]] = encoder
    if (found := _sha256(job["encoder"])) != job["encoder_sha256"]:
        raise LabError(f"{socket.gethostname()}: the encoder {encoder} has other weights ({str(found)[:12]}) than "
                       f"where this was started ({job['encoder_sha256'][:12]}); make them equal, or take the folder "
                       "away and it is sent")


_sha256 = functools.cache(sources.weights_sha256)


def _own_folder() -> Path:
    """A folder of this user's on this machine, for what is sent to it."""
    folder = Path(tempfile.gettempdir()) / f"minbert-lab-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "getuid") and folder.lstat().st_uid != os.getuid():
        raise LabError(f"{socket.gethostname()}: {folder} belongs to another user; set TMPDIR to a folder of yours")
    return folder


# ---- files that are sent


def mark(store: Path, make: bool = True) -> str | None:
    """The number by which a store is known, made if it has none; None: it has none, or is not seen here."""
    file = store / MARK
    if make and not file.is_file():
        make_folder(store)
        commit(file, lambda part: part.write_text(os.urandom(16).hex(), encoding="utf-8"))
    return file.read_text(encoding="utf-8") if file.is_file() else None


def read_files(folder: Path) -> Files:
    """All files of a folder, except hidden ones."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)}


def unpack(files: Mapping[str, bytes], folder: Path) -> None:
    """Write files into a folder, which is there in whole or not at all."""
    def write(part: Path) -> None:
        part.mkdir(parents=True)
        for name, content in files.items():
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            (part / name).write_bytes(content)

    make_folder(folder.parent)
    commit(folder, write)


def unpack_once(fetch: Callable[[], Files], folder: Path) -> None:
    """The same for the first of a machine's workers that needs the folder; the others wait for it."""
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if not folder.is_dir():
            unpack(fetch(), folder)


def _changed(folder: Path, sent: dict[str, str]) -> Iterator[Report]:
    """Reports of all files that are not as they were sent; experiment.json, which makes the folder a run, last."""
    files = read_files(folder) if folder.is_dir() else {}
    last = ("state.json", "status.json", "experiment.json")  # with which a checkpoint, or a run, is there
    for name in sorted(files, key=lambda name: (Path(name).name in last and last.index(Path(name).name) + 1, name)):
        digest = hashlib.sha256(files[name]).hexdigest()
        if sent.get(name) != digest:
            sent[name] = digest
            yield {"file": name, "bytes": files[name]}
    yield {"there": sorted(files)}


def write_file(folder: Path, name: str, content: bytes) -> None:
    """Write a file that was sent of a run. LabError: its name leads out of the run's folder."""
    if ".." in (parts := Path(name).parts) or Path(name).is_absolute() or not parts:
        raise LabError(f"{Run(folder).name}: a worker sent the file {name!r}")
    make_folder((folder / name).parent)
    commit(folder / name, lambda part: part.write_bytes(content))


def remove_checkpoints(folder: Path, there: Iterable[str]) -> None:
    """Remove the files of checkpoints that the worker has removed; nothing else is ever removed."""
    known = set(there)
    for state in sorted((folder / "checkpoints").glob("[0-9]*/*"), reverse=True):  # state.json goes before the tensors
        if state.relative_to(folder).as_posix() not in known and state.suffix in (".json", ".safetensors"):
            state.unlink()
            with contextlib.suppress(OSError):
                state.parent.rmdir()
