"""The home page: the answer first, a line for each run that trains, the next command."""

import time

from helpers import page_figures, page_text, records, stored


def test_it_opens_first_and_tells_the_verdict_of_the_leaderboard(app, three_seeds):
    app.run()
    said = page_text(app)
    assert app.title[0].value == "minBERT lab"
    assert [part.value for part in app.subheader] == ["What was found", "What trains now", "What to do next"]
    assert "Best on dev is gse, with an overall score of 0.820 (the mean of 3 seeds). It is better than" in said
    assert "Nothing is being trained" in said and "`lab report`" in said


def test_without_runs_it_says_how_to_make_one(open_page):
    said = page_text(open_page("home"))
    assert "No runs yet" in said and "`lab ablate quick`" in said


def test_each_run_that_trains_has_a_line(add_run, open_page, tmp_path):
    add_run("baseline")
    add_run("smart", state="running")
    stored(tmp_path / "runs", records("gse", state="running"),
           {"state": "running", "heartbeat": time.time(), "step": 0, "total": 94})
    said = page_text(open_page("home"))
    assert "smart-1: 50 % done" in said and "gse-1: 0 % done" in said and "latest overall score on dev" in said


def test_data_sets_are_told_apart_and_the_switch_counts(add_run, open_page, tmp_path):
    stored(tmp_path / "shipped", records("gse", overall=.9))
    add_run("baseline", data="sample", overall=.3)
    both = page_text(open_page("home"))
    assert "Best on dev is gse" in both and "Best on dev is baseline" in both
    assert "say nothing about the real data" in both and "records that ship with the lab" in both
    assert both.count("your own runs") == 1
    mine = page_text(open_page("home", whose="mine"))
    assert "Best on dev is baseline" in mine and "gse" not in mine


def test_a_recipe_whose_mean_is_missing_is_explained_below_its_picture(open_page, three_seeds, add_run):
    add_run("cosine_d", 0, overall=.9)
    add_run("cosine_d", 1, overall=None)
    assert "no overall score of cosine_d (1 of 2 seeds)" in page_text(open_page("home"))


def test_the_answer_has_a_picture(app, three_seeds):
    app.run()
    (drawn,) = page_figures(app)
    assert drawn["layout"]["title"]["text"] == "overall score"
    assert {label for trace in drawn["data"] for label in trace["y"]} == {"baseline", "gse"}
