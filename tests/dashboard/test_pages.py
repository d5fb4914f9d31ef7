"""The pages that compare runs: leaderboard, curves, overfitting, gradients, on stores written by hand."""

import json
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest
from helpers import records
from streamlit.testing.v1 import AppTest

from lab import figures
from lab.figures import panels
from lab.figures.styles import STYLES
from lab.results import tables

DASHBOARD = Path(__file__).resolve().parents[2] / "dashboard"
PAGES = ("leaderboard", "curves", "overfitting", "gradients")


def write_run(root, name="baseline", seed=1, state="done", **more):
    """One made-up run as a folder."""
    rows = records(name, seed, **more)
    folder = root / f"{name}-{seed}"
    folder.mkdir(parents=True)
    settings = json.loads(rows["settings"].iloc[0]) | {"seed": seed, "protocol": "laptop", "encoder": "minilm"}
    config = {"experiment": settings, "departs": [], "started": "2026-11-23T10:00:00+0000",
              "data": {"label": "SST 8544", "fingerprint": "f"}}
    (folder / "experiment.json").write_text(json.dumps(config), encoding="utf-8")
    status = {"state": state, "step": 47, "total": 94, "heartbeat": 4e9}
    (folder / "status.json").write_text(json.dumps(status), encoding="utf-8")
    kept = ["step", "epoch", "split", "task", "metric", "value", "seconds"]
    rows[kept].to_json(folder / "metrics.jsonl", orient="records", lines=True)


@pytest.fixture
def open_page(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(DASHBOARD))

    def run(page, **address):
        app = AppTest.from_file(str(DASHBOARD / "app.py"), default_timeout=60)
        app.switch_page(f"views/{page}.py")
        for key, value in address.items():
            app.query_params[key] = value
        app.run()
        assert not app.exception and not app.error
        return app

    return run


def drawn(app):
    """The recipes in the leaderboard's pictures."""
    traces = [trace for chart in app.get("plotly_chart") for trace in json.loads(chart.proto.spec)["data"]]
    return {name for trace in traces for name in trace["y"]}


def shapes():
    """How a legend draws each marker; the dashboard's folder is on the path by now."""
    from panels import SHAPES

    return SHAPES


def said(app):
    return " ".join(of.value for of in (*app.info, *app.caption)).replace("\\", "")


@pytest.fixture
def store(tmp_path):
    root = tmp_path / "runs"
    for seed, (low, high) in enumerate([(0.51, 0.83), (0.53, 0.81), (0.52, 0.82)]):
        write_run(root, "baseline", seed, overall=low, best=0.6)
        write_run(root, "gse", seed, overall=high)
    return root


def test_the_leaderboard_has_numbers_verdicts_and_what_is_missing(store, open_page):
    write_run(store, "smart", state="running")
    app = open_page("leaderboard")
    board = app.dataframe[0].value
    assert list(board["recipe"]) == ["gse", "baseline"] and board["overall"].tolist() == pytest.approx([0.82, 0.52])
    assert board["verdict"].tolist() == ["better", "reference"] and board["overall, paper"].tolist() == [0.644, 0.641]
    assert "smart-1 (running, 47 of 94)" in said(app)
    assert "not here: multitask" in said(app)
    app.selectbox(key="ref").set_value("gse").run()
    assert app.dataframe[0].value["verdict"].tolist() == ["reference", "worse"]
    app.text_input(key="find").set_value("GS").run()
    assert list(app.dataframe[0].value["recipe"]) == ["gse"]
    assert drawn(app) == {"gse"}
    app.text_input(key="find").set_value("no such recipe").run()
    assert not app.exception and not app.get("plotly_chart")
    assert drawn(open_page("leaderboard", recipe="gse", find="base")) == {"baseline"}


def test_with_one_seed_there_are_points_and_no_verdict(tmp_path, open_page):
    write_run(tmp_path / "runs", "baseline")
    write_run(tmp_path / "runs", "gse")
    app = open_page("leaderboard")
    assert "verdict" not in app.dataframe[0].value and "no verdict against baseline below 3 seeds" in said(app)
    assert len(app.get("plotly_chart")) == 4


def test_table_2_stands_in_the_place_of_table_1(tmp_path, open_page):
    write_run(tmp_path / "runs", "baseline", overall=0.5, test=0.7)
    assert open_page("leaderboard").dataframe[0].value["overall"].tolist() == [0.5]
    assert open_page("leaderboard", table="Table 2: test").dataframe[0].value["overall"].tolist() == [0.7]


