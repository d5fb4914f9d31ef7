"""Common wrong answers to the exercises on scores, sampling and intervals, of notebooks 03, 07 and 08."""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lab.teach.exercises import (
    annealed,
    interval,
    mcnemar,
    overall_score,
    pearson,
)

# ---- 03: scores ------------------------------------------------------------------------------------------------------


def _centred(x: Tensor) -> Tensor:
    return x.double() - x.double().mean()


def _ranks(x: Tensor) -> Tensor:
    """The ranks of numbers; equal ones share the mean of theirs."""
    return ((x.unsqueeze(1) > x).sum(1) + ((x.unsqueeze(1) == x).sum(1) - 1) / 2).double()


PEARSON = {
    "this is the covariance, which grows with the scale of the scores: divide by both standard deviations":
        lambda x, y: None if not _centred(x).any() else float((_centred(x) * _centred(y)).mean()),
    "this is the covariance over n - 1, which grows with the scale of the scores: divide by both standard deviations":
        lambda x, y: None if not _centred(x).any() else float(_centred(x) @ _centred(y)) / (len(x) - 1),
    "a mean of n products is divided by standard deviations over n - 1: use one or the other throughout":
        lambda x, y: None if not _centred(x).any()
        else float((_centred(x) * _centred(y)).mean() / (x.double().std() * y.double().std())),
    "this is the cosine of x and y: subtract their means first":
        lambda x, y: None if not _centred(x).any() else float(F.cosine_similarity(x.double(), y.double(), dim=0)),
    "these are ranks, from argsort, as in Spearman's correlation; Pearson's is of the numbers themselves":
        lambda x, y: None if not _centred(x).any() else pearson(*(of.argsort().argsort() for of in (x, y))),
    "a negative r counts too: do not cut it off at 0":
        lambda x, y: None if pearson(x, y) is None else max(pearson(x, y), 0.0),
    "(r + 1) / 2 is for the overall score; this is r itself":
        lambda x, y: None if pearson(x, y) is None else (pearson(x, y) + 1) / 2,
    "this is Spearman's rank correlation; the course scores with Pearson's, on the numbers themselves":
        lambda x, y: None if not _centred(x).any() else pearson(_ranks(x), _ranks(y)),
    "a constant prediction has no Pearson r: return None. A 0 would look like a measured value":
        lambda x, y: pearson(x, y) or 0.0,
    "a constant prediction has no Pearson r: return None. A NaN makes every mean that contains it NaN":
        lambda x, y: math.nan if pearson(x, y) is None else pearson(x, y),
    "r has a sign, which tells whether y rises or falls with x: do not take the absolute value":
        lambda x, y: None if pearson(x, y) is None else abs(pearson(x, y)),
    "this is r squared; r itself has a sign": lambda x, y: None if pearson(x, y) is None else pearson(x, y) ** 2,
    "y can be constant too, and r is then undefined: return None for it as for x":
        lambda x, y: pearson(x, y) if y.min() < y.max() or x.min() == x.max() else math.nan,
    "x can be constant too, and r is then undefined: return None for it as for y":
        lambda x, y: pearson(x, y) if x.min() < x.max() or y.min() == y.max() else math.nan,
    "the covariance divides by n - 1 and the standard deviations by n: use one or the other throughout":
        lambda x, y: None if pearson(x, y) is None else pearson(x, y) * len(x) / (len(x) - 1),
    "a root is missing: divide by |x| |y|, not by their squares": lambda x, y: None if pearson(x, y) is None else
        pearson(x, y) / float(_centred(x).norm() * _centred(y).norm()),
    "the covariance is divided by both variances: divide it by both standard deviations": lambda x, y: None if pearson(
        x, y) is None else pearson(x, y) / float(_centred(x).std() * _centred(y).std()),
    "this is the slope of a line through the points: divide by both lengths, |x| |y|": lambda x, y: None if pearson(
        x, y) is None else pearson(x, y) * float(_centred(y).norm() / _centred(x).norm()),
    "this is the sum of products, which grows with the scale of the scores: divide it by |x| |y|": lambda x, y:
        None if pearson(x, y) is None else float(_centred(x) @ _centred(y)),
    "x @ y / |x| * |y| multiplies by |y|: put the product of the lengths into parentheses": lambda x, y:
        None if pearson(x, y) is None else pearson(x, y) * float(_centred(y).norm()) ** 2,
    "int() or // cuts off the decimals": lambda x, y: None if pearson(x, y) is None else int(pearson(x, y)),
    "only x is centred: subtract the mean of y from y as well": lambda x, y: None if pearson(x, y) is None else float(
        F.cosine_similarity(_centred(x), y.double(), dim=0)),
    "only y is centred: subtract the mean of x from x as well": lambda x, y: None if pearson(x, y) is None else float(
        F.cosine_similarity(x.double(), _centred(y), dim=0)),
}
OVERALL = {
    "r is used unscaled; it ranges from -1 to 1, so (r + 1) / 2 maps it to the range of an accuracy":
        lambda sst, qqp, sts: None if sts is None else (sst + qqp + sts) / 3,
    "this is the sum; the score is the mean of the three": lambda sst, qqp, sts: None if sts is None
    else sst + qqp + (sts + 1) / 2,
    "if r is undefined, so is the overall score: return None, do not count r as 0":
        lambda sst, qqp, sts: (sst + qqp + ((sts or 0.0) + 1) / 2) / 3,
    "if r is undefined, so is the overall score: a mean of the other two is not comparable with a mean of three":
        lambda sst, qqp, sts: (sst + qqp) / 2 if sts is None else (sst + qqp + (sts + 1) / 2) / 3,
    "`if not sts` is also true for r = 0, which is a number like any other: ask `sts is None`":
        lambda sst, qqp, sts: overall_score(sst, qqp, sts) if sts else None,
    "an r of 0 is a number like any other: ask `sts is None`, not whether it is true":
        lambda sst, qqp, sts: overall_score(sst, qqp, sts) if sts else (sst + qqp) / 2,
    "1 / 2 is computed first: write (sts + 1) / 2":
        lambda sst, qqp, sts: None if sts is None else (sst + qqp + sts + 1 / 2) / 3,
    "r / 2 + 1 ranges from .5 to 1.5: write (r + 1) / 2":
        lambda sst, qqp, sts: None if sts is None else (sst + qqp + sts / 2 + 1) / 3,
    "only the last term is divided by 3: put the whole sum into parentheses":
        lambda sst, qqp, sts: None if sts is None else sst + qqp + (sts + 1) / 2 / 3,
    "a negative r counts too: do not cut it off at 0":
        lambda sst, qqp, sts: None if sts is None else overall_score(sst, qqp, max(sts, 0)),
    "a negative r is worse than none: do not take its absolute value":
        lambda sst, qqp, sts: None if sts is None else overall_score(sst, qqp, abs(sts)),
    "if r is undefined, so is the overall score: return None. A NaN makes every mean that contains it NaN":
        lambda sst, qqp, sts: math.nan if sts is None else overall_score(sst, qqp, sts),
    "if r is undefined, return None: there is no mean of three numbers":
        lambda sst, qqp, sts: (sst + qqp) / 3 if sts is None else overall_score(sst, qqp, sts),
    "if r is undefined, so is the overall score: return None, since a 0 would look like a measured score":
        lambda sst, qqp, sts: 0.0 if sts is None else overall_score(sst, qqp, sts),
    "r + 1 ranges from 0 to 2: divide it by 2":
        lambda sst, qqp, sts: None if sts is None else (sst + qqp + sts + 1) / 3,
    "r / 2 ranges from -.5 to .5: write (r + 1) / 2":
        lambda sst, qqp, sts: None if sts is None else (sst + qqp + sts / 2) / 3,
    "the accuracies range from 0 to 1 already: only r is mapped":
        lambda sst, qqp, sts: None if sts is None else ((sst + 1) / 2 + (qqp + 1) / 2 + (sts + 1) / 2) / 3,
    "the three scores count alike; this is the mean of r's and of the mean accuracy":
        lambda sst, qqp, sts: None if sts is None else ((sst + qqp) / 2 + (sts + 1) / 2) / 2,
    "// cuts off the decimals: divide with /":
        lambda sst, qqp, sts: None if sts is None else (sst + qqp + (sts + 1) / 2) // 3,
    "sts can be None, with which nothing can be computed: return None if sts is None":
        lambda sst, qqp, sts: (sst + qqp + (sts + 1) / 2) / 3,
}

