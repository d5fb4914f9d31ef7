"""Figures of training and of its results: curves, train beside dev, task gradients, SMART's penalty, the leaderboard.

`curves(...)` and the others take the frame of `lab.load_runs()`, or a part of it, and return a plotly figure whose
title says what it was made from; `curve_panels(...)` and so on give the same as panels, for pages. Lines are means over
seeds, with a band over them (a 95 % interval from 3 seeds on, the range of 2). Runs with other settings or data get a
line of their own. A recipe has one style in all figures, unless lines are coloured by a setting.
"""

import itertools
import json
import textwrap
from collections.abc import Mapping
from dataclasses import replace

import pandas as pd
import plotly.graph_objects as go

from lab.data import SCORES, TASK_NAMES, TASKS
from lab.figures.lines import line_panels, marker, over_seeds
from lab.figures.panels import DASHED, Panel, assemble, escape
from lab.figures.styles import GRAY, Style, coloured, style_of, styles_of
from lab.results.comparison import differing
from lab.results.words import METRICS, bounds, metric_words
from lab.runs.frames import (
    FLOORS,
    among,
    best_epoch,
    distinct_runs,
    ended,
    floors,
    labelled,
    last_rows,
    provenance,
    scores_on,
)
from lab.runs.labels import NO_CHANGE, as_set

SCORE_TITLES = {"sst": "SST sentiment: accuracy", "qqp": "QQP paraphrase: accuracy", "sts": "STS similarity: Pearson r",
                "all": "overall score"}
BEST_EPOCH = "best epoch on dev, of each score"
EACH_TASK = {task: TASK_NAMES[task] for task in TASKS}
EACH_PAIR = {"-".join(pair): " and ".join(map(str.upper, pair)) for pair in itertools.combinations(TASKS, 2)}


def recorded(runs: pd.DataFrame) -> list[tuple[str, str]]:
    """What `curves` can draw: each metric with its split. The scores come first and count as one metric.

    The floors are none: they are lines beside the scores.
    """
    found = runs[["metric", "split"]].drop_duplicates().astype(str).itertuples(index=False, name=None)
    named = {("score" if metric in SCORES.values() else metric, split) for metric, split in found
             if not metric.startswith(FLOORS)}
    return sorted(named, key=lambda pair: (pair[0] != "score", pair[1] != "dev", pair))


def colour_settings(runs: pd.DataFrame) -> list[str]:
    """The settings by which the lines of these runs can be coloured: those in which some of them differ."""
    first = distinct_runs(runs).drop_duplicates("label")
    return [field for field in differing([json.loads(text) for text in first["settings"]]) if field not in NO_CHANGE]


def curves(runs: pd.DataFrame, metric: str = "score", split: str = "dev", x: str = "epoch", *, smooth: float = 0,
           each_seed: bool = False, log: bool = False) -> go.Figure:
    """Figures 1-3: a panel for each task, a line for each recipe, by epoch, step, updates or seconds.

    metric: "score" (each task's own, and overall), or one as recorded, such as "loss" with split "batch". smooth: the
    half-life of an exponential mean (see `lines.smoothed`), as a share of the longest line's x; the recorded values
    stay as a faint line. each_seed: a thin line for each run. log: a logarithmic y-axis.
    """
    panels = curve_panels(runs, metric, split, x, smooth=smooth, each_seed=each_seed, log=log)
    return assemble(panels, f"{metric_words(metric, split)}, by {x}", provenance(distinct_runs(runs)), columns=2)


def curve_panels(runs: pd.DataFrame, metric: str = "score", split: str = "dev", x: str = "epoch", *, smooth: float = 0,
                 each_seed: bool = False, log: bool = False, colour: str = "") -> list[Panel]:
    """The panels of `curves`. colour: a setting; lines in which it is the same then have the same colour."""
    rows = scores_on(runs, [split], metric)
    about = distinct_runs(runs)
    rows = labelled(rows, about)
    if x in ("updates", "epoch"):
        settings = {text: json.loads(text) for text in about["settings"].unique()}
        # An iteration is one optimizer step per update; `separate` takes one for each of its three batches.
        steps = {text: sum(3 if update == "separate" else 1 for update in updates)
                 for text, of in settings.items()
                 for updates in [of["updates"] if isinstance(of.get("updates"), list) else ["sum"]]}
        iterations = rows["settings"].map({text: of.get("iterations") for text, of in settings.items()})
        epochs = rows["step"] / pd.to_numeric(iterations, errors="coerce")  # a fraction, where rows lie within an epoch
        rows = rows.assign(updates=rows["step"] * rows["settings"].map(steps).astype(float),
                           epoch=epochs.fillna(rows["epoch"]))
    names = EACH_TASK | EACH_PAIR | {"all": "all tasks"}
    titles = SCORE_TITLES if metric == "score" else {
        task: f"{name}: {escape(metric_words(metric))}" for task, name in names.items()}
    styles, key = _styles(about, colour)
    found = line_panels(rows.assign(panel=rows["task"]), titles, styles, x, smooth=smooth, each_seed=each_seed, log=log)
    if metric == "score":
        found = {task: with_floors(panel, task, runs, split) for task, panel in found.items()}
    return [replace(panel, traces=[*panel.traces, *key]) for panel in found.values()]


