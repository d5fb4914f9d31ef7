"""Line panels: for each line the mean over seeds and its band, smoothed over x, thinned to what a screen can show."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from lab.figures.panels import Panel, escape
from lab.figures.styles import Style
from lab.results.words import bounds
from lab.runs.frames import among, ended

MOST, MOST_OF_A_SEED = 400, 150  # points of a line that are drawn


def line_panels(rows: pd.DataFrame, titles: Mapping[str, str], drawn: Mapping[str, Style], x: str = "epoch", *,
                smooth: float = 0, each_seed: bool = False, log: bool = False) -> dict[str, Panel]:
    """A panel for each key of `titles` that rows have as "panel"; in it a line with its band for each label.

    rows: columns panel, label, run, seed (with each_seed or a state), maybe state, step, value and x. drawn: the style
    of each label. smooth, each_seed, log: as in `figures.curves`. Runs that have not ended lie as thin lines beside a
    line of those that have.
    """
    rows = rows[among(rows, "panel", list(titles))]
    rows = rows.assign(panel=rows["panel"].astype(object), label=rows["label"].astype(object))
    axis, unsmoothed, by = x, {}, ["panel", "label", "step"]
    if half_life := smooth * rows[x].max() if len(rows) else 0:
        unsmoothed = _by_line(over_seeds(ended(rows), by, x).reset_index())
        series = rows.groupby(["panel", "run"], observed=True).ngroup().to_numpy()
        rows = rows.assign(value=smoothed(*rows[[x, "value"]].to_numpy(float).T, series, half_life))
        axis = f"{x} (smoothed, half-life {half_life:.3g})"
    finished = ended(rows)
    means = _by_line(over_seeds(finished, by, x).reset_index())
    alone = rows if each_seed else rows[~rows["run"].isin(finished["run"])]
    single = _by_line(alone[[*dict.fromkeys(["panel", "label", "seed", "value", x])]]) if len(alone) else {}
    opacity = max(0.05, 0.15 - len({label for _, label in means}) / 100)  # many bands would hide the lines
    panels = {}
    for key, title in titles.items():
        bands, thin, lines = [], [], []
        for label, style in drawn.items():
            if (part := means.get((key, label))) is None:
                continue
            if log:  # a band that reaches 0 goes down to the lowest point of the line
                part = part.assign(low=part["low"].clip(lower=part["mean"].where(part["mean"] > 0).min()))
            name = escape(label)
            named = {"type": "scatter", "name": name, "legendgroup": name}
            if part["low"].notna().any():
                bands.append(named | band(part, style) | {"opacity": opacity})
            if unsmoothed:
                thin.append(named | unsmoothed_line(unsmoothed[key, label], style))
            if (key, label) in single:
                thin.append(named | seed_lines(single[key, label], style, x))
            lines.append(named | mean_line(part, style, name))
        if lines:  # they lie over all bands
            panels[key] = Panel(title, [*bands, *thin, *lines], axis, {"type": "log" if log else "linear"})
    return panels


def _by_line(table: pd.DataFrame) -> dict[tuple[str, str], pd.DataFrame]:
    """The rows of each panel and label, without the columns of texts, which are slow to slice."""
    numbers = [column for column in table if column not in ("panel", "label")]
    return dict(iter(table.groupby(["panel", "label"])[numbers]))


def smoothed(x: np.ndarray, y: np.ndarray, series: np.ndarray, half_life: float) -> np.ndarray:
    """An exponential mean over x, (N,), of each series by itself: a value that lies half_life back counts half.

    x, y, series (N,). A point stands for the stretch since the one before it, as a window's mean does, and its weight
    is the length of that stretch, so a line that is recorded twice as densely comes out the same. The mean is over the
    values seen so far, without a pull to the first value or to 0. A null stays null and has no weight.
    """
    found = np.full(len(x), np.nan)
    there = np.flatnonzero(np.isfinite(x))
    order = there[np.lexsort((x[there], series[there]))]
    if not len(order):
        return found
    starts = np.flatnonzero(np.diff(series[order], prepend=np.nan) != 0)
    lengths = np.diff(starts, append=len(order))
    column = np.repeat(np.arange(len(starts)), lengths)
    place = np.arange(len(order)) - starts[column]
    X, Y = np.full((2, lengths.max(), len(starts)), np.nan)  # (longest, series)
    X[place, column], Y[place, column] = x[order], y[order]
    widths = np.diff(X, axis=0, prepend=np.nan)
    widths[0] = widths[1] if len(X) > 1 else half_life
    widths[0] = np.where(np.isfinite(widths[0]) & (widths[0] > 0), widths[0], half_life)
    keep, top, bottom, S = 0.5 ** (widths / half_life), np.zeros(len(starts)), np.zeros(len(starts)), np.empty_like(Y)
    for i, old in enumerate(keep):
        # s_i = n_i / d_i,  n_i = k n_{i-1} + (1 - k) y_i,  d_i = k d_{i-1} + (1 - k),  k = 2^(-width / half_life)
        there = np.isfinite(Y[i])
        top, bottom = old * top + np.where(there, (1 - old) * Y[i], 0), old * bottom + np.where(there, 1 - old, 0)
        S[i] = np.where(there & (bottom > 0), top / np.where(bottom > 0, bottom, 1), Y[i])
    found[order] = S[place, column]
    return found


def thinned(y: np.ndarray, most: int) -> np.ndarray:
    """The indices of a line's points (N,) to draw, about `most` of them: the lowest and the highest of each stretch.

    All peaks and both ends stay, and so does the first of each row of nulls, which makes a gap.
    """
    y, n = np.asarray(y, float), len(y)
    if n <= most:
        return np.arange(n)
    null = np.isnan(y)
    stretch = np.arange(n) * (most // 2) // n
    edges = np.flatnonzero(np.diff(stretch, prepend=-1))
    low, high = np.lexsort((np.where(null, np.inf, y), stretch)), np.lexsort((np.where(null, np.inf, -y), stretch))
    gaps = np.flatnonzero(null & ~np.r_[False, null[:-1]])
    kept = np.unique(np.concatenate([low[edges], high[edges], [0, n - 1], gaps]))
    return kept[~null[kept] | np.isin(kept, gaps)]


def over_seeds(rows: pd.DataFrame, by: list[str], x: str) -> pd.DataFrame:
    """The mean over seeds of each group of rows, with its band: columns x, mean, low, high, n (the seeds).

    by: the columns that make a group; all of them but "step" name a line. There is a mean only where each run of the
    line has a value, so a line never changes its members on the way.
    """
    line = [column for column in by if column != "step"]
    runs = rows.groupby(line, observed=True)["run"].transform("nunique")
    found = rows.assign(runs=runs).groupby(by, sort=True, observed=True).agg(
        x=(x, "mean"), mean=("value", "mean"), sd=("value", "std"), low=("value", "min"), high=("value", "max"),
        n=("value", "count"), size=("value", "size"), runs=("runs", "max"))
    found.loc[found["n"] < found[["size", "runs"]].max(axis=1), ["mean", "low", "high"]] = float("nan")
    found.loc[found["n"] < 2, ["low", "high"]] = float("nan")
    if (found["n"] > 2).any():
        from lab.results.significance import half_width  # scipy is slow to import

        half = half_width(found["sd"], found["n"])
        found["low"] = found["low"].where(found["n"] < 3, found["mean"] - half)
        found["high"] = found["high"].where(found["n"] < 3, found["mean"] + half)
    return found


def mean_line(part: pd.DataFrame, style: Style, name: str) -> dict[str, Any]:
    """The mean over seeds, from the rows of one line of `over_seeds`. name: escaped.

    customdata: of each point what the pointer shows of its band, and the band in words.
    """
    markers = marker(style, 7) | ({"maxdisplayed": 12} if len(part) > 60 else {})
    along, mean, low, high, n = part[["x", "mean", "low", "high", "n"]].to_numpy(float)[
        thinned(part["mean"].to_numpy(), MOST)].T
    bands = [spread(*point) for point in zip(mean.tolist(), low.tolist(), high.tolist(), n.tolist(), strict=True)]
    return {"x": along, "y": mean, "mode": "lines+markers", "marker": markers,
            "line": {"color": style.colour, "dash": style.dash, "width": 2}, "meta": [name], "customdata": bands,
            "hovertemplate": "%{meta[0]} %{y:.4g}%{customdata[0]}<extra></extra>"}


def spread(mean: float, low: float, high: float, n: float) -> tuple[str, str]:
    """The band of a point: in short, and in words. A single seed has none."""
    if low != low:
        return "", "one seed" if n == 1 else ""
    if low == high:
        return "", f"{n:g} seeds, all the same"
    texts = bounds(mean, low, high)
    return f" ({texts[0]} to {texts[1]})", f"{n:g} seeds, {'95 %' if n > 2 else 'from'} {texts[0]} to {texts[1]}"


def unsmoothed_line(part: pd.DataFrame, style: Style) -> dict[str, Any]:
    """The values as recorded, faint, from the rows of one line of `over_seeds`: it lies behind a smoothed line."""
    along, mean = part[["x", "mean"]].to_numpy(float)[thinned(part["mean"].to_numpy(), MOST)].T
    return {"x": along, "y": mean, "mode": "lines", "showlegend": False, "opacity": 0.2, "hoverinfo": "skip",
            "line": {"color": style.colour, "width": 1}}


def seed_lines(part: pd.DataFrame, style: Style, x: str) -> dict[str, Any]:
    """A thin line for each seed, all in one trace with gaps between them; part: columns seed, value and x."""
    part = part.sort_values(["seed", x], kind="stable")
    values = part[[x, "value", "seed"]].to_numpy(float)
    gap, found = np.full((1, 3), np.nan), []
    for of_seed in np.split(values, np.flatnonzero(np.diff(values[:, 2])) + 1):
        found += [of_seed[thinned(of_seed[:, 1], MOST_OF_A_SEED)], gap]
    along, y, seed = np.concatenate(found).T
    return {"x": along, "y": y, "mode": "lines", "showlegend": False, "opacity": 0.35, "customdata": seed,
            "line": {"color": style.colour, "width": 1},
            "hovertemplate": "seed %{customdata}: %{y:.4g}<extra></extra>"}


def band(part: pd.DataFrame, style: Style) -> dict[str, Any]:
    """A closed shape for each stretch without a gap; each of its two edges is thinned by itself."""
    values, shape = part[["x", "low", "high"]].to_numpy(float), []
    for stretch in np.split(values, np.flatnonzero(np.diff(np.isnan(values[:, 1]))) + 1):
        if stretch[0, 1] == stretch[0, 1]:
            shape += [stretch[thinned(stretch[:, 2], MOST)][:, [0, 2]],
                      stretch[thinned(stretch[:, 1], MOST)[::-1]][:, :2], np.full((1, 2), np.nan)]
    x, y = np.concatenate(shape).T
    return {"x": x, "y": y, "fill": "toself", "fillcolor": style.colour, "mode": "lines", "line": {"width": 0},
            "showlegend": False, "hoverinfo": "skip"}


def marker(style: Style, size: int) -> dict[str, Any]:
    """The marker of a style."""
    return {"symbol": style.marker, "size": size, "color": style.colour}
