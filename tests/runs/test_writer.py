"""Writing a run: one process at a time, and nothing that no run has written is touched."""

import dataclasses
import json
import subprocess
import sys

import pytest
import torch
from helpers import trained

import lab
from lab.runs.folder import Run
from lab.runs.writer import Writer
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
    assert config["threads"] == torch.get_num_threads() and config["schema"] == 2
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
    size = writer.sync()
    writer.append([{"step": 2}])
    writer.cut_rows(size)
    assert run.rows() == [{"step": 1}]
    with pytest.raises(lab.LabError, match="shorter than when the checkpoint was written"):
        writer.cut_rows(size + 1)
    writer.close()
    writer.close()
    assert not run.folder.exists()  # it never began
