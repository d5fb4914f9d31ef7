"""One training on several processes: the weights of one, and no process waits for another that has ended."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import without_dropout

import lab
from lab import Experiment
from lab.runs.folder import Run, list_runs
from lab.runs.ranks import join

TESTS = Path(__file__).resolve().parents[1]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--master-addr", "127.0.0.1"]


def torchrun(ranks, *command):
    """torchrun on 127.0.0.1 alone, with one thread a process."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo",
                   "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    return subprocess.run([*TORCHRUN, "--nproc-per-node", str(ranks), *map(str, command)], env=environment,
                          capture_output=True, text=True, timeout=300)


def experiments(tiny):
    """Each way to take a step, and each thing that draws numbers for a batch's rows."""
    ball = lab.Smart(reading="ball", epsilon=1e-3, reduction="sum", bregman=1.0, dropout=False)
    tiny = replace(tiny, iterations=20, epochs=1, eval_rows=10, samples=1)
    made = {"separate": {}, "smart_gse": {"updates": ("pcgrad", "sum"), "smart": lab.Smart()},
            "ball": {"updates": ("gradvac",), "smart": ball},
            "frozen": {"trains": "heads", "updates": ("sum",), "pooling": "mean"},
            "drawn": {"pair": "cross", "pooling": "mean", "sampling": "square_root", "updates": ("pcgrad", "sum")}}
    return [replace(tiny, name=name, **changes) for name, changes in made.items()]


def trained_together(ranks, dropout, made, tiny_data, store):
    done = torchrun(ranks, TESTS / "train_together.py", dropout, tiny_data, store, *(e.to_json() for e in made))
    assert done.returncode == 0, done.stderr[-3000:]


def test_several_processes_give_the_weights_of_one(tiny, tiny_data, tmp_path):
    store, ranks = tmp_path / "together", 3  # of a batch's 8 rows they have 3, 3 and 2
    trained_together(ranks, "without", experiments(tiny), tiny_data, store)
    off = {}
    for e in experiments(tiny):
        alone = without_dropout(lab.fit(e, data=tiny_data, run=f"{e.name}-alone", root=store, progress=False))
        begun = {name: value.clone() for name, value in alone.model.state_dict().items()}
        list(alone)
        together = Run(store / e.name).model("last")[0].state_dict()
        off[e.name] = max((together[n] - value).abs().max().item() for n, value in alone.model.state_dict().items())
        assert any((together[name] - begun[name]).abs().max() > 1e-3 for name in begun)  # it has been trained
        assert len({(store / f"{e.name}-{rank}.txt").read_text() for rank in range(ranks)}) == 1
        assert Run(store / e.name).status["state"] == "done"
    assert max(off.values()) < 1e-6, off


def test_dropout_is_that_of_the_rows_with_any_number_of_processes(tiny, tiny_data, tmp_path):
    made = [e for e in experiments(tiny) if e.name in ("smart_gse", "frozen", "drawn")]  # all places of dropout
    for ranks in (1, 3):
        trained_together(ranks, "with", made, tiny_data, tmp_path / f"{ranks}")
    for e in made:
        assert e.dropout == 0.1
        one, three = (Run(tmp_path / ranks / e.name).model("last")[0].state_dict() for ranks in "13")
        off = {name: (three[name] - value).abs().max().item() for name, value in one.items()}
        assert max(off.values()) < 1e-6, (e.name, max(off, key=off.get), max(off.values()))


KILLED = """
import os, signal
from lab.cli import main
from lab.runs.ranks import Follower
advance = Follower.advance
def die(self):
    if advance(self) == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return 6
Follower.advance = die
main()
"""


def test_a_killed_process_stops_the_run_which_another_number_of_them_resumes(tiny, tiny_data, tmp_path, monkeypatch):
    (script := tmp_path / "killed.py").write_text(KILLED)
    done = torchrun(2, script, "train", "multitask", "--data", tiny_data, "--encoder", tiny.encoder, "--protocol",
                    "smoke", "--set", "iterations=4", "--set", "device=cpu", "--set", "epochs=3")
    said = [line for line in done.stderr.splitlines() if line.startswith("lab: ")]
    assert done.returncode and "another process of this training has ended" in said[-1], done.stderr
    (run,) = list_runs()
    assert run.status["state"] == "failed" and run.status["step"] == 6 and "--resume" in run.status["why"]
    with pytest.warns(UserWarning, match="was begun with 2 processes and is resumed with 1 processes: its weights"):
        training = lab.fit(Experiment.from_json(json.dumps(run.config["experiment"])), data=tiny_data, run=run.name,
                           resume=True, progress=False)
    assert training.step == 4
    list(training)
    assert run.status["state"] == "done"


def test_more_processes_than_rows_are_refused(monkeypatch):
    monkeypatch.setattr("torch.distributed.is_torchelastic_launched", lambda: True)
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 9)
    with pytest.raises(lab.LabError, match="a batch of 8 rows cannot be shared by 9 processes; start fewer"):
        join(8)


def test_trap_12_distributed_data_parallel_does_not_reduce_a_gradient_a_task():
    done = torchrun(2, TESTS.parent / "docs" / "ddp_trap.py")
    assert done.returncode == 0, done.stderr[-3000:]
    said = [line.strip() for line in done.stdout.splitlines() if line.startswith("    ")]
    silent = "NOT REDUCED, and no error"
    assert said[0] == f"task 0: {silent}; task 1: {silent}" and said[2] == f"task 0: the mean; task 1: {silent}"
    assert "Expected to mark a variable ready only once" in said[1]
    assert "Expected to have finished reduction" in said[3]
    assert said[4] == "task 0: the mean; task 1: the mean"
