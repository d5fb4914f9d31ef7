"""Two runs side by side: predictions joined with labels, paired tests, the settings that differ."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers import records, trained, with_repeated_ids

import lab
from lab.evaluate import COURSE_FILES, pearson
from lab.results.comparison import (
    all_settings,
    as_text,
    beside,
    bootstrap_recipes,
    compare_recipes,
    compute_probabilities,
    differing,
    predictions,
    probabilities,
)
from lab.results.significance import compare, mcnemar, paired_bootstrap
from lab.runs import Run


@pytest.fixture
def made(tiny_data, tmp_path):
    """A function that makes a finished run with the predictions that it is given, {task: values}."""
    data = lab.load_data(tiny_data)

    def make(name, answers, fingerprint=data.fingerprint, turned=False, **settings):
        folder = tmp_path / "runs" / name
        written = folder / "predictions" / "last"
        written.mkdir(parents=True)
        experiment = {"name": name, "updates": ["sum"], "lr": 1e-4, "smart": None, **settings}
        (folder / "experiment.json").write_text(json.dumps(
            {"experiment": experiment, "data": {"fingerprint": fingerprint}, "started": "2026-11-23T10:00:00+0000"}))
        for task, values in answers.items():
            file, header = COURSE_FILES[task]
            examples = data.splits[task, "dev"].examples
            lines = [f"{e.id} , {value} \n" for e, value in zip(examples, values, strict=False)]
            lines = lines[::-1] if turned else lines
            (written / f"{file}-dev-output.csv").write_text(f"id \t {header} \n" + "".join(lines))
        return name

    make.data = data
    return make


def labels(made, task):
    return np.array([e.label for e in made.data.splits[task, "dev"].examples])


def answers(made, wrong, noise):
    """The labels, but the first `wrong` of sst and qqp; sts with noise."""
    found = {task: labels(made, task) for task in ("sst", "qqp", "sts")}
    found["sst"][:wrong] = (found["sst"][:wrong] + 1) % 5
    found["qqp"][:wrong] = 1 - found["qqp"][:wrong]
    found["sts"] = found["sts"] + noise * np.random.default_rng(0).normal(size=len(found["sts"]))
    return found


def test_the_tests_are_those_of_significance_on_examples_joined_by_id(made):
    good, bad = answers(made, 2, 0.1), answers(made, 12, 3)
    a, b = made("gse", good), made("baseline", bad, turned=True)
    found = lab.compare_runs(a, b, data=made.data).set_index(["task", "test"])
    assert len(found) == 5 and list(found["examples"]) == [24] * 5
    for task in ("sst", "qqp"):
        right = good[task] == labels(made, task), bad[task] == labels(made, task)
        row, exact = found.loc[task, "McNemar, exact"], mcnemar(*right)
        assert (row["only_a"], row["only_b"], row["p"], row["verdict"]) == (10, 0, exact.p, exact.verdict())
        assert row["verdict"] == "better" and (row["a"], row["b"]) == (22 / 24, 12 / 24)
        row, boot = found.loc[task, "paired bootstrap"], paired_bootstrap(*right)
        assert tuple(row[["difference", "low", "high", "p", "verdict"]]) == (*boot[:4], boot.verdict)
    row, boot = found.loc["sts", "paired bootstrap"], paired_bootstrap(good["sts"], bad["sts"], labels(made, "sts"),
                                                                       "pearson")
    assert tuple(row[["difference", "low", "high", "p", "verdict"]]) == (*boot[:4], boot.verdict)
    assert row["a"] == pearson(good["sts"], labels(made, "sts")) and row["metric"] == "pearson"
    turned = lab.compare_runs(b, a, data=made.data).set_index(["task", "test"])
    assert turned.loc["sst", "McNemar, exact"]["verdict"] == "worse"


def test_too_few_examples_and_a_constant_side_give_no_verdict(made):
    same, constant = answers(made, 2, 0), answers(made, 2, 0)
    constant["sts"] = np.full(24, 2.5)
    found = lab.compare_runs(made("a", same), made("b", constant), data=made.data).set_index(["task", "test"])
    assert found["verdict"].str.startswith("cannot tell").all()
    sts = found.loc["sts", "paired bootstrap"]
    assert np.isnan(sts["b"]) and np.isnan(sts["difference"]) and "constant" in sts["verdict"]


def test_examples_have_labels_and_texts_where_the_data_are(made):
    a, b = made("a", answers(made, 0, 0)), made("b", answers(made, 3, 0))
    table = lab.paired_predictions(a, b, "sst", made.data)
    examples = made.data.splits["sst", "dev"].examples
    assert list(table) == ["id", "task", "label", "prediction_a", "prediction_b", "text"]
    assert list(table["id"]) == [e.id for e in examples] and list(table["text"]) == [e.texts[0] for e in examples]
    assert (table["prediction_a"] == table["label"]).all() and (table["prediction_b"] != table["label"]).sum() == 3
    assert list(lab.paired_predictions(a, b, "sts", made.data))[-2:] == ["text1", "text2"]
    bare = lab.paired_predictions(a, b, "qqp", None)
    assert list(bare) == ["id", "task", "label", "prediction_a", "prediction_b"] and bare["label"].isna().all()


def test_runs_scored_on_fewer_rows_are_compared_on_those_they_share(made):
    full, part = answers(made, 0, 0), {task: values[:9] for task, values in answers(made, 3, 0).items()}
    found = lab.compare_runs(made("a", full), made("b", part), data=made.data)
    assert set(found["examples"]) == {9}
    said = as_text("a", "b", made.data)
    assert "b lacks 15 of its 24 qqp answers" in said and "a lacks" not in said
    assert "lacks" not in as_text("a", made("c", part, eval_rows=9), made.data)


def test_what_cannot_be_compared_is_one_line(made, tiny_data, tmp_path):
    a = made("a", answers(made, 0, 0))
    with pytest.raises(lab.LabError, match=r"was made with other data \(other; .* holds"):
        lab.compare_runs(a, made("b", answers(made, 0, 0), fingerprint="other"), data=tiny_data)
    with pytest.raises(lab.LabError, match=r"run a has no sst predictions on dev here .best weights"):
        lab.compare_runs(a, a, data=tiny_data, weights="best")
    with pytest.raises(lab.LabError, match="there is no run 'c'"):
        lab.compare_runs(a, "c", data=tiny_data)
    with pytest.raises(lab.LabError, match="valid are sst, qqp, sts"):
        predictions(a, "nli", made.data)
    file = tmp_path / "runs" / "a" / "predictions" / "last" / "sst-dev-output.csv"
    whole = file.read_text()
    file.write_text(whole + "nobody , 3 \n")
    with pytest.raises(lab.LabError, match="id 'nobody' is none of the 24"):
        lab.compare_runs(a, a, data=tiny_data)
    file.write_text(whole + "half a li")
    with pytest.raises(lab.LabError, match="not in the layout of predictions"):
        lab.compare_runs(a, a, data=tiny_data)


def test_settings_that_differ_and_no_others():
    smart = {"weight": 5.0, "reading": "library"}
    base = {"name": "baseline", "updates": ["separate"], "lr": 1e-4, "smart": None, "epochs": 10}
    other = base | {"name": "smart", "updates": ["pcgrad", "sum"], "smart": smart, "pair": "cross"}
    assert differing([base, other]) == {
        "name": ["baseline", "smart"], "updates": ["separate", "pcgrad,sum"],
        "smart": ["none", "weight=5,reading=library"], "pair": ["-", "cross"]}
    assert differing([other, other | {"smart": smart | {"weight": 1.0}}]) == {"smart.weight": ["5", "1"]}
    assert differing([base, base]) == {} == differing([base]) == differing([])


def test_the_text_says_what_was_compared_and_what_it_is_about(made):
    a = made("gse", answers(made, 0, 0.1), seed=1, updates=["pcgrad", "sum"])
    b = made("multitask", answers(made, 12, 2), seed=1)
    text = as_text(a, b, made.data)
    assert "a: gse (started 2026-11-23)" in text and "b: multitask" in text and made.data.fingerprint in text
    differ = text.split("settings that differ:")[1].split("a minus b")[0]
    assert "pcgrad,sum" in differ and "lr" not in differ and "seed" not in differ
    assert "McNemar, exact" in text and "better" in text and "only several seeds" in text
    assert "the same experiment twice" in as_text(a, a, made.data)


def test_an_answer_that_the_task_does_not_have_is_one_line(made):
    for task, value in (("sst", 5), ("sst", "nan"), ("qqp", 0.5), ("sts", "inf")):
        found = answers(made, 0, 0) | {task: [value]}
        with pytest.raises(lab.LabError, match=f"is no answer to {task}"):
            predictions(made(f"{task}-{value}", found), task, made.data)


def test_a_setting_that_an_older_record_lacks_is_no_difference(made):
    older, newer = Run.open(made("a", {})), Run.open(made("b", {}, pair="siamese", samples=20))
    assert set(differing([all_settings(older.config), all_settings(newer.config)])) == {"name"}


def test_what_runs_were_made_with_differs_too():
    base = {"experiment": {"name": "gse", "lr": 1e-4}, "versions": {"torch": "2.13"}, "threads": 2, "revision": "aaa",
            "device": "cpu", "data": {"label": "sample", "fingerprint": "f"}}
    other = base | {"versions": {"torch": "2.14"}, "threads": 4, "revision": "bbb"}
    assert differing([all_settings(base), all_settings(other)]) == {
        "version of torch": ["2.13", "2.14"], "threads": ["2", "4"],
        "revision of the lab": ["aaa", "bbb"]}
    folder = all_settings(base | {"encoder_sha256": "ab12cd34" * 8})  # one folder, before and after a change
    assert differing([folder, all_settings(base)]) == {"encoder weights": ["ab12cd", "none"]}
    damaged = all_settings({"experiment": {"name": "gse"}, "versions": 3, "data": None})
    assert differing([all_settings(base), damaged])["device"] == ["cpu", "none"]


def test_probabilities_are_read_or_one_line_says_why_not(made, tmp_path):
    run = made("a", answers(made, 0, 0))
    with pytest.raises(lab.LabError, match="kept no qqp probabilities"):
        probabilities(run, "qqp")
    file = tmp_path / "runs" / "a" / "probabilities" / "last" / "para-dev-probabilities.csv"
    file.parent.mkdir(parents=True)
    file.write_text("id,p0,p1\nNA,0.25,0.75\n")
    assert probabilities(run, "qqp").to_dict("list") == {"id": ["NA"], "p0": [0.25], "p1": [0.75]}
    for damaged in ("", "id,p0\nx,1\n", "id,p0,p1\nx,0.25,0.5\n", "id,p0,p1\nx,1.5,-0.5\n", "id,p0,p1\nx,.5\n",
                    "id,p0,p1\nx,half,half\n", "id,p0,p1\na,0,1,2,3\nb,1\n"):
        file.write_text(damaged)
        with pytest.raises(lab.LabError, match="not in the layout of probabilities"):
            probabilities(run, "qqp")


def test_a_finished_run_keeps_its_probabilities_and_its_checkpoint_gives_the_same(tiny, tiny_data):
    data = lab.load_data(tiny_data)
    run, _ = trained(tiny, data)
    for task, rows in (("sst", None), ("qqp", 7)):
        kept, found = probabilities(run, task, weights="best"), predictions(run, task, data, weights="best")
        assert list(kept["id"]) == list(found["id"])
        assert list(kept.drop(columns="id").to_numpy().argmax(1)) == list(found["prediction"])
        again = compute_probabilities(run, task, data, weights="best", rows=rows).set_index("id")
        assert len(again) == (rows or len(kept))
        np.testing.assert_allclose(again, kept.set_index("id").loc[again.index], atol=1e-4)


def test_rows_with_the_same_id_have_one_score_everywhere(tiny, tiny_data, tmp_path):
    data = lab.load_data(with_repeated_ids(shutil.copytree(tiny_data, tmp_path / "data")))
    made = [trained(replace(tiny, epochs=1, iterations=2, end_qqp=rows), data, run=f"of{rows}") for rows in (17, None)]
    for run, rows in made:
        recorded = {r["task"]: r["value"] for r in rows if r["split"] == "dev_full" and r["step"] and r["metric"] in
                    ("accuracy", "pearson")}
        for task, score in recorded.items():
            table = predictions(run, task, data)
            ours = pearson(table["prediction"], table["label"]) if task == "sts" else float(
                (table["prediction"] == table["label"]).mean())
            assert ours == pytest.approx(score, abs=1e-6), task
            assert list(table["id"]) == [data.splits[task, "dev"].examples[i].id for i in table.index]
            if task != "sts":
                shares = beside(table, probabilities(run, task)).drop(columns="id")
                assert list(shares.to_numpy().argmax(1)) == list(table["prediction"])
                again = beside(table, compute_probabilities(run, task, data, rows=24)).drop(columns="id")
                np.testing.assert_allclose(again, shares, atol=1e-4)
        same = lab.compare_runs(run, run, data=data).set_index(["task", "test"])["a"]
        assert {task: same[task, "paired bootstrap"] for task in recorded} == pytest.approx(recorded, abs=1e-6)
    (small, _), (whole, _) = made
    both = lab.paired_predictions(small, whole, "qqp", data)
    assert len(both) == 17 and both["id"].duplicated().any()
    every = predictions(whole, "qqp", data)
    assert list(both["prediction_b"]) == list(every.loc[both.index, "prediction"])
    assert list(both["text1"]) == [data.splits["qqp", "dev"].examples[i].texts[0] for i in both.index]
    boot = bootstrap_recipes([(small, whole)], data).set_index("task")
    assert boot.loc["qqp", "difference"] == pytest.approx((both["prediction_a"] == both["label"]).mean()
                                                          - (both["prediction_b"] == both["label"]).mean())
    with pytest.raises(lab.LabError, match="it cannot be told which of their lines belong together"):
        lab.paired_predictions(small, whole, "qqp", None)
    assert len(lab.paired_predictions(whole, whole, "qqp", None)) == 24


def test_predictions_whose_ids_repeat_out_of_order_are_refused(made, tiny_data, tmp_path):
    found = answers(made, 0, 0)
    file = tmp_path / "runs" / made("a", found, turned=True) / "predictions" / "last" / "sst-dev-output.csv"
    assert (predictions("a", "sst", made.data)["prediction"] == labels(made, "sst")[::-1]).all()  # by ids of their own
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines, lines[-1]]) + "\n")
    with pytest.raises(lab.LabError, match=r"stands more than once in sst-dev-output\.csv, so it cannot be told"):
        predictions("a", "sst", made.data)
    data = lab.load_data(with_repeated_ids(shutil.copytree(tiny_data, tmp_path / "data")))
    file.write_text("\n".join([lines[0], *(f"row{n % 12} , 1" for n in range(24))][:8]) + "\n")  # a run draws others
    config = file.parents[2] / "experiment.json"
    config.write_text(config.read_text().replace(made.data.fingerprint, data.fingerprint))
    with pytest.raises(lab.LabError, match=r"do not follow the rows of .*ids-sst-dev\.csv, and 'row0' stands more"):
        predictions("a", "sst", data)


def test_recipes_are_compared_over_the_seeds_that_both_have():
    values = {"baseline": {1: .50, 2: .52, 3: .51, 4: .9}, "gse": {1: .60, 2: .61, 3: .63}}
    runs = [records(name, seed, overall=value) for name, of in values.items() for seed, value in of.items()]
    runs = pd.concat(part.assign(label=part["name"]) for part in [*runs, records("gse", 4, state="running")])
    found = compare_recipes(runs, "gse", "baseline").set_index("task")
    assert list(found.index) == ["sst", "qqp", "sts", "all"] and set(found["seeds"]) == {3}
    table = pd.DataFrame({"recipe": ["baseline"] * 3 + ["gse"] * 3, "seed": [1, 2, 3] * 2,
                          "value": [.50, .52, .51, .60, .61, .63]})
    of = compare(table, "baseline").set_index("recipe").loc["gse"]
    assert list(found.loc["all", ["difference", "low", "high", "p"]]) == pytest.approx(
        list(of[["difference", "low", "high", "p"]]))
    assert found.loc["all", "verdict"] == "better"
    assert compare_recipes(runs, "gse", "gse").empty and compare_recipes(runs, "gse", "smart").empty
    two = compare_recipes(runs[runs["seed"] < 3], "gse", "baseline")
    assert two["verdict"].str.contains("too few seeds").all() and two["low"].isna().all()


def test_the_bootstrap_of_recipes_is_over_seeds_and_examples(made):
    good, bad = answers(made, 2, 0.1), answers(made, 12, 3)
    short = {task: values[:20] for task, values in good.items()}
    pairs = [(made("a1", good), made("b1", bad)), (made("a2", short), made("b2", bad))]
    found = bootstrap_recipes(pairs, made.data).set_index("task")
    assert list(found.index) == ["sst", "qqp", "sts"] and set(found["seeds"]) == {2}
    label = labels(made, "sst")[:20]
    boot = paired_bootstrap(*(np.stack([side["sst"][:20] == label] * 2) for side in (good, bad)))
    assert tuple(found.loc["sst", ["difference", "low", "high", "p", "verdict"]]) == (*boot[:4], boot.verdict)
    assert found.loc["sts", "difference"] == pytest.approx(
        pearson(good["sts"][:20], labels(made, "sts")[:20]) - pearson(bad["sts"][:20], labels(made, "sts")[:20]))
