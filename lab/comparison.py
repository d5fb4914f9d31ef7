"""Two runs side by side: the settings in which they differ, their predictions example by example, paired tests.

    lab.compare_runs("gse-laptop-s11711-f0fce5", "smart-laptop-s11711-0c1a9e")

It speaks of these two runs on new examples of the same kind. Whether a recipe is better, only seeds answer.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.data import TASKS, Data, load_data, no_formula
from lab.errors import LabError
from lab.runs import Run

if TYPE_CHECKING:
    import pandas as pd


def differing(settings: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The settings in which experiments differ: {setting: a text for each}; a missing one is "-".

    SMART's constants stand one by one, as smart.weight and so on, where all have SMART.
    """
    settings = [dict(of) for of in settings]
    if settings and all(isinstance(of.get("smart"), dict) for of in settings):
        for of in settings:
            of |= {f"smart.{key}": value for key, value in of.pop("smart").items()}
    texts = [{key: _in_words(value) for key, value in of.items()} for of in settings]
    keys = dict.fromkeys(key for of in texts for key in of)
    values = {key: [of.get(key, "-") for of in texts] for key in keys}
    return {key: of for key, of in values.items() if len(set(of)) > 1}


def _in_words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_in_words(of)}" for key, of in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def predictions(run: str | Path | Run, task: str, data: Data | None, *, weights: str = "last", split: str = "dev",
                root: str | Path | None = None) -> "pd.DataFrame":
    """What a finished run answered on the examples of a task: a row an example, in the file's order.

    Columns: id, task, label, prediction; then text (sst) or text1, text2. Without data the label is nan and there are
    no texts. weights: "last", or "best" on dev. LabError: no predictions there, or data that the run was not made with.
    """
    import pandas as pd

    from lab.evaluate import COURSE_FILES, read_predictions

    run = Run.open(run, root)
    if task not in TASKS or weights not in ("best", "last"):
        raise LabError(f"task {task!r}, weights {weights!r}: valid are {', '.join(TASKS)}, and best or last")
    file = run.folder / "predictions" / weights / f"{COURSE_FILES[task][0]}-{split}-output.csv"
    try:
        found = read_predictions(file)
    except OSError:
        raise LabError(f"run {run.name} has no {task} predictions on {split} here ({weights} weights); a finished run "
                       "has them in its folder") from None
    except ValueError:
        raise LabError(f"{file}: not in the layout of predictions, id and number a line") from None
    table = pd.DataFrame({"id": list(found), "task": task, "label": float("nan"), "prediction": list(found.values())})
    if data is None:
        return table
    made_with = (run.config.get("data") or {}).get("fingerprint")
    if made_with != data.fingerprint:
        raise LabError(f"run {run.name} was made with data {made_with}, but {data.folder} holds {data.fingerprint}; "
                       "name the run's own folder with --data")
    if (task, split) not in data.splits:
        raise LabError(f"{data.folder} has no {split} file for {task}")
    examples = {no_formula(example.id): example for example in data.splits[task, split].examples}
    if strange := [i for i in table["id"] if i not in examples]:
        raise LabError(f"{file}: id {strange[0]!r} is none of the {len(examples):,} in {data.folder}")
    of = [examples[i] for i in table["id"]]
    texts = ["text"] if task == "sst" else ["text1", "text2"]
    return table.assign(label=[example.label for example in of],
                        **{name: [example.texts[i] for example in of] for i, name in enumerate(texts)})


def paired_predictions(a: str | Path | Run, b: str | Path | Run, task: str, data: Data | None, *,
                       weights: str = "last", split: str = "dev", root: str | Path | None = None) -> "pd.DataFrame":
    """The examples that two finished runs both answered: id, task, label, prediction_a, prediction_b, then texts.

    Arguments and errors as in `predictions`.
    """
    first, second = (predictions(run, task, data, weights=weights, split=split, root=root) for run in (a, b))
    both = first.merge(second[["id", "prediction"]], on="id", suffixes=("_a", "_b"), validate="one_to_one")
    if both.empty:
        raise LabError(f"the runs have no {task} example in common")
    return both[["id", "task", "label", "prediction_a", "prediction_b", *(c for c in both if c.startswith("text"))]]


