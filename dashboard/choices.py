"""What all pages share: the store, read once and then only where it grew, and the choices in the sidebar.

Every choice is a widget bound to the address, so that a link opens the same view. A page goes: choose, stop if nothing
is chosen, draw.
"""

import threading
from typing import NamedTuple

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from lab import tables
from lab.looks import rank
from lab.records import Store, told_apart
from lab.runs import runs_in, shown_store

LOOK_EVERY = 3  # seconds between two looks at the store


class Chosen(NamedTuple):
    """The runs that the sidebar leaves: alike in data, encoder and protocol."""

    runs: pd.DataFrame  # as `lab.load_runs`, with the label of each run's line
    labels: list[str]  # of their lines, in the order of Table 1


@st.cache_resource(show_spinner="Reading the run store ...")
def _store(folder: str) -> tuple[Store, threading.Lock]:
    """One for all visitors."""
    return Store(shown_store()[0]), threading.Lock()


def all_runs() -> pd.DataFrame:
    """Every record of the store as it is now: the same object as long as nothing was added."""
    store, lock = _store(str(shown_store()[0]))
    with lock:
        return store.frame()


def sidebar() -> None:
    """The choices that all pages share, and what trains now."""
    runs = all_runs()
    about = runs.drop_duplicates("run").reset_index(drop=True)
    with st.sidebar:
        if note := shown_store()[1]:
            st.info(plain(note))
        if len(about):
            groups = list(_groups(about))
            chosen = st.selectbox("Made from", groups, key="from", bind="query-params")
            of = _groups(about)[chosen]
            st.multiselect("Recipes", sorted(set(told_apart(of)), key=rank), key="recipe", bind="query-params",
                           placeholder="all")
        _watch(id(runs))


def chosen(every: bool = False) -> Chosen:
    """The runs that the sidebar leaves; stops the page with a word on what to do where there are none.

    every: all recipes that may stand beside them, whichever are chosen.
    """
    runs = all_runs()
    about = runs.drop_duplicates("run").reset_index(drop=True)
    if about.empty:
        st.info("No runs yet. `lab train baseline` makes one in a few minutes; `lab ablate quick` makes five.")
        st.stop()
    of = _groups(about)[st.session_state["from"]]
    of = of.assign(label=told_apart(of))
    picked = (not every and st.session_state.get("recipe")) or list(of["label"])
    of = of[of["label"].isin(picked)]
    if of.empty:
        st.info("None of the chosen recipes is among these runs. Choose others on the left.")
        st.stop()
    return Chosen(_part(runs, tuple(of["run"]), tuple(of["label"])), sorted(of["label"].unique(), key=rank))


def draw(figure: go.Figure, key: str, alt: str, table: pd.DataFrame | None = None) -> None:
    """A picture with words for those who do not see it, and the numbers behind it."""
    figure.update_layout(uirevision=key)  # what one zoomed stays so while a run goes on
    st.plotly_chart(figure, key=key, alt=alt, config={"displaylogo": False})
    if table is not None:
        with st.expander("The numbers behind this picture"):
            st.dataframe(table, key=f"{key}-table", hide_index=True)


def plain(text: object) -> str:
    """A text from a file, for a place that would read Markdown in it."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]()<>#+-.!|~:$&" else c for c in str(text))


def _groups(about: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The runs by what may stand in one picture, under words for it; the largest group first."""
    parts = sorted(about.groupby(tables.ALIKE, observed=True), key=lambda part: -len(part[1]))
    return {f"{encoder} · {protocol} · {data} ({fingerprint})": part
            for (data, fingerprint, encoder, protocol), part in parts}


@st.cache_resource(max_entries=8, show_spinner=False, hash_funcs={pd.DataFrame: id})
def _part(runs: pd.DataFrame, names: tuple[str, ...], labels: tuple[str, ...]) -> pd.DataFrame:
    """The records of these runs, labelled; cached, since every page and every change of a choice asks for it."""
    part = runs if len(names) == runs["run"].nunique() else runs[runs["run"].isin(names)]
    of = pd.Categorical(pd.Series(labels, index=list(names)).reindex(part["run"].cat.categories))
    return part.assign(label=of.take(part["run"].cat.codes.to_numpy()))


@st.fragment(run_every=LOOK_EVERY)
def _watch(seen: int) -> None:
    """What trains now; draws the page anew when the store has grown."""
    states = [(run, run.status) for run in runs_in(shown_store()[0])]
    for run, status in states:
        if status.get("state") == "running":
            step, total = status.get("step") or 0, status.get("total") or 1
            st.progress(min(1.0, step / total), text=f"{plain(run.name)}: {step} of {total}")
        elif status.get("state") == "stopped":
            st.caption(f"{plain(run.name)} stopped: no sign of life. `lab train ... --resume` goes on.")
    if id(all_runs()) != seen:
        st.rerun()