def with_floors(panel: Panel, task: str, runs: pd.DataFrame, split: str) -> Panel:
    """A panel of scores with horizontal lines behind it: what no training gives on the same rows (`frames.floors`).

    Of the poolings, those that these runs have are drawn.
    """
    column, lines = "overall" if task == "all" else task, []
    along = [float(x) for trace in panel.lines for x in trace["x"] if x == x]
    for _, row in _floors_of(runs, split).iterrows():
        if row[column] != row[column] or not along or (task in ("sst", "qqp") and row["pooling"]):
            continue
        dash = {"": "dash", "mean": "dot", "cls": "dashdot", "max": "longdash"}.get(row["pooling"], "dot")
        name = escape(row["floor"])
        lines.append({"type": "scatter", "x": [min(along), max(along)], "y": [row[column]] * 2, "mode": "lines",
                      "name": name, "legendgroup": name, "line": DASHED | {"dash": dash, "width": 1.5},
                      "meta": [name], "hovertemplate": "%{meta[0]}: %{y:.3f}<extra></extra>"})
    return replace(panel, traces=[*lines, *panel.traces])


def _floors_of(runs: pd.DataFrame, split: str) -> pd.DataFrame:
    """`frames.floors`: the majority class, and no training with the poolings that these runs have."""
    table = floors(runs, split)
    used = {json.loads(text).get("pooling") for text in runs["settings"].unique()} if len(table) else set()
    return table[table["pooling"].isin(["", *used])]


def overfit(runs: pd.DataFrame, name: str) -> go.Figure:
    """Figure 4: train and dev scores of one recipe by epoch, a panel for each task, with the gap between them at the
    end, and the epoch that was best on dev for that score.

    name: as `line_labels` gives it. The best epoch is that of the line, the mean over seeds.
    """
    about = distinct_runs(runs)
    return assemble(overfit_panels(runs, name), f"{name}: train and dev by epoch",
                    provenance(about[about["label"] == name]), columns=4)


def overfit_panels(runs: pd.DataFrame, name: str) -> list[Panel]:
    """The panels of `overfit`."""
    about = distinct_runs(runs)
    rows = labelled(scores_on(runs, ["train", "dev"]), about)
    rows = rows[rows["label"] == name]
    rows = rows.assign(label=rows["split"].astype(str), step=rows["epoch"], panel=rows["task"])
    ends = {key: best_epoch(part) for key, part in ended(rows).groupby(["task", "split"], observed=True)}
    none = (float("nan"),) * 3
    last = {key: ends.get(key, none)[2] for key in itertools.product(SCORE_TITLES, ("train", "dev"))}
    best = {task: ends.get((task, "dev"), none)[0] for task in SCORE_TITLES}
    notes = {task: [f"best epoch {epoch:g}" for epoch in [best[task]] if epoch == epoch]
             + [f"gap at the end {gap:.3f}" for gap in [last[task, "train"] - last[task, "dev"]] if gap == gap]
             for task in SCORE_TITLES}
    titles = {task: title + ("<br>" + ", ".join(notes[task])) * bool(notes[task])
              for task, title in SCORE_TITLES.items()}
    dev = style_of(name)._replace(dash="solid")  # here dashes tell train from dev
    train = dev._replace(dash="dot", marker=f"{dev.marker}-open")
    drawn = line_panels(rows, titles, {"train": train, "dev": dev})
    mine = runs[runs["run"].isin(about.loc[about["label"] == name, "run"])]
    drawn = {task: with_floors(panel, task, mine, "dev") for task, panel in drawn.items()}
    entry = {"type": "scatter", "x": [None], "y": [None], "mode": "lines", "line": DASHED, "name": BEST_EPOCH}
    return [replace(panel, traces=[*panel.traces, entry], vline=best[task]) if best[task] == best[task] else panel
            for task, panel in drawn.items()]


