"""Many runs: all there, none twice, a failed one named and the others finished, and no worker without its parent."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import threading

import pytest
from helpers import stopped, trained

import lab
from lab.engines import ablation, processes
from lab.runs.folder import Run, list_runs
from lab.runs.stores import runs_root
from lab.runs.writer import Writer
from lab.train import run_name


class Recorded(ablation.tqdm):
    """A progress bar that keeps what it has shown: (work done, of it before this call, all)."""

    def __init__(self, *arguments, **options):
        self.seen = []
        super().__init__(*arguments, **options)
        Recorded.last = self

    def set_postfix_str(self, *arguments, **options):
        super().set_postfix_str(*arguments, **options)
        self.seen.append((self.n, self.initial, self.total))


def states():
    return {run.config["experiment"]["name"]: run.status["state"] for run in list_runs()}


def test_all_runs_are_made_and_none_twice(tiny, tiny_data, monkeypatch):
    experiments = [dataclasses.replace(tiny, name=name, updates=(name,), epochs=1) for name in ("sum", "separate")]
    frame = lab.ablate([*experiments, experiments[0]], seeds=2, data=tiny_data, progress=False)
    assert frame.groupby("name")["seed"].nunique().to_dict() == {"sum": 2, "separate": 2}
    assert set(frame["state"]) == {"done"} and list(lab.leaderboard(frame)["seeds"]) == [2, 2]
    before = {run.name: (run.folder / "metrics.jsonl").stat().st_mtime_ns for run in list_runs()}
    assert len(before) == 4  # what was listed twice is one run

    monkeypatch.setattr(ablation, "tqdm", Recorded)
    data = lab.load_data(tiny_data)
    half, bad = dataclasses.replace(tiny, name="half"), dataclasses.replace(tiny, name="bad", lr=1e30)
    status = stopped(half, tiny_data, None, after_epoch=2).run.folder / "status.json"
    status.write_text(json.dumps({"state": "running", "heartbeat": 0, "step": 11, "total": 12}))  # it died there
    with pytest.raises(lab.LabError, match=r"1 of 4 runs failed, the others are finished: bad-.*NaN or infinite"):
        lab.ablate([*experiments, half, bad], seeds=1, data=data)
    assert states() == {"sum": "done", "separate": "done", "half": "done", "bad": "failed"}
    after = {run.name: (run.folder / "metrics.jsonl").stat().st_mtime_ns for run in list_runs()}
    assert before.items() <= after.items()

    # The time left is judged by this call's work alone: not by finished runs, nor by the status of a dead one.
    one_epoch, three = ablation.work(experiments[0], data, 4, True), ablation.work(half, data, 12, True)
    earlier = 2 * one_epoch + ablation.work(half, data, 8, False)  # what the checkpoint holds
    everything = 2 * one_epoch + three
    assert Recorded.last.seen[-1] == (everything, earlier, everything)  # a failed run leaves no work
    shown = [n for n, _, _ in Recorded.last.seen]
    assert shown == sorted(shown) and all(initial <= n <= total for n, initial, total in Recorded.last.seen)


def test_work_counts_passes_and_scores(tiny, tiny_data):
    data = lab.load_data(tiny_data)  # 24 dev rows a task, of which QQP scores 20; 20 training rows are scored
    scores, last = 3 * 20 + 24 + 20 + 24, 3 * 24
    assert ablation.work(tiny, data, 3, False) == 3 * 24 * 3  # 24 rows an iteration, three forward passes' worth each
    assert ablation.work(tiny, data, 12, True) == 12 * 24 * 3 + 3 * scores + last
    more = dataclasses.replace(tiny, updates=("pcgrad", "sum"), smart=lab.Smart(), eval_rows=10)
    assert ablation.work(more, data, 4, False) == 4 * 24 * 3 * 2 * 3 + 6 * 10


@pytest.mark.parametrize(("seeds", "workers"), [(0, 1), (1, 0)])
def test_no_seeds_or_no_workers_is_an_error(tiny, tiny_data, seeds, workers):
    with pytest.raises(lab.LabError, match="must be 1 or more"):
        lab.ablate([tiny], seeds=seeds, workers=workers, data=tiny_data)


KILLED = """
import os, signal
from lab.engines import processes
from lab.runs.recorder import Recorder
advance = Recorder.advance
def die(self):
    if advance(self) == 6 and self.settings.name == "bad":
        os.kill(os.getpid(), signal.SIGKILL)
    return self.state["step"]
