"""Two runs side by side: the settings that differ, their scores, the paired tests, and what seeds say."""

import pandas as pd
import streamlit as st
from answers import data_of, excuse, has_predictions, opened, runs_of, say_what, scores, stamps
from choices import chosen, draw, plain

from lab import mistakes
from lab.comparison import bootstrap_recipes, compare_recipes, compare_runs, differing, made_with
from lab.data import Data
from lab.errors import LabError
from lab.figures import SHORT
from lab.runs import Run

WORDS = SHORT | {"all": "overall"}
same_data = {Data: lambda data: data.fingerprint}


@st.cache_data(max_entries=32, show_spinner="Testing: 10,000 resamples a task ...", hash_funcs=same_data)
def tests(folders: list[tuple[str, str]], weights: str, data: Data, stamps: list, one: bool) -> pd.DataFrame:
    """Of two runs (one pair), or of two recipes (a pair a seed); kept until a predictions file changes."""
    pairs = [(Run.open(a), Run.open(b)) for a, b in folders]
    if one:
        return compare_runs(*pairs[0], data=data, weights=weights)
    return bootstrap_recipes(pairs, data, weights=weights)


def tested(pairs: list[tuple[Run, Run]], one: bool) -> pd.DataFrame:
    """The same, or LabError where predictions or data are not there."""
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
    """Numbers as people read them."""
    table = table.assign(task=table["task"].map(WORDS))
    for column in {"a", "b", "difference", "low", "high"} & set(table):
        table[column] = ["" if v != v else f"{v:+.4f}" if column not in "ab" else f"{v:.4f}" for v in table[column]]
    table["p"] = ["" if p != p else "<0.001" if p < .001 else f"{p:.3f}" for p in table["p"]]
    return table.astype(object).where(table.notna(), "").astype(str)


of = chosen()
st.title("Compare")
st.write("Two runs, example by example. Ask first what differs in their settings: with more than one difference, no "
         "test can say which of them mattered.")
runs = runs_of(of)
names = list(runs.index)
if len(names) < 2:
    excuse("It takes two runs that may be compared; lab ablate quick makes five.")
    st.stop()
left, right = st.columns(2)
ready = [i for i, name in enumerate(names) if has_predictions(name)] or [0]
a = left.selectbox("a", names, index=ready[0], key="ca", bind="query-params")
others = [name for name in names if name != a]
best = min(others, key=lambda name: (not has_predictions(name), runs["label"][name] == runs["label"][a]))
b = right.selectbox("b", others, index=others.index(best), key="cb", bind="query-params")
weights = st.segmented_control("Weights", ["last", "best"], default="last", required=True, key="cw",
                               bind="query-params", help="After the last epoch, or the one that was best on dev")

say_what(of, [a, b])
st.subheader("What differs")
try:
    pair = opened(a), opened(b)
    differ = {setting: values for setting, values in differing([made_with(run.config) for run in pair]).items()
              if setting != "name"}  # which says nothing
except LabError as error:
    excuse(error)
    st.stop()
if differ:
    st.dataframe(pd.DataFrame(differ, index=["a", "b"]).T.rename_axis("setting").reset_index(), hide_index=True,
                 key="settings")
else:
    st.write("Nothing: the same experiment twice, or under two names.")

st.subheader("Scores")
table = scores(of, [a, b], weights).rename(columns={a: "a", b: "b"})
st.dataframe(table.assign(**{"a minus b": table["a"] - table["b"]}).round(4), hide_index=True, key="scores")
st.caption("Accuracy of SST and QQP, Pearson's r of STS: on all of dev where a run is finished, else after its newest "
           "epoch. Overall: (SST + QQP + (STS + 1) / 2) / 3.")

picture, lines, said = st.container(), [], ""
st.subheader("These two runs")
try:
    found = tested([pair], one=True)
    boot = found[found["test"] == "paired bootstrap"]
    lines.append(boot.assign(what=boot["task"].map(SHORT) + f", these runs, {weights} weights"))
    st.dataframe(words(found), hide_index=True, key="tests")
    st.caption("a minus b on the same examples; better, worse: a is. This is about these two runs on new examples of "
               "the same kind, not about their recipes: only seeds answer that. Five tests, each on its own.")
except LabError as error:
    said = str(error)
    excuse(said)

st.subheader("Their recipes, over seeds")
recipes = runs["label"][a], runs["label"][b]
done = runs[runs["state"] == "done"].reset_index().drop_duplicates(["label", "seed"]).set_index("label")
seeds = [done.loc[done.index == label].set_index("seed")["run"] for label in recipes]
shared = sorted(set(seeds[0].index) & set(seeds[1].index)) if recipes[0] != recipes[1] else []
if len(shared) < 3:
    excuse("One recipe, two seeds: what differs is chance." if recipes[0] == recipes[1] else
           f"No verdict: {recipes[0]} and {recipes[1]} have {len(shared)} finished seeds in common, and it "
           "takes 3; lab ablate with --seeds 3 makes them.")
else:
    over = compare_recipes(of.runs, *recipes)
    lines.append(over.assign(what=over["task"].map(WORDS) + f", recipes, {len(shared)} seeds, last weights"))
    st.dataframe(words(over), hide_index=True, key="seeds")
    st.caption(plain(f"{recipes[0]} minus {recipes[1]}, paired by seed (Student's t), on all of dev, last weights: "
                     "whatever the runs above show, this is what holds for a new seed."))
    try:
        both = tested([(opened(seeds[0][seed]), opened(seeds[1][seed])) for seed in shared], one=False)
        lines.append(both.assign(what=both["task"].map(SHORT) + f", recipes, seeds and examples, {weights} weights"))
        st.dataframe(words(both), hide_index=True, key="both")
        st.caption("The paired bootstrap over seeds and examples: what holds for a new seed and new examples.")
    except LabError as error:
        if str(error) != said:
            excuse(error)

if lines := [part for part in lines if len(part)]:
    shown = pd.concat(lines, ignore_index=True)
    sizes = ", ".join(f"{row.what} {row.difference:+.3f}" for row in shown.itertuples())
    with picture:
        draw(mistakes.forest(shown, f"a: {a} · b: {b} · recipes: theirs · dev"), "forest",
             f"Score differences, a minus b, with 95 % intervals: {sizes}",
             words(shown)[["what", "difference", "low", "high"]])
