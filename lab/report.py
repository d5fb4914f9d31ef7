"""Records become Table 1, and one HTML file that opens without a network."""

import html
import os
from pathlib import Path

import pandas as pd

from lab.data import checkout
from lab.runs import told_apart
from lab.significance import compare, power_line

TASK_SCORES = {("sst", "accuracy"): "sst", ("qqp", "accuracy"): "qqp", ("sts", "pearson"): "sts",
               ("all", "overall"): "overall"}
ALIKE = ["data", "fingerprint", "encoder", "protocol"]  # what runs must share to stand in one table or picture
KEYS = ["name", "settings", "departs", "protocol", "encoder", "data", "fingerprint"]  # a row of the leaderboard
NOTES = {"sample": "made from the bundled sample: no number here says anything about the real data sets",
         "smoke": "protocol smoke: too short to compare recipes",
         "minilm": "MiniLM was trained on sentence pairs that include Quora's, so its QQP scores had help; its [CLS] "
                   "pooler is weak, so rows with cls pooling are handicapped"}


def leaderboard(runs: pd.DataFrame) -> pd.DataFrame:
    """Table 1 of the finished runs in `lab.load_runs()`: a row a recipe and setting, best overall first.

    Scores are means over seeds on all of dev: sst, qqp, sts, overall at the last epoch, on which nothing was selected;
    best_* at the epoch that was best on dev, as the paper reports. paper_overall is the paper's own, and stands beside
    no number made from the sample or from a changed recipe. A recipe with a null score in some seeds (null_seeds) has
    none in the mean, and ranks last.
    """
    final, keys, scores = _final(runs), KEYS, list(TASK_SCORES.values())
    columns = [*keys, "seeds", "null_seeds", *scores, *(f"best_{c}" for c in scores), "paper_overall"]
    if final.empty:
        return pd.DataFrame(columns=columns)
    steps = final.groupby("run")["step"]
    tables = {}
    for prefix, chosen in (("", final[final["step"] == steps.transform("max")]),
                           ("best_", final[final["step"] == steps.transform("min")])):
        by_run = chosen.drop_duplicates(["run", "score"]).pivot(index=[*keys, "run"], columns="score", values="value")
        by_run = by_run.reindex(columns=TASK_SCORES.values())
        tables[prefix] = by_run.groupby(level=keys, sort=False).agg(lambda s: s.mean(skipna=False)).add_prefix(prefix)
    seeds = final.groupby(keys)["seed"].nunique().rename("seeds")
    null = final.assign(null=final["seed"].where(final["value"].isna())).groupby(keys)["null"].nunique()
    table = pd.concat([seeds, null.rename("null_seeds"), *tables.values()], axis=1).reset_index()
    comparable = (table["data"] != "sample") & (table["departs"] == "")
    table["paper_overall"] = table["name"].map(paper_table("table1")["overall"]).where(comparable)
    return table.sort_values("overall", ascending=False, na_position="last").reset_index(drop=True)[columns]


def _final(runs: pd.DataFrame) -> pd.DataFrame:
    """The scores of finished runs on all of dev. The same experiment run twice is the same run: a seed counts once."""
    final = runs[(runs["split"] == "dev_full") & (runs["state"] == "done")]
    final = final.assign(score=[TASK_SCORES.get(key) for key in zip(final["task"], final["metric"], strict=True)])
    final = final.dropna(subset="score")
    return final[final["run"] == final.groupby([*KEYS, "seed"])["run"].transform("min")]


def verdicts(runs: pd.DataFrame, reference: str = "baseline") -> str:
    """Whether any recipe's overall score (last epoch) differs from the reference's over seeds, as text for people.

    `runs`: alike in data, encoder and protocol. Where there is nothing to compare with, or too few seeds, it says so.
    """
    final = _final(runs)
    final = final[(final["score"] == "overall") & (final["step"] == final.groupby("run")["step"].transform("max"))]
    table = pd.DataFrame({"recipe": told_apart(final), "seed": final["seed"], "value": final["value"]})
    if "smoke" in set(final["protocol"]) or reference not in set(table["recipe"]) or table["recipe"].nunique() < 2:
        return ""
    found = compare(table, reference)
    if not found["low"].notna().any():
        return f"no verdict against {reference} below 3 seeds a recipe; `lab ablate ... --seeds 5` makes more\n"
    shown = found[["recipe", "used", "difference", "low", "high", "p", "verdict"]]
    body = shown.to_string(index=False, na_rep="", float_format=lambda v: f"{v:.3f}")
    return (f"overall, against {reference}, with simultaneous 95 % intervals over seeds:\n{body}\n"
            f"{power_line(table, reference)}\n")


