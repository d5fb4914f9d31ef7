"""The curves: any metric, by the choices in the address."""

from helpers import page_figures, page_table, page_text

from lab.figures.training import SCORE_TITLES


def test_curves_follow_the_address(three_seeds, open_page):
    table = page_table(open_page("curves"), "panel", "epoch")
    assert table["epoch"].max() == 2 and set(table["panel"]) == set(list(SCORE_TITLES.values())[:3])
    table = page_table(open_page("curves", charts="overall score"), "panel", "epoch")
    assert set(table["panel"]) == {"overall score"}
    app = open_page("curves", what="train score", by="updates", smooth="5 %", log="true", seeds="true")
    assert app.selectbox(key="what").value == ("score", "train") and page_table(app, "updates")["updates"].max() == 282
    assert len(page_figures(app)) == 3


def test_at_first_there_are_four_lines_the_best_and_the_baseline(add_run, open_page):
    for number, name in enumerate(("baseline", "gse", "smart", "multitask", "strong", "frozen")):
        add_run(name, overall=.5 + number / 100)
    assert set(page_table(open_page("curves"), "line")["line"]) == {"baseline", "multitask", "strong", "frozen"}
    assert len(set(page_table(open_page("curves", lines="true"), "line")["line"])) == 6
    assert set(page_table(open_page("curves", recipe=["gse", "smart"]), "line")["line"]) == {"gse", "smart"}
    app = open_page("curves")
    assert "frozen ends with the highest overall score on dev: 0.550; strong follows" in page_text(app)