Recorder.advance = die
processes.serve()
"""


@pytest.mark.slow
def test_a_run_whose_process_is_killed_is_named_and_the_others_finish(tiny, tiny_data, monkeypatch, capsys):
    monkeypatch.setattr(processes, "WORKER", (sys.executable, "-c", KILLED))
    monkeypatch.setattr(ablation, "cores", lambda: 1)
    bad, good = (dataclasses.replace(tiny, name=name) for name in ("bad", "good"))
    with pytest.raises(lab.LabError, match=r"1 of 2 runs failed, the others are finished: bad-.*ended by signal 9"):
        lab.ablate([bad, good], seeds=1, data=tiny_data)
    assert re.search("bad-.* failed: its process was ended by signal 9, as happens where", capsys.readouterr().out)
    assert states()["good"] == "done"
    lost, kept = list_runs()
    assert kept.config["threads"] == 1
    assert trained(bad, tiny_data, run=lost.name, resume=True)[0].status["state"] == "done"  # the call would go on so


@pytest.mark.slow
@pytest.mark.parametrize(("end", "workers"), [(signal.SIGINT, 1), (signal.SIGKILL, 2)])
def test_no_worker_outlives_its_parent(end, workers, tiny_encoder, tiny_data):
    command = ["ablate", "baseline", "multitask", "--data", tiny_data, "--encoder", tiny_encoder, "--workers", workers,
               "--set", "iterations=5", "--set", "epochs=300", "--set", "device=cpu", "--protocol", "smoke"]
    parent = subprocess.Popen([sys.executable, "-c", "from lab.cli import main; main()", *map(str, command)],
                              env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, start_new_session=True,
                              # a test run begun in the background of a script ignores it, and so would its children
                              preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = threading.Timer(300, parent.kill)
    deadline.start()
    seen = letter = " "
    while letter and not re.search(r" [1-9]\d*%", seen):  # in the progress bar: runs have begun
        letter = parent.stderr.read(1)
        seen += letter
    os.killpg(parent.pid, end)  # as a terminal does it
    out, rest = parent.communicate()  # every worker holds its parent's standard error: here, all have ended
    deadline.cancel()
    assert parent.returncode == (130 if end == signal.SIGINT else -end), seen + rest
    assert "Traceback" not in seen + rest
    begun = list_runs()
    assert begun and {run.status["state"] for run in begun} == {"stopped"}
    for run in begun:
        Writer(run, lambda: None).close()  # nobody holds its lock
    if end == signal.SIGINT:
        assert out.splitlines()[-1] == "stopped; the same command resumes it"


OTHER = """
import sys
from pathlib import Path
from lab.runs.folder import Run
from lab.runs.writer import Writer
writer = Writer(Run(Path(sys.argv[1])), lambda: None)
print("mine", flush=True)
sys.stdin.read()
writer.close()
"""


def test_a_run_that_another_process_trains_is_waited_for_once_all_others_are_done(tiny, tiny_data, capsys, monkeypatch):
    busy, free = (dataclasses.replace(tiny, name=name, epochs=1) for name in ("busy", "free"))
    theirs, ours = (Run(runs_root() / run_name(e, lab.load_data(tiny_data))) for e in (busy, free))
    other = subprocess.Popen([sys.executable, "-c", OTHER, theirs.folder], stdin=subprocess.PIPE, text=True,
                             stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert other.stdout.readline() == "mine\n"
    seen = []

    class Bar(ablation.tqdm):
        def refresh(self, *arguments, **options):  # every second
            super().refresh(*arguments, **options)
            seen.append((theirs.exists, ours.status.get("state")))
            if ours.status.get("state") == "done":
                other.stdin.close()  # the other process ends

    monkeypatch.setattr(ablation, "tqdm", Bar)
    monkeypatch.setattr(ablation, "REFRESH", 0.1)
    frame = lab.ablate([busy, free], seeds=1, data=tiny_data)
    assert other.wait() == 0 and (False, "done") in seen
    assert states() == {"busy": "done", "free": "done"} and set(frame["state"]) == {"done"}
    said = capsys.readouterr().out
    assert said.count(f"{theirs.name} is being trained by another process; waiting") == 1 and "failed" not in said


def test_a_store_that_cannot_be_written_is_one_error_for_all_runs(tiny, tiny_data, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(lab.LabError, match="file is not a folder; name another run store with --runs"):
        lab.ablate([tiny], data=tiny_data, root=tmp_path / "file" / "store")


@pytest.mark.parametrize(("wrong", "why"), [({"batch_size": 1000}, "^sst: a batch of 1000 cannot be drawn from 64 "),
                                            ({"name": "a b"}, "^'a b-paper-.*' cannot name a run")])
def test_what_one_of_the_experiments_cannot_do_is_said_before_the_first_begins(wrong, why, tiny, tiny_data):
    with pytest.raises(lab.LabError, match=why):
        lab.ablate([tiny, dataclasses.replace(tiny, **wrong)], data=tiny_data, progress=False)
    assert not list_runs()
