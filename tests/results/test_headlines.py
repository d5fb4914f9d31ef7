"""The answer of each page in one sentence: true to the tables, and silent about what cannot be told."""

import re

import numpy as np
import pandas as pd
import pytest
from helpers import records

from lab.results import headlines, tables
from lab.results.comparison import compare_recipes


def runs(**scores):
    """A frame with a run for each score of each recipe."""
    return pd.concat([records(name, seed, overall=value) for name, values in scores.items()
                      for seed, value in enumerate(values)], ignore_index=True)


def test_from_one_seed_nothing_is_told():
    said = headlines.leaderboard(runs(baseline=[.5], gse=[.9]))
    assert said.startswith("Best on dev is gse, with an overall score of 0.900 (one seed).")
    assert "Nothing can be told from one seed" in said and "better" not in said
    more = headlines.leaderboard(runs(baseline=[.51, .53, .52], gse=[.82, .81, .83], smart=[.9]))
    assert more.startswith("Best on dev is smart, with an overall score of 0.900 (one seed).")
    two = headlines.leaderboard(runs(baseline=[.51, .53, .52], gse=[.82, .81, .83], smart=[.9, .9]))
    assert "(too few seeds (2)). Of the 2 recipes that can be compared, gse is best with 0.820. It is better" in two
    assert ("Of the 2 recipes that can be compared, gse is best with 0.820. It is better than baseline: by +0.300"
            in more)


def test_where_the_best_has_no_verdict_the_best_of_those_that_have_one_is_named():
    heads = pd.concat([records("frozen", seed, overall=.9, trains="heads") for seed in range(3)])
    alike = runs(baseline=[.51, .53, .52], gse=[.82, .81, .83])
    said = headlines.leaderboard(pd.concat([heads, alike]))
    assert said.startswith("Best on dev is frozen")
    assert ("There is no verdict against baseline (trains other parts). Of the 2 recipes that can be compared, gse is "
            "best with 0.820. It is better than baseline: by +0.300") in said
    few = headlines.leaderboard(pd.concat([runs(smart=[.95]), heads, alike]))
    assert few.startswith("Best on dev is smart") and "Of the 2 recipes that can be compared, gse is best" in few
    first = headlines.leaderboard(pd.concat([heads, runs(baseline=[.51, .53, .52], gse=[.4, .5, .3])]))
    assert "baseline is best with 0.520. That is the baseline itself" in first


def test_the_verdict_is_the_leaderboards():
    for gse in ([.82, .81, .83], [.53, .50, .55]):
        frame = runs(baseline=[.51, .53, .52], gse=gse)
        row = tables.verdicts(frame)[0].set_index("recipe").loc["gse"]
        said = headlines.leaderboard(frame)
        assert f"{row['low']:+.3f} to {row['high']:+.3f}, over 3 seeds" in said
        words = {"better": "It is better than baseline", "no difference shown": "No difference from baseline is shown"}
        assert words[row["verdict"]] in said


def test_where_there_is_no_verdict_it_says_why():
    found = headlines.leaderboard
    assert "that takes 3 seeds of each recipe" in found(runs(baseline=[.5], gse=[.8, .7, .9]))
    assert "nothing to compare it with" in found(runs(gse=[.8, .7, .9]))
    assert "none of the others scored higher" in found(runs(baseline=[.8, .7, .9], gse=[.5, .6, .4]))
    assert "no result" in found(records(state="running"))
    assert "too short to compare" in found(runs(baseline=[.5], gse=[.8]).assign(protocol="smoke"))


def test_recipes_that_are_not_above_no_training_are_called_that():
    floor = [(0, "dev_full", *row) for row in (("sst", "majority_class", .3), ("qqp", "majority_class", .6),
                                               ("sts", "no_training_mean", .8))]
    assert "That is not above the 0.600 that the untouched encoder gives" in headlines.leaderboard(records(more=floor))
    assert "untouched" not in headlines.leaderboard(records(overall=.7, more=floor))
    two = pd.concat([records("gse", overall=.7, more=floor), records(overall=.5, more=floor)])
    assert "1 of 2 recipes scores below the 0.600 that the untouched encoder gives" in headlines.leaderboard(two)


def test_no_interval_is_shown_as_the_estimate_itself():
    close = headlines.leaderboard(runs(baseline=[.5, .6, .7], gse=[.60002, .70001, .8]))
    difference, low, high = re.search(r"by (\S+), 95 % interval (\S+) to (\S+), over", close).groups()
    assert len({difference, low, high}) == 3
    few = pd.DataFrame({"label": [0] * 9999 + [1], "prediction": [0] * 10_000})
    assert headlines.mistakes(few, "qqp").startswith(
        "0.010 % of 10,000 answers are wrong (95 % interval 0.002 to 0.057 %)")


