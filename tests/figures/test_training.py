"""Figures of made-up records: which values a line is made from, its style, its texts."""

import numpy as np
import pandas as pd
import pytest
from helpers import first_quick, records

import lab
from lab import figures
from lab.figures import training
from lab.figures.panels import describe, numbers, standalone
from lab.figures.styles import STYLES
from lab.results import tables
from lab.results.significance import interval

EVERY = {"curves": figures.curves, "leaderboard": figures.leaderboard, "conflict": figures.conflict,
         "smart": figures.smart, "overfit": lambda runs: figures.overfit(runs, str(runs["name"].iloc[0]))}
PAIR = "sst-qqp"


def lines(figure, axis="x"):
    """The lines of one panel: name -> (x, y)."""
    return {t.name: (list(t.x), list(t.y)) for t in figure.data
            if t.mode == "lines+markers" and (t.xaxis or "x") == axis}


def bands(figure, axis="x"):
    return {t.name: t for t in figure.data if t.fill == "toself" and (t.xaxis or "x") == axis}


def diagnostics(split="batch", shift=0.0):
    """Two windows in the first epoch and one in the second."""
    return [(step, split, task, metric, value + shift) for step, value in ((20, 0.1), (40, 0.3), (94, 0.5))
            for task, metric in ((PAIR, "cosine"), (PAIR, "conflict"), ("sst", "grad_norm"), ("qqp", "grad_norm"))]


def with_everything(name="baseline", seed=1, **more):
    sampled = [(94, "sampled", task, metric, value) for task in ("sst", "qqp", "sts")
               for metric, value in (("penalty", 0.3), ("penalty_dropout", 0.2), ("penalty_noise", 0.1))]
    return records(name, seed, more=[*diagnostics(), *sampled, (94, "batch", "all", "noise_norm", 0.76)], **more)


# The panels that each figure is assembled of, as pages draw them.
PANELS = {"curves": training.curve_panels, "leaderboard": training.leaderboard_panels,
          "conflict": training.conflict_panels, "smart": training.smart_panels,
          "overfit": lambda runs: training.overfit_panels(runs, str(runs["name"].iloc[0]))}


@pytest.mark.parametrize("draw", EVERY.values(), ids=EVERY)
def test_figures_say_what_they_were_made_from(draw):
    runs = [with_everything(), with_everything("multitask", started="2026-11-25T09:00:00+0000")]
    figure = draw(pd.concat(runs))
    title = figure.layout.title.text
    assert "data: SST 8544 · encoder: minilm · protocol: laptop · seeds: 1 · date: 2026-11-23" in title
    assert len(figure.data) >= 4
    empty = draw(lab.load_runs()) if draw is not EVERY["overfit"] else figures.overfit(lab.load_runs(), "baseline")
    assert empty.layout.annotations[0].text == "nothing recorded yet" and "no runs" in empty.layout.title.text


@pytest.mark.parametrize("kind", EVERY)
def test_a_figure_has_the_titles_and_traces_of_its_panels(kind):
    runs = pd.concat([with_everything(), with_everything("multitask")])
    figure, panels = EVERY[kind](runs), PANELS[kind](runs)
    assert [note.text for note in figure.layout.annotations] == [panel.title for panel in panels]
    assert len(figure.data) == sum(len(panel.traces) for panel in panels)
    assert kind == "overfit" or PANELS[kind](runs[:0]) == []


def test_curves_are_means_over_seeds_and_over_nothing_else():
    seeds = [records(seed=1, overall=0.5, lr=1), records(seed=2, overall=0.7, lr=1),
             records(seed=2, overall=0.7, lr=1, run="the same again")]
    x, y = lines(figures.curves(pd.concat(seeds)))["baseline"]
    assert y == pytest.approx([0.4, 0.6]) and x == [1, 2]
    others = [records(run="x", overall=0.1, lr=2), records(run="y", data="sample", lr=1)]
    found = lines(figures.curves(pd.concat([*seeds, *others])))
    assert set(found) == {"baseline (data=SST 8544, lr=1)", "baseline (data=SST 8544, lr=2)",
                          "baseline (data=sample, lr=1)"}
    assert found["baseline (data=SST 8544, lr=2)"][1] == pytest.approx([0.4, 0.1])
    twins = pd.concat([records(run="x", overall=0.1), records(run="y", seed=2).assign(fingerprint="other")])
    assert len(lines(figures.curves(twins))) == 2  # two data folders of one name are two lines


