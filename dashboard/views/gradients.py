"""The task gradients: whether they conflict, and what combining them changed; and SMART's penalty."""

import streamlit as st
from choices import chosen
from panels import draw_panels
from pickers import plain

from lab.figures import training
from lab.figures.panels import numbers
from lab.results import conflict
from lab.runs.frames import provenance

st.title("Gradients")
st.write("Each task has a gradient of its own for the encoder that all share. A cosine below 0 means that two tasks "
         "conflict: a step for one undoes part of a step for the other. PCGrad removes the conflicting part.")
selection = chosen()
st.caption(plain(provenance(selection.runs)))
null = conflict.against_null(selection.runs)
if said := conflict.sentence(null):
    st.markdown(f"**{plain(said)}**")
    st.dataframe(null.round(4), hide_index=True, key="null")
    st.caption(plain(f"{conflict.NOTE}: over seeds from three on, else over windows of iterations, which says less."))
panels = training.conflict_panels(selection.runs)
if panels:
    st.caption("Means over each epoch. Sampled: measured beside the training at some iterations.")
    draw_panels(panels, "conflict", 3, numbers(panels))
    if ("update_cosine", "batch") not in training.recorded(selection.runs):
        st.info("What combining the gradients changed (PCGrad, GradVac, ...) is not in these records: no chosen recipe "
                "combines them, or its runs were made before the lab recorded it.")
else:
    st.info("No task gradients are recorded in these runs: they come with the first 25 iterations of a run, and runs "
            "trained with `samples=0` and no PCGrad have none.")

st.subheader("SMART")
panels = training.smart_panels(selection.runs)
if panels:
    st.write("SMART adds a penalty to the loss, which is large where a little noise in the input changes the answer. "
             "Part of the change comes from dropout alone, which the penalty is not meant for; the rest comes from the "
             "noise. In nats (SST, QQP) or squared points (STS), before it is multiplied by its weight.")
    draw_panels(panels, "smart", 3, numbers(panels))
else:
    st.info("No chosen run has SMART's penalty in its records. `lab train smart` makes one.")
