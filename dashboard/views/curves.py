"""Figures 1-3: any metric during training."""

import streamlit as st
import whatif
from choices import chosen
from panels import choose, colour_by, draw_panels, few_lines, headline, how_to_read, recipes
from pickers import plain, select

from lab.figures import training
from lab.figures.panels import numbers
from lab.results import headlines, tables
from lab.results.words import metric_words
from lab.runs.frames import provenance

st.title("Curves")
selection = chosen()
place = st.empty()

if not (recorded := training.recorded(selection.runs)):
    st.info("Nothing is measured yet. A run begins with the scores before its first step.")
    st.stop()
with st.container(horizontal=True, vertical_alignment="bottom"):
    named = {f"{split} {metric}": (metric, split) for metric, split in recorded}
    what = named[select("What", list(named), next(iter(named)), "what", width=230,
                        format_func=lambda name: metric_words(*named[name]))]
    x = st.segmented_control("By", ["epoch", "step", "updates", "seconds"], default="epoch", required=True, key="by",
                             bind="query-params")
    smooth = st.select_slider(
        "Smoothing", [0, 1, 2, 5, 10, 20], key="smooth", bind="query-params", width=110,
        format_func=lambda share: f"{share} %" if share else "none",
        help="The half-life of an exponential mean, as a share of the longest line: a value that lies so far back "
             "counts half. Each value is weighted by the distance to the one before, so lines that were recorded more "
             "or less often are smoothed alike. The recorded values stay visible as a faint line.")
    log = st.toggle("Log", key="log", bind="query-params", help="A logarithmic y axis")
    colour = colour_by(selection.runs)
    each = st.toggle("Seeds", key="seeds", bind="query-params", help="A thin line for each seed")
    runs = few_lines(selection.runs, selection.labels, headlines.order(selection.runs))
panels = training.curve_panels(runs, *what, x=x, smooth=smooth / 100, each_seed=each, log=log, colour=colour)
kinds = [panel.title.split(":")[0] for panel in panels]
panels = choose(panels, kinds, kinds[:4], "charts")
with place:
    headline(headlines.curves(selection.runs, *what))
table = numbers(panels)
if log and (table["mean"] <= 0).any():
    st.caption(":material/info: A logarithmic scale cannot show values at or below 0: they are missing here.")
draw_panels(panels, "curves", 2, table)
read = ["Each line is the mean over the seeds of a recipe. The band around it shows how far the seeds spread: with "
        "three or more seeds a 95 % interval, with two their range; with one there is no band. Where bands overlap, "
        "the order of the lines may be chance."]
if what[0] == "score":
    read.append("Scored before the first step and after each epoch, on a part of QQP; the leaderboard has more rows. A "
                "gap in a line means that there is no value: a model that gives every pair the same answer has no "
                "Pearson's r.")
    if any(panel.flat for panel in panels):
        read.append(plain(f"Gray lines: what no training gives on the same rows. {tables.FLOORS_NOTE}."))
with st.expander("What if, from here: train two futures of a run", key="what-if", bind="query-params") as fold:
    if fold.open:
        whatif.form(selection)
how_to_read(*read, recipes(runs))
st.caption(plain(provenance(runs)))
