"""Table 1 or Table 2 of the store. The other pages show the recipes whose rows are selected here."""

import pandas as pd
import streamlit as st
from choices import chosen, mixed, snapshot, unfinished, visible
from panels import colour_by, draw_panels, headline, how_to_read, recipes
from pickers import plain, select

from lab.figures.training import leaderboard_panels
from lab.results import headlines, tables
from lab.results.notes import notes, test_notes
from lab.results.words import ROUNDING, decimals
from lab.runs.frames import distinct_runs, floors, provenance
from lab.runs.labels import line_labels

SCORES = ("overall", "sst", "qqp", "sts")
MARKS = {"better": "▲", "worse": "▼", "no difference shown": "≈", "reference": "·"}
NO_VERDICT, MARKED = "?", "▲ better than {}, ▼ worse, ≈ no difference shown, ? no verdict"
WIDTHS = {"vs": 26, "overall": 52, "sst": 42, "qqp": 42, "sts": 42, "verdict": 140}  # pixels; 400 show all scores
SPLITS = {"dev": "Table 1: dev", "test": "Table 2: test"}


def origin(runs: pd.DataFrame) -> dict[str, str]:
    """Whose runs each recipe has, by the name of its row: mine, shipped, or how many of each."""
    about, found = distinct_runs(runs), {}
    for label, part in about.assign(label=line_labels(about)).groupby("label"):
        shipped = int(part["shipped"].sum())
        mine = len(part) - shipped
        found[label] = f"{mine} mine, {shipped} shipped" if mine and shipped else "mine" if mine else "shipped"
    return found


def numbers(dev: pd.DataFrame, names: list[str], verdicts: pd.DataFrame) -> pd.DataFrame:
    """A leaderboard with numbers that can be sorted; empty columns are left out. First what one looks for first."""
    shown = pd.DataFrame({"recipe": names})
    if len(verdicts):
        verdict = shown["recipe"].map(verdicts.set_index("recipe")["verdict"]).replace("", "reference")
        shown["verdict"] = verdict.str.rsplit(": ", n=1).str[0]  # without "points only", "not compared"
        shown.insert(1, "vs", verdict.map(MARKS).fillna(NO_VERDICT))
    for score in SCORES:
        shown[score] = dev[score].to_list()
    if len(verdicts):
        shown["verdict"] = shown.pop("verdict")
    shown["seeds"] = dev["seeds"].to_list()
    for score in SCORES:
        half = dev[f"{score}_high"] - dev[score]
        shown[f"± {score}"] = half.where(half > ROUNDING).to_list()
    for what, column in (("paper", "paper_{}"), ("best on dev", "best_{}")):
        for score in SCORES:
            shown[f"{score}, {what}"] = dev[column.format(score)].to_list()
    shown["null seeds"] = dev["null_seeds"].where(dev["null_seeds"] > 0).to_list()
    empty = [column for column in shown if shown[column].isna().all() and column not in tables.SCORE_COLUMNS]
    return shown.drop(columns=empty)


def digits(column: pd.Series) -> str:
    """The format of a column of halves of intervals: none of them reads as 0."""
    return f"%.{max((decimals(0, -half, half) for half in column.dropna()), default=3)}f"


def choose(labels: list[str], number: int) -> None:
    """Choose the recipes of the selected rows in the sidebar; recipes that the filter hides stay as they were."""
    rows = st.session_state[f"rows-{number}"]["selection"]["rows"]
    hidden = [label for label in st.session_state.get("recipe", []) if label not in labels]
    st.session_state["recipe"] = hidden + [labels[row] for row in rows if row < len(labels)]
    st.session_state["board"] = number, labels, set(st.session_state["recipe"])


st.title("Leaderboard")
selection = chosen(every=True)
runs = selection.runs
final = runs[runs["split"].isin(["dev_full", "test"]) & (runs["state"] == "done")]
dev, test = tables.leaderboard(final), tables.leaderboard(final, "test")
if dev.empty:
    st.info("No run among these has finished yet: a run is scored at its end.")
    unfinished(visible())
    st.stop()
headline(headlines.leaderboard(final))

with st.container(horizontal=True, vertical_alignment="bottom"):
    split = st.segmented_control("Table", list(SPLITS), format_func=SPLITS.get, default="dev", required=True,
                                 key="table", bind="query-params") if len(test) else "dev"
    names = line_labels(dev)
    reference = select("Verdicts against", names, "baseline" if "baseline" in names else names[0], "ref", width=260)
    find = st.text_input("Filter", key="find", bind="query-params", placeholder="part of a name", width=200)

