"""Common wrong answers to the exercises on scores, sampling and intervals, of notebooks 03, 07 and 08."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from lab.teach.exercises import annealed, interval, mcnemar, overall_score, pearson
from lab.teach.mistakes import mistakes

# ---- 03: scores ------------------------------------------------------------------------------------------------------


def _centred(x: Tensor) -> Tensor:
    return x.double() - x.double().mean()


def _ranks(x: Tensor) -> Tensor:
    """The ranks of numbers; equal ones share the mean of theirs."""
    return ((x.unsqueeze(1) > x).sum(1) + ((x.unsqueeze(1) == x).sum(1) - 1) / 2).double()


def _unless_constant(of: Callable) -> Callable:
    """None for a constant x, but for no constant y."""
    return lambda x, y: of(x, y) if _centred(x).any() else None


_LENGTHS, _R = "(x.norm() * y.norm())", "float(x @ y / (x.norm() * y.norm()))"

PEARSON = mistakes(pearson, {
    "this is the covariance, which grows with the scale of the scores: divide by both standard deviations":
        _unless_constant(lambda x, y: float((_centred(x) * _centred(y)).mean())),
    "this is the covariance over n - 1, which grows with the scale of the scores: divide by both standard deviations":
        _unless_constant(lambda x, y: float(_centred(x) @ _centred(y)) / (len(x) - 1)),
    "a mean of n products is divided by standard deviations over n - 1: use one or the other throughout":
        _unless_constant(lambda x, y: float((_centred(x) * _centred(y)).mean() / x.double().std() / y.double().std())),
    "this is the cosine of x and y: subtract their means first":
        _unless_constant(lambda x, y: float(F.cosine_similarity(x.double(), y.double(), dim=0))),
    "these are ranks, from argsort, as in Spearman's correlation; Pearson's is of the numbers themselves":
        _unless_constant(lambda x, y: pearson(x.argsort().argsort(), y.argsort().argsort())),
    "a negative r counts too: do not cut it off at 0": (_R, f"max({_R}, 0.0)"),
    "(r + 1) / 2 is for the overall score; this is r itself": (_R, f"({_R} + 1) / 2"),
    "this is Spearman's rank correlation; the course scores with Pearson's, on the numbers themselves":
        _unless_constant(lambda x, y: pearson(_ranks(x), _ranks(y))),
    "a constant prediction has no Pearson r: return None. A 0 would look like a measured value":
        ("return None", "return 0.0"),
    "a constant prediction has no Pearson r: return None. A NaN makes every mean that contains it NaN":
        ("return None", "return math.nan"),
    "r has a sign, which tells whether y rises or falls with x: do not take the absolute value": (_R, f"abs({_R})"),
    "this is r squared; r itself has a sign": (_R, f"{_R} ** 2"),
    "y can be constant too, and r is then undefined: return None for it as for x":
        ("return None", "return None if x.min() == x.max() else math.nan"),
    "x can be constant too, and r is then undefined: return None for it as for y":
        ("return None", "return None if y.min() == y.max() else math.nan"),
    "the covariance divides by n - 1 and the standard deviations by n: use one or the other throughout":
        (_R, f"{_R} * len(x) / (len(x) - 1)"),
    "a root is missing: divide by |x| |y|, not by their squares": (_LENGTHS, f"{_LENGTHS} ** 2"),
    "the covariance is divided by both variances: divide it by both standard deviations":
        (_LENGTHS, "(x.var() * y.var()) / (len(x) - 1)"),
    "this is the slope of a line through the points: divide by both lengths, |x| |y|": (_LENGTHS, "(x @ x)"),
    "this is the sum of products, which grows with the scale of the scores: divide it by |x| |y|":
        (f" / {_LENGTHS}", ""),
    "x @ y / |x| * |y| multiplies by |y|: put the product of the lengths into parentheses":
        (_LENGTHS, "x.norm() * y.norm()"),
    "int() or // cuts off the decimals": (_R, f"int({_R})"),
    "only x is centred: subtract the mean of y from y as well": (" - y.double().mean()", ""),
    "only y is centred: subtract the mean of x from x as well": (" - x.double().mean()", ""),
})

_MAPPED = "(sts + 1) / 2"
OVERALL = mistakes(overall_score, {
    "r is used unscaled; it ranges from -1 to 1, so (r + 1) / 2 maps it to the range of an accuracy": (_MAPPED, "sts"),
    "this is the sum; the score is the mean of the three": (" / 3", ""),
    "if r is undefined, so is the overall score: return None, do not count r as 0":
        ("None if sts is None else ", "", "(sts + 1)", "((sts or 0.0) + 1)"),
    "if r is undefined, so is the overall score: a mean of the other two is not comparable with a mean of three":
        ("None if", "(sst + qqp) / 2 if"),
    "`if not sts` is also true for r = 0, which is a number like any other: ask `sts is None`":
        ("sts is None", "not sts"),
    "an r of 0 is a number like any other: ask `sts is None`, not whether it is true":
        ("None if sts is None", "(sst + qqp) / 2 if not sts"),
    "1 / 2 is computed first: write (sts + 1) / 2": (_MAPPED, "sts + 1 / 2"),
    "r / 2 + 1 ranges from .5 to 1.5: write (r + 1) / 2": (_MAPPED, "sts / 2 + 1"),
    "only the last term is divided by 3: put the whole sum into parentheses":
        ("(sst + qqp + (sts + 1) / 2) / 3", "sst + qqp + (sts + 1) / 2 / 3"),
    "a negative r counts too: do not cut it off at 0": ("(sts + 1)", "(max(sts, 0) + 1)"),
    "a negative r is worse than none: do not take its absolute value": ("(sts + 1)", "(abs(sts) + 1)"),
    "if r is undefined, so is the overall score: return None. A NaN makes every mean that contains it NaN":
        ("None if", "math.nan if"),
    "if r is undefined, return None: there is no mean of three numbers": ("None if", "(sst + qqp) / 3 if"),
    "if r is undefined, so is the overall score: return None, since a 0 would look like a measured score":
        ("None if", "0.0 if"),
    "r + 1 ranges from 0 to 2: divide it by 2": (_MAPPED, "sts + 1"),
    "r / 2 ranges from -.5 to .5: write (r + 1) / 2": (_MAPPED, "sts / 2"),
    "the accuracies range from 0 to 1 already: only r is mapped": ("sst + qqp +", "(sst + 1) / 2 + (qqp + 1) / 2 +"),
    "the three scores count alike; this is the mean of r's and of the mean accuracy":
        ("sst + qqp +", "(sst + qqp) / 2 +", "/ 3", "/ 2"),
    "// cuts off the decimals: divide with /": ("/ 3", "// 3"),
    "sts can be None, with which nothing can be computed: return None if sts is None":
        ("None if sts is None else ", ""),
})

# ---- 07: sampling ----------------------------------------------------------------------------------------------------

_FALLEN = "(epoch - 1) / (epochs - 1)"  # from 0 to 1
ANNEALED = mistakes(annealed, {
    "this is proportional sampling, as if alpha stayed at 1: it is an exponent, N ** alpha, and must fall to 0.2":
        ("** alpha", "** 1"),
    "alpha stays at 0.5 (square-root sampling): it must fall from 1 to 0.2": ("** alpha", "** 0.5"),
    "alpha is 1 - 0.8 e / E, which is not 1 in the first epoch, e = 1: use (e - 1) / (E - 1)":
        (f"{_FALLEN} if epochs > 1 else 1.0", "epoch / epochs"),
    "alpha falls to 0; in the last epoch it must be 0.2": ("0.8 * ", ""),
    "the probabilities do not sum to 1: divide by their sum": (" / p.sum()", ""),
    "alpha rises; it must fall, so that the large data set dominates first and the small ones gain later":
        ("(epoch - 1)", "(epochs - epoch)"),
    "with a single epoch, E - 1 is 0: alpha must then be 1": ("else 1.0", "else math.nan"),
    "alpha falls by a factor in each epoch; it must fall by the same amount, 0.8 / (E - 1)":
        (f"1 - 0.8 * {_FALLEN}", f"0.2 ** ({_FALLEN})"),
    "\"1 -\" is missing: alpha is 1 - 0.8 (e - 1) / (E - 1)": ("1 - 0.8", "0.8"),
    "alpha falls too fast, and stays at 0.2 then: it is 1 - 0.8 (e - 1) / (E - 1)":
        (f"1 - 0.8 * {_FALLEN}", f"max(0.2, 1 - {_FALLEN})"),
    "// cuts off the decimals, so alpha stays at 1 until the last epoch: divide with /":
        (_FALLEN, "((epoch - 1) // (epochs - 1))"),
    "with a single epoch alpha must be 1; this is 0, every task alike": ("else 1.0", "else 0.0"),
    "alpha stays at 0.2: it must start at 1 and fall over the epochs": ("** alpha", "** 0.2"),
    "alpha is 1 - 0.8 (e - 1) / E, which does not reach 0.2 in the last epoch: divide by E - 1":
        ("/ (epochs - 1)", "/ epochs"),
    "alpha is 1 - 0.8 e / (E - 1): epochs count from 1, so use e - 1": ("(epoch - 1)", "epoch"),
    "with a single epoch, E - 1 is 0, and dividing by it raises ZeroDivisionError: alpha must then be 1":
        (" if epochs > 1 else 1.0", ""),
    "alpha falls by 0.2, from 1 to 0.8; it must fall by 0.8, to 0.2": ("0.8", "0.2"),
    "with a single epoch alpha must be 1, as in the first epoch; this is 0.2, as in the last": ("else 1.0", "else 0.2"),
    "the shares are raised to alpha after they were normalized: normalize last, so that they sum to 1":
        (" ** alpha", "", "p / p.sum()", "(p / p.sum()) ** alpha"),
    "the exponent is 1 / alpha, which favours the large sets more and more: use N ** alpha":
        ("** alpha", "** (1 / alpha)"),
    "divide by the sum of the powers N ** alpha, not by that of the sizes": ("p.sum()", "sum(sizes)"),
    "the small sets get the large probabilities: alpha is positive, N ** alpha": ("** alpha", "** -alpha"),
    "this is alpha: return the probabilities, N ** alpha divided by its sum": ("p / p.sum()", "alpha"),
    "every task has the same probability: use their sizes, N ** alpha": ("** alpha", "** 0"),
    "this is a softmax over the sizes, which gives the largest set everything: normalize N ** alpha":
        ("** alpha", "* alpha", "p / p.sum()", "p.softmax(0)"),
    "alpha rises from 0.2 to 1; it must fall, so that the large data set dominates first":
        ("1 - 0.8", "0.2 + 0.8", "else 1.0", "else 0.2"),
})

# ---- 08: intervals ---------------------------------------------------------------------------------------------------

_T, _ENDS, _NONE = "stats.t.ppf(0.975, n - 1)", "mean - half, mean + half", "math.nan, math.nan"
INTERVAL = mistakes(interval, {
    "1.96 is the quantile of the normal distribution; with few seeds use Student's t, 4.30 for 3 seeds and 2.78 for 5":
        (_T, "1.96"),
    "this standard deviation divides by n; that of a sample divides by n - 1": ("x.std()", "x.std(correction=0)"),
    "this is the standard deviation of one seed; that of the mean is smaller by a factor of sqrt(n)": (" / n**0.5", ""),
    "two seeds get an interval, but t is 12.7 then, too wide to be informative; the lab returns NaN below 3 seeds":
        ("n < 3", "n < 2"),
    "this standard deviation divides by n, as numpy does without ddof=1; that of a sample divides by n - 1. Below 3 "
    "seeds low and high must be NaN": ("x.std()", "x.std(correction=0)", "n < 3", "n < 1"),
    "1.96 is the quantile of the normal distribution: with few seeds use Student's t. Besides, this standard "
    "deviation divides by n; that of a sample divides by n - 1, in numpy with ddof=1":
        (_T, "1.96", "x.std()", "x.std(correction=0)", "n < 3", "n < 1"),
    "1.96 is the quantile of the normal distribution: with few seeds use Student's t, and below 3 seeds NaN":
        (_T, "1.96", "n < 3", "n < 2"),
    "this is a 97.5 % interval: stats.t.interval takes 0.95, and stats.t.ppf takes 0.975": ("0.975", "0.9875"),
    "these are the mean and how far the interval reaches from it: add the mean to both ends": (_ENDS, "-half, half"),
    "this is a 99 % interval: a 95 % interval takes ppf(0.975)": ("0.975", "0.995"),
    "ppf(0.99) leaves 1 % on each side; a 95 % interval leaves 2.5 %, so ppf(0.975)": ("0.975", "0.99"),
    "the root is of s / n; the standard error is s / sqrt(n)":
        ("float(x.std()) / n**0.5", "(float(x.std()) / n) ** 0.5"),
    "low and high are NaN in every case: ppf takes the probability first, between 0 and 1, as in ppf(0.975, n - 1)":
        ("0.975, n - 1", "n - 1, 0.975"),
    "this is the mean and twice the width: return the ends of the interval": (_ENDS, "2 * half, 2 * half"),
    "below 3 seeds low and high must be NaN: nothing is known of them, which -inf and inf would not say":
        (_NONE, "-math.inf, math.inf"),
    "this is the variance: take its root, the standard deviation": ("x.std()", "x.var()"),
    "this is the variance, divided by n: take its root, and divide by n - 1": ("x.std()", "x.var(correction=0)"),
    "this is the mean and half of the width: return (mean, mean - half, mean + half)":
        (_ENDS, "half", _NONE, "math.nan"),
    "the degrees of freedom are n - 1, not n": ("n - 1)", "n)"),
    "the degrees of freedom are n - 1; n - 2 is for a line through points": ("n - 1)", "n - 2)"),
    "ppf(0.95) leaves 5 % on one side; a 95 % interval leaves 2.5 % on each, so ppf(0.975)": ("0.975", "0.95"),
    "low and high are swapped; if you took ppf(0.025), it is negative: use ppf(0.975)": ("0.975", "0.025"),
    "this is half as wide: the interval reaches by the whole t s / sqrt(n) to both sides": ("half = ", "half = 0.5 * "),
    "this is twice as wide: the interval reaches by t s / sqrt(n) to each side": ("half = ", "half = 2 * "),
    "4.30 is t for 3 seeds alone; it depends on their number: stats.t.ppf(0.975, n - 1)": (_T, "4.302653"),
    "the standard deviation is divided by n; divide it by sqrt(n)": ("n**0.5", "n"),
    "the standard deviation is divided by sqrt(n - 1); divide it by sqrt(n)": ("n**0.5", "(n - 1) ** 0.5"),
    "there is no t: the interval is the mean and the standard error, which covers far less than 95 %": (_T, "1"),
    "2 is a rule of thumb; with few seeds use Student's t, 4.30 for 3 seeds and 2.78 for 5": (_T, "2"),
    "below 3 seeds low and high must be NaN (math.nan), not None": (_NONE, "None, None"),
    "below 3 seeds only low and high are NaN; the mean is still known": (f"mean, {_NONE}", f"math.nan, {_NONE}"),
    "below 3 seeds low and high must be NaN: an interval of no width would claim certainty": (_NONE, "mean, mean"),
    "this is the half-width: return the ends of the interval, mean - half and mean + half": (_ENDS, "half, half"),
    "the mean is missing: return (mean, low, high)": ("return mean, ", "return "),
    "this is the middle value; the interval belongs to the mean": ("return mean, ", "return float(x.median()), "),
})


def _chi_square(b: int, c: int, correction: int = 0) -> float:
    from scipy import stats

    return float(stats.chi2.sf((abs(b - c) - correction) ** 2 / (b + c), 1))


_UNLIMITED, _COUNTS = ("min(1.0, ", "("), "range(min(b, c) + 1)"
MCNEMAR = mistakes(mcnemar, {
    "this is only one tail; either run may be the better one, so p is twice the smaller tail": ("2 * sum", "sum"),
    "p exceeds 1 if b = c, because the two tails then overlap: limit it to 1": _UNLIMITED,
    "this counts only the observed outcome; add the more extreme ones: k from 0 to min(b, c)":
        (_COUNTS, "[min(b, c)]"),
    "the tail ends at the larger count; it must end at the smaller one, min(b, c)": (*_UNLIMITED, "min(b", "max(b"),
    "it is 1 in every case, since the sum is too large and cut off: it ends at min(b, c), and is divided by "
    "2 ** (b + c)": ("min(b", "max(b"),
    "the observed count, k = min(b, c), is missing from the tail: range(min(b, c) + 1)": (_COUNTS, "range(min(b, c))"),
    "this is one tail, below b or above c; it is the smaller one only if b < c, and p is twice the smaller":
        ("2 * sum", "sum", "min(b, c)", "b"),
    "this is one tail, below c or above b; it is the smaller one only if c < b, and p is twice the smaller":
        ("2 * sum", "sum", "min(b, c)", "c"),
    "the observed count has only half its weight, which is the mid-p test; the exact test counts all of it":
        ("2 * sum", "(2 * sum", f"{_COUNTS})", f"{_COUNTS}) - math.comb(n, b))"),
    "this is the chi-square or z test, an approximation for b + c above about 25; the exact test is binomial":
        _chi_square,
    "this is the tail below b alone, which is not the smaller one if b > c: sum up to min(b, c)": ("min(b, c)", "b"),
    "this is the tail below c alone, which is not the smaller one if c > b: sum up to min(b, c)": ("min(b, c)", "c"),
    "k = 0 belongs to the tail: sum from 0 to min(b, c)": ("range(min", "range(1, min"),
    "the sum must be divided by 2 ** (b + c), the number of all outcomes": ("min(1.0, 2", "(2.0", " / 2**n", ""),
    "this is 1 - p: p is the probability of the tails themselves": ("return", "return 1 -"),
    "this is McNemar's chi-square test with a correction, an approximation; the exact test is binomial":
        lambda b, c: _chi_square(b, c, 1),
    "without any example on which the runs differ nothing speaks against chance: p is 1 for b = c = 0":
        ("return", "return math.nan if n == 0 else"),
    "p is 1 for b = c = 0, not 0: nothing speaks against chance": ("return", "return 0.0 if n == 0 else"),
    "p is 1 for b = c, not 0: nothing speaks for either run": ("return", "return 0.0 if b == c else"),
    "this is the tail below b, doubled, and above 1 if b is large: sum up to min(b, c), and limit p to 1":
        (*_UNLIMITED, "min(b, c)", "b"),
    "this is the statistic (b - c)^2 / (b + c); the exact test has none, p is a sum of binomial probabilities":
        lambda b, c: (b - c) ** 2 / (b + c),
    "2 / 2 ** (b + c) is right only where one of the counts is 0: sum over k from 0 to min(b, c)": (_COUNTS, "[0]"),
    "n is b + c, not max(b, c): all examples on which the runs differ count": ("b + c", "max(b, c)"),
    "2 ** (b + c) is the number of outcomes of b + c examples; this divides by one power of 2 too many":
        ("2 * sum", "sum", "2**n", "2 ** (n + 1)"),
    "the binomial coefficients are missing: count with math.comb(b + c, k)": ("math.comb(n, k)", "1"),
    "binomtest needs at least one example: for b = c = 0, p is 1, since nothing speaks against chance":
        ("return", "if n == 0: raise ValueError('n must be an integer not less than 1')\n    return"),
    "this counts only the observed outcome, twice; add the more extreme ones: k from 0 to min(b, c)":
        (*_UNLIMITED, _COUNTS, "[min(b, c)]"),
})
