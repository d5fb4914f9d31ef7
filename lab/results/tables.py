"""Tables of results: Table 1 (dev), Table 2 (test) and verdicts, for a terminal, as CSV and as Markdown."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from lab.data import TASKS, checkout, no_formula
from lab.results.notes import notes, test_notes
from lab.results.plan import CLAIMS, claim_cells, is_planned, plan, planned
from lab.results.significance import compare, interval, power_line
from lab.results.words import ROUNDING, decimals, printable, with_interval
from lab.runs import frames
from lab.runs.frames import (
    KEYS,
    best_epoch,
    distinct_runs,
    fill_missing,
    floors,
    labelled,
    last_rows,
    provenance,
    scores_on,
)
from lab.runs.labels import line_labels, own_labels, settings_of

SCORE_COLUMNS = [*TASKS, "overall"]
TABLES = {"dev": ("dev_full", "table1"), "test": ("test", "table2")}  # split -> its name in records, the paper's table
ALIKE = ["data", "fingerprint", "encoder", "protocol"]  # runs in one table or figure must agree in these columns
FLOORS_NOTE = ("Majority class: always the most frequent class of the training rows. No training: the untouched "
               "encoder; STS by the cosine of its vectors of each pooling, SST and QQP by the majority class")
LEGEND = ("sst, qqp: accuracy; sts: Pearson r; overall: (sst + qqp + (sts + 1) / 2) / 3. Recipes are ranked by the "
          "last epoch, which involves no selection on dev. Best on dev: the epoch with the best overall score on dev; "
          "the paper's numbers (bert-base, one run for each recipe) are presumably from it. Scores are means over "
          "seeds; ±: a 95 % interval over seeds, for 3 or more seeds.")


class Block(NamedTuple):
    """Finished runs that share data, encoder and protocol, so that one table may compare them, and their results."""

    provenance: str
    runs: pd.DataFrame
    dev: pd.DataFrame  # Table 1
    test: pd.DataFrame  # Table 2; empty without labelled test files
    verdicts: pd.DataFrame  # may be empty
    verdict_note: str  # the sentence under the verdicts, or why there are none; may be empty
    claims: pd.DataFrame  # the planned contrasts; may be empty
    notes: list[str]
    floors: pd.DataFrame  # of dev and of test, see `frames.floors`
    test_floors: pd.DataFrame


def leaderboard(runs: pd.DataFrame, split: str = "dev") -> pd.DataFrame:
    """Table 1 (split "dev") or 2 ("test") of the finished runs in `lab.load_runs()`: a row for each recipe and setting.

    Sorted by overall, best first. Scores are means over seeds on the whole split: sst, qqp, sts, overall at the last
    epoch, which involves no selection on dev; best_* at the epoch that was best on dev; *_low, *_high
    the 95 % interval of each over seeds (`significance.interval`: nan for fewer than 3). paper_*: the paper's numbers,
    nan for runs on the sample and for changed recipes. A recipe with a null score in some seeds (null_seeds) has a null
    mean and is ranked last. called: the label of one's own that all its runs share. date: the days on which they began.
    """
    final = _final(runs, split)
    ends = ("", "_low", "_high")
    bounds = [f"{best}{score}{end}" for best in ("", "best_") for score in SCORE_COLUMNS for end in ends]
    columns = [*KEYS, "called", "date", "seeds", "null_seeds", *bounds, *(f"paper_{score}" for score in SCORE_COLUMNS)]
    if final.empty:
        return pd.DataFrame(columns=columns)
    steps, rows = final.groupby("run")["step"], {}
    for best, chosen in (("", final[final["step"] == steps.transform("max")]),
                         ("best_", final[final["step"] == steps.transform("min")])):
        for (*row, score), values in chosen.groupby([*KEYS, "score"], sort=False)["value"]:
            found = zip(ends, interval(values), strict=True)
            rows.setdefault(tuple(row), {}).update({f"{best}{score}{end}": value for end, value in found})
    for row, part in final.groupby(KEYS, sort=False):
        rows[row] |= {"called": part["called"].iloc[0], "date": frames.days(part),
                      "seeds": part["seed"].nunique(),
                      "null_seeds": part.loc[part["value"].isna(), "seed"].nunique()}
    table = pd.DataFrame([dict(zip(KEYS, row, strict=True)) | found for row, found in rows.items()], columns=columns)
    comparable, paper = (table["data"] != "sample") & (table["departs"] == ""), paper_table(TABLES[split][1])
    for score in SCORE_COLUMNS:
        table[f"paper_{score}"] = table["name"].map(paper[score]).where(comparable).astype(float)
    return table.sort_values("overall", ascending=False, na_position="last", kind="stable").reset_index(drop=True)


def _final(runs: pd.DataFrame, split: str) -> pd.DataFrame:
    """The scores of finished runs on a whole split. An experiment that was run twice with one seed counts once."""
    final = scores_on(runs[runs["state"] == "done"], [TABLES[split][0]])
    final = final.assign(score=final["task"].astype(object).replace("all", "overall"))
    final = final.assign(called=own_labels(final))  # before twins are left out, whose label may be another one
    final = fill_missing(final).dropna(subset=["step"]).drop_duplicates(["run", "step", "score"])
    return final[final["run"] == final.groupby([*KEYS, "seed"])["run"].transform("min")]


def paper_table(name: str) -> pd.DataFrame:
    """The paper's "table1" (dev) or "table2" (test), with recipes as the index."""
    return pd.read_csv(checkout() / "data" / "paper" / f"{name}.csv", index_col="recipe")