verdicts, note = tables.verdicts(final, reference)
board = dev if split == "dev" else test
labels = dict(zip(line_labels(final), final["label"].astype(str), strict=True))
shown = numbers(board, line_labels(board), verdicts)
if mixed(snapshot()):
    shown.insert(shown.columns.get_loc("seeds"), "from", shown["recipe"].map(origin(final)))
shown = shown[shown["recipe"].str.contains(find or "", case=False, regex=False)].reset_index(drop=True)
here = [labels[name] for name in shown["recipe"]]
picked = st.session_state.get("recipe") or []
# Where rows or recipes have been changed elsewhere, the table gets a new key. With the old one the browser would report
# the old selection once more, which would undo the choice.
number, *drawn = st.session_state.get("board", (0,))
number += drawn != [here, set(picked)]
st.session_state["board"] = number, here, set(picked)
scores = [column for column in shown if column not in ("recipe", "seeds", "from", "verdict", "vs", "null seeds")]
columns = {c: st.column_config.NumberColumn(format=digits(shown[c]) if c.startswith("±") else "%.3f",
                                            width=WIDTHS.get(c)) for c in scores} | {
    "recipe": st.column_config.TextColumn(pinned=True, width=None if len(shown.columns) > 9 else "medium",
                                          help="What a recipe does: see How to read this"),
    "verdict": st.column_config.TextColumn(width=WIDTHS["verdict"]),
    "vs": st.column_config.TextColumn(width=WIDTHS["vs"], help=MARKED.format("the reference"))}
st.caption("Choose rows on their left: the other pages then show these recipes. A click on a heading sorts."
           + (" " + plain(MARKED.format(reference)) + "." if len(verdicts) else "")
           + (" A recipe with one seed has no interval." if (board["seeds"] == 1).any() else ""))
st.dataframe(shown, key=f"rows-{number}", hide_index=True, placeholder="n/a", on_select=lambda: choose(here, number),
             selection_default={"selection": {"rows": [i for i, label in enumerate(here) if label in picked]}},
             column_config=columns,
             alt=f"{SPLITS[split]}: {shown['recipe'].iloc[0]} leads" if len(shown) else "No recipe of that name")
if len(nothing := floors(final, {"dev": "dev_full"}.get(split, split))):
    nothing = nothing.rename(columns={"floor": "for comparison"})
    st.dataframe(nothing[["for comparison", "overall", "sst", "qqp", "sts"]], key="floors",
                 hide_index=True, placeholder="n/a", alt="What no training gives on the same rows",
                 column_config={c: st.column_config.NumberColumn(format="%.3f") for c in tables.SCORE_COLUMNS})
if len(verdicts):
    on = ", of the scores on dev" * (split == "test")
    st.caption(f"Verdict{on}: {plain(tables.VERDICTS.format(reference))}. {plain(note)}")
elif note:
    st.info(plain(note))
for warning in [*notes(dev), *(test_notes(test) if split == "test" else [])]:
    st.caption(f":material/info: {plain(warning)}")
unfinished(visible())
if missing := tables.missing(dev):
    st.caption("Recipes of Table 1 that are not here: " + ", ".join(map(plain, missing)))
with st.container(horizontal=True):
    st.download_button("CSV", lambda: tables.as_csv(final), "leaderboard.csv", "text/csv", on_click="ignore",
                       icon=":material/download:")
    st.download_button("Markdown", lambda: tables.as_markdown(final), "leaderboard.md", "text/markdown",
                       on_click="ignore", icon=":material/download:")

how_to_read(
    "Recipes are ranked by their overall score on examples that were not used in training. One run of a recipe says "
    "little: with another seed, its score changes by as much as many recipes differ.",
    plain(tables.LEGEND),
    plain(f"For comparison, in gray in the pictures: what no training gives on the same rows. {tables.FLOORS_NOTE}."),
    recipes(final))
st.caption(plain(provenance(final)))

if left := set(picked) & set(here) or set(here):
    st.subheader("Every seed")
    drawn = final[final["label"].isin(left)]
    draw_panels(leaderboard_panels(drawn, colour_by(drawn)), "board", 2)
if len(verdicts):
    with st.expander(f"The verdicts, {tables.VERDICTS.format(reference)}"):
        st.dataframe(tables.verdict_cells(verdicts), key="verdicts", hide_index=True)
