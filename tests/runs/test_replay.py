"""`lab verify`: the last stretch of a run, trained again, gives the same bits, and a run that was changed does not."""

import hashlib
import json
import sys

import pytest
import torch
from helpers import first_quick, stopped, trained
from safetensors.torch import load_file, save_file

from lab import cli
from lab.pretrain import Pretraining, pretrain_mlm
from lab.runs import checkpoints


@pytest.fixture
def verify(tiny_data, monkeypatch, capsys):
    """Call `lab verify RUN`: (exit code, what it printed)."""
    def call(run):
        monkeypatch.setattr(sys, "argv", ["lab", "verify", str(run.folder), "--data", str(tiny_data)])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code or 0
        said = capsys.readouterr()
        return code, said.out + said.err

    return call


def content(run):
    return {f: f.read_bytes() for f in run.folder.rglob("*") if f.is_file()}


def reseal(run, step, change):
    """Change a checkpoint's weights so that its digests fit all the same, as by another program."""
    here = run.checkpoints / f"{step:08d}"
    weights = load_file(here / "model.safetensors")
    change(weights)
    save_file(weights, here / "model.safetensors")
    state = json.loads((here / "state.json").read_text())
    del state["digest"]
    state["files"]["model"] = hashlib.sha256((here / "model.safetensors").read_bytes()).hexdigest()
    (here / "state.json").write_text(json.dumps(state | {"digest": checkpoints.digest_of(state)}))


def test_a_finished_run_is_trained_again_and_one_bit_is_found(tiny, tiny_data, verify):
    run, _ = trained(tiny, tiny_data, run="one")
    before = content(run)
    code, said = verify(run)
    assert code == 0 and "iterations 9 to 12, trained again, give the same bits" in said
    assert content(run) == before  # it is only read
    rows = run.folder / "metrics.jsonl"
    rows.write_bytes(before[rows][:-3] + bytes([before[rows][-3] ^ 1]) + b"}\n")  # a digit of the last scores
    code, said = verify(run)
    assert code == 2 and "metrics.jsonl has changed since it was saved" in said
    rows.write_bytes(before[rows])

    def one_bit(weights):
        weights["heads.sst.linear.bias"].view(torch.int32)[0] ^= 1

    reseal(run, 12, one_bit)
    code, said = verify(run)
    assert code == 1 and "differ in 1 of what was compared, first in model/heads.sst.linear.bias" in said


@pytest.mark.parametrize("every", first_quick(3, 4))
def test_a_stopped_run_is_trained_again_to_where_it_was_stopped(every, tiny, tiny_data, verify, monkeypatch):
    monkeypatch.setattr("lab.runs.recorder.CHECKPOINT_EVERY", every)
    training = stopped(tiny, tiny_data, "one", after_epoch=2)
    first, last = checkpoints.steps(training.run.checkpoints)[-2:]
    monkeypatch.setattr("lab.runs.recorder.CHECKPOINT_EVERY", 100)  # it need not be due again at that iteration
    code, said = verify(training.run)
    assert code == 0 and f"iterations {first + 1} to {last}, trained again, give the same bits" in said
    rows = training.run.folder / "metrics.jsonl"
    rows.write_text(rows.read_text().replace('"split": "dev"', '"split": "dew"'))
    code, said = verify(training.run)
    assert code == 2 and "metrics.jsonl has changed since it was saved" in said


def test_what_cannot_be_verified_is_said(tiny, tiny_data, verify):
    run, _ = trained(tiny, tiny_data, run="one")
    (run.checkpoints / "00000008" / "training.safetensors").unlink()  # as in a run of an earlier version
    code, said = verify(run)
    assert code == 2 and "holds weights alone" in said
    training = stopped(tiny, tiny_data, "two", after_epoch=0)
    code, said = verify(training.run)
    assert code == 2 and "has 1 checkpoint, and two are needed" in said


def test_a_pretraining_is_verified_too(tiny_data, tiny_encoder, verify):
    training = pretrain_mlm(Pretraining(encoder=str(tiny_encoder), scale=1.0, batch_size=16, device="cpu"),
                            data=tiny_data, progress=False)
    list(training)
    code, said = verify(training.run)
    assert code == 0 and "give the same bits" in said
