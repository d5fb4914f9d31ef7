"""The style of a line: colour, dash and marker, the same for a recipe in every figure.

The colours are those of Okabe and Ito (2008), which can be told apart with every kind of colour vision. Gray replaces
their black, which cannot be seen on a dark page, and their yellow, which cannot be seen on a white one.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

# In the order in which lines without a style of their own take them.
GRAY, BLUE, RED, GREEN, PINK, ORANGE, SKY = COLOURS = ("#7F7F7F", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00",
                                                       "#56B4E9")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
MARKERS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "x", "cross", "star", "hexagram", "bowtie",
           "hourglass", "triangle-left", "triangle-right", "pentagon", "star-diamond", "hexagon")


class Style(NamedTuple):
    """How a line is drawn."""

    colour: str
    dash: str
    marker: str


STYLES = {  # in the order of Table 1; related recipes share a colour, and 3x is dashed
    "baseline": Style(GRAY, "solid", "circle"), "multitask": Style(SKY, "solid", "square"),
    "gradient_surgery": Style(ORANGE, "solid", "diamond"), "gse": Style(BLUE, "solid", "triangle-up"),
    "cosine_embedding": Style(PINK, "solid", "x"), "cosine_d": Style(PINK, "dot", "cross"),
    "cosine_2d1": Style(GREEN, "solid", "star"), "cosine_2d1_mean": Style(GREEN, "dot", "hexagram"),
    "smart": Style(RED, "solid", "bowtie"), "smart_gse": Style(RED, "dot", "hourglass"),
    "gse_3x": Style(BLUE, "dash", "triangle-down"), "cosine_2d1_3x": Style(GREEN, "dash", "triangle-left"),
    "smart_3x": Style(RED, "dash", "triangle-right"),
    # Beyond the paper.
    "frozen": Style(GRAY, "dashdot", "pentagon"), "strong": Style(BLUE, "longdash", "star-diamond"),
    "strong_cross": Style(ORANGE, "longdash", "hexagon"),
}


def styles_of(labels: Iterable[str]) -> dict[str, Style]:
    """A style for each line: the recipes have their own, any other takes the next that is free."""
    labels = sorted(set(labels), key=rank)
    found = {label: STYLES[label] for label in labels if label in STYLES}
    taken = {(style.colour, style.dash) for style in found.values()}
    free = [(colour, dash) for dash in DASHES for colour in COLOURS if (colour, dash) not in taken]
    others = (label for label in labels if label not in found)
    return found | {label: Style(*free[i % len(free)], MARKERS[i % len(MARKERS)]) for i, label in enumerate(others)}


def coloured(values: Mapping[str, str]) -> dict[str, Style]:
    """A style for each line in the colour of its value of a setting. values: that of each line, by its label.

    Lines of one colour differ in dash and marker. Gray is left to what no training gives.
    """
    order, found, many = sorted(set(values.values())), {}, Counter()
    for label in sorted(values, key=rank):
        place, number = order.index(values[label]), many[values[label]]
        many[values[label]] += 1
        found[label] = Style(COLOURS[1:][place % (len(COLOURS) - 1)], DASHES[number % len(DASHES)],
                             MARKERS[(place + number) % len(MARKERS)])
    return found


def rank(label: str) -> tuple[int, str]:
    """A sort key: recipes in the order of Table 1, then all other lines by name."""
    return (list(STYLES).index(label) if label in STYLES else len(STYLES)), label
