"""All runs in one table: what was changed in each, how it went, its scores. Here runs are named, hidden and deleted."""

import json
import shlex
import zlib
from collections.abc import Callable

import jobs
import pandas as pd
import streamlit as st
from choices import NO_RUNS, comparable, marks, mixed, snapshot, visible
from panels import headline
from pickers import plain

from lab.data import find_data
from lab.errors import LabError
from lab.experiment import CHOICES, KNOWN, PROTOCOLS
from lab.results.overview import overview
from lab.runs.folder import Run
from lab.runs.labels import as_options, changes
from lab.runs.marks import Mark, discard, discarded, restore
from lab.runs.records import SHIPPED
from lab.runs.stores import both_stores

SCORES = ("overall", "sst", "qqp", "sts")
GROUPS = {"nothing": "", "recipe": "recipe", "changes": "changed", "state": "state", "data": "data",
          "encoder": "encoder", "protocol": "protocol", "tag": "tags"}
ENDED = {"done": "finished", "running": "in training"}  # states, in words where the state itself is none
COLUMNS = ["label", *SCORES, "state", "changed", "course", "started", "minutes", "tags", "note", "whose"]


def do(what: Callable[..., object], *given: object, **more: object) -> None:
    """Do what a button says. What cannot be done is said on the page."""
    try:
        what(*given, **more)
    except LabError as error:
        st.session_state["refused"] = str(error)
    st.session_state["rows-of-runs"] = st.session_state.get("rows-of-runs", 0) + 1  # nothing is chosen any more


def throw_away(runs: list[str]) -> None:
    """Move runs to the bin. LabError: one is not there any more, and none is moved."""
    folders = snapshot().folders
    if gone := [run for run in runs if run not in folders]:
        raise LabError(f"there is no run {', '.join(gone)} any more; nothing was moved to the bin")
    for run in runs:
        discard(Run(folders[run]))


def parted(table: pd.DataFrame, by: str) -> pd.DataFrame:
    """The table with a column `group`, in the order of the groups; a run with several tags stands in several."""
    column = GROUPS.get(by)
    if column is None:  # a setting
        values = [dict(changes(text)).get(by, "as in the recipe") for text in table["settings"]]
    elif column == "tags":
        table = table.explode("tags", ignore_index=True)
        values = table["tags"].fillna("none")
        table = table.assign(tags=[[tag] if isinstance(tag, str) else [] for tag in table["tags"]])
    else:
        values = table[column].replace("", "nothing")
    table = table.assign(group=list(values))
    return table.sort_values("group", kind="stable", ignore_index=True)


def summary_of(table: pd.DataFrame) -> str:
    """How many runs there are, how they ended, and which is the newest, in a sentence."""
    states = table["state"].value_counts()
    told = [f"{many if len(states) > 1 else 'all' * (many > 1)} {ENDED.get(state, state)}".strip()
            for state, many in states.items()]
    newest = table.iloc[0]
    when = "" if pd.isna(newest["started"]) else f" ({newest['started']:%Y-%m-%d %H:%M})"
    return (f"{len(table)} run{'s' * (len(table) > 1)}: {', '.join(told)}. The newest is "
            f"{newest['label'].removesuffix(', shipped')}{when}.")


def begin(command: list[str]) -> None:
    """Start a training, and say so on the page."""
    st.session_state["begun"] = jobs.start(*command).text


def train_again(about: pd.Series) -> None:
    """Offer to train the same run with another head for STS, in a process of its own."""
    settings = json.loads(about["settings"])
    heads = [head for head in CHOICES["sts_head"] if head != settings.get("sts_head")]
    head = st.pills("Train again with another STS head", heads, key=f"head-{about['run']}")
    if not head:
        return
    kept = [option for option in as_options(about["settings"]) if not option.startswith("sts_head=")]
    data = find_data(None)
    command = ["ablate", about["name"], "--protocol", about["protocol"], "--seeds", "1", "--data", str(data),
               *(part for option in (*kept, f"sts_head={head}", f"seed={about['seed']}") for part in ("--set", option))]
    st.code(shlex.join(["lab", *command]), language=None, wrap_lines=True)
    st.caption(plain(f"It trains on the data in {data}, which need not be those of the run above."))
    st.button("Train it", type="primary", icon=":material/model_training:", on_click=do, args=(begin, command))


