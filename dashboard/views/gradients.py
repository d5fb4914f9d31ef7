"""The task gradients: whether they conflict, and what combining them changed; and SMART's penalty."""

import pandas as pd
import streamlit as st
from choices import chosen
from panels import LINES, choose, draw_panels, few_lines, headline, how_to_read
from pickers import plain

from lab.figures import training
from lab.figures.panels import numbers
from lab.figures.styles import rank
from lab.results import conflict, headlines
from lab.runs.frames import among, provenance

SMART = "SMART: "


def kind(title: str) -> str:
    """What a panel shows, whichever tasks it is of."""
    before, _, after = title.partition(": ")
    return before if before.startswith("update") else after or before


@st.cache_data(max_entries=8, show_spinner=False)
def told(_runs: pd.DataFrame, key: tuple) -> tuple[str, list[str], pd.DataFrame]:
    """The headline, the recipes that combine gradients, and the cosines against shuffled labels, until runs change."""
    combined = sorted(headlines.update_changes(_runs)["recipe"], key=rank)
    return headlines.gradients(_runs), combined, conflict.against_null(_runs)


@st.cache_resource(max_entries=8, show_spinner=False)
def panels_of(_runs: pd.DataFrame, key: tuple, labels: tuple[str, ...],
              penalised: tuple[str, ...]) -> tuple[list, list]:
    """The panels of the gradients of some recipes, and of SMART's penalty of some, until runs change.

    They are not changed by what draws them.
    """
    return (training.conflict_panels(_runs[_runs["label"].isin(labels)]),
            training.smart_panels(_runs[_runs["label"].isin(penalised)]))


st.title("Gradients")
selection = chosen()
said, combined, null = told(selection.runs, selection.key)
headline(said)
having = {metric: set(selection.runs.loc[among(selection.runs, "metric", [metric]), "label"].unique())
          for metric in ("cosine", "penalty")}
measured, penalised = ([label for label in selection.labels if label in labels] for labels in having.values())
runs = few_lines(selection.runs, measured, combined)
few = set(runs["label"])
if not few >= set(penalised):  # SMART's lines are few as well, and its recipes need not be among the four
    penalised = penalised[:LINES]
panels, smart = panels_of(selection.runs, selection.key, tuple(sorted(few)), tuple(penalised))
if panels or smart:
    kinds = [kind(panel.title) for panel in panels] + [SMART + kind(panel.title) for panel in smart]
    shown = choose([*panels, *smart], kinds, ["cosine"], "charts")
    draw_panels(shown, "conflict", 3, numbers(shown))
if not panels:
    st.info("No task gradients are recorded in these runs: they come with the first 25 iterations of a run, and runs "
            "trained with `samples=0` and no PCGrad have none.")
elif ("update_cosine", "batch") not in training.recorded(selection.runs):
    st.caption("What combining the gradients changed (PCGrad, GradVac, ...) is not in these records: no chosen recipe "
               "combines them, or its runs were made before the lab recorded it.")
if not smart:
    st.write("No chosen run has SMART's penalty in its records. `lab train smart` makes one.")
if len(null):
    with st.expander("Each pair of tasks against shuffled labels"):
        st.dataframe(null.round(4), hide_index=True, key="null", alt="Cosines of each pair and of shuffled labels")
        st.caption(plain(f"{conflict.NOTE}: over seeds from three on, else over windows of iterations, which says "
                         "less."))
how_to_read(
    "Each task has a gradient of its own for the encoder that all share. A cosine below 0 means that two tasks "
    "conflict: a step for one undoes part of a step for the other. PCGrad removes the conflicting part.",
    "Two random directions have a cosine near 0, and so they conflict in half of all iterations. That is why the "
    "sentence above compares with the same sentences under shuffled labels. The change of the update is its distance "
    "from the plain mean of the gradients, as a share of the length of that mean.",
    "Means over each epoch. Sampled: measured beside the training at some iterations.",
    "SMART adds a penalty to the loss, which is large where a little noise in the input changes the answer. Part of "
    "the change comes from dropout alone, which the penalty is not meant for; the rest comes from the noise. In nats "
    "(SST, QQP) or squared points (STS), before it is multiplied by its weight.")
st.caption(plain(provenance(runs)))
