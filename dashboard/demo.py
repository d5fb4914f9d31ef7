"""A small model that a click on the page trains where there is none, one training at a time for all visitors.

It is the command that the page names, in a process of its own. It continues when the page is closed, and if it is
stopped, the next click resumes its run.
"""

import itertools
import os
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from typing import IO

import streamlit as st

from lab.runs.folder import Run, runs_in
from lab.runs.stores import runs_root

COMMAND = ("train", "strong", "--protocol", "sample", "--run")
NAME = "demo"


@dataclass
class Demo:
    """The training that this server started last."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    run: Run | None = None
    process: subprocess.Popen | None = None
    output: IO[bytes] | None = None
    failed: dict[str, str] = field(default_factory=dict)  # run -> why; these are not resumed


@st.cache_resource(show_spinner=False)
def current() -> Demo:
    """The state of the demo, shared by all visitors."""
    return Demo()


def start() -> None:
    """Start or resume a training in the user's own store, unless one is running."""
    demo = current()
    with demo.lock:
        if _running(demo):
            return
        demo.run = run = _place(demo)
        resume = ["--resume"] if run.exists else []
        demo.output = tempfile.TemporaryFile()
        try:
            demo.process = subprocess.Popen(
                [sys.executable, "-P", "-c", "from lab.cli import main; main()", *COMMAND, run.name, "--runs",
                 str(run.folder.parent), *resume],
                stdin=subprocess.DEVNULL, stdout=demo.output, stderr=subprocess.STDOUT,
                env={"OMP_NUM_THREADS": "1"} | os.environ)  # beside another training, two threads are slower than one
        except OSError as error:
            demo.process, demo.failed[run.name] = None, str(error)


def under_way() -> Run | None:
    """The demo run that is being trained, whichever server started it."""
    demo = current()
    with demo.lock:
        return _running(demo)


def why_not() -> str | None:
    """Why the last training ended early; None: it finished, or there was none."""
    demo = current()
    with demo.lock:
        _running(demo)
        return demo.failed.get(demo.run.name) if demo.run else None


@st.fragment(run_every=1)
def progress() -> None:
    """What the training is doing. Reruns the page when it has ended."""
    run = under_way()
    if run is None:
        st.rerun()
    status = run.status
    step, total = (value if isinstance(value, int) else 0 for value in map(status.get, ("step", "total")))
    doing = "reads the data, and makes token ids of it"
    if total:
        doing = f"trains, iteration {step} of {total}" if step < total else "is scored on dev; its weights are written"
    st.progress(min(1.0, max(0, step) / max(1, total)), text=f"`{run.name}` {doing} ...")


def _running(demo: Demo) -> Run | None:
    if demo.process and (code := demo.process.poll()) is not None:
        if code:
            demo.output.seek(0)
            lines = demo.output.read().decode("utf-8", "replace").replace("\r", "\n").split("\n")
            errors = [line.removeprefix("lab: ") for line in lines if line.startswith("lab: ")]
            demo.failed[demo.run.name] = errors[-1] if errors else f"the training was stopped (exit code {code})"
        demo.output.close()
        demo.process = demo.output = None
    if demo.process:
        return demo.run
    ours = demo.run.name if demo.run else None  # its process has ended, although its last heartbeat may be recent
    return next((run for run in runs_in(runs_root()) if run.name.startswith(NAME) and run.name != ours
                 and run.status.get("state") == "running"), None)


def _place(demo: Demo) -> Run:
    """The first of demo, demo-2, ... that does not exist, or was stopped and can be resumed."""
    for name in itertools.chain([NAME], (f"{NAME}-{i}" for i in itertools.count(2))):
        run = Run(runs_root().resolve() / name)
        stopped = run.status.get("state") in ("stopped", "running") and name not in demo.failed
        if not run.folder.exists() or stopped:
            return run
    raise AssertionError("the names never end")
