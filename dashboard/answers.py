"""What the pages on predictions share: runs by name, their examples, and the data that they were made with."""

import contextlib
from pathlib import Path

import pandas as pd
import streamlit as st
from choices import Chosen, plain

from lab.comparison import ask_again, predictions, probabilities
from lab.data import Data, checkout, find_data, load_data
from lab.errors import LabError
from lab.figures import SCORES, SHORT, made_from
from lab.looks import rank
from lab.runs import Run, shown_store
from lab.tables import NOTES

AGAIN = 1000  # examples of QQP whose probabilities are computed from a checkpoint: all of dev would take minutes


def runs_of(of: Chosen) -> pd.DataFrame:
    """The chosen runs, a row a run by its name: seed, state and the label of its recipe; in the order of Table 1."""
    about = of.runs.drop_duplicates("run").astype({"run": str, "label": str})
    about = about.assign(rank=about["label"].map(rank)).sort_values(["rank", "seed", "run"])
    return about.set_index("run")[["label", "seed", "state"]]


def say_what(of: Chosen, names: list[str]) -> None:
    """What pictures of these runs are made from, and what must be known of such."""
    runs = of.runs[of.runs["run"].isin(names)]
    st.caption(plain(made_from(runs)))
    for note in {*runs["data"].unique(), *runs["protocol"].unique()} & {"sample", "smoke"}:
        st.caption(f":material/info: {plain(NOTES[note])}")


def opened(name: str) -> Run:
    """A run of the store. LabError: it is gone."""
    run = Run(shown_store()[0] / name)
    if not (run.folder / "experiment.json").is_file():
        raise LabError(f"run {name} is no longer in the store")
    return run


def has_predictions(name: str) -> bool:
    return (shown_store()[0] / name / "predictions").is_dir()


def stamps(folder: Path, pattern: str) -> tuple:
    """What changes when one of these files does: a key for what was read from them."""
    found = []
    for file in sorted(folder.glob(pattern)):
        with contextlib.suppress(OSError):  # gone while we looked
            stat = file.stat()
            found.append((str(file), stat.st_mtime_ns, stat.st_size))
    return tuple(found)


def data_of(run: Run) -> tuple[Data | None, str]:
    """The data that a run was made with, from the user's folder or the bundled sample; else a line on why not."""
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


def examples(run: Run, task: str, weights: str, data: Data | None, again: bool = False) -> tuple[pd.DataFrame, str]:
    """`comparison.predictions`, with p0, p1 ... and confidence, the answer's share, where they are known; else why not.

    again: compute what was not kept from the checkpoint. LabError: no predictions.
    """
    return _examples(str(run.folder), task, weights, data, again, stamps(run.folder, f"p*/{weights}/*-dev-*.csv"))


def scores(of: Chosen, names: list[str], weights: str = "last") -> pd.DataFrame:
    """A row a task: each run's score on all of dev with these weights; of an unfinished run, after its last epoch."""
    runs, found = of.runs[of.runs["metric"] == of.runs["task"].map(SCORES)], {}
    for name in names:
        mine = runs[(runs["run"] == name) & runs["split"].isin(["dev_full", "dev"])]
        whole = mine[mine["split"] == "dev_full"]
        keep = "first" if weights == "best" and len(whole) else "last"  # the best epoch is never after the last
        mine = (whole if len(whole) else mine).sort_values("step").drop_duplicates("task", keep=keep)
        found[name] = mine.set_index(mine["task"].astype(str))["value"]
    words = SHORT | {"all": "overall"}
    # no run can have a name with a space, so the first column has one
    return pd.DataFrame(found).reindex(list(words)).rename(index=words).rename_axis("score of").reset_index()


@st.cache_resource(max_entries=2, show_spinner="Reading the texts ...")
def _read(folder: str, stamps: tuple) -> Data:
    return load_data(folder)


@st.cache_resource(max_entries=16, show_spinner="Reading predictions ...",
                   hash_funcs={Data: lambda data: data.fingerprint})
def _examples(folder: str, task: str, weights: str, data: Data | None, again: bool,
              stamps: tuple) -> tuple[pd.DataFrame, str]:
    run = Run.open(folder)
    table, why = predictions(run, task, data, weights=weights).assign(confidence=float("nan")), ""
    if task == "sts":
        return table, why
    try:
        shares = probabilities(run, task, weights=weights)
    except LabError as error:
        if not again or data is None:
            return table, str(error)
        try:
            shares = ask_again(run, task, data, weights=weights, rows=AGAIN if task == "qqp" else None)
        except LabError as reason:
            return table, str(reason)
    shares = table[["id"]].merge(shares, on="id", how="left").drop(columns="id")
    place = table["prediction"].astype(int).to_numpy()
    return table.join(shares).assign(confidence=shares.to_numpy()[range(len(table)), place]), why


def excuse(error: Exception | str) -> None:
    st.info(plain(error))
