"""Figures 1-3: any metric during training."""

import streamlit as st
from choices import chosen, plain, select
from panels import draw_panels

from lab.figures import training
from lab.figures.panels import numbers
from lab.results import tables
from lab.runs.frames import provenance

st.title("Curves")
st.write("A line is the mean over a recipe's seeds, the band around it how far seeds spread: a 95 % interval from 3 "
         "seeds on, the range of 2, none for 1. Where bands overlap, the lines' order may be chance.")
selection = chosen()

if not (recorded := training.recorded(selection.runs)):
    st.info("Nothing is recorded yet. A run's first rows come after 25 iterations.")
    st.stop()
with st.container(horizontal=True, vertical_alignment="bottom"):
    what = select("What", recorded, recorded[0], "what", format_func=lambda pair: f"{pair[1]} {pair[0]}", width=180)
    x = st.segmented_control("By", ["epoch", "step", "updates", "seconds"], default="epoch", required=True, key="by",
                             bind="query-params")
    smooth = st.select_slider(
        "Smoothing", [0, 1, 2, 5, 10, 20], key="smooth", bind="query-params", width=110,
        format_func=lambda share: f"{share} %" if share else "none",
        help="The half-life of an exponential mean, as a share of the longest line: what lies that far back counts "
             "half. A point weighs as much as the stretch that it stands for is long, so a line recorded more densely "
             "is not smoothed less. What was recorded stays, faint.")
    log = st.toggle("Log", key="log", bind="query-params", help="A logarithmic y axis")
    each = st.toggle("Seeds", key="seeds", bind="query-params", help="A thin line for each seed")

panels = training.curve_panels(selection.runs, *what, x=x, smooth=smooth / 100, each_seed=each, log=log)
st.caption(plain(provenance(selection.runs)))
if what[0] == "score":
    st.caption("Scored before the first step and after each epoch, on a part of QQP; the leaderboard has more rows. A "
               "gap: no value, as where a model answers the same to every pair, which has no Pearson's r.")
    if any(panel.flat for panel in panels):
        st.caption(plain(f"Gray lines: what no training gives on the same rows. {tables.FLOORS_NOTE}."))
table = numbers(panels)
if log and (table["mean"] <= 0).any():
    st.caption(":material/info: A logarithmic scale cannot show values at or below 0: they are missing here.")
draw_panels(panels, "curves", 2, table)