def test_curves_by_updates_and_within_an_epoch():
    assert lines(figures.curves(records(), x="updates"))["baseline"][0] == [3 * 47, 3 * 94]  # three steps an iteration
    gse = records("gse", updates=["pcgrad", "sum"])
    assert lines(figures.curves(gse, x="updates"))["gse"][0] == [2 * 47, 2 * 94]
    assert not figures.curves(records(), metric="loss", split="batch", x="updates").data  # nothing recorded
    loss = records(more=[(step, "batch", "sst", "loss", 1.0) for step in (25, 50, 94)])
    found = lines(figures.curves(loss, metric="loss", split="batch"))["baseline"]
    assert found[0] == pytest.approx([25 / 47, 50 / 47, 2])


def test_curves_smooth_thin_and_show_each_seed():
    steps = range(1, 1001)
    runs = pd.concat([records(seed=seed, more=[(step, "batch", "sst", "loss", 9.0 if step == 777 else seed + step % 2)
                                               for step in steps]) for seed in (1, 2)])
    plain = figures.curves(runs, "loss", "batch", "step").data[-1]
    assert len(plain.x) <= 403 and max(plain.y) == 9
    figure = figures.curves(runs, "loss", "batch", "step", smooth=0.1, each_seed=True, log=True)
    _, behind, seeds, line = figure.data
    assert max(behind.y) == 9 and np.ptp(line.y[50:]) < 0.5 < np.ptp(behind.y) and figure.layout.yaxis.type == "log"
    assert set(seeds.customdata[~np.isnan(seeds.customdata)]) == {1, 2} and np.isnan(seeds.y).sum() == 2
    assert figure.layout.xaxis.title.text == "step (smoothed, half-life 100)"
    recorded = training.recorded(runs)
    assert ("loss", "batch") in recorded and recorded[0] == ("score", "dev")


def test_the_band_is_the_interval_from_three_seeds_the_range_of_two_and_nothing_for_one():
    values = [0.5, 0.6, 0.9]

    def band(count):
        runs = pd.concat([records(seed=i, overall=v) for i, v in enumerate(values[:count])])
        return bands(figures.curves(runs)).get("baseline")

    assert band(1) is None
    two, (_, low, high) = band(2), interval(values)
    assert list(two.x)[:4] == [1, 2, 2, 1] and np.isnan(two.x[4])
    assert list(two.y)[:4] == pytest.approx([0.4, 0.6, 0.5, 0.4])
    assert list(band(3).y)[1:3] == pytest.approx([high, low]) and band(3).showlegend is False


def test_a_null_seed_is_a_gap_in_line_and_band():
    runs = pd.concat([records(seed=1), records(seed=2)])
    runs.loc[(runs["seed"] == 2) & (runs["step"] == 94) & (runs["task"] == "sts"), "value"] = np.nan
    figure = figures.curves(runs)
    sts = lines(figure, "x3")["baseline"][1]
    assert sts[0] == 0.4 and np.isnan(sts[1]) and 2 not in bands(figure, "x3")["baseline"].x
    assert 2 in bands(figure)["baseline"].x


def test_a_mean_is_drawn_only_where_all_of_its_seeds_have_a_value():
    short = records(seed=3, overall=0.9, state="running").query("step < 94 and split != 'dev_full'")
    running = pd.concat([records(seed=1, state="running"), records(seed=2, overall=0.7, state="running"), short])
    figure = figures.curves(running)
    x, y = lines(figure)["baseline"]
    assert x[:1] == [1] and y[0] == pytest.approx(0.4) and np.isnan(y[1:]).all()
    assert 2 not in bands(figure)["baseline"].x
    two = figures.overfit(running[running["seed"] != 2], "baseline")  # the gap and the best epoch are of epoch 1
    assert "gap at the end 0.100" in two.layout.annotations[0].text and two.layout.shapes[0].x0 == 1


def test_a_seed_that_failed_takes_nothing_from_the_mean_of_those_that_finished_and_lies_beside_it():
    short = records(seed=3, overall=0.1, state="failed").query("step < 94 and split != 'dev_full'")
    runs = pd.concat([records(seed=1), records(seed=2, overall=0.7), short])
    figure, whole = figures.curves(runs), figures.curves(runs[runs["state"] == "done"])
    x, y = lines(figure)["baseline"]
    assert (list(x), list(y)) == tuple(map(list, lines(whole)["baseline"])) and not np.isnan(y).any()
    thin = [trace for trace in figure.data if trace.line.width == 1]
    assert thin and set(thin[0].customdata[~np.isnan(thin[0].customdata)]) == {3}
    found = tables.overfitting(runs).iloc[0]
    assert found["dev_last"] == tables.overfitting(runs[runs["state"] == "done"])["dev_last"].iloc[0]


