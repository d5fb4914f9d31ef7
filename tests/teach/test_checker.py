"""lab/teach/checker.py: it tells right from wrong and says what is wrong; solutions are collapsed."""

import pytest

import lab
from lab import teach
from lab.teach.exercises import EXERCISES


@pytest.mark.parametrize("name", EXERCISES)
def test_an_empty_function_an_exception_and_a_wrong_kind_are_named(name):
    def unwritten(*given):
        ...

    def raises(*given):
        raise ZeroDivisionError("oh")

    assert "returns None: is a `return` missing?" in teach.check(name, unwritten)
    assert "it raises ZeroDivisionError: oh" in teach.check(name, raises)
    assert "expected" in teach.check(name, lambda *given: "a text")
    assert "raises TypeError" in teach.check(name, lambda: 0)


def test_a_wrong_shape_and_a_changed_argument_are_named():
    right = EXERCISES["mean_pool"].right
    found = teach.check("mean_pool", lambda hidden, mask: right(hidden, mask).T)
    assert "its result has shape (2, 1); expected (1, 2)" in found

    def spoils(hidden, mask):
        answer = right(hidden, mask)
        hidden.zero_()
        return answer

    found = teach.check("mean_pool", spoils)
    assert not found and "changes its argument number 1 in place" in found


def test_an_unknown_wrong_answer_gets_the_case_and_both_numbers():
    found = teach.check("overall_score", lambda sst, qqp, sts: 0.25)
    assert "it returns 0.25; expected 0.6412" in found and "sst = 0.512, qqp = 0.731, sts = 0.361" in found


def test_an_exception_of_no_common_wrong_answer_is_reported_as_it_is():
    found = teach.check("last_pool", lambda hidden, lengths: [][9])
    assert "it raises IndexError: list index out of range" in found and "cumsum" not in found


def test_an_unknown_name_is_an_error_that_names_the_nearest():
    with pytest.raises(lab.LabError, match="did you mean 'pcgrad'"):
        teach.check("pcgradd", max)
    with pytest.raises(lab.LabError, match="did you mean"):
        teach.solution("attentoin")


def test_a_solution_is_collapsed_and_escaped():
    page = teach.solution("pearson")._repr_mimebundle_()["text/html"]
    assert page.startswith("<details><summary>") and "-&gt; float | None" in page
    assert "&lt;" not in teach.check("pearson", lambda x, y: None) and "<pre>" in teach.check("pearson", max).page


def test_the_message_of_an_exception_is_escaped():
    def raises(*given):
        raise ValueError("<script>")

    assert "&lt;script&gt;" in teach.check("interval", raises).page


@pytest.mark.parametrize("name", EXERCISES)
def test_a_check_keeps_the_cases(name):
    before = repr(EXERCISES[name].cases)
    teach.check(name, EXERCISES[name].right)
    assert repr(EXERCISES[name].cases) == before
