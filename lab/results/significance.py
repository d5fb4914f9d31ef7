"""Seeds, intervals, paired tests, verdicts: which differences are larger than those between seeds.

There are two questions, which must not be mixed (Dietterich 1998, Neural Computation 10). Is this *recipe* better? That
is answered over several seeds: `interval`, `compare`, `seeds_needed`. Is this *run* better on new examples of the same
kind? That is answered by its predictions: `mcnemar` and `paired_bootstrap`; with 3 or more seeds the bootstrap is about
recipes too. Scores are fractions or Pearson's r; higher is better. S seeds, R recipes, N examples.
"""

from bisect import bisect_left
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import optimize, special, stats

from lab.errors import LabError

FEWEST_SEEDS = 3  # with fewer, an interval is too wide to be of use: Student's t is 12.7 at 2 seeds
MOST_SEEDS = 100_000


def interval(values: ArrayLike, level: float = .95) -> tuple[float, float, float]:
    """Student's t interval of one recipe over its seeds: (mean, low, high), without correction for other recipes.

    With fewer than 3 values low and high are nan. With a null (nan) value, or without values, all three are nan.
    """
    x, _ = np.asarray(values, dtype=np.float64).ravel(), _tail(level)
    if not x.size or not np.isfinite(x).all():
        return np.nan, np.nan, np.nan
    half = half_width(x.std(ddof=1), x.size, level) if x.size >= FEWEST_SEEDS else np.nan
    return float(x.mean()), float(x.mean() - half), float(x.mean() + half)


def half_width(sd: ArrayLike, seeds: ArrayLike, level: float = .95) -> np.ndarray:
    """Half the width of such intervals, from the sd over seeds (n - 1) and the number of seeds; nan below 3."""
    seeds, tail = np.asarray(seeds), _tail(level)
    # half-width = t(1 - alpha / 2; S - 1) s / sqrt(S)
    half = stats.t.isf(tail / 2, np.maximum(seeds, FEWEST_SEEDS) - 1) * np.asarray(sd) / np.sqrt(seeds)
    return np.where(seeds >= FEWEST_SEEDS, half, np.nan)


def dunnett_p(t: float, comparisons: int, df: float, correlation: float = .5) -> float:
    """The adjusted two-sided p of |t| among k comparisons with one reference (Dunnett 1955).

    correlation: of the errors of any two comparisons, at least 0 and below 1; .5 where all recipes have the same seeds.
    Integrated by the trapezoid rule, to 1e-10 and deterministic; `scipy.stats.multivariate_t` draws random numbers.
    """
    z = np.linspace(-8.5, 8.5, 81)  # the reference's own error, in standard errors
    s = np.exp(np.linspace(*np.log(stats.chi2.ppf([1e-14, 1 - 1e-14], df) / df) / 2, 121))[:, None]
    of_z, of_s = np.exp(-z**2 / 2), np.exp(df * (np.log(s) - s**2 / 2 + .5))  # of_s: s = sqrt(chi2 / df), in log s
    # 1 - p = E_s E_z [Phi((sqrt(rho) z + s |t|) / sqrt(1 - rho)) - Phi((sqrt(rho) z - s |t|) / sqrt(1 - rho))]^k
    shift, reach = np.sqrt(correlation / (1 - correlation)) * z, s * abs(t) / np.sqrt(1 - correlation)
    inside = (special.ndtr(shift + reach) - special.ndtr(shift - reach)) ** comparisons
    return float(np.clip(1 - (of_s.T @ inside @ of_z).item() / of_s.sum() / of_z.sum(), 0, 1))


@lru_cache(maxsize=256)
def dunnett_critical(comparisons: int, df: float, level: float = .95, correlation: float = .5) -> float:
    """The |t| whose adjusted p (`dunnett_p`) is 1 - level; for one comparison it is Student's t."""
    tail = _tail(level)
    bonferroni = float(stats.t.isf(tail / 2 / comparisons, df))  # Dunnett's value is never above it
    if comparisons == 1:
        return bonferroni
    return optimize.brentq(lambda t: dunnett_p(t, comparisons, df, correlation) - tail, 0, 1.01 * bonferroni)


