"""Two runs side by side: the settings that differ, their scores, the paired tests, and their recipes over seeds."""

import pandas as pd
import streamlit as st
from answers import data_of, has_predictions, notice, open_run, provenance_caption, runs_of, scores, stamps
from choices import chosen, draw, visible
from pickers import plain, select_run

from lab.data import TASK_NAMES, Data
from lab.errors import LabError
from lab.figures import predictions
from lab.results import tables
from lab.results.comparison import all_settings, bootstrap_recipes, compare_recipes, compare_runs, differing
from lab.runs.folder import Run
from lab.runs.frames import floors

same_data = {Data: lambda data: data.fingerprint}


@st.cache_data(max_entries=32, show_spinner="Testing: 10,000 resamples a task ...", hash_funcs=same_data)
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
            raise LabError(f"No paired tests: run {run.name} has no predictions here ({weights} weights): a run of "
                           "your own has them once it is finished, records that ship with the lab are without")
    data, line = data_of(pairs[0][0])
    if data is None:
        raise LabError(line)
    found = [stamps(run.folder / "predictions" / weights, "*-dev-output.csv") for pair in pairs for run in pair]
    return tests([tuple(str(run.folder) for run in pair) for pair in pairs], weights, data, found, one)


def words(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its numbers as texts for readers."""
    table = table.assign(task=table["task"].map(TASK_NAMES))
    for column in {"a", "b", "difference", "low", "high"} & set(table):
        table[column] = ["" if v != v else f"{v:+.4f}" if column not in "ab" else f"{v:.4f}" for v in table[column]]
    table["p"] = ["" if p != p else "<0.001" if p < .001 else f"{p:.3f}" for p in table["p"]]
    return table.astype(object).where(table.notna(), "").astype(str)


st.title("Compare")
st.write("Two runs, example by example. Ask first what differs in their settings: with more than one difference, no "
         "test can say which of them mattered.")
selection = chosen()
runs = runs_of(selection)
names = list(runs.index)
if len(names) < 2:
    notice("It takes two runs that may be compared; lab ablate quick makes five.")
    st.stop()
left, right = st.columns(2)
labels = {name: visible().labels[name] for name in names}
a = select_run("a", labels, next(filter(has_predictions, names), names[0]), "ca", left)
others = [name for name in names if name != a]
best = min(others, key=lambda name: (not has_predictions(name), runs["label"][name] == runs["label"][a]))
b = select_run("b", {name: labels[name] for name in others}, best, "cb", right)
weights = st.segmented_control("Weights", ["last", "best"], default="last", required=True, key="cw",
                               bind="query-params", help="After the last epoch, or the one that was best on dev")

provenance_caption(selection, [a, b])
st.subheader("What differs")
try:
    pair = open_run(a), open_run(b)
    differ = {setting: values for setting, values in differing([all_settings(run.config) for run in pair]).items()
              if setting != "name"}
except LabError as error:
    notice(error)
    st.stop()
if differ:
    st.dataframe(pd.DataFrame(differ, index=["a", "b"]).T.rename_axis("setting").reset_index(), hide_index=True,
                 key="settings")
else:
    st.write("No setting differs: it is the same experiment, run twice or under two names.")

st.subheader("Scores")
table = scores(selection, [a, b], weights).rename(columns={a: "a", b: "b"})
st.dataframe(table.assign(**{"a minus b": table["a"] - table["b"]}).round(4), hide_index=True, key="scores")
if len(nothing := floors(selection.runs[selection.runs["run"].isin([a, b])])):
    nothing = nothing.rename(columns={"overall": "all"}).set_index("floor")[list(TASK_NAMES)].T
    st.dataframe(nothing.rename(index=TASK_NAMES).rename_axis("score of").reset_index().round(4), hide_index=True,
                 key="floors")
    st.caption(plain(f"{tables.FLOORS_NOTE}."))
st.caption("Accuracy of SST and QQP, Pearson's r of STS: those of the end where a run is finished, else after its "
           "newest epoch. Overall: (SST + QQP + (STS + 1) / 2) / 3.")

picture, lines, reason = st.container(), [], ""
st.subheader("These two runs")
try:
    found = tested([pair], one=True)
    boot = found[found["test"] == "paired bootstrap"]
    lines.append(boot.assign(what=boot["task"].map(TASK_NAMES) + f", these runs, {weights} weights"))
    st.dataframe(words(found), hide_index=True, key="tests")
    st.caption("a minus b on the same examples; better, worse: a is. This is about these two runs on new examples of "
               "the same kind, not about their recipes: only seeds answer that. Five tests, each on its own.")
except LabError as error:
    reason = str(error)
    notice(reason)

st.subheader("Their recipes, over seeds")
recipes = runs["label"][a], runs["label"][b]
done = runs[runs["state"] == "done"].reset_index().drop_duplicates(["label", "seed"]).set_index("label")
seeds = [done.loc[done.index == label].set_index("seed")["run"] for label in recipes]
shared = sorted(set(seeds[0].index) & set(seeds[1].index)) if recipes[0] != recipes[1] else []
if len(shared) < 3:
    notice("Both runs are of one recipe, with two seeds: what differs is chance." if recipes[0] == recipes[1] else
           f"No verdict: {recipes[0]} and {recipes[1]} have {len(shared)} finished seeds in common, and it "
           "takes 3; lab ablate with --seeds 3 makes them.")
else:
    over = compare_recipes(selection.runs, *recipes)
    lines.append(over.assign(what=over["task"].map(TASK_NAMES) + f", recipes, {len(shared)} seeds, last weights"))
    st.dataframe(words(over), hide_index=True, key="seeds")
    st.caption(plain(f"{recipes[0]} minus {recipes[1]}, paired by seed (Student's t), on dev at the end, last weights: "
                     "whatever the runs above show, this is what holds for a new seed."))
    try:
        both = tested([(open_run(seeds[0][seed]), open_run(seeds[1][seed])) for seed in shared], one=False)
        tasks = both["task"].map(TASK_NAMES)
        lines.append(both.assign(what=tasks + f", recipes, seeds and examples, {weights} weights"))
        st.dataframe(words(both), hide_index=True, key="both")
        st.caption("The paired bootstrap over seeds and examples: what holds for a new seed and new examples.")
    except LabError as error:
        if str(error) != reason:  # it is on the page already
            notice(error)

if lines := [part for part in lines if len(part)]:
    shown = pd.concat(lines, ignore_index=True)
    sizes = ", ".join(f"{row.what} {row.difference:+.3f}" for row in shown.itertuples())
    with picture:
        draw(predictions.forest(shown, f"a: {a} · b: {b} · recipes: theirs · dev"), "forest",
             f"Score differences, a minus b, with 95 % intervals: {sizes}",
             words(shown)[["what", "difference", "low", "high"]])
