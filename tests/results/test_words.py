"""Words for readers: metrics by name, and digits that keep an estimate apart from its bounds."""

import pytest

from lab.data import SCORES
from lab.results.words import METRICS, bounds, decimals, metric_words, with_interval


def test_a_metric_is_named_in_words_and_an_unknown_one_stays():
    assert metric_words("score", "dev_full") == "score, all of dev, last and best epoch"
    assert metric_words("loss", "batch") == "loss, training batches"
    assert metric_words("mine", "there") == "mine, there" and metric_words("mine") == "mine"
    assert set(SCORES.values()) <= set(METRICS)
    assert not [name for name in METRICS.values() if "_" in name] and len(set(METRICS.values())) == len(METRICS)


@pytest.mark.parametrize(("half", "digits"), [(.1, 3), (.001, 3), (.0004, 4), (.00002, 5), (0, 3), (float("nan"), 3)])
def test_an_estimate_never_reads_as_its_own_bound(half, digits):
    for value in (.657, .65749, .6575, 0.):
        assert decimals(value, value - half, value + half) == pytest.approx(digits, abs=1)
        said, low, high = with_interval(value, value - half, value + half)
        assert half == 0 or said not in (low, high)
        assert not half > 0 or f"{value:.4g}" not in bounds(value, value - half, value + half)
    assert with_interval(.0041, .0038, .0044, sign="+") == ("+0.0041", "+0.0038", "+0.0044")