def compare(table: pd.DataFrame, reference: str, level: float = .95) -> pd.DataFrame:
    """Every recipe against the reference, with simultaneous intervals (Dunnett 1955) in a recipe x seed model.

    table: a row for each run, with columns recipe, seed, value. Model: value = recipe + seed + residual, by least
    squares. Seeds are blocks, which need not be complete: where all recipes have the same seeds, a difference is the
    mean of the paired ones, and where one lacks a seed, the others still count it. One seed draws the same rows for all
    recipes of one scale, and in `data/runs` the blocks reduce the sd of the overall score from .0067 to .0060 (F = 3.0,
    p = .004, docs/claims.md). The residual variance is pooled, which assumes that it is equal for all recipes. A recipe
    with fewer than 3 of the reference's seeds is not compared, and its scores are not in the model.

    Returns a row for each recipe, highest mean first: mean and seeds, of all its scores; used, the seeds that it shares
    with the reference; difference, of the model; low, high, p, adjusted for all comparisons; verdict: "better",
    "worse", "no difference shown", or the reason why there is none ("" for the reference). A recipe with a null score
    has no mean and is not compared. LabError: a column or the reference is missing, or a recipe has a seed twice.
    """
    tail, (wide, nulls, model) = _tail(level), _two_way(table, reference)
    gaps, seeds = wide - wide.loc[reference], wide.count(axis=1)
    gaps.loc[nulls + nulls[reference] > 0] = np.nan
    shown = pd.DataFrame({"mean": wide.mean(axis=1).where(nulls == 0), "seeds": seeds, "used": gaps.count(axis=1),
                          "difference": gaps.mean(axis=1)})
    shown.loc[model.compared, "difference"] = model.differences
    tests = []
    for recipe, used, difference in shown[["used", "difference"]].itertuples():
        low = high = p = np.nan
        if null := next((r for r in (recipe, reference) if nulls[r]), None):
            verdict = f"{null} lacks a score in {nulls[null]} of {nulls[null] + seeds[null]} seeds: not compared"
        elif recipe == reference:
            verdict = ""
        elif recipe not in model.compared:
            verdict = f"too few seeds ({used}): points only"
        elif model.sd == 0:  # coarse scores are equal by chance: p would be 0, a false alarm
            verdict = "no spread over seeds: points only"
        else:
            # interval = difference -+ d(level; k, df) sd sqrt(v),  k = R - 1, and v = 2 / S where no score is missing
            family = len(model.compared), model.df
            error = model.sd * np.sqrt(model.factors[model.compared.index(recipe)])
            half = dunnett_critical(*family, level, model.correlation) * error
            p = dunnett_p(difference / error, *family, model.correlation)
            low, high, verdict = difference - half, difference + half, _verdict(difference, p, tail)
        tests.append((low, high, p, verdict))
    shown = shown.join(pd.DataFrame(tests, index=shown.index, columns=["low", "high", "p", "verdict"])).reset_index()
    return shown.sort_values(["mean", "recipe"], ascending=[False, True], ignore_index=True)


def seeds_needed(residual_sd: float, difference: float = .005, power: float = .8, level: float = .95,
                 comparisons: int = 1) -> int:
    """The fewest seeds, 3 or more, that show a true difference with probability `power` (noncentral t, paired test).

    residual_sd: of one score, given recipe and seed; a paired difference has sqrt(2) times that. comparisons: how many
    `compare` makes at once, all with that sd. LabError: values out of range, or more than 100,000 seeds.
    """
    if not (0 <= residual_sd < np.inf and 0 < difference < np.inf and 0 < power < 1 and comparisons >= 1):
        raise LabError(f"sd {residual_sd} (0 or more), difference {difference} and comparisons {comparisons} (above 0) "
                       f"or power {power} (between 0 and 1) is out of range")

    def power_of(seeds: int) -> float:
        # power = P(|T| > d),  T noncentral t,  df = k (S - 1),  ncp = difference sqrt(S / 2) / sd
        df = comparisons * (seeds - 1)
        d = dunnett_critical(comparisons, df, level)
        ncp = min(difference * np.sqrt(seeds / 2) / max(residual_sd, 1e-300), d + 40)  # beyond it power is 1
        return stats.nct.sf(d, df, ncp) + stats.nct.sf(d, df, -ncp)

    seeds = FEWEST_SEEDS + bisect_left(range(FEWEST_SEEDS, MOST_SEEDS + 1), power, key=power_of)
    if seeds > MOST_SEEDS:
        raise LabError(f"a difference of {difference} at sd {residual_sd} needs more than {MOST_SEEDS} seeds")
    return seeds


