"""Where a run is wrong, how sure it was, and where two runs disagree."""

import pandas as pd
import streamlit as st
from answers import data_of, examples, excuse, has_predictions, opened, runs_of, say_what, scores
from choices import chosen, draw, plain

from lab import mistakes
from lab.errors import LabError

TASKS = {"SST": "sst", "QQP": "qqp", "STS": "sts"}
PAGE = 20  # examples at a time


def pictures(side: str, number: int, table: pd.DataFrame, why: str, places: list) -> None:
    """Confusion and calibration of one run, or its scatter."""
    made_from = f"{side} · dev, {len(table):,} examples · {weights} weights"
    if task == "sts":
        with places[number]:
            r, low, high = found = mistakes.correlation(table)
            draw(mistakes.scatter(table, found, made_from), f"scatter{number}", f"Gold similarity against the answers "
                 f"of {side}: Pearson r {r:.3f} ({low:.3f} to {high:.3f})", table[["id", "label", "prediction"]])
        return
    with places[0]:
        counts, right = mistakes.confusion_table(table, task), (table["label"] == table["prediction"]).mean()
        draw(mistakes.confusion(table, task, made_from), f"confusion{number}",
             f"Confusion matrix of {side}: {right:.1%} of the examples lie on its diagonal", counts.reset_index())
    with places[1]:
        sure = table.dropna(subset="confidence")
        if sure.empty:
            excuse(f"No calibration: {why or 'no probability belongs to these ids'}. The switch above computes them "
                   "where the run's checkpoint is; a run made now keeps them.")
            return
        found = mistakes.calibration(sure["confidence"], sure["label"] == sure["prediction"])
        over = f"{abs(found.gap):.3f} {'more' if found.gap > 0 else 'less'} sure than right"
        draw(mistakes.reliability(found, f"{side} · dev, {len(sure):,} examples · {weights} weights"),
             f"calibration{number}", f"Accuracy by confidence of {side}: on average {over}", found.bins)
        st.caption(f"Expected calibration error {found.error:.3f}, 95 % interval {found.low:.3f} to {found.high:.3f}; "
                   f"perfect calibration stays below {found.chance:.3f} in 19 of 20 such samples. On average {over}. "
                   "The larger a point, the more examples; below the dashed line a run is too sure.")


of = chosen()
st.title("Mistakes")
st.write("Accuracy says how often a run is wrong; here is where. Look whether its answers lie beside the gold label or "
         "far off, and whether it was unsure when it was wrong: the mistakes that it was sure of tell most.")
names = list(runs_of(of).index)
left, right = st.columns(2)
first = next((i for i, name in enumerate(names) if has_predictions(name)), 0)
name = left.selectbox("Run", names, index=first, key="mr", bind="query-params")
second = right.selectbox("Second run", ["none", *(other for other in names if other != name)], key="m2",
                         bind="query-params")
left, right = st.columns(2)  # a row of its own: below each other on a narrow screen, both runs come first
task = TASKS[left.segmented_control("Task", list(TASKS), default="SST", required=True, key="mt", bind="query-params")]
weights = right.segmented_control("Weights", ["last", "best"], default="last", required=True, key="mw",
                                  bind="query-params", help="After the last epoch, or the one that was best on dev")
again = task != "sts" and st.toggle(
    "Compute missing probabilities from the checkpoint", key="mc", bind="query-params",
    help="For runs that kept none: it takes some seconds, or a minute; of QQP, 1,000 examples")

say_what(of, [name] if second == "none" else [name, second])
tables: dict[str, tuple[pd.DataFrame, str]] = {}
lines = []  # each said once
for side in [name] if second == "none" else [name, second]:
    try:
        run = opened(side)
        data, line = data_of(run)
        try:
            tables[side] = examples(run, task, weights, data, again)
        except LabError as error:  # ids that the data lacks: the answers alone; or there are none
            tables[side], line = examples(run, task, weights, None), str(error)
        lines.append(line)
    except LabError as error:
        lines.append(str(error))
        st.dataframe(scores(of, [side]), hide_index=True, key=f"scores-{side}")
for line in dict.fromkeys(filter(None, lines)):
    excuse(line)
if not tables:
    st.stop()

labelled = {side: of_run for side, of_run in tables.items() if of_run[0]["label"].notna().any()}
places = st.columns(2)
for number, side in enumerate(labelled):
    pictures(side, number, *labelled[side], places if task == "sts" or not number else st.columns(2))
if task == "sts" and labelled:
    st.caption("Pearson's r asks for some straight line, not for the dashed one: a wrong scale costs nothing.")

st.subheader("Examples")
renamed = {"prediction": "answer"}
table, gold = next(iter(tables.values()))[0].rename(columns=renamed), len(labelled) == len(tables)
if len(tables) == 2:
    other = tables[second][0][["id", "prediction", "confidence"]].rename(columns=renamed)
    table = table.merge(other, on="id", suffixes=("", " 2"))
left, right = st.columns(2)
shown = left.segmented_control("Show", ["mistakes"] * gold + ["disagreements"] * (len(tables) == 2) + ["all"],
                               default="mistakes" if gold else "all", required=True, key="ms", bind="query-params")
classes = mistakes.CLASS_NAMES.get(task, ()) if gold else ()
one = right.selectbox("Gold label", ["any", *classes], key="mg", bind="query-params") if classes else "any"
table = mistakes.select(table, task, shown, None if one == "any" else classes.index(one))
page = st.pagination(max(1, -(-len(table) // PAGE)), key="mp", bind="query-params")
st.caption(f"{len(table):,} examples, " + (
    "the farthest off first; more than 1 point off is a mistake, more than 1 point apart a disagreement."
    if task == "sts" else "the surest answers first." if table["confidence"].notna().any() else "in the file's order."))
answers, sure = ([c for c in table if c.startswith(what) and table[c].notna().any()]
                 for what in ("answer", "confidence"))
part = table.iloc[(page - 1) * PAGE: page * PAGE].rename(columns={"label": "gold"})
if task != "sts":
    words = dict(enumerate(mistakes.CLASS_NAMES[task]))
    part = part.assign(**{c: part[c].map(words) for c in ["gold", *answers]})
columns = [*["gold"] * gold, *answers, *sure * (task != "sts"), *(c for c in part if c.startswith("text")), "id"]
if len(tables) == 2:
    st.caption(plain(f"answer: {name}; answer 2: {second}"))
st.dataframe(part[columns].round(3), hide_index=True, key="examples", alt="Examples with gold labels and answers")
