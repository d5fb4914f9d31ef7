"""lab/teach/mistakes.py: wrong answers that are made of the right one's source."""

import pytest

from lab.teach.mistakes import mistakes


def right(a, b):
    """The larger of a - b and 0."""
    return max(a - b, 0)


def test_a_wrong_answer_differs_from_the_right_one_in_the_texts_that_are_named():
    made = mistakes(right, {"add": ("a - b", "a + b"), "both": ("max", "min", "0", "1"), "own": lambda a, b: "mine"})
    assert {feedback: wrong(5, 2) for feedback, wrong in made.items()} == {"add": 7, "both": 1, "own": "mine"}
    assert right(5, 2) == 3


def test_a_text_that_the_right_answer_has_no_more_is_named():
    with pytest.raises(ValueError, match=r"right has no 'a \* b'"):
        mistakes(right, {"times": ("a * b", "a / b")})