def power_line(table: pd.DataFrame, reference: str, difference: float = .005) -> str:
    """A sentence: how many seeds `compare` would need to show a difference. Table and errors as there."""
    *_, model = _two_way(table, reference)
    if not model.sd > 0:
        why = "there is no spread over seeds" if model.sd == 0 else f"that takes {FEWEST_SEEDS} seeds of two recipes"
        return f"How many seeds a difference of {difference:g} needs cannot be computed yet: {why}."
    n, (few, many) = len(model.compared), model.seeds
    needed, among = seeds_needed(model.sd, difference, comparisons=n), f", as one of {n} comparisons," * (n > 1)
    return (f"To show a difference of {difference:g} from {reference} with probability 0.8{among} takes {needed} seeds "
            f"(here {few}{f' to {many}' * (few < many)}; residual sd {model.sd:.2g}).")


class McNemar(NamedTuple):
    """b, c: the examples that only the first, or only the second run has right; p is two-sided."""

    b: int
    c: int
    p: float

    @property
    def smallest_p(self) -> float:
        """The p where all of the n = b + c discordant examples favour one side: 2 / 2^n, at most 1."""
        return min(1., 2 * .5 ** (self.b + self.c))

    def verdict(self, level: float = .95) -> str:
        """"better" (the first run), "worse", "no difference shown", or that there are too few examples to tell."""
        seen = f"{self.b + self.c} discordant examples"
        return _verdict(self.b - self.c, self.p, _tail(level), self.smallest_p, seen)


def mcnemar(a_correct: ArrayLike, b_correct: ArrayLike) -> McNemar:
    """McNemar's test (1947) of two runs on the same N examples, exact: his chi-square needs b + c of about 25.

    a_correct, b_correct (N,): 0 or 1. The test is about these two runs, not their recipes. LabError: lengths, values.
    """
    a, b = _paired(a_correct, b_correct, correctness=True)
    if len(a) > 1:
        raise LabError(f"McNemar's test takes one run a side, not {len(a)}; use paired_bootstrap")
    only_a, only_b = int((a > b).sum()), int((b > a).sum())
    # p = 2 P(X <= min(b, c)),  X ~ Binomial(b + c, 1/2)
    return McNemar(only_a, only_b, min(1., 2 * float(stats.binom.cdf(min(only_a, only_b), only_a + only_b, .5))))


class Bootstrap(NamedTuple):
    """First minus second, in the metric's units. dropped: resamples in which a side is constant, so without an r."""

    difference: float
    low: float
    high: float
    p: float
    smallest_p: float
    dropped: int
    verdict: str


