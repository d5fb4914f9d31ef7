"""What the pages on predictions share: runs by name, their predictions, and the data that they were made with."""

import contextlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st
from choices import Chosen, snapshot
from pickers import plain, with_commands

from lab.data import SCORES, TASK_NAMES, Data, checkout, find_data, load_data
from lab.errors import LabError
from lab.figures.styles import rank
from lab.results.comparison import beside, compute_probabilities, predictions, probabilities
from lab.results.notes import NOTES
from lab.runs.folder import Run
from lab.runs.frames import provenance
from lab.runs.labels import SHIPPED

if TYPE_CHECKING:
    from lab.results.ask import Asked

SHIPS = "frozen, as it ships with the lab"
QQP_ROWS = 1000  # examples whose probabilities are computed from a checkpoint: all of dev would take minutes


def runs_of(selection: Chosen) -> pd.DataFrame:
    """The chosen runs by name, with label, seed and state, in the order of Table 1."""
    about = selection.runs.drop_duplicates("run").astype({"run": str, "label": str})
    about = about.assign(rank=about["label"].map(rank), shipped=about["run"].str.startswith(SHIPPED))
    about = about.sort_values(["rank", "seed", "shipped", "run"])  # of a seed, one's own runs first
    return about.set_index("run")[["label", "seed", "state"]]


def answers_cosine(run: str) -> bool:
    """Whether a run's answers to STS are cosines, from -1 to 1, and not points of 5."""
    return run != SHIPS and open_run(run).config["experiment"].get("sts_head") == "cosine_embedding"


def provenance_caption(selection: Chosen, names: list[str]) -> None:
    """A caption on what figures of these runs are made from, with the warnings that go with it."""
    runs = selection.runs[selection.runs["run"].isin(names)]
    if runs.empty:  # the model that ships with the lab is no run
        return
    st.caption(plain(provenance(runs)))
    for note in {*runs["data"].unique(), *runs["protocol"].unique()} & {"sample", "smoke"}:
        st.caption(f":material/info: {plain(NOTES[note])}")


def open_run(name: str) -> Run:
    """A run of the store. LabError: it is no longer there."""
    folder = snapshot().folders.get(name)
    if folder is None or not Run(folder).exists:
        raise LabError(f"run {name} is no longer in the store")
    return Run(folder)


def with_predictions() -> set[str]:
    """The runs that have predictions now."""
    return {name for name, folder in snapshot().folders.items() if (folder / "predictions").is_dir()}


def stamps(folder: Path, pattern: str) -> tuple:
    """A cache key for what was read from these files: it changes when one of them does."""
    found = []
    for file in sorted(folder.glob(pattern)):
        with contextlib.suppress(OSError):  # the file has just been removed
            stat = file.stat()
            found.append((str(file), stat.st_mtime_ns, stat.st_size))
    return tuple(found)


def data_of(run: Run) -> tuple[Data | None, str]:
    """The data that a run was made with, from the user's folder or the bundled sample; else None and the reason."""
    about = run.config.get("data")
    about, why = about if isinstance(about, dict) else {}, ""
    for place in (None, checkout() / "data" / "sample"):
        try:
            folder = find_data(place)
            data = _read(str(folder), stamps(folder, "*.csv"))
        except LabError as error:
            why = why or str(error)
            continue
        if data.fingerprint == about.get("fingerprint"):
            return data, ""
        why = why or f"{folder} holds other data ({data.fingerprint})."
    return None, (f"Only ids and answers: gold labels and texts stand in the run's own data, {about.get('label')} "
                  f"({about.get('fingerprint')}), whose folder LAB_DATA names. {why}")


def examples(run: Run, task: str, weights: str, data: Data | None, compute: bool = False) -> tuple[pd.DataFrame, str]:
    """`comparison.predictions` with the probabilities p0, p1, ... and confidence, the probability of the answer.

    The text says why there are no probabilities. compute: from the checkpoint, where the run has not written them.
    LabError: there are no predictions.
    """
    return _examples(str(run.folder), task, weights, data, compute, stamps(run.folder, f"p*/{weights}/*-dev-*.csv"))


@st.cache_resource(max_entries=1, show_spinner="Loading the weights ...")
def ships() -> "tuple[Asked, threading.Lock]":
    """The model that ships with the lab, for all pages, and its lock: a tokenizer serves one visitor at a time."""
    from lab.results.ask import shipped

    return shipped(), threading.Lock()


@st.cache_resource(max_entries=len(TASK_NAMES), show_spinner="Asking the model that ships with the lab ...")
def shipped_examples(task: str) -> pd.DataFrame:
    """The answers of the model that ships with the lab to the dev rows of the bundled sample. LabError: no model."""
    from lab.results.ask import examples

    asked, lock = ships()
    with lock:
        return examples(asked, task, load_data(checkout() / "data" / "sample"))


def scores(selection: Chosen, names: list[str], weights: str = "last") -> pd.DataFrame:
    """The scores of each run on all of dev, tasks in rows; of an unfinished run, the scores after its last epoch."""
    runs, found = selection.runs, {}
    runs = runs[runs["metric"] == runs["task"].map(SCORES)]
    for name in names:
        mine = runs[(runs["run"] == name) & runs["split"].isin(["dev_full", "dev"])]
        whole = mine[mine["split"] == "dev_full"]
        keep = "first" if weights == "best" and len(whole) else "last"  # the best epoch is never after the last
        mine = (whole if len(whole) else mine).sort_values("step").drop_duplicates("task", keep=keep)
        found[name] = mine.set_index(mine["task"].astype(str))["value"]
    # The name of the first column has a space, so it cannot be that of a run.
    return pd.DataFrame(found).reindex(list(TASK_NAMES)).rename(index=TASK_NAMES).rename_axis("score of").reset_index()


@st.cache_resource(max_entries=2, show_spinner="Reading the texts ...")
def _read(folder: str, stamps: tuple) -> Data:
    return load_data(folder)


@st.cache_resource(max_entries=16, show_spinner="Reading predictions ...",
                   hash_funcs={Data: lambda data: data.fingerprint})
def _examples(folder: str, task: str, weights: str, data: Data | None, compute: bool,
              stamps: tuple) -> tuple[pd.DataFrame, str]:
    run = Run.open(folder)
    table, why = predictions(run, task, data, weights=weights).assign(confidence=float("nan")), ""
    if task == "sts":
        return table, why
    try:
        shares = probabilities(run, task, weights=weights)
    except LabError as error:
        if not compute or data is None:
            return table, str(error)
        try:
            shares = compute_probabilities(run, task, data, weights=weights, rows=QQP_ROWS if task == "qqp" else None)
        except LabError as reason:
            return table, str(reason)
    try:
        shares = beside(table, shares).drop(columns="id")
    except LabError as reason:
        return table, str(reason)
    place = table["prediction"].astype(int).to_numpy()
    return table.join(shares).assign(confidence=shares.to_numpy()[range(len(table)), place]), why


def notice(error: Exception | str) -> None:
    """Say on the page why something is not shown."""
    text = str(error)
    if text.startswith(("run ", "no ")):  # other first words may be names
        text = f"{text[:1].upper()}{text[1:]}"
    st.info(with_commands(f"{text.rstrip('.')}."))
