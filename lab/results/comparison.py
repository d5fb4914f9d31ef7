"""Two runs side by side: the settings in which they differ, their predictions of each example, paired tests.

    lab.compare_runs("RUN_A", "RUN_B")

The paired tests are about these two runs on new examples of the same kind. Whether a recipe is better than another can
be answered only over several seeds: see `compare_recipes` and `bootstrap_recipes`.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.data import CLASS_NAMES, METRICS, SCORES, TASKS, Data, Split, load_data, no_formula
from lab.errors import LabError
from lab.results.words import printable
from lab.runs.folder import Run
from lab.runs.labels import as_set

if TYPE_CHECKING:
    import pandas as pd


def differing(settings: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The settings in which experiments differ: {setting: a text for each experiment}; a missing setting is "-".

    Where all of them have SMART, its constants are settings of their own, such as "smart.weight".
    """
    settings = [dict(one) for one in settings]
    if settings and all(isinstance(one.get("smart"), dict) for one in settings):
        for one in settings:
            one |= {f"smart.{key}": value for key, value in one.pop("smart").items()}
    texts = [{key: as_set(value) for key, value in one.items()} for one in settings]
    keys = dict.fromkeys(key for one in texts for key in one)
    values = {key: [one.get(key, "-") for one in texts] for key in keys}
    return {key: each for key, each in values.items() if len(set(each)) > 1}


