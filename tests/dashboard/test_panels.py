"""Panels on a page: one legend for all, drawn as plotly draws the lines, and a text alternative for each."""

from urllib.parse import quote

from helpers import page_figures

from lab.figures.styles import STYLES
from lab.figures.training import SCORE_TITLES


def test_the_legend_has_each_line_with_its_colour_and_marker(dashboard, three_seeds, open_page):
    from panels import SHAPES

    app = open_page("curves")
    legend = app.get("html")[0].proto.body
    assert legend.count("role=listitem") == 2 and "> gse</span>" in legend
    assert quote(STYLES["gse"].colour) in legend and quote(SHAPES[STYLES["gse"].marker]) in legend
    assert [figure["layout"]["title"]["text"] for figure in page_figures(app)] == list(SCORE_TITLES.values())
    alts = [chart.proto.alt for chart in app.get("plotly_chart")]
    assert all("gse ends at 0.82 (epoch 2), the highest" in alt for alt in alts)
    assert not open_page("leaderboard").get("html")  # it names the recipes on its axis