def compare_runs(a: str | Path | Run, b: str | Path | Run, *, data: Data | str | Path | None = None,
                 weights: str = "last", root: str | Path | None = None) -> "pd.DataFrame":
    """Paired tests of two finished runs on all of dev: a row a task and test.

    Accuracy has McNemar's exact test and the paired bootstrap, Pearson's r the bootstrap (see `lab.significance`).
    Columns: task, metric, test, examples; a, b, each run's score; difference, a minus b, and of the bootstrap its 95 %
    interval low, high; only_a, only_b, the examples that one run alone has right; p; verdict, "better" where a is.
    data: `lab.load_data(...)` or its argument. LabError: see `predictions`.
    """
    import pandas as pd

    from lab.evaluate import METRICS, pearson
    from lab.significance import mcnemar, paired_bootstrap

    data, rows = data if isinstance(data, Data) else load_data(data), []
    for task in TASKS:
        table = paired_predictions(a, b, task, data, weights=weights, root=root)
        labels, sides = table["label"].to_numpy(), table[["prediction_a", "prediction_b"]].to_numpy().T
        about = {"task": task, "metric": METRICS[task], "examples": len(table)}
        if task == "sts":
            scores = {side: pearson(values, labels) for side, values in zip("ab", sides, strict=True)}
            found = paired_bootstrap(*sides, labels, "pearson")
        else:
            right = sides == labels
            scores = dict(zip("ab", right.mean(axis=1), strict=True))
            exact, found = mcnemar(*right), paired_bootstrap(*right)
            rows.append({**about, **scores, "test": "McNemar, exact", "difference": found.difference,
                         "only_a": exact.b, "only_b": exact.c, "p": exact.p, "verdict": exact.verdict()})
        rows.append({**about, **scores, "test": "paired bootstrap", "difference": found.difference, "low": found.low,
                     "high": found.high, "p": found.p, "verdict": found.verdict})
    table = pd.DataFrame(rows, columns=["task", "metric", "test", "examples", "a", "b", "difference", "low", "high",
                                        "only_a", "only_b", "p", "verdict"])
    return table.astype({"a": float, "b": float, "only_a": "Int64", "only_b": "Int64"})


def as_text(a: str | Path | Run, b: str | Path | Run, data: Data, weights: str = "last",
            root: str | Path | None = None) -> str:
    """What `lab compare` prints: the runs, what differs in their settings, the tests, and what they are about."""
    import pandas as pd

    runs = [Run.open(run, root) for run in (a, b)]
    tests = compare_runs(*runs, data=data, weights=weights)
    configs = [run.config for run in runs]
    differ = differing([config["experiment"] for config in configs])
    wide = pd.DataFrame(differ, index=["a", "b"]).T.to_string() if differ else "none: the same experiment twice"
    numbers = {c: tests[c].map("{:.4f}".format) for c in ("a", "b", "difference", "low", "high")}
    shown = tests.assign(**numbers, p=tests["p"].map("{:.3g}".format)).astype(object).replace("nan", "n/a")
    return "\n".join([
        *(f"{side}: {run.name} (begun {str(config.get('started'))[:10]})"
          for side, run, config in zip("ab", runs, configs, strict=True)),
        f"data: {data.label} ({data.fingerprint}), dev, {weights} weights\n",
        "settings that differ:", wide,
        "\na minus b, on the same examples:", shown.where(shown.notna(), "").to_string(index=False),
        "\nbetter, worse: a is. About these two runs on new examples of the same kind, not about their recipes: only "
        "seeds\nanswer that (`lab report`). Five tests, none corrected for the others."])
