"""Predictions become pictures: confusion, calibration, gold against prediction, differences with their intervals.

They draw the tables of `lab.comparison`, a row an example. None needs torch.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from lab.figures import _plain
from lab.looks import BLUE, GRAY, RED, SKY

TASK_NAMES = {"sst": "SST: sentiment", "qqp": "QQP: paraphrase", "sts": "STS: similarity"}
CLASS_NAMES = {"sst": ("0 negative", "1 somewhat negative", "2 neutral", "3 somewhat positive", "4 positive"),
               "qqp": ("0 no paraphrase", "1 paraphrase")}
BINS, ROUNDS = 10, 2000


class Calibration(NamedTuple):
    """How far confidence is from accuracy."""

    bins: pd.DataFrame  # a row a bin that is not empty: confidence and accuracy, means; low, high, 95 %; examples
    error: float  # expected calibration error: the mean distance of the two over the bins, weighted by examples
    low: float  # its 95 % interval over examples
    high: float
    chance: float  # what a perfectly calibrated model with these confidences stays below in 95 % of samples this large
    gap: float  # mean confidence minus accuracy: above 0, too sure


def confusion_table(answers: pd.DataFrame, task: str) -> pd.DataFrame:
    """Counts of examples: a row a gold label, a column an answer. answers: as `comparison.predictions`, with labels."""
    names = CLASS_NAMES[task]
    counts = np.zeros((len(names), len(names)), int)
    np.add.at(counts, (answers["label"].astype(int), answers["prediction"].astype(int)), 1)
    return pd.DataFrame(counts, index=pd.Index(names, name="gold"), columns=pd.Index(names, name="answer"))


def confusion(answers: pd.DataFrame, task: str, made_from: str = "") -> go.Figure:
    """The confusion matrix: colour and first number are the share of the gold label's row, in brackets the count."""
    counts = confusion_table(answers, task)
    shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    texts = [[f"{share:.0%}<br>({n:,})" for share, n in zip(*row, strict=True)]
             for row in zip(shares.to_numpy(), counts.to_numpy(), strict=True)]
    names = [name.replace(" ", "<br>", 1).replace("somewhat ", "somewhat<br>") for name in counts]
    figure = go.Figure(go.Heatmap(
        z=shares, x=names, y=names, text=texts, texttemplate="%{text}", zmin=0, zmax=1, showscale=False, xgap=1, ygap=1,
        colorscale=[(0, "#F2F8FC"), (1, SKY)], textfont={"color": "#111111"},  # dark on every share
        hovertemplate="gold %{y}<br>answer %{x}<br>%{text}<extra></extra>"))
    figure.update_yaxes(title="gold", autorange="reversed", showgrid=False, tickangle=0)
    figure.update_xaxes(title="answer", showgrid=False, tickangle=0)
    return _titled(figure, f"{TASK_NAMES[task]}: gold and answer", made_from, 420)


def calibration(confidence: ArrayLike, right: ArrayLike) -> Calibration:
    """Reliability (Guo et al. 2017) in ten bins of equal width, from the probabilities of N answers, and who was right.

    The bins' own intervals are Wilson's. chance: the error where labels are drawn from the confidences themselves
    (Bröcker & Smith 2007). The error's interval is the bootstrap's, turned round (2 error - quantile), since the error
    and still more its resamples err upwards; it begins at 0 where chance alone explains the error. Both take a bin's
    sum for normal, so that nothing is resampled example by example. N is 1 or more.
    """
    c, y = np.asarray(confidence, float), np.asarray(right, float)
    place = np.minimum((c * BINS).astype(int), BINS - 1)
    groups = pd.DataFrame({"bin": place, "confidence": c, "accuracy": y, "sum": c - y, "square": (c - y) ** 2,
                           "bernoulli": c * (1 - c)}).groupby("bin")
    sums, bins = groups.sum(), groups[["confidence", "accuracy"]].mean().assign(examples=groups.size())
    # ECE = sum_bins |sum of (confidence - right)| / N
    noise = np.random.default_rng(0).standard_normal((ROUNDS, len(bins)))
    found = float(np.abs(sums["sum"]).sum() / len(c))
    again = np.abs(sums["sum"].to_numpy() + noise * np.sqrt(sums["square"].to_numpy())).sum(1) / len(c)
    chance = float(np.quantile(np.abs(noise * np.sqrt(sums["bernoulli"].to_numpy())).sum(1) / len(c), .95))
    low, high = 2 * found - np.quantile(again, [.975, .025])
    n, p, z = bins["examples"], bins["accuracy"], 1.959964
    # Wilson: (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    bins["low"], bins["high"] = ((p + z**2 / (2 * n) + sign * half) / (1 + z**2 / n) for sign in (-1, 1))
    return Calibration(bins.reset_index(drop=True), found, 0. if found <= chance else max(0., float(low)),
                       max(found, float(high)), chance, float(c.mean() - y.mean()))


