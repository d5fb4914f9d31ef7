"""The first page: what was found, with a picture, what trains now, and what to do next, in a sentence or two each."""

import pandas as pd
import streamlit as st
from choices import NO_RUNS, comparable, visible
from panels import draw_panels
from pickers import plain
from sentences import next_steps, progress

from lab.figures.panels import Panel
from lab.figures.training import leaderboard_panels
from lab.results import headlines, tables
from lab.results.notes import notes
from lab.runs.frames import provenance

LINKS = (("leaderboard", "All recipes and verdicts", "leaderboard"), ("curves", "How they trained", "show_chart"),
         ("overfitting", "Where they overfit", "call_split"), ("predictions", "Try a model", "chat"))
MOST = 3  # groups of runs whose results are told; the leaderboard shows all


@st.cache_data(max_entries=8, show_spinner=False)
def told(_runs: pd.DataFrame, names: tuple[str, ...], version: tuple) -> tuple[str, list[str]]:
    """What was found with these runs, and what one must know beside it. Cached until the store changes."""
    runs = _runs[_runs["run"].isin(names)]
    return headlines.leaderboard(runs), notes(tables.leaderboard(runs))


@st.cache_resource(max_entries=4, show_spinner=False)
def picture(_runs: pd.DataFrame, names: tuple[str, ...], version: tuple) -> list[Panel]:
    """The overall score of every recipe among these runs, with its interval. Cached until the store changes."""
    return leaderboard_panels(_runs[_runs["run"].isin(names)], only="all")


st.title("minBERT lab")
now = visible()
groups = comparable(now.runs)
finished = [about for about in groups.values() if (about["state"] == "done").any()]

st.subheader("What was found")
if not now.folders:
    st.info(NO_RUNS)
elif not finished:
    st.write("No run has finished yet, so there is no result.")
for about in finished[:MOST]:
    names = tuple(about.loc[about["state"] == "done", "run"])
    said, beside = told(now.runs, tuple(about["run"]), now.version)
    st.markdown(plain(said))
    if about is finished[0]:
        draw_panels(picture(now.runs, names, now.version), "found", 1)
    whose = ["your own runs"] * (not about["shipped"].any())
    st.caption(plain(" · ".join([provenance(about), *whose])))
    if beside:
        st.caption(f":material/info: {plain(' · '.join(beside))}")
if finished:
    with st.container(horizontal=True):
        for page, label, icon in LINKS:
            st.page_link(f"views/{page}.py", label=label, icon=f":material/{icon}:")
if len(finished) > MOST:
    st.caption(f"The leaderboard has the results of {len(finished) - MOST} more groups of runs: choose one under Made "
               "from.")

st.subheader("What trains now")
training = [run for run, status in now.status.items() if status.get("state") == "running"]
for run in training:
    with st.container(border=True):
        st.markdown(plain(progress(now.labels[run], now.status[run], now.runs[now.runs["run"] == run])))
if not training:
    st.write("Nothing is being trained.")

st.subheader("What to do next")
group = groups.get(st.session_state.get("from"), next(iter(groups.values()), now.runs))
for command, why in next_steps(now.runs[now.runs["run"].isin(group["run"])], now.status):
    st.markdown(f"`{command}` {plain(why)}")
