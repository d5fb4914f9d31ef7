"""The planned contrasts: what was to be tested, written down before the runs, and what came of it.

`data/plan.json` names pairs of recipes, each with the claim of the paper that it tests. Each pair is compared on the
seeds that both have (Student's t of the paired differences). Whether a difference is too small to matter is tested as
well, by two one-sided tests (Schuirmann 1987): that no difference was shown does not mean that there is none. Both
tests of all contrasts are one family, whose p-values are adjusted by Holm's method (1979), so that the probability of
one false verdict or more, of either kind, is at most 1 - level.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import nan
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from lab.data import checkout
from lab.errors import LabError, nearest
from lab.results.significance import FEWEST_SEEDS, half_width, seeds_needed
from lab.results.words import ROUNDING, between
from lab.runs.labels import BESIDE

if TYPE_CHECKING:
    from lab.experiment import Experiment

CLAIMS = ("Claims, written down in data/plan.json before the runs (the first of gse had begun): the difference of the "
          "overall scores (last epoch, dev) over the seeds that both recipes have, with its own 95 % interval, beside "
          "the paper's, of one run each; verdicts that are adjusted for all of these contrasts (Holm). The number of "
          "seeds is an estimate of what would show a difference of the size seen, or of .005, with a probability of .8")
COLUMNS = ["a", "b", "claim", "seeds", "difference", "low", "high", "p", "p_equal", "verdict"]


def plan() -> dict[str, Any]:
    """The plan that ships with the lab: protocol, encoder, margin, level, seeds of each recipe, contrasts."""
    return json.loads((checkout() / "data" / "plan.json").read_text(encoding="utf-8"))


def planned_runs(protocol: str | None = None) -> "list[Experiment]":
    """Every run of the plan: the first seed of all recipes, then the second of those that have two, and so on.

    protocol: another than the plan's own. The first seed is the recipes' default. LabError: no such protocol.
    """
    from lab.experiment import KNOWN, PROTOCOLS

    written = plan()
    protocol = written["protocol"] if protocol is None else protocol
    if protocol not in PROTOCOLS:
        raise nearest(protocol, PROTOCOLS, "protocol")
    scaled = PROTOCOLS[protocol]
    seeds = written["seeds"]
    rows = {name: replace(scaled(KNOWN[name]), encoder=written["encoder"]) for name in seeds}
    return [replace(rows[name], seed=rows[name].seed + number) for number in range(max(seeds.values()))
            for name, count in seeds.items() if number < count]


def is_planned(settings: str, protocol: str) -> bool:
    """Whether a run's settings, in JSON, are those of its recipe at this protocol, with the plan's encoder.

    The seed may be any, and so may what changes neither a training nor its scores on dev and test.
    """
    from lab.experiment import KNOWN, PROTOCOLS, Experiment  # brings torch, which tables do without

    try:
        made = Experiment.from_json(settings)
    except LabError:
        return False
    if made.name not in KNOWN:
        return False
    recipe = replace(PROTOCOLS[protocol](KNOWN[made.name]), encoder=plan()["encoder"])
    return recipe == replace(made, **{field: getattr(recipe, field) for field in ("seed", *BESIDE)})


def planned(table: pd.DataFrame, contrasts: Sequence[Mapping[str, str]], margin: float = .005,
            level: float = .95) -> pd.DataFrame:
    """Each contrast, a minus b over the seeds that both have: a row with its interval and verdict.

    table: a row for each run, with columns recipe, seed, value. low, high: the interval of this contrast alone. p, and
    p_equal, of the two one-sided tests that the difference is smaller than `margin`, are adjusted together, for all
    contrasts that have them. verdict: "differs", "differs by less than <margin>", both, or "cannot be told" and the
    seeds it would take, with a probability of .8, to show a difference of the size seen, or of the margin if that is
    larger.
    A run without a score (null, since its predictions are constant) is a result: where one of the seeds has such a run,
    there is no difference, and the verdict says so. The other seeds alone would flatter the recipe.
    """
    table = table.assign(value=table["value"].astype(float).replace([np.inf, -np.inf], np.nan))
    runs = {name: of.set_index("seed")["value"] for name, of in table.groupby("recipe", observed=True)}
    rows = []
    for contrast in contrasts:
        a, b = (runs.get(contrast[side], pd.Series(dtype=float)) for side in "ab")
        common = a.index.intersection(b.index)
        a, b = a[common], b[common]
        null = {contrast[side]: int(of.isna().sum()) for side, of in (("a", a), ("b", b)) if of.isna().any()}
        rows.append({**contrast, **_paired((a - b).to_numpy(), margin, level), "null": null})
    found = pd.DataFrame(rows)
    found[["p", "p_equal"]] = adjusted_together(found[["p", "p_equal"]].to_numpy())
    compared = max(1, int(found["p"].notna().sum()))
    found["verdict"] = [_verdict(row, margin, level, compared) for row in found.itertuples()]
    return found[COLUMNS]


def _paired(d: np.ndarray, margin: float, level: float) -> dict[str, float]:
    """Student's t of paired differences d (S,): mean, interval, p, and the larger p of the two one-sided tests."""
    nothing = dict.fromkeys(("low", "high", "p", "p_equal", "sd"), np.nan)
    difference = float(d.mean()) if d.size else np.nan
    spread = np.ptp(d) if d.size else 0  # coarse scores may be equal by chance: p would be 0. nan: a null score
    if d.size < FEWEST_SEEDS or not spread > ROUNDING:
        return {"seeds": d.size, "difference": difference, **nothing}
    sd, df = float(d.std(ddof=1)), d.size - 1
    half, error = float(half_width(sd, d.size, level)), sd / np.sqrt(d.size)
    # t = mean / error;   equivalence: mean < margin and mean > -margin, each one-sided
    return {"seeds": d.size, "difference": difference, "low": difference - half, "high": difference + half,
            "p": float(2 * stats.t.sf(abs(difference) / error, df)),
            "p_equal": float(stats.t.sf((margin - abs(difference)) / error, df)), "sd": sd}