def reliability(found: Calibration, made_from: str = "") -> go.Figure:
    """Accuracy by confidence: a point a bin, larger with more examples; the diagonal is perfect calibration."""
    of = found.bins
    figure = go.Figure([
        _diagonal(1),
        go.Scatter(x=of["confidence"], y=of["accuracy"], mode="lines+markers", line={"color": BLUE, "width": 2},
                   error_y={"array": of["high"] - of["accuracy"], "arrayminus": of["accuracy"] - of["low"]},
                   marker={"color": BLUE, "size": 6 + 18 * np.sqrt(of["examples"] / of["examples"].max())},
                   customdata=of["examples"],
                   hovertemplate="confidence %{x:.3f}<br>accuracy %{y:.3f}<br>n %{customdata:,}<extra></extra>")])
    figure.update_xaxes(title="confidence: probability of the answer", range=[0, 1.02])
    figure.update_yaxes(title="accuracy", range=[0, 1.02])
    title = f"Calibration: error {found.error:.3f} ({found.low:.3f} to {found.high:.3f})"
    return _titled(figure, title, made_from, 420).update_layout(showlegend=False)


def select(examples: pd.DataFrame, task: str, shown: str = "mistakes", gold: int | None = None) -> pd.DataFrame:
    """The examples to look at: "mistakes" of either run, "disagreements" or "all"; of one gold label alone if given.

    examples: columns answer, confidence and label; of a second run "answer 2", "confidence 2". The surest come first,
    by the mean confidence; for sts the farthest off, and only what is off by more than 1 point counts.
    """
    answers, sure = ([c for c in examples if c.startswith(what)] for what in ("answer", "confidence"))
    off = (examples[answers].max(axis=1) - examples[answers].min(axis=1) if shown == "disagreements" else
           examples[answers].sub(examples["label"], axis=0).abs().max(axis=1))
    keep = off > (1 if task == "sts" else 0)
    if shown == "all":
        keep[:] = True
    if gold is not None:
        keep &= examples["label"] == gold
    order = off if task == "sts" else examples[sure].mean(axis=1)
    return examples.loc[order[keep].sort_values(ascending=False, kind="stable").index]


def correlation(answers: pd.DataFrame) -> tuple[float, float, float]:
    """Pearson's r of gold and prediction, with its 95 % bootstrap interval over examples; nan where there is none."""
    sides = answers[["prediction", "label"]].to_numpy(float).T
    if sides.shape[1] < 3 or (np.ptp(sides, axis=1) == 0).any():
        return np.nan, np.nan, np.nan
    drawn = np.random.default_rng(0).integers(sides.shape[1], size=(ROUNDS, sides.shape[1]))

    def r(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        x, y = (side - side.mean(-1, keepdims=True) for side in (x, y))
        return (x * y).sum(-1) / np.sqrt((x * x).sum(-1) * (y * y).sum(-1))

    with np.errstate(invalid="ignore", divide="ignore"):  # a resample may be constant
        low, high = np.nanquantile(r(*sides[:, drawn]), [.025, .975])
    return float(r(*sides)), float(low), float(high)


def scatter(answers: pd.DataFrame, found: tuple[float, float, float], made_from: str = "") -> go.Figure:
    """STS: gold against prediction, a point a pair, and what `correlation` found in the title."""
    r, low, high = found
    of = f"r {r:.3f} ({low:.3f} to {high:.3f})" if r == r else "no r, as a side is constant"
    figure = go.Figure([
        _diagonal(5),
        go.Scatter(x=answers["label"], y=answers["prediction"], mode="markers", text=[_plain(i) for i in answers["id"]],
                   marker={"color": BLUE, "size": 6, "opacity": 0.7},
                   hovertemplate="%{text}<br>gold %{x}<br>prediction %{y:.2f}<extra></extra>")])
    figure.update_xaxes(title="gold", range=[-0.1, 5.1], dtick=1)
    figure.update_yaxes(title="prediction")
    return _titled(figure, f"{TASK_NAMES['sts']}: {of}", made_from, 420).update_layout(showlegend=False)


def forest(differences: pd.DataFrame, made_from: str = "") -> go.Figure:
    """Score differences with their 95 % intervals, one below the other: right of 0, the first is better.

    Columns: what (the name of the line), difference, low, high; without an interval, nan, a point alone.
    """
    of = differences.iloc[::-1].reset_index(drop=True)
    sure = (of["low"] > 0) | (of["high"] < 0)
    figure = go.Figure(go.Scatter(
        x=of["difference"], y=[_plain(name) for name in of["what"]], mode="markers",
        error_x={"array": of["high"] - of["difference"], "arrayminus": of["difference"] - of["low"], "color": GRAY},
        marker={"size": 11, "color": [RED if s else BLUE for s in sure],
                "symbol": ["diamond" if s else "circle" for s in sure]},
        customdata=np.stack([of["low"], of["high"]], -1),
        hovertemplate="%{y}<br>%{x:+.4f}, %{customdata[0]:+.4f} to %{customdata[1]:+.4f}<extra></extra>"))
    figure.add_vline(x=0, line={"color": GRAY, "dash": "dash", "width": 1})
    figure.update_xaxes(title="a minus b; a diamond: 0 lies outside", tickformat="+.3~f")
    figure.update_yaxes(automargin=True)
    return _titled(figure, "Differences with 95 % intervals", made_from, 170 + 34 * len(of))


def _diagonal(highest: float) -> go.Scatter:
    return go.Scatter(x=[0, highest], y=[0, highest], mode="lines", hoverinfo="skip",
                      line={"color": GRAY, "dash": "dash", "width": 1})


def _titled(figure: go.Figure, title: str, made_from: str, height: int) -> go.Figure:
    return figure.update_layout(title={"text": f"{title}<br><sup>{_plain(made_from)}</sup>"}, template="plotly_white",
                                height=height, margin={"t": 80, "l": 50, "r": 20, "b": 50})
