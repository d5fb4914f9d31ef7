"""The Runs page: every run with what was changed in it; labels, tags, hiding, the bin."""

import pytest
from helpers import page_table, page_text, records, rerun, stored

from lab.runs.folder import Run
from lab.runs.marks import Mark, Marks, discard
from lab.runs.stores import runs_root


def table(app):
    return page_table(app, "label", "state").set_index("label")


def choose(app, *labels):
    """Choose rows of the table, as a click on their left does."""
    rows = [list(table(app).index).index(label) for label in labels]
    key = "runs-{}-{}".format(*app.session_state["rows-start"][0])
    app.session_state[key] = {"selection": {"rows": rows, "columns": [], "cells": []}}
    return rerun(app)


def click(app, label):
    next(button for button in app.button if button.label == label).click()
    return rerun(app)


@pytest.fixture
def some(add_run, tmp_path):
    add_run("baseline", overall=0.5, best=0.6, started="2026-11-23T10:00:00+0000")
    add_run("gse", overall=0.7, started="2026-11-24T10:00:00+0000")
    add_run("smart", state="failed", started="2026-11-25T10:00:00+0000")
    folder = stored(tmp_path / "runs", records("multitask", state="failed"), {"state": "failed", "why": "no disk"})
    (folder / "metrics.jsonl").write_text("")


def test_every_run_is_listed_also_one_that_measured_nothing(some, open_page):
    found = table(open_page("runs"))
    assert set(found.index) == {"baseline-1", "gse-1", "smart-1", "multitask-1"}
    assert found.loc["gse-1", "overall"] == 0.7 and list(found.loc["baseline-1", "course"]) == [0.6, 0.5]
    assert set(found["state"]) == {"done", "failed"} and found["overall"].isna()["multitask-1"]
    assert list(table(open_page("runs", find="GSE")).index) == ["gse-1"]
    grouped = open_page("runs", group="state")
    assert list(page_table(grouped, "group", "runs")["runs"]) == [2, 2]


def test_failed_runs_are_hidden_by_one_click_and_come_back(some, open_page):
    app = click(open_page("runs"), "Hide failed runs")
    assert set(table(app).index) == {"baseline-1", "gse-1"} and "Hidden: 2 runs" in page_text(app)
    assert "smart-1" not in page_text(open_page("leaderboard"))
    app.toggle(key="hidden").set_value(True)
    app = choose(rerun(app), "smart-1")
    click(app, "Show again")
    assert set(table(open_page("runs")).index) == {"baseline-1", "gse-1", "smart-1"}


def test_the_chosen_run_stays_chosen_when_others_appear_or_the_search_changes(some, open_page, add_run):
    app = choose(open_page("runs"), "baseline-1")
    add_run("frozen", started="2026-11-26T10:00:00+0000")
    assert "Folders: baseline-1" in page_text(rerun(app))
    app.text_input(key="find").set_value("base")
    assert "Folders: baseline-1" in page_text(rerun(app))
    app.text_input(key="find").set_value("gse")
    assert "Folders:" not in page_text(rerun(app))


def test_where_every_run_is_hidden_the_table_is_empty(add_run, open_page):
    add_run("gse")
    app = choose(open_page("runs"), "gse-1")
    assert table(click(app, "Hide")).empty


def test_a_run_that_has_gone_meanwhile_is_not_moved_to_the_bin(some, open_page, tmp_path):
    app = choose(open_page("runs"), "gse-1")
    discard(Run(tmp_path / "runs" / "gse-1"))
    next(button for button in app.button if button.label == "Move to the bin").click()
    assert not app.run().exception and "any more; nothing was moved" in app.error[0].value


def test_a_label_of_ones_own_is_what_every_page_says(some, open_page):
    app = choose(open_page("runs"), "gse-1")
    app.text_input[1].set_value("my best")
    app.text_input[2].set_value("a, b,")
    app = click(app, "Save")
    assert Marks(runs_root()).all() == {"gse-1": Mark("my best", ("a", "b"))}
    assert "my best" in table(app).index
    assert list(page_table(open_page("leaderboard"), "recipe", "overall")["recipe"]) == ["my best", "baseline"]
    assert "my best" in open_page("compare").multiselect(key="runs").options


def test_the_chosen_runs_are_compared_whatever_the_other_pages_show(some, open_page, add_run):
    for seed in (5, 6):
        add_run("gse", seed=seed, overall=seed / 10, data="other")
    app = choose(open_page("runs", recipe="baseline"), "gse-5", "gse-6")
    assert app.session_state["from"].endswith("(SST 8544)") and app.session_state["recipe"] == ["baseline"]
    app = click(app, "Compare these")
    assert app.title[0].value == "Compare" and app.multiselect(key="runs").value == ["gse-5", "gse-6"]
    assert app.session_state["from"].endswith("(other)") and app.session_state["recipe"] == []
    apart = choose(open_page("runs"), "gse-1", "gse-5")
    assert next(button for button in apart.button if button.label == "Compare these").disabled


def test_a_group_with_a_run_without_a_score_has_no_mean(add_run, open_page):
    add_run("cosine_d", seed=1, overall=.5)
    add_run("cosine_d", seed=2, overall=None)
    add_run("gse", seed=1, overall=.6)
    add_run("gse", seed=2, overall=.1, state="running")
    found = page_table(open_page("runs", group="recipe"), "group", "mean").set_index("group")["mean"]
    assert found["gse"] == .6 and found.isna()["cosine_d"]


def test_a_run_goes_to_the_bin_and_comes_back(some, open_page):
    app = click(choose(open_page("runs"), "gse-1"), "Move to the bin")
    assert "gse-1" not in table(app).index and not (runs_root() / "gse-1").exists()
    assert "gse-1" not in page_text(open_page("leaderboard"))
    app = click(app, "Put back")
    assert "gse-1" in table(app).index and (runs_root() / "gse-1").is_dir()


def test_a_shipped_run_cannot_be_thrown_away(some, open_page, tmp_path):
    stored(tmp_path / "shipped", records("frozen"))
    app = choose(open_page("runs"), "shipped/frozen-1")
    button = next(button for button in app.button if button.label == "Move to the bin")
    assert button.disabled
    click(app, "Hide")
    assert (tmp_path / "shipped" / "frozen-1").is_dir() and Marks(runs_root()).all()["shipped/frozen-1"].hidden


def test_a_run_is_trained_again_with_another_head(add_run, open_page, monkeypatch, tiny_data, tmp_path):
    import jobs

    monkeypatch.setenv("LAB_DATA", str(tiny_data))
    started = []
    monkeypatch.setattr(jobs, "start", lambda *command: started.append(command) or jobs.Job(tmp_path, command, 0, 0))
    add_run("gse", seed=7, sts_head="linear")
    app = choose(open_page("runs"), "gse-7")
    (pills,) = app.pills if hasattr(app, "pills") else app.get("button_group")
    assert "linear" not in pills.options and not started
    pills.set_value("cosine_d")
    app = rerun(app)
    assert "--set sts_head=cosine_d --set seed=7" in app.code[0].value
    app = click(app, "Train it")
    assert started[0][:4] == ("ablate", "gse", "--protocol", "laptop") and "sts_head=cosine_d" in started[0]
    assert "Started: lab ablate gse" in page_text(app).replace("\\", "")
