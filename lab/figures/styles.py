"""The style of a line: colour, dash and marker, the same for a recipe in every figure, whatever is drawn beside it.

The colours are those of Okabe and Ito (2008), which can be told apart with every kind of colour vision; without their
black, which cannot be seen on a dark page, and their yellow, which cannot be seen on a white one. Gray is left to
reference values, such as what no training gives.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from random import Random
from typing import NamedTuple

GRAY = "#7F7F7F"
BLUE, RED, GREEN, PINK, ORANGE, SKY = COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
MARKERS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "x", "cross", "star", "hexagram", "bowtie",
           "hourglass", "triangle-left", "triangle-right", "pentagon", "star-diamond", "hexagon")


class Style(NamedTuple):
    """How a line is drawn."""

    colour: str
    dash: str
    marker: str


STYLES = {  # all of lab.experiment.KNOWN, in the order of Table 1; related recipes share a colour, and 3x is dashed
    "baseline": Style(PINK, "solid", "circle"), "multitask": Style(SKY, "solid", "square"),
    "gradient_surgery": Style(ORANGE, "solid", "diamond"), "gse": Style(BLUE, "solid", "triangle-up"),
    "cosine_embedding": Style(GREEN, "dashdot", "x"), "cosine_d": Style(GREEN, "longdash", "cross"),
    "cosine_2d1": Style(GREEN, "solid", "star"), "cosine_2d1_mean": Style(GREEN, "dot", "hexagram"),
    "smart": Style(RED, "solid", "bowtie"), "smart_gse": Style(RED, "dot", "hourglass"),
    "gse_3x": Style(BLUE, "dash", "triangle-down"), "cosine_2d1_3x": Style(GREEN, "dash", "triangle-left"),
    "smart_3x": Style(RED, "dash", "triangle-right"),
    # Beyond the paper.
    "frozen": Style(ORANGE, "dash", "pentagon"), "strong": Style(BLUE, "longdash", "star-diamond"),
    "strong_cross": Style(ORANGE, "longdash", "hexagon"),
    # Controls.
    "sum_sum": Style(SKY, "dash", "triangle-up"), "mean": Style(SKY, "dot", "diamond"),
    "sst_alone": Style(PINK, "dot", "triangle-up"), "qqp_alone": Style(PINK, "dashdot", "triangle-down"),
    "sts_alone": Style(PINK, "longdash", "diamond"), "smart_ball": Style(RED, "dashdot", "circle"),
    "smart_no_dropout": Style(RED, "longdash", "diamond"), "smart_no_noise": Style(RED, "longdashdot", "x"),
    "fairgrad": Style(ORANGE, "dot", "star"), "weighted": Style(SKY, "dashdot", "cross"),
}


def style_of(label: str) -> Style:
    """The style of a line: a recipe's own, or one that is drawn from its label alone, so that it never changes.

    What is drawn is no recipe's own, but two labels may draw the same.
    """
    pick = Random(label.encode(errors="replace")).choice
    style = STYLES.get(label)
    while style is None or (label not in STYLES and style in STYLES.values()):
        style = Style(pick(COLOURS), pick(DASHES), pick(MARKERS))
    return style


def styles_of(labels: Iterable[str]) -> dict[str, Style]:
    """The style of each of these lines, in the order of `rank`."""
    return {label: style_of(label) for label in sorted(set(labels), key=rank)}


def coloured(values: Mapping[str, str]) -> dict[str, Style]:
    """A style for each line in the colour of its value of a setting. values: that of each line, by its label.

    Lines of one colour differ in dash and marker.
    """
    order, found, many = sorted(set(values.values())), {}, Counter()
    for label in sorted(values, key=rank):
        place, number = order.index(values[label]), many[values[label]]
        many[values[label]] += 1
        found[label] = Style(COLOURS[place % len(COLOURS)], DASHES[number % len(DASHES)],
                             MARKERS[(place + number) % len(MARKERS)])
    return found


def rank(label: str) -> tuple[int, str]:
    """A sort key: recipes in the order of Table 1, then all other lines by name."""
    return (list(STYLES).index(label) if label in STYLES else len(STYLES)), label
