"""Any number of runs, each against one of them: settings, scores, curves, paired tests, and the examples that flip."""

import pandas as pd
import streamlit as st
from answers import (
    answers_cosine,
    data_of,
    notice,
    open_run,
    provenance_caption,
    runs_of,
    scores,
    stamps,
    with_predictions,
)
from choices import chosen, draw, visible
from panels import choose, draw_panels, headline, how_to_read
from pickers import plain, select_run, select_runs

from lab.data import TASK_NAMES, TASKS, Data
from lab.errors import LabError
from lab.figures import predictions, training
from lab.figures.panels import numbers
from lab.results import headlines, tables
from lab.results.comparison import all_settings, bootstrap_recipes, compare_recipes, compare_runs, differing
from lab.results.flips import flipped
from lab.results.words import with_interval
from lab.runs.folder import Run
from lab.runs.frames import floors

same_data = {Data: lambda data: data.fingerprint}
MOST = 6  # runs that are tested against the reference: each takes a second
SETTING, SCORE = "setting of the runs", "score of"  # first columns
TAKEN = {SETTING, SCORE, "gold", "id", "label", "run", "text", "text1", "text2"}  # columns beside those of the runs


@st.cache_data(max_entries=64, show_spinner="Testing: 10,000 resamples a task ...", hash_funcs=same_data)
def tests(folders: list[tuple[str, str]], weights: str, data: Data, stamps: list, one: bool) -> pd.DataFrame:
    """The tests of two runs (one pair) or recipes (a pair for each seed), cached until a predictions file changes."""
    pairs = [(Run.open(a), Run.open(b)) for a, b in folders]
    if one:
        return compare_runs(*pairs[0], data=data, weights=weights)
    return bootstrap_recipes(pairs, data, weights=weights)


def tested(pairs: list[tuple[Run, Run]], one: bool) -> pd.DataFrame:
    """The same. LabError: there are no predictions, or the data are not found."""
    for run in (run for pair in pairs for run in pair):
        if not stamps(run.folder, f"predictions/{weights}/*-dev-output.csv"):
            name = next((labels[name] for name, one in opened.items() if one.folder == run.folder), run.name)
            raise LabError(f"No paired tests with {name}: it has no predictions here ({weights} weights). A run of "
                           "your own has them once it is finished; records that ship with the lab are without")
    data, line = data_of(pairs[0][0])
    if data is None:
        raise LabError(line)
    found = [stamps(run.folder / "predictions" / weights, "*-dev-output.csv") for pair in pairs for run in pair]
    return tests([tuple(str(run.folder) for run in pair) for pair in pairs], weights, data, found, one)


