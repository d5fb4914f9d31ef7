"""Records become pictures. Notebooks, report and dashboard draw with these same functions; none of them needs torch.

Every function takes the frame of `lab.load_runs()` (or a part of it) and returns a plotly Figure whose title says what
it was made from. Lines are means over seeds alone, with a band over them (95 % interval from 3 seeds on, from the lower
to the higher for 2); runs with other settings or data get a line of their own, and the hover text says in what they
differ. A recipe looks the same in every picture. Colours are Okabe and Ito's (2008), which stay apart for every kind of
colour vision; each line has its own dash and marker too.
"""

import itertools
import json
import textwrap
from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lab.comparison import differing
from lab.lines import band, behind, line, marker, over_seeds, seeds, smoothed
from lab.looks import GRAY, LOOKS, Look, looks
from lab.records import told_apart

KEYS = ["name", "settings", "departs", "protocol", "encoder", "data", "fingerprint"]  # what makes a line, or a row
SCORE_NAMES = {"sst": "SST sentiment: accuracy", "qqp": "QQP paraphrase: accuracy", "sts": "STS similarity: Pearson r",
               "all": "overall score"}
SHORT = {"sst": "SST", "qqp": "QQP", "sts": "STS"}
PAIR_NAMES = {"-".join(pair): " and ".join(map(str.upper, pair)) for pair in itertools.combinations(SHORT, 2)}
SCORES = {"sst": "accuracy", "qqp": "accuracy", "sts": "pearson", "all": "overall"}


def made_from(runs: pd.DataFrame) -> str:
    """What a picture or table shows: data, encoder, protocol, seeds, and the days on which the runs were begun."""
    if runs.empty:
        return "no runs"
    about = runs.drop_duplicates("run")
    many = {c: ", ".join(sorted(about[c].dropna().astype(str).unique())) for c in ("data", "encoder", "protocol")}
    seeds = about.groupby(["name", "settings", "data"], dropna=False)["seed"].nunique()
    shipped = " · records that ship with the lab" if "shipped" in about and about["shipped"].eq(True).any() else ""
    return (f"data: {many['data']} · encoder: {many['encoder']} · protocol: {many['protocol']} · "
            f"seeds: {_range(seeds)} · date: {days(about)}{shipped}")


def days(runs: pd.DataFrame) -> str:
    """The day on which runs were begun, or the first and the last."""
    found = runs["started"].drop_duplicates().astype(str).str.extract(r"^(\d{4}-\d\d-\d\d)", expand=False).dropna()
    return _range(found, " to ") if len(found) else "not recorded"


def known(runs: pd.DataFrame) -> pd.DataFrame:
    """The same rows, where what a record lacks is called so: a group would lose it."""
    missing = {key: runs[key].fillna("not recorded") for key in KEYS if runs[key].isna().any()}
    return runs.assign(**missing)


def recorded(runs: pd.DataFrame) -> list[tuple[str, str]]:
    """What `curves` can draw: each metric with its split; the scores, which come first, are one."""
    found = runs[["metric", "split"]].drop_duplicates().astype(str).itertuples(index=False, name=None)
    named = {("score" if metric in SCORES.values() else metric, split) for metric, split in found}
    return sorted(named, key=lambda of: (of[0] != "score", of[1] != "dev", of))