st.title("Runs")
place = st.empty()
now = snapshot()
if not now.folders:
    st.info(NO_RUNS)
    st.stop()
if refused := st.session_state.pop("refused", None):
    st.error(plain(refused))
if begun := st.session_state.pop("begun", None):
    st.info(f"Started: {plain(begun)}")
    st.page_link("views/train.py", label="See how it goes, or stop it", icon=":material/model_training:")
with st.container(horizontal=True, vertical_alignment="bottom"):
    find = st.text_input("Search", key="find", bind="query-params", placeholder="part of a name, tag, note, setting",
                         width=280)
    fields = sorted({field for text in now.about["settings"] for field, _ in changes(text)})
    by = st.selectbox("Group by", [*GROUPS, *(field for field in fields if field not in GROUPS)], key="group",
                      bind="query-params", width=160)
    hidden = st.toggle("Hidden ones too", key="hidden", bind="query-params")
    failed = [run for run, status in visible().status.items() if status.get("state") == "failed"]
    st.button("Hide failed runs", disabled=not failed, on_click=do, args=(marks().set, *failed),
              kwargs={"hidden": True}, icon=":material/visibility_off:",
              help=f"{len(failed)} runs have failed; they stay in the store" if failed else "No run has failed")

shown = visible(hidden)
every = overview(shown.runs, shown.about, shown.status, shown.marked)
every = every.assign(settings=every["run"].map(shown.about.set_index(shown.about["run"].astype(str))["settings"]),
                     whose=["shipped" if shipped else "mine" for shipped in every["shipped"]])
if len(every):
    with place:
        headline(summary_of(every))
words = pd.Series([" ".join([run.run, run.label, run.changed, run.state, run.note, run.recipe, *run.tags])
                   for run in every.itertuples()], every.index, dtype=str)
table = every[words.str.contains(find or "", case=False, regex=False)].reset_index(drop=True)
if by != "nothing":
    table = parted(table, by)
    summary = table.groupby("group", sort=False).agg(
        runs=("run", "size"), finished=("state", lambda state: (state == "done").sum()))
    scores = table[table["state"] == "done"].groupby("group")["overall"].agg(
        mean=lambda values: values.mean(skipna=False), lowest="min", highest="max")
    summary = summary.join(scores).reset_index()
    st.dataframe(summary, hide_index=True, key="groups", placeholder="n/a",
                 column_config={c: st.column_config.NumberColumn(f"{c} overall", format="%.3f")
                                for c in ("mean", "lowest", "highest")},
                 alt="The overall score of the finished runs of each group")

names = list(table["run"])
number = st.session_state.get("rows-of-runs", 0)
columns = (["group"] if by != "nothing" else []) + [c for c in COLUMNS if c != "whose" or mixed(now)]
columns = [c for c in columns if c not in ("tags", "note", "changed") or table[c].map(len).any()]
shown = table[columns].assign(label=table["label"].str.removesuffix(", shipped"))  # the column whose says it
# The browser keeps the numbers of the chosen rows. Where other rows stand there now, the table gets a new key, and the
# runs that were chosen are chosen again, where they stand now.
rows = (number, zlib.crc32("\n".join(names).encode()))
before, start = st.session_state.get("rows-chosen"), st.session_state.get("rows-start")
if start is None or start[0] != rows:
    kept = before[1] if before and before[0] == number else []
    start = st.session_state["rows-start"] = rows, [row for row, run in enumerate(names) if run in kept]
