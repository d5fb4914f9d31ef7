"""Lines: smoothing that the sampling does not change, thinning that loses no peak."""

import numpy as np
import pytest

from lab.figures.lines import smoothed, thinned


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