def conflict(runs: pd.DataFrame) -> go.Figure:
    """The task gradients over training: their cosines, the share of iterations in which they conflict, their norms.

    Also what combining them (PCGrad, ...) changed: the update's cosine with their plain mean, and its length divided by
    the mean's; and the null of the cosines: what is left of them against shuffled labels, and the cosines between two
    batches of one task. Means over each epoch. What is drawn from samples has a name that says so.
    """
    return assemble(conflict_panels(runs), "task gradients by epoch", provenance(distinct_runs(runs)), columns=3)


def conflict_panels(runs: pd.DataFrame) -> list[Panel]:
    """The panels of `conflict`."""
    titles = {f"{metric} {task}": f"{name}: {what}" for metric, what, names in (
        ("cosine", "cosine", EACH_PAIR), ("conflict", "share in conflict", EACH_PAIR),
        ("grad_norm", "gradient norm", EACH_TASK)) for task, name in names.items()} | {
            "update_cosine all": "update and plain mean: cosine", "update_length all": "update and plain mean: lengths"}
    null = {f"{metric} {of}": f"{name}: {METRICS[metric]}" for metric, names in (
        ("cosine_gap", EACH_PAIR), ("cosine_within", EACH_TASK)) for of, name in names.items()}
    return [*_diagnostics(runs, titles, first="batch", needs="cosine").values(),
            *_diagnostics(runs, null, first="sampled", needs="cosine_gap").values()]


def smart(runs: pd.DataFrame) -> go.Figure:
    """SMART's penalty on each task over training, before the factor lambda, and its parts by dropout and by noise.

    Means over each epoch. The last panel has the noise's largest entry, a mean over tokens, after the ascent.
    """
    return assemble(smart_panels(runs), "SMART's penalty by epoch", provenance(distinct_runs(runs)), columns=3)


def smart_panels(runs: pd.DataFrame) -> list[Panel]:
    """The panels of `smart`. Those of one task have one range of y: the parts stand on the scale of the whole."""
    titles = {f"{metric} {task}": f"{name}: {what}" for metric, what in (
        ("penalty", "penalty"), ("penalty_dropout", "by dropout"), ("penalty_noise", "by noise"))
        for task, name in EACH_TASK.items()} | {"noise_norm all": "largest entry of the noise"}
    found = _diagnostics(runs, titles, first="sampled", needs="penalty")
    return [replace(panel, group=key.split()[1]) for key, panel in found.items()]


def leaderboard(runs: pd.DataFrame) -> go.Figure:
    """Scores on all of dev at the last epoch: a point for each seed; from 3 seeds on, the mean and a 95 % interval."""
    panels = leaderboard_panels(runs)
    figure = assemble(panels, "dev, last epoch", provenance(distinct_runs(runs)), columns=4)
    return figure.update_layout(height=panels[0].height if panels else None)


def leaderboard_panels(runs: pd.DataFrame, colour: str = "", only: str = "") -> list[Panel]:
    """The panels of `leaderboard`, with the recipe that is best overall on top; below all, what no training gives.

    colour: a setting; recipes in which it is the same then have the same colour. The pointer names what differs.
    only: the panel of this task alone, "all" for the overall score.
    """
    about = distinct_runs(runs)
    rows = last_rows(labelled(scores_on(runs, ["dev_full"]), about))
    tasks = [task for task in SCORE_TITLES if task in set(rows["task"]) and only in ("", task)]
    means, (styles, key), what = over_seeds(rows, ["task", "label"], "step"), _styles(about, colour), _settings(about)
    overall = means["mean"].xs("all") if "all" in set(rows["task"]) else means["mean"].groupby("label").mean()
    order = list(overall.sort_values(ascending=False, kind="stable").index)  # nulls last
    traces: dict[str, list[dict]] = {task: [] for task in tasks}
    for (task, label), mean in means[means.index.isin(tasks, level="task")].iterrows():
        points, style = rows[(rows["task"] == task) & (rows["label"] == label)], styles[label]
        several = mean["n"] > 2 and mean["high"] > mean["mean"]
        if several:
            interval = " to ".join(bounds(mean["mean"], mean["low"], mean["high"]))
            traces[task].append({
                "x": [mean["mean"]], "y": [escape(label)], "marker": marker(style, 11), "meta": [interval, what[label]],
                "error_x": {"array": [mean["high"] - mean["mean"]], "color": style.colour},
                "hovertemplate": "mean %{x:.4f}, 95 % interval %{meta[0]}%{meta[1]}<extra></extra>"})
        traces[task].append({
            "x": list(points["value"]), "y": [escape(label)] * len(points),
            "customdata": [escape(seed) for seed in points["seed"]], "meta": [what[label]],
            "marker": {**marker(style, 5 if several else 10), "opacity": 0.6 if several else 1},
            "hovertemplate": "%{x:.4f}, seed %{customdata}%{meta[0]}<extra></extra>"})
    for _, row in _floors_of(runs, "dev_full").iterrows():
        for task in tasks:
            if (value := row["overall" if task == "all" else task]) == value:
                traces[task].append({
                    "x": [value], "y": [escape(row["floor"])], "hovertemplate": "%{x:.4f}, %{y}<extra></extra>",
                    "marker": {"symbol": "line-ns-open", "size": 14, "color": GRAY, "line": {"width": 2}}})
                order += [row["floor"]] * (row["floor"] not in order)
    yaxis = {"type": "category", "categoryorder": "array", "categoryarray": [escape(label) for label in order[::-1]],
             "range": [-0.7, len(order) - 0.3]}  # one for all panels, of which the first alone has the labels
    alike = {"type": "scatter", "mode": "markers", "showlegend": False}
    return [Panel(SCORE_TITLES[task], [*(trace | alike for trace in traces[task]), *key], yaxis=yaxis,
                  height=180 + 24 * len(order)) for task in tasks]


