"""What all pages share: the run store, of which only new rows are read, and the choices in the sidebar.

Every choice is a widget bound to the address of the page, so that a link opens the same view. Streamlit leaves a
widget's default out of the address. So a default is a constant, or, where it depends on the runs, made with
`select`. A page lets the user choose, stops if nothing is chosen, and draws.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from pickers import plain, select

from lab.data import checkout
from lab.figures.styles import rank
from lab.results import tables
from lab.runs.frames import among
from lab.runs.labels import line_labels, run_labels
from lab.runs.marks import Mark, Marks
from lab.runs.records import SHIPPED, Store
from lab.runs.stores import both_stores, shown_store

POLL_EVERY = 3  # seconds
TEXTS = ("say", "and", "find")  # the choices that are texts, which may be empty
LONGEST = 300  # characters of a reason
NO_RUNS = ("No runs yet. `lab train baseline` makes one in a few minutes; `lab ablate quick` makes fifteen: five "
           "recipes with three seeds each.")
FEW = 3  # messages about ended runs that the sidebar shows unfolded; more are folded


class Chosen(NamedTuple):
    """The runs that are chosen in the sidebar. They share data, encoder and protocol."""

    runs: pd.DataFrame  # as `lab.load_runs`, with the label of each run's line
    labels: list[str]  # of their lines, in the order of Table 1
    key: tuple = ()  # what caches know these runs by


class Snapshot(NamedTuple):
    """The user's own runs and the shipped ones at one moment; the names of the latter begin with "shipped/"."""

    runs: pd.DataFrame
    version: tuple[tuple[str, ...], int]  # of the folders: another one as soon as anything has changed
    folders: dict[str, Path]  # of each run by its name
    status: dict[str, dict]
    unreadable: dict[str, str]
    about: pd.DataFrame  # a row for each run, also for those that have measured nothing yet
    marked: dict[str, Mark]  # labels of one's own, tags, notes, hidden
    labels: dict[str, str]  # what each run is called


@st.cache_resource(show_spinner="Reading the run store ...")
def _store(*folders: str) -> tuple[Store, threading.Lock]:
    """The store and its lock, shared by all visitors."""
    store = Store(*map(Path, folders))
    store.frame()
    return store, threading.Lock()


def snapshot() -> Snapshot:
    """All runs as they are now."""
    folders = tuple(map(str, both_stores()))
    store, lock = _store(*folders)
    with lock:
        runs, version = store.frame(), (folders, store.version)
        return Snapshot(runs, version, store.folders, store.status, store.unreadable, store.about, store.marked,
                        _labels(store.about, version))


@st.cache_resource(max_entries=2, show_spinner=False)
def _labels(_about: pd.DataFrame, version: tuple) -> dict[str, str]:
    """The label of each run, cached until the store changes."""
    return run_labels(_about)


def marks() -> Marks:
    """Where labels, tags and notes are kept: in the user's own store."""
    return Marks(both_stores()[0])


def visible(hidden: bool = False) -> Snapshot:
    """The runs that the sidebar's switch leaves, without those that are hidden, unless these are asked for too.

    With runs of one kind alone there is no switch, and all are left.
    """
    now, whose = snapshot(), st.session_state.get("whose", "both")
    left = {run for run in now.folders if hidden or not now.marked.get(run, Mark()).hidden}
    if whose != "both" and mixed(now):
        left = {run for run in left if run.startswith(SHIPPED) == (whose == "shipped")}
    if len(left) == len(now.folders):
        return now
    return now._replace(runs=now.runs[among(now.runs, "run", list(left))], about=now.about[now.about["run"].isin(left)],
                        **{field: {run: of for run, of in getattr(now, field).items() if run in left}
                           for field in ("folders", "status", "labels")})


def mixed(now: Snapshot) -> bool:
    """Whether there are runs of one's own beside shipped ones."""
    return len({run.startswith(SHIPPED) for run in now.folders}) > 1


