"""lab/teach/hints.py: three hints an exercise, one after the other."""

import re

import pytest

import lab
from lab import teach
from lab.teach import hints
from lab.teach.exercises import EXERCISES


@pytest.fixture(autouse=True)
def fresh_kernel(monkeypatch):
    monkeypatch.setattr(hints, "_given", {})


def test_each_call_gives_the_next_hint_and_the_last_one_stays():
    shown = [teach.hint("pcgrad") for _ in range(4)]
    assert [re.search(r"Hint (\d) of 3", text)[1] for text in shown] == ["1", "2", "3", "3"]
    assert "Hint 1 of 3" in teach.hint("annealed") and "Hint 1 of 3" in teach.hint("pcgrad", 1)
    assert 'teach.hint("pcgrad", 2)' in shown[0] and 'teach.solution("pcgrad")' in shown[2]
    assert shown[0].startswith("pcgrad: hard, about 30 minutes") and "<pre" in shown[0].page


def test_every_exercise_has_three_hints_and_stands_in_its_notebook():
    assert set(hints.HELP) == set(EXERCISES)
    for name, of in hints.HELP.items():
        assert len(set(of.hints)) == 3 and of.level in ("easy", "medium", "hard") and 0 < of.minutes <= 30, name


def test_an_unknown_exercise_or_step_is_an_error():
    with pytest.raises(lab.LabError, match="did you mean 'pcgrad'"):
        teach.hint("pcgradd")
    for step in (0, 4, "2", True):
        with pytest.raises(lab.LabError, match="has the hints 1 to 3"):
            teach.hint("pcgrad", step)
