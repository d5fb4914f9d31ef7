"""Statistics on made-up data whose truth is known, and against scipy and printed tables."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lab.errors import LabError
from lab.results.significance import (
    compare,
    dunnett_critical,
    dunnett_p,
    interval,
    mcnemar,
    paired_bootstrap,
    power_line,
    seeds_needed,
)


def study(effects, seeds, rng, sd=.004, seed_sd=.02):
    """Scores of recipes with known effects: recipe + seed + residual."""
    values = .5 + np.array(effects)[:, None] + rng.normal(0, seed_sd, seeds) + rng.normal(0, sd, (len(effects), seeds))
    return pd.DataFrame([(f"r{i:02}", s, v) for i, row in enumerate(values) for s, v in enumerate(row)],
                        columns=["recipe", "seed", "value"])


def assert_rate(hits, rate):
    """That many hits are what `rate` gives, within the binomial error of the trials (1 in 1,000 fails by chance)."""
    assert stats.binomtest(int(np.sum(hits)), len(hits), rate).pvalue > .001, f"{np.mean(hits):.3f}, not {rate}"


# ---- recipes over seeds --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def studies():
    """300 studies of 12 recipes x 5 seeds: the reference, 8 recipes as good, 3 that are not."""
    rng, effects = np.random.default_rng(1), [0.] * 9 + [.01, -.01, .003]
    return effects, [compare(study(effects, 5, rng), "r00").set_index("recipe").drop("r00").sort_index()
                     for _ in range(300)]


@pytest.mark.slow
def test_the_simultaneous_intervals_cover_all_truths_at_once_as_often_as_promised(studies):
    truth = np.array(studies[0][1:])
    assert_rate([((s["low"] <= truth) & (truth <= s["high"])).all() for s in studies[1]], .95)


@pytest.mark.slow
def test_false_alarms_among_all_recipes_stay_within_the_nominal_rate(studies):
    alarms = sum((s["verdict"].iloc[:8] != "no difference shown").any() for s in studies[1])
    assert stats.binomtest(alarms, 300, .05, alternative="greater").pvalue > .001


@pytest.mark.slow
def test_verdicts_intervals_and_p_say_the_same_and_find_what_is_there(studies):
    for s in studies[1][:50]:
        assert ((s["verdict"] == "better") == (s["low"] > 0)).all()
        assert ((s["verdict"] == "worse") == (s["high"] < 0)).all()
        assert ((s["verdict"] == "no difference shown") == (s["p"] > .05)).all()
    assert np.mean([s.loc["r09", "verdict"] == "better" for s in studies[1]]) > .7
    assert np.mean([s.loc["r10", "verdict"] == "worse" for s in studies[1]]) > .7


@pytest.mark.parametrize(("level", "df", "printed"), [
    (.95, 5, [2.57, 3.03, 3.29, 3.48]), (.95, 10, [2.23, 2.57, 2.76, 2.89]), (.95, 20, [2.09, 2.38, 2.54, 2.65]),
    (.99, 10, [3.17, 3.53, 3.74, 3.88]), (.99, 20, [2.85, 3.13, 3.29, 3.40])])
def test_critical_values_are_those_of_the_printed_two_sided_table(level, df, printed):
    """Dunnett 1964, Biometrics 20, tables II: 1 to 4 comparisons."""
    assert [dunnett_critical(k, df, level) for k in (1, 2, 3, 4)] == pytest.approx(printed, abs=.02)


def test_p_is_scipys_for_independent_groups_and_students_for_one_comparison():
    rng = np.random.default_rng(2)
    groups = rng.normal([0, 0, 1, 2], 1, (6, 4)).T
    theirs = stats.dunnett(*groups[1:], control=groups[0], rng=np.random.default_rng(0))
    assert [dunnett_p(t, 3, 20) for t in theirs.statistic] == pytest.approx(theirs.pvalue, abs=1e-3)
    control = rng.normal(0, 1, 18)  # three times as many: the correlation is 6 / (6 + 18)
    theirs = stats.dunnett(*groups[1:], control=control, rng=np.random.default_rng(0))
    assert [dunnett_p(t, 3, 32, .25) for t in theirs.statistic] == pytest.approx(theirs.pvalue, abs=1e-3)
    assert dunnett_p(2, 3, 1e6, 0) == pytest.approx(1 - (1 - 2 * stats.norm.sf(2)) ** 3, abs=1e-5)
    for t, df in ((.3, 2), (2.1, 7), (30, 2), (5, 1000)):
        assert dunnett_p(t, 1, df) == pytest.approx(2 * stats.t.sf(t, df), abs=1e-10)
    assert (dunnett_p(0, 5, 8), dunnett_p(1e300, 5, 8)) == pytest.approx((1, 0), abs=1e-10)


def test_with_two_recipes_it_is_the_paired_t_test():
    table = study([0, .004], 6, np.random.default_rng(3))
    a, b = table["value"].to_numpy().reshape(2, 6)
    row, paired = compare(table, "r00", level=.9).set_index("recipe").loc["r01"], stats.ttest_rel(b, a)
    theirs = paired.confidence_interval(.9)
    assert row[["difference", "p", "low", "high"]].tolist() == pytest.approx(
        [(b - a).mean(), paired.pvalue, theirs.low, theirs.high], abs=1e-10)


def test_pooled_residual_worked_by_hand():
    # residuals 0, .5, -.5 and their negatives: sum of squares 1, df 1 * 2, sd^2 = 1/2
    table = pd.DataFrame({"recipe": ["a"] * 3 + ["b"] * 3, "seed": [0, 1, 2] * 2, "value": [1, 2, 3, 2, 2, 5]})
    row = compare(table, "a").set_index("recipe").loc["b"]
    assert row["high"] - row["difference"] == pytest.approx(stats.t.isf(.025, 2) * np.sqrt(1 / 2) * np.sqrt(2 / 3))


def test_the_interval_of_one_recipe():
    x = np.random.default_rng(4).normal(.5, .1, 5)
    assert interval(x, .9) == pytest.approx((x.mean(), *stats.t.interval(.9, 4, x.mean(), stats.sem(x))))
    draws = np.random.default_rng(5).normal(.5, .1, (1000, 4))
    assert_rate([low <= .5 <= high for _, low, high in map(interval, draws)], .95)
    assert interval([.4, .6]) == pytest.approx((.5, np.nan, np.nan), nan_ok=True)
    assert np.isnan(interval([.4, .6, np.nan])).all() and np.isnan(interval([])).all()


def test_below_three_seeds_there_are_points_only():
    shown = compare(study([0, .1, .2], 2, np.random.default_rng(6)), "r00").set_index("recipe")
    assert shown["verdict"].to_dict() == {"r00": "", "r01": "too few seeds (2): points only",
                                          "r02": "too few seeds (2): points only"}
    assert shown[["low", "high", "p"]].isna().all(axis=None) and shown["difference"].notna().all()
    assert [shown[c].dtype.kind for c in ("low", "high", "p")] == ["f"] * 3


def test_a_missing_score_is_treated_as_yates_did():
    """Yates 1933: fill the gap so that its residual is 0, take the plain means, and one degree of freedom less."""
    table, (R, S) = study([0, .01, .02, .03], 6, np.random.default_rng(7)), (4, 6)
    y = table["value"].to_numpy().reshape(R, S).copy()
    row, column, total = y[1].sum() - y[1, 0], y[:, 0].sum() - y[1, 0], y.sum() - y[1, 0]
    y[1, 0] = (R * row + S * column - total) / ((R - 1) * (S - 1))
    residual = y - y.mean(1, keepdims=True) - y.mean(0) + y.mean()
    sd, df = np.sqrt((residual**2).sum() / ((R - 1) * (S - 1) - 1)), (R - 1) * (S - 1) - 1
    shown = compare(table.drop(index=S), "r00").set_index("recipe").loc[["r01", "r02", "r03"]]
    assert shown["difference"].to_numpy() == pytest.approx(y.mean(1)[1:] - y.mean(1)[0])
    assert shown["used"].tolist() == [5, 6, 6]
    # the two complete recipes have 2 / S, the one with a gap 2 / S and what the gap's own estimate adds
    half, factor = (shown["high"] - shown["difference"]).to_numpy(), 2 / S + R / (S * (S - 1) * (R - 1))
    assert half[1:] / half[0] == pytest.approx(np.sqrt(2 / S / factor)) and half[1] > dunnett_critical(3, df) * sd * .57


def test_a_recipe_with_fewer_seeds_costs_the_others_none():
    """Before, all were compared on the seeds that all of them had."""
    table = study([0, .01, .02, .03], 6, np.random.default_rng(7))
    have = {"r00": range(6), "r01": range(6), "r02": range(3), "r03": (0, 1)}
    gaps = table[[s in have[r] for r, s in zip(table["recipe"], table["seed"], strict=True)]]
    shown, paired = compare(gaps, "r00").set_index("recipe"), table.pivot(index="seed", columns="recipe")["value"]
    assert shown.loc["r03", "verdict"] == "too few seeds (2): points only"
    assert shown.loc["r01", "difference"] == pytest.approx((paired["r01"] - paired["r00"]).mean())
    assert shown.loc["r03", "difference"] == pytest.approx((paired["r03"] - paired["r00"])[:2].mean())
    assert shown[["seeds", "used"]].loc[["r00", "r01", "r02", "r03"]].to_numpy().tolist() == [
        [6, 6], [6, 6], [3, 3], [2, 2]]
    widths = shown["high"] - shown["low"]
    assert widths["r01"] < .8 * widths["r02"]
    assert "here 3 to 6; residual sd" in power_line(gaps, "r00")
    only = table[(table["recipe"] != "r00") | (table["seed"] < 4)]  # two more seeds, which the reference lacks
    assert (compare(only, "r00").set_index("recipe")["used"] == 4).all()


@pytest.mark.slow
def test_the_intervals_cover_all_truths_at_once_where_seeds_are_missing():
    rng, effects = np.random.default_rng(31), [0., 0., .01, -.01, .003]
    have = np.array([[1] * 8, [1] * 8, [1] * 3 + [0] * 5, [0] * 5 + [1] * 3, [1] * 5 + [0] * 3], bool).ravel()
    found = [compare(study(effects, 8, rng)[have], "r00").set_index("recipe").drop("r00").sort_index()
             for _ in range(400)]
    hits = sum(((s["low"] <= effects[1:]) & (effects[1:] <= s["high"])).all() for s in found)
    assert stats.binomtest(hits, 400, .95, alternative="less").pvalue > .001  # at least: see `dunnett_p`'s correlation


def test_recipes_that_share_no_seed_with_each_other_are_each_paired_with_the_reference():
    table = study([0, .01, .02], 6, np.random.default_rng(8))
    have = {"r00": range(6), "r01": range(3), "r02": range(3, 6)}
    apart = table[[s in have[r] for r, s in zip(table["recipe"], table["seed"], strict=True)]]
    shown, paired = compare(apart, "r00").set_index("recipe"), table.pivot(index="seed", columns="recipe")["value"]
    gaps = [(paired["r01"] - paired["r00"])[:3], (paired["r02"] - paired["r00"])[3:]]
    assert shown.loc[["r01", "r02"], "difference"].tolist() == pytest.approx([gap.mean() for gap in gaps])
    sd = np.sqrt(sum(gap.var(ddof=1) for gap in gaps) / 2)  # two degrees of freedom each
    half = dunnett_critical(2, 4, correlation=0) * sd / np.sqrt(3)
    assert (shown["high"] - shown["difference"]).dropna().tolist() == pytest.approx([half, half])


@pytest.mark.parametrize("null", [np.nan, np.inf, None])
def test_a_null_score_takes_that_recipe_out_and_no_other(null):
    table = study([0, .01, .02], 5, np.random.default_rng(9))
    broken = table.astype({"value": object})
    broken.loc[7, "value"] = null  # r01
    shown = compare(broken, "r00").set_index("recipe")
    assert shown.loc["r01", ["mean", "difference", "low", "high", "p"]].isna().all()
    assert shown.loc["r01", "verdict"] == "r01 lacks a score in 1 of 5 seeds: not compared" and shown.index[-1] == "r01"
    alone = compare(table[table["recipe"] != "r01"], "r00").set_index("recipe")
    pd.testing.assert_frame_equal(shown.loc[["r02"]], alone.loc[["r02"]])
    beside_null = compare(broken, "r01")
    assert set(beside_null["verdict"]) == {"r01 lacks a score in 1 of 5 seeds: not compared"}
    assert beside_null["difference"].isna().all()


def test_coarse_scores_that_agree_by_chance_are_no_evidence():
    table = study([0, .01, .02], 4, np.random.default_rng(10), sd=0)
    shown = compare(table, "r00")
    assert set(shown["verdict"]) == {"", "no spread over seeds: points only"} and shown["p"].isna().all()
    assert "no spread" in power_line(table, "r00")


def test_the_order_of_rows_is_irrelevant():
    table = study([0, .01, .02, 0], 5, np.random.default_rng(11))
    pd.testing.assert_frame_equal(compare(table, "r02"), compare(table.sample(frac=1, random_state=0), "r02"))


@pytest.mark.parametrize(("change", "message"), [
    (lambda t: t.drop(columns="seed"), "no column seed"), (lambda t: t[t["recipe"] != "r00"], "recipes: r01"),
    (lambda t: pd.concat([t, t.iloc[:1]]), "'r00' has a seed twice"), (lambda t: t.iloc[:0], "no recipe 'r00'")])
def test_a_wrong_table_says_what_is_wrong(change, message):
    table = change(study([0, 0], 3, np.random.default_rng(0)))
    for function in (compare, power_line):
        with pytest.raises(LabError, match=message):
            function(table, "r00")


# ---- power ---------------------------------------------------------------------------------------------------------


def test_seeds_needed_give_the_promised_power_and_one_fewer_does_not():
    seeds = seeds_needed(.005, .005, .8)
    rng = np.random.default_rng(12)
    a, b = rng.normal([[[0]], [[.005]]], .005, (2, 4000, seeds))
    power = np.mean(stats.ttest_rel(b, a, axis=1).pvalue <= .05)
    assert power == pytest.approx(.8, abs=.03)

    def exact(n):
        return stats.nct.sf(stats.t.isf(.025, n - 1), n - 1, np.sqrt(n / 2))  # the far tail adds 1e-6

    assert exact(seeds - 1) < .8 <= exact(seeds)


def test_power_among_several_comparisons_is_that_of_compare():
    seeds, k = seeds_needed(.005, .005, .8, comparisons=4), 4
    y = np.random.default_rng(13).normal(0, .005, (4000, k + 1, seeds))
    y[:, 1] += .005
    residual = y - y.mean(2, keepdims=True) - y.mean(1, keepdims=True) + y.mean((1, 2), keepdims=True)
    df = k * (seeds - 1)
    t = (y[:, 1] - y[:, 0]).mean(1) / np.sqrt((residual**2).sum((1, 2)) / df * 2 / seeds)
    assert np.mean(np.abs(t) >= dunnett_critical(k, df)) == pytest.approx(.8, abs=.03)
    assert seeds > seeds_needed(.005, .005, .8)


def test_seeds_needed_at_the_edges():
    assert seeds_needed(0) == seeds_needed(1e-9) == 3
    assert seeds_needed(.01) > seeds_needed(.005) > seeds_needed(.005, difference=.01)
    assert seeds_needed(.02) == pytest.approx(2 * (.02 / .005 * (1.96 + .8416)) ** 2, abs=4)
    for wrong in ({"residual_sd": -1}, {"residual_sd": np.nan}, {"difference": 0}, {"power": 1}, {"level": 1},
                  {"residual_sd": 9}):
        with pytest.raises(LabError):
            seeds_needed(**{"residual_sd": .01, **wrong})


def test_the_power_line_names_the_seeds_that_the_table_needs():
    table = study([0] * 4, 200, np.random.default_rng(14), sd=.005)
    line = power_line(table, "r00")
    needed = int(line.split(" takes ")[1].split()[0])
    assert needed == pytest.approx(seeds_needed(.005, comparisons=3), abs=3)
    assert "0.005 from r00" in line and "here 200" in line and line.endswith(".") and line.count("\n") == 0


# ---- two runs over examples ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [1, 3])
def test_bootstrap_of_accuracy_covers_the_truth(seeds):
    """With 3 seeds, the seeds' spread (sd .04 a run) outweighs the examples'."""
    rng, hits = np.random.default_rng(15), []
    for i in range(400):
        spread = .04 * (seeds > 1)
        hard = rng.random(300)  # the same example is hard for both
        a, b = (hard < p + spread * rng.normal(size=(seeds, 1)) + rng.uniform(-.2, .2, (seeds, 300)) for p in (.55, .5))
        found = paired_bootstrap(a, b, rounds=400, seed=i)
        hits.append(found.low <= .05 <= found.high)
    assert stats.binomtest(sum(hits), 400, .95, alternative="less").pvalue > .001


@pytest.mark.parametrize("seeds", [1, 3])
def test_bootstrap_of_pearson_covers_the_truth(seeds):
    rng, hits = np.random.default_rng(17), []
    truth = 1 / np.hypot(1, .6) - 1 / np.hypot(1, .8)
    for i in range(150):
        y = rng.normal(size=200)
        a, b = (y + s * rng.normal(size=(seeds, 200)) for s in (.6, .8))
        found = paired_bootstrap(a, b, y, "pearson", rounds=400, seed=i)
        hits.append(found.low <= truth <= found.high)
    assert stats.binomtest(sum(hits), 150, .95, alternative="less").pvalue > .001


def test_bootstrap_over_seeds_raises_no_more_false_alarms_than_promised():
    """Two recipes as good, 3 seeds each, run to run spread large: resampling the 3 seeds would alarm in a quarter."""
    rng, alarms = np.random.default_rng(18), 0
    for i in range(300):
        a, b = rng.random((2, 3, 400)) < .5 + .05 * rng.normal(size=(2, 3, 1))
        alarms += paired_bootstrap(a, b, rounds=400, seed=i).verdict != "no difference shown"
    assert stats.binomtest(alarms, 300, .05, alternative="greater").pvalue > .001


def test_bootstrap_is_that_of_scipy():
    rng = np.random.default_rng(19)
    y = rng.normal(size=150)
    a, b = y + .5 * rng.normal(size=150), 3 + 2 * y + 1.5 * rng.normal(size=150)

    def difference(a, b, y):
        return np.corrcoef(a, y)[0, 1] - np.corrcoef(b, y)[0, 1]

    theirs = stats.bootstrap((a, b, y), difference, paired=True, vectorized=False, n_resamples=3000,
                             method="percentile", rng=np.random.default_rng(0)).confidence_interval
    found = paired_bootstrap(a, b, y, "pearson", rounds=3000)
    assert found.difference == pytest.approx(difference(a, b, y), abs=1e-12)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=.006)
    shifted = paired_bootstrap(1e6 + a, -2e-6 * b, y, "pearson", rounds=3000)
    assert shifted.difference == pytest.approx(difference(a, -b, y), abs=1e-8)


def test_bootstrap_is_repeatable_antisymmetric_and_blind_to_the_order_of_examples():
    rng = np.random.default_rng(20)
    a, b = rng.random((2, 200)) < [[.7], [.5]]
    found, turned, order = paired_bootstrap(a, b), paired_bootstrap(b, a), rng.permutation(200)
    assert found == paired_bootstrap(a, b) == paired_bootstrap(a[order], b[order])
    assert paired_bootstrap(a, b[::-1], rounds=99) != paired_bootstrap(a, b[::-1], rounds=99, seed=1)
    assert (found.verdict, turned.verdict) == ("better", "worse")
    assert (turned.difference, turned.p) == (-found.difference, pytest.approx(found.p, abs=.01))
    assert paired_bootstrap(a, a)[:4] == (0, 0, 0, 1)
    swapped = [1] * 7 + [0] * 7, [0] * 7 + [1] * 7  # many rounds tie at 0, and count for both sides
    assert paired_bootstrap(*swapped).p == 1


def test_bootstrap_gives_no_verdict_that_its_test_could_not_reach():
    a, b = np.ones(100), np.ones(100)
    b[:4] = 0
    found = paired_bootstrap(a, b)
    assert found.verdict == "cannot tell: with 4 examples that differ and 10000 rounds p cannot fall below 0.12"
    assert found.p >= found.smallest_p == .125
    b[:50] = 0
    assert paired_bootstrap(a, b, rounds=20).verdict.startswith("cannot tell")
    assert paired_bootstrap(a, b, rounds=200).verdict == "better"


def test_resamples_with_a_constant_side_are_dropped_and_counted():
    y, a = np.arange(30.), np.full(30, .1)
    a[:6] = .2
    found = paired_bootstrap(y + a, a, y, "pearson", rounds=5000)
    assert found.dropped == pytest.approx(5000 * .8**30, abs=25) and np.isfinite([found.low, found.high]).all()
    a[1:6] = .1  # one example left to vary: a third of the resamples miss it
    found = paired_bootstrap(y + a, a, y, "pearson", rounds=5000)
    assert found.dropped == pytest.approx(5000 / np.e, rel=.1) and "constant side" in found.verdict
    never = paired_bootstrap(y, np.full(30, 3.3), y, "pearson", rounds=50)
    assert never.dropped == 50 and np.isnan(never[:4]).all() and never.verdict.startswith("cannot tell")


def test_mcnemar_worked_by_hand_and_against_scipy():
    a = [1] * 8 + [0] * 2 + [1] * 30 + [0] * 5
    b = [0] * 8 + [1] * 2 + [1] * 30 + [0] * 5
    assert mcnemar(a, b) == (8, 2, pytest.approx(2 * (1 + 10 + 45) / 1024))
    rng = np.random.default_rng(21)
    for n in (10, 50, 2000):
        x, y = rng.random((2, n)) < [[.8], [.75]]
        only_x, only_y, p = mcnemar(x, y)
        assert (only_x, only_y) == ((x & ~y).sum(), (y & ~x).sum())
        assert p == pytest.approx(stats.binomtest(only_x, only_x + only_y).pvalue)


def test_mcnemar_says_when_too_few_examples_are_discordant():
    def one_sided(n):
        return mcnemar([1] * n + [1] * 9, [0] * n + [1] * 9)

    assert one_sided(5).verdict() == "cannot tell: with 5 discordant examples p cannot fall below 0.062"
    assert one_sided(0).verdict() == "cannot tell: with 0 discordant examples p cannot fall below 1"
    assert one_sided(5).verdict(level=.9) == one_sided(6).verdict() == "better"
    assert mcnemar([0] * 6, [1] * 6).verdict() == "worse"
    assert mcnemar([0, 1] * 6, [1, 0] * 6).verdict() == "no difference shown"
    assert [one_sided(n).smallest_p for n in (0, 1, 5)] == [1, 1, .0625]


@pytest.mark.parametrize("call", [
    lambda: mcnemar([1, 0], [1]), lambda: mcnemar([], []), lambda: mcnemar([.5], [1]),
    lambda: mcnemar([[1], [0]], [[1], [0]]),
    lambda: paired_bootstrap([1, 0], [1]), lambda: paired_bootstrap([[1, 0], [1]], [1, 0]),
    lambda: paired_bootstrap([2, 0], [1, 0]), lambda: paired_bootstrap([1, 0], [1, 0], metric="f1"),
    lambda: paired_bootstrap([1, 0], [1, 0], metric="pearson"), lambda: paired_bootstrap([1, 0], [1, 0], [1, 0]),
    lambda: paired_bootstrap([1, np.nan], [1, 0], [1, 0], "pearson"),
    lambda: paired_bootstrap([1, 0], [1, 0], rounds=0),
    lambda: paired_bootstrap([1, 0], [1, 0], [1, 0, 1], "pearson"), lambda: interval([1, 2, 3], level=95)])
def test_wrong_input_is_one_line(call):
    with pytest.raises(LabError) as error:
        call()
    assert "\n" not in str(error.value)


def test_statistics_need_no_torch():
    code = "import sys, lab.results.significance; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
