"""Trainings survive what happens to them: kills, stops, a second fit, values that are not finite."""

import dataclasses
import gc
import json
import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers import first_quick, repeatable, rewrite_tensors, same_weights, stopped, trained, weights_at
from safetensors import SafetensorError

import lab
from lab.runs import checkpoints
from lab.train import fit


def same_checkpoint(run, other, step):
    ours, theirs = weights_at(run, step), weights_at(other, step)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


# twice ten, on a core each
@pytest.mark.parametrize(("times", "seed"), first_quick((3, 3), (10, 1), (10, 2)))
def test_kills_at_any_moment_leave_no_trace(times, seed, tiny_data, tiny_encoder, tmp_path):
    (tmp_path / "store").mkdir()
    script = Path(__file__).parents[1] / "kill_and_resume.py"
    done = subprocess.run([sys.executable, script, tiny_data, tiny_encoder, tmp_path / "store", str(times), str(seed)],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    kills = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(kills) == times and sum(kill["in save"] for kill in kills) == times // 3
    assert all(kill["killed"] == -9 and kill["resumed"] == 0 and kill["same"] for kill in kills), kills


def test_a_run_stopped_by_its_caller_goes_on_to_the_same_end(tiny, tiny_data):
    whole, rows = trained(tiny, tiny_data, run="whole")
    halves = stopped(tiny, tiny_data, "halves", after_epoch=2)
    assert halves.run.status["state"] == "stopped"
    run, rest = trained(tiny, tiny_data, run="halves", resume=True)
    assert {row["epoch"] for row in repeatable(rest)} >= {3} and 1 not in {row["epoch"] for row in rest[:-20]}
    assert repeatable(run.rows()) == repeatable(rows) == repeatable(whole.rows())
    assert same_checkpoint(run, whole, 12)


def test_a_run_stopped_at_step_0_scores_it_once(tiny, tiny_data):
    """The rows of step 0 are written before any checkpoint counts them: resuming cuts them, and writes them again."""
    whole, rows = trained(tiny, tiny_data, run="whole")
    training = fit(tiny, data=tiny_data, run="one", progress=False)
    assert next(training)["step"] == 0
    training.close()
    assert checkpoints.steps(training.run.checkpoints) == [0] and training.run.rows()
    run, _ = trained(tiny, tiny_data, run="one", resume=True)
    assert repeatable(run.rows()) == repeatable(rows) == repeatable(whole.rows())
    firsts = [(r["split"], r["task"], r["metric"]) for r in run.rows() if r["step"] == 0]
    assert firsts and len(firsts) == len(set(firsts))
    assert same_checkpoint(run, whole, 12)


def test_resuming_a_finished_run_changes_nothing(tiny, tiny_data):
    run, _ = trained(tiny, tiny_data, run="one")
    before = {f: f.read_bytes() for f in run.folder.rglob("*") if f.is_file() and f.name != ".lock"}
    training = fit(tiny, data=tiny_data, run="one", resume=True, progress=False)
    assert training.finished and list(training) == []
    assert {f: f.read_bytes() for f in run.folder.rglob("*") if f.is_file() and f.name != ".lock"} == before


def test_a_loss_that_turns_nan_stops_and_keeps_the_last_good_weights(tiny, tiny_data):
    training = fit(dataclasses.replace(tiny, iterations=3), data=tiny_data, run="nan", progress=False)
    with pytest.raises(lab.LabError, match=r"NaN or infinite .* last good weights \(iteration 3\)"):
        for row in training:
            if row["split"] == "dev" and row["epoch"] == 1:
                training.model.heads["sts"].linear.weight.data[0, 0] = math.nan
    assert all(math.isfinite(row["value"]) for row in training.run.rows() if row["value"] is not None)
    assert training.run.status["state"] == "failed" and "NaN" in training.run.status["why"]
    assert all(t.isfinite().all() for t in weights_at(training.run, 3).values())
    model, _ = training.run.model()
    assert all(p.isfinite().all() for p in model.parameters())


def test_weights_that_turn_nan_in_an_epochs_last_step_are_not_saved(tiny, tiny_data, monkeypatch):
    training = fit(tiny, data=tiny_data, progress=False)
    step = training.recorder.parts.optimizer.step

    def poisoned():
        step()
        if training.step == 8:
            training.model.heads["sts"].linear.weight.data[0, 0] = math.nan

    monkeypatch.setattr(training.recorder.parts.optimizer, "step", poisoned)
    with pytest.raises(lab.LabError, match=r"last good weights \(iteration 4\)"):
        list(training)
    assert checkpoints.steps(training.run.checkpoints)[-1] == 4
    assert all(t.isfinite().all() for t in weights_at(training.run, 4).values())


def test_a_run_goes_on_without_the_encoder_it_began_with(tiny, tiny_data, tiny_encoder, tmp_path):
    shutil.copytree(tiny_encoder, tmp_path / "encoder")
    experiment = dataclasses.replace(tiny, encoder=str(tmp_path / "encoder"))
    stopped(experiment, tiny_data, "one")
    shutil.rmtree(tmp_path / "encoder")
    run, _ = trained(experiment, tiny_data, run="one", resume=True)
    assert run.status["state"] == "done"


@pytest.fixture
def no_collector():
    """Nothing may depend on when Python's garbage collector runs."""
    gc.disable()
    yield
    gc.enable()


def test_a_loop_that_is_left_closes_its_run_at_once(tiny, tiny_data, no_collector):
    for row in fit(tiny, data=tiny_data, run="one", progress=False):
        if row["split"] == "dev" and row["epoch"] == 1:
            break
    del row
    run = lab.runs.Run.open("one")
    assert run.status["state"] == "stopped"
    code = ("import sys, lab\n"
            "t = lab.fit(lab.Experiment.from_json(sys.argv[1]), data=sys.argv[2], run='one', resume=True)\n"
            "print(t.step); t.close()")
    other = subprocess.run([sys.executable, "-c", code, tiny.to_json(), tiny_data], capture_output=True, text=True)
    assert other.stdout.strip() == "4", other.stderr  # another process may go on


@pytest.mark.parametrize("named", first_quick(True, False))
def test_a_second_fit_closes_the_first_and_goes_on_at_once(named, tiny, tiny_data, no_collector):
    whole, rows = trained(tiny, tiny_data, run="whole")
    first = fit(tiny, data=tiny_data, run="one", progress=False)
    first.itself = first  # a cycle, as a traceback makes one: only the garbage collector would free it
    while next(first)["epoch"] < 2:
        pass
    if not named:
        del first
    second = fit(tiny, data=tiny_data, run="one", resume=True, progress=False)
    assert second.step == 8
    list(second)
    assert repeatable(second.run.rows()) == repeatable(rows)
    assert same_weights(second.model, whole.model("last")[0])
    if named:
        with pytest.raises(lab.LabError, match="is trained by a later fit"):
            next(first)
        assert second.run.status["state"] == "done"  # nothing that the first one does reaches the run now
        first.close()
        assert second.run.status["state"] == "done"


def test_a_training_that_is_not_iterated_is_closed_too(tiny, tiny_data, no_collector):
    fit(tiny, data=tiny_data, run="one", progress=False)
    assert lab.runs.Run.open("one").status["state"] == "stopped"
    training = fit(tiny, data=tiny_data, run="one", resume=True, progress=False)
    training.close()
    training.close()
    assert list(training) == [] and lab.runs.Run.open("one").status["why"] == "closed"


def test_an_interrupt_closes_the_run(tiny, tiny_data, monkeypatch):
    training = fit(tiny, data=tiny_data, run="one", progress=False)

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(training.recorder.parts.optimizer, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(training)
    assert training.run.status["state"] == "stopped"
    assert trained(tiny, tiny_data, run="one", resume=True)[0].status["state"] == "done"


def test_resuming_what_is_not_there_says_so_and_begins_nothing(tiny, tiny_data, tmp_path):
    with pytest.raises(lab.LabError, match=r"there is no run one to resume in .*Leave out --resume"):
        fit(tiny, data=tiny_data, run="one", resume=True)
    with pytest.raises(lab.LabError, match="there is no run tiny-paper-s11711-"):
        fit(tiny, data=tiny_data, resume=True)
    assert not (tmp_path / "runs").exists()


# What a full disk, a limit and full memory raise, and where: in safetensors, in Python, in torch.
MACHINE = {"disk": ("lab.runs.checkpoints.save_file", SafetensorError("I/O error: No space left on device")),
           "limit": ("lab.runs.checkpoints.save_file", OSError(27, "File too large")),
           "memory": ("lab.train.losses", RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. "
                                                       "DefaultCPUAllocator: can't allocate memory: you tried ...")),
           "python": ("lab.train.losses", MemoryError())}


def failing(monkeypatch, where, error, after=0):
    """Have a function raise an error, after so many calls that go well."""
    module, name = where.rsplit(".", 1)
    real, calls = getattr(sys.modules[module], name), []

    def fails(*arguments, **options):
        calls.append(1)
        if len(calls) > after:
            raise error
        return real(*arguments, **options)

    monkeypatch.setattr(where, fails)


@pytest.mark.parametrize("kind", first_quick("disk", "limit", "memory", "python"))
def test_an_error_of_the_machine_is_one_line_and_the_run_goes_on_when_it_is_mended(kind, tiny, tiny_data, monkeypatch):
    where, error = MACHINE[kind]
    e = dataclasses.replace(tiny, epochs=2, updates=("sum",), samples=0)
    with monkeypatch.context() as context:
        failing(context, where, error, after=4)  # calls: two a checkpoint, one an iteration
        with pytest.raises(lab.LabError, match=r"^run one: .*; --resume .* goes on from iteration 4$") as caught:
            trained(e, tiny_data, run="one")
    run = lab.runs.Run.open("one")
    status = run.status
    assert status["state"] == "failed" and status["why"] == str(caught.value)
    assert ("checkpoints/00000008" if where.endswith("save_file") else "not enough memory") in str(caught.value)
    whole, rows = trained(e, tiny_data, run="whole")
    run, _ = trained(e, tiny_data, run="one", resume=True)
    assert repeatable(run.rows()) == repeatable(rows) and same_checkpoint(run, whole, 8)


@pytest.mark.parametrize("kind", first_quick("disk", "limit"))
def test_an_error_of_the_machine_in_the_first_checkpoint_leaves_nothing(kind, tiny, tiny_data, monkeypatch, tmp_path):
    failing(monkeypatch, *MACHINE[kind])
    with pytest.raises(lab.LabError, match=r"^run one: .*checkpoints/00000000") as caught:
        fit(tiny, data=tiny_data, run="one", progress=False)
    assert "resume" not in str(caught.value) and not (tmp_path / "runs" / "one").exists()


def test_a_full_disk_does_not_leave_a_run_that_says_running(tiny, tiny_data, monkeypatch):
    """The status cannot be replaced, but its bytes are there already."""
    training = fit(tiny, data=tiny_data, run="one", progress=False)
    next(training)

    def full(target, write):
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr("lab.runs.checkpoints.commit", full)
    monkeypatch.setattr("lab.runs.writer.commit", full)
    with pytest.raises(lab.LabError, match=r"No space left on device: .*00000004"):
        list(training)
    assert json.loads((training.run.folder / "status.json").read_text())["state"] == "failed"


def test_a_killed_run_that_cannot_go_on_does_not_say_running(tiny, tiny_data):
    training = stopped(tiny, tiny_data, "one")
    file = training.run.folder / "status.json"
    file.write_text(json.dumps({"state": "running", "heartbeat": time.time(), "step": 7}))  # as kill -9 leaves it
    with pytest.raises(lab.LabError, match="other settings"):
        fit(dataclasses.replace(tiny, lr=2e-3), data=tiny_data, run="one", resume=True)
    status = training.run.status
    assert (status["state"], status["step"], status["why"]) == ("stopped", 7, "it was killed")


@pytest.mark.parametrize("kind", ["pipe", "folder", "file"])
def test_what_stands_in_a_checkpoints_place_is_named_and_kept(kind, tiny, tiny_data):
    training = fit(tiny, data=tiny_data, run="one", progress=False)
    place = training.run.checkpoints / "00000004"
    {"pipe": os.mkfifo, "folder": Path.mkdir, "file": Path.touch}[kind](place)
    with pytest.raises(lab.LabError, match=r"00000004 is in a checkpoint's place, and no run has written it"):
        list(training)
    assert training.run.status["state"] == "failed" and os.path.lexists(place)
    place.rmdir() if kind == "folder" else place.unlink()
    assert trained(tiny, tiny_data, run="one", resume=True)[0].status["state"] == "done"


@pytest.mark.parametrize("name", ["metrics.jsonl", "status.json"])
def test_a_pipe_in_a_files_place_is_not_waited_for(name, tiny, tiny_data):
    training = stopped(tiny, tiny_data, "one")
    (training.run.folder / name).unlink()
    os.mkfifo(training.run.folder / name)
    if name == "status.json":
        assert trained(tiny, tiny_data, run="one", resume=True)[0].status["state"] == "done"
        return
    with pytest.warns(UserWarning, match="not a file"), pytest.raises(lab.LabError, match=r"no checkpoint|not a file"):
        fit(tiny, data=tiny_data, run="one", resume=True, progress=False)


def test_an_encoder_that_is_not_finite_is_named_and_nothing_is_begun(tiny, tiny_data, tiny_encoder, tmp_path):
    shutil.copytree(tiny_encoder, tmp_path / "encoder")

    def poison(tensors):
        tensors["encoder.layer.1.output.dense.bias"][3] = math.nan

    rewrite_tensors(tmp_path / "encoder", poison)
    with pytest.raises(lab.LabError, match=r"encoder\.layer\.1\.output\.dense\.bias holds NaN or infinite"):
        fit(dataclasses.replace(tiny, encoder=str(tmp_path / "encoder")), data=tiny_data, run="one", progress=False)
    assert not (tmp_path / "runs" / "one").exists()