def paired_bootstrap(a: ArrayLike, b: ArrayLike, labels: ArrayLike | None = None, metric: str = "accuracy", *,
                     rounds: int = 10_000, seed: int = 0, level: float = .95) -> Bootstrap:
    """Paired percentile bootstrap (Efron & Tibshirani 1993, ch. 13 and 15) of a minus b over examples and seeds.

    a, b: two runs (N,), or two recipes with the same S seeds (S, N): correctness, 0 or 1, for "accuracy"; predictions
    for "pearson", with labels (N,). A round draws N examples with replacement, the same for all runs, and averages the
    difference over seeds. Ours differs in the treatment of seeds: resampling 3 to 5 values gives far too narrow an
    interval, so with 3 or more seeds a round adds Student's t noise with their standard error, whose interval is on the
    wide side at 3 seeds. With fewer, the result is about these runs only. smallest_p is the larger of what the rounds
    and a sign test over the examples that differ can reach; p is not smaller than it. LabError: shapes, values, metric.
    """
    if rounds < 1 or metric not in ("accuracy", "pearson") or (metric == "pearson") != (labels is not None):
        raise LabError(f"metric {metric!r}, {rounds} rounds: valid are accuracy without labels, pearson with labels, "
                       "and 1 round or more")
    tail, rng, (a, b) = _tail(level), np.random.default_rng(seed), _paired(a, b, correctness=metric == "accuracy")
    differing, columns = int((a != b).any(axis=0).sum()), a - b
    if labels is not None:
        columns = np.vstack([_paired(labels, a[0])[0], a, b])  # (1 + 2S, N)
        columns = columns - columns.mean(axis=1, keepdims=True)  # or a far mean would swallow the variance
    # Equal examples are drawn together: N draws with replacement are one multinomial over the distinct ones.
    distinct, counts = np.unique(columns.T, axis=0, return_counts=True)
    share, size = counts / counts.sum(), 1 + 1_000_000 // len(counts)  # size: rounds at a time, about 8 MB
    by_seed = _differences(counts[None], distinct, metric)[0]  # (S,)
    drawn = (rng.multinomial(a.shape[1], share, min(size, rounds - done)) for done in range(0, rounds, size))
    d = np.concatenate([_differences(times, distinct, metric).mean(axis=1) for times in drawn])
    if len(by_seed) >= FEWEST_SEEDS:
        d += rng.standard_t(len(by_seed) - 1, rounds) * stats.sem(by_seed)
    d = d[np.isfinite(d)]
    smallest, dropped = min(1., max(2 / (len(d) + 1), 2 * .5**differing)), rounds - len(d)
    if dropped > tail * rounds:  # the remaining rounds would be a biased sample
        return Bootstrap(float(by_seed.mean()), np.nan, np.nan, np.nan, smallest, dropped,
                         f"cannot tell: {dropped} of {rounds} resamples have a constant side")
    # p = 2 min(P(d <= 0), P(d >= 0)), with one more round counted against
    p = float(np.clip(2 * (1 + min((d <= 0).sum(), (d >= 0).sum())) / (len(d) + 1), smallest, 1))
    words = _verdict(by_seed.mean(), p, tail, smallest, f"{differing} examples that differ and {rounds} rounds")
    return Bootstrap(float(by_seed.mean()), *map(float, np.quantile(d, [tail / 2, 1 - tail / 2])), p, smallest, dropped,
                     words)


def _differences(times: np.ndarray, columns: np.ndarray, metric: str) -> np.ndarray:
    """First minus second of each seed (rounds, S), from how often each example is drawn (rounds, N); nan without r."""
    if metric == "accuracy":
        return (times @ columns) / times.sum(axis=1, keepdims=True)  # the product has whole numbers, so ties are exact
    share = times / times.sum(axis=1, keepdims=True)
    mean, square = share @ columns, share @ columns**2
    covariance = share @ (columns[:, :1] * columns) - mean[:, :1] * mean
    # r = cov(label, prediction) / (sd(label) sd(prediction)); a variance as small as a rounding error counts as 0
    sd = np.sqrt(np.where(square - mean**2 > 1e-12 * square, square - mean**2, np.nan))
    first, second = np.split((covariance / sd / sd[:, :1])[:, 1:], 2, axis=1)
    return first - second


class _Model(NamedTuple):
    """value = recipe + seed + residual, of the reference and the R - 1 recipes that are compared with it."""

    compared: list[str]
    differences: np.ndarray  # (R - 1,) from the reference
    factors: np.ndarray  # (R - 1,) the variance of each is this times sd^2
    correlation: float  # the smallest of any two differences
    sd: float  # of the residual, with `df` degrees of freedom
    df: int
    seeds: tuple[int, int]  # the fewest and the most that a compared recipe shares with the reference