FLOORS = [(0, split, *row) for split in ("dev", "dev_full") for row in (
    ("sst", "majority_class", .26), ("qqp", "majority_class", .62), ("sts", "no_training_cls", .77),
    ("sts", "no_training_mean", .84))]


def test_curves_show_what_no_training_gives_of_the_poolings_that_are_drawn():
    figure = figures.curves(records(more=FLOORS, pooling="mean"))
    flat = {(line.yaxis, line.name): list(line.y) for line in figure.data if line.mode == "lines"}
    assert flat == {("y", "majority class"): [.26, .26], ("y2", "majority class"): [.62, .62],
                    ("y3", "no training (mean)"): [.84, .84],
                    ("y4", "no training (mean)"): [pytest.approx((.26 + .62 + .92) / 3)] * 2}
    beside = figures.overfit(records(more=FLOORS, pooling="cls"), "baseline")
    assert {"majority class", "no training (cls)"} <= {line.name for line in beside.data}
    assert not [line for line in figures.curves(records()).data if line.mode == "lines"]  # an older record has none
    both = pd.concat([records(more=FLOORS), records(more=FLOORS, data="other", run="x")])
    assert not [line for line in figures.curves(both).data if line.mode == "lines"]  # nor have runs on other data


def test_flat_lines_span_a_panel_and_are_named_where_its_lines_are():
    begin = [(0, "dev", task, metric, .1) for task, metric in (("sst", "accuracy"), ("sts", "pearson"))]
    runs = pd.concat([records(more=[*FLOORS, *begin], pooling="mean"), records("gse", pooling="mean")])
    panels = training.curve_panels(runs)
    first, _, sts, _ = panels
    (flat,) = first.flat
    assert flat["x"] == [0, 2] and first.traces[0] is flat and standalone(first).data[0].mode == "lines"
    assert describe(first).endswith(" For comparison: majority class at 0.26.")
    assert describe(sts).endswith(" For comparison: no training (mean) at 0.84.")
    named = [[line.name for line in standalone(panel).data if line.showlegend] for panel in (first, sts)]
    assert [sorted(names) for names in named] == [["baseline", "gse", "majority class"],
                                                  ["baseline", "gse", "no training (mean)"]]
    table = numbers([first])
    assert table.loc[table["line"] == "majority class", ["epoch", "mean"]].values.tolist() == [[0, .26], [2, .26]]
    assert not {metric for metric, _ in training.recorded(runs)} & {"majority_class", "no_training_mean"}


def test_the_leaderboard_shows_what_no_training_gives_below_all_recipes():
    runs = pd.concat([records(more=FLOORS, pooling="mean"), records("gse", overall=.6, pooling="mean")])
    figure = figures.leaderboard(runs)
    at = {(t.xaxis, t.y[0]): t.x[0] for t in figure.data if t.marker.symbol == "line-ns-open"}
    assert at == {("x", "majority class"): .26, ("x2", "majority class"): .62, ("x", "no training (mean)"): .26,
                  ("x2", "no training (mean)"): .62, ("x3", "no training (mean)"): .84,
                  ("x4", "no training (mean)"): pytest.approx((.26 + .62 + .92) / 3)}
    assert list(figure.layout.yaxis.categoryarray) == ["no training (mean)", "majority class", "baseline", "gse"]
    assert figure.layout.yaxis.range == figure.layout.yaxis3.range == (-.7, 3.7)


def test_each_recipe_has_a_style_of_its_own_in_every_figure():
    runs = pd.concat([with_everything(name) for name in STYLES])
    found = {}
    for draw in (figures.curves, figures.conflict, figures.smart):
        for line in draw(runs).data:
            if line.mode == "lines+markers":
                found.setdefault(line.name.removesuffix(" (sampled)"), set()).add(
                    (line.line.color, line.line.dash, line.marker.symbol))
    assert found == {name: {style} for name, style in STYLES.items()}
    alone = figures.curves(records("fairgrad")).data[0]  # the same without the others
    assert (alone.line.color, alone.line.dash, alone.marker.symbol) == STYLES["fairgrad"]
    assert {m.marker.color for m in figures.leaderboard(records("smart")).data} == {STYLES["smart"].colour}


