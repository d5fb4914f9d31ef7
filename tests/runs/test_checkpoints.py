"""Checkpoints: there whole or not at all, checked when read, and as few as are needed."""

import dataclasses
import json

import pytest
from helpers import first_quick, repeatable, stopped, trained, weights_at

import lab
from lab.runs import checkpoints
from lab.train import fit


@pytest.mark.parametrize("damage", first_quick("flip", "truncate", "state", "gone", "no state", "no training"))
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
    assert resumed.step == 4
    list(resumed)
    assert repeatable(resumed.run.rows()) == repeatable(whole.rows())
    assert checkpoints.steps(resumed.run.checkpoints)[-1] == 12
    ours, theirs = weights_at(resumed.run, 12), weights_at(whole, 12)
    assert all(ours[k].equal(theirs[k]) for k in theirs)


def test_checkpoints_kept_are_the_newest_two_and_the_best(tiny, tiny_data, monkeypatch):
    monkeypatch.setattr("lab.runs.recorder.CHECKPOINT_EVERY", 1)
    training = fit(dataclasses.replace(tiny, epochs=2), data=tiny_data, progress=False)
    for row in training:
        if row["epoch"] == 2 and row["split"] == "dev":
            break
    kept = checkpoints.steps(training.run.checkpoints)
    assert kept == sorted({7, 8, training.recorder.state["best"]["step"]})
    list(training)
    assert set(checkpoints.steps(training.run.checkpoints)) == {8, training.recorder.state["best"]["step"]}
    assert not list(training.run.checkpoints.rglob("training.safetensors"))  # what only training needs is dropped


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
    del state["scoring"]
    file.write_text(json.dumps(state))
    with pytest.raises(lab.LabError, match=r"another version of the lab \(its checkpoint has no 'scoring'\)"):
        fit(tiny, data=tiny_data, run="one", resume=True, progress=False)
