"""Samples say what is true of the model, twenty times an epoch, and leave no trace in the run."""

import dataclasses
import functools
import itertools

import numpy as np
import pytest
import torch
from helpers import batch_of, first_quick, inputs, repeatable, resumed, same_weights, trained, without_dropout

import lab
from lab.batches import pack
from lab.data import TASKS
from lab.runs.diagnostics import Window, is_sampled, penalty_parts, sample
from lab.train import draw, fit, losses


def told(rows, split):
    """(task, metric) -> value of the last row of a split."""
    return {(r["task"], r["metric"]): r["value"] for r in rows if r["split"] == split}


@pytest.mark.parametrize("settings", first_quick({"updates": ("sum",)}, {"updates": ("separate",)},
                                                 {"updates": ("pcgrad", "sum"), "smart": lab.Smart(bregman=1.0)}))
def test_a_run_is_the_same_whether_it_is_looked_at_or_not(tiny, tiny_data, settings):
    looked = dataclasses.replace(tiny, **settings)
    (one, rows), (two, plain) = (trained(dataclasses.replace(looked, samples=n), tiny_data) for n in (20, 0))
    assert same_weights(one.model("last")[0], two.model("last")[0])
    assert repeatable([r for r in rows if r["split"] != "sampled"]) == repeatable(plain)


@pytest.mark.parametrize("iterations", [755, 2265, 47, 21, 20, 12, 1])
def test_samples_are_twenty_an_epoch_and_lie_evenly(tiny, iterations):
    e = dataclasses.replace(tiny, iterations=iterations)
    for first in (1, iterations + 1):  # every epoch alike
        steps = [step for step in range(first, first + iterations) if is_sampled(e, step)]
        assert len(steps) == min(20, iterations)
        gaps = {b - a for a, b in itertools.pairwise([first - 1, *steps])}
        assert max(gaps) - min(gaps) <= 1 and steps[-1] == first + iterations - 1
    assert not any(is_sampled(dataclasses.replace(e, samples=0), step) for step in range(1, 50))


@pytest.mark.parametrize("updates", [("sum",), ("separate",), ("sum", "sum")])
def test_sampled_gradients_are_the_tasks_own_at_equal_weights(tiny, tiny_data, updates):
    e = dataclasses.replace(tiny, updates=updates, dropout=0.0, epochs=1, iterations=1)
    other = without_dropout(fit(e, data=tiny_data, run="other", progress=False))
    gradients = []
    for task, part in batch_of(other).items():
        other.model.zero_grad()
        other.model.losses(pack({task: part}))[task].backward()
        gradients.append(torch.cat([p.grad.reshape(-1) for p in other.model.bert.parameters() if p.grad is not None]))
    other.close()
    rows = told(list(without_dropout(fit(e, data=tiny_data, progress=False))), "sampled")
    for (i, a), (j, b) in itertools.combinations(enumerate(("sst", "qqp", "sts")), 2):
        cosine = float(torch.nn.functional.cosine_similarity(gradients[i], gradients[j], dim=0))
        assert rows[f"{a}-{b}", "cosine"] == pytest.approx(cosine, abs=1e-5)
        assert rows[f"{a}-{b}", "conflict"] == (cosine < 0)
    for i, task in enumerate(("sst", "qqp", "sts")):
        assert rows[task, "grad_norm"] == pytest.approx(float(gradients[i].norm()), rel=1e-4)


def test_the_sampled_norm_of_a_task_drawn_twice_is_that_of_its_own_loss(tiny, tiny_data):
    e = dataclasses.replace(tiny, updates=("sum",), sampling="proportional", dropout=0.0, epochs=1, iterations=1)
    for seed in range(20):
        other = without_dropout(fit(dataclasses.replace(e, seed=seed), data=tiny_data, progress=False))
        drawn = draw(other.recorder.settings, *inputs(other), dict.fromkeys(TASKS, 0), 1)
        task, part = max(drawn.items(), key=lambda item: len(item[1]))
        if len(part) == 16:
            break
    other.model.zero_grad()
    (2 * other.model.losses(pack({task: part}))[task]).backward()
    norm = torch.stack([p.grad.norm() for p in other.model.bert.parameters() if p.grad is not None]).norm()
    assert told(list(other), "sampled")[task, "grad_norm"] == pytest.approx(float(norm), rel=1e-4)


def test_a_recipe_with_task_gradients_samples_their_null_alone(tiny, tiny_data):
    null = {"cosine_within", "cosine_shuffled", "cosine_gap"}
    _, rows = trained(dataclasses.replace(tiny, updates=("pcgrad", "sum"), epochs=1), tiny_data)
    assert {metric for _, metric in told(rows, "sampled")} == null and ("sst-qqp", "cosine") in told(rows, "batch")
    _, rows = trained(dataclasses.replace(tiny, updates=("pcgrad",), smart=lab.Smart(), epochs=1), tiny_data)
    assert {metric for _, metric in told(rows, "sampled")} == null | {"penalty", "penalty_dropout", "penalty_noise"}


