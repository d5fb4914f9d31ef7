"""Records become pictures. Notebooks, report and dashboard draw with these same functions; none of them needs torch.

Every function takes the frame of `lab.load_runs()` (or a part of it) and returns a plotly Figure whose title says what
it was made from. Lines are means over seeds alone: runs with other settings or data get a line of their own. Colours
are Okabe and Ito's (2008), which stay apart for every kind of colour vision; each line has its own dash and marker too.
"""

import json

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lab.runs import told_apart

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
DASHES = ("solid", "dash", "dot", "dashdot")
MARKERS = ("circle", "square", "diamond", "triangle-up", "x", "cross", "star")
TASK_NAMES = {"sst": "SST: sentiment", "qqp": "QQP: paraphrase", "sts": "STS: similarity", "all": "overall"}
SCORES = {"sst": "accuracy", "qqp": "accuracy", "sts": "pearson", "all": "overall"}


def made_from(runs: pd.DataFrame) -> str:
    """What a picture or table shows: data, encoder, protocol, seeds."""
    if runs.empty:
        return "no runs"
    many = {c: ", ".join(sorted(runs[c].dropna().astype(str).unique())) for c in ("data", "encoder", "protocol")}
    seeds = runs.groupby("name")["seed"].nunique()
    count = f"{seeds.min()}" if seeds.min() == seeds.max() else f"{seeds.min()}-{seeds.max()}"
    shipped = " · records that ship with the lab" if "shipped" in runs and runs["shipped"].eq(True).any() else ""
    return f"data: {many['data']} · encoder: {many['encoder']} · protocol: {many['protocol']} · seeds: {count}{shipped}"


def curves(runs: pd.DataFrame, metric: str = "score", split: str = "dev", x: str = "epoch") -> go.Figure:
    """Figures 1-3: a task a panel, a line a recipe (the mean over its seeds), by epoch, step, updates or seconds.

    metric: "score" (each task's own, and overall), or one as recorded, such as "loss" with split "batch".
    """
    shown = _scores(runs) if metric == "score" else runs[runs["metric"] == metric]
    shown = shown[shown["split"] == split]
    if x == "updates":
        shown = shown.assign(updates=shown["step"] * shown["settings"].map(_steps_an_iteration))
    figure = _panels(shown, f"{split} {metric} by {x}", runs)
    for number, (name, of_recipe) in enumerate(shown.assign(label=told_apart(shown)).groupby("label", sort=False)):
        for column, task in enumerate(t for t in TASK_NAMES if t in set(shown["task"])):
            line = of_recipe[of_recipe["task"] == task].groupby("step").agg({x: "mean", "value": _mean})
            figure.add_trace(_line(line[x], line["value"], name, number, first=column == 0), row=1, col=column + 1)
    figure.update_xaxes(title_text=x)
    return figure


def overfit(runs: pd.DataFrame, name: str) -> go.Figure:
    """Figure 4: train and dev scores of one recipe by epoch, a task a panel. name: as `runs.told_apart` gives it."""
    runs = runs[pd.Series(told_apart(runs), index=runs.index, dtype=object) == name]
    shown = _scores(runs)
    shown = shown[shown["split"].isin(["train", "dev"])]
    figure = _panels(shown, f"{name}: train and dev by epoch", runs)
    for number, split in enumerate(("train", "dev")):
        for column, task in enumerate(t for t in TASK_NAMES if t in set(shown["task"])):
            part = shown[(shown["split"] == split) & (shown["task"] == task)]
            line = part.groupby("epoch")["value"].agg(_mean)
            figure.add_trace(_line(line.index, line, split, number, first=column == 0), row=1, col=column + 1)
    figure.update_xaxes(title_text="epoch")
    return figure


def leaderboard(runs: pd.DataFrame) -> go.Figure:
    """Each recipe's score on all of dev at its last weights: a point a seed, a panel a task."""
    shown = _scores(runs[runs["split"] == "dev_full"])
    shown = shown[shown["step"] == shown.groupby("run")["step"].transform("max")]
    figure = _panels(shown, "all of dev, last epoch", runs)
    for column, task in enumerate(t for t in TASK_NAMES if t in set(shown["task"])):
        part = shown[shown["task"] == task]
        labels = [_plain(label) for label in told_apart(part)]
        figure.add_trace(go.Scatter(x=part["value"], y=labels, mode="markers", showlegend=False,
                                    marker={"color": COLOURS[0], "size": 10}), row=1, col=column + 1)
        if column:
            figure.update_yaxes(showticklabels=False, row=1, col=column + 1)
    figure.update_yaxes(autorange="reversed")
    return figure


def _scores(runs: pd.DataFrame) -> pd.DataFrame:
    return runs[runs["metric"] == runs["task"].map(SCORES)]


def _mean(values: pd.Series) -> float:
    """Over seeds; a null seed is not averaged away."""
    return values.mean(skipna=False)


def _steps_an_iteration(settings: str) -> int:
    """Optimizer steps in one iteration: three for `separate`, else one an update."""
    return sum(3 if update == "separate" else 1 for update in json.loads(settings)["updates"])


def _panels(shown: pd.DataFrame, title: str, runs: pd.DataFrame) -> go.Figure:
    tasks = [t for t in TASK_NAMES if t in set(shown["task"])]
    figure = make_subplots(rows=1, cols=max(1, len(tasks)), subplot_titles=[TASK_NAMES[t] for t in tasks])
    if not tasks:
        figure.add_annotation(text="nothing recorded yet", showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper")
    title = f"{_plain(title)}<br><sup>{_plain(made_from(runs))}</sup>"
    figure.update_layout(title={"text": title}, template="plotly_white", height=380,
                         legend={"orientation": "h", "y": -0.25}, margin={"t": 90})
    return figure


def _line(x: pd.Series, y: pd.Series, name: str, number: int, first: bool) -> go.Scatter:
    return go.Scatter(
        x=x, y=y, name=_plain(name), legendgroup=name, showlegend=first, mode="lines+markers",
        line={"color": COLOURS[number % len(COLOURS)], "dash": DASHES[number % len(DASHES)], "width": 2},
        marker={"symbol": MARKERS[number % len(MARKERS)], "size": 6})


def _plain(text: str) -> str:
    """Names and labels come from files: nothing in them may act as HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
