"""Panels beside each other, below each other on a narrow screen, under one legend."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import pandas as pd
import streamlit as st
from choices import draw
from pickers import plain

from lab.figures.panels import Panel, describe, legend, standalone
from lab.figures.styles import MARKERS

# A legend's lines, 30 wide, as plotly draws them: a marker is a path around (0, 0), a dash is lengths on and off.
SHAPES = dict(zip(MARKERS, (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z", "M-4-4h8v8h-8z", "M0-5L5 0L0 5L-5 0z", "M0-5L5 4H-5z", "M0 5L5-4H-5z",
    "M-5-3L-3-5L0-2L3-5L5-3L2 0L5 3L3 5L0 2L-3 5L-5 3L-2 0z", "M-1.5-5h3v3.5h3.5v3h-3.5v3.5h-3v-3.5h-3.5v-3h3.5z",
    "M0-5.5L1.3-1.8H5.2L2.1.6L3.3 4.4L0 2.1L-3.3 4.4L-2.1.6L-5.2-1.8H-1.3z", "M0-5.5L4.5 2.7H-4.5zM0 5.5L-4.5-2.7H4.5z",
    "M-5-4V4L5-4V4z", "M-4-5H4L-4 5H4z", "M-5 0L4-5V5z", "M5 0L-4-5V5z", "M0-5L4.8-1.5L2.9 4H-2.9L-4.8-1.5z",
    "M0-5.5Q1.1-1.1 5.5 0Q1.1 1.1 0 5.5Q-1.1 1.1-5.5 0Q-1.1-1.1 0-5.5z",
    "M0-5L4.3-2.5V2.5L0 5L-4.3 2.5V-2.5z"), strict=True))
LINES = 4  # that a chart has at first
DASHES = {"dash": "9 9", "dot": "3 3", "dashdot": "9 3 3 3", "longdash": "15 15"}
LEGEND = ("<div role=list aria-label=Legend style='display:flex; flex-wrap:wrap; gap:.2rem 1.2rem; font-size:.9rem; "
          "overflow-wrap:anywhere'>{}</div>")
SAMPLE = ("<svg xmlns='http://www.w3.org/2000/svg' width='30' height='12' viewBox='-15 -6 30 12'>"
          "<path d='M-15 0H15' stroke='{colour}' stroke-width='2' stroke-dasharray='{dash}'/>"
          "<path d='{shape}' fill='{fill}' stroke='{colour}'/></svg>")
ENTRY = "<span role=listitem><img alt='' src=\"data:image/svg+xml,{}\"> {}</span>"


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
    if entries := "".join(_entry(trace) for trace in legend(panels).values()):
        st.html(LEGEND.format(entries))
    for first in range(0, len(panels), columns):
        for place, panel in zip(st.columns(columns), panels[first : first + columns], strict=False):
            with place:
                draw(standalone(panel, panels), f"{key}-{panel.title.split('<br>')[0]}", describe(panel))
    if table is not None:
        with st.expander("The numbers behind these pictures"):
            st.dataframe(table, key=f"{key}-numbers", hide_index=True, placeholder="n/a")


def _entry(trace: Mapping[str, Any]) -> str:
    """The sample and the name of a line. The name of a trace is escaped already, since plotly too reads HTML in it."""
    symbol, line = trace.get("marker", {}).get("symbol", ""), trace["line"]
    sample = SAMPLE.format(colour=line["color"], dash=DASHES.get(line["dash"], "none"),
                           shape=SHAPES.get(symbol.removesuffix("-open"), ""),
                           fill="none" if symbol.endswith("-open") else line["color"])
    return ENTRY.format(quote(sample), trace["name"])