def words(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its numbers as texts for readers."""
    table = table.assign(task=table["task"].map(TASK_NAMES))
    for column in {"a", "b"} & set(table):
        table[column] = ["" if v != v else f"{v:.4f}" for v in table[column]]
    ends = ["difference", "low", "high"]
    cells = [with_interval(*row, least=4, sign="+") for row in table[ends].itertuples(index=False)]
    for number, column in enumerate(ends):
        table[column] = [cell[number].replace("+nan", "") for cell in cells]
    table["p"] = ["" if p != p else "<0.001" if p < .001 else f"{p:.3f}" for p in table["p"]]
    return table.astype(object).where(table.notna(), "").astype(str)


def four_digits(table: pd.DataFrame) -> dict:
    """The format of all columns but the first."""
    return {c: st.column_config.NumberColumn(format="%+.4f" if c.endswith(": difference") else "%.4f")
            for c in list(table)[1:]}


def over_seeds(one: str, other: str) -> tuple[pd.DataFrame, list]:
    """Two recipes over the seeds that both have, and the pairs of their runs. LabError: they have too few."""
    recipes = runs["label"][one], runs["label"][other]
    if recipes[0] == recipes[1]:
        seeds = "one seed" if runs["seed"][one] == runs["seed"][other] else "two seeds"
        raise LabError(f"{labels[one]} and {labels[other]} are of one recipe, with {seeds}: what differs is chance.")
    done = runs[runs["state"] == "done"].reset_index().drop_duplicates(["label", "seed"]).set_index("label")
    seeds = [done.loc[done.index == label].set_index("seed")["run"] for label in recipes]
    shared = sorted(set(seeds[0].index) & set(seeds[1].index))
    if len(shared) < 3:
        many = f"{len(shared)} finished seed{'s' * (len(shared) != 1)}"
        raise LabError(f"No verdict: {recipes[0]} and {recipes[1]} have {many} in common, and it takes 3; lab ablate "
                       "with --seeds 3 makes them.")
    return compare_recipes(selection.runs, *recipes), [(open_run(seeds[0][s]), open_run(seeds[1][s])) for s in shared]


st.title("Compare")
selection = chosen()
runs = runs_of(selection)
names = list(runs.index)
if len(names) < 2:
    notice("It takes two runs that may be compared; `lab ablate quick` makes fifteen.")
    st.stop()
labels = visible().labels
labels = {name: labels[name] + " (run)" * (labels[name] in TAKEN) for name in names}
place = st.container()
predicted = with_predictions()
first = next((name for name in names if name in predicted), names[0])
second = min((name for name in names if name != first),
             key=lambda name: (name not in predicted, runs["label"][name] == runs["label"][first]))
picked = select_runs("Runs", labels, [first, second], "runs", placeholder="choose two or more")
if len(picked) < 2:
    notice("Choose two runs or more.")
    st.stop()
left, right = st.columns(2)
against = select_run("Against", {name: labels[name] for name in picked}, picked[0], "against", left)
others = [name for name in picked if name != against]
weights = right.segmented_control("Weights", ["last", "best"], default="last", required=True, key="cw",
                                  bind="query-params", help="After the last epoch, or the one that was best on dev")

st.subheader("What differs")
try:
    opened = {name: open_run(name) for name in picked}
    differ = {setting: values for setting, values in
              differing([all_settings(opened[name].config) for name in picked]).items() if setting != "name"}
except LabError as error:
    notice(error)
    st.stop()
if differ:
    with place:
        st.write(plain(f"These {len(picked)} runs differ in {', '.join(differ)}."))
    st.dataframe(pd.DataFrame(differ, index=[labels[name] for name in picked]).T.rename_axis(SETTING).reset_index(),
                 hide_index=True, key="settings", alt=f"Settings that differ: {', '.join(differ)}")
else:
    st.write("No setting differs: it is the same experiment, run twice or under two names.")

st.subheader("Scores")
table = scores(selection, picked, weights)
for name in others:
    table[f"{labels[name]}: difference"] = table[name] - table[against]
table = table.rename(columns=labels)
st.dataframe(table, hide_index=True, key="scores", alt="The scores of these runs", placeholder="n/a",
             column_config=four_digits(table))
mine = selection.runs[selection.runs["run"].isin(picked)]
if len(nothing := floors(mine)):
    nothing = nothing.rename(columns={"overall": "all"}).set_index("floor")[list(TASK_NAMES)].T
    nothing = nothing.rename(index=TASK_NAMES).rename_axis(SCORE).reset_index()
    st.dataframe(nothing, hide_index=True, key="floors", alt="What no training gives on the same rows",
                 placeholder="n/a", column_config=four_digits(nothing))

st.subheader("Curves")
panels = training.curve_panels(mine.assign(label=mine["run"].astype(str).map(labels)))
kinds = [panel.title.split(":")[0] for panel in panels]
panels = choose(panels, kinds, kinds[:3], "charts")
draw_panels(panels, "compare", 3, numbers(panels))

st.subheader("Paired tests on the same examples")
lines, said, reasons = [], [], []
for name in others[:MOST]:
    try:
        found = tested([(opened[name], opened[against])], one=True)
    except LabError as error:
        reasons.append(str(error))
        continue
    boot = found[found["test"] == "paired bootstrap"]
    lines.append(boot.assign(what=boot["task"].map(TASK_NAMES) + f", {labels[name]}", run=labels[name]))
    said.append(headlines.comparison(found, labels[name], labels[against]))
    st.dataframe(words(found.assign(run=labels[name]))[["run", *found]], hide_index=True, key=f"tests-{name}",
                 alt=f"Paired tests of {labels[name]} against {labels[against]}")
for reason in dict.fromkeys(reasons):
    notice(reason)
if len(others) > MOST:
    st.caption(f"Tested are the first {MOST}; choose fewer runs to test others.")
with place:
    for line in said[:2]:
        headline(line)
if lines:
    shown = pd.concat(lines, ignore_index=True)
    draw(predictions.forest(shown, f"against {labels[against]} · dev · {weights} weights"), "forest",
         f"Score differences against {labels[against]}, with 95 % intervals: "
         + ", ".join(f"{row.what} {row.difference:+.3f}" for row in shown.itertuples()),
         words(shown)[["what", "difference", "low", "high"]])

if lines:
    st.subheader("Examples that flip")
    task = st.segmented_control("Task", TASKS, format_func=TASK_NAMES.get, default=TASKS[0], required=True, key="ct",
                                bind="query-params")
    try:
        flips = flipped({labels[name]: opened[name] for name in picked}, task, data_of(opened[against])[0],
                        weights=weights)
        st.caption(f"{len(flips):,} examples that some of these runs answer right and others wrong"
                   + (" (more than 1 point off)." if task == "sts" else ".")
                   + (" A run whose answers are cosines, from -1 to 1, is nearly always off by that count."
                      if task == "sts" and any(map(answers_cosine, picked)) else ""))
        chosen_row = st.dataframe(flips.round(3), hide_index=True, key=f"flips-{task}-{'-'.join(picked)}",
                                  on_select="rerun", selection_mode="single-row", alt="Examples that flip")
        for row in chosen_row["selection"]["rows"]:
            texts = [str(flips[c].iloc[row]) for c in ("text", "text1", "text2") if c in flips]
            st.page_link("views/predictions.py", label="Open in Live", icon=":material/chat:", query_params={
                "live": labels[others[0]], "beside": labels[against], "say": texts[0], "and": (*texts[1:], "")[0]})
    except LabError as error:
        notice(error)

st.subheader("Their recipes, over seeds")
told = []
for name in {runs["label"][name]: name for name in reversed(others)}.values():
    try:
        table, pairs = over_seeds(name, against)
        with place:
            headline(headlines.recipes(table, runs["label"][name], runs["label"][against]))
        what = f"{runs['label'][name]} against {runs['label'][against]}"
        st.dataframe(words(table), hide_index=True, key=f"seeds-{name}", alt=f"{what}, over seeds")
        st.caption(plain(f"{what}, paired by seed (Student's t), on dev at the end, last weights: whatever the runs "
                         "above show, this is what holds for a new seed."))
        if not reasons:
            st.dataframe(words(tested(pairs, one=False)), hide_index=True, key=f"both-{name}",
                         alt=f"{what}, over seeds and examples")
            st.caption("The paired bootstrap over seeds and examples: what holds for a new seed and new examples.")
    except LabError as error:
        told.append(str(error))
for reason in dict.fromkeys(told):
    notice(reason)
how_to_read(
    "Ask first what differs in the settings: with more than one difference, no test can say which of them mattered.",
    "Accuracy of SST and QQP, Pearson's r of STS: those of the end where a run is finished, else after its newest "
    "epoch. Overall: (SST + QQP + (STS + 1) / 2) / 3. " + plain(f"No training: {tables.FLOORS_NOTE}."),
    "The tests are about these runs on new examples of the same kind, not about their recipes: only seeds answer that. "
    "a: the run of the row; b: the one it is held against. Each test is on its own.")
provenance_caption(selection, picked)