def _two_way(table: pd.DataFrame, reference: str) -> tuple[pd.DataFrame, pd.Series, _Model]:
    """Scores (recipes, seeds), nulls of each recipe, and the model."""
    if missing := [c for c in ("recipe", "seed", "value") if c not in table.columns]:
        raise LabError(f"the table has no column {', '.join(missing)} (needed: recipe, seed, value)")
    if reference not in (names := sorted({str(r) for r in table["recipe"]})):
        raise LabError(f"there is no recipe {reference!r} to compare with (recipes: {', '.join(names)})")
    if (twice := table.loc[table.duplicated(["recipe", "seed"]), "recipe"]).size:
        raise LabError(f"recipe {twice.iloc[0]!r} has a seed twice; give different settings different names")
    values = pd.to_numeric(table["value"], errors="coerce").astype(float).replace([np.inf, -np.inf], np.nan)
    wide = table.assign(value=values).pivot(index="recipe", columns="seed", values="value")
    nulls = values.isna().groupby(table["recipe"]).sum()
    shared = (wide.notna() & wide.loc[reference].notna()).sum(axis=1).where(nulls + nulls[reference] == 0, 0)
    compared = [r for r in wide.index if r != reference and shared[r] >= FEWEST_SEEDS]
    if not compared:
        return wide, nulls, _Model([], np.zeros(0), np.zeros(0), np.nan, np.nan, 0, (0, 0))
    y = wide.loc[[reference, *compared]].dropna(axis=1, how="all").to_numpy()
    (recipe, seed), k = np.nonzero(np.isfinite(y)), len(compared)
    design = np.column_stack([recipe[:, None] == np.arange(1, k + 1), seed[:, None] == np.arange(y.shape[1])])
    design, y = design.astype(float), y[recipe, seed]
    # b = (X^T X)^-1 X^T y,  var(b) = sd^2 (X^T X)^-1,  sd^2 = sum residual^2 / (n - R + 1 - S)
    inverse, df = np.linalg.inv(design.T @ design), len(y) - design.shape[1]
    b = inverse @ design.T @ y
    sd, of = float(np.sqrt(((y - design @ b) ** 2).sum() / df)), inverse[:k, :k]
    between = of / np.sqrt(np.outer(of.diagonal(), of.diagonal()))
    smallest = max(0., between[~np.eye(k, dtype=bool)].min()) if k > 1 else .5
    return wide, nulls, _Model(compared, b[:k], of.diagonal(), smallest, sd if sd > 1e-12 * np.abs(y).max() else 0.,
                               df, (int(shared[compared].min()), int(shared[compared].max())))


def _paired(a: ArrayLike, b: ArrayLike, correctness: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Both sides as float64 (S, N)."""
    try:
        a, b = (np.atleast_2d(np.asarray(x, dtype=np.float64)) for x in (a, b))
    except (TypeError, ValueError) as error:
        raise LabError(f"each side must be numbers, (examples) or (seeds, examples): {error}") from None
    if a.shape != b.shape or a.ndim != 2 or not a.size:
        raise LabError(f"both sides must have the same seeds and examples, one or more; they are {a.shape}, {b.shape}")
    if not np.isfinite([a, b]).all() or (correctness and not np.isin([a, b], (0, 1)).all()):
        raise LabError("correctness must be 0 or 1 for each example" if correctness else "a value is nan or infinite")
    return a, b


def _tail(level: float) -> float:
    if not 0 < level < 1:
        raise LabError(f"level is {level}; it must lie between 0 and 1")
    return 1 - level


def _verdict(difference: float, p: float, threshold: float, smallest: float = 0, seen: str = "") -> str:
    if smallest > threshold:
        return f"cannot tell: with {seen} p cannot fall below {smallest:.2g}"
    return "no difference shown" if p > threshold else "better" if difference > 0 else "worse"
