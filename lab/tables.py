"""Records become tables: Table 1 (dev), Table 2 (test) and verdicts, for a terminal, for CSV and for Markdown."""

import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pandas as pd

from lab.data import checkout, no_formula
from lab.figures import KEYS, best_epoch, days, known, made_from, scores_on
from lab.records import told_apart
from lab.significance import compare, interval, power_line

TASK_SCORES = {("sst", "accuracy"): "sst", ("qqp", "accuracy"): "qqp", ("sts", "pearson"): "sts",
               ("all", "overall"): "overall"}
SCORES = [*TASK_SCORES.values()]
TABLES = {"dev": ("dev_full", "table1"), "test": ("test", "table2")}  # split -> its name in records, the paper's table
ALIKE = ["data", "fingerprint", "encoder", "protocol"]  # what runs must share to stand in one table or picture
NOTES = {"sample": "made from the bundled sample: no number here says anything about the real data sets",
         "smoke": "protocol smoke: too short to compare recipes",
         "minilm": "MiniLM was trained on sentence pairs that include Quora's, so its QQP scores had help; its [CLS] "
                   "pooler is weak, so rows with cls pooling are handicapped"}
TEST_NOTES = {"b59f4013d8a2": "the QQP test rows that go with this data are not the course's: QQP and overall stand on "
                              "other rows than the paper's"}  # by the data's fingerprint
LEGEND = ("sst, qqp: accuracy; sts: Pearson r; overall: (sst + qqp + (sts + 1) / 2) / 3. Last epoch: nothing was "
          "selected on it; it ranks. Best on dev: as the paper reports, whose numbers (bert-base, one run a recipe) "
          "are of that epoch. Means over seeds; ±: a 95 % interval over seeds, from 3 seeds on; below, points only.")


class Block(NamedTuple):
    """Finished runs that may stand in one table, alike in data, encoder and protocol, and what follows from them."""

    made_from: str
    runs: pd.DataFrame
    dev: pd.DataFrame  # Table 1
    test: pd.DataFrame  # Table 2; empty without labelled test files
    verdicts: pd.DataFrame  # empty where there are none
    said: str  # the sentence under the verdicts, or why there are none; may be empty
    notes: list[str]


def leaderboard(runs: pd.DataFrame, split: str = "dev") -> pd.DataFrame:
    """Table 1 (split "dev") or 2 ("test") of the finished runs in `lab.load_runs()`: a row a recipe and setting.

    Best overall first. Scores are means over seeds on the whole split: sst, qqp, sts, overall at the last epoch, on
    which nothing was selected; best_* at the epoch that was best on dev, as the paper reports; *_low, *_high of each a
    95 % interval over seeds (`significance.interval`: nan below 3 seeds). paper_* are the paper's own, and stand beside
    no number made from the sample or from a changed recipe. A recipe with a null score in some seeds (null_seeds) has
    none in the mean, and ranks last. date: the day or days on which its runs were begun.
    """
    final = _final(runs, split)
    bounds = [f"{best}{score}{end}" for best in ("", "best_") for score in SCORES for end in ("", "_low", "_high")]
    columns = [*KEYS, "date", "seeds", "null_seeds", *bounds, *(f"paper_{score}" for score in SCORES)]
    if final.empty:
        return pd.DataFrame(columns=columns)
    steps, rows = final.groupby("run")["step"], {}
    for best, chosen in (("", final[final["step"] == steps.transform("max")]),
                         ("best_", final[final["step"] == steps.transform("min")])):
        for (*row, score), values in chosen.groupby([*KEYS, "score"], sort=False)["value"]:
            ends = zip(("", "_low", "_high"), interval(values), strict=True)
            rows.setdefault(tuple(row), {}).update({f"{best}{score}{end}": value for end, value in ends})
    for row, of in final.groupby(KEYS, sort=False):
        rows[row] |= {"date": days(of), "seeds": of["seed"].nunique(),
                      "null_seeds": of.loc[of["value"].isna(), "seed"].nunique()}
    table = pd.DataFrame([dict(zip(KEYS, row, strict=True)) | of for row, of in rows.items()], columns=columns)
    comparable, paper = (table["data"] != "sample") & (table["departs"] == ""), paper_table(TABLES[split][1])
    for score in SCORES:
        table[f"paper_{score}"] = table["name"].map(paper[score]).where(comparable).astype(float)
    return table.sort_values("overall", ascending=False, na_position="last", kind="stable").reset_index(drop=True)


def _final(runs: pd.DataFrame, split: str) -> pd.DataFrame:
    """The scores of finished runs on a whole split. The same experiment run twice is one run: a seed counts once."""
    final = runs[(runs["split"] == TABLES[split][0]) & (runs["state"] == "done")]
    final = final.assign(score=[TASK_SCORES.get(key) for key in zip(final["task"], final["metric"], strict=True)])
    final = known(final).dropna(subset=["score", "step"]).drop_duplicates(["run", "step", "score"])
    return final[final["run"] == final.groupby([*KEYS, "seed"])["run"].transform("min")]