def test_recipes_chosen_on_the_left_are_chosen_rows_and_the_other_pages_runs(store, open_page):
    app = open_page("leaderboard", recipe="gse")
    assert list(app.dataframe[0].value["recipe"]) == ["gse", "baseline"]  # all, to choose more from
    assert app.session_state["rows-1"]["selection"]["rows"] == [0]
    app.multiselect(key="recipe").set_value(["baseline"]).run()
    assert app.session_state["rows-2"]["selection"]["rows"] == [1]  # another table than before
    app.run()
    assert app.session_state["rows-2"]["selection"]["rows"] == [1] and "rows-3" not in app.session_state
    assert set(open_page("curves", recipe="gse").dataframe[0].value["line"]) == {"gse"}


def test_curves_follow_the_address(store, open_page):
    table = open_page("curves").dataframe[0].value
    assert table["epoch"].max() == 2 and set(table["panel"]) == set(figures.SCORE_NAMES.values())
    app = open_page("curves", what="train score", by="updates", smooth="5 %", log="true", seeds="true")
    assert app.selectbox(key="what").value == ("score", "train") and app.dataframe[0].value["updates"].max() == 282
    assert len(app.get("plotly_chart")) == 4
    legend = app.get("html")[0].proto.body
    assert legend.count("role=listitem") == 2 and "> gse</span>" in legend and quote(STYLES["gse"].colour) in legend
    assert quote(shapes()[STYLES["gse"].marker]) in legend and not open_page("leaderboard").get("html")


def test_overfitting_says_what_going_on_cost(tmp_path, open_page):
    write_run(tmp_path / "runs", "baseline", overall=0.5, best=0.6)
    board = open_page("overfitting").dataframe[1].value
    row = board.iloc[0]
    assert (row["best epoch on dev"], row["going on cost"], row["gap"]) == (1, pytest.approx(0.1), pytest.approx(0.4))
    legend = open_page("overfitting").get("html")[0].proto.body  # train is an open marker, dev a filled one
    assert legend.count("role=listitem") == 3 and quote("fill='none'") in legend


def test_gradients_say_why_there_is_nothing(tmp_path, open_page):
    write_run(tmp_path / "runs", "baseline")
    app = open_page("gradients")
    assert "No task gradients are recorded" in said(app) and "No chosen run has SMART's penalty" in said(app)


def test_gradients_show_what_combining_changed(tmp_path, open_page):
    rows = [(94, "batch", "sst-qqp", "cosine", -0.2), (94, "batch", "all", "update_cosine", 0.9)]
    write_run(tmp_path / "runs", "gse", more=rows[:1])
    assert "is not in these records" in said(open_page("gradients"))
    write_run(tmp_path / "runs", "gse", 2, more=rows)
    app = open_page("gradients")
    assert "is not in these records" not in said(app)
    assert "update and plain mean: cosine" in set(app.dataframe[0].value["panel"])


@pytest.mark.parametrize("page", PAGES)
def test_an_empty_store_and_a_hostile_one_break_no_page(page, tmp_path, open_page):
    app = open_page(page)
    assert "No runs yet" in said(app)
    write_run(tmp_path / "runs", "x", more=[(1, "<b>", "<script>", "loss", -1.0)])
    config = tmp_path / "runs" / "x-1" / "experiment.json"
    config.write_text(config.read_text().replace('"name": "x"', '"name": "<script>alert(1)</script>"'))
    open_page(page)


def test_panels_are_the_figures_parts_with_words():
    runs = pd.concat([records(overall=0.5), records("gse", overall=0.7)])
    whole = figures.curves(runs)
    parts = panels.panels(whole)
    assert [part.layout.title.text for part in parts] == list(figures.SCORE_NAMES.values())
    assert [len(part.data) for part in parts] == [2] * 4 and all(part.layout.xaxis.title.text for part in parts)
    assert "gse ends at 0.7 (epoch 2), the highest; baseline ends at 0.5" in panels.said(parts[0])
    assert all(isinstance(part.to_plotly_json()["layout"]["template"], dict) for part in parts)  # no mere name
    assert {len(part.layout.shapes) for part in panels.panels(figures.overfit(runs, "gse"))} == {1}
    assert panels.panels(figures.curves(runs, "nothing")) == []
    assert np.allclose(panels.numbers(whole, "epoch").query("line == 'gse'")["mean"], [0.4, 0.7] * 4)


def test_overfitting_table_is_of_means_over_seeds():
    table = tables.overfitting(pd.concat([records(seed=1, best=0.7), records(seed=2, best=0.5)]))
    assert table[["best_epoch", "dev_best", "dev_last"]].iloc[0].tolist() == pytest.approx([1, 0.6, 0.5])