def test_the_task_that_lost_most_is_named_with_its_epoch_and_an_interval_over_seeds():
    def run(seed, at_one, at_two):
        rows = records("smart", seed)
        for step, value in ((47, at_one), (94, at_two)):
            rows.loc[(rows["split"] == "dev") & (rows["task"] == "sts") & (rows["step"] == step), "value"] = value
        return rows

    frame = pd.concat([run(1, .8, .6), run(2, .7, .5), run(3, .9, .6)])
    table = headlines.best_epochs(frame, "smart").set_index("task")
    assert table["best_epoch"].to_dict() == {"sst": 2, "qqp": 2, "sts": 1, "all": 2}
    lost = np.array([.2, .2, .3])
    half = 4.302653 * lost.std(ddof=1) / 3 ** .5
    assert table.loc["sts", ["lost", "low", "high"]].tolist() == pytest.approx([lost.mean(), lost.mean() - half,
                                                                               lost.mean() + half])
    said = headlines.overfitting(frame, "smart")
    assert said.startswith("STS is best after epoch 1 of 2; training on lost 0.233 (95 % interval 0.090 to 0.377")
    assert "one seed, so part of this may be chance" in headlines.overfitting(run(1, .8, .6), "smart")
    each = headlines.overfitting(records("smart"), "smart")
    assert each.startswith("No task loses anything on dev until the end: each is best at the last epoch")
    level = headlines.overfitting(run(1, .8, .8), "smart")  # STS is as good after the first epoch as after the last
    assert level.startswith("No task loses anything on dev until the end (one seed")
    assert headlines.overfitting(records("smart"), "gse") == ""
    alone = headlines.overfitting(records("sts_alone", overall=.3, tasks=["sts"]), "sts_alone")
    assert alone.startswith("STS is best after epoch 1 of 2") and alone.endswith(" SST and QQP are not trained.")
    none = headlines.overfitting(records("sts_alone", tasks=["sts"]), "sts_alone")
    assert none.startswith("No trained task loses anything") and none.endswith(" SST and QQP are not trained.")


def test_how_much_pcgrad_changed_is_the_distance_of_the_update_from_the_plain_mean():
    u, m = np.array([1., 2.]), np.array([1.5, 1.])
    cosine, length = u @ m / np.linalg.norm(u) / np.linalg.norm(m), np.linalg.norm(u) / np.linalg.norm(m)
    more = [(step, "batch", "all", metric, value) for step in (25, 50, 75)
            for metric, value in (("update_cosine", cosine), ("update_length", length))]
    frame = records("gse", more=more, updates=["pcgrad", "sum"])
    share = np.linalg.norm(u - m) / np.linalg.norm(m)
    assert headlines.update_changes(frame)["change"].tolist() == pytest.approx([share])
    assert f"PCGrad changed the update by {100 * share:.1f} %" in headlines.gradients(frame)
    assert headlines.gradients(records("baseline")) == ""


def test_the_plain_mean_is_no_change_and_a_method_is_not_named_twice():
    more = [(25, "batch", "all", "update_cosine", 1.0), (25, "batch", "all", "update_length", 1.5)]
    both = pd.concat([records("mean", more=more, updates=["mean"]), records("fairgrad", more=more,
                                                                            updates=["fairgrad"]),
                      records("gse", more=more, updates=["pcgrad", "sum"])])
    assert headlines.gradients(both) == ("fairgrad changed the update by 50.0 %. PCGrad changed the update by 50.0 % "
                                         "in gse.")


def test_of_many_recipes_the_headline_names_those_that_pcgrad_changed_least_and_most():
    def changed(recipe, length):
        more = [(25, "batch", "all", "update_cosine", 1.0), (25, "batch", "all", "update_length", length)]
        return records(recipe, more=more, updates=["pcgrad"])

    runs = pd.concat([changed("gse", 1.05), changed("gradient_surgery", 1.02), changed("smart_gse", 1.03)])
    assert headlines.gradients(runs).startswith("PCGrad changed the update by 2.0 % in gradient_surgery, the least of "
                                                "3 recipes, and by 5.0 % in gse, the most.")


def seeds(**scores):
    """A frame with a run for each seed of each recipe."""
    return pd.concat([records(name, seed, overall=value) for name, by_seed in scores.items()
                      for seed, value in by_seed.items()], ignore_index=True)


def test_where_means_over_other_seeds_are_in_another_order_than_the_seeds_in_common_both_are_said():
    few, many = {1: .58, 2: .583, 3: .582}, {1: .60, 2: .602, 3: .601, 4: .40, 5: .41, 6: .42}
    worse = seeds(baseline=many, gse=few)
    assert "Best on dev is gse" in headlines.leaderboard(worse)
    assert "But it is worse than baseline over the 3 seeds that both have: by -0.019" in headlines.leaderboard(worse)
    assert "But over the 3 seeds that both have, the difference is -0.019" in headlines.curves(worse)
    better = headlines.leaderboard(seeds(baseline=few, gse=many))
    assert "That is the baseline itself. But gse is better over the 3 seeds that both have: by +0.019" in better


def test_curves_of_runs_in_training_are_compared_where_all_of_them_are():
    first = records("gse", overall=.6, best=.4, state="running")
    second = records("smart", overall=.2, best=.5, state="running").query("step < 94 and split != 'dev_full'")
    said = headlines.curves(pd.concat([first, second]))
    assert said.startswith("smart so far has the highest overall score on dev: 0.500; gse follows with 0.400")


