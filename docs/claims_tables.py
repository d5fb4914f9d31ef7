"""The tables and the picture of docs/claims.md: the paper's claims on the records that ship with the lab."""

import re
from collections.abc import Iterable

import numpy as np
import pandas as pd
from forest import Line, forest
from scipy import stats

from lab.data import TASK_NAMES, TASKS
from lab.results.plan import plan
from lab.results.significance import FEWEST_SEEDS, interval
from lab.results.tables import claims, overfitting, paper_table, verdicts
from lab.results.words import between
from lab.runs.frames import last_rows, scores_on

TICKS = (-0.06, -0.04, -0.02, 0.0, 0.02, 0.04, 0.06)
BLUE, GREY = "#0072b2", "#888"
EPOCHS = (1, 2, 5, 10)
LONGER = tuple((f"{name}_3x", name) for name in ("gse", "cosine_2d1", "smart"))
CONTROLS = (("mean", "gradient_surgery"), ("fairgrad", "gradient_surgery"), ("smart_gse", "gse"),
            ("smart_gse", "smart"), ("smart_ball", "smart_no_noise"), ("smart_no_dropout", "smart"),
            *((f"{task}_alone", "multitask") for task in TASKS))
HEADS = ("cosine_embedding", "cosine_d", "cosine_2d1", "cosine_2d1_mean")


def regions(runs: pd.DataFrame, compared: pd.DataFrame) -> dict[str, list[str]]:
    """The tables, by the names of their regions on the page. runs: finished, and none that departs from its recipe.
    compared: the tests on examples, of data/runs/compared.csv."""
    planned = [(of["a"], of["b"]) for of in plan()["contrasts"]]
    return {"claims: contrasts": contrasts(runs), "claims: tasks": by_task(runs, planned),
            "claims: controls": by_task(runs, CONTROLS), "claims: longer": by_task(runs, LONGER),
            "claims: overfitting": fitted(runs), "claims: heads": heads(runs), "claims: standing": standing_still(runs),
            "claims: updates": equal_updates(runs), "claims: examples": by_example(compared),
            "claims: seeds": seeds_as_blocks(runs), "claims: growth": growth(runs),
            "claims: smart": smart_by_task(runs)}


def contrasts(runs: pd.DataFrame) -> list[str]:
    """The planned contrasts: the claim, the paper's difference, the lab's with its interval, the verdict."""
    lines = ["| claim | contrast | the paper | here, 95 % interval | seeds | verdict |", "|---" * 6 + "|"]
    for row in claims(runs).itertuples():
        claim = re.sub(r" \(\.\d+ to \.\d+\)", "", row.claim)  # the next columns have these numbers as a difference
        lines.append(f"| {claim} | {row.a} - {row.b} | {_signed(row.paper)} "
                     f"| {between(row.difference, row.low, row.high)} | {row.seeds} | {row.verdict} |")
    return lines