def all_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Everything in which two runs can differ, from a run's experiment.json: its settings, then versions, threads, ...
    """
    versions, data = (part if isinstance(part := config.get(key), Mapping) else {} for key in ("versions", "data"))
    return dict(config["experiment"]) | {
        **{f"version of {name}": value for name, value in versions.items()},
        "threads": config.get("threads"), "device": config.get("device"),
        "revision of the lab": config.get("revision"), "data": data.get("label"),
        "data fingerprint": data.get("fingerprint"),
        "encoder weights": str(config.get("encoder_sha256") or "")[:6] or None}  # of an encoder that is a folder


def predictions(run: str | Path | Run, task: str, data: Data | None, *, weights: str = "last", split: str = "dev",
                root: str | Path | None = None) -> "pd.DataFrame":
    """The predictions of a finished run on the examples of a task: a row for each example, in the file's order.

    Columns: id, task, label, prediction; then text (sst) or text1, text2. The index, "place", is that of the example
    among those of the split. Without data there is no such index, the labels are nan and there are no texts. weights:
    "last", or "best" on dev. LabError: the run has no such predictions, or was made with other data.
    """
    import pandas as pd

    from lab.evaluate import COURSE_FILES, read_predictions

    run = Run.open(run, root)
    if task not in TASKS or weights not in ("best", "last"):
        raise LabError(f"task {task!r}, weights {weights!r}: valid are {', '.join(TASKS)}, and best or last")
    file = run.folder / "predictions" / weights / f"{COURSE_FILES[task][0]}-{split}-output.csv"
    try:
        ids, values = zip(*read_predictions(file), strict=True)  # of an empty file, ValueError
    except OSError:
        raise LabError(f"run {run.name} has no {task} predictions on {split} here ({weights} weights): a run of your "
                       "own has them once it is finished, records that ship with the lab are without; "
                       "`lab train baseline` makes one that has them") from None
    except ValueError:
        raise LabError(f"{file}: not in the layout of predictions, an id and a number in each line") from None
    legal = range(len(CLASS_NAMES[task])) if task in CLASS_NAMES else None
    if bad := next((v for v in values if not math.isfinite(v) or (legal and v not in legal)), None):
        raise LabError(f"{file}: {bad:g} is no answer to {task}")
    table = pd.DataFrame({"id": ids, "task": task, "label": float("nan"), "prediction": values})
    if data is None:
        return table
    run.check_data(data)
    if (task, split) not in data.splits:
        raise LabError(f"{data.folder} has no {split} file for {task}")
    source = data.splits[task, split]
    where = places(ids, source, file)
    found = [source.examples[i] for i in where]
    names = ["text"] if task == "sst" else ["text1", "text2"]
    return table.set_index(pd.Index(where, name="place")).assign(
        label=[example.label for example in found],
        **{name: [example.texts[i] for example in found] for i, name in enumerate(names)})


def places(ids: Sequence[str], source: Split, file: Path) -> list[int]:
    """The place of each line of a file of predictions among the examples of the split that they answer.

    A run answers all rows or, of that number, always the same, in the order of the data file. So the ids only have to
    agree line by line, and it does no harm if some repeat. In another order they are found by their ids, if none
    repeats. LabError: an id is not in the data, or it cannot be told which row is meant.
    """
    import numpy as np

    from lab.batches import Rows
    from lab.runs.scoring import EVAL_SEED

    there = [no_formula(example.id) for example in source.examples]
    every = np.arange(len(there))
    drawn = Rows(source.task, there, every[:, None], every, None).some(len(ids), EVAL_SEED)  # places, in place of texts
    if drawn.ids == list(ids):
        return drawn.text[:, 0].tolist()
    number = {i: place for place, i in enumerate(there)}
    if strange := [i for i in ids if i not in number]:
        raise LabError(f"{file}: id {strange[0]!r} is none of the {len(there):,} in {source.path.parent}")
    for where, kind in ((file, Counter(ids)), (source.path, Counter(there))):
        if repeated := [i for i, n in kind.items() if n > 1]:
            raise LabError(f"{file}: its ids do not follow the rows of {source.path}, and {repeated[0]!r} stands more "
                           f"than once in {where.name}, so it cannot be told which row a prediction is of")
    return [number[i] for i in ids]


def beside(table: "pd.DataFrame", other: "pd.DataFrame") -> "pd.DataFrame":
    """`other` with the index of `table`: for each of its rows that of the same example, or nan where there is none.

    Both have ids: they are the same line by line, or no id repeats, or both have the index of `predictions`. LabError:
    none of these.
    """
    if list(table["id"]) == list(other["id"]):
        return other.set_axis(table.index)
    if table["id"].is_unique and other["id"].is_unique:
        return other.set_index("id", drop=False).reindex(table["id"]).set_axis(table.index)
    if table.index.name == other.index.name == "place":
        found = other.reindex(table.index)
        if (found["id"].isna() | (found["id"] == table["id"])).all():
            return found
    raise LabError("some ids stand for more than one example, and the two files do not have the same ids line by line: "
                   "it cannot be told which of their lines belong together")


def probabilities(run: str | Path | Run, task: str, *, weights: str = "last") -> "pd.DataFrame":
    """The probabilities of the classes (sst, qqp) that a run has written with its dev predictions, line by line.

    Columns: id, p0, p1, ...
    LabError: there are none, as in runs of earlier versions, or the file is damaged.
    """
    import numpy as np
    import pandas as pd

    from lab.evaluate import COURSE_FILES

    run = Run.open(run)
    file = run.folder / "probabilities" / weights / f"{COURSE_FILES[task][0]}-dev-probabilities.csv"
    columns = {"id": str, **{f"p{c}": float for c in range(len(CLASS_NAMES[task]))}}
    try:
        found = pd.read_csv(file, dtype=columns, usecols=list(columns), keep_default_na=False)
    except OSError:
        raise LabError(f"run {run.name} kept no {task} probabilities ({weights} weights): it was made by an earlier "
                       "version, or has no predictions here") from None
    except ValueError:
        found = None
    shares = None if found is None else found.drop(columns="id").to_numpy()
    if shares is None or not (np.isfinite(shares).all() and (shares >= 0).all()
                              and np.allclose(shares.sum(1), 1, atol=1e-3)):
        raise LabError(f"{file}: not in the layout of probabilities, an id and a share for each class in each line")
    return found[list(columns)]


def compute_probabilities(run: str | Path | Run, task: str, data: Data, *, weights: str = "last",
                          rows: int | None = None) -> "pd.DataFrame":
    """The same, computed from the run's checkpoint: on all of dev, or on `rows` examples spread over it.

    The index is that of `predictions`.
    LabError: the run has no weights, or see `predict`.
    """
    import pandas as pd

    from lab.evaluate import class_probabilities, predict

    examples = data.splits[task, "dev"].examples
    where = range(0, len(examples), max(1, len(examples) // (rows or len(examples))))[:rows]
    examples = [examples[i] for i in where]
    found = predict(Run.open(run), task, [e.texts[0] if task == "sst" else e.texts for e in examples],
                    weights=weights)
    found = pd.DataFrame({"id": [no_formula(e.id) for e in examples]}).join(class_probabilities(found))
    return found.set_index(pd.Index(where, name="place"))


def paired_predictions(a: str | Path | Run, b: str | Path | Run, task: str, data: Data | None, *,
                       weights: str = "last", split: str = "dev", root: str | Path | None = None) -> "pd.DataFrame":
    """The examples that two finished runs have both predicted: id, task, label, prediction_a, prediction_b, then texts.

    Arguments and errors as in `predictions`.
    """
    first, second = (predictions(run, task, data, weights=weights, split=split, root=root) for run in (a, b))
    both = first.rename(columns={"prediction": "prediction_a"}).assign(
        prediction_b=beside(first, second)["prediction"]).dropna(subset="prediction_b")
    if both.empty:
        raise LabError(f"the runs have no {task} example in common")
    return both[["id", "task", "label", "prediction_a", "prediction_b", *(c for c in both if c.startswith("text"))]]


def compare_runs(a: str | Path | Run, b: str | Path | Run, *, data: Data | str | Path | None = None,
                 weights: str = "last", root: str | Path | None = None) -> "pd.DataFrame":
    """Paired tests of two finished runs on all of dev: a row for each task and test.

    Accuracy is tested with McNemar's exact test and the paired bootstrap, Pearson's r with the bootstrap alone (see
    `lab.results.significance`). Columns: task, metric, test, examples; a, b, the scores; difference (a minus b)
    and, from the bootstrap, its 95 % interval low, high; only_a, only_b, the examples that one run alone has right;
    p; verdict, "better" where a is. data: `lab.load_data(...)` or its argument. LabError: see `predictions`.
    """
    import pandas as pd

    from lab.evaluate import pearson
    from lab.results.significance import mcnemar, paired_bootstrap

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


def compare_recipes(runs: "pd.DataFrame", a: str, b: str) -> "pd.DataFrame":
    """Recipe a against b over the seeds that both have, on all of dev at the last epoch: each task, and overall.

    runs: finished runs of `lab.load_runs` that share data, encoder and protocol, with their `line_labels` as a column
    label. Columns: task, metric, seeds, difference (a minus b), low, high, p, verdict, as `significance.compare` gives
    them; each task is one comparison by itself.
    """
    import pandas as pd

    from lab.results.significance import compare
    from lab.runs.frames import last_rows

    final = runs[(runs["split"] == "dev_full") & (runs["state"] == "done") & runs["label"].isin([a, b])]
    final = last_rows(final)
    rows = []
    for task, metric in SCORES.items():
        part = final[(final["task"] == task) & (final["metric"] == metric)].sort_values("run")
        table = part.drop_duplicates(["label", "seed"])[["label", "seed", "value"]].rename(columns={"label": "recipe"})
        table = table.assign(recipe=table["recipe"].astype(str))
        if set(table["recipe"]) == {a, b} and a != b:
            found = compare(table, b).set_index("recipe").loc[a]
            rows.append({"task": task, "metric": metric, "seeds": int(found["used"]),
                         **found[["difference", "low", "high", "p", "verdict"]]})
    return pd.DataFrame(rows, columns=["task", "metric", "seeds", "difference", "low", "high", "p", "verdict"])


def bootstrap_recipes(pairs: Sequence[tuple], data: Data, *, weights: str = "last") -> "pd.DataFrame":
    """The same by the paired bootstrap over examples and seeds: a row for each task, columns as in `compare_recipes`.

    pairs: (a run of a, the run of b with the same seed). LabError: see `predictions`.
    """
    import numpy as np
    import pandas as pd

    from lab.results.significance import paired_bootstrap

    rows = []
    for task in TASKS:
        tables = [paired_predictions(a, b, task, data, weights=weights) for a, b in pairs]
        shared = pd.concat([table["label"] for table in tables], axis=1, join="inner").iloc[:, 0]
        labels = shared.to_numpy()
        sides = [np.stack([table.loc[shared.index, f"prediction_{side}"] for table in tables]) for side in "ab"]
        found = paired_bootstrap(*sides, labels, "pearson") if task == "sts" else paired_bootstrap(
            *(side == labels for side in sides))
        rows.append({"task": task, "metric": METRICS[task], "seeds": len(tables), **found._asdict()})
    return pd.DataFrame(rows)[["task", "metric", "seeds", "difference", "low", "high", "p", "verdict"]]


def as_text(a: str | Path | Run, b: str | Path | Run, data: Data, weights: str = "last",
            root: str | Path | None = None) -> str:
    """The text that `lab compare` prints: the runs, the settings that differ, and the tests."""
    import pandas as pd

    runs = [Run.open(run, root) for run in (a, b)]
    tests = compare_runs(*runs, data=data, weights=weights)
    configs = [run.config for run in runs]
    differ = differing([config["experiment"] for config in configs])
    wide = pd.DataFrame(differ, index=["a", "b"]).T.to_string() if differ else "none: the same experiment twice"
    numbers = {c: tests[c].map("{:.4f}".format) for c in ("a", "b", "difference", "low", "high")}
    shown = tests.assign(**numbers, p=tests["p"].map("{:.3g}".format)).astype(object).replace("nan", "n/a")
    return printable("\n".join([
        *(f"{side}: {run.name} (started {str(config.get('started'))[:10]})"
          for side, run, config in zip("ab", runs, configs, strict=True)),
        f"data: {data.label} ({data.fingerprint}), dev, {weights} weights\n",
        "settings that differ:", wide,
        *_lacking(runs, data, weights),
        "\na minus b, on the same examples:", shown.where(shown.notna(), "").to_string(index=False),
        "\nVerdict: whether a is better or worse than b. It is about these two runs on new examples of the same kind, "
        "not about\ntheir recipes, which only several seeds can compare (`lab report`). The five tests are not "
        "corrected for each other."]))


def _lacking(runs: Sequence[Run], data: Data, weights: str) -> list[str]:
    """A line for each file of predictions that holds fewer answers than its run has given."""
    lines = []
    for side, run in zip("ab", runs, strict=True):
        e = run.config["experiment"]
        for task in TASKS:
            limits = (len(data.splits[task, "dev"].examples), e.get("eval_rows"), task == "qqp" and e.get("end_qqp"))
            given = min(limit for limit in limits if limit)
            there = len(predictions(run, task, data, weights=weights))
            if there < given:
                lines.append(f"\n{side} lacks {given - there} of its {given} {task} answers: its file of predictions "
                             "is damaged, and the tests are on those that both runs have")
    return lines
