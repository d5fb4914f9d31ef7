"""Writing a run: one process at a time, and nothing that no run has written is touched."""

import dataclasses
import json
import os
import subprocess
import sys
import threading

import pytest
import torch
from helpers import trained

import lab
from lab.runs.folder import Run
from lab.runs.writer import Writer, check_rows
from lab.train import fit


def test_a_second_writer_is_refused(tiny, tiny_data):
    training = fit(tiny, data=tiny_data, run="one", progress=False)
    next(training)
    code = ("import sys, lab; from lab.train import fit\n"
            "try: fit(lab.Experiment.from_json(sys.argv[1]), data=sys.argv[2], run='one', resume=True)\n"
            "except lab.LabError as error: print(error)")
    other = subprocess.run([sys.executable, "-c", code, tiny.to_json(), tiny_data], capture_output=True, text=True)
    assert "being trained already, by another process" in other.stdout
    list(training)  # and the first is not disturbed
    assert training.run.status["state"] == "done"


def test_a_failed_start_leaves_nothing(tiny, tiny_data, tmp_path):
    with pytest.raises(lab.LabError, match="no such folder"):
        fit(dataclasses.replace(tiny, encoder="./nowhere"), data=tiny_data, run="one", root=tmp_path)
    assert not (tmp_path / "one").exists()


