"""The thirteen rows: each means what PAPER.md's table says, trains, and goes on after a stop to the same bits."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import resumed, same_weights
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import lab
from lab.experiment import departs
from lab.smart import Smart
from lab.train import fit

GSE = ("pcgrad", "sum")
TABLE = {  # updates, STS head, pooling, SMART, iterations
    "baseline": (("separate",), "linear", "cls", False, 755),
    "multitask": (("sum",), "linear", "cls", False, 755),
    "gradient_surgery": (("pcgrad",), "linear", "cls", False, 755),
    "gse": (GSE, "linear", "cls", False, 755),
    "cosine_embedding": (GSE, "cosine_embedding", "cls", False, 755),
    "cosine_d": (GSE, "cosine_d", "cls", False, 755),
    "cosine_2d1": (GSE, "cosine_2d1", "cls", False, 755),
    "cosine_2d1_mean": (GSE, "cosine_2d1", "mean", False, 755),
    "smart": (("sum",), "linear", "cls", True, 755),
    "smart_gse": (GSE, "linear", "cls", True, 755),
    "gse_3x": (GSE, "linear", "cls", False, 2265),
    "cosine_2d1_3x": (GSE, "cosine_2d1", "cls", False, 2265),
    "smart_3x": (("sum",), "linear", "cls", True, 2265),
}


def test_the_recipes_are_the_thirteen_rows_in_order():
    rows = {name: (r.updates, r.sts_head, r.pooling, r.smart is not None, r.iterations)
            for name, r in lab.RECIPES.items()}
    assert rows == TABLE and list(rows) == list(TABLE)
    for name, recipe in lab.RECIPES.items():
        axes = ("updates", "smart", "sts_head", "pooling", "iterations")
        assert recipe == lab.Experiment(name=name, **{axis: getattr(recipe, axis) for axis in axes})
        assert recipe.smart in (None, Smart(5.0, 1e-3, 1e-5, 1e-5, 1, "library", True, None))
        assert lab.Experiment.from_json(recipe.to_json()) == recipe
        assert departs(lab.PROTOCOLS["laptop"](recipe)) == [] and not recipe.warmup


def test_departs_names_what_is_changed():
    recipe = lab.PROTOCOLS["laptop"](lab.RECIPES["smart"])
    changed = dataclasses.replace(recipe, pooling="mean", pair="cross", smart=Smart(weight=1), lr=1)
    assert departs(changed) == ["pooling", "pair", "smart"]


def tiny_version(recipe, tiny, **changes):
    return dataclasses.replace(recipe, encoder=tiny.encoder, lr=1e-3, device="cpu", eval_train=20, eval_rows=20,
                               **{"iterations": 2, "epochs": 2, **changes})


@pytest.mark.parametrize("part", [0, 1])  # half of them each, on a core each
def test_every_recipe_killed_after_two_iterations_goes_on_to_the_same_bits(part, tiny_data, tiny_encoder, tmp_path):
    names, script = list(TABLE)[part::2], Path(__file__).with_name("kill_and_resume.py")
    done = subprocess.run([sys.executable, script, tiny_data, tiny_encoder, tmp_path, ",".join(names)],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"recipe": name, "killed": -9, "left": [1, 2], "resumed": 0, "same": True} for name in names]


def test_smarts_penalty_and_noise_are_recorded(tiny, tiny_data):
    whole = fit(tiny_version(lab.RECIPES["smart_gse"], tiny, epochs=1), data=tiny_data, progress=False)
    found = {(row["metric"], row["task"]) for row in whole if row["split"] == "batch"}
    assert {("penalty", "sst"), ("penalty", "qqp"), ("penalty", "sts"), ("noise_norm", "all")} <= found


@pytest.mark.parametrize("smart", [None, Smart()])
@pytest.mark.parametrize("updates", [("sum",), GSE])
def test_cross_pairs_go_on_to_the_same_bits(updates, smart, tiny, tiny_data):
    experiment = tiny_version(lab.Experiment(name="cross", pair="cross", updates=updates, smart=smart), tiny)
    whole = fit(experiment, data=tiny_data, run="whole", progress=False)
    before = whole.model.bert.segment.weight.detach().clone()
    rows = list(whole)
    assert same_weights(whole.model, resumed(experiment, tiny_data).model)
    assert (whole.model.bert.segment.weight != before).any(1).all()  # both segments were there, and learnt
    assert {r["task"] for r in rows if r["metric"] == "penalty"} == ({"sst", "qqp", "sts"} if smart else set())


def test_bregman_holds_the_weights_back_and_goes_on_to_the_same_bits(tiny, tiny_data):
    moved = {}
    for mu in (None, 50.0):
        experiment = tiny_version(lab.RECIPES["multitask"], tiny, epochs=3, iterations=6,
                                  smart=Smart(weight=0, bregman=mu) if mu else None)
        whole = fit(experiment, data=tiny_data, progress=False)
        before = [p.detach().clone() for p in whole.model.parameters()]
        rows = list(whole)
        moved[mu] = sum((a - b).norm() ** 2 for a, b in zip(whole.model.parameters(), before, strict=True)) ** 0.5
    assert moved[50.0] < 0.95 * moved[None]
    assert [r for r in rows if r["metric"] == "bregman"] and not [r for r in rows if r["metric"] == "penalty"]
    assert same_weights(whole.model, resumed(experiment, tiny_data, after_epoch=2).model)


def test_without_dropout_and_noise_smart_adds_nothing(tiny, tiny_data):
    plain = tiny_version(lab.RECIPES["multitask"], tiny, dropout=0.0)
    nothing = dataclasses.replace(plain, smart=Smart(sigma=0, steps=0, dropout=False))
    ours, theirs = (fit(e, data=tiny_data, progress=False) for e in (plain, nothing))
    rows = [list(side) for side in (ours, theirs)][1]
    assert {r["value"] for r in rows if r["metric"] == "penalty"} == {0.0}
    for a, b in zip(ours.model.parameters(), theirs.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)  # two heads' own dropout draws differ


class Peak(TorchDispatchMode):
    """The most bytes of tensors alive at once, in the forward and the backward pass."""

    def __init__(self):
        super().__init__()
        self.alive, self.total, self.highest = {}, 0, 0

    def see(self, tensor):
        storage = tensor.untyped_storage()
        if storage._cdata not in self.alive or self.alive[storage._cdata][0].expired():
            self.alive[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
            self.total += storage.nbytes()
        if self.total > self.highest:  # perhaps; some of them may be gone by now
            self.alive = {key: entry for key, entry in self.alive.items() if not entry[0].expired()}
            self.total = sum(size for _, size in self.alive.values())
            self.highest = max(self.highest, self.total)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, torch.Tensor):
                self.see(value)
        return result


def peak_bytes(training):
    """Of the second iteration: weights, moments, gradients and graphs."""
    with training.randomness:
        training._iterate(training._draw())
        with Peak() as peak:
            for group in (training.model.parameters(), *(v.values() for v in training.optimizer.state.values())):
                for tensor in group:
                    if isinstance(tensor, torch.Tensor):
                        peak.see(tensor)
            training._iterate(training._draw())
    return peak.highest


def test_smart_gse_runs_in_bounded_memory(tiny_data, tmp_path):
    """The row that the paper could not run: at most 1.6 times the baseline's peak, in BERT-base's proportions."""
    from lab.encoders.formats import save_encoder
    from lab.encoders.sources import load_encoder

    tokenizer = load_encoder("minilm")[1]
    # BERT-base at a quarter of its width, and so a quarter of its rows: weights and graphs keep their proportion
    config = lab.BertConfig(hidden_size=192, num_hidden_layers=12, num_attention_heads=12, intermediate_size=768)
    save_encoder(lab.Bert(config), tmp_path / "encoder", tokenizer)
    peaks = {}
    for name in ("baseline", "smart_gse"):
        experiment = dataclasses.replace(lab.RECIPES[name], encoder=str(tmp_path / "encoder"), batch_size=2,
                                         device="cpu")
        peaks[name] = peak_bytes(fit(experiment, data=tiny_data, progress=False))
    assert peaks["smart_gse"] <= 1.6 * peaks["baseline"], peaks
