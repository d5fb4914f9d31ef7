"""Figures of predictions: what they count, and their intervals."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lab.figures.predictions import (
    calibration,
    confusion,
    confusion_table,
    correlation,
    forest,
    reliability,
    scatter,
    select,
)


def answered(label, prediction):
    return pd.DataFrame({"id": [f"i{i}" for i in range(len(label))], "label": label, "prediction": prediction})


def test_confusion_counts_by_gold_row_and_shows_shares_and_counts():
    table = confusion_table(answered([0., 0, 0, 4], [0., 4, 4, 1]), "sst")
    assert table.to_numpy().sum() == 4 and list(table.iloc[0]) == [1, 0, 0, 0, 2] and table.iloc[4, 1] == 1
    drawn = confusion(answered([0., 0, 0, 1], [0., 1, 1, 1]), "qqp", "<b>run</b>")
    heat = drawn.data[0]
    np.testing.assert_allclose(heat.z, [[1 / 3, 2 / 3], [0, 1]])
    assert heat.text[0][1] == "67%<br>(2)" and drawn.layout.yaxis.autorange == "reversed"
    assert "&lt;b&gt;" in drawn.layout.title.text


def test_calibration_is_the_weighted_distance_of_confidence_and_accuracy():
    c, right = [.61, .69, .95, .95, 1.0], [1, 0, 1, 1, 0]
    found = calibration(c, right)
    # by hand: bin .6-.7 |.65 - .5|, twice; bin .9-1 |.9667 - .6667|, three times
    assert found.error == pytest.approx((2 * .15 + 3 * .3) / 5) and found.gap == pytest.approx(np.mean(c) - .6)
    assert list(found.bins["examples"]) == [2, 3] and list(found.bins["accuracy"]) == pytest.approx([.5, 2 / 3])
    wilson = stats.binomtest(2, 3).proportion_ci(method="wilson")
    assert found.bins.loc[1, ["low", "high"]].tolist() == pytest.approx([wilson.low, wilson.high])
    drawn = reliability(found)
    assert list(drawn.data[1].y) == list(found.bins["accuracy"]) and f"{found.error:.3f}" in drawn.layout.title.text
    assert calibration([.7], [1]).error == pytest.approx(.3)


def test_the_interval_of_the_calibration_error_holds_the_truth_and_chance_is_what_perfect_runs_show():
    rng, held, above = np.random.default_rng(0), {0: 0, .15: 0}, 0
    for _ in range(50):
        for wrong in held:
            c = rng.uniform(.5, 1, 500)
            found = calibration(c, rng.random(500) < c - wrong)
            held[wrong] += found.low <= wrong <= found.high
            above += wrong == 0 and found.error > found.chance
    assert held[0] >= 45 and held[.15] >= 42 and 1 <= above <= 6


def test_the_scatter_has_r_and_its_interval():
    rng = np.random.default_rng(0)
    label = rng.uniform(0, 5, 400)
    of = answered(label, label + rng.normal(0, 2, 400))
    r, low, high = correlation(of)
    theirs = stats.pearsonr(of["prediction"], label)
    assert r == pytest.approx(theirs.statistic, abs=1e-12)
    drawn = rng.integers(400, size=(2000, 400))  # the bootstrap's interval is nearly the same
    again = [np.corrcoef(of["prediction"].to_numpy()[i], label[i])[0, 1] for i in drawn]
    assert (low, high) == pytest.approx(np.quantile(again, [.025, .975]), abs=.02)
    assert f"r {r:.3f} ({low:.3f} to {high:.3f})" in scatter(of, (r, low, high)).layout.title.text
    assert np.isnan(correlation(answered([1., 2], [2., 1]))).all()
    constant = correlation(answered([1., 2, 3], [2., 2, 2]))
    assert np.isnan(constant).all() and "constant" in scatter(of, constant).layout.title.text


def test_examples_are_the_surest_mistakes_first():
    of = pd.DataFrame({"id": list("abcd"), "label": [0., 1, 2, 2], "answer": [0., 0, 1, 2],
                       "confidence": [.9, .5, .8, .7], "answer 2": [0., 1, 0, 3], "confidence 2": [.4, .9, .1, .6]})
    one = of.drop(columns=["answer 2", "confidence 2"])
    assert list(select(one, "sst")["id"]) == ["c", "b"]
    assert list(select(one, "sst", "all")["id"]) == ["a", "c", "d", "b"]
    assert list(select(of, "sst")["id"]) == ["b", "d", "c"]  # either is wrong; by the mean confidence
    assert list(select(of, "sst", "disagreements", gold=2)["id"]) == ["d", "c"]
    assert list(select(of.assign(label=np.nan), "sst", "disagreements")["id"]) == ["b", "d", "c"]
    far = pd.DataFrame({"id": list("ab"), "label": [1., 4], "answer": [2.5, 4.5], "confidence": np.nan})
    assert list(select(far, "sts")["id"]) == ["a"] and list(select(far, "sts", "all")["id"]) == ["a", "b"]


def test_the_forest_marks_intervals_that_leave_zero_out():
    drawn = forest(pd.DataFrame({"what": ["SST", "<i>", "x"], "difference": [.1, .1, .1], "low": [.05, -.1, np.nan],
                                 "high": [.2, .3, np.nan]})).data[0]
    assert list(drawn.y) == ["x", "&lt;i&gt;", "SST"] and list(drawn.marker.symbol) == ["circle", "circle", "diamond"]
    assert drawn.error_x.array[2] == pytest.approx(.1) and drawn.error_x.arrayminus[2] == pytest.approx(.05)