def test_labels_that_are_the_same_for_all_leave_no_gap(tiny, tiny_data):
    """Shuffled labels keep sentences, dropout and noise: what differs between the two cosines is the labels alone."""
    rows, all_rows, window = {}, {}, Window(torch.device("cpu"))
    e = dataclasses.replace(tiny, updates=("sum",), smart=lab.Smart(weight=0.1))
    training = fit(e, data=tiny_data, progress=False)
    for task, part in batch_of(training).items():
        rows[task] = dataclasses.replace(part, labels=np.ones(len(part), np.float32))
        all_rows[task] = rows[task]
    sample(e, 1, training.model, rows, all_rows, window, functools.partial(losses, e, training.model, None))
    training.close()
    found = {(task, metric): value for metric, task, value in window.means()}
    for pair in ("sst-qqp", "sst-sts", "qqp-sts"):
        assert found[pair, "cosine_gap"] == pytest.approx(0, abs=1e-5)
        assert found[pair, "cosine_shuffled"] == pytest.approx(found[pair, "cosine"], abs=1e-5) != 0
    assert all(-1 < found[task, "cosine_within"] < 1 for task in TASKS)


def test_tasks_in_known_conflict_are_found_and_tasks_without_one_are_not(tiny, tiny_data):
    """A task and itself with opposite labels conflict more than with shuffled labels; with its own, they agree more."""
    gaps = {}
    for name, flip in (("conflict", lambda y: 1 - y), ("agreement", lambda y: y)):
        training = fit(dataclasses.replace(tiny, updates=("sum",), dropout=0.0, smart=None), data=tiny_data,
                       run=name, progress=False)
        model, e = training.model, training.recorder.settings
        whole = inputs(training)[0]["qqp", "train"]
        order = np.argsort(whole.labels)
        part = whole.take(np.concatenate([order[:2], order[-6:]]))  # unlike the rest, whose labels are half and half
        model.heads["sts"] = model.heads["qqp"]  # one head, so that the labels alone decide
        rows = {"qqp": part, "sts": dataclasses.replace(part, task="sts", labels=flip(part.labels))}
        every = {"qqp": whole, "sts": dataclasses.replace(whole, task="sts", labels=flip(whole.labels))}
        window = Window(torch.device("cpu"))
        for step in range(8):
            sample(e, step, model, rows, every, window, functools.partial(losses, e, model, None))
        training.close()
        gaps[name] = {(task, metric): value for metric, task, value in window.means()}["qqp-sts", "cosine_gap"]
    assert gaps["conflict"] < -0.2 and gaps["agreement"] > 0.2, gaps



def test_the_penalty_is_split_into_dropout_and_noise(tiny, tiny_data):
    smart = lab.Smart()
    _, rows = trained(dataclasses.replace(tiny, updates=("sum",), smart=smart, epochs=1), tiny_data)
    parts = told(rows, "sampled")
    for task in ("sst", "qqp", "sts"):
        whole, noise, dropout = (parts[task, f"penalty{part}"] for part in ("", "_noise", "_dropout"))
        assert whole == pytest.approx(noise + dropout, rel=1e-4) and dropout > 0
    training = fit(dataclasses.replace(tiny, smart=smart), data=tiny_data, progress=False)
    batch = pack(batch_of(training))
    training.model.heads["sst"].linear.weight.data.normal_()  # far from a constant answer
    for of_task in penalty_parts(training.model, dataclasses.replace(smart, dropout=False), batch, 1).values():
        assert of_task[0] > 0 and of_task[1] == 0  # without dropout all of it is noise
    silent = dataclasses.replace(smart, sigma=0.0, step_size=0.0)
    for whole, of_dropout in penalty_parts(training.model, silent, batch, 1).values():
        assert whole == of_dropout > 0  # without noise all of it is dropout, under the same masks


def test_what_a_combiner_changed_by_hand():
    window = Window("cpu")
    G = torch.tensor([[4.0, -2.0], [-2.0, 4.0]], dtype=torch.float64)
    window.note_update(G, torch.tensor([0.5, 0.5], dtype=torch.float64))  # the mean itself
    assert dict(((m, t), v) for m, t, v in window.means()) == {
        ("update_cosine", "all"): pytest.approx(1), ("update_length", "all"): pytest.approx(1)}
    window = Window("cpu")
    window.note_update(G, torch.tensor([1.0, 0.0], dtype=torch.float64))
    # u = g_1, m = (g_1 + g_2) / 2:  |u| = 2,  |m| = sqrt(4 + 4 - 4) / 2 = 1,  u . m = (4 - 2) / 2 = 1
    assert dict(((m, t), v) for m, t, v in window.means()) == {
        ("update_cosine", "all"): pytest.approx(0.5), ("update_length", "all"): pytest.approx(2)}


@pytest.mark.slow
def test_an_open_window_goes_on_after_a_stop(tiny, tiny_data):
    e = dataclasses.replace(tiny, updates=("sum",), smart=lab.Smart())
    _, rows = trained(e, tiny_data)
    again = resumed(e, tiny_data)
    assert repeatable(again.run.rows()) == repeatable(rows)  # windows of 25 iterations, the stop after 4 of 12


def test_a_run_of_a_version_with_other_windows_is_refused_in_one_line(tiny, tiny_data, monkeypatch):
    training = fit(tiny, data=tiny_data, run="old", progress=False)
    training.close()
    monkeypatch.setattr(Window, "columns", [*Window.columns, ("new", "all")])
    with pytest.raises(lab.LabError, match="run old was begun with another version of the lab"):
        fit(tiny, data=tiny_data, run="old", resume=True, progress=False)


def test_gradients_of_zero_have_a_cosine():
    window = Window("cpu")
    window.note_conflicts(torch.zeros(3, 3, dtype=torch.float64), ["sst", "qqp", "sts"])
    assert window.not_finite() is None and {value for *_, value in window.means()} == {0.0}
