"""lab/teach/scale.py: the scale of the notebooks."""

import pytest

import lab
from lab import teach
from lab.teach.scale import SCALE


def test_one_variable_selects_the_small_scale(monkeypatch):
    sample = lab.load_data()
    monkeypatch.delenv(SCALE, raising=False)
    full = teach.experiment("gse_3x", sample, pooling="mean")
    assert (full.protocol, full.pooling, full.name) == ("sample", "mean", "gse_3x")
    monkeypatch.setenv(SCALE, "small")
    small = teach.experiment("gse_3x", sample, epochs=9)
    assert (small.epochs, small.iterations) == (1, 2)
    with pytest.raises(lab.LabError, match="did you mean 'gse'"):
        teach.experiment("gsee", sample)
    with pytest.raises(lab.LabError, match="did you mean 'pooling'"):
        teach.experiment("gse", sample, poolin="mean")