chosen = st.dataframe(
    shown, key="runs-{}-{}".format(*rows), hide_index=True, on_select="rerun", placeholder="", height="auto",
    selection_default={"selection": {"rows": start[1]}},
    alt=f"{len(table)} runs, the newest first", column_config={
        "label": st.column_config.TextColumn("run", pinned=True),
        "changed": st.column_config.TextColumn(help="What was changed in the recipe at its protocol"),
        "course": st.column_config.LineChartColumn("overall by epoch", help="The overall score on dev"),
        "started": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm"),
        "minutes": st.column_config.NumberColumn(format="%.1f"),
        **{score: st.column_config.NumberColumn(format="%.3f") for score in SCORES}})
st.caption("Scores on all of dev at the last epoch; of a run without these, after its newest epoch. A click on a "
           "heading sorts. Choose runs on their left to name, hide, delete or compare them.")

picked = list(dict.fromkeys(names[row] for row in chosen["selection"]["rows"] if row < len(names)))
st.session_state["rows-chosen"] = number, picked
if picked:
    st.subheader(plain(now.labels[picked[0]]) if len(picked) == 1 else f"{len(picked)} runs")
    st.caption("Folders: " + ", ".join(map(plain, picked)))
    said = now.marked.get(picked[0], Mark()) if len(picked) == 1 else Mark()
    with st.form("marks", border=False):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            label = st.text_input("Label", said.label, placeholder=now.labels[picked[0]], max_chars=80,
                                  help="A name of your own; empty gives the old one back")
            tags = st.text_input("Tags", ", ".join(said.tags), placeholder="with commas between them")
            note = st.text_input("Note", said.note, max_chars=2000)
            if st.form_submit_button("Save"):
                new = {"label": label.strip(), "note": note.strip(),
                       "tags": tuple(dict.fromkeys(tag.strip() for tag in tags.split(",") if tag.strip()))}
                if len(picked) > 1:  # what is left empty stays as it is
                    new = {field: value for field, value in new.items() if value}
                do(marks().set, *picked, **new)
                st.rerun()
    own = [run for run in picked if not run.startswith(SHIPPED)]
    with st.container(horizontal=True):
        about = now.about.set_index(now.about["run"].astype(str)).loc[picked[0]]
        if len(picked) == 1 and about["name"] in KNOWN:
            st.page_link("views/train.py", label="Train again with ...", icon=":material/model_training:",
                         query_params={"train": about["name"], "scale": about["protocol"],
                                       "set": as_options(about["settings"])})
        if len(picked) > 1:
            group = next((group for group, of in comparable(visible().runs).items() if set(picked) <= set(of["run"])),
                         None)
            if st.button("Compare these", icon=":material/difference:", disabled=group is None,
                         help="Runs that share data, encoder and protocol, and are not hidden, can be compared"):
                st.session_state["next-group"] = group
                st.switch_page("views/compare.py", query_params={"runs": [now.labels[run] for run in picked]})
        hide = not all(now.marked.get(run, Mark()).hidden for run in picked)
        st.button("Hide" if hide else "Show again", on_click=do, args=(marks().set, *picked), kwargs={"hidden": hide},
                  icon=":material/visibility_off:" if hide else ":material/visibility:",
                  help="Hidden runs stay in the store and in lab report. Other pages and lab share do not show them")
        st.button("Move to the bin", on_click=do, args=(throw_away, own), disabled=len(own) < len(picked),
                  icon=":material/delete:", help="Shipped runs can only be hidden" if len(own) < len(picked) else
                  "They come back from the bin; nothing is deleted")

    if len(picked) == 1 and about["name"] in KNOWN and about["protocol"] in PROTOCOLS:
        train_again(about)

store = both_stores()[0]
if gone := discarded(store):
    with st.expander(f"Bin: {len(gone)} run{'s' * (len(gone) > 1)}"):
        back = st.selectbox("Run in the bin", [run.name for run in gone], key="back")
        st.button("Put back", on_click=do, args=(restore, store, back), icon=":material/restore_from_trash:")
        st.caption(f"They lie in {plain(store / '.bin')}. The lab never deletes them; you may.")