def curves(runs: pd.DataFrame, metric: str = "score", split: str = "dev", x: str = "epoch", *, smooth: float = 0,
           each_seed: bool = False, log: bool = False) -> go.Figure:
    """Figures 1-3: a task a panel, a line a recipe, by epoch, step, updates or seconds.

    metric: "score" (each task's own, and overall), or one as recorded, such as "loss" with split "batch". smooth: the
    half-life of an exponential mean (see `lines.smoothed`), as a share of the longest line's x; what was recorded
    stays, faint. each_seed: a thin line for each run. log: a logarithmic y axis.
    """
    shown = scores_on(runs, [split]) if metric == "score" else runs[_among(runs, "metric", [metric])
                                                                  & _among(runs, "split", [split])]
    shown, about = _labelled(shown, runs)
    if x in ("updates", "epoch"):
        settings = {text: json.loads(text) for text in about["settings"].unique()}
        iterations = shown["settings"].map({text: of.get("iterations") for text, of in settings.items()})
        steps = {text: sum(3 if update == "separate" else 1 for update in of.get("updates") or ["sum"])
                 for text, of in settings.items()}  # an iteration's; `separate` takes one for each of its three batches
        updates = shown["settings"].map(steps).astype(float)
        epochs = shown["step"] / pd.to_numeric(iterations, errors="coerce")  # with its part, where rows lie within one
        shown = shown.assign(updates=shown["step"] * updates, epoch=epochs.fillna(shown["epoch"]))
    names = SHORT | PAIR_NAMES | {"all": "all tasks"}
    titles = SCORE_NAMES if metric == "score" else {task: f"{name}: {metric}" for task, name in names.items()}
    return _draw(shown.assign(panel=shown["task"]), titles, f"{split} {metric} by {x}", about, x=x, columns=2,
                 smooth=smooth, each_seed=each_seed, log=log)


def overfit(runs: pd.DataFrame, name: str) -> go.Figure:
    """Figure 4: train and dev scores of one recipe by epoch, a task a panel, the gap between them at the end, and the
    epoch that was best on dev.

    name: as `records.told_apart` gives it. The best epoch is that of the line, the mean over seeds.
    """
    shown, about = _labelled(scores_on(runs, ["train", "dev"]), runs)
    look = looks(about["label"].unique()).get(name, LOOKS["baseline"])
    shown, about = shown[shown["label"] == name], about[about["label"] == name]
    shown = shown.assign(label=shown["split"].astype(str), step=shown["epoch"], panel=shown["task"])
    train = look._replace(dash="dot", marker=f"{look.marker}-open")
    gaps = {task: f"{title}<br>gap at the end {gap:.3f}" for task, title in SCORE_NAMES.items()
            if (gap := _gap(shown[shown["task"] == task])) == gap}
    figure = _draw(shown, SCORE_NAMES | gaps, f"{name}: train and dev by epoch", about, columns=4,
                   drawn={"train": train, "dev": look})
    best, _, _ = best_epoch(shown[(shown["split"] == "dev") & (shown["task"] == "all")])
    if best == best:
        figure.add_vline(x=best, line={"color": GRAY, "dash": "dash", "width": 1})
        figure.add_scatter(x=[None], y=[None], mode="lines", line={"color": GRAY, "dash": "dash", "width": 1},
                           name=f"best on dev: epoch {best:g}")
    return figure


def best_epoch(scores: pd.DataFrame) -> tuple[float, float, float]:
    """The epoch at which the mean over seeds is highest (the last, where all are null), that mean, and the last one.

    scores: the rows of one score of one recipe on one split. An epoch with a null seed has no mean.
    """
    of = scores.groupby("epoch")["value"].agg(["mean", "count", "size"])
    means = of["mean"].where(of["count"] == of["size"])
    if means.empty:
        return (float("nan"),) * 3
    best = means.index[-1] if means.isna().all() else means.idxmax()
    return best, means[best], means.iloc[-1]


def conflict(runs: pd.DataFrame) -> go.Figure:
    """The task gradients over training: their cosines, the share of iterations in which they conflict, their norms.

    And what combining them (PCGrad, ...) changed: the update's cosine with their plain mean, and its length over that.
    Means over each epoch. Recipes that have no task gradients of their own are drawn from samples; their names say so.
    """
    panels = {f"{metric} {task}": f"{name}: {what}" for metric, what, names in (
        ("cosine", "cosine", PAIR_NAMES), ("conflict", "share in conflict", PAIR_NAMES),
        ("grad_norm", "gradient norm", SHORT)) for task, name in names.items()} | {
            "update_cosine all": "update and plain mean: cosine", "update_length all": "update and plain mean: lengths"}
    return _diagnostics(runs, panels, "task gradients by epoch", first="batch", tells="cosine")


