"""The leaderboard: numbers and verdicts, the selection of rows, Table 2."""

import pytest
from helpers import page_figures, page_text


def drawn(app):
    """The recipes in the figures."""
    return {name for figure in page_figures(app) for trace in figure["data"] for name in trace["y"]}


def test_it_has_numbers_verdicts_and_the_missing_recipes(three_seeds, add_run, open_page):
    add_run("smart", state="running")
    app = open_page("leaderboard")
    board = app.dataframe[0].value
    assert list(board["recipe"]) == ["gse", "baseline"] and board["overall"].tolist() == pytest.approx([0.82, 0.52])
    assert board["verdict"].tolist() == ["better", "reference"] and board["overall, paper"].tolist() == [0.644, 0.641]
    assert "smart-1 (running, 47 of 94 iterations)" in page_text(app)
    assert "not here: multitask" in page_text(app)
    app.selectbox(key="ref").set_value("gse").run()
    assert app.dataframe[0].value["verdict"].tolist() == ["reference", "worse"]
    app.text_input(key="find").set_value("GS").run()
    assert list(app.dataframe[0].value["recipe"]) == ["gse"]
    assert drawn(app) == {"gse"}
    app.text_input(key="find").set_value("no such recipe").run()
    assert not app.exception and not app.get("plotly_chart")
    assert drawn(open_page("leaderboard", recipe="gse", find="base")) == {"baseline"}


def test_with_one_seed_there_are_points_and_no_verdict(add_run, open_page):
    add_run("baseline")
    add_run("gse")
    app = open_page("leaderboard")
    assert "verdict" not in app.dataframe[0].value
    assert "no verdict against baseline: that takes 3 seeds" in page_text(app)
    assert len(page_figures(app)) == 4


def test_table_2_can_be_chosen(add_run, open_page):
    add_run("baseline", overall=0.5, test=0.7)
    assert open_page("leaderboard").dataframe[0].value["overall"].tolist() == [0.5]
    assert open_page("leaderboard", table="Table 2: test").dataframe[0].value["overall"].tolist() == [0.7]


def test_recipes_of_the_sidebar_are_the_selected_rows_and_what_other_pages_show(three_seeds, open_page):
    app = open_page("leaderboard", recipe="gse")
    assert list(app.dataframe[0].value["recipe"]) == ["gse", "baseline"]  # all, to choose more from
    assert app.session_state["rows-1"]["selection"]["rows"] == [0]
    app.multiselect(key="recipe").set_value(["baseline"]).run()
    assert app.session_state["rows-2"]["selection"]["rows"] == [1]  # another table than before
    app.run()
    assert app.session_state["rows-2"]["selection"]["rows"] == [1] and "rows-3" not in app.session_state
    assert set(open_page("curves", recipe="gse").dataframe[0].value["line"]) == {"gse"}


def test_an_empty_store_and_hostile_records_break_nothing(add_run, open_page):
    assert "No runs yet" in page_text(open_page("leaderboard"))
    config = add_run("x", more=[(1, "<b>", "<script>", "loss", -1.0)]) / "experiment.json"
    config.write_text(config.read_text().replace('"name": "x"', '"name": "<script>alert(1)</script>"'))
    for page in ("leaderboard", "curves", "overfitting", "gradients"):
        open_page(page)


def test_a_recipe_without_a_verdict_is_marked_and_one_seed_has_no_interval(three_seeds, add_run, open_page):
    add_run("smart", overall=.4)
    app = open_page("leaderboard")
    board = app.dataframe[0].value.set_index("recipe")
    assert board["vs"].to_dict() == {"gse": "▲", "baseline": "·", "smart": "?"}
    assert board["verdict"]["smart"] == "too few seeds (1)" and board["± overall"].isna()["smart"]
    assert "A recipe with one seed has no interval." in page_text(app)
    assert "▲ better than baseline" in page_text(app)


def test_points_take_the_colour_of_a_setting(add_run, open_page):
    for name, pooling in (("baseline", "cls"), ("gse", "mean")):
        add_run(name, pooling=pooling)
    names = {trace.get("name") for trace in page_figures(open_page("leaderboard", colour="pooling"))[0]["data"]}
    assert {"pooling=cls", "pooling=mean"} <= names
    assert open_page("leaderboard", colour="no such setting").selectbox(key="colour").value == "recipe"
