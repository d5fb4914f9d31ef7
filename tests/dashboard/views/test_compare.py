"""Runs compared: their settings, curves, paired tests, the examples that flip, and their recipes over seeds."""

from helpers import page_figures, page_table, page_text


def test_it_shows_what_differs_and_the_paired_tests(open_page, add_predictions):
    add_predictions(wrong=2, updates=["pcgrad"])
    add_predictions("gse", wrong=20, lr=1e-4)
    at = open_page("compare", runs=["baseline-1", "gse-1"], against="gse-1")
    differ = page_table(at, "setting of the runs").set_index("setting of the runs")
    assert set(differ.index) == {"updates", "lr"} and list(differ.loc["updates"]) == ["pcgrad", "sum"]
    assert "These 2 runs differ in updates, lr." in page_text(at)
    tests = page_table(at, "only_a")
    assert len(tests) == 5 and tests.iloc[0]["verdict"] == "better" and tests.iloc[0]["only_a"] == "18"
    assert "only seeds answer that" in page_text(at) and "it takes 3" in page_text(at)
    assert "baseline-1 against gse-1: better on SST by" in page_text(at)
    forest = page_figures(at)[-1]
    assert forest["data"][0]["y"] == [f"{task}, baseline-1" for task in ("STS", "QQP", "SST")]
    turned = open_page("compare", runs=["baseline-1", "gse-1"], against="baseline-1")
    assert page_table(turned, "only_a").iloc[0]["verdict"] == "worse"


def test_any_number_of_runs_is_held_against_one_and_the_examples_that_flip_are_listed(open_page, add_predictions):
    for seed, wrong in enumerate((2, 5, 9)):
        add_predictions("gse", seed, wrong=wrong)
    at = open_page("compare", runs=["gse-0", "gse-1", "gse-2"], against="gse-2")
    assert [page_table(at, "only_a", number=i)["run"].iloc[0] for i in range(2)] == ["gse-0", "gse-1"]
    flips = page_table(at, "gold", "gse-0", "gse-1", "gse-2")
    assert len(flips) == 7  # examples 3 to 9: the last run alone is wrong in four, two runs in three
    right = flips[["gse-0", "gse-1", "gse-2"]].to_numpy() == flips[["gold"]].to_numpy()
    assert list(right.sum(1)) == [1] * 3 + [2] * 4
    names = [f"{task}, gse-{i}" for i in (1, 0) for task in ("STS", "QQP", "SST")]
    assert page_figures(at)[-1]["data"][0]["y"] == names
    assert "gse-0 and gse-2 are of one recipe, with two seeds" in page_text(at)


def test_a_run_that_is_gone_is_said_and_a_default_stands_in_the_address(open_page, add_predictions):
    add_predictions()
    add_predictions("gse")
    at = open_page("compare", runs=["baseline-1", "no-such-run"])
    assert "no-such-run is not here" in page_text(at)
    at = open_page("compare")
    assert at.query_params["runs"] == ["baseline-1", "gse-1"]
    assert at.query_params["against"] in ("baseline-1", ["baseline-1"])  # so that a sign is that of the leaderboard


def test_recipes_are_compared_over_the_seeds_that_both_have(open_page, add_predictions):
    for seed in (1, 2, 3):
        add_predictions(seed=seed, wrong=2, score=.6 + seed / 100)
        add_predictions("gse", seed, wrong=20, score=.5 + seed / 90)
    at = open_page("compare", runs=["baseline-1", "gse-1"], against="gse-1")
    overall = page_table(at, "task", "seeds").set_index("task")
    assert list(overall["verdict"]) == ["better"] * 4
    assert f"Over 3 seeds, baseline minus gse is {overall.loc['overall', 'difference'][:5]}" in page_text(at)
    assert list(page_table(at, "task", "seeds", number=1)["seeds"]) == ["3"] * 3
    assert "what differs is chance" in page_text(open_page("compare", runs=["baseline-1", "baseline-2"]))


def test_one_run_cannot_be_compared(open_page, add_predictions):
    add_predictions()
    assert "It takes two runs" in page_text(open_page("compare"))
