"""What lines and runs are called."""

import json
from dataclasses import replace

import pandas as pd
import pytest
from helpers import records

import lab
from lab.runs.labels import as_options, changes, line_labels, run_labels


def test_labels_name_the_settings_that_differ():
    about = [("gse", {"lr": 1, "smart": None}, "SST"), ("gse", {"lr": 2}, "SST"), ("baseline", {"lr": 3}, "SST"),
             ("gse", {"lr": 1, "smart": None}, "SST")]
    frame = pd.DataFrame([{"name": name, "settings": json.dumps(s), "data": data} for name, s, data in about],
                         index=[5, 5, 0, 1])
    names = ["gse (lr=1)", "gse (lr=2)", "baseline", "gse (lr=1)"]
    assert line_labels(frame) == names == line_labels(frame.astype("category")) and line_labels(frame[:0]) == []
    assert line_labels(frame.iloc[[0, 2]]) == ["gse", "baseline"]
    frame["data"] = ["SST", "SST", "SST", "sample"]
    assert line_labels(frame)[3] == "gse (data=sample, lr=1)"


def settings(experiment):
    """As a frame of `load_runs` has them."""
    return json.dumps({key: value for key, value in json.loads(experiment.to_json()).items()
                       if key not in ("seed", "device", "samples", "eval_train")})


def laptop(recipe, *changed):
    return lab.PROTOCOLS["laptop"](lab.RECIPES[recipe]).with_settings(changed)


@pytest.mark.parametrize("changed", [
    {"lr": "0.001"}, {"updates": "pcgrad,sum", "smart.weight": "1"}, {"encoder": "bert-base-uncased"},
    {"task_weights": "1,0.5,1"}, {"scale": "0.5"}, {}])
def test_what_a_person_set_is_what_was_changed(changed):
    scale = changed.get("scale")
    recipe = replace(lab.RECIPES["multitask"], scale=float(scale) if scale else None)
    made = lab.PROTOCOLS["laptop"](recipe).with_settings(f"{key}={value}" for key, value in changed.items())
    assert dict(changes(settings(made))) == changed


def test_options_name_the_folder_of_an_encoder_without_the_mark_of_its_weights():
    made = settings(laptop("multitask", "encoder=/my/encoder@1a2b3c", "lr=1e-3"))
    assert sorted(as_options(made)) == ["encoder=/my/encoder", "lr=0.001"]


def test_smart_is_told_by_the_constants_that_differ_and_scoring_is_no_change():
    assert dict(changes(settings(laptop("smart", "smart.sigma=0.1")))) == {"smart.sigma": "0.1"}
    assert dict(changes(settings(laptop("smart", "smart=none")))) == {"smart": "none"}
    assert changes(settings(laptop("gse", "eval_rows=50", "end_qqp=60", "eval_qqp=7", "samples=0", "seed=3"))) == ()
    assert changes(settings(lab.Experiment(name="mine", lr=1))) == () == changes("[") == changes("{}")


def test_a_change_stands_in_the_label_whatever_else_is_there():
    changed, plain = (pd.DataFrame([{"name": "multitask", "data": "SST", "settings": settings(laptop(*of))}])
                      for of in (("multitask", "lr=1e-3"), ("multitask",)))
    assert line_labels(changed) == ["multitask (lr=0.001)"]
    assert line_labels(pd.concat([plain, changed])) == ["multitask", "multitask (lr=0.001)"]
    other = plain.assign(data="other")
    assert line_labels(pd.concat([plain, other])) == ["multitask (data=SST)", "multitask (data=other)"]
    smoke = other.assign(settings=settings(lab.PROTOCOLS["smoke"](lab.RECIPES["multitask"])))
    assert line_labels(pd.concat([plain, smoke])) == ["multitask (protocol=laptop)", "multitask (protocol=smoke)"]
    assert line_labels(pd.concat([plain, other, smoke])) == [
        "multitask (data=SST, protocol=laptop)", "multitask (data=other, protocol=laptop)",
        "multitask (data=other, protocol=smoke)"]


def test_a_label_of_ones_own_is_that_of_the_line_once_all_its_runs_have_it():
    both = pd.concat([records(seed=seed) for seed in (1, 2)])
    assert set(line_labels(both.assign(called="mine"))) == {"mine"}
    assert set(line_labels(both.assign(called=["mine" if seed == 1 else "" for seed in both["seed"]]))) == {"baseline"}
    two = pd.concat([records(), records("gse", lr=2)]).assign(called="x")
    assert set(line_labels(two)) == {"x (lr=none, name=baseline)", "x (lr=2, name=gse)"}
    assert lab.leaderboard(both.assign(called="mine"))["called"].tolist() == ["mine"]
    twins = pd.concat([records().assign(called="mine"), records(run="baseline-1-2").assign(called="")])
    assert lab.leaderboard(twins)["called"].tolist() == [""] and set(line_labels(twins)) == {"baseline"}


def test_a_run_is_called_by_ones_own_label_or_by_run_or_by_recipe_and_seed():
    runs = {"gse-laptop-s1-0a1b2c": "gse, seed 1", "shipped/gse-laptop-s1-0a1b2c": "gse, seed 1, shipped",
            "my-try": "my-try", "gse-laptop-sample-s7-0a1b2c-2": "gse, seed 7", "gse-laptop": "gse-laptop",
            "gse-laptop-s2-0a1b2c": "best so far"}
    about = pd.concat([records("gse", 7 if "s7" in run else 1, run=run)[:1] for run in runs])
    about = about.assign(called=["best so far" if run.endswith("s2-0a1b2c") else "" for run in about["run"]])
    assert run_labels(about) == runs
    twins = pd.concat([records("gse", run="gse-laptop-s1-000000", started="2026-11-23T10:00:00+0000")[:1],
                       records("gse", run="gse-laptop-s1-000000-2", started="2026-11-24T11:30:00+0000")[:1],
                       records("gse", run="gse-laptop-s1-000000-3", started="2026-11-24T11:30:00+0000")[:1]])
    assert list(run_labels(twins).values()) == [
        "gse, seed 1, 2026-11-23 10:00", "gse, seed 1, 2026-11-24 11:30, gse-laptop-s1-000000-2",
        "gse, seed 1, 2026-11-24 11:30, gse-laptop-s1-000000-3"]