def paper_table(name: str) -> pd.DataFrame:
    """The paper's "table1" (dev) or "table2" (test), by recipe."""
    return pd.read_csv(checkout() / "data" / "paper" / f"{name}.csv", index_col="recipe")


def overfitting(runs: pd.DataFrame) -> pd.DataFrame:
    """What going on cost each recipe: a row a recipe, means over seeds, overall but for the tasks' gaps.

    best_epoch, on dev; dev_best, dev_last, and cost, their difference; train_last; gap, train minus dev at the last
    epoch, of overall and of each task. Scores on the part of train and dev that is scored after every epoch.
    """
    runs = scores_on(runs, ["train", "dev"])
    labels = runs.drop_duplicates("run").set_index("run")
    labels = labels["label"].astype(str) if "label" in labels else pd.Series(told_apart(labels), labels.index)
    shown, rows = runs.assign(recipe=runs["run"].astype(object).map(labels)), []
    for recipe, of in shown.groupby("recipe"):
        found = {key: best_epoch(part) for key, part in of.groupby(["split", "task"], observed=True)}
        last = {key: values[2] for key, values in found.items()}
        best, at_best, at_last = found.get(("dev", "all"), (float("nan"),) * 3)
        gaps = {task: last.get(("train", task), float("nan")) - last.get(("dev", task), float("nan"))
                for task in ("all", "sst", "qqp", "sts")}
        rows.append({"recipe": recipe, "seeds": of["seed"].nunique(), "best_epoch": best, "dev_best": at_best,
                     "dev_last": at_last, "cost": at_best - at_last, "train_last": last.get(("train", "all")),
                     "gap": gaps["all"], **{f"gap_{task}": gaps[task] for task in ("sst", "qqp", "sts")}})
    return pd.DataFrame(rows, columns=["recipe", "seeds", "best_epoch", "dev_best", "dev_last", "cost", "train_last",
                                       "gap", "gap_sst", "gap_qqp", "gap_sts"])


def missing(table: pd.DataFrame) -> list[str]:
    """Which of the thirteen recipes have no row in a leaderboard, other settings of theirs aside."""
    there = set(table.loc[table["departs"] == "", "name"])
    return [recipe for recipe in paper_table("table1").index if recipe not in there]


def verdicts(runs: pd.DataFrame, reference: str = "baseline") -> tuple[pd.DataFrame, str]:
    """Whether any recipe's overall score (last epoch) differs from the reference's over seeds, and a sentence on it.

    `runs`: alike in data, encoder and protocol. The frame is `significance.compare`'s; where there is nothing to
    compare with, or too few seeds, it is empty and the sentence says why, or is empty too.
    """
    final, none = _final(runs, "dev"), pd.DataFrame()
    final = final[(final["score"] == "overall") & (final["step"] == final.groupby("run")["step"].transform("max"))]
    table = pd.DataFrame({"recipe": told_apart(final), "seed": final["seed"], "value": final["value"]})
    table = table.drop_duplicates(["recipe", "seed"])  # `departs` alone may differ: as versions see it
    if "smoke" in set(final["protocol"]) or table["recipe"].nunique() < 2:
        return none, ""
    if reference not in set(table["recipe"]):
        return none, f"no verdict: no recipe here is called {reference} alone, to compare the others with"
    found = compare(table, reference)
    if not found["low"].notna().any():
        return none, f"no verdict against {reference} below 3 seeds a recipe; lab ablate with --seeds 5 makes more"
    return found, power_line(table, reference)


def blocks(runs: pd.DataFrame) -> Iterator[Block]:
    """The finished runs, block by block, that of the best row first."""
    runs = known(runs[runs["state"] == "done"])
    for key, dev in leaderboard(runs).groupby(ALIKE, sort=False):
        of = runs[(runs[ALIKE] == list(key)).all(axis=1)]
        yield Block(made_from(of), of, dev, leaderboard(of, "test"), *verdicts(of), notes(dev))


def notes(dev: pd.DataFrame) -> list[str]:
    """What a reader must know about the rows of Table 1."""
    found = {*dev["protocol"], *dev["encoder"], *(["sample"] if "sample" in set(dev["data"]) else [])}
    return [note for name, note in NOTES.items() if name in found]


def cells(table: pd.DataFrame, spread: Sequence[str] = SCORES) -> pd.DataFrame:
    """A leaderboard as people read it: texts, with the columns in groups; ± for the scores in `spread`."""
    shown = {("", "recipe"): told_apart(table), ("", "seeds"): table["seeds"].astype(str)}
    for group, best in (("last epoch", ""), ("best on dev", "best_")):
        for score in SCORES:
            shown[group, score] = [_cell(row, best, score, score in spread) for _, row in table.iterrows()]
    if table[[f"paper_{score}" for score in SCORES]].notna().any(axis=None):
        for score in SCORES:
            shown["the paper", score] = [f"{v:.3f}" if v == v else "-" for v in table[f"paper_{score}"]]
    return pd.DataFrame(shown)