def sidebar() -> None:
    """The choices that all pages share, and the runs that are being trained."""
    _drop_empty_values()
    if group := st.session_state.pop("next-group", None):  # where the page before this one leads to
        st.session_state.update({"from": group, "recipe": []})
    with st.sidebar:
        if note := shown_store()[1]:
            st.info(plain(f"{note[:1].upper()}{note[1:]}."))
        if mixed(snapshot()):
            st.radio("Whose runs", ["both", "mine", "shipped"], key="whose", bind="query-params", horizontal=True,
                     help="Those that you trained, those that ship with the lab, or both")
        now = visible()
        if groups := comparable(now.runs):
            about = groups[select("Made from", list(groups), next(iter(groups)), "from")]
            _keep_recipes(about)
            st.multiselect("Recipes", sorted(set(about["label"]), key=rank), key="recipe", bind="query-params",
                           placeholder="all")
        st.session_state["page-run"] = True
        _watch(now.version)
        if many := sum(now.marked.get(run, Mark()).hidden for run in snapshot().folders):
            st.caption(f"Hidden: {many} run{'s' * (many > 1)}. The page Runs shows them again.")
        st.segmented_control("Save pictures as", ["PNG", "SVG"], default="PNG", required=True, key="pictures",
                             bind="query-params", help="The camera above each picture saves it, with its legend, at "
                             "twice the size")
        for whose, folder in zip(("Your runs", "Shipped runs"), both_stores(), strict=False):
            inside = folder.is_relative_to(checkout())
            st.caption(f"{whose}: {plain(folder.relative_to(checkout()) if inside else folder)}")


def chosen(every: bool = False) -> Chosen:
    """The runs that are chosen in the sidebar. Where there are none, the page says what to do and stops.

    every: all recipes of the group, whichever are chosen.
    """
    now = visible()
    groups = comparable(now.runs)
    if not groups:
        st.info(NO_RUNS if not now.folders else
                "Nothing is measured yet. A run begins with the scores before its first step; this page then shows "
                "them by itself.")
        unfinished(now)
        st.stop()
    about = groups.get(st.session_state.get("from"), next(iter(groups.values())))
    picked = (not every and st.session_state.get("recipe")) or list(about["label"])
    about = about[about["label"].isin(picked)]
    if about.empty:
        st.info("None of the chosen recipes is among these runs. Choose others on the left.")
        st.stop()
    key = now.version, tuple(about["run"]), tuple(about["label"])
    return Chosen(_part(now.runs, *key), sorted(about["label"].unique(), key=rank), key)


def unfinished(now: Snapshot) -> None:
    """Name the runs that are not in the tables, since they train or ended early, with their progress."""
    words = [f"{now.labels[run]} ({s.get('state') or 'not begun'}, {s.get('step') or 0} of {s.get('total') or '?'} "
             "iterations)" for run, s in now.status.items() if s.get("state") != "done"]
    if words:
        st.caption(f"Not finished, so not in the tables: {plain(', '.join(words))}")


def draw(figure: go.Figure, key: str, alt: str, table: pd.DataFrame | None = None,
         on_click: Callable[[list], None] | None = None) -> None:
    """Draw a figure with its text alternative, and the table of the numbers behind it.

    on_click: takes the points that were clicked.
    """
    clicks = {} if on_click is None else {
        "selection_mode": "points", "on_select": lambda: on_click(st.session_state[key]["selection"]["points"])}
    export = {"format": st.session_state.get("pictures", "PNG").lower(), "scale": 2, "filename": key}
    st.plotly_chart(figure, key=key, alt=alt, config={"displaylogo": False, "showSendToCloud": False,
                                                      "toImageButtonOptions": export}, **clicks)
    if table is not None:
        with st.expander("The numbers behind this picture"):
            st.dataframe(table, key=f"{key}-table", hide_index=True)


