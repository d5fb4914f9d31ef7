"""Panels on a page: each with a legend and a text alternative."""

import json

from helpers import page_figures, page_text

from lab.figures.training import SCORE_TITLES


def test_each_picture_has_a_legend_of_its_own_in_which_a_click_isolates_a_line(three_seeds, open_page):
    app = open_page("curves")
    for figure in page_figures(app):
        assert [trace["name"] for trace in figure["data"] if trace["showlegend"]] == ["baseline", "gse"]
        assert figure["layout"]["legend"]["itemclick"] == "toggleothers" and figure["layout"]["showlegend"]
    assert [figure["layout"]["title"]["text"] for figure in page_figures(app)] == list(SCORE_TITLES.values())
    alts = [chart.proto.alt for chart in app.get("plotly_chart")]
    assert all("gse ends at 0.82 (epoch 2), the highest" in alt for alt in alts)
    assert not any(figure["layout"].get("showlegend") for figure in page_figures(open_page("leaderboard")))
    options = json.loads(app.get("plotly_chart")[0].proto.config)["toImageButtonOptions"]
    assert options["scale"] == 2 and options["format"] == "png"
    app = open_page("curves", pictures="SVG")
    assert json.loads(app.get("plotly_chart")[0].proto.config)["toImageButtonOptions"]["format"] == "svg"


def test_pages_of_scores_show_what_no_training_gives(add_run, open_page):
    add_run("strong", pooling="mean", more=[
        (0, split, *row) for split in ("dev", "dev_full") for row in (
            ("sst", "majority_class", .26), ("qqp", "majority_class", .62), ("sts", "no_training_mean", .84))])
    for page in ("curves", "overfitting"):
        app = open_page(page)
        named = {trace["name"] for figure in page_figures(app) for trace in figure["data"] if trace["showlegend"]}
        assert {"majority class", "no training (mean)"} <= named
        assert "Gray lines: what no training gives" in page_text(app).replace("\\", "")
        assert "majority class at 0.26." in app.get("plotly_chart")[0].proto.alt
    assert not [o for o in open_page("curves").selectbox(key="what").options if "majority" in o or "no_training" in o]
    app = open_page("leaderboard")
    board, beside = (table.value for table in app.dataframe[:2])
    assert list(board["recipe"]) == ["strong"]
    assert list(beside["for comparison"]) == ["majority class", "no training (mean)"]
    assert list(beside["sst"]) == [.26, .26] and {"majority class", "no training (mean)"} <= {
        name for figure in page_figures(app) for trace in figure["data"] for name in trace["y"]}