def smart(runs: pd.DataFrame) -> go.Figure:
    """SMART's penalty on each task over training (not yet times lambda), what of it dropout alone makes, and the noise.

    Means over each epoch. The last panel has the noise's largest entry, a mean over tokens, after the ascent.
    """
    panels = {f"{metric} {task}": f"{name}: {what}" for metric, what in (
        ("penalty", "penalty"), ("penalty_dropout", "by dropout"), ("penalty_noise", "by noise"))
        for task, name in SHORT.items()}
    panels["noise_norm all"] = "largest entry of the noise"
    figure = _diagnostics(runs, panels, "SMART's penalty by epoch", first="sampled", tells="penalty")
    if len(figure.layout.annotations) == len(panels):  # the parts on the scale of the whole, task by task
        for number in range(4, 10):
            figure.layout[f"yaxis{number}"].matches = ("y", "y2", "y3")[(number - 1) % 3]
    return figure


def leaderboard(runs: pd.DataFrame) -> go.Figure:
    """Each recipe's score on all of dev at its last weights: a point a seed; from 3 seeds on mean and 95 % interval."""
    shown, about = _labelled(scores_on(runs, ["dev_full"]), runs)
    shown = shown[shown["step"] == shown.groupby("run")["step"].transform("max")]
    tasks = [task for task in SCORE_NAMES if task in set(shown["task"])]
    means = over_seeds(shown, ["task", "label"], "step")
    overall = means["mean"].xs("all") if "all" in tasks else means["mean"].groupby("label").mean()
    order = list(overall.sort_values(ascending=False, kind="stable").index)  # nulls last
    figure = _panels([SCORE_NAMES[task] for task in tasks], "all of dev, last epoch", about, columns=4, legend=False)
    drawn, traces = looks(about["label"].unique()), []
    for (task, name), of in means.iterrows():
        points = shown[(shown["task"] == task) & (shown["label"] == name)]
        axis, look, y = tasks.index(task) + 1, drawn[name], _plain(name)
        several = of["n"] > 2 and of["high"] == of["high"]
        if several:
            traces.append((axis, {
                "x": [of["mean"]], "y": [y], "error_x": {"array": [of["high"] - of["mean"]], "color": look.colour},
                "marker": marker(look, 11), "hovertemplate": "mean %{x:.4f}, 95 % interval<extra></extra>"}))
        traces.append((axis, {
            "x": list(points["value"]), "y": [y] * len(points), "customdata": [_plain(s) for s in points["seed"]],
            "marker": {**marker(look, 5 if several else 10), "opacity": 0.6 if several else 1},
            "hovertemplate": "%{x:.4f}, seed %{customdata}<extra></extra>"}))
    figure.add_traces([trace | {"type": "scatter", "mode": "markers", "showlegend": False, "xaxis": f"x{axis}",
                                "yaxis": f"y{axis}"} for axis, trace in traces])
    figure.update_yaxes(showticklabels=False, type="category", categoryorder="array",
                        categoryarray=[_plain(name) for name in reversed(order)])
    figure.update_yaxes(showticklabels=True, col=1)
    return figure.update_layout(height=180 + 24 * len(order))


# ---- lines -------------------------------------------------------------------------------------------------------


def _among(runs: pd.DataFrame, column: str, words: list[str]) -> np.ndarray:
    """Which rows have one of these words; of a million categories, by their numbers."""
    if not isinstance(runs[column].dtype, pd.CategoricalDtype):
        return runs[column].isin(words).to_numpy()
    return np.append(runs[column].cat.categories.isin(words), False)[runs[column].cat.codes]


def scores_on(runs: pd.DataFrame, splits: list[str]) -> pd.DataFrame:
    """The rows of the tasks' scores, and of overall, on these splits."""
    part = runs[_among(runs, "split", splits)]
    return part[part["metric"].astype(object) == part["task"].astype(object).map(SCORES)]


