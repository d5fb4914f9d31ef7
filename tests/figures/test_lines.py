"""Lines: means over seeds, smoothing that does not depend on the sampling, thinning that keeps peaks."""

import numpy as np
import pandas as pd
import pytest

from lab.figures.lines import line_panels, over_seeds, smoothed, spread, thinned
from lab.figures.styles import STYLES


def test_smoothing_does_not_depend_on_how_densely_a_line_is_recorded():
    x, y = np.array([25.0, 50, 75, 100]), np.array([1.0, 5, 2, 8])
    dense_x, dense_y = np.arange(5, 101, 5.0), np.repeat(y, 5)
    sparse = smoothed(x, y, np.zeros(4), 30)
    assert smoothed(dense_x, dense_y, np.zeros(20), 30)[4::5] == pytest.approx(sparse)
    assert sparse[0] == 1 and sparse[1] == pytest.approx((1 * 0.5 ** (25 / 30) + 5) / (0.5 ** (25 / 30) + 1))


def test_series_are_smoothed_each_for_itself_and_a_null_stays_null():
    x, y, series = np.array([1.0, 1, 2, 2, 3]), np.array([1.0, 9, np.nan, 9, 1]), np.array([0, 1, 0, 1, 0])
    assert smoothed(x, y, series, 2) == pytest.approx([1, 9, np.nan, 9, 1], nan_ok=True)


def test_thinning_keeps_peaks_ends_and_gaps():
    y = np.sin(np.arange(10_000) / 500)
    y[[1234, 7777]], y[5000:5010] = [9, -9], np.nan
    kept = thinned(y, 400)
    assert len(kept) <= 403 and {0, 1234, 7777, 5000, 9999} <= set(kept) and (np.diff(kept) > 0).all()
    assert np.isnan(y[kept]).sum() == 1
    assert list(thinned(y[:400], 400)) == list(range(400))


def rows_of(**values):
    """Rows of one line: run -> its values at steps 1, 2, ..."""
    return pd.concat([pd.DataFrame({"panel": "sst", "label": "gse", "run": run, "seed": seed, "value": of,
                                    "step": range(1, len(of) + 1)})
                      for seed, (run, of) in enumerate(values.items())]).assign(epoch=lambda rows: rows["step"] / 10)


def test_a_mean_has_all_seeds_of_its_line_or_is_null():
    means = over_seeds(rows_of(a=[1., 2, 3], b=[3., 4], c=[5., np.nan]), ["panel", "label", "step"], "epoch")
    assert list(means["n"]) == [3, 2, 1] and list(means["x"]) == pytest.approx([.1, .2, .3])
    assert list(means["mean"]) == pytest.approx([3, np.nan, np.nan], nan_ok=True)
    assert list(means["low"].notna()) == [True, False, False]
    both = pd.concat([rows_of(a=[1., 2]), rows_of(b=[5.]).assign(label="smart")])  # another line's runs do not count
    assert list(over_seeds(both, ["panel", "label", "step"], "epoch")["mean"]) == [1, 2, 5]


def test_a_panel_has_bands_then_thin_lines_then_means():
    drawn = {"gse": STYLES["gse"], "smart": STYLES["smart"]}
    rows = pd.concat([rows_of(a=[1., 2], b=[2., 4]), rows_of(c=[5., 6]).assign(label="smart")])
    found = line_panels(rows, {"qqp": "QQP", "sst": "SST"}, drawn, smooth=.5, each_seed=True, log=True)
    assert list(found) == ["sst"] and found["sst"].title == "SST" and found["sst"].yaxis == {"type": "log"}
    assert [trace["name"] for trace in found["sst"].traces] == "gse gse gse smart smart gse smart".split()
    assert [trace["meta"] for trace in found["sst"].lines] == [["gse"], ["smart"]]
    assert found["sst"].x == "epoch (smoothed, half-life 0.1)"
    assert line_panels(rows[:0], {"sst": "SST"}, drawn) == {}


def test_the_pointer_shows_bounds_that_are_never_the_mean_itself_and_one_seed_has_none():
    assert spread(.657, float("nan"), float("nan"), 1) == ("", "one seed")
    assert spread(.5, .5, .5, 3) == ("", "3 seeds, all the same")
    assert spread(.5, .4, .6, 3) == (" (0.4 to 0.6)", "3 seeds, 95 % 0.4 to 0.6")
    assert spread(.65741, .65739, .65743, 4)[0] == " (0.65739 to 0.65743)"