def test_a_folder_of_other_things_is_neither_used_nor_deleted(tiny, tiny_data, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("precious")
    with pytest.raises(lab.LabError, match=r"it holds 'chapter.txt'; name another run"):
        lab.fit(tiny, data=tiny_data, run=tmp_path / "thesis", progress=False)
    with pytest.raises(lab.LabError, match="no such folder"):
        lab.fit(dataclasses.replace(tiny, encoder="./nope"), data=tiny_data, run=tmp_path / "new", progress=False)
    assert [f.name for f in sorted(tmp_path.rglob("*"))] == ["thesis", "chapter.txt"]


def test_the_record_says_what_the_run_was_made_from(tiny, tiny_data):
    run, _ = trained(tiny, tiny_data, run="one")
    config = run.config
    assert lab.Experiment.from_json(json.dumps(config["experiment"])) == tiny
    assert config["data"]["fingerprint"] == lab.load_data(tiny_data).fingerprint
    assert config["data"]["sizes"]["sst train"] == {"rows": 64, "used": 64, "left out": 0}
    assert config["threads"] == torch.get_num_threads() and config["schema"] == lab.runs.schema.SCHEMA
    assert config["versions"]["torch"] == torch.__version__  # and not what the package's metadata say
    assert not [f for f in run.folder.rglob("*") if f.suffix in (".pt", ".pkl", ".bin", ".pth")]


PRECIOUS = ("checkpoints/00000004/mine.txt", "encoder/notes.txt", "metrics.jsonl", "metrics.csv", "status.json",
            "experiment.txt", ".lock.txt")


@pytest.mark.parametrize("name", PRECIOUS)
@pytest.mark.parametrize("valid", [True, False])
def test_a_start_in_a_folder_of_the_users_leaves_it_as_it_was(name, valid, tiny, tiny_data, tmp_path):
    """Names that look like a run's do not make it one, whether the experiment is valid or not."""
    file = tmp_path / "mine" / name
    file.parent.mkdir(parents=True)
    file.write_text("precious")
    e = tiny if valid else dataclasses.replace(tiny, encoder="./nowhere")
    with pytest.raises(lab.LabError, match="is not the folder of a run: it holds"):
        fit(e, data=tiny_data, run=tmp_path / "mine", progress=False)
    assert [f for f in (tmp_path / "mine").rglob("*") if f.is_file()] == [file] and file.read_text() == "precious"


def test_a_failed_start_leaves_an_empty_folder_empty(tiny, tiny_data, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(lab.LabError, match="no such folder"):
        fit(dataclasses.replace(tiny, encoder="./nowhere"), data=tiny_data, run=tmp_path / "empty", progress=False)
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_killed_start_can_be_begun_again(tiny, tiny_data, tmp_path):
    code = ("import os, sys, lab, lab.runs.recorder as r\n"
            "r.save_description = lambda *a: os._exit(9)\n"
            "lab.fit(lab.Experiment.from_json(sys.argv[1]), data=sys.argv[2], run='one', progress=False)")
    done = subprocess.run([sys.executable, "-c", code, tiny.to_json(), tiny_data])
    assert done.returncode == 9 and (tmp_path / "runs" / "one" / "status.json").exists()
    assert trained(dataclasses.replace(tiny, epochs=1), tiny_data, run="one")[0].status["state"] == "done"


def test_rows_after_a_checkpoint_are_forgotten_and_a_shorter_file_is_an_error(tmp_path):
    run = Run(tmp_path / "one")
    writer = Writer(run, lambda: None)
    writer.append([{"step": 1}])
    saved = writer.sync()
    writer.append([{"step": 2}])
    check_rows(run, saved)
    writer.cut_rows(saved["metrics_bytes"])
    assert run.rows() == [{"step": 1}] and writer.sync() == saved
    with pytest.raises(lab.LabError, match="shorter than it was when it was saved"):
        check_rows(run, saved | {"metrics_bytes": saved["metrics_bytes"] + 1})
    (run.folder / "metrics.jsonl").write_bytes(b'{"step": 3}\n')
    with pytest.raises(lab.LabError, match=r"metrics\.jsonl has changed since it was saved"):
        check_rows(run, saved)
    writer.close()
    writer.close()
    assert not run.folder.exists()  # it never began


def test_an_entry_of_the_users_in_checkpoints_stays(tiny, tiny_data, monkeypatch):
    monkeypatch.setattr("lab.runs.recorder.CHECKPOINT_EVERY", 1)
    training = fit(tiny, data=tiny_data, run="one", progress=False)
    for name in ("my-epoch-1", "12", "0000000x", ".mine.part", "20240101"):
        (training.run.checkpoints / name).mkdir()
        (training.run.checkpoints / name / "notes.txt").write_text("precious")
    list(training)
    assert len(list(training.run.checkpoints.glob("*/notes.txt"))) == 5


def test_a_run_that_has_begun_is_never_taken_for_a_failed_start(tiny, tiny_data, tmp_path, monkeypatch):
    """Whatever becomes of experiment.json, and from whatever folder the process goes on."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b" / "runs" / "one").mkdir(parents=True)
    (tmp_path / "b" / "runs" / "one" / "metrics.jsonl").write_text("precious")
    monkeypatch.chdir(tmp_path / "a")
    training = fit(tiny, data=tiny_data, run="one", root="runs", progress=False)
    monkeypatch.chdir(tmp_path / "b")
    while next(training)["epoch"] < 1:
        pass
    (tmp_path / "a" / "runs" / "one" / "experiment.json").rename(tmp_path / "a" / "runs" / "one" / "mine.json")
    training.close()
    assert (tmp_path / "a" / "runs" / "one" / "checkpoints" / "00000004").is_dir()
    assert (tmp_path / "b" / "runs" / "one" / "metrics.jsonl").read_text() == "precious"


def test_a_start_that_fails_for_a_full_disk_can_be_tried_again(tiny, tiny_data, tmp_path, monkeypatch):
    def full(self, name, entries):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as context:
        context.setattr(Writer, "_replace", full)
        with pytest.raises(lab.LabError, match=r"run one: .*No space"):
            fit(tiny, data=tiny_data, run="one", progress=False)
    assert not (tmp_path / "runs" / "one").exists()
    training = fit(tiny, data=tiny_data, run="one", progress=False)
    next(training)
    monkeypatch.setattr(Writer, "_replace", full)
    training.close()  # the lock is free although the status cannot be written
    monkeypatch.undo()
    assert trained(tiny, tiny_data, root=tmp_path / "runs", run="one", resume=True)[0].status["state"] == "done"


@pytest.mark.parametrize("left", [[".lock"], [".lock", ".status.json.part"], [".lock", "status.json", "encoder"]])
def test_what_a_killed_start_leaves_does_not_block_the_next(left, tiny, tiny_data, tmp_path):
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    for name in left:
        (folder / name).write_text('{"state": "starting"}' if name == "status.json" else "")
    (folder / "encoder").unlink(missing_ok=True)
    e = dataclasses.replace(tiny, epochs=1, iterations=1)
    assert trained(e, tiny_data, run="one")[0].status["state"] == "done"


def test_a_file_is_not_the_folder_of_a_run(tiny, tiny_data, tmp_path):
    (tmp_path / "file").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link"):
        with pytest.raises(lab.LabError, match="is a file, not the folder of a run"):
            fit(tiny, data=tiny_data, run=tmp_path / name, progress=False)
    assert (tmp_path / "file").read_text() == "precious"


def test_a_training_may_be_closed_by_another_thread_than_its_maker(tiny, tiny_data):
    made = []
    thread = threading.Thread(target=lambda: made.append(fit(tiny, data=tiny_data, run="one", progress=False)))
    thread.start()
    thread.join()
    made.pop().close()
    training = fit(tiny, data=tiny_data, run="one", resume=True, progress=False)
    seen = []

    def again():
        try:
            fit(tiny, data=tiny_data, run="one", resume=True, progress=False)
        except lab.LabError as error:
            seen.append(str(error))

    step = training.recorder.parts.optimizer.step

    def with_a_second_fit():
        training.recorder.parts.optimizer.step = step
        thread = threading.Thread(target=again)
        thread.start()
        thread.join()
        step()

    training.recorder.parts.optimizer.step = with_a_second_fit  # in the middle of an iteration
    list(training)
    assert "is being trained by another thread of this process" in seen[0]
    assert training.run.status["state"] == "done"


def test_what_is_open_when_python_ends_is_stopped(tiny, tiny_data):
    code = ("import sys, lab\n"
            "t = lab.fit(lab.Experiment.from_json(sys.argv[1]), data=sys.argv[2], run='one', progress=False)\n"
            "rows = (row for row in t)\nnext(rows)")
    done = subprocess.run([sys.executable, "-c", code, tiny.to_json(), tiny_data], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr
    assert Run.open("one").status["state"] == "stopped"


def test_an_interrupt_when_experiment_json_is_there_keeps_the_run(tiny, tiny_data, monkeypatch):
    write = Writer.write_config

    def interrupted(self, entries):
        write(self, entries)
        self.begun = False  # as if the interrupt came before the next statement
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(Writer, "write_config", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fit(tiny, data=tiny_data, run="one", progress=False)
    run, _ = trained(tiny, tiny_data, run="one", resume=True)
    assert run.status["state"] == "done" and run.model()


def test_a_run_that_another_thread_makes_ready_is_not_taken_over(tiny, tiny_data, monkeypatch):
    seen, prepare = [], lab.batches.prepare

    def again():
        try:
            fit(tiny, data=tiny_data, run="one", progress=False)
        except lab.LabError as error:
            seen.append(str(error))

    def prepare_with_a_second_fit(*arguments, **options):
        thread = threading.Thread(target=again)
        thread.start()
        thread.join()
        return prepare(*arguments, **options)

    monkeypatch.setattr("lab.train.prepare", prepare_with_a_second_fit)
    training = fit(tiny, data=tiny_data, run="one", progress=False)
    list(training)
    assert len(seen) == 1 and "is being trained by another thread of this process" in seen[0]
    assert training.run.status["state"] == "done"


def test_a_forked_process_leaves_the_run_to_its_parent(tiny, tiny_data):
    training = fit(tiny, data=tiny_data, run="one", progress=False)
    next(training)
    child = os.fork()
    if child == 0:
        training.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert training.run.status["state"] == "running"
    list(training)
    assert training.run.status["state"] == "done"
