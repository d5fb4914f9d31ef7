"""Two runs compared: their settings, paired tests, and their recipes over seeds."""

from helpers import page_figures, page_table, page_text


def test_it_shows_what_differs_and_the_paired_tests(open_page, add_predictions):
    add_predictions(wrong=2, updates=["pcgrad"])
    add_predictions("gse", wrong=20, lr=1e-4)
    at = open_page("compare", ca="baseline-1", cb="gse-1")
    differ = page_table(at, "setting").set_index("setting")
    assert set(differ.index) == {"updates", "lr"} and list(differ.loc["updates"]) == ["pcgrad", "sum"]
    tests = page_table(at, "only_a")
    assert len(tests) == 5 and tests.iloc[0]["verdict"] == "better" and tests.iloc[0]["only_a"] == "18"
    assert "only seeds answer that" in page_text(at) and "it takes 3" in page_text(at)
    (forest,) = page_figures(at)
    assert forest["data"][0]["y"] == [f"{task}, these runs, last weights" for task in ("STS", "QQP", "SST")]
    turned = open_page("compare", ca="gse-1", cb="baseline-1")
    assert page_table(turned, "only_a").iloc[0]["verdict"] == "worse"


def test_recipes_are_compared_over_the_seeds_that_both_have(open_page, add_predictions):
    for seed in (1, 2, 3):
        add_predictions(seed=seed, wrong=2, score=.6 + seed / 100)
        add_predictions("gse", seed, wrong=20, score=.5 + seed / 90)
    at = open_page("compare", ca="baseline-1", cb="gse-1")
    assert list(page_table(at, "task", "seeds")["verdict"]) == ["better"] * 4
    assert list(page_table(at, "task", "seeds", number=1)["seeds"]) == ["3"] * 3
    assert len(page_figures(at)[0]["data"][0]["y"]) == 10
    assert "what differs is chance" in page_text(open_page("compare", ca="baseline-1", cb="baseline-2"))


def test_one_run_cannot_be_compared(open_page, add_predictions):
    add_predictions()
    assert "It takes two runs" in page_text(open_page("compare"))
