"""Panels: assembled to one figure, drawn each by itself, described in words and as a table."""

import re

import numpy as np
import pandas as pd
import pytest
from helpers import records

from lab.figures.panels import Panel, assemble, describe, escape, numbers, standalone
from lab.figures.training import SCORE_TITLES, curve_panels, leaderboard_panels, overfit_panels


def line(name, *values):
    return {"type": "scatter", "mode": "lines+markers", "name": name, "x": np.arange(1., len(values) + 1), "y": values}


@pytest.fixture
def runs():
    return pd.concat([records(overall=0.5), records("gse", overall=0.7)])


def test_a_figure_has_each_panel_on_axes_of_its_own_and_each_name_once_in_its_legend():
    panels = [Panel("first", [line("a", 1, 2), line("b", 3, 4)], "step", {"type": "log"}, vline=2),
              Panel("second", [line("b", 1, 2), line("c", 3, 4)], "step"), Panel("third", [line("c", 1)], "step")]
    figure = assemble(panels, "<title>", "<i>runs</i>", columns=2)
    assert [(t.name, t.xaxis, t.yaxis) for t in figure.data] == [
        ("a", "x", "y"), ("b", "x", "y"), ("b", "x2", "y2"), ("c", "x2", "y2"), ("c", "x3", "y3")]
    assert [(t.name, t.xaxis) for t in figure.data if t.showlegend] == [("a", "x"), ("b", "x"), ("c", "x2")]
    assert [note.text for note in figure.layout.annotations] == ["first", "second", "third"]
    assert figure.layout.yaxis.type == "log" and figure.layout.yaxis2.type is None
    titles = [figure.layout[f"xaxis{i}"].title.text for i in (1, 2, 3)]
    assert titles == [None, "step", "step"]  # under the last panel of each column
    (shape,) = figure.layout.shapes
    assert (shape.x0, shape.x1, shape.xref, shape.yref) == (2, 2, "x", "y domain")
    assert figure.layout.title.text == "&lt;title&gt;<br><sup>&lt;i&gt;runs&lt;/i&gt;</sup>"
    empty = assemble([], "title", "no runs", columns=2)
    assert not empty.data and empty.layout.annotations[0].text == "nothing recorded yet"


def test_what_a_figure_was_made_from_is_read_whole_in_lines_that_fit():
    made_from = " · ".join(f"{name}: {'x' * 40}" for name in ("data", "encoder", "protocol", "seeds"))
    title = assemble([], "title", made_from, columns=2).layout.title.text
    first, *lines = re.findall("[^<>]{10,}", title)
    assert " · ".join([first, *lines]) == made_from and lines
    assert max(map(len, [first, *lines])) <= 130  # a notebook's figure is about 900 pixels wide


def test_titles_of_panels_in_a_row_do_not_touch():
    def sizes(*titles, columns):
        figure = assemble([Panel(title, [line("a", 1)]) for title in titles], "", "", columns)
        return {note.font.size for note in figure.layout.annotations}

    assert sizes("one", "two", "three", columns=3) == {16}
    long = "QQP paraphrase: accuracy<br>best epoch 7, gap at the end 0.031"  # 34 letters of about half their height
    (size,) = sizes("one", long, "three", "four", columns=4)
    assert 11 < size and 34 * size / 2 < 900 / 4
    assert sizes(long, columns=4) == {16}  # alone, it has all the room


def test_panels_of_a_group_share_the_range_of_y():
    panels = [Panel("whole", [line("a", 0, 10)], group="sst"), Panel("other", [line("a", 0, 1)], group="qqp"),
              Panel("part", [line("a", 1, 2)], group="sst")]
    figure = assemble(panels, "", "", columns=3)
    assert [figure.layout[f"yaxis{i}"].matches for i in (1, 2, 3)] == [None, None, "y"]
    ranges = [standalone(panel, panels).layout.yaxis.range for panel in panels]
    assert ranges[0] == ranges[2] == (-.5, 10.5) and ranges[1] is None
    assert standalone(panels[0]).layout.yaxis.range is None


def test_a_panel_by_itself_has_its_title_its_axis_and_its_legend(runs):
    panels = curve_panels(runs)
    figures = [standalone(panel, panels) for panel in panels]
    assert [figure.layout.title.text for figure in figures] == list(SCORE_TITLES.values())
    assert all(len(figure.data) == 2 and figure.layout.xaxis.title.text == "epoch" and figure.layout.showlegend
               for figure in figures)
    assert all(isinstance(figure.to_plotly_json()["layout"]["template"], dict) for figure in figures)  # no mere name
    marked = overfit_panels(runs, "gse")
    assert {len(standalone(panel).layout.shapes) for panel in marked} == {1}
    board = leaderboard_panels(runs)
    assert {standalone(panel).layout.height for panel in board} == {180 + 24 * 2}


def test_a_description_names_the_lines_that_end_highest_and_lowest(runs):
    first, *_ = curve_panels(runs)
    assert describe(first) == ("SST sentiment: accuracy. gse ends at 0.7 (epoch 2), the highest; baseline ends at 0.5 "
                               "(epoch 2), the lowest.")
    lines = [line("a", 1, 2), line("&lt;b&gt;", 5, np.nan), line("c", 3)]
    assert describe(Panel("A<br>B", lines, "step (smoothed, half-life 2)")) == (
        "A, B. Of 3 lines, <b> ends at 5 (step 1), the highest; a ends at 2 (step 2), the lowest.")
    assert describe(Panel("empty", [line("a", np.nan)])) == "empty." == describe(Panel("empty", []))


def test_the_table_has_the_points_of_all_lines(runs):
    table = numbers(curve_panels(runs))
    assert list(table) == ["panel", "line", "epoch", "mean", "band"]
    assert set(table["panel"]) == set(SCORE_TITLES.values())
    assert np.allclose(table.query("line == 'gse'")["mean"], [0.4, 0.7] * 4)
    assert list(numbers(curve_panels(runs, x="step", smooth=.1))) == ["panel", "line", "step", "mean", "band"]
    assert numbers([]).empty and curve_panels(runs, "nothing") == []


def test_texts_are_escaped_for_plotlys_html():
    assert escape("<b>&'\"") == "&lt;b&gt;&amp;'\"" and escape(3) == "3"


def test_an_axis_on_which_all_values_are_equal_reaches_a_tenth_to_both_sides():
    flat, rising = Panel("flat", [line("a", .5, .5)]), Panel("rising", [line("a", .5, .6)])
    assert standalone(flat).layout.yaxis.range == pytest.approx((.45, .55))
    assert standalone(rising).layout.yaxis.range is None
    figure = assemble([flat, rising, Panel("log", [line("a", 2, 2)], yaxis={"type": "log"})], "", "", columns=3)
    assert figure.layout.yaxis.range == pytest.approx((.45, .55))
    assert figure.layout.yaxis2.range is None and figure.layout.yaxis3.range is None
    assert standalone(Panel("zero", [line("a", 0.)])).layout.yaxis.range == pytest.approx((-.1, .1))


def test_a_line_alone_is_named_where_a_panel_beside_it_has_more():
    two, one = Panel("SST", [line("a", 1, 2), line("b", 1, 3)], "epoch"), Panel("QQP", [line("a", 1, 2)], "epoch")
    assert standalone(one, [two, one]).layout.showlegend and not standalone(one, [one]).layout.showlegend
