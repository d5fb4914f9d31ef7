"""Panels on a page: one legend for all, drawn as plotly draws the lines, and a text alternative for each."""

from urllib.parse import quote

from helpers import page_figures, page_text

from lab.figures.styles import MARKERS, STYLES
from lab.figures.training import SCORE_TITLES


def test_the_legend_has_each_line_with_its_colour_and_marker(dashboard, three_seeds, open_page):
    from panels import SHAPES

    assert set(SHAPES) == set(MARKERS)
    app = open_page("curves")
    legend = app.get("html")[0].proto.body
    assert legend.count("role=listitem") == 2 and "> gse</span>" in legend
    assert quote(STYLES["gse"].colour) in legend and quote(SHAPES[STYLES["gse"].marker]) in legend
    assert [figure["layout"]["title"]["text"] for figure in page_figures(app)] == list(SCORE_TITLES.values())[:3]
    alts = [chart.proto.alt for chart in app.get("plotly_chart")]
    assert all("gse ends at 0.82 (epoch 2), the highest" in alt for alt in alts)
    assert not open_page("leaderboard").get("html")  # it names the recipes on its axis


def test_pages_of_scores_show_what_no_training_gives(add_run, open_page):
    add_run("strong", pooling="mean", more=[
        (0, split, *row) for split in ("dev", "dev_full") for row in (
            ("sst", "majority_class", .26), ("qqp", "majority_class", .62), ("sts", "no_training_mean", .84))])
    for page in ("curves", "overfitting"):
        app = open_page(page)
        legend = app.get("html")[0].proto.body
        assert "> majority class</span>" in legend and "> no training (mean)</span>" in legend
        assert "Gray lines: what no training gives" in page_text(app).replace("\\", "")
        assert "majority class at 0.26." in app.get("plotly_chart")[0].proto.alt
    assert not [o for o in open_page("curves").selectbox(key="what").options if "majority" in o or "no_training" in o]
    app = open_page("leaderboard")
    board, beside = (table.value for table in app.dataframe[:2])
    assert list(board["recipe"]) == ["strong"]
    assert list(beside["for comparison"]) == ["majority class", "no training (mean)"]
    assert list(beside["sst"]) == [.26, .26] and {"majority class", "no training (mean)"} <= {
        name for figure in page_figures(app) for trace in figure["data"] for name in trace["y"]}