def overfitting(runs: pd.DataFrame) -> pd.DataFrame:
    """What was lost by training beyond the best epoch: a row for each recipe, means over seeds.

    best_epoch, on dev; dev_best, dev_last and their difference, lost; train_last, all of the overall score; gap, train
    minus dev at the last epoch, of overall and of each task. The scores are those after every epoch, on parts of train
    and of dev.
    """
    rows, none = [], (float("nan"),) * 3
    for recipe, part in frames.ended(labelled(scores_on(runs, ["train", "dev"]), distinct_runs(runs))).groupby("label"):
        found = {key: best_epoch(scores) for key, scores in part.groupby(["split", "task"], observed=True)}
        best, at_best, at_last = found.get(("dev", "all"), none)
        gaps = {task: found.get(("train", task), none)[2] - found.get(("dev", task), none)[2]
                for task in ("all", *TASKS)}
        rows.append({"recipe": recipe, "seeds": part["seed"].nunique(), "best_epoch": best, "dev_best": at_best,
                     "dev_last": at_last, "lost": at_best - at_last, "train_last": found.get(("train", "all"), none)[2],
                     "gap": gaps["all"], **{f"gap_{task}": gaps[task] for task in TASKS}})
    return pd.DataFrame(rows, columns=["recipe", "seeds", "best_epoch", "dev_best", "dev_last", "lost", "train_last",
                                       "gap", *(f"gap_{task}" for task in TASKS)])


def missing(table: pd.DataFrame) -> list[str]:
    """Which of the thirteen recipes have no row with their own settings in a leaderboard."""
    there = set(table.loc[table["departs"] == "", "name"])
    return [recipe for recipe in paper_table("table1").index if recipe not in there]


def verdicts(runs: pd.DataFrame, reference: str = "baseline") -> tuple[pd.DataFrame, str]:
    """Whether the overall score (last epoch) of a recipe differs from the reference's over seeds, and a sentence on it.

    runs: they share data, encoder and protocol. The frame is that of `significance.compare`, and has the recipes that
    train the heads alone, or other tasks, as not compared: their seeds spread otherwise, and `compare` takes all rows
    to spread alike. (A head that nothing trains answers at random.) Where there is nothing to compare, or too few
    seeds, it is empty, and the sentence says why or is empty too.
    """
    final, none = _last_overall(runs), pd.DataFrame()
    table = pd.DataFrame({"recipe": line_labels(final), "seed": final["seed"], "value": final["value"],
                          "trains": final["settings"].map(_trains)})
    table = table.drop_duplicates(["recipe", "seed"])  # runs may differ in `departs` alone
    if "smoke" in set(final["protocol"]) or table["recipe"].nunique() < 2:
        return none, ""
    if reference not in set(table["recipe"]):
        return none, f"no verdict: no recipe here has the name {reference} without other settings, to compare with"
    alike = table["trains"].isin(set(table.loc[table["recipe"] == reference, "trains"]))
    apart, table = table[~alike], table[alike]
    if table["recipe"].nunique() < 2:
        return none, f"no verdict: no other recipe here trains the same parts and tasks as {reference}"
    found = compare(table, reference)
    if not found["low"].notna().any():
        return none, f"no verdict against {reference}: that takes 3 seeds of each recipe (lab ablate --seeds 3)"
    if len(apart):
        others = apart.groupby("recipe", as_index=False).agg(
            mean=("value", lambda of: of.mean(skipna=False)), seeds=("value", "count"), trains=("trains", "first"))
        same_tasks = others.pop("trains").str[1] == table["trains"].iloc[0][1]
        others = others.assign(used=0, verdict=same_tasks.map({
            True: "trains other parts: not compared", False: "trains other tasks: not compared"}))
        found = pd.concat([found, others]).sort_values(["mean", "recipe"], ascending=[False, True], ignore_index=True)
    told, note = found[found["low"].notna()], power_line(table, reference)
    if len({(table["recipe"] == reference).sum(), *told["seeds"], *told["used"]}) > 1:
        note += (" Not all have the same seeds, and a difference takes the effect of each seed into account, so it "
                 "need not be that of the means above.")
    return found, note


