"""A run goes on only as the one that it is: with its settings, data and device, from a checkpoint that can be read."""

import dataclasses
import json

import pytest
import torch
from helpers import stopped, trained

import lab
from lab.train import fit


def test_resume_needs_the_same_experiment_and_data(tiny, tiny_data, tmp_path):
    trained(tiny, tiny_data, run="one")
    with pytest.raises(lab.LabError, match=r"other settings \(lr\)"):
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


def test_another_machine_is_said_where_it_matters(tiny, tiny_data, monkeypatch):
    tiny = dataclasses.replace(tiny, epochs=2, iterations=1)
    stopped(tiny, tiny_data, "one")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    monkeypatch.setattr(torch, "__version__", "2.99.0")
    said = r"begun with 1 threads, torch 2\S+ and is resumed with 7 threads, torch 2"
    with pytest.warns(UserWarning, match=said) as told:
        training = fit(tiny, data=tiny_data, run="one", resume=True, progress=False)
    assert told[0].filename == __file__  # it points at the call of `fit`
    list(training)
    fit(tiny, data=tiny_data, run="one", resume=True, progress=False)  # a finished one: a warning would be an error
