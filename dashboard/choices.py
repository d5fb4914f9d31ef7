"""What all pages share: the store, read once and then only where it grew, and the choices in the sidebar.

Every choice is a widget bound to the address, so that a link opens the same view. A page goes: choose, stop if nothing
is chosen, draw.
"""

import threading
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from lab import tables
from lab.data import checkout
from lab.looks import rank
from lab.records import Store, told_apart
from lab.runs import shown_store

LOOK_EVERY = 3  # seconds between two looks at the store
FEW = 3  # lines about ended runs that the sidebar shows at once; more are folded


class Chosen(NamedTuple):
    """The runs that the sidebar leaves: alike in data, encoder and protocol."""

    runs: pd.DataFrame  # as `lab.load_runs`, with the label of each run's line
    labels: list[str]  # of their lines, in the order of Table 1


class _Look(NamedTuple):
    """The store at one moment."""

    runs: pd.DataFrame
    seen: tuple[str, int]  # folder and version: differ when anything has changed
    status: dict[str, dict]
    unreadable: dict[str, str]


@st.cache_resource(show_spinner="Reading the run store ...")
def _store(folder: str) -> tuple[Store, threading.Lock]:
    """One for all visitors."""
    store = Store(Path(folder))
    store.frame()
    return store, threading.Lock()


def _look() -> _Look:
    folder = str(shown_store()[0])
    store, lock = _store(folder)
    with lock:
        return _Look(store.frame(), (folder, store.version), store.status, store.unreadable)


def all_runs() -> pd.DataFrame:
    """Every record of the store as it is now: the same object as long as nothing was added."""
    return _look().runs


def sidebar() -> None:
    """The choices that all pages share, and what trains now."""
    look, (folder, note) = _look(), shown_store()
    with st.sidebar:
        if note:
            st.info(plain(note))
        if groups := _groups(look.runs):
            of = groups[st.selectbox("Made from", list(groups), key="from", bind="query-params")]
            _keep_recipes(of)
            st.multiselect("Recipes", sorted(set(of["label"]), key=rank), key="recipe", bind="query-params",
                           placeholder="all")
        st.session_state["drawn-anew"] = True
        _watch(look.seen)
        own = folder.is_relative_to(checkout())
        st.caption(f"Run store: {plain(folder.relative_to(checkout()) if own else folder)}")


def chosen(every: bool = False) -> Chosen:
    """The runs that the sidebar leaves; stops the page with a word on what to do where there are none.

    every: all recipes that may stand beside them, whichever are chosen.
    """
    look = _look()
    groups = _groups(look.runs)
    if not groups:
        st.info("No runs yet. `lab train baseline` makes one in a few minutes; `lab ablate quick` makes five.")
        st.stop()
    of = groups.get(st.session_state.get("from"), next(iter(groups.values())))
    picked = (not every and st.session_state.get("recipe")) or list(of["label"])
    of = of[of["label"].isin(picked)]
    if of.empty:
        st.info("None of the chosen recipes is among these runs. Choose others on the left.")
        st.stop()
    return Chosen(_part(look.runs, look.seen, tuple(of["run"]), tuple(of["label"])),
                  sorted(of["label"].unique(), key=rank))


def draw(figure: go.Figure, key: str, alt: str, table: pd.DataFrame | None = None) -> None:
    """A picture with words for those who do not see it, and the numbers behind it."""
    st.plotly_chart(figure, key=key, alt=alt, config={"displaylogo": False, "showSendToCloud": False})
    if table is not None:
        with st.expander("The numbers behind this picture"):
            st.dataframe(table, key=f"{key}-table", hide_index=True)


def plain(text: object) -> str:
    """A text from a file, for a place that would read Markdown in it."""
    text = str(text).encode("utf-8", "replace").decode()  # half of a surrogate pair cannot be sent
    return "".join(f"\\{c}" if c in "\\`*_{}[]()<>#+-.!|~:$&" else c for c in text)


def _groups(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """A row a run, with its line's label, by what may stand in one picture, under words for it; largest group first."""
    about = runs.drop_duplicates("run").reset_index(drop=True)
    parts = sorted(about.groupby(tables.ALIKE, observed=True), key=lambda part: -len(part[1]))
    return {f"{encoder} · {protocol} · {data} ({fingerprint})": part.assign(label=told_apart(part))
            for (data, fingerprint, encoder, protocol), part in parts}


def _keep_recipes(of: pd.DataFrame) -> None:
    """Choices follow their runs: a line is called otherwise once a run with other settings shares its name."""
    runs_of = {label: set(part["run"]) for label, part in of.groupby("label")}
    before, chosen = st.session_state.get("runs-of", {}), st.session_state.get("recipe", [])
    if gone := set(chosen) - set(runs_of):
        theirs = set().union(*(before.get(label, ()) for label in gone))
        st.session_state["recipe"] = [label for label, runs in runs_of.items() if label in chosen or runs & theirs]
    st.session_state["runs-of"] = runs_of


@st.cache_resource(max_entries=4, show_spinner=False)
def _part(_runs: pd.DataFrame, seen: tuple[str, int], names: tuple[str, ...], labels: tuple[str, ...]) -> pd.DataFrame:
    """The records of these runs, labelled; cached, since every page and every change of a choice asks for it."""
    part = _runs if len(names) == _runs["run"].nunique() else _runs[_runs["run"].isin(names)]
    of = pd.Categorical(pd.Series(labels, index=list(names)).reindex(part["run"].cat.categories))
    return part.assign(label=of.take(part["run"].cat.codes.to_numpy()))


@st.fragment(run_every=LOOK_EVERY)
def _watch(seen: tuple[str, int]) -> None:
    """What trains now, and what ended before its end; draws the page anew when the store has changed."""
    look = _look()
    if not st.session_state.pop("drawn-anew", False) and look.seen != seen:
        st.rerun()
    ended = []
    for run, status in look.status.items():
        if status.get("state") == "running":
            step, total = _count(status.get("step")), max(1, _count(status.get("total")))
            st.progress(min(step, total) / total, text=f"{plain(run)}: {step} of {total}")
        elif status.get("state") == "stopped":
            ended.append(f"{plain(run)} stopped: no sign of life. `lab train ... --resume` goes on.")
    ended += [f"{plain(run)} cannot be read: {plain(why)}" for run, why in look.unreadable.items()]
    with st.container() if len(ended) <= FEW else st.expander(f"{len(ended)} runs stopped or unreadable", key="ended"):
        for line in ended:
            st.caption(line)


def _count(value: object) -> int:
    return min(value, 10**12) if isinstance(value, int) and value > 0 else 0