def _drop_empty_values() -> None:
    """Take empty values, as `?by=`, out of the address: Streamlit would take away a choice that must be made."""
    empty = [key for key in st.query_params if key not in TEXTS and key not in st.session_state
             and not any(st.query_params.get_all(key))]
    for key in empty:
        del st.query_params[key]
    if empty:
        st.rerun()


def comparable(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The groups of comparable runs by name: a frame with a row for each run, and its label.

    The group with the most finished runs comes first; of those with equally many, the largest.
    """
    about = runs.drop_duplicates("run").reset_index(drop=True)
    parts = sorted(about.groupby(tables.ALIKE, observed=True),
                   key=lambda part: (-(part[1]["state"] == "done").sum(), -len(part[1])))
    return {f"{encoder} · {protocol} · {data} ({fingerprint})": part.assign(label=line_labels(part))
            for (data, fingerprint, encoder, protocol), part in parts}


def _keep_recipes(about: pd.DataFrame) -> None:
    """Rename chosen recipes whose label has changed, as it does once a run with other settings has the same name.

    Of an address that names them, only the names of the recipes are known: all labels with such a name are chosen.
    """
    runs_of = {label: set(part["run"]) for label, part in about.groupby("label")}
    if "recipe" not in st.session_state and (given := st.query_params.get_all("recipe")):
        names = {label.partition(" (")[0] for label in given if label not in runs_of}
        now = [label for label in runs_of if label in given or label.partition(" (")[0] in names]
        if now != given and now:
            st.query_params["recipe"] = now
            st.rerun()
    before, chosen = st.session_state.get("runs-of", {}), st.session_state.get("recipe", [])
    if gone := set(chosen) - set(runs_of):
        theirs = set().union(*(before.get(label, ()) for label in gone))
        st.session_state["recipe"] = [label for label, runs in runs_of.items() if label in chosen or runs & theirs]
    st.session_state["runs-of"] = runs_of


@st.cache_resource(max_entries=4, show_spinner=False)
def _part(_runs: pd.DataFrame, version: tuple, names: tuple[str, ...],
          labels: tuple[str, ...]) -> pd.DataFrame:
    """The records of these runs with their labels. Cached, since each page needs it after each change of a choice."""
    part = _runs if len(names) == _runs["run"].nunique() else _runs[_runs["run"].isin(names)]
    label = pd.Categorical(pd.Series(labels, index=list(names)).reindex(part["run"].cat.categories))
    return part.assign(label=label.take(part["run"].cat.codes.to_numpy()))


@st.fragment(run_every=POLL_EVERY)
def _watch(version: tuple) -> None:
    """The runs that are being trained and those that ended early. Reruns the page when the store has changed."""
    now = snapshot()
    if not st.session_state.pop("page-run", False) and now.version != version:
        st.rerun()
    ended = []
    for run, status in now.status.items():
        name = plain(now.labels[run])
        if status.get("state") == "running":
            step, total = _count(status.get("step")), max(1, _count(status.get("total")))
            st.progress(min(step, total) / total, text=f"{name}: {step} of {total}")
        elif now.marked.get(run, Mark()).hidden:
            continue
        elif status.get("state") == "stopped":
            ended.append(f"{name} stopped: {_why(status, 'its process has ended')}. The command "
                         "that began it continues it: `lab ablate` as it is, `lab train` with `--resume`.")
        elif status.get("state") == "failed":
            ended.append(f"{name} failed: {_why(status, 'the reason is not recorded')}")
    ended += [f"{plain(run)} cannot be read: {plain(why)}" for run, why in now.unreadable.items()]
    many = f"{len(ended)} runs stopped, failed or unreadable"
    with st.container() if len(ended) <= FEW else st.expander(many, key="ended"):
        for line in ended:
            st.caption(line)


def _why(status: dict, otherwise: str) -> str:
    """Why a run ended, as its status says."""
    return plain(str(status.get("why") or otherwise)[:LONGEST])


def _count(value: object) -> int:
    return min(value, 10**12) if isinstance(value, int) and value > 0 else 0