def _cell(row: pd.Series, best: str, score: str, spread: bool) -> str:
    mean, high = row[f"{best}{score}"], row[f"{best}{score}_high"]
    if mean != mean:
        nulls = f" ({row['null_seeds']} of {row['seeds']} seeds)"
        return "n/a" + (nulls if row["null_seeds"] and score == "overall" else "")
    return f"{mean:.3f}" + (f" ±{high - mean:.3f}" if spread and high == high else "")


def verdict_cells(found: pd.DataFrame) -> pd.DataFrame:
    """The frame of `verdicts` as people read it."""
    shown = found[["recipe", "used", "difference", "low", "high", "p", "verdict"]].rename(columns={"used": "seeds"})
    texts = {column: [f"{v:.3f}" if v == v else "" for v in shown[column]] for column in ("difference", "low", "high")}
    texts["p"] = ["<0.001" if p < .001 else f"{p:.3f}" if p == p else "" for p in shown["p"]]
    return shown.assign(**texts).astype(str)


VERDICTS = "overall, against {}, with simultaneous 95 % intervals over seeds"


def as_text(runs: pd.DataFrame) -> str:
    """Table 1, and 2, for a terminal: a block for each data set, encoder and protocol that may be compared."""
    texts = []
    for block in blocks(runs):
        dev, data = block.dev, block.dev.iloc[0]
        lines = [block.made_from + f" · fingerprint: {data['fingerprint']}", "Table 1, all of dev:", _columns(dev)]
        lines += [f"! {note}" for note in block.notes]
        lines += [f"not here: {', '.join(gone)}"] if (gone := missing(dev)) else []
        if len(block.verdicts):
            lines += [f"{VERDICTS.format('baseline')}:", verdict_cells(block.verdicts).to_string(index=False)]
        lines += [block.said] if block.said else []
        if len(block.test):
            lines += ["Table 2, test:", _columns(block.test), *(f"! {note}" for note in test_notes(block.test))]
        texts.append("\n".join(lines) + "\n")
    if not texts:
        return "no finished runs yet; `lab train baseline` makes one"
    texts.append(textwrap.fill(LEGEND.replace("±: a", "± (overall alone here): a"), 120))
    return re.sub(r"[^\n -~\xa0-\uffff]", "?", "\n".join(texts))  # no name in a record may steer the terminal


def _columns(table: pd.DataFrame) -> str:
    return cells(table, spread=["overall"]).to_string(index=False)


def test_notes(table: pd.DataFrame) -> list[str]:
    """What a reader must know about the rows of Table 2."""
    return [note for fingerprint, note in TEST_NOTES.items() if fingerprint in set(table["fingerprint"])]


def as_csv(runs: pd.DataFrame) -> str:
    """Both tables, every row with what it was made from; texts that look like spreadsheet formulas are escaped."""
    both = [leaderboard(runs, split).assign(table=name) for split, name in (("dev", "1 (dev)"), ("test", "2 (test)"))]
    table = pd.concat([part for part in both if len(part)] or both)
    table.insert(0, "table", table.pop("table"))
    return table.map(lambda value: no_formula(value) if isinstance(value, str) else value).to_csv(index=False)


def as_markdown(runs: pd.DataFrame) -> str:
    """Both tables and the verdicts, with what they were made from."""
    lines = ["# minBERT lab", ""]
    for block in blocks(runs):
        lines += [f"## {_inert(block.made_from)}", "", *(f"- {_inert(note)}" for note in block.notes), "",
                  "Table 1, all of dev", "", *_markdown(cells(block.dev)), ""]
        lines += [f"Not here: {', '.join(gone)}", ""] if (gone := missing(block.dev)) else []
        if len(block.verdicts):
            lines += [f"Verdicts: {VERDICTS.format('baseline')}", "", *_markdown(verdict_cells(block.verdicts)), ""]
        lines += [_inert(block.said), ""] if block.said else []
        if len(block.test):
            lines += ["Table 2, test", "", *_markdown(cells(block.test)), "",
                      *(f"- {_inert(note)}" for note in test_notes(block.test)), ""]
    return "\n".join([*lines, LEGEND, ""])


def _markdown(table: pd.DataFrame) -> list[str]:
    header = [" ".join(filter(None, c)) if isinstance(c, tuple) else c for c in table.columns]
    rows = [header, ["---"] * len(header), *table.itertuples(index=False)]
    return ["| " + " | ".join(text if row is rows[1] else _inert(text) for text in row) + " |" for row in rows]


def _inert(text: str) -> str:
    """A text from a file as Markdown that is only text: no cell ends in it, no HTML, no link, no picture."""
    for character in "\\`*[]|!":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").split())
