"""lab/teach/source.py: the source shown is that of the running code."""

import inspect

import pytest

import lab
from lab import teach
from lab.results import significance


def test_the_source_shown_is_what_runs_with_its_place():
    shown = teach.show(lab.COMBINERS["pcgrad"], lab.smart.Smart)
    assert inspect.getsource(lab.COMBINERS["pcgrad"]).rstrip() in shown
    assert "lab/gradients.py, lines " in shown and "class Smart:" in shown
    assert "\nlab/results/significance.py, lines " in f"\n{teach.show(significance.interval)}"  # as from the checkout
    assert "```python" in shown._repr_mimebundle_()["text/markdown"] and repr(shown) == str(shown)
    with pytest.raises(lab.LabError, match="no source"):
        teach.show(3)
