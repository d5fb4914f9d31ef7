"""lab/teach/wrong_answers.py: each common wrong answer fails its check and gets its own feedback."""

import pytest

from lab import teach
from lab.teach.exercises import EXERCISES
from lab.teach.wrong_answers import WRONG_ANSWERS

ALL = [(name, feedback) for name in EXERCISES for feedback in WRONG_ANSWERS[name]]


@pytest.mark.parametrize(("name", "feedback"), ALL)
def test_a_common_wrong_answer_gets_its_feedback(name, feedback):
    found = teach.check(name, WRONG_ANSWERS[name][feedback])
    assert not found and feedback in found and "✗" in found


def test_every_exercise_knows_three_wrong_answers():
    for name in EXERCISES:
        assert len(WRONG_ANSWERS[name]) >= 3, name