def test_two_runs_of_which_no_test_can_tell_are_not_said_to_show_no_difference():
    tests = pd.DataFrame({"test": "paired bootstrap", "task": ["sst", "sts"], "verdict": "cannot tell: too few",
                          "difference": 0.0, "low": 0.0, "high": 0.0})
    assert headlines.comparison(tests, "a", "b") == "Whether a and b differ cannot be told from these examples."


def test_curves_name_the_line_that_ends_best_and_how_sure_that_is():
    few = headlines.curves(runs(gse=[.6], baseline=[.5]))
    assert few.startswith("gse ends with the highest overall score on dev: 0.600; baseline follows with 0.500")
    assert "They have one seed in common; it takes 3 to say how much of the difference is chance." in few
    many = headlines.curves(runs(gse=[.6, .7, .8], baseline=[.5, .5, .6]))
    assert ("Over the 3 seeds that both have, the difference is +0.167 (95 % interval +0.023 to +0.310)."
            in many)
    uneven = headlines.curves(runs(gse=[.6, .7, .8, .1], smart=[.5, .5, .6], baseline=[.4]))  # of the seeds of both
    assert "highest overall score on dev: 0.550" in uneven and "baseline" not in uneven
    null = headlines.curves(runs(cosine_d=[.9, None], gse=[.6, .7], baseline=[.5, .5]))  # .9 is not its mean
    assert null.startswith("gse ends with the highest overall score on dev: 0.650; baseline follows")
    assert headlines.order(runs(cosine_d=[.9, None], gse=[.6, .7], baseline=[.5, .5]))[-1] == "cosine_d"
    half = pd.concat([runs(gse=[.6, .6], baseline=[.5]), records("gse", 3, overall=.1, state="running")])
    assert "gse ends with the highest overall score on dev: 0.600" in headlines.curves(half)
    assert headlines.order(half) == ["gse", "baseline"]
    assert headlines.order(half.assign(state="running")) == ["baseline", "gse"]
    losses = [(94, "batch", task, "loss", value) for task, value in (("sst", 1.), ("qqp", 2.))]
    assert "loss over the tasks 1.500 (one seed)" in headlines.curves(records(more=losses), "loss", "batch")
    assert headlines.curves(records(more=losses), "grad_norm", "batch") == ""
    for other in ({"tasks": ["sst"]}, {"sts_head": "cosine_embedding"}):  # their losses cannot be held side by side
        both = pd.concat([records(more=losses), records("gse", more=losses, **other)])
        assert headlines.curves(both, "loss", "batch") == ""


def test_mistakes_are_counted_and_the_most_frequent_one_is_named():
    table = pd.DataFrame({"label": [0, 0, 0, 1, 4, np.nan], "prediction": [1, 1, 2, 1, 4, 3]})
    said = headlines.mistakes(table, "sst")
    assert said.startswith("60 % of 5 answers are wrong (95 % interval 23 to 88 %)")
    assert "takes “negative” for “somewhat negative” (2 times)" in said
    assert headlines.mistakes(table[2:4], "sst").endswith("“neutral” (1 time).")
    assert "0 % of 1 answers are wrong" in headlines.mistakes(table[3:4], "sst")
    pairs = pd.DataFrame({"label": [1., 5.], "prediction": [1.5, 2.]})
    assert headlines.mistakes(pairs, "sts").startswith("50 % of 2 pairs are more than one point off")
    assert "1.75 points off on average" in headlines.mistakes(pairs, "sts")
    assert headlines.mistakes(pairs, "sts", cosines=True).startswith("the answers are cosines")


def test_a_comparison_names_the_tasks_with_a_difference():
    tests = pd.DataFrame([("sst", "paired bootstrap", .02, .01, .03, "better"),
                          ("sst", "McNemar, exact", .02, 0, 0, "x"),
                          ("sts", "paired bootstrap", .0, -.1, .1, "no difference shown")],
                         columns=["task", "test", "difference", "low", "high", "verdict"])
    assert headlines.comparison(tests, "a", "b") == (
        "a against b: better on SST by 0.020 (95 % interval +0.010 to +0.030); no difference shown on STS.")
    assert headlines.comparison(tests[1:], "a", "b").startswith("No difference between a and b is shown")


def test_recipes_are_compared_over_seeds_and_a_run_without_a_score_is_said():
    def said(**scores):
        made = runs(**scores)
        return headlines.recipes(compare_recipes(made.assign(label=made["name"]), "gse", "baseline"), "gse", "baseline")

    assert said(gse=[.7, .8, .75], baseline=[.5, .6, .56]) == (
        "Over 3 seeds, gse minus baseline is +0.197 overall (95 % interval +0.182 to +0.211): better.")
    assert said(gse=[.7, .8], baseline=[.5, .6]) == (
        "Over 2 seeds, gse minus baseline is +0.200 overall: too few seeds (2): points only.")
    null = said(gse=[.7, None, .8], baseline=[.5, .6, .6])
    assert null == "Overall, gse lacks a score in 1 of 3 seeds: not compared."
