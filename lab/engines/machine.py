"""A machine of a cluster: data, encoder and store as they are there, and a folder of its own for what is not.

Data, and an encoder that is a folder, are read where they stand on the machine, if they are the same there. Where there
are none they are sent, once to each machine. Where the run store is not seen, a run is trained in a folder of the
machine, and what there is of it is sent at the end of every epoch.
"""

import functools
import json
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from lab.encoders import sources
from lab.engines.parcels import Files, changed, mark, unpack, unpack_once
from lab.engines.worker import Job, Report, data_in
from lab.errors import LabError

EVERY = 1.0  # seconds between two reports of a task
weights_sha256 = functools.cache(sources.weights_sha256)  # read once in each process


def place(job: Job, parcels: Mapping[str, Callable[[], Files]],
          work: Callable[[Job], Iterator[Report]]) -> Iterator[Report]:
    """Make ready what a job needs on this machine, do its work, and pass on some of the reports.

    parcels: for each of "data", "encoder" and "store" that was sent, a function that gives its files; those of "store"
    are the run's. There are three further reports: {"lacks": which of these must be sent}, and of a run that is sent
    {"file", "bytes"} and {"there": the names of all files}. LabError: this machine has other data, or another encoder,
    than the process that wants the run.
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
                yield from changed(home, sent)
            if "step" in report:
                yield report
            else:
                last.append(report)
    yield from last  # that the run has ended is said when its folder here is gone


def _some(reports: Iterator[Report], ends_of: int = 0) -> Iterator[Report]:
    """All reports but those on the step. Of these, one a second and the first of each epoch of `ends_of` iterations.
    """
    last, epoch = 0.0, None
    for report in reports:
        number = report["step"] // ends_of if ends_of and "step" in report else None
        if "step" not in report or number != epoch or time.monotonic() > last + EVERY:
            last, epoch = time.monotonic(), number
            yield report


def _data_folder(job: Job) -> Path:
    """The folder of a job's data on this machine: the one that the job names, or else the one for what is sent."""
    return there if (there := Path(job["data"])).is_dir() else _own_folder() / f"data-{job['fingerprint']}"


def _encoder_folder(job: Job) -> Path | None:
    """The folder of a job's encoder on this machine, chosen in the same way. None: the encoder is not a folder."""
    if not job["encoder_sha256"]:
        return None
    there = Path(job["encoder"]).expanduser()
    return there if there.is_dir() else _own_folder() / f"encoder-{job['encoder_sha256']}"


def _check(job: Job, data: Path, encoder: Path | None) -> None:
    """LabError: this machine has other data or another encoder than the job was given."""
    if (found := data_in(str(data)).fingerprint) != job["fingerprint"]:
        raise LabError(f"{socket.gethostname()}: {data} holds other data ({found}) than where this was started "
                       f"({job['fingerprint']}); make them equal, or take the folder away and they are sent")
    if encoder is None:
        return
    if encoder != Path(job["encoder"]).expanduser():
        sources.ELSEWHERE[job["encoder"]] = encoder
    if (found := weights_sha256(job["encoder"])) != job["encoder_sha256"]:
        raise LabError(f"{socket.gethostname()}: the encoder {encoder} has other weights ({str(found)[:12]}) than "
                       f"where this was started ({job['encoder_sha256'][:12]}); make them equal, or take the folder "
                       "away and it is sent")


def _own_folder() -> Path:
    """A folder of this user's on this machine, for what is sent to it."""
    folder = Path(tempfile.gettempdir()) / f"minbert-lab-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "getuid") and folder.lstat().st_uid != os.getuid():
        raise LabError(f"{socket.gethostname()}: {folder} belongs to another user; set TMPDIR to a folder of yours")
    return folder