# ---- 07: sampling ----------------------------------------------------------------------------------------------------


def _proportional(sizes: Sequence[int], alpha: float) -> Tensor:
    p = torch.tensor(sizes, dtype=torch.float64) ** alpha
    return p / p.sum()


ANNEALED = {
    "this is proportional sampling, as if alpha stayed at 1: it is an exponent, N ** alpha, and must fall to 0.2":
        lambda s, e, E: _proportional(s, 1),
    "alpha stays at 0.5 (square-root sampling): it must fall from 1 to 0.2": lambda s, e, E: _proportional(s, 0.5),
    "alpha is 1 - 0.8 e / E, which is not 1 in the first epoch, e = 1: use (e - 1) / (E - 1)":
        lambda s, e, E: _proportional(s, 1 - 0.8 * e / E),
    "alpha falls to 0; in the last epoch it must be 0.2":
        lambda s, e, E: _proportional(s, 1 - (e - 1) / (E - 1) if E > 1 else 1.0),
    "the probabilities do not sum to 1: divide by their sum": lambda s, e, E: annealed(s, e, E)
    * sum(n ** (1 - 0.8 * (e - 1) / (E - 1) if E > 1 else 1.0) for n in s),
    "alpha rises; it must fall, so that the large data set dominates first and the small ones gain later":
        lambda s, e, E: annealed(s, E + 1 - e, E) if E > 1 else annealed(s, e, E),
    "with a single epoch, E - 1 is 0: alpha must then be 1":
        lambda s, e, E: annealed(s, e, E) if E > 1 else torch.full((len(s),), math.nan, dtype=torch.float64),
    "alpha falls by a factor in each epoch; it must fall by the same amount, 0.8 / (E - 1)":
        lambda s, e, E: _proportional(s, 0.2 ** ((e - 1) / (E - 1)) if E > 1 else 1.0),
    "\"1 -\" is missing: alpha is 1 - 0.8 (e - 1) / (E - 1)":
        lambda s, e, E: _proportional(s, 0.8 * (e - 1) / (E - 1) if E > 1 else 1.0),
    "alpha falls too fast, and stays at 0.2 then: it is 1 - 0.8 (e - 1) / (E - 1)":
        lambda s, e, E: _proportional(s, max(0.2, 1 - (e - 1) / (E - 1)) if E > 1 else 1.0),
    "// cuts off the decimals, so alpha stays at 1 until the last epoch: divide with /":
        lambda s, e, E: _proportional(s, 1 - 0.8 * ((e - 1) // (E - 1)) if E > 1 else 1.0),
    "with a single epoch alpha must be 1; this is 0, every task alike":
        lambda s, e, E: annealed(s, e, E) if E > 1 else _proportional(s, 0),
    "alpha stays at 0.2: it must start at 1 and fall over the epochs": lambda s, e, E: _proportional(s, 0.2),
    "alpha is 1 - 0.8 (e - 1) / E, which does not reach 0.2 in the last epoch: divide by E - 1":
        lambda s, e, E: _proportional(s, 1 - 0.8 * (e - 1) / E),
    "alpha is 1 - 0.8 e / (E - 1): epochs count from 1, so use e - 1":
        lambda s, e, E: _proportional(s, 1 - 0.8 * e / (E - 1) if E > 1 else 1.0),
    "with a single epoch, E - 1 is 0, and dividing by it raises ZeroDivisionError: alpha must then be 1":
        lambda s, e, E: _proportional(s, 1 - 0.8 * (e - 1) / (E - 1)),
    "alpha falls by 0.2, from 1 to 0.8; it must fall by 0.8, to 0.2":
        lambda s, e, E: _proportional(s, 1 - 0.2 * (e - 1) / (E - 1) if E > 1 else 1.0),
    "with a single epoch alpha must be 1, as in the first epoch; this is 0.2, as in the last":
        lambda s, e, E: annealed(s, e, E) if E > 1 else _proportional(s, 0.2),
    "the shares are raised to alpha after they were normalized: normalize last, so that they sum to 1":
        lambda s, e, E: _proportional(s, 1) ** (1 - 0.8 * (e - 1) / (E - 1) if E > 1 else 1.0),
    "the exponent is 1 / alpha, which favours the large sets more and more: use N ** alpha":
        lambda s, e, E: _proportional(s, 1 / (1 - 0.8 * (e - 1) / (E - 1) if E > 1 else 1.0)),
    "divide by the sum of the powers N ** alpha, not by that of the sizes": lambda s, e, E: (
        torch.tensor(s, dtype=torch.float64) ** (1 - 0.8 * (e - 1) / (E - 1) if E > 1 else 1.0) / sum(s)),
    "the small sets get the large probabilities: alpha is positive, N ** alpha": lambda s, e, E: _proportional(
        s, 0.8 * (e - 1) / (E - 1) - 1 if E > 1 else -1.0),
    "this is alpha: return the probabilities, N ** alpha divided by its sum":
        lambda s, e, E: 1 - 0.8 * (e - 1) / (E - 1) if E > 1 else 1.0,
    "every task has the same probability: use their sizes, N ** alpha": lambda s, e, E: _proportional(s, 0),
    "this is a softmax over the sizes, which gives the largest set everything: normalize N ** alpha":
        lambda s, e, E: (torch.tensor(s, dtype=torch.float64)
                         * (1 - 0.8 * (e - 1) / (E - 1) if E > 1 else 1.0)).softmax(0),
    "alpha rises from 0.2 to 1; it must fall, so that the large data set dominates first":
        lambda s, e, E: _proportional(s, 0.2 + 0.8 * (e - 1) / (E - 1) if E > 1 else 0.2),
}

# ---- 08: intervals ---------------------------------------------------------------------------------------------------


def _interval(t: float | None = None, ddof: int = 1, root: bool = True, few: bool = False, df: int = -1,
              quantile: float = 0.975, width: float = 1, power: float = 0.5, less: int = 0,
              squared: bool = False, rooted: bool = False) -> Callable:
    def wrong(values: Sequence[float]) -> tuple[float, float, float]:
        from scipy import stats

        x, n = torch.tensor(values, dtype=torch.float64), len(values)
        if n < (1 + ddof if few else 3):
            return float(x.mean()), math.nan, math.nan
        spread = float(x.std(correction=ddof)) ** (2 if squared else 1) / ((n - less) ** power if root else 1)
        spread = spread**0.5 if rooted else spread
        half = width * (t or stats.t.ppf(quantile, n + df)) * spread
        return float(x.mean()), float(x.mean()) - half, float(x.mean()) + half

    return wrong


INTERVAL = {
    "1.96 is the quantile of the normal distribution; with few seeds use Student's t, 4.30 for 3 seeds and 2.78 for 5":
        _interval(t=1.96),
    "this standard deviation divides by n; that of a sample divides by n - 1": _interval(ddof=0),
    "this is the standard deviation of one seed; that of the mean is smaller by a factor of sqrt(n)":
        _interval(root=False),
    "two seeds get an interval, but t is 12.7 then, too wide to be informative; the lab returns NaN below 3 seeds":
        _interval(few=True),
    "this standard deviation divides by n, as numpy does without ddof=1; that of a sample divides by n - 1. Below 3 "
    "seeds low and high must be NaN": _interval(ddof=0, few=True),
    "1.96 is the quantile of the normal distribution: with few seeds use Student's t. Besides, this standard "
    "deviation divides by n; that of a sample divides by n - 1, in numpy with ddof=1":
        _interval(t=1.96, ddof=0, few=True),
    "1.96 is the quantile of the normal distribution: with few seeds use Student's t, and below 3 seeds NaN":
        _interval(t=1.96, few=True),
    "this is a 97.5 % interval: stats.t.interval takes 0.95, and stats.t.ppf takes 0.975": _interval(quantile=0.9875),
    "these are the mean and how far the interval reaches from it: add the mean to both ends": lambda values:
        (interval(values)[0], *[end - interval(values)[0] for end in interval(values)[1:]]),
    "this is a 99 % interval: a 95 % interval takes ppf(0.975)": _interval(quantile=0.995),
    "ppf(0.99) leaves 1 % on each side; a 95 % interval leaves 2.5 %, so ppf(0.975)": _interval(quantile=0.99),
    "the root is of s / n; the standard error is s / sqrt(n)": _interval(power=1.0, rooted=True),
    "low and high are NaN in every case: ppf takes the probability first, between 0 and 1, as in ppf(0.975, n - 1)":
        lambda values: (interval(values)[0], math.nan, math.nan),
    "this is the mean and twice the width: return the ends of the interval": lambda values:
        (interval(values)[0], *[interval(values)[2] - interval(values)[1]] * 2),
    "below 3 seeds low and high must be NaN: nothing is known of them, which -inf and inf would not say": lambda values:
        interval(values) if len(values) > 2 else (interval(values)[0], -math.inf, math.inf),
    "this is the variance: take its root, the standard deviation": _interval(squared=True),
    "this is the variance, divided by n: take its root, and divide by n - 1": _interval(squared=True, ddof=0),
    "this is the mean and half of the width: return (mean, mean - half, mean + half)": lambda values:
        (interval(values)[0], interval(values)[2] - interval(values)[0]),
    "the degrees of freedom are n - 1, not n": _interval(df=0),
    "the degrees of freedom are n - 1; n - 2 is for a line through points": _interval(df=-2),
    "ppf(0.95) leaves 5 % on one side; a 95 % interval leaves 2.5 % on each, so ppf(0.975)": _interval(quantile=0.95),
    "low and high are swapped; if you took ppf(0.025), it is negative: use ppf(0.975)":
        lambda values: (interval(values)[0], *interval(values)[:0:-1]),
    "this is half as wide: the interval reaches by the whole t s / sqrt(n) to both sides": _interval(width=0.5),
    "this is twice as wide: the interval reaches by t s / sqrt(n) to each side": _interval(width=2),
    "4.30 is t for 3 seeds alone; it depends on their number: stats.t.ppf(0.975, n - 1)": _interval(t=4.302653),
    "the standard deviation is divided by n; divide it by sqrt(n)": _interval(power=1.0),
    "the standard deviation is divided by sqrt(n - 1); divide it by sqrt(n)": _interval(less=1),
    "there is no t: the interval is the mean and the standard error, which covers far less than 95 %": _interval(t=1.0),
    "2 is a rule of thumb; with few seeds use Student's t, 4.30 for 3 seeds and 2.78 for 5": _interval(t=2.0),
    "below 3 seeds low and high must be NaN (math.nan), not None":
        lambda values: interval(values) if len(values) > 2 else (interval(values)[0], None, None),
    "below 3 seeds only low and high are NaN; the mean is still known":
        lambda values: interval(values) if len(values) > 2 else (math.nan,) * 3,
    "below 3 seeds low and high must be NaN: an interval of no width would claim certainty":
        lambda values: interval(values) if len(values) > 2 else (interval(values)[0],) * 3,
    "this is the half-width: return the ends of the interval, mean - half and mean + half":
        lambda values: (interval(values)[0], *[interval(values)[2] - interval(values)[0]] * 2),
    "the mean is missing: return (mean, low, high)": lambda values: interval(values)[1:],
    "this is the middle value; the interval belongs to the mean": lambda values:
        (float(torch.tensor(values, dtype=torch.float64).median()), *interval(values)[1:]),
}


def _without_a_coin(b: int, c: int) -> float:
    if b + c == 0:
        raise ValueError("n must be an integer not less than 1")
    return mcnemar(b, c)


def _mcnemar(sides: int = 2, most: float = 1.0, k: Callable = lambda b, c: range(min(b, c) + 1)) -> Callable:
    return lambda b, c: min(most, sides * sum(math.comb(b + c, i) for i in k(b, c)) / 2 ** (b + c))


def _chi_square(b: int, c: int, correction: int = 0) -> float:
    from scipy import stats

    return float(stats.chi2.sf((abs(b - c) - correction) ** 2 / (b + c), 1))


MCNEMAR = {
    "this is only one tail; either run may be the better one, so p is twice the smaller tail":
        _mcnemar(sides=1),
    "p exceeds 1 if b = c, because the two tails then overlap: limit it to 1": _mcnemar(most=math.inf),
    "this counts only the observed outcome; add the more extreme ones: k from 0 to min(b, c)":
        _mcnemar(k=lambda b, c: [min(b, c)]),
    "the tail ends at the larger count; it must end at the smaller one, min(b, c)":
        _mcnemar(most=math.inf, k=lambda b, c: range(max(b, c) + 1)),
    "it is 1 in every case, since the sum is too large and cut off: it ends at min(b, c), and is divided by "
    "2 ** (b + c)":
        _mcnemar(k=lambda b, c: range(max(b, c) + 1)),
    "the observed count, k = min(b, c), is missing from the tail: range(min(b, c) + 1)":
        _mcnemar(k=lambda b, c: range(min(b, c))),
    "this is one tail, below b or above c; it is the smaller one only if b < c, and p is twice the smaller":
        _mcnemar(sides=1, k=lambda b, c: range(b + 1)),
    "this is one tail, below c or above b; it is the smaller one only if c < b, and p is twice the smaller":
        _mcnemar(sides=1, k=lambda b, c: range(c + 1)),
    "the observed count has only half its weight, which is the mid-p test; the exact test counts all of it":
        lambda b, c: min(1.0, _mcnemar(k=lambda b, c: range(min(b, c)))(b, c) + math.comb(b + c, b) / 2 ** (b + c)),
    "this is the chi-square or z test, an approximation for b + c above about 25; the exact test is binomial":
        _chi_square,
    "this is the tail below b alone, which is not the smaller one if b > c: sum up to min(b, c)":
        _mcnemar(k=lambda b, c: range(b + 1)),
    "this is the tail below c alone, which is not the smaller one if c > b: sum up to min(b, c)":
        _mcnemar(k=lambda b, c: range(c + 1)),
    "k = 0 belongs to the tail: sum from 0 to min(b, c)": _mcnemar(k=lambda b, c: range(1, min(b, c) + 1)),
    "the sum must be divided by 2 ** (b + c), the number of all outcomes":
        lambda b, c: 2 * float(sum(math.comb(b + c, k) for k in range(min(b, c) + 1))),
    "this is 1 - p: p is the probability of the tails themselves": lambda b, c: 1 - mcnemar(b, c),
    "this is McNemar's chi-square test with a correction, an approximation; the exact test is binomial":
        lambda b, c: _chi_square(b, c, 1),
    "without any example on which the runs differ nothing speaks against chance: p is 1 for b = c = 0":
        lambda b, c: mcnemar(b, c) if b + c else math.nan,
    "p is 1 for b = c = 0, not 0: nothing speaks against chance": lambda b, c: mcnemar(b, c) if b + c else 0.0,
    "p is 1 for b = c, not 0: nothing speaks for either run": lambda b, c: mcnemar(b, c) if b != c else 0.0,
    "this is the tail below b, doubled, and above 1 if b is large: sum up to min(b, c), and limit p to 1":
        _mcnemar(most=math.inf, k=lambda b, c: range(b + 1)),
    "this is the statistic (b - c)^2 / (b + c); the exact test has none, p is a sum of binomial probabilities":
        lambda b, c: (b - c) ** 2 / (b + c),
    "2 / 2 ** (b + c) is right only where one of the counts is 0: sum over k from 0 to min(b, c)":
        lambda b, c: min(1.0, 2 / 2 ** (b + c)),
    "n is b + c, not max(b, c): all examples on which the runs differ count":
        lambda b, c: min(1.0, 2 * sum(math.comb(max(b, c), k) for k in range(min(b, c) + 1)) / 2 ** max(b, c)),
    "2 ** (b + c) is the number of outcomes of b + c examples; this divides by one power of 2 too many":
        lambda b, c: min(1.0, sum(math.comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c + 1)),
    "the binomial coefficients are missing: count with math.comb(b + c, k)":
        lambda b, c: min(1.0, 2 * len(range(min(b, c) + 1)) / 2 ** (b + c)),
    "binomtest needs at least one example: for b = c = 0, p is 1, since nothing speaks against chance":
        _without_a_coin,
    "this counts only the observed outcome, twice; add the more extreme ones: k from 0 to min(b, c)":
        _mcnemar(most=math.inf, k=lambda b, c: [min(b, c)]),
}