def _trains(settings: str) -> tuple:
    """What a run trains, from its settings: its parts, all or the heads, and its tasks."""
    made = settings_of(settings)
    return made.get("trains"), tuple(made.get("tasks", ()))


def claims(runs: pd.DataFrame) -> pd.DataFrame:
    """The contrasts that were planned before the runs were trained (`lab.results.plan`), by the overall score.

    runs: they share data, encoder and protocol. Only runs with the settings of their recipe at that protocol count.
    paper: the difference in the paper's Table 1, of one run each. Empty on the sample, at its protocol and `smoke`, and
    where no contrast has a seed in common.
    """
    final, written, theirs = _last_overall(runs), plan(), paper_table("table1")["overall"]
    final = final[(final["data"] != "sample") & final["protocol"].isin(["laptop", "paper"])]
    as_planned = [is_planned(*made) for made in zip(final["settings"], final["protocol"], strict=True)]
    final = final[np.array(as_planned, dtype=bool)]
    table = pd.DataFrame({"recipe": final["name"], "seed": final["seed"], "value": final["value"]})
    table = table.drop_duplicates(["recipe", "seed"])  # runs may differ in what changes no score
    found = planned(table, written["contrasts"], written["margin"], written["level"])
    found.insert(3, "paper", theirs.reindex(found["a"]).to_numpy() - theirs.reindex(found["b"]).to_numpy())
    return found if found["seeds"].any() else found[:0]


def _last_overall(runs: pd.DataFrame) -> pd.DataFrame:
    """The overall score on all of dev after the last epoch: a row for each run."""
    final = last_rows(_final(runs, "dev"))
    return final[final["score"] == "overall"]


def blocks(runs: pd.DataFrame) -> Iterator[Block]:
    """The finished runs in blocks, the block with the best row first."""
    runs = fill_missing(runs[runs["state"] == "done"])
    for key, dev in leaderboard(runs).groupby(ALIKE, sort=False):
        part = runs[(runs[ALIKE] == list(key)).all(axis=1)]
        yield Block(provenance(part), part, dev, leaderboard(part, "test"), *verdicts(part), claims(part), notes(dev),
                    floors(part), floors(part, "test"))


def cells(table: pd.DataFrame, spread: Sequence[str] = SCORE_COLUMNS,
          beside: pd.DataFrame | None = None) -> pd.DataFrame:
    """A leaderboard for readers: texts, with the columns in groups; the scores in `spread` have their ±.

    beside: `frames.floors` of the same runs, which become the last rows.
    """
    shown = {("", "recipe"): line_labels(table), ("", "seeds"): table["seeds"].astype(str)}
    for group, best in (("last epoch", ""), ("best on dev", "best_")):
        for score in SCORE_COLUMNS:
            shown[group, score] = [_cell(row, best, score, score in spread) for _, row in table.iterrows()]
    if table[[f"paper_{score}" for score in SCORE_COLUMNS]].notna().any(axis=None):
        for score in SCORE_COLUMNS:
            shown["the paper", score] = [f"{v:.3f}" if v == v else "-" for v in table[f"paper_{score}"]]
    shown = pd.DataFrame(shown)
    if beside is None or beside.empty:
        return shown
    last = pd.DataFrame({("", "recipe"): beside["floor"], ("", "seeds"): "-", **{
        ("last epoch", score): [f"{v:.3f}" if v == v else "n/a" for v in beside[score]] for score in SCORE_COLUMNS}})
    return pd.concat([shown, last], ignore_index=True)[shown.columns].fillna("")


def _cell(row: pd.Series, best: str, score: str, spread: bool) -> str:
    mean, high = row[f"{best}{score}"], row[f"{best}{score}_high"]
    if mean != mean:
        nulls = f" ({row['null_seeds']} of {row['seeds']} seeds)"
        return "n/a" + (nulls if row["null_seeds"] and score == "overall" else "")
    if not (spread and high - mean > ROUNDING):
        return f"{mean:.3f}"
    digits = decimals(mean, 2 * mean - high, high)
    return f"{mean:.{digits}f} ±{high - mean:.{digits}f}"


def verdict_cells(found: pd.DataFrame) -> pd.DataFrame:
    """The frame of `verdicts` for readers: texts."""
    shown = found[["recipe", "used", "difference", "low", "high", "p", "verdict"]].rename(columns={"used": "seeds"})
    cells = [with_interval(*row) for row in shown[["difference", "low", "high"]].itertuples(index=False)]
    texts = {c: [cell[i].replace("nan", "") for cell in cells] for i, c in enumerate(("difference", "low", "high"))}
    texts["p"] = ["<0.001" if p < .001 else f"{p:.3f}" if p == p else "" for p in shown["p"]]
    return shown.assign(**texts).astype(str)


