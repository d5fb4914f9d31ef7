"""A fork changes one thing and nothing else: the future that is as it was has the bits of the run itself."""

import dataclasses

import pytest
from helpers import same_weights, stopped, trained, weights_at

import lab
from lab.data import checkout
from lab.runs import checkpoints
from lab.runs.folder import Run, list_runs


@pytest.fixture
def parent(tiny, tiny_data):
    """A finished run of three epochs of four iterations, sampled and with dropout."""
    return trained(dataclasses.replace(tiny, updates=("sum",)), tiny_data, run="parent")[0]


@pytest.mark.parametrize("step", [8, 5, 0])
def test_the_unchanged_future_is_the_run_itself(step, parent, tiny_data):
    """From a checkpoint, from a step after one, and from the beginning, of which no checkpoint is left."""
    whole = weights_at(parent, 12)
    fork = lab.fork(parent, step, iterations=12 - step, every=2, data=tiny_data, progress=False, updates=("pcgrad",))
    same, other = (weights_at(Run(folder), 12) for folder in fork.folders)
    assert all(whole[key].equal(same[key]) for key in whole)
    assert not all(whole[key].equal(other[key]) for key in whole)
    assert parent.status["state"] == "done" and [run.name for run in list_runs()] == ["parent"]  # no table has forks


def test_both_futures_draw_the_same_batches_and_noise(parent, tiny_data):
    """A change without an effect (a weight of 1) has none: every loss and every answer is the same."""
    fork = lab.fork(parent, 8, iterations=4, every=1, data=tiny_data, progress=False, task_weights=(1, 1, 1))
    losses = fork.rows[(fork.rows["split"] == "batch") & (fork.rows["metric"] == "loss")]
    wide = losses.pivot_table(index=["step", "task"], columns="arm", values="value")
    assert len(wide) == 12 and (wide["as it was"] == wide["changed"]).all()
    assert (fork.answers["as it was"] == fork.answers["changed"]).all() and fork.flips("sst").empty
    assert (fork.effect()["difference"] == 0).all()


def test_pairs_of_steps_and_seeds_give_an_interval(parent, tiny_data):
    fork = lab.fork(parent, steps=[4, 8], seeds=2, iterations=2, every=1, data=tiny_data, progress=False, lr=1e-2)
    effect = fork.effect().set_index("task")
    assert list(effect.index) == ["sst", "qqp", "sts", "all"] and set(effect["pairs"]) == {4}
    assert (effect["low"] <= effect["difference"]).all() and (effect["high"] >= effect["difference"]).all()
    starts = {(Run(f).config["parent"]["step"], Run(f).config["experiment"]["seed"]) for f in fork.folders}
    assert len(fork.folders) == 8 and starts == {(4, 11711), (4, 11712), (8, 11711), (8, 11712)}
    losses = fork.rows[(fork.rows["metric"] == "loss") & (fork.rows["arm"] == "as it was") & (fork.rows["start"] == 4)]
    assert losses.groupby("seed")["value"].first().nunique() == 2  # a seed has batches of its own
    titles = [note.text for note in fork.figure().layout.annotations]
    assert "SST: dev" in titles and "QQP: difference" in titles and "STS: loss, training batches" in titles
    assert "early effect" in fork.as_text() and "4 pairs" in fork.as_text()


def test_a_flip_is_an_answer_that_only_one_of_the_two_has_right(parent, tiny_data):
    fork = lab.fork(parent, 8, iterations=4, data=tiny_data, progress=False, lr=0.05)
    of = fork.answers[fork.answers["task"] == "qqp"]
    right = of["as it was"] == of["label"], of["changed"] == of["label"]
    assert len(fork.flips("qqp")) == (right[0] != right[1]).sum()
    row = fork.effect().set_index("task").loc["qqp"]
    assert row["flipped"] == len(fork.flips("qqp")) and row["better"] == (right[1] & ~right[0]).sum()
    assert row["difference"] == pytest.approx(right[1].mean() - right[0].mean())


def test_smart_can_be_switched_on_from_a_step(parent, tiny_data):
    fork = lab.fork(parent, 8, iterations=2, every=1, data=tiny_data, progress=False, smart=lab.Smart())
    assert set(fork.rows.loc[fork.rows["metric"] == "penalty", "arm"]) == {"changed"}


def test_a_changed_head_starts_afresh_and_all_else_goes_on(parent, tiny_data):
    """From step 8: the encoder, the other heads and their moments are those of the run; the new head has none."""
    fork = lab.fork(parent, 8, iterations=2, every=1, data=tiny_data, progress=False, sts_head="cosine")
    assert "the head of STS starts afresh there" in fork.as_text()
    same, other = (checkpoints.load(Run(folder).checkpoints, 10)[0] for folder in fork.folders)
    of_sts = [{key for key in side if key.startswith("model/heads.sts")} for side in (same, other)]
    assert of_sts[0] and of_sts[1] and of_sts[0] != of_sts[1]
    steps = [fork.rows[(fork.rows["arm"] == arm) & (fork.rows["split"] == "dev") & (fork.rows["step"] == 8)]
             .set_index("task")["value"] for arm in ("as it was", "changed")]
    assert steps[0]["sst"] == steps[1]["sst"] and steps[0]["qqp"] == steps[1]["qqp"]
    assert steps[0]["sts"] != steps[1]["sts"]


def test_pooling_changes_without_a_new_head(parent, tiny_data):
    fork = lab.fork(parent, 8, iterations=2, every=1, data=tiny_data, progress=False, pooling="mean")
    assert "afresh" not in fork.as_text() and (fork.effect()["pairs"] == 1).all()


@pytest.mark.parametrize(("options", "why"), [
    ({"step": 8}, "nothing is changed"), ({"step": 8, "updates": ("sum",)}, "nothing is changed"),
    ({"step": 8, "batch_size": 4}, "batch_size cannot change in mid-training"),
    ({"step": 8, "polling": "mean"}, "field 'polling' is not known; did you mean 'pooling'"),
    ({"step": 8, "smart": lab.Smart(bregman=1.0)}, "smart.bregman cannot begin in mid-training"),
    ({"step": 99, "lr": 1.0, "iterations": 50}, "the run has 12 iterations in all"),
    ({"step": 11, "lr": 1.0, "iterations": 2}, "take a step from 0 to 10"), ({"lr": 1.0}, "name a step"),
])
def test_what_cannot_be_forked_is_said_in_one_line(options, why, parent, tiny_data):
    with pytest.raises(lab.LabError, match=f"^[^\n]*{why}"):
        lab.fork(parent, data=tiny_data, progress=False, **{"iterations": 2} | options)


def test_other_data_are_refused_before_anything_is_trained(parent):
    with pytest.raises(lab.LabError, match=r"^[^\n]*was made with other data"):
        lab.fork(parent, step=0, data=checkout() / "data" / "sample", progress=False, iterations=2, lr=1.0)


def test_an_unfinished_run_can_be_forked_and_goes_on_as_before(tiny, tiny_data):
    whole, _ = trained(tiny, tiny_data, run="whole")
    run = stopped(tiny, tiny_data, "half").run
    lab.fork(run, 4, iterations=2, data=tiny_data, progress=False, updates=("pcgrad",))
    resumed, _ = trained(tiny, tiny_data, run="half", resume=True)
    assert same_weights(whole.model("last")[0], resumed.model("last")[0])
    assert checkpoints.steps(run.checkpoints)[-1] == 12