def test_the_legend_names_each_line_once():
    figure = figures.curves(pd.concat([records(), records("gse")]))
    assert sorted(t.name for t in figure.data if t.showlegend) == ["baseline", "gse"]


def differing_runs():
    return pd.concat([records("baseline", lr=0.1, pooling="cls"), records("smart", lr=0.1, pooling="cls"),
                      records("gse", lr=0.1, pooling="mean", updates=["pcgrad", "sum"])])


def test_the_pointer_names_the_settings_that_differ_and_no_others():
    said = {trace.y[0]: trace.meta[0] for trace in figures.leaderboard(differing_runs()).data if trace.meta}
    assert said["gse"] == "<br>updates: pcgrad,sum<br>pooling: mean"
    assert "lr" not in said["baseline"] and figures.leaderboard(records()).data[0].meta[0] == ""


def test_the_pointer_shows_all_lines_at_one_x_in_one_box():
    panels = training.curve_panels(differing_runs(), x="step")
    for layout in (figures.curves(differing_runs(), x="step").layout, standalone(panels[0]).layout):
        assert layout.hovermode == "x unified" and layout.xaxis.unifiedhovertitle.text == "step %{x:.4~g}"
    assert standalone(training.leaderboard_panels(differing_runs())[0]).layout.hovermode is None


def test_lines_take_the_colour_of_a_setting_and_the_legend_says_which():
    runs = differing_runs()
    assert training.colour_settings(runs) == ["updates", "pooling"]
    for panels in (training.curve_panels(runs, colour="pooling"), training.leaderboard_panels(runs, colour="pooling")):
        traces = panels[0].traces
        key = {trace["name"]: trace["marker"]["color"] for trace in traces if list(trace["x"]) == [None]}
        colours = {trace.get("name") or trace["y"][0]: trace["marker"]["color"] for trace in traces
                   if list(trace["x"]) != [None]}
        assert list(key) == ["pooling=cls", "pooling=mean"] and len(set(key.values())) == 2
        assert colours == {"baseline": key["pooling=cls"], "smart": key["pooling=cls"], "gse": key["pooling=mean"]}
        assert set(key) <= {trace.name for trace in standalone(panels[0]).data if trace.showlegend}
    both = [trace for trace in training.curve_panels(runs, colour="pooling")[0].lines if trace["name"] != "gse"]
    assert len({trace["line"]["dash"] for trace in both}) == 2  # told apart by more than their colour


def test_overfit_marks_the_epoch_that_was_best_on_dev_of_each_score():
    def marked(runs):
        figure = figures.overfit(runs, "smart")
        assert figure.data[-1].name == "best epoch on dev, of each score"
        return [shape.x0 for shape in figure.layout.shapes]

    falls, rises = records("smart", overall=0.3), records("smart", overall=0.6)
    assert marked(falls) == [1] * 4 and marked(rises) == [2] * 4
    one = rises.copy()
    one.loc[(one["task"] == "sts") & (one["split"] == "dev") & (one["step"] == 47), "value"] = 0.9
    assert marked(one) == [2, 2, 1, 2]
    null = rises.copy()
    null.loc[(null["task"] == "all") & (null["step"] == 94), "value"] = np.nan
    assert marked(null) == [2, 2, 2, 1]
    null.loc[null["task"] == "all", "value"] = np.nan
    assert marked(null) == [2, 2, 2, 2]  # all null: the last
    figure = figures.overfit(pd.concat([rises, records()]), "smart")
    assert [t.name for t in figure.data if t.showlegend] == ["train", "dev", "best epoch on dev, of each score"]
    assert lines(figure) == {"train": ([1, 2], [0.5, 0.9]), "dev": ([1, 2], [0.4, 0.6])}
    for name in ("smart", "smart_gse"):  # whose line is dotted elsewhere
        drawn = {(t.name, t.line.dash) for t in figures.overfit(records(name), name).data if t.mode == "lines+markers"}
        assert drawn == {("train", "dot"), ("dev", "solid")}


