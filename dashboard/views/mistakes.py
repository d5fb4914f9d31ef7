"""The mistakes of a run with their confidence, and the examples on which two runs disagree."""

import pandas as pd
import streamlit as st
from answers import (
    SHIPS,
    answers_cosine,
    data_of,
    examples,
    notice,
    open_run,
    provenance_caption,
    runs_of,
    scores,
    shipped_examples,
    with_predictions,
)
from choices import chosen, comparable, draw, visible
from panels import headline, how_to_read
from pickers import plain, select_other, select_run

from lab.data import TASK_NAMES, TASKS
from lab.errors import LabError
from lab.figures import predictions
from lab.results import headlines
from lab.results.comparison import beside

PAGE = 20  # examples at a time


def open_cell(points: list[dict]) -> None:
    """Show the examples of a cell of the confusion matrix that was clicked; of none, those of all cells."""
    gold, answer = points[0]["customdata"] if points else (None, None)
    names = predictions.numbered(task)
    st.session_state["mg"] = "any" if gold is None else names[gold]
    st.session_state["ma"] = "any" if answer is None else names[answer]
    st.session_state["ms"] = "mistakes" if gold != answer or gold is None else "all"


def pictures(side: str, number: int, table: pd.DataFrame, why: str, places: list) -> None:
    """Confusion and calibration of one run, or for STS its scatter plot."""
    made = "{} · sample, dev, {:,} examples" if side == SHIPS else "{} · dev, {:,} examples · " + f"{weights} weights"
    provenance = made.format(labels[side], len(table))
    if task == "sts":
        with places[number]:
            r, low, high = found = predictions.correlation(table)
            alt = f"Gold similarity against the answers of {labels[side]}: " + (
                f"Pearson r {r:.3f} ({low:.3f} to {high:.3f})" if r == r else "no Pearson r")
            draw(predictions.scatter(table, found, provenance), f"scatter{number}", alt,
                 table[["id", "label", "prediction"]])
        return
    with places[0]:
        counts, right = predictions.confusion_table(table, task), (table["label"] == table["prediction"]).mean()
        draw(predictions.confusion(table, task, provenance), f"confusion{number}",
             f"Confusion matrix of {labels[side]}: {right:.1%} of the examples lie on its diagonal",
             counts.reset_index(), open_cell)
        st.caption("A click on a cell lists its examples below.")
    with places[1]:
        sure = table.dropna(subset="confidence")
        if sure.empty:
            notice(f"No calibration: {why or 'no probability belongs to these ids'}. The switch above computes them "
                   "where the run's checkpoint is; a run made now keeps them.")
            return
        found = predictions.calibration(sure["confidence"], sure["label"] == sure["prediction"])
        over = f"its confidence is {abs(found.gap):.3f} {'above' if found.gap > 0 else 'below'} its accuracy"
        draw(predictions.reliability(found, made.format(labels[side], len(sure))), f"calibration{number}",
             f"Accuracy by confidence of {labels[side]}: on average {over}", found.bins)
        st.caption(f"On average {over}. Expected calibration error {found.error:.3f}, 95 % interval {found.low:.3f} to "
                   f"{found.high:.3f}; perfect calibration stays below {found.chance:.3f} in 19 of 20 such samples.")


def without(names: list[str]) -> list[str]:
    """Where no run of the group has predictions: say so, and offer those that have some, or the model that ships."""
    if predicted & set(names):
        return names
    said = ("No run here has predictions, so there are scores and no examples. Records that ship with the lab have "
            "none; a run of your own has them once it is finished.")
    groups = [group for group, about in comparable(visible().runs).items()
              if predicted & set(about["run"].astype(str))]
    st.write(said if groups else f"{said} Until then the model that ships with the lab answers the bundled sample.")
    for group in groups[:1]:
        st.button("Show the runs that have predictions", on_click=st.session_state.update, args=({"from": group},),
                  icon=":material/rule:", help=f"Made from {plain(group)}")
    if groups:
        return names
    st.page_link("views/train.py", label="Train a run", icon=":material/model_training:")
    return [SHIPS, *names]


st.title("Mistakes")
selection = chosen()
place = st.container()
predicted = with_predictions()
names = without(list(runs_of(selection).index))
left, right = st.columns(2)
known = visible().labels
labels = {run: known.get(run, run) for run in names}
name = select_run("Run", labels, next((name for name in names if name in predicted), names[0]), "mr", left)
second = select_other("Second run", {run: labels[run] for run in names if run != name}, "m2", right,
                      placeholder="none") or "none"
left, right = st.columns(2)  # new columns, so that on a narrow screen both runs come before these choices
task = left.segmented_control("Task", TASKS, format_func=TASK_NAMES.get, default=TASKS[0], required=True, key="mt",
                              bind="query-params")
weights = right.segmented_control("Weights", ["last", "best"], default="last", required=True, key="mw",
                                  bind="query-params", help="After the last epoch, or the one that was best on dev")
compute = task != "sts" and bool(predicted & set(names)) and st.toggle(
    "Compute missing probabilities from the checkpoint", key="mc", bind="query-params",
    help="For runs that kept none: it takes some seconds, or a minute; of QQP, 1,000 examples")