def _diagnostics(runs: pd.DataFrame, titles: Mapping[str, str], first: str, needs: str) -> dict[str, Panel]:
    """A panel for each "metric task", of the recipes that have the metric `needs`, by epoch.

    A recipe is drawn from the split `first` where that has `needs`, else from the other split, "batch" or "sampled";
    a panel that it has in one split alone is from that split.
    """
    rows = runs[among(runs, "metric", [key.split()[0] for key in titles]) & among(runs, "split", ["batch", "sampled"])]
    keys = ["split", "metric", "task", "run", "epoch"]
    rows = rows.groupby(keys, observed=True)["value"].mean().reset_index()  # all windows of an epoch weigh the same
    about = distinct_runs(runs)
    rows = labelled(rows.astype({key: object for key in keys[:4]}), about)
    rows = rows.assign(panel=rows["metric"] + " " + rows["task"], step=rows["epoch"])
    rows = rows[rows["panel"].isin(titles) & rows["label"].isin(rows.loc[rows["metric"] == needs, "label"])]
    has = set(rows.loc[(rows["split"] == first) & (rows["metric"] == needs), "label"])
    wanted = (rows["split"] == first) == rows["label"].isin(has)
    rows = rows[wanted | ~wanted.groupby([rows["label"], rows["panel"]]).transform("any")]
    sampled = set(rows.loc[rows["split"] == "sampled", "label"])
    named = {label: f"{label} (sampled)" if label in sampled else label for label in about["label"]}
    drawn = {named[label]: style for label, style in styles_of(about["label"]).items()}
    return line_panels(rows.assign(label=rows["label"].map(named)), titles, drawn)


def _styles(about: pd.DataFrame, colour: str) -> tuple[dict[str, Style], list[dict]]:
    """The style of each label, and the entries of a legend that say what a colour stands for, if it is a setting."""
    if not colour:
        return styles_of(about["label"]), []
    first = about.drop_duplicates("label")
    settings = [json.loads(text) for text in first["settings"]]
    texts = differing(settings).get(colour) or [as_set(of.get(colour)) for of in settings]
    values = {label: f"{colour}={text}" for label, text in zip(first["label"], texts, strict=True)}
    styles = coloured(values)
    colours = {values[label]: styles[label].colour for label in sorted(values, key=values.get)}
    return styles, [{"type": "scatter", "x": [None], "y": [None], "mode": "markers", "name": escape(value),
                     "legendgroup": escape(value), "marker": {"symbol": "square", "size": 12, "color": shown}}
                    for value, shown in colours.items()]


def _settings(about: pd.DataFrame) -> dict[str, str]:
    """For each label, for the pointer, the settings in which the lines differ."""
    first = about.drop_duplicates("label")
    settings = [json.loads(text) | {"data": data} for text, data in zip(first["settings"], first["data"], strict=True)]
    differ = {key: values for key, values in differing(settings).items() if key != "name"}
    return {label: "".join(f"<br>{escape(part)}" for key, values in differ.items()
                           for part in textwrap.wrap(f"{key}: {values[i]}", 60))
            for i, label in enumerate(first["label"])}
