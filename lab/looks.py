"""How lines look: colour, dash and marker, the same for a recipe in every picture.

Colours are Okabe and Ito's (2008), which stay apart for every kind of colour vision, but for their black and yellow, of
which one is lost on a dark page and the other on a white one: gray stands for both.
"""

from collections.abc import Iterable
from typing import NamedTuple

GRAY, BLUE, RED, GREEN, PINK, ORANGE, SKY = COLOURS = ("#7F7F7F", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00",
                                                       "#56B4E9")  # the order in which other lines take them
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
MARKERS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "x", "cross", "star", "hexagram", "bowtie",
           "hourglass", "triangle-left", "triangle-right")


class Look(NamedTuple):
    """How a line is drawn."""

    colour: str
    dash: str
    marker: str


LOOKS = {  # in the order of Table 1; kin share a colour, and 3x is dashed
    "baseline": Look(GRAY, "solid", "circle"), "multitask": Look(SKY, "solid", "square"),
    "gradient_surgery": Look(ORANGE, "solid", "diamond"), "gse": Look(BLUE, "solid", "triangle-up"),
    "cosine_embedding": Look(PINK, "solid", "x"), "cosine_d": Look(PINK, "dot", "cross"),
    "cosine_2d1": Look(GREEN, "solid", "star"), "cosine_2d1_mean": Look(GREEN, "dot", "hexagram"),
    "smart": Look(RED, "solid", "bowtie"), "smart_gse": Look(RED, "dot", "hourglass"),
    "gse_3x": Look(BLUE, "dash", "triangle-down"), "cosine_2d1_3x": Look(GREEN, "dash", "triangle-left"),
    "smart_3x": Look(RED, "dash", "triangle-right"),
}


def looks(labels: Iterable[str]) -> dict[str, Look]:
    """A look for each line: the thirteen recipes have their own, any other takes the next that is free."""
    labels = sorted(set(labels), key=rank)
    found = {label: LOOKS[label] for label in labels if label in LOOKS}
    taken = {(look.colour, look.dash) for look in found.values()}
    free = [(colour, dash) for dash in DASHES for colour in COLOURS if (colour, dash) not in taken]
    others = (label for label in labels if label not in found)
    return found | {label: Look(*free[i % len(free)], MARKERS[i % len(MARKERS)]) for i, label in enumerate(others)}


def rank(label: str) -> tuple[int, str]:
    """Recipes in the order of Table 1, then all others."""
    return (list(LOOKS).index(label) if label in LOOKS else len(LOOKS)), label