def adjusted_together(p: np.ndarray) -> np.ndarray:
    """Adjusted p-values (contrasts, 2) of p and p_equal, by Holm's method over all of them; nan stays nan.

    A contrast's two hypotheses, no difference and one of the margin or more, cannot both be true. So p is multiplied
    not by how many hypotheses are left to reject, but by how many contrasts have one left (Shaffer 1986). To adjust
    each column by itself would allow one false verdict or more with twice the probability.
    """
    adjusted, left, largest = np.full(p.shape, np.nan), (~np.isnan(p)).sum(axis=1), 0.0
    for place in np.argsort(p, axis=None, kind="stable")[:left.sum()]:  # nan is last
        contrast = place // p.shape[1]
        largest = max(largest, min(1.0, int((left > 0).sum()) * p.flat[place]))
        adjusted.flat[place] = largest
        left[contrast] -= 1
    return adjusted


def _verdict(row: Any, margin: float, level: float, compared: int) -> str:
    small = f"differs by less than {margin:g}"
    if row.null:
        runs = ", ".join(f"{n} run{'s' * (n != 1)} of {name}" for name, n in row.null.items())
        return f"cannot be told: {runs} without a score"
    if np.isnan(row.p):
        common = f"{row.seeds} seed{'s' * (row.seeds != 1)} in common"
        why = "no spread over seeds" if row.seeds >= FEWEST_SEEDS else common
        return f"cannot be told: {why}"
    if row.p_equal <= 1 - level:
        return small if row.p > 1 - level else f"differs, by less than {margin:g}"
    if row.p <= 1 - level:
        return "differs"
    size = max(abs(row.difference), margin)
    needed = seeds_needed(row.sd / np.sqrt(2), size, level=1 - (1 - level) / compared)
    return f"cannot be told; it would take {max(needed, row.seeds + 1)} seeds"


def claim_cells(found: pd.DataFrame) -> pd.DataFrame:
    """The frame of `planned`, with the paper's difference, for readers: texts."""
    differences = [between(row.difference, row.low, row.high) if row.seeds else "" for row in found.itertuples()]
    theirs = [between(paper, nan, nan) for paper in found["paper"]]
    return pd.DataFrame({"claim": found["claim"], "contrast": found["a"] + " - " + found["b"], "the paper": theirs,
                         "seeds": found["seeds"], "difference": differences, "verdict": found["verdict"]}).astype(str)