def paper_table(name: str) -> pd.DataFrame:
    """The paper's "table1" (dev) or "table2" (test), by recipe."""
    return pd.read_csv(checkout() / "data" / "paper" / f"{name}.csv", index_col="recipe")


def notes(table: pd.DataFrame) -> list[str]:
    """What a reader must know about the rows of a leaderboard."""
    found = {*table["protocol"], *table["encoder"], *(["sample"] if "sample" in set(table["data"]) else [])}
    return [note for key, note in NOTES.items() if key in found]


def as_text(table: pd.DataFrame, runs: pd.DataFrame | None = None) -> str:
    """The leaderboard for a terminal: a block for each data set, encoder and protocol that may be compared.

    With the runs that it was made from, what they let one say stands below each block.
    """
    if table.empty:
        return "no finished runs yet; `lab train baseline` makes one"
    blocks = []
    for (data, fingerprint, encoder, protocol), part in table.groupby(ALIKE, sort=False):
        shown = part[["name", "seeds", *TASK_SCORES.values(), "best_overall", "paper_overall"]]
        shown = shown.assign(name=told_apart(part))
        shown = shown.drop(columns="paper_overall") if data == "sample" else shown
        body = _with_nulls(shown, part).to_string(index=False, na_rep="n/a", float_format=lambda v: f"{v:.3f}")
        blocks.append(f"data: {data} ({fingerprint}) · encoder: {encoder} · protocol: {protocol}\n{body}\n"
                      + "".join(f"! {note}\n" for note in notes(part))
                      + ("" if runs is None else verdicts(_alike(runs, (data, fingerprint, encoder, protocol)))))
    return "\n".join(blocks) + ("\nsst, qqp: accuracy; sts: Pearson r; last epoch, all of dev (best_overall: the epoch "
                                "best on dev; paper_overall: the paper's, best epoch, bert-base)")


def _alike(runs: pd.DataFrame, values: tuple) -> pd.DataFrame:
    return runs[(runs[ALIKE] == list(values)).all(axis=1)]


def _with_nulls(shown: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """A null overall score says of how many seeds it is."""
    nulls = [f"n/a ({k} of {n} seeds)" if k else f"{v:.3f}"
             for k, n, v in zip(table["null_seeds"], table["seeds"], table["overall"], strict=True)]
    return shown.assign(overall=nulls)


def write(runs: pd.DataFrame, file: Path) -> Path:
    """Write the leaderboard and its figures as one HTML file, which needs no network."""
    from lab import figures

    table = leaderboard(runs)
    parts, script = ["<h1>minBERT lab</h1>"], True
    for (data, fingerprint, encoder, protocol), part in table.groupby(ALIKE, sort=False):
        of = _alike(runs, (data, fingerprint, encoder, protocol))
        parts.append(f"<h2>{html.escape(figures.made_from(of))}</h2>")
        parts += [f"<p><strong>{html.escape(note)}</strong></p>" for note in notes(part)]
        overfits = [figures.overfit(of, name) for name in told_apart(part)]
        for figure in (figures.leaderboard(of), figures.curves(of), *overfits):
            parts.append(figure.to_html(full_html=False, include_plotlyjs=script, config={"displaylogo": False}))
            script = False
        shown = part.drop(columns=["settings", "fingerprint", "null_seeds"]).assign(name=told_apart(part))
        parts.append(_with_nulls(shown, part).to_html(index=False, na_rep="n/a", float_format=lambda v: f"{v:.3f}"))
        parts.append(f"<pre>{html.escape(verdicts(of))}</pre>")
    style = ("body{font:16px system-ui;max-width:1200px;margin:2rem auto;padding:0 1rem} h2{font-size:1.1rem} "
             "td,th{padding:.2rem .6rem}")
    page = (f"<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
            f"<title>minBERT lab</title><style>{style}</style>{''.join(parts)}</html>")
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}.part")
    part.write_text(page, encoding="utf-8")
    return part.replace(file)