def test_conflict_draws_each_epochs_mean_and_says_what_was_sampled():
    runs = pd.concat([records("gse", more=[*diagnostics(), *diagnostics("sampled", 9)]),
                      records("baseline", more=[*diagnostics("sampled"), (94, "batch", "sst", "grad_norm", 7.0)]),
                      records("multitask")])
    figure = figures.conflict(runs)
    titles = [note.text for note in figure.layout.annotations]
    assert titles == ["SST and QQP: cosine", "SST and QQP: share in conflict", "SST: gradient norm",
                      "QQP: gradient norm"]
    for axis in ("x", "x2", "x3", "x4"):
        found = lines(figure, axis)
        assert set(found) == {"gse", "baseline (sampled)"}  # gse's own, not what was sampled beside them
        for x, y in found.values():
            assert x == [1, 2] and y == pytest.approx([0.2, 0.5])


def test_conflict_draws_the_null_of_the_cosines():
    null = [(94, "sampled", "sst-qqp", "cosine_gap", -0.2), (94, "sampled", "sst-qqp", "cosine_shuffled", 0.1),
            (94, "sampled", "sst", "cosine_within", 0.4)]
    figure = figures.conflict(pd.concat([records("gse", more=[*diagnostics(), *null])]))
    titles = [note.text for note in figure.layout.annotations]
    assert titles[-2:] == ["SST and QQP: cosine minus that of shuffled labels",
                           "SST: cosine of two batches of one task"]
    assert lines(figure, "x5") == {"gse (sampled)": ([2], [-0.2])} and lines(figure)["gse"][1]
    assert lines(figure, "x6") == {"gse (sampled)": ([2], [0.4])}


def test_smart_splits_the_penalty():
    runs = pd.concat([with_everything("smart"), records("gse", more=diagnostics()),
                      records("smart_gse", more=[(50, "batch", "sst", "penalty", 0.4)])])
    figure = figures.smart(runs)
    by_title = {note.text: lines(figure, f"x{i or ''}") for i, note in
                zip([0, *range(2, 11)], figure.layout.annotations, strict=True)}
    assert by_title["SST: penalty"] == {"smart (sampled)": ([2], [0.3]), "smart_gse": ([2], [0.4])}
    assert by_title["STS: by dropout"] == {"smart (sampled)": ([2], [0.2])}
    assert by_title["QQP: by noise"] == {"smart (sampled)": ([2], [0.1])}
    assert by_title["largest entry of the noise"] == {"smart (sampled)": ([2], [0.76])}
    assert figure.layout.yaxis4.matches == figure.layout.yaxis7.matches == "y"  # a part on the scale of its whole
    assert not figures.smart(records("gse")).data


def test_the_leaderboard_has_a_point_a_seed_and_from_three_on_an_interval():
    few = figures.leaderboard(pd.concat([records(seed=1), records(seed=2, overall=0.6)]))
    assert [list(t.x) for t in few.data if t.xaxis == "x4"] == [[0.5, 0.6]]
    values = [0.5, 0.6, 0.9]
    runs = [records(seed=i, overall=v) for i, v in enumerate(values)]
    many = figures.leaderboard(pd.concat([*runs, records("gse", overall=0.95), records("smart", overall=0.1)]))
    mean, points = [t for t in many.data if t.xaxis == "x4" and t.y[0] == "baseline"]
    assert list(points.x) == values and mean.x[0] == pytest.approx(interval(values)[0])
    assert mean.error_x.array[0] == pytest.approx(interval(values)[2] - interval(values)[0])
    assert list(many.layout.yaxis.categoryarray) == ["smart", "baseline", "gse"]  # from below: the best on top


@pytest.mark.parametrize("lacking", first_quick("name", "data", "fingerprint", "seed", "started", "step", "epoch",
                                                "value"))
def test_a_record_that_lacks_a_field_breaks_no_picture(lacking):
    runs = pd.concat([with_everything().astype({lacking: object}), records("gse")])
    runs.loc[runs["run"] == "baseline-1", lacking] = None
    for draw in (figures.curves, figures.leaderboard, figures.conflict, lambda runs: figures.overfit(runs, "gse")):
        assert draw(runs).layout.title.text


@pytest.mark.parametrize("draw", EVERY.values(), ids=EVERY)
def test_texts_from_files_are_never_html(draw):
    evil = "<script>alert(1)</script>"
    runs = [with_everything(name, data="<b>x</b>", encoder_note=f"<i>{i}</i>")
            for i, name in enumerate((evil, "<a href='javascript:1'>gse</a>"))]
    figure = draw(pd.concat(runs).assign(encoder="<img src=x>"))
    text = figure.to_json().replace("\\u003c", "<")
    for tag in ("<script", "<a ", "<i>", "<img", "<b>x"):
        assert tag not in text
    assert "&lt;" in text
