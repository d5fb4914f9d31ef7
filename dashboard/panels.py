"""What pages of figures share: a headline, the choice of charts and lines, panels beside or below each other."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st
from choices import draw
from pickers import plain

from lab.figures.panels import Panel, describe, standalone
from lab.figures.styles import rank
from lab.figures.training import colour_settings
from lab.runs.labels import differences

LINES = 4  # that a chart has at first


def headline(said: str) -> None:
    """The answer of a page in one sentence, above all else."""
    if said:
        st.markdown(f"**{plain(said)}**")


def how_to_read(*texts: str) -> None:
    """The captions of a page, folded."""
    with st.expander("How to read this"):
        for text in texts:
            st.markdown(text)


def few_lines(runs: pd.DataFrame, labels: list[str], best: list[str]) -> pd.DataFrame:
    """The runs of at most four lines at first, of all where the user wants them. best: the labels, the best first."""
    if len(labels) <= LINES or st.session_state.get("recipe"):  # the sidebar has a choice already
        return runs
    order = [label for label in best if label in labels] + [label for label in labels if label not in best]
    shown = order[:LINES]
    if "baseline" in order and "baseline" not in shown:
        shown[-1] = "baseline"
    if st.toggle(f"All {len(labels)} lines", key="lines", bind="query-params",
                 help=f"At first the best {LINES}, with the baseline; the sidebar chooses any"):
        return runs
    return runs[runs["label"].isin(shown)]


def colour_by(runs: pd.DataFrame) -> str:
    """The setting by which the user wants lines coloured; "": each recipe has a style of its own."""
    settings = colour_settings(runs)
    if not settings:
        return ""
    chosen = st.selectbox("Colour by", ["recipe", *settings], key="colour", bind="query-params", width=160,
                          help="Lines in which this setting is the same take one colour")
    return "" if chosen == "recipe" else chosen


def recipes(runs: pd.DataFrame) -> str:
    """What each recipe sets otherwise than the baseline, as Markdown."""
    said = [(name, differences(name) or ("the baseline itself" if name == "baseline" else "no recipe of the lab"))
            for name in sorted(set(runs["name"].astype(str)), key=rank)]
    return "Recipes: " + "; ".join(f"**{plain(name)}** {plain(what)}" for name, what in said)


def choose(panels: Sequence[Panel], kinds: Sequence[str], first: Sequence[str], key: str) -> list[Panel]:
    """The panels of the kinds that the user chooses. kinds: that of each panel; first: those that are shown at first.
    """
    there = list(dict.fromkeys(kinds))
    if len(there) < 2:
        return list(panels)
    chosen = st.pills("Charts", there, selection_mode="multi", key=key, bind="query-params",
                      default=[kind for kind in there if kind in first] or there[:1])
    return [panel for panel, kind in zip(panels, kinds, strict=True) if kind in chosen]


def draw_panels(panels: Sequence[Panel], key: str, columns: int, table: pd.DataFrame | None = None) -> None:
    """Draw each panel with its text alternative; `table` holds the numbers behind all of them."""
    for first in range(0, len(panels), columns):
        for place, panel in zip(st.columns(columns), panels[first : first + columns], strict=False):
            with place:
                draw(standalone(panel, panels), f"{key}-{panel.title.split('<br>')[0]}", describe(panel))
    if table is not None:
        with st.expander("The numbers behind these pictures"):
            st.dataframe(table, key=f"{key}-numbers", hide_index=True, placeholder="n/a")