MARKDOWN_TITLE = "# minBERT lab"
VERDICTS = "overall, against {}, with simultaneous 95 % intervals over seeds"


def as_text(runs: pd.DataFrame) -> str:
    """Tables 1 and 2 for a terminal: a block for each combination of data, encoder and protocol."""
    texts = []
    for block in blocks(runs):
        dev, data = block.dev, block.dev.iloc[0]
        lines = [block.provenance + f" · fingerprint: {data['fingerprint']}", "Table 1, dev:",
                 _columns(dev, block.floors)]
        lines += [textwrap.fill(f"{FLOORS_NOTE}.", 120)] if len(block.floors) else []
        lines += [textwrap.fill(f"! {note}", 120, subsequent_indent="  ") for note in block.notes]
        lines += [f"not here: {', '.join(gone)}"] if (gone := missing(dev)) else []
        if len(block.verdicts):
            lines += [f"{VERDICTS.format('baseline')}:", verdict_cells(block.verdicts).to_string(index=False)]
        lines += [textwrap.fill(block.verdict_note, 120)] if block.verdict_note else []
        if len(block.claims):
            lines += [textwrap.fill(f"{CLAIMS}:", 120),
                      claim_cells(block.claims).drop(columns="claim").to_string(index=False)]
        if len(block.test):
            lines += ["Table 2, test:", _columns(block.test, block.test_floors),
                      *(f"! {note}" for note in test_notes(block.test))]
        texts.append("\n".join(lines) + "\n")
    if not texts:
        return "no finished runs yet; `lab train baseline` makes one"
    texts.append(textwrap.fill(LEGEND.replace("±: a", "± (here for overall only): a"), 120))
    return printable("\n".join(texts))


def _columns(table: pd.DataFrame, beside: pd.DataFrame) -> str:
    return cells(table, ["overall"], beside).to_string(index=False)


def as_csv(runs: pd.DataFrame) -> str:
    """Both tables and the floors, with what each row was made from; texts that look like formulas are escaped."""
    both = [leaderboard(runs, split).assign(table=name) for split, name in (("dev", "1 (dev)"), ("test", "2 (test)"))]
    for block in blocks(runs):  # after the rows of all recipes, what no training gives beside them
        alike = dict(zip(ALIKE, block.dev[ALIKE].iloc[0], strict=True))
        both += [part.drop(columns="pooling").rename(columns={"floor": "name"}).assign(table=name, **alike)
                 for part, name in ((block.floors, "1 (dev)"), (block.test_floors, "2 (test)"))]
    table = pd.concat([part for part in both if len(part)] or both)
    table.insert(0, "table", table.pop("table"))
    return table.map(lambda value: no_formula(value) if isinstance(value, str) else value).to_csv(index=False)


def as_markdown(runs: pd.DataFrame) -> str:
    """Both tables and the verdicts, under what they were made from."""
    lines = [MARKDOWN_TITLE, ""]
    for block in blocks(runs):
        lines += [f"## {_inert(block.provenance)}", "", *(f"- {_inert(note)}" for note in block.notes), "",
                  "Table 1, dev", "", *_markdown(cells(block.dev, beside=block.floors)), ""]
        lines += [f"{FLOORS_NOTE}.", ""] if len(block.floors) else []
        lines += [f"Not here: {', '.join(gone)}", ""] if (gone := missing(block.dev)) else []
        if len(block.verdicts):
            lines += [f"Verdicts: {VERDICTS.format('baseline')}", "", *_markdown(verdict_cells(block.verdicts)), ""]
        lines += [_inert(block.verdict_note), ""] if block.verdict_note else []
        if len(block.claims):
            lines += [f"{CLAIMS}.", "", *_markdown(claim_cells(block.claims)), ""]
        if len(block.test):
            lines += ["Table 2, test", "", *_markdown(cells(block.test, beside=block.test_floors)), "",
                      *(f"- {_inert(note)}" for note in test_notes(block.test)), ""]
    return "\n".join([*lines, LEGEND, ""])


def _markdown(table: pd.DataFrame) -> list[str]:
    header = [" ".join(filter(None, c)) if isinstance(c, tuple) else c for c in table.columns]
    rows = [header, ["---"] * len(header), *table.itertuples(index=False)]
    return ["| " + " | ".join(text if row is rows[1] else _inert(text) for text in row) + " |" for row in rows]


def _inert(text: str) -> str:
    """A text from a file, escaped for Markdown: it cannot end a cell or make HTML, a link or a picture."""
    for character in "\\`*[]|!":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").split())
