"""Commands that a click on a page starts: each in a process of its own, which goes on when page and server are closed.

What was started stands in the folder .jobs of the run store: for each job its command, its process and what it printed.
A job is stopped by the signal of Ctrl-C, so that a training saves its state; the same command resumes it.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st
from pickers import plain

from lab.errors import LabError
from lab.runs.disk import commit
from lab.runs.reading import read_json
from lab.runs.stores import check_writable, runs_root

KEPT = 20  # jobs that are listed; the files of all stay
TAIL = 4000  # bytes of what a job printed


@dataclass(frozen=True)
class Job:
    """One command that was started. Its process may have ended."""

    file: Path
    command: list[str]  # after `lab`
    process: int
    started: float

    @property
    def name(self) -> str:
        return self.file.stem

    @property
    def text(self) -> str:
        """The command as one types it."""
        return shlex.join(["lab", *self.command])

    def runs(self) -> bool:
        """Whether its process is alive and is this job's, and no later one with the same number."""
        if child := children().get(self.name):
            return child.poll() is None
        try:
            asked = subprocess.run(["ps", "-p", str(self.process), "-o", "command="], capture_output=True, text=True,
                                   timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return False
        return self.name in asked.stdout

    def said(self) -> str:
        """The last lines that it printed; of a progress bar, its newest state."""
        try:
            with open(self.file.with_suffix(".log"), "rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - TAIL))
                text = log.read().decode("utf-8", "replace")
        except OSError:
            return ""
        lines = [line.split("\r")[-1] for line in text.replace("\r\n", "\n").split("\n")]
        return "\n".join("".join(c for c in re.sub(r"\x1b\[[0-9;]*\w", "", line) if c.isprintable())
                         for line in lines if line.strip())

    def stop(self) -> None:
        """Ask it to save and end."""
        if self.runs():
            try:
                os.kill(self.process, signal.SIGINT)
            except OSError as error:
                raise LabError(f"{self.text} cannot be stopped ({error.strerror})") from None


@st.cache_resource(show_spinner=False)
def children() -> dict[str, subprocess.Popen]:
    """The processes that this server started, by the names of their jobs."""
    return {}


def folder() -> Path:
    return runs_root().resolve() / ".jobs"


def start(*command: str) -> Job:
    """Start `lab` with these arguments. LabError: the store cannot be written, or no process can be made."""
    check_writable(runs_root())
    place = folder()
    name = f"job-{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(3).hex()}"
    file = place / f"{name}.json"
    try:
        place.mkdir(parents=True, exist_ok=True)
        with open(file.with_suffix(".log"), "wb") as log:
            child = subprocess.Popen(
                [sys.executable, "-P", "-c", f"from lab.cli import main; main()  # {name}", *command,
                 "--runs", str(runs_root().resolve())],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                env={"OMP_NUM_THREADS": "1"} | os.environ)  # beside another training, two threads are slower than one
        about = {"command": list(command), "process": child.pid, "started": time.time()}
        commit(file, lambda part: part.write_text(json.dumps(about), encoding="utf-8"))
    except OSError as error:
        raise LabError(f"{place}: the job cannot be started ({error.strerror})") from None
    children()[name] = child
    return Job(file, list(command), child.pid, about["started"])


def start_or_say(command: Sequence[str]) -> None:
    """`start` for a button: what refuses it is kept in the session as "refused", for the page to say."""
    try:
        start(*command)
    except LabError as error:
        st.session_state["refused"] = str(error)


def jobs(first: str) -> list[Job]:
    """The newest jobs whose command begins with this word, the newest first."""
    found = []
    for file in sorted(folder().glob("job-*.json"), reverse=True):
        about: dict[str, Any] = read_json(file)
        command, process = about.get("command"), about.get("process")
        if isinstance(command, list) and all(isinstance(part, str) for part in command) and command[:1] == [first] \
                and type(process) is int and process > 1:
            found.append(Job(file, command, process, float(about.get("started") or 0)))
    return found[:KEPT]


@st.fragment(run_every=2)
def show(first: str) -> None:
    """The jobs of a command, what each said last, and a button that stops it."""
    for job in jobs(first):
        running = job.runs()
        with st.container(border=True):
            st.code(job.text, language=None, wrap_lines=True)
            st.caption("It is running." if running else "It has ended.")
            if said := job.said():
                st.code("\n".join(said.split("\n")[-12:]), language=None, wrap_lines=True)
            if running and st.button("Stop", key=f"stop-{job.name}", icon=":material/stop:",
                                     help="It saves its state first; the same command resumes it"
                                     if first == "ablate" else "It ends; the same command begins again"):
                try:
                    job.stop()
                except LabError as error:
                    st.error(plain(error))