def _labelled(shown: pd.DataFrame, runs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows with the name of their line, and a row for each run; of one experiment run twice with one seed, one run.

    A column "label" in `runs` is the name, where a page has named all of its lines before it chose some.
    """
    about = known(runs.drop_duplicates("run").reset_index(drop=True))
    twins = about.groupby("data", observed=True)["fingerprint"].transform("nunique") > 1  # two folders of one name
    told = about["data"].astype(str) + " " + about["fingerprint"].astype(str)
    about = about.assign(data=about["data"].where(~twins, told))
    about = about.assign(label=about["label"].astype(str) if "label" in about else told_apart(about))
    about = about.assign(done=about["state"] != "done").sort_values(["done", "run"])
    about = about.drop_duplicates(["label", "fingerprint", "seed"])
    label = shown["run"].map(about.set_index("run")["label"])
    return shown.assign(label=label)[label.notna()], about


def _diagnostics(runs: pd.DataFrame, panels: Mapping[str, str], title: str, first: str, tells: str) -> go.Figure:
    """A panel for each "metric task", from the split `first` where a recipe has `tells` in it, else from the other.

    What a recipe has in one split alone is from that one.
    """
    shown = runs[_among(runs, "metric", [panel.split()[0] for panel in panels])
                 & _among(runs, "split", ["batch", "sampled"])]
    keys = ["split", "metric", "task", "run", "epoch"]
    shown = shown.groupby(keys, observed=True)["value"].mean().reset_index()  # a window counts as one
    shown, about = _labelled(shown.astype({key: object for key in keys[:4]}), runs)
    shown = shown.assign(panel=shown["metric"] + " " + shown["task"])
    shown = shown[shown["panel"].isin(panels) & shown["label"].isin(shown.loc[shown["metric"] == tells, "label"])]
    has = set(shown.loc[(shown["split"] == first) & (shown["metric"] == tells), "label"])
    wanted = (shown["split"] == first) == shown["label"].isin(has)
    shown = shown[wanted | ~wanted.groupby([shown["label"], shown["panel"]]).transform("any")]
    suffixes = {label: " (sampled)" for label in shown.loc[shown["split"] == "sampled", "label"].unique()}
    return _draw(shown.assign(step=shown["epoch"]), panels, title, about, columns=3, suffixes=suffixes)


def _draw(shown: pd.DataFrame, titles: Mapping[str, str], title: str, about: pd.DataFrame, *, columns: int,
          x: str = "epoch", drawn: Mapping[str, Look] | None = None, suffixes: Mapping[str, str] | None = None,
          smooth: float = 0, each_seed: bool = False, log: bool = False) -> go.Figure:
    """A panel for each title whose key is in shown["panel"]; in it a line and a band for each label.

    `about`, a row a run, gives looks (or `drawn` does) and words.
    """
    shown = shown[_among(shown, "panel", list(titles))]
    shown = shown.assign(panel=shown["panel"].astype(object), label=shown["label"].astype(object))
    raw, along = {}, x
    if half_life := smooth * shown[x].max() if len(shown) else 0:
        raw = _parts(over_seeds(shown, ["panel", "label", "step"], x).reset_index())
        series = shown.groupby(["panel", "run"], observed=True).ngroup().to_numpy()
        shown = shown.assign(value=smoothed(*shown[[x, "value"]].to_numpy(float).T, series, half_life))
        along = f"{x} (smoothed, half-life {half_life:.3g})"
    axes = {panel: str(i + 1) for i, panel in enumerate(panel for panel in titles if panel in set(shown["panel"]))}
    figure = _panels([titles[panel] for panel in axes], title, about, columns)
    drawn, words = drawn or looks(about["label"].unique()), _differences(about)
    bands, thin, lines, seen = [], [], [], set()
    parts = _parts(over_seeds(shown, ["panel", "label", "step"], x).reset_index())
    single = _parts(shown[[*dict.fromkeys(["panel", "label", "seed", "value", x])]]) if each_seed else {}
    figure.update_yaxes(type="log" if log else "linear")
    for panel, label in sorted(parts, key=lambda key: (int(axes[key[0]]), list(drawn).index(key[1]))):
        part, look = parts[panel, label], drawn[label]
        if log:  # a band that reaches 0 goes down to the lowest point of the line
            part = part.assign(low=part["low"].clip(lower=part["mean"].where(part["mean"] > 0).min()))
        name = _plain(f"{label}{(suffixes or {}).get(label, '')}")
        said = f"<b>{name}</b>" + (f"<br>{words[label]}" if words.get(label) else "")
        both = {"type": "scatter", "xaxis": f"x{axes[panel]}", "yaxis": f"y{axes[panel]}", "name": name,
                "legendgroup": name}
        bands += [both | band(part, look)] if part["low"].notna().any() else []
        thin += [both | behind(raw[panel, label], look)] if raw else []
        thin += [both | seeds(single[panel, label], look, x)] if each_seed else []
        lines.append(both | line(part, look, said, x) | {"showlegend": label not in seen})
        seen.add(label)
    for of in bands:
        of["opacity"] = max(0.05, 0.15 - len(seen) / 100)  # many of them would hide the lines
    figure.add_traces([*bands, *thin, *lines])  # lines lie over all bands
    for axis in list(axes.values())[-columns:]:  # under the last panel of each column
        figure.layout[f"xaxis{axis}"].title = {"text": along, "standoff": 2}
    return figure


def _parts(table: pd.DataFrame) -> dict[tuple[str, str], pd.DataFrame]:
    """The rows of each panel and label, numbers alone: slices of texts take long."""
    numbers = [column for column in table if column not in ("panel", "label")]
    return dict(iter(table.groupby(["panel", "label"])[numbers]))


def _panels(titles: list[str], title: str, runs: pd.DataFrame, columns: int, legend: bool = True) -> go.Figure:
    rows, columns = max(1, -(-len(titles) // columns)), max(1, min(columns, len(titles)))
    figure = make_subplots(rows=rows, cols=columns, subplot_titles=titles, vertical_spacing=0.12 if rows < 3 else 0.07)
    if not titles:
        figure.add_annotation(text="nothing recorded yet", showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper")
    title = f"{_plain(title)}<br><sup>{_plain(made_from(runs))}</sup>"
    room = 22 * -(-runs["label"].nunique() // 6) if legend else 0  # six names a line
    figure.update_layout(title={"text": title}, template="plotly_white", height=150 + room + 250 * rows,
                         margin={"t": 90, "l": 50, "r": 20, "b": 45 + room},
                         legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"})
    return figure


# ---- words -------------------------------------------------------------------------------------------------------


def _differences(runs: pd.DataFrame) -> dict[str, str]:
    """For each label, the settings in which the lines differ, a line each, for the hover text."""
    about = runs.drop_duplicates("label")
    settings = [json.loads(text) | {"data": data} for text, data in zip(about["settings"], about["data"], strict=True)]
    found = {key: values for key, values in differing(settings).items() if key != "name"}
    return {label: "<br>".join(_plain(part) for key, values in found.items()
                               for part in textwrap.wrap(f"{key}: {values[i]}", 60))
            for i, label in enumerate(about["label"])}


def _gap(shown: pd.DataFrame) -> float:  # train minus dev at the last epoch, means over seeds
    return best_epoch(shown[shown["split"] == "train"])[2] - best_epoch(shown[shown["split"] == "dev"])[2]


def _range(values: pd.Series, to: str = "-") -> str:
    low, high = values.min(), values.max()
    return f"{low}" if low == high else f"{low}{to}{high}"


def _plain(text: str) -> str:  # names and labels come from files: nothing in them may act as HTML
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
