"""Runs survive what happens to them: kills, damage, second writers, readers in between."""

import dataclasses
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import stopped, trained

import lab
from lab.runs import checkpoints
from lab.runs.folder import Run, checked_name, list_runs
from lab.runs.records import load_runs
from lab.train import fit


def repeatable(rows):
    return [{k: v for k, v in r.items() if k != "seconds"} for r in rows
            if r["metric"] not in ("tokens_per_second", "peak_memory_mb")]


def weights(run, step):
    return {k: v for k, v in checkpoints.load(run.checkpoints, step)[0].items() if k.startswith("model/")}


def same_checkpoint(run, other, step):
    ours, theirs = weights(run, step), weights(other, step)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


@pytest.mark.parametrize("seed", ["1", "2"])  # twice ten, on a core each
def test_twenty_kills_at_any_moment_leave_no_trace(seed, tiny_data, tiny_encoder, tmp_path):
    (tmp_path / "store").mkdir()
    script = Path(__file__).parents[1] / "kill_and_resume.py"
    done = subprocess.run([sys.executable, script, tiny_data, tiny_encoder, tmp_path / "store", "10", seed],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    kills = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(kills) == 10 and sum(kill["in save"] for kill in kills) == 3
    assert all(kill["killed"] == -9 and kill["resumed"] == 0 and kill["same"] for kill in kills), kills


def test_a_run_stopped_by_its_caller_goes_on_to_the_same_end(tiny, tiny_data):
    whole, rows = trained(tiny, tiny_data, run="whole")
    halves = stopped(tiny, tiny_data, "halves", after_epoch=2)
    assert halves.run.status["state"] == "stopped"
    run, rest = trained(tiny, tiny_data, run="halves", resume=True)
    assert {row["epoch"] for row in repeatable(rest)} >= {3} and 1 not in {row["epoch"] for row in rest[:-20]}
    assert repeatable(run.rows()) == repeatable(rows) == repeatable(whole.rows())
    assert same_checkpoint(run, whole, 12)


def test_resuming_a_finished_run_changes_nothing(tiny, tiny_data):
    run, _ = trained(tiny, tiny_data, run="one")
    before = {f: f.read_bytes() for f in run.folder.rglob("*") if f.is_file() and f.name != ".lock"}
    training = fit(tiny, data=tiny_data, run="one", resume=True, progress=False)
    assert training.finished and list(training) == []
    assert {f: f.read_bytes() for f in run.folder.rglob("*") if f.is_file() and f.name != ".lock"} == before


def test_resume_needs_the_same_experiment_and_data(tiny, tiny_data, tmp_path):
    trained(tiny, tiny_data, run="one")
    with pytest.raises(lab.LabError, match="another lr"):
        fit(dataclasses.replace(tiny, lr=2e-3), data=tiny_data, run="one", resume=True)
    other = tmp_path / "other"
    other.mkdir()
    for file in tiny_data.iterdir():
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        (other / file.name).write_text("".join(lines[:-1]), encoding="utf-8")
    with pytest.raises(lab.LabError, match="other data"):
        fit(tiny, data=other, run="one", resume=True)
    with pytest.raises(lab.LabError, match="there is a run one already; --resume"):
        fit(tiny, data=tiny_data, run="one")


@pytest.mark.parametrize("damage", ["truncate", "flip", "state", "gone", "no state", "no training"])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(tiny, tiny_data, damage):
    whole, _ = trained(tiny, tiny_data, run="whole")
    training = stopped(tiny, tiny_data, "hurt", after_epoch=2)
    newest = training.run.checkpoints / "00000008"
    file = newest / {"state": "state.json", "flip": "training.safetensors"}.get(damage, "model.safetensors")
    lost = {"gone": file, "no state": newest / "state.json", "no training": newest / "training.safetensors"}
    if damage in lost:
        lost[damage].unlink()
    else:
        content = bytearray(file.read_bytes())
        content[-3] ^= 1
        file.write_bytes(content if damage == "flip" else content[: len(content) // 2])
    with pytest.warns(UserWarning, match="going back to the checkpoint before it"):
        resumed = fit(tiny, data=tiny_data, run="hurt", resume=True, progress=False)
    assert resumed.state["step"] == 4
    list(resumed)
    assert repeatable(resumed.run.rows()) == repeatable(whole.rows())
    assert same_checkpoint(resumed.run, whole, 12)


def test_a_second_writer_is_refused(tiny, tiny_data):
    training = fit(tiny, data=tiny_data, run="one", progress=False)
    next(training)
    code = ("import sys, lab; from lab.train import fit\n"
            "try: fit(lab.Experiment.from_json(sys.argv[1]), data=sys.argv[2], run='one', resume=True)\n"
            "except lab.LabError as error: print(error)")
    other = subprocess.run([sys.executable, "-c", code, tiny.to_json(), tiny_data], capture_output=True, text=True)
    assert "being trained already" in other.stdout
    list(training)  # and the first is not disturbed
    assert training.run.status["state"] == "done"


@pytest.mark.parametrize("name", ["../x", "a/../../x", "", ".", "..", ".hidden", "a b", "x\0", "a" * 101,
                                  "x\n", "con:1"])
def test_a_name_cannot_leave_the_store(name, tiny, tiny_data):
    with pytest.raises(lab.LabError):
        checked_name(name)
    with pytest.raises(lab.LabError):
        fit(tiny, data=tiny_data, run=name)
    with pytest.raises(lab.LabError):
        Run.open(name)


def test_names_are_made_and_numbered(tiny, tiny_data):
    first, _ = trained(dataclasses.replace(tiny, epochs=1), tiny_data)
    second, _ = trained(dataclasses.replace(tiny, epochs=1), tiny_data)
    other, _ = trained(dataclasses.replace(tiny, epochs=1, lr=1e-4), tiny_data)
    assert second.name == f"{first.name}-2" and other.name.rsplit("-", 1)[0] == first.name.rsplit("-", 1)[0]
    assert "tiny" in first.name and "s11711" in first.name


def test_a_record_from_before_a_setting_existed_is_the_same_run(tiny, tiny_data):
    half = stopped(tiny, tiny_data, None)
    file = half.run.folder / "experiment.json"
    config = json.loads(file.read_text())
    for setting in ("smart", "pair"):  # at their defaults, and so not in the run's name either
        del config["experiment"][setting]
    file.write_text(json.dumps(config))
    run, _ = trained(tiny, tiny_data, resume=True)
    assert run.name == half.run.name and run.status["state"] == "done"


def test_a_failed_start_leaves_nothing(tiny, tiny_data, tmp_path):
    with pytest.raises(lab.LabError, match="no such folder"):
        fit(dataclasses.replace(tiny, encoder="./nowhere"), data=tiny_data, run="one", root=tmp_path)
    assert not (tmp_path / "one").exists()


def test_a_loss_that_turns_nan_stops_and_keeps_the_last_good_weights(tiny, tiny_data):
    training = fit(dataclasses.replace(tiny, iterations=3), data=tiny_data, run="nan", progress=False)
    with pytest.raises(lab.LabError, match=r"NaN or infinite .* last good weights \(iteration 3\)"):
        for row in training:
            if row["split"] == "dev" and row["epoch"] == 1:
                training.model.heads["sts"].linear.weight.data[0, 0] = math.nan
    assert all(math.isfinite(row["value"]) for row in training.run.rows() if row["value"] is not None)
    assert training.run.status["state"] == "failed" and "NaN" in training.run.status["why"]
    assert all(t.isfinite().all() for t in weights(training.run, 3).values())
    model, _ = training.run.model()
    assert all(p.isfinite().all() for p in model.parameters())


def test_weights_that_turn_nan_in_an_epochs_last_step_are_not_saved(tiny, tiny_data, monkeypatch):
    training = fit(tiny, data=tiny_data, progress=False)
    step = training.optimizer.step

    def poisoned():
        step()
        if training.state["step"] == 8:
            training.model.heads["sts"].linear.weight.data[0, 0] = math.nan

    monkeypatch.setattr(training.optimizer, "step", poisoned)
    with pytest.raises(lab.LabError, match=r"last good weights \(iteration 4\)"):
        list(training)
    assert checkpoints.steps(training.run.checkpoints)[-1] == 4
    assert all(t.isfinite().all() for t in weights(training.run, 4).values())


def test_a_run_without_a_readable_checkpoint_is_not_begun_anew_over_its_records(tiny, tiny_data):
    training = stopped(tiny, tiny_data, "one", after_epoch=2)
    rows = training.run.rows()
    for state in training.run.checkpoints.glob("*/state.json"):
        state.unlink()
    with pytest.warns(UserWarning), pytest.raises(lab.LabError, match="no checkpoint that can be read"):
        fit(tiny, data=tiny_data, run="one", resume=True)
    assert training.run.rows() == rows


def test_a_run_does_not_change_its_device(tiny, tiny_data):
    training = fit(tiny, data=tiny_data, run="one", progress=False)
    training.close()
    config = json.loads((training.run.folder / "experiment.json").read_text())
    (training.run.folder / "experiment.json").write_text(json.dumps(config | {"device": "cuda"}))
    with pytest.raises(lab.LabError, match="begun on cuda"):
        fit(tiny, data=tiny_data, run="one", resume=True)


def test_a_run_goes_on_without_the_encoder_it_began_with(tiny, tiny_data, tiny_encoder, tmp_path):
    shutil.copytree(tiny_encoder, tmp_path / "encoder")
    experiment = dataclasses.replace(tiny, encoder=str(tmp_path / "encoder"))
    stopped(experiment, tiny_data, "one")
    shutil.rmtree(tmp_path / "encoder")
    run, _ = trained(experiment, tiny_data, run="one", resume=True)
    assert run.status["state"] == "done"


def test_a_reader_never_sees_half_a_row(tiny, tiny_data):
    run, rows = trained(tiny, tiny_data, run="one")
    with open(run.folder / "metrics.jsonl", "ab") as file:
        file.write(b'{"step": 99, "epo')
    assert run.rows() == rows
    with open(run.folder / "metrics.jsonl", "ab") as file:
        file.write(b'\nnot json\n[1]\n\xff\xfe\n')
    assert run.rows() == rows


def test_load_runs_is_long_form_and_passes_over_what_is_broken(tiny, tiny_data, tmp_path):
    _, rows = trained(tiny, tiny_data, run="one", root=tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "experiment.json").write_text("{")
    with pytest.warns(UserWarning, match="broken"):
        frame = load_runs(tmp_path)
    assert len(frame) == len(rows) and set(frame["run"]) == {"one"}
    assert {"name", "seed", "protocol", "encoder", "settings", "data", "step", "epoch", "split", "task", "metric",
            "value", "seconds"} <= set(frame.columns)
    assert frame["started"].str.match(r"20\d\d-\d\d-\d\dT").all()
    assert load_runs(tmp_path / "nowhere").empty and list_runs(tmp_path / "nowhere") == []


def test_a_record_from_before_pair_stands_with_later_ones(tiny, tiny_data):
    run, _ = trained(dataclasses.replace(tiny, epochs=1, iterations=1), tiny_data, run="new")
    old = Run(shutil.copytree(run.folder, run.folder.with_name("old")))
    config = run.config
    del config["experiment"]["pair"]
    (old.folder / "experiment.json").write_text(json.dumps(config))
    assert load_runs()["settings"].nunique() == 1 and old.model()[0].pair == "siamese"


def test_the_record_says_what_the_run_was_made_from(tiny, tiny_data):
    run, _ = trained(tiny, tiny_data, run="one")
    config = run.config
    assert lab.Experiment.from_json(json.dumps(config["experiment"])) == tiny
    assert config["data"]["fingerprint"] == lab.load_data(tiny_data).fingerprint
    assert config["data"]["sizes"]["sst train"] == {"rows": 64, "used": 64, "left out": 0}
    assert config["threads"] == torch.get_num_threads() and config["versions"]["torch"] == torch.__version__
    assert not [f for f in run.folder.rglob("*") if f.suffix in (".pt", ".pkl", ".bin", ".pth")]


def test_checkpoints_kept_are_the_newest_two_and_the_best(tiny, tiny_data, monkeypatch):
    monkeypatch.setattr("lab.runs.recorder.CHECKPOINT_EVERY", 1)
    training = fit(dataclasses.replace(tiny, epochs=2), data=tiny_data, progress=False)
    for row in training:
        if row["epoch"] == 2 and row["split"] == "dev":
            break
    kept = checkpoints.steps(training.run.checkpoints)
    assert kept == sorted({7, 8, training.state["best"]["step"]})
    list(training)
    assert set(checkpoints.steps(training.run.checkpoints)) == {8, training.state["best"]["step"]}
    assert not list(training.run.checkpoints.rglob("training.safetensors"))  # what only training needs is dropped


def test_a_checkpoint_of_another_shape_is_named(tiny, tiny_data, tiny_encoder):
    run, _ = trained(tiny, tiny_data, run="one")
    config = json.loads((run.folder / "encoder" / "config.json").read_text())
    (run.folder / "encoder" / "config.json").write_text(json.dumps(config | {"intermediate_size": 48}))
    with pytest.raises(lab.LabError, match=r"checkpoint of another shape: bert\.layers\.0\.down\.weight"):
        run.model()


def test_a_folder_of_other_things_is_neither_used_nor_deleted(tiny, tiny_data, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("precious")
    with pytest.raises(lab.LabError, match=r"it holds 'chapter.txt'; name another run"):
        lab.fit(tiny, data=tiny_data, run=tmp_path / "thesis", progress=False)
    with pytest.raises(lab.LabError, match="no such folder"):
        lab.fit(dataclasses.replace(tiny, encoder="./nope"), data=tiny_data, run=tmp_path / "new", progress=False)
    assert [f.name for f in sorted(tmp_path.rglob("*"))] == ["thesis", "chapter.txt"]
