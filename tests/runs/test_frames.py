"""The frame of all records: provenance, labels of lines, distinct runs, the best epoch."""


import numpy as np
import pandas as pd
import pytest
from helpers import records

from lab.runs.frames import best_epoch, distinct_runs, floors, labelled, provenance, scores_on


def test_provenance_gives_the_days_and_the_seeds():
    runs = [records(seed=1, started="2026-11-25T01:00:00+0000"), records(seed=2, started="2026-11-23T23:00:00+0000"),
            records("gse", seed=1, started=None)]
    assert provenance(pd.concat(runs)).endswith("seeds: 1-2 · date: 2026-11-23 to 2026-11-25")
    assert provenance(records(started="2026-11-23T23:00:00+0000")).endswith("date: 2026-11-23")
    assert provenance(records(started="<b>")).endswith("date: not recorded")
    assert provenance(records().assign(shipped=True)).endswith("records that ship with the lab")
    mixed = pd.concat([records().assign(shipped=True), records(seed=2).assign(shipped=False)])
    assert provenance(mixed).endswith("own runs and records that ship with the lab")
    assert provenance(records()[:0]) == "no runs"


def test_an_experiment_that_was_run_twice_counts_once_and_its_finished_run_is_taken():
    runs = pd.concat([records(run="a", state="running"), records(run="b", overall=0.7), records(seed=2)])
    about = distinct_runs(runs)
    assert list(about["run"]) == ["b", "baseline-2"] and list(about["label"]) == ["baseline"] * 2
    rows = labelled(scores_on(runs, ["dev_full"]), about)
    assert set(rows["run"]) == {"b", "baseline-2"} and set(rows["label"]) == {"baseline"}


def test_two_data_folders_of_one_name_are_two_lines_and_labels_that_are_there_stay():
    runs = pd.concat([records(run="a"), records(run="b", seed=2).assign(fingerprint="other")])
    assert list(distinct_runs(runs)["label"]) == ["baseline (data=SST 8544 SST 8544)", "baseline (data=SST 8544 other)"]
    assert list(distinct_runs(runs.assign(label="mine"))["label"]) == ["mine"] * 2


def test_the_best_epoch_is_that_of_the_mean_over_seeds():
    def scores(*values, run="a"):
        return pd.DataFrame({"run": run, "epoch": range(1, len(values) + 1), "value": values})

    assert best_epoch(pd.concat([scores(.1, .9, .2), scores(.5, .2, .3, run="b")])) == pytest.approx((2, .55, .25))
    assert best_epoch(scores(.1, np.nan, .3)) == (3, .3, .3)
    epoch, best, last = best_epoch(scores(.5, np.nan))
    assert (epoch, best) == (1, .5) and np.isnan(last)
    epoch, *means = best_epoch(scores(np.nan, np.nan))
    assert epoch == 2 and np.isnan(means).all()
    assert np.isnan(best_epoch(scores())).all()


def test_an_epoch_that_some_seeds_have_not_reached_does_not_count():
    long = pd.DataFrame({"run": "long", "epoch": [1, 2, 3], "value": [.1, .2, .9]})
    short = pd.DataFrame({"run": "short", "epoch": [1, 2], "value": [.3, .2]})
    assert best_epoch(pd.concat([long, short])) == pytest.approx((1, .2, .2))


def test_the_best_epoch_is_after_the_first_step():
    assert best_epoch(pd.DataFrame({"run": "a", "epoch": [0, 1, 2], "value": [.9, .2, .1]})) == (1, .2, .1)
    assert np.isnan(best_epoch(pd.DataFrame({"run": "a", "epoch": [0], "value": [.9]}))).all()


FLOORS = [(0, "dev_full", "sst", "majority_class", .25), (0, "dev_full", "qqp", "majority_class", .65),
          (0, "dev_full", "sts", "no_training_mean", .8), (0, "dev_full", "sts", "no_training_cls", .6)]


def test_floors_are_the_majority_class_and_no_training_with_each_pooling():
    runs = records(more=[*FLOORS, (0, "dev_full", "sst", "accuracy", .99), (0, "dev", "sst", "majority_class", .5)])
    found = floors(runs)
    assert list(found) == ["floor", "pooling", "sst", "qqp", "sts", "overall"]
    assert list(found["floor"]) == ["majority class", "no training (cls)", "no training (mean)"]
    assert list(found["sst"]) == [.25] * 3 and list(found["qqp"]) == [.65] * 3
    assert found.loc[0, ["sts", "overall"]].isna().all()
    assert list(found["sts"][1:]) == [.6, .8] and list(found["overall"][1:]) == pytest.approx([1.7 / 3, 1.8 / 3])
    assert found.equals(floors(runs.astype({"split": "category", "metric": "category", "task": "category"})))
    dev = floors(runs, "dev")
    assert list(dev["sst"]) == [.5] and dev["qqp"].isna().all() and floors(runs, "test").empty


def test_floors_are_those_of_all_runs_or_there_are_none():
    null = records(seed=1, more=[(*row[:4], np.nan) for row in FLOORS])
    more = records("strong", more=[(0, "dev_full", "sst", "majority_class", .24)])  # of another share of the rows
    older = records("gse")
    found = floors(pd.concat([null, more, records(seed=2, more=FLOORS), older]))
    assert list(found["sst"]) == [.25] * 3 and list(found["sts"][1:]) == [.6, .8]
    assert floors(null).empty and floors(older).empty and floors(older[:0]).empty
    for other in (records(seed=2, data="sample", more=FLOORS), records(seed=2, more=FLOORS).assign(encoder="bert")):
        assert floors(pd.concat([records(more=FLOORS), other])).empty
