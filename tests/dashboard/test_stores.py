"""One's own runs beside those that ship with the lab, and the pages while the first run trains or has failed."""

import time
from pathlib import Path

import pytest
from helpers import page_figures, page_table, page_text, records, stored

PAGES = sorted(page.stem for page in (Path(__file__).resolve().parents[2] / "dashboard" / "views").glob("*.py"))
SHIPPED = ("baseline", 0.5), ("gse", 0.6)
BEGUN = {"state": "running", "heartbeat": time.time() + 3000, "step": 3, "total": 94}


@pytest.fixture
def shipped(tmp_path):
    """Two shipped runs, one seed each."""
    for name, score in SHIPPED:
        stored(tmp_path / "shipped", records(name, overall=score))
    return tmp_path / "shipped"


def board(app):
    """The recipes of the leaderboard, with the column that says whose runs they are."""
    table = page_table(app, "recipe", "overall")
    return dict(zip(table["recipe"], table["from"] if "from" in table else [None] * len(table), strict=True))


def test_the_first_run_of_ones_own_leaves_the_shipped_ones_in_sight(shipped, add_run, open_page):
    alone = open_page("leaderboard")
    assert board(alone) == {"gse": None, "baseline": None} and not alone.sidebar.radio
    add_run("smart", overall=0.55)
    assert board(open_page("leaderboard")) == {"gse": "shipped", "smart": "mine", "baseline": "shipped"}
    assert set(board(open_page("leaderboard", whose="mine"))) == {"smart"}
    assert set(board(open_page("leaderboard", whose="shipped"))) == {"gse", "baseline"}


def test_the_switch_goes_along_from_page_to_page(shipped, add_run, app):
    add_run("smart", overall=0.55)
    app.run()
    app.radio(key="whose").set_value("mine").run()
    for page in PAGES:
        app.switch_page(f"views/{page}.py").run()
        assert app.radio(key="whose").value == "mine", page
        assert app.multiselect(key="recipe").options == ["smart"], page


def test_a_group_with_finished_runs_comes_before_one_that_only_trains(add_run, open_page):
    for seed in (1, 2):
        add_run("smart", seed, state="running")
    add_run("baseline", data="sample")
    assert set(board(open_page("leaderboard"))) == {"baseline"}


def test_a_switch_that_would_leave_nothing_is_not_there(shipped, open_page):
    assert set(board(open_page("leaderboard", whose="mine"))) == {"gse", "baseline"}  # an old link, no own runs now


def test_further_seeds_of_a_shipped_recipe_are_in_its_row_which_says_so(shipped, add_run, open_page):
    for seed in (2, 3):
        add_run("baseline", seed)
    app = open_page("leaderboard")
    assert board(app) == {"gse": "shipped", "baseline": "2 mine, 1 shipped"}
    assert page_table(app, "seeds", "overall").set_index("recipe")["seeds"]["baseline"] == 3


def test_two_runs_of_one_name_and_seed_are_two_to_choose_from_and_one_in_the_table(shipped, add_run, open_page):
    add_run("baseline", overall=0.7)
    app = open_page("leaderboard")
    row = page_table(app, "seeds", "overall").set_index("recipe").loc["baseline"]
    assert (row["seeds"], row["overall"], row["from"]) == (1, 0.7, "mine")  # one's own counts
    app = open_page("compare", runs=["baseline-1", "shipped/baseline-1"])
    assert app.multiselect(key="runs").options == ["baseline-1", "shipped/baseline-1", "shipped/gse-1"]
    found = page_table(app, "score of", "baseline-1", "shipped/baseline-1").set_index("score of").loc["overall"]
    assert (found["baseline-1"], found["shipped/baseline-1"]) == (0.7, 0.5)


def test_the_sample_and_the_real_data_are_never_in_one_table(shipped, add_run, open_page):
    add_run("baseline", 2, data="sample", overall=0.1)
    app = open_page("leaderboard")
    real, sample = app.selectbox(key="from").options
    assert "SST 8544" in real and "sample" in sample
    assert page_table(app, "recipe", "overall")["overall"].tolist() == [0.6, 0.5]
    app = open_page("leaderboard", **{"from": sample})
    assert page_table(app, "recipe", "overall")["overall"].tolist() == [0.1]
    assert "say nothing about the real data" in page_text(app)


def test_predictions_and_mistakes_open_the_run_that_was_chosen(shipped, add_predictions, data, open_page):
    add_predictions(wrong=6)
    folder = add_predictions("gse", wrong=3)
    folder.rename(shipped / "theirs")
    app = open_page("mistakes", mr="shipped/theirs")
    assert app.selectbox(key="mr").value == "shipped/theirs" and len(page_table(app, "answer", "id")) == 3


@pytest.mark.parametrize("page", PAGES)
def test_while_the_first_run_trains_a_page_has_its_title_and_names_the_run(page, tmp_path, open_page):
    folder = stored(tmp_path / "runs", records("smart", state="running"), BEGUN)
    (folder / "metrics.jsonl").write_text("")  # as in the first 25 iterations
    app = open_page(page)
    assert len(app.title) == 1 and "No runs yet" not in page_text(app)
    assert [bar.proto.text.replace("\\", "") for bar in app.sidebar.get("progress")] == ["smart-1: 3 of 94"]
    if page not in ("predictions", "home", "runs", "train"):  # these show what is there without a measurement
        assert "Nothing is measured yet" in page_text(app) and "smart-1 (running, 3 of 94" in page_text(app)


@pytest.mark.parametrize("state", ["failed", "stopped"])
def test_a_run_that_failed_is_named_with_its_reason_as_a_stopped_one_is(state, tmp_path, open_page):
    status = {"state": state, "step": 50, "total": 94, "why": "the loss was not finite"}
    stored(tmp_path / "runs", records("smart"), status)
    app = open_page("leaderboard")
    said = page_text(app)
    assert f"smart-1 {state}: the loss was not finite" in said
    assert f"smart-1 ({state}, 50 of 94" in said and len(app.title) == 1


def test_scores_that_are_all_the_same_have_an_axis_around_them(add_run, open_page):
    add_run("baseline", overall=0.4)  # 0.4 after both epochs, a single point on the leaderboard
    for page, axis in (("curves", "yaxis"), ("leaderboard", "xaxis")):
        for figure in page_figures(open_page(page)):
            low, high = figure["layout"][axis]["range"]
            assert .3 < low < .4 < high < .5, page