tables: dict[str, tuple[pd.DataFrame, str]] = {}
messages = []
for side in [name] if second == "none" else [name, second]:
    try:
        if side == SHIPS:
            tables[side] = shipped_examples(task), ""
            continue
        run = open_run(side)
        data, message = data_of(run)
        try:
            tables[side] = examples(run, task, weights, data, compute)
        except LabError as error:  # the data lack some ids, so there are only answers; or there are none
            tables[side], message = examples(run, task, weights, None), str(error)
        messages.append(message)
    except LabError as error:
        messages.append(str(error))
        if side == SHIPS:
            continue
        st.dataframe(scores(selection, [side]).rename(columns={side: labels[side]}), hide_index=True,
                     key=f"scores-{side}", alt=f"The scores of {labels[side]}",
                     column_config={labels[side]: st.column_config.NumberColumn(format="%.4f")})
for message in dict.fromkeys(filter(None, messages)):
    notice(message)
if not tables:
    st.stop()

labelled = {side: found for side, found in tables.items() if found[0]["label"].notna().any()}
for side in labelled:
    with place:
        on = ", on the bundled sample" if side == SHIPS else ""
        headline(f"{labels[side]}{on}: {headlines.mistakes(labelled[side][0], task, answers_cosine(side))}")
places = st.columns(2)
for number, side in enumerate(labelled):
    pictures(side, number, *labelled[side], places if task == "sts" or not number else st.columns(2))

st.subheader("Examples")
renamed = {"prediction": "answer"}
table, gold = next(iter(tables.values()))[0].rename(columns=renamed), len(labelled) == len(tables)
if len(tables) == 2:
    try:
        other = beside(table, tables[second][0])
    except LabError as error:
        notice(error)
        st.stop()
    table = table.assign(**{"answer 2": other["prediction"], "confidence 2": other["confidence"]})
    table = table.dropna(subset="answer 2")
left, middle, right = st.columns(3)
shown = left.segmented_control("Show", ["mistakes"] * gold + ["disagreements"] * (len(tables) == 2) + ["all"],
                               default="mistakes" if gold else "all", required=True, key="ms", bind="query-params")
classes = predictions.numbered(task) if gold and task != "sts" else ()
cell = [place.selectbox(label, ["any", *classes], key=key, bind="query-params") if classes else "any"
        for place, label, key in ((middle, "Gold label", "mg"), (right, "Answer", "ma"))]
table = predictions.select(table, task, shown, *(None if name == "any" else classes.index(name) for name in cell))
page = st.pagination(max(1, -(-len(table) // PAGE)), key="mp", bind="query-params")
st.caption(f"{len(table):,} examples, " + (
    "the farthest off first; more than 1 point off is a mistake, more than 1 point apart a disagreement."
    if task == "sts" else "the surest answers first." if table["confidence"].notna().any() else "in the file's order."))
answers, confidences = ([c for c in table if c.startswith(what) and table[c].notna().any()]
                 for what in ("answer", "confidence"))
part = table.iloc[(page - 1) * PAGE: page * PAGE].rename(columns={"label": "gold"})
if task != "sts":
    words = dict(enumerate(predictions.numbered(task)))
    part = part.assign(**{c: part[c].map(words) for c in ["gold", *answers]})
columns = [*["gold"] * gold, *answers, *confidences * (task != "sts"), *(c for c in part if c.startswith("text")), "id"]
if len(tables) == 2:
    st.caption(plain(f"answer: {labels[name]}; answer 2: {labels[second]}"))
row = st.dataframe(part[columns].round(3), hide_index=True, key=f"examples-{task}-{page}-{shown}-{cell}",
                   on_select="rerun", selection_mode="single-row", alt="Examples with gold labels and answers")
texts = [c for c in part if c.startswith("text")]
for number in row["selection"]["rows"][:1] if texts else ():
    said = [str(text) for text in part[texts].iloc[number]]
    st.markdown("  \n".join(f"“{plain(text)}”" for text in said))
    st.page_link("views/predictions.py", label="Open this example in Live predictions", icon=":material/chat:",
                 query_params={"live": labels[name], "say": said[0], "and": (*said[1:], "")[0]}
                 | ({"beside": labels[second]} if second != "none" else {}))
if texts:
    st.caption("Choose an example on its left to see why: it opens in Live predictions"
               + ", with both runs" * (second != "none") + ".")
how_to_read(
    "See whether the wrong answers are close to the gold label or far from it, and how confident the run was: the "
    "mistakes with a high confidence are listed first.",
    "Calibration: the larger a point, the more examples; below the dashed line a run is too sure.",
    "Pearson's r measures how close the points are to any straight line, not to the dashed one, so answers on a wrong "
    "scale lose nothing.")
if SHIPS in tables:
    st.caption(f"{SHIPS}: the untouched encoder with heads that were trained on the real sets and on the sample's "
               "training rows. These examples are of the sample's dev, and say nothing about the real data.")
provenance_caption(selection, [name] if second == "none" else [name, second])
