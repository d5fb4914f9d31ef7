"""The curves: any metric, by the choices in the address."""

from helpers import page_figures, page_table

from lab.figures.training import SCORE_TITLES


def test_curves_follow_the_address(three_seeds, open_page):
    table = page_table(open_page("curves"), "panel", "epoch")
    assert table["epoch"].max() == 2 and set(table["panel"]) == set(SCORE_TITLES.values())
    app = open_page("curves", what="train score", by="updates", smooth="5 %", log="true", seeds="true")
    assert app.selectbox(key="what").value == ("score", "train") and page_table(app, "updates")["updates"].max() == 282
    assert len(page_figures(app)) == 4
