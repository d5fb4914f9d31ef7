"""One line of a figure: the mean over seeds and its band, smoothed over x, thinned to what a screen can show."""

import numpy as np
import pandas as pd

from lab.looks import Look

MOST, MOST_OF_A_SEED = 400, 150  # points of a line that are drawn


def smoothed(x: np.ndarray, y: np.ndarray, series: np.ndarray, half_life: float) -> np.ndarray:
    """An exponential mean over x, of each series for itself: what lies half_life back counts half.

    x, y, series (N,). A point stands for the stretch since the one before it, as a window's mean does, and weighs as
    much as that stretch is long: a line recorded twice as densely comes out the same. The mean is over what has been
    seen (no pull to a first value or to 0); a null stays null, and counts nothing.
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
    """Which of a line's points (N,) to draw, about `most` of them: of each stretch its lowest and its highest.

    No peak is lost, the ends stay, and so does the first of each row of nulls, which makes a gap.
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


def over_seeds(shown: pd.DataFrame, by: list[str], x: str) -> pd.DataFrame:
    """x, mean, n seeds, and the band's low and high, for each group; a null seed is not averaged away."""
    of = shown.groupby(by, sort=True, observed=True).agg(x=(x, "mean"), mean=("value", "mean"), sd=("value", "std"),
                                          low=("value", "min"), high=("value", "max"), n=("value", "count"),
                                          size=("value", "size"))
    of.loc[of["n"] < of["size"], ["mean", "low", "high"]] = float("nan")
    of.loc[of["n"] < 2, ["low", "high"]] = float("nan")
    if (of["n"] > 2).any():
        from lab.significance import half_width  # scipy takes a while

        half = half_width(of["sd"], of["n"])
        of["low"] = of["low"].where(of["n"] < 3, of["mean"] - half)
        of["high"] = of["high"].where(of["n"] < 3, of["mean"] + half)
    return of


def line(part: pd.DataFrame, look: Look, said: str, x: str) -> dict:
    """The mean over seeds, of a part of `over_seeds`; `said` opens the hover text."""
    markers = marker(look, 7) | ({"maxdisplayed": 12} if len(part) > 60 else {})
    along, mean, low, high, n = part[["x", "mean", "low", "high", "n"]].to_numpy(float)[
        thinned(part["mean"].to_numpy(), MOST)].T
    spread = [f"<br>{n:g} seeds, {'95 %' if n > 2 else 'from'} {low:.4g} to {high:.4g}" if low == low else ""
              for n, low, high in zip(n.tolist(), low.tolist(), high.tolist(), strict=True)]
    return {"x": along, "y": mean, "mode": "lines+markers", "marker": markers,
            "line": {"color": look.colour, "dash": look.dash, "width": 2}, "meta": [said], "customdata": spread,
            "hovertemplate": f"%{{meta[0]}}<br>{x} %{{x}}: %{{y:.4g}}%{{customdata}}<extra></extra>"}


def behind(part: pd.DataFrame, look: Look) -> dict:
    """Where a line is smoothed: what was recorded, faint, of a part of `over_seeds`."""
    along, mean = part[["x", "mean"]].to_numpy(float)[thinned(part["mean"].to_numpy(), MOST)].T
    return {"x": along, "y": mean, "mode": "lines", "showlegend": False, "opacity": 0.2, "hoverinfo": "skip",
            "line": {"color": look.colour, "width": 1}}


def seeds(part: pd.DataFrame, look: Look, x: str) -> dict:
    """A thin line for each seed of a recipe, all as one, with gaps between; part: rows as of `lab.load_runs`."""
    part = part.sort_values(["seed", x], kind="stable")
    values = part[[x, "value", "seed"]].to_numpy(float)
    gap, found = np.full((1, 3), np.nan), []
    for of in np.split(values, np.flatnonzero(np.diff(values[:, 2])) + 1):
        found += [of[thinned(of[:, 1], MOST_OF_A_SEED)], gap]
    along, y, seed = np.concatenate(found).T
    return {"x": along, "y": y, "mode": "lines", "showlegend": False, "opacity": 0.35, "customdata": seed,
            "line": {"color": look.colour, "width": 1},
            "hovertemplate": f"{x} %{{x}}: %{{y:.4g}}, seed %{{customdata}}<extra></extra>"}


def band(part: pd.DataFrame, look: Look) -> dict:
    """One closed shape for each stretch without a gap; its two edges are thinned each for itself."""
    values, shape = part[["x", "low", "high"]].to_numpy(float), []
    for of in np.split(values, np.flatnonzero(np.diff(np.isnan(values[:, 1]))) + 1):
        if of[0, 1] == of[0, 1]:
            shape += [of[thinned(of[:, 2], MOST)][:, [0, 2]], of[thinned(of[:, 1], MOST)[::-1]][:, :2],
                      np.full((1, 2), np.nan)]
    x, y = np.concatenate(shape).T
    return {"x": x, "y": y, "fill": "toself", "fillcolor": look.colour, "mode": "lines", "line": {"width": 0},
            "showlegend": False, "hoverinfo": "skip"}


def marker(look: Look, size: int) -> dict:
    """A recipe's marker."""
    return {"symbol": look.marker, "size": size, "color": look.colour}
