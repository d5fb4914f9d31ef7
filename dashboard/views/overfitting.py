"""Figure 4: train beside dev, and what training beyond the best epoch cost."""

import streamlit as st
from choices import chosen
from panels import draw_panels
from pickers import plain, select

from lab.figures.panels import numbers
from lab.figures.training import overfit_panels
from lab.results import tables
from lab.runs.frames import provenance

NAMES = {"recipe": "recipe", "seeds": "seeds", "best_epoch": "best epoch on dev", "dev_best": "dev at that epoch",
         "dev_last": "dev at the end", "cost": "lost after the best epoch", "train_last": "train at the end",
         "gap": "gap", "gap_sst": "gap SST", "gap_qqp": "gap QQP", "gap_sts": "gap STS"}

st.title("Overfitting")
st.write("Where the train line goes on rising and the dev line does not, the model learns its training sentences by "
         "heart. The dashed line marks the epoch with the best overall score on dev.")
selection = chosen()
name = select("Recipe", selection.labels, selection.labels[0], "shown")
panels = overfit_panels(selection.runs, name)
st.caption(plain(provenance(selection.runs[selection.runs["label"] == name])))
st.caption("Scored before the first step and after each epoch, on a part of train and of QQP's dev; the leaderboard "
           "has the scores of the end, on more rows.")
if any(panel.flat for panel in panels):
    st.caption(plain(f"Gray lines: what no training gives on the same rows of dev. {tables.FLOORS_NOTE}."))
draw_panels(panels, "overfit", 2, numbers(panels))

st.subheader("All chosen recipes")
st.write("Overall score, means over seeds. Lost after the best epoch: dev at its best epoch minus dev at the end. "
         "Gap: train minus dev at the end. The best epoch is picked on dev itself, so part of its lead is luck.")
table = tables.overfitting(selection.runs).rename(columns=NAMES)
scores = {column: st.column_config.NumberColumn(format="%.3f") for column in list(NAMES.values())[3:]}
st.dataframe(table, key="overfit-all", hide_index=True, placeholder="n/a", column_config=scores,
             alt="What each recipe lost on dev after its best epoch")
