"""Figures of predictions: confusion, calibration, gold against prediction, differences with their intervals.

They draw the tables of `lab.results.comparison`, which have a row for each example. None needs torch.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import ArrayLike
from scipy import stats

from lab.data import CLASS_NAMES
from lab.figures.panels import DASHED, escape
from lab.figures.styles import BLUE, GRAY, RED, SKY

TASK_TITLES = {"sst": "SST: sentiment", "qqp": "QQP: paraphrase", "sts": "STS: similarity"}
BINS, ROUNDS = 10, 2000


class Calibration(NamedTuple):
    """How far confidence is from accuracy."""

    bins: pd.DataFrame  # a row for each bin with examples: mean confidence, accuracy with its 95 % low, high; examples
    error: float  # expected calibration error: the mean distance of the two over the bins, weighted by examples
    low: float  # the 95 % interval of the error over examples
    high: float
    chance: float  # 95 % quantile of the error of a perfectly calibrated model with these confidences
    gap: float  # mean confidence minus accuracy: the model is overconfident where it is above 0


def numbered(task: str) -> list[str]:
    """The names of a task's classes with their labels in front: "0 negative"."""
    return [f"{label} {name}" for label, name in enumerate(CLASS_NAMES[task])]


def confusion_table(answers: pd.DataFrame, task: str) -> pd.DataFrame:
    """Counts of examples, gold labels in rows and answers in columns. answers: see `comparison.predictions`."""
    names = numbered(task)
    counts = np.zeros((len(names), len(names)), int)
    np.add.at(counts, (answers["label"].astype(int), answers["prediction"].astype(int)), 1)
    return pd.DataFrame(counts, index=pd.Index(names, name="gold"), columns=pd.Index(names, name="answer"))


def confusion(answers: pd.DataFrame, task: str, provenance: str = "") -> go.Figure:
    """The confusion matrix. The colour and the first number are the share within the gold label; the count follows."""
    counts = confusion_table(answers, task)
    shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    texts = [[f"{share:.0%}<br>({n:,})" for share, n in zip(*row, strict=True)]
             for row in zip(shares.to_numpy(), counts.to_numpy(), strict=True)]
    names = [name.replace(" ", "<br>", 1).replace("somewhat ", "somewhat<br>") for name in counts]
    figure = go.Figure(go.Heatmap(
        z=shares, x=names, y=names, text=texts, texttemplate="%{text}", zmin=0, zmax=1, showscale=False, xgap=1, ygap=1,
        colorscale=[(0, "#F2F8FC"), (1, SKY)], textfont={"color": "#111111"},  # dark on every share
        hoverinfo="skip"))
    # A heatmap cannot be clicked: over each cell lies a marker that can, too faint to be seen.
    cells = [(x, y) for y in names for x in names]
    figure.add_scatter(x=[x for x, _ in cells], y=[y for _, y in cells], mode="markers",
                       text=[text for row in texts for text in row],
                       hovertemplate="gold %{y}<br>answer %{x}<br>%{text}<extra></extra>",
                       customdata=[divmod(i, len(names)) for i in range(len(cells))], showlegend=False,
                       marker={"size": 44, "symbol": "square", "opacity": 0.01, "color": SKY},
                       selected={"marker": {"opacity": 0.25}}, unselected={"marker": {"opacity": 0.01}})
    figure.update_yaxes(title="gold", autorange="reversed", showgrid=False, tickangle=0)
    figure.update_xaxes(title="answer", showgrid=False, tickangle=-45 if len(names) > 2 else 0, tickvals=names,
                        ticktext=list(counts), automargin=True)
    return _titled(figure, f"{TASK_TITLES[task]}: gold and answer", provenance, 420 if len(names) < 3 else 500)


