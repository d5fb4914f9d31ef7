"""The curves: any metric, by the choices in the address."""

from helpers import page_figures, page_table, page_text

from lab.figures.training import SCORE_TITLES


def test_curves_follow_the_address(three_seeds, open_page):
    table = page_table(open_page("curves"), "panel", "epoch")
    assert table["epoch"].max() == 2 and set(table["panel"]) == set(SCORE_TITLES.values())
    table = page_table(open_page("curves", charts="overall score"), "panel", "epoch")
    assert set(table["panel"]) == {"overall score"}
    app = open_page("curves", what="score, a sample of train", by="updates", smooth="5 %", log="true", seeds="true")
    assert app.selectbox(key="what").value == "train score" and page_table(app, "updates")["updates"].max() == 282
    assert len(page_figures(app)) == 4


def test_at_first_there_are_four_lines_the_best_and_the_baseline(add_run, open_page):
    for number, name in enumerate(("baseline", "gse", "smart", "multitask", "strong", "frozen")):
        add_run(name, overall=.5 + number / 100)
    assert set(page_table(open_page("curves"), "line")["line"]) == {"baseline", "multitask", "strong", "frozen"}
    assert len(set(page_table(open_page("curves", lines="true"), "line")["line"])) == 6
    assert set(page_table(open_page("curves", recipe=["gse", "smart"]), "line")["line"]) == {"gse", "smart"}
    app = open_page("curves")
    assert "frozen ends with the highest overall score on dev: 0.550; strong follows" in page_text(app)


def test_metrics_are_named_in_words_and_an_address_may_name_them_as_they_are_recorded(add_run, open_page):
    add_run("baseline", more=[(25, "batch", "sst", "grad_norm", 1.)])
    app = open_page("curves", what="batch grad_norm")
    assert app.selectbox(key="what").value == "batch grad_norm"
    assert "score, all of dev, last and best epoch" in app.selectbox(key="what").options
    assert not [option for option in app.selectbox(key="what").options if "_" in option]
    assert page_figures(app)[0]["layout"]["title"]["text"] == "SST: length of a task's gradient"


def test_lines_take_the_colour_of_a_setting(add_run, open_page):
    for name, pooling in (("baseline", "cls"), ("gse", "mean"), ("smart", "mean")):
        add_run(name, pooling=pooling)
    data = page_figures(open_page("curves", colour="pooling"))[0]["data"]
    colours = {trace["name"]: trace["line"]["color"] for trace in data if trace["mode"] == "lines+markers"}
    assert colours["gse"] == colours["smart"] != colours["baseline"]
