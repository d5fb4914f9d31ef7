"""The task gradients: do they agree, and what did combining them change; and SMART's penalty."""

import streamlit as st
from choices import chosen, plain
from panels import draw_panels

from lab import figures
from lab.panels import numbers

of = chosen()
st.title("Gradients")
st.write("Each task pulls the shared encoder its own way. A cosine below 0 means that two tasks conflict: a step for "
         "one undoes part of a step for the other. PCGrad takes the conflicting part out.")
st.caption(plain(figures.made_from(of.runs)))
figure = figures.conflict(of.runs)
if figure.data:
    st.caption("Means over each epoch. Sampled: the recipe has no task gradients of its own, so they were measured "
               "beside the training at some iterations.")
    draw_panels(figure, "conflict", 3, numbers(figure, "epoch"))
    if ("update_cosine", "batch") not in figures.recorded(of.runs):
        st.info("What combining the gradients changed (PCGrad, GradVac, ...) is not in these records: no chosen recipe "
                "combines them, or its runs were made before the lab recorded it.")
else:
    st.info("No task gradients are recorded in these runs: they come with the first 25 iterations of a run, and runs "
            "trained with `samples=0` and no PCGrad have none.")

st.subheader("SMART")
figure = figures.smart(of.runs)
if figure.data:
    st.write("SMART punishes a model whose answer changes when its input moves a little. Part of that change comes "
             "from dropout alone, which is not what the penalty is for; the rest is the noise's. In nats (SST, "
             "QQP) or squared points (STS), not yet times its weight.")
    draw_panels(figure, "smart", 3, numbers(figure, "epoch"))
else:
    st.info("No chosen run has SMART's penalty in its records. `lab train smart` makes one.")
