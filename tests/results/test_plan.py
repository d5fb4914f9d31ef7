"""Planned contrasts: paired by seed, adjusted by Holm, and equivalence told apart from ignorance."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import lab
from lab.experiment import KNOWN, departs
from lab.results.plan import adjusted_together, is_planned, plan, planned, planned_runs
from lab.runs.stores import shipped_root

CONTRASTS = [{"a": "x", "b": "y", "claim": "one"}, {"a": "z", "b": "y", "claim": "two"}]


def table(**recipes):
    return pd.DataFrame([{"recipe": name, "seed": seed, "value": value} for name, values in recipes.items()
                         for seed, value in enumerate(values) if value is not None])


def test_the_plan_names_recipes_that_can_be_trained_with_seeds_for_each():
    written = plan()
    names = {contrast[side] for contrast in written["contrasts"] for side in "ab"}
    assert names <= written["seeds"].keys() and written["seeds"].keys() <= KNOWN.keys()
    assert all(written["seeds"][name] >= 3 for name in names) and len(written["contrasts"]) == 11


def test_the_planned_runs_come_round_by_round_as_the_recipes_are_at_the_plans_protocol():
    written, runs = plan(), planned_runs()
    assert Counter(run.name for run in runs) == written["seeds"]
    assert [run.name for run in runs[:len(written["seeds"])]] == list(written["seeds"])  # before any second seed
    assert [run.seed for run in runs] == sorted(run.seed for run in runs)
    assert all(departs(run) == [] and run.protocol == "laptop" and run.encoder == "minilm" for run in runs)
    assert {run.protocol for run in planned_runs("paper")} == {"paper"}


def test_shipped_records_are_of_recipes_as_they_are_today():
    shipped = lab.load_runs(shipped_root()).drop_duplicates("run")
    assert len(shipped) and all(map(is_planned, shipped["settings"], shipped["protocol"]))
    assert not is_planned(planned_runs()[0].with_settings(["lr=1e-5"]).to_json(), "laptop")


def test_a_contrast_is_scipys_paired_test_adjusted_by_holm():
    rng = np.random.default_rng(1)
    x, y, z = (rng.normal(mean, .01, 6) for mean in (.52, .5, .501))
    found = planned(table(x=x, y=y, z=[*z[:4], None, None]), CONTRASTS)
    raw = [stats.ttest_rel(x, y), stats.ttest_rel(z[:4], y[:4])]
    low, high = raw[0].confidence_interval(.95)
    assert found.loc[0, ["low", "high", "difference"]].tolist() == pytest.approx([low, high, (x - y).mean()])
    assert found["seeds"].tolist() == [6, 4]  # a seed that both have counts, whatever other rows have
    # no difference is shown to be less than the margin, so both contrasts still have a hypothesis left to reject
    assert list(found["p"]) == pytest.approx([min(1, 2 * test.pvalue) for test in raw])


def test_the_two_tests_of_a_contrast_are_adjusted_as_one_family():
    p = np.array([[.001, .9], [.04, .002], [.03, .013], [np.nan, np.nan]])
    # in order .001, .002, .013, .03 (which settles the third contrast), .04, .9; at most one of a row's two is true
    assert adjusted_together(p)[:3] == pytest.approx(np.array([[.003, .9], [.09, .006], [.09, .039]]))
    assert np.isnan(adjusted_together(p)[3]).all() and adjusted_together(p[:1])[0] == pytest.approx([.001, .9])


@pytest.mark.parametrize("right", [(431, 418, 410), (400, 420, 430), (381, 399, 437)])
def test_a_difference_that_is_the_same_but_for_rounding_has_no_verdict(right):
    y = (np.array(right) / 1101 + .69 + .565) / 3
    x = (np.array(right) / 1101 + 2 / 1101 + .69 + .565) / 3  # two more right answers with each seed
    assert np.ptp(x - y) < 1e-15
    assert planned(table(x=x, y=y), CONTRASTS[:1])["verdict"][0] == "cannot be told: no spread over seeds"


def test_an_infinite_score_is_none():
    found = planned(table(x=[.5, float("inf"), .52], y=[.4, .41, .42]), CONTRASTS[:1])
    assert found["verdict"][0] == "cannot be told: 1 run of x without a score"


def test_a_run_without_a_score_is_a_result_and_not_left_out():
    x, y = [.5, float("nan"), .52, .55], [.4, .41, .42, float("nan")]
    found = planned(table(x=x, y=y, z=[.6, .63, .62]), CONTRASTS)
    assert found.loc[0, "verdict"] == "cannot be told: 1 run of x, 1 run of y without a score"
    assert found.loc[0, "seeds"] == 4 and found.loc[0, ["difference", "low", "high", "p"]].isna().all()
    assert found.loc[1, "verdict"] == "differs" and found.loc[1, "seeds"] == 3  # y's fourth seed is none of z's


def test_equivalence_is_two_one_sided_tests():
    d = np.array([.001, -.001, .002, 0., .001, -.0005])
    found = planned(table(x=.5 + d, y=np.full(6, .5)), CONTRASTS[:1]).iloc[0]
    assert found["p_equal"] == pytest.approx(max(stats.ttest_1samp(d, .005, alternative="less").pvalue,
                                                 stats.ttest_1samp(d, -.005, alternative="greater").pvalue))
    assert found["verdict"] == "differs by less than 0.005"


def test_verdicts_tell_a_difference_equality_and_ignorance_apart():
    noise, base = np.array([.0003, -.0002, .0001, -.0004, .0002]), np.full(5, .5)

    def verdict(*values):
        return planned(table(x=base + values[0], y=base), CONTRASTS[:1])["verdict"][0]

    assert verdict(.02 + noise) == "differs" and verdict(.002 + noise) == "differs, by less than 0.005"
    assert verdict(noise) == "differs by less than 0.005"
    assert verdict(100 * noise).startswith("cannot be told; it would take ")
    assert int(verdict(100 * noise).split()[-2]) > 5
    assert planned(table(x=[.5, .6], y=[.5, .5]), CONTRASTS[:1])["verdict"][0] == "cannot be told: 2 seeds in common"
    assert planned(table(x=[.5] * 3, y=[.5] * 3), CONTRASTS[:1])["verdict"][0] == "cannot be told: no spread over seeds"
    missing = planned(table(y=base), CONTRASTS)
    assert set(missing["verdict"]) == {"cannot be told: 0 seeds in common"} and missing["difference"].isna().all()


def test_the_probability_of_a_false_verdict_of_either_kind_is_held():
    """Five contrasts without a difference, five at the margin. Each kind adjusted by itself: 9 %, not 5."""
    rounds, rng, seeds = 2000, np.random.default_rng(1), 10
    d = rng.normal(0, .001, (rounds, 10, seeds)) + np.repeat([0, .005], 5)[:, None]
    mean, error = abs(d.mean(axis=2)), stats.sem(d, axis=2)
    p = np.stack([2 * stats.t.sf(mean / error, seeds - 1), stats.t.sf((.005 - mean) / error, seeds - 1)], axis=2)
    adjusted = np.array([adjusted_together(one) for one in p])
    false = (adjusted[:, :5, 0] <= .05).any(axis=1) | (adjusted[:, 5:, 1] <= .05).any(axis=1)
    assert .03 < false.mean() < .05 + 3 * np.sqrt(.05 * .95 / rounds)


@pytest.mark.slow
def test_false_alarms_and_coverage_on_made_up_data():
    """Eleven contrasts without a difference: one alarm or more in at most 5 %; intervals cover in 95 %."""
    rng, rounds, alarms, covered, equal = np.random.default_rng(0), 300, 0, 0, 0
    contrasts = [{"a": f"r{i}", "b": f"r{i + 1}", "claim": ""} for i in range(11)]
    for _ in range(rounds):
        seeds = rng.normal(0, .02, 5)  # what a seed does to all recipes drops out of a paired difference
        found = planned(table(**{f"r{i}": .5 + seeds + rng.normal(0, .01, 5) for i in range(12)}), contrasts)
        alarms += (found["p"] < .05).any()
        covered += ((found["low"] < 0) & (found["high"] > 0)).sum()
        far = planned(table(x=.505 + rng.normal(0, .01, 5), y=np.full(5, .5)), CONTRASTS[:1])
        equal += far["p_equal"][0] < .05  # at the margin itself: a false claim of equivalence
    error = 3 * np.sqrt(.05 * .95 / rounds)
    assert alarms / rounds < .05 + error and equal / rounds < .05 + error
    assert abs(covered / rounds / 11 - .95) < .02
