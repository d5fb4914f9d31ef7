"""Checkpoints: there whole or not at all, checked when read, and as few as are needed."""

import dataclasses
import json
import os
import re

import pytest
from helpers import first_quick, repeatable, stopped, trained, weights_at

import lab
from lab.runs import checkpoints
from lab.train import fit


@pytest.mark.parametrize("damage", first_quick("flip", "truncate", "state", "gone", "no state", "no training",
                                               "step", "no digest", "pipe", "rows", "short rows"))
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(tiny, tiny_data, damage):
    whole, _ = trained(tiny, tiny_data, run="whole")
    training = stopped(tiny, tiny_data, "hurt", after_epoch=2)
    newest = training.run.checkpoints / "00000008"
    file = newest / {"flip": "training.safetensors"}.get(damage, "model.safetensors")
    state, rows = newest / "state.json", training.run.folder / "metrics.jsonl"
    if damage in ("gone", "pipe"):
        file.unlink()
        if damage == "pipe":
            os.mkfifo(file)  # whoever opens it waits for ever
    elif damage == "no state":
        state.unlink()
    elif damage == "no training":
        (newest / "training.safetensors").unlink()
    elif damage == "no digest":
        state.write_text(re.sub(r', "digest": "\w+"', "", state.read_text()))
    elif damage == "step":  # one bit: iteration 0
        state.write_text(state.read_text().replace('"step": 8', '"step": 0', 1))
    elif damage == "rows":  # one bit, in what the checkpoint before does not cover
        content = bytearray(rows.read_bytes())
        content[json.loads(state.read_text())["metrics_bytes"] - 5] ^= 1
        rows.write_bytes(content)
    elif damage == "short rows":
        os.truncate(rows, json.loads(state.read_text())["metrics_bytes"] - 1)
    else:
        file = state if damage == "state" else file
        content = bytearray(file.read_bytes())
        content[-3] ^= 1
        file.write_bytes(content if damage == "flip" else content[: len(content) // 2])
    with pytest.warns(UserWarning, match="going back to the checkpoint before it"):
        resumed = fit(tiny, data=tiny_data, run="hurt", resume=True, progress=False)
    assert resumed.step == 4
    list(resumed)
    assert repeatable(resumed.run.rows()) == repeatable(whole.rows())
    assert checkpoints.steps(resumed.run.checkpoints)[-1] == 12
    ours, theirs = weights_at(resumed.run, 12), weights_at(whole, 12)
    assert all(ours[k].equal(theirs[k]) for k in theirs)


def test_a_fall_back_to_before_the_best_was_beaten_goes_on_to_the_same_bits(tiny, tiny_data, monkeypatch):
    """The checkpoint of the earlier best is gone by then; the training finds the later one again."""
    monkeypatch.setattr("lab.runs.recorder.CHECKPOINT_EVERY", 3)
    best = iter([0.1, 0.2, 0.2, 0.15, 0.1, 0.2])  # of the epochs, and of the second and third once more
    real = lab.runs.scoring.scored

    def scores(model, rows, answers):
        found, predictions = real(model, rows, answers)
        if "all" in found and training.step and len(rows["sst"]) == 24:
            found["all"]["overall"] = next(best)
        return found, predictions

    training = fit(tiny, data=tiny_data, run="one", progress=False)
    monkeypatch.setattr("lab.runs.scoring.scored", scores)
    for row in training:
        if row["step"] == 8 and row["split"] == "dev" and row["task"] == "all":
            break
    training.close()
    assert checkpoints.steps(training.run.checkpoints) == [6, 8]
    (training.run.checkpoints / "00000008" / "model.safetensors").unlink()
    with pytest.warns(UserWarning, match="going back"):
        training = fit(tiny, data=tiny_data, run="one", resume=True, progress=False)
    assert training.step == 6
    while next(training)["step"] < 12:
        pass
    assert training.recorder.state["best"] == {"step": 8, "overall": 0.2}


def test_damage_to_the_best_weights_is_said_before_the_training_goes_on(tiny, tiny_data):
    training = stopped(tiny, tiny_data, "one", after_epoch=2)
    here = training.run.checkpoints
    state = json.loads((here / "00000008" / "state.json").read_text())
    del state["digest"]
    state["best"] = {"step": 4, "overall": 0.5}
    (here / "00000008" / "state.json").write_text(json.dumps(state | {"digest": checkpoints.digest_of(state)}))
    content = bytearray((here / "00000004" / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (here / "00000004" / "model.safetensors").write_bytes(content)
    with pytest.warns(UserWarning, match=r"00000004.*has changed"), pytest.raises(lab.LabError, match="no checkpoint"):
        fit(tiny, data=tiny_data, run="one", resume=True, progress=False)


def test_checkpoints_kept_are_the_newest_two_and_the_best(tiny, tiny_data, monkeypatch):
    monkeypatch.setattr("lab.runs.recorder.CHECKPOINT_EVERY", 1)
    training = fit(dataclasses.replace(tiny, epochs=2), data=tiny_data, progress=False)
    for row in training:
        if row["epoch"] == 2 and row["split"] == "dev":
            break
    kept = checkpoints.steps(training.run.checkpoints)
    assert kept == sorted({7, 8, training.recorder.state["best"]["step"]})
    list(training)
    assert set(checkpoints.steps(training.run.checkpoints)) == {7, 8, training.recorder.state["best"]["step"]}
    (kept,) = training.run.checkpoints.rglob("training.safetensors")  # the rest of what only training needs is dropped
    assert kept.parent.name == "00000007"


@pytest.mark.parametrize(("setting", "whole"), [("every epoch", [0, 4, 8]), (3, [0, 3, 6, 9]), ("last two", [8])])
def test_the_setting_says_which_checkpoints_stay_whole(setting, whole, tiny, tiny_data):
    """The last one has nothing after it to train, and the one before it is kept for `lab verify`."""
    usual, _ = trained(tiny, tiny_data, run="usual")
    run, _ = trained(dataclasses.replace(tiny, checkpoints=setting), tiny_data, run="kept")
    there = [step for step in checkpoints.steps(run.checkpoints)
             if (run.checkpoints / f"{step:08d}" / "training.safetensors").exists()]
    assert there == whole
    ours, theirs = weights_at(run, 12), weights_at(usual, 12)
    assert all(ours[name].equal(theirs[name]) for name in theirs)
    assert lab.load_runs()["settings"].nunique() == 1  # two runs of one experiment


@pytest.mark.parametrize("wrong", ["all", "0", "-3", 0, "1.5"])
def test_another_value_of_the_setting_is_named(wrong, tiny):
    with pytest.raises(lab.LabError, match="checkpoints must be 'last two', 'every epoch', or a number"):
        dataclasses.replace(tiny, checkpoints=wrong)


def test_a_checkpoint_of_another_shape_is_named(tiny, tiny_data, tiny_encoder):
    run, _ = trained(tiny, tiny_data, run="one")
    config = json.loads((run.folder / "encoder" / "config.json").read_text())
    (run.folder / "encoder" / "config.json").write_text(json.dumps(config | {"intermediate_size": 48}))
    with pytest.raises(lab.LabError, match=r"checkpoint of another shape: bert\.layers\.0\.down\.weight"):
        run.model()


def test_a_checkpoint_that_lacks_something_is_of_another_version(tiny, tiny_data):
    training = stopped(tiny, tiny_data, "one")
    file = training.run.checkpoints / "00000004" / "state.json"
    state = json.loads(file.read_text())
    del state["digest"]
    less = {key: value for key, value in state.items() if key != "scoring"}
    for other, why in ((less, "has no 'scoring'"), (state | {"nonsense": 1}, "has the unknown key 'nonsense'")):
        file.write_text(json.dumps(other | {"digest": checkpoints.digest_of(other)}))
        with pytest.raises(lab.LabError, match=rf"another version of the lab \(its checkpoint {why}\)"):
            fit(tiny, data=tiny_data, run="one", resume=True, progress=False)