def by_task(runs: pd.DataFrame, pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Pairs of recipes by task and overall: means over the seeds in common, with the interval of each by itself."""
    lines = ["| contrast | SST accuracy | QQP accuracy | STS Pearson | overall |", "|---|---|---|---|---|"]
    for pair in pairs:
        cells = []
        for task in (*TASKS, "all"):
            d = _paired(runs, *pair, task)
            cells.append(f"no r with {d.isna().sum()} of {len(d)} seeds" if d.isna().any() else
                         between(*interval(d)) if len(d) >= FEWEST_SEEDS else between(d.mean(), np.nan, np.nan))
        if any(cells):
            lines.append(f"| {' - '.join(pair)} | {' | '.join(cells)} |")
    return lines


def growth(runs: pd.DataFrame) -> list[str]:
    """The planned contrasts with more than 5 seeds: their overall difference when they had 3, 5 and all of them."""
    lines = ["| contrast | first 3 seeds | first 5 | all | seeds |", "|---|---|---|---|---|"]
    for of in plan()["contrasts"]:
        d = _paired(runs, of["a"], of["b"], "all").to_numpy()
        if len(d) > 5 and np.isfinite(d).all():
            cells = [between(*interval(d[:n])) for n in (3, 5, len(d))]
            lines.append(f"| {of['a']} - {of['b']} | {' | '.join(cells)} | {len(d)} |")
    return lines


def smart_by_task(runs: pd.DataFrame) -> list[str]:
    """What the paper says of SMART by task: the paired t test of each task, adjusted for the three (Holm 1979).

    The lab planned the contrast with `multitask`, which makes as many steps; the paper's sentence is about `baseline`.
    """
    lines = ["| against | task | the paper | here | seeds | p | p, adjusted |", "|---" * 7 + "|"]
    paper = paper_table("table1")
    for other in ("multitask", "baseline"):
        found = {task: _paired(runs, "smart", other, task) for task in TASKS}
        p = pd.Series({task: stats.ttest_1samp(d, 0).pvalue for task, d in found.items()}).sort_values()
        adjusted = (p * np.arange(len(p), 0, -1)).cummax().clip(upper=1)
        for task, d in found.items():
            theirs = paper.loc["smart", task] - paper.loc[other, task]
            lines.append(f"| {other} | {TASK_NAMES[task]} | {_signed(theirs)} | {between(*interval(d))} | {len(d)} "
                         f"| {p[task]:.2g} | {adjusted[task]:.2g} |")
    return lines


def _paired(runs: pd.DataFrame, a: str, b: str, task: str) -> pd.Series:
    """Score of a minus score of b on dev after the last epoch, by the seeds that both have, in their order."""
    final = last_rows(scores_on(runs[runs["name"].isin([a, b])], ["dev_full"]))
    wide = final[final["task"] == task].pivot(index="seed", columns="name", values="value").reindex(columns=[a, b])
    both = final[final["task"] == task].groupby("seed")["name"].nunique() == 2
    return (wide[a] - wide[b])[both].sort_index()


def seeds_as_blocks(runs: pd.DataFrame) -> list[str]:
    """Two assumptions of `significance.compare` on the runs that it compares: seeds matter, recipes spread alike."""
    found, _ = verdicts(runs)
    names = {"baseline", *found.loc[found["low"].notna(), "recipe"]}
    final = last_rows(scores_on(runs, ["dev_full"]))
    final = final[(final["task"] == "all") & final["name"].isin(names)]
    recipes, seeds = (pd.get_dummies(final[column]).to_numpy(float) for column in ("name", "seed"))
    y, n, (R, S) = final["value"].to_numpy(), len(final), (recipes.shape[1], seeds.shape[1])
    left = [y - X @ np.linalg.lstsq(X, y)[0] for X in (recipes, np.hstack([recipes, seeds]))]
    one, both = (float(residual @ residual) for residual in left)
    df = n - R - S + 1
    F = (one - both) / (S - 1) / (both / df)
    spread = final.groupby("name")["value"].std().sort_values()
    alike = stats.bartlett(*(part for _, part in final.groupby("name")["value"])).pvalue
    return ["| overall score, by | residual sd | test |", "|---" * 3 + "|",
            f"| recipe ({R} recipes, {n} runs) | {np.sqrt(one / (n - R)):.4f} | |",
            f"| recipe and seed | {np.sqrt(both / df):.4f} | seeds do not matter: F({S - 1}, {df}) = {F:.1f}, "
            f"p = {stats.f.sf(F, S - 1, df):.2g} |",
            f"| recipe, an sd for each | {spread.iloc[0]:.4f} ({spread.index[0]}) to {spread.iloc[-1]:.4f} "
            f"({spread.index[-1]}) | recipes spread alike: Bartlett's p = {alike:.2g} |"]


def by_example(compared: pd.DataFrame) -> list[str]:
    """Each pair of runs on the same examples of dev: in how many pairs the first is better or worse (bootstrap)."""
    lines = [f"| contrast | pairs of runs | {' | '.join(TASK_NAMES[task] for task in TASKS)} |", "|---" * 5 + "|"]
    tests = compared[compared["test"] == "paired bootstrap"]
    for contrast in (f"{c['a']} - {c['b']}" for c in plan()["contrasts"]):
        part, cells = tests[tests["contrast"] == contrast], []
        for task in TASKS:
            verdicts = part.loc[part["task"] == task, "verdict"]
            counts = [f"{word} in {n}" for word in ("better", "worse") if (n := int((verdicts == word).sum()))]
            cells.append(", ".join(counts) or "no difference shown")
        if len(part):
            lines.append(f"| {contrast} | {part['seed'].nunique()} | {' | '.join(cells)} |")
    return lines


def fitted(runs: pd.DataFrame) -> list[str]:
    """What was learnt by heart: train and dev at the last epoch, and what training beyond the best epoch cost."""
    lines = ["| recipe | seeds | best epoch | lost after it | train, last | dev, last | gap: SST, QQP, STS |",
             "|---|---|---|---|---|---|---|"]
    for row in overfitting(runs).sort_values("gap", ascending=False).itertuples():
        gaps = ", ".join(f"{getattr(row, f'gap_{task}'):+.2f}" for task in TASKS)
        lines.append(f"| {row.recipe} | {row.seeds} | {row.best_epoch:.1f} | {row.lost:.3f} | {row.train_last:.3f} "
                     f"| {row.dev_last:.3f} | {gaps} |")
    return [re.sub(r"\+?nan\b", "n/a", line) for line in lines]


def heads(runs: pd.DataFrame) -> list[str]:
    """STS over training for each similarity head: Pearson on train and dev, means over the seeds that have both."""
    found = scores_on(runs, ["train", "dev"])
    found = found[(found["task"] == "sts") & found["name"].isin(HEADS)].astype({"name": str, "split": str})
    seeds = found.groupby("name")["seed"].nunique()
    found = found[found.groupby(["run", "epoch"], observed=True)["value"].transform(lambda r: r.notna().all())]
    table = found.groupby(["name", "split", "epoch"])["value"].agg(["mean", "count"])
    epochs = [epoch for epoch in EPOCHS if epoch in table.index.levels[2]]

    def cell(name: str, epoch: int) -> str:
        has, of = int(table.loc[(name, "dev", epoch), "count"]), int(seeds[name])
        return (", ".join(f"{table.loc[(name, split, epoch), 'mean']:.3f}" for split in ("train", "dev"))
                + f" ({has} of {of} seeds)" * (has < of))

    lines = [f"| head | {' | '.join(f'epoch {epoch}: train, dev' for epoch in epochs)} |",
             "|---" * (len(epochs) + 1) + "|"]
    return lines + [f"| {name} | {' | '.join(cell(name, epoch) for epoch in epochs)} |" for name in seeds.index]


def standing_still(runs: pd.DataFrame) -> list[str]:
    """Each run of cosine_d: its squared error on training pairs over the epochs, and its scores on dev at the end."""
    lines = [f"| seed | {' | '.join(f'epoch {epoch}' for epoch in EPOCHS)} | STS Pearson | SST accuracy |",
             "|---" * (len(EPOCHS) + 3) + "|"]
    of = runs[runs["name"] == "cosine_d"]
    for seed, run in of.groupby("seed"):
        loss = run[(run["split"] == "train") & (run["task"] == "sts") & (run["metric"] == "loss")].set_index("epoch")
        last = scores_on(run[run["step"] == run["step"].max()], ["dev_full"]).set_index("task")["value"]
        errors = " | ".join(f"{loss.loc[epoch, 'value']:.2f}" for epoch in EPOCHS)
        lines.append(f"| {seed} | {errors} | {'none' if np.isnan(last['sts']) else format(last['sts'], '.3f')} "
                     f"| {last['sst']:.3f} |")
    return lines


def equal_updates(runs: pd.DataFrame) -> list[str]:
    """Each 3x recipe beside the one that it prolongs, on the seeds of both: overall on dev, after the same updates and
    last."""
    found = scores_on(runs, ["dev"])
    found = found[found["task"] == "all"].astype({"name": str})
    lines = ["| recipe | seeds | iterations | overall | three times as long | overall after as many | overall, last |",
             "|---" * 7 + "|"]
    for name in ("gse", "cosine_2d1", "smart"):
        both = [found[found["name"] == n] for n in (name, f"{name}_3x")]
        seeds = set(both[0]["seed"]) & set(both[1]["seed"])
        short, long = (of[of["seed"].isin(seeds)].groupby("step")["value"].mean() for of in both)
        if len(short) and len(long):
            end = short.index.max()  # no epoch of the longer one ends there: between the two that are nearest
            lines.append(f"| {name} | {len(seeds)} | {end:.0f} | {short[end]:.3f} | {name}_3x | "
                         f"{np.interp(end, long.index, long.to_numpy()):.3f} | {long.iloc[-1]:.3f} |")
    return lines


def drawn(runs: pd.DataFrame) -> str:
    """A line for each contrast, the paper's difference beside it, and a band for those too small to matter."""
    lines = []
    for row in claims(runs).itertuples():
        colour = GREY if row.verdict.startswith("cannot") else BLUE
        said = (between(row.difference, row.low, row.high) + f", {_verdict(row)}").lstrip(", ")
        lines.append(Line(f"{row.a} - {row.b}", row.difference, row.low, row.high, colour, said,
                          row.paper))
    return forest("Which of the paper's differences are real?",
                  "difference of the overall score on dev; hollow: the paper's; grey band: too small to matter",
                  lines, TICKS, right=380, band=plan()["margin"], left=250)


def _verdict(row) -> str:  # noqa: ANN001 a row of `claims`
    return row.verdict.split(";")[0] if row.low == row.low else row.verdict.removeprefix("cannot be told: ")


def _signed(value: float) -> str:
    return f"{value:+.3f}" if value == value else ""