def calibration(confidence: ArrayLike, right: ArrayLike) -> Calibration:
    """Reliability (Guo et al. 2017) of N answers, N >= 1, in ten bins of equal width.

    confidence (N,): the probability of each answer; right (N,): whether it is correct. The intervals of the bins are
    Wilson's. chance is the error where the labels are drawn from the confidences themselves (Bröcker and Smith 2007).
    The error and, more so, its bootstrap resamples are biased upwards, so its interval is the basic bootstrap's
    (2 error - quantile), and it begins at 0 where chance alone explains the error. Both treat the sum of a bin as a
    normal variable, so no example needs to be resampled.
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
    correct = groups["accuracy"].sum().astype(int)
    bins["low"], bins["high"] = np.transpose([stats.binomtest(k, n).proportion_ci(method="wilson")
                                              for k, n in zip(correct, bins["examples"], strict=True)])
    return Calibration(bins.reset_index(drop=True), found, 0. if found <= chance else max(0., float(low)),
                       max(found, float(high)), chance, float(c.mean() - y.mean()))


def reliability(found: Calibration, provenance: str = "") -> go.Figure:
    """Accuracy by confidence: a point for each bin, larger with more examples; the diagonal is perfect calibration."""
    bins = found.bins
    figure = go.Figure([
        _diagonal(1),
        go.Scatter(x=bins["confidence"], y=bins["accuracy"], mode="lines+markers", line={"color": BLUE, "width": 2},
                   error_y={"array": bins["high"] - bins["accuracy"], "arrayminus": bins["accuracy"] - bins["low"]},
                   marker={"color": BLUE, "size": 6 + 18 * np.sqrt(bins["examples"] / bins["examples"].max())},
                   customdata=bins["examples"],
                   hovertemplate="confidence %{x:.3f}<br>accuracy %{y:.3f}<br>n %{customdata:,}<extra></extra>")])
    figure.update_xaxes(title="confidence: probability of the answer", range=[0, 1.02])
    figure.update_yaxes(title="accuracy", range=[0, 1.02])
    title = f"Calibration: error {found.error:.3f} ({found.low:.3f} to {found.high:.3f})"
    return _titled(figure, title, provenance, 420).update_layout(showlegend=False)


def select(examples: pd.DataFrame, task: str, shown: str = "mistakes", gold: int | None = None,
           answer: int | None = None) -> pd.DataFrame:
    """The examples to look at: "mistakes" of either run, "disagreements" or "all"; of one gold label and answer only,
    if given.

    examples: columns answer, confidence and label, and of a second run "answer 2", "confidence 2". They are sorted by
    the mean confidence, highest first; those of sts by the distance, and there only more than 1 point counts.
    """
    answers, confidences = ([c for c in examples if c.startswith(what)] for what in ("answer", "confidence"))
    if shown == "disagreements":
        distance = examples[answers].max(axis=1) - examples[answers].min(axis=1)
    else:
        distance = examples[answers].sub(examples["label"], axis=0).abs().max(axis=1)
    keep = distance > (1 if task == "sts" else 0)
    if shown == "all":
        keep[:] = True
    if gold is not None:
        keep &= examples["label"] == gold
    if answer is not None:
        keep &= (examples[answers] == answer).any(axis=1)
    order = distance if task == "sts" else examples[confidences].mean(axis=1)
    return examples.loc[order[keep].sort_values(ascending=False, kind="stable").index]


def correlation(answers: pd.DataFrame) -> tuple[float, float, float]:
    """Pearson's r of gold and prediction with its 95 % interval over examples, by Fisher's z-transformation.

    All three are nan where there is no r: with fewer than 3 examples, or where one of the sides is constant.
    """
    sides = answers[["prediction", "label"]].to_numpy(float).T
    if sides.shape[1] < 3 or (np.ptp(sides, axis=1) == 0).any():
        return np.nan, np.nan, np.nan
    found = stats.pearsonr(*sides)
    return float(found.statistic), *map(float, found.confidence_interval())


def scatter(answers: pd.DataFrame, found: tuple[float, float, float], provenance: str = "") -> go.Figure:
    """STS: gold against prediction, a point for each pair. found: what `correlation` returns, for the title."""
    r, low, high = found
    words = f"r {r:.3f} ({low:.3f} to {high:.3f})" if r == r else "no r, as a side is constant"
    figure = go.Figure([
        _diagonal(5),
        go.Scatter(x=answers["label"], y=answers["prediction"], mode="markers", text=[escape(i) for i in answers["id"]],
                   marker={"color": BLUE, "size": 6, "opacity": 0.7},
                   hovertemplate="%{text}<br>gold %{x}<br>prediction %{y:.2f}<extra></extra>")])
    figure.update_xaxes(title="gold", range=[-0.1, 5.1], dtick=1)
    figure.update_yaxes(title="prediction")
    return _titled(figure, f"{TASK_TITLES['sts']}: {words}", provenance, 420).update_layout(showlegend=False)


def forest(differences: pd.DataFrame, provenance: str = "") -> go.Figure:
    """Score differences with their 95 % intervals, one below the other; above 0 the first side is better.

    Columns: what (the name of a row), difference, low, high. Where low and high are nan, a point is drawn alone.
    """
    rows = differences.iloc[::-1].reset_index(drop=True)
    sure = (rows["low"] > 0) | (rows["high"] < 0)  # the interval does not contain 0
    figure = go.Figure(go.Scatter(
        x=rows["difference"], y=[escape(name) for name in rows["what"]], mode="markers",
        error_x={"array": rows["high"] - rows["difference"], "arrayminus": rows["difference"] - rows["low"],
                 "color": GRAY},
        marker={"size": 11, "color": [RED if s else BLUE for s in sure],
                "symbol": ["diamond" if s else "circle" for s in sure]},
        customdata=np.stack([rows["low"], rows["high"]], -1),
        hovertemplate="%{y}<br>%{x:+.4f}, %{customdata[0]:+.4f} to %{customdata[1]:+.4f}<extra></extra>"))
    figure.add_vline(x=0, line=DASHED)
    figure.update_xaxes(title="difference; a diamond: 0 lies outside the interval", tickformat="+.3~f")
    figure.update_yaxes(automargin=True)
    return _titled(figure, "Differences with 95 % intervals", provenance, 170 + 34 * len(rows))


def _diagonal(highest: float) -> go.Scatter:
    return go.Scatter(x=[0, highest], y=[0, highest], mode="lines", hoverinfo="skip", line=DASHED)


def _titled(figure: go.Figure, title: str, provenance: str, height: int) -> go.Figure:
    return figure.update_layout(title={"text": f"{title}<br><sup>{escape(provenance)}</sup>"}, template="plotly_white",
                                height=height, margin={"t": 80, "l": 50, "r": 20, "b": 50})
