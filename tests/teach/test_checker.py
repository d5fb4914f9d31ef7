"""lab/teach/checker.py: it tells right from wrong and says what is wrong; solutions are collapsed."""

import sys

import pytest
import torch

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


class Hostile:
    """An object that fails in every way in which it is looked at."""

    def __eq__(self, other):
        raise OSError("eq")

    def __repr__(self):
        raise OSError("repr")

    __hash__ = None


class HostileError(BaseException):
    def __str__(self):
        raise OSError("str")


def raising(error):
    def raises(*given):
        raise error
    return raises


def endless(*given):
    return endless(*given)


def holding_itself(kind):
    inner = []
    inner.append(kind([inner]))
    return inner[0]


BAD = {
    "it raises SystemExit: 3": lambda *given: sys.exit(3),
    "it raises GeneratorExit": raising(GeneratorExit()),
    "it raises HostileError: an object of type HostileError that cannot be shown": raising(HostileError()),
    "it raises RecursionError": endless,
    "it raises ValueError: \N{REPLACEMENT CHARACTER}[2J": raising(ValueError("\x1b[2J")),
    "an object of type int that cannot be shown": lambda *given: 10**5000,
    "an object of type list that cannot be shown": lambda *given: holding_itself(list),
    "an object of type tuple that cannot be shown": lambda *given: holding_itself(tuple),
    "an object of type Hostile that cannot be shown": lambda *given: Hostile(),
    "it returns [9, 9, ": lambda *given: [9] * 10**6,
    "it returns <generator": lambda *given: (x for x in given),
    "it returns nan": lambda *given: float("nan"),
    "it returns 1j": lambda *given: 1j,
    "it returns (0.616": lambda *given: torch.tensor(0.6164 + 0j),
    "layout torch.sparse_coo": lambda *given: torch.eye(2).to_sparse(),
    "device meta, with 2 numbers": lambda *given: torch.empty(2, device="meta"),
    "with 4,000,000,000,000 numbers": lambda *given: torch.zeros(1).expand(4 * 10**12),
    "it returns \N{REPLACEMENT CHARACTER}": lambda *given: "\ud800",
}


@pytest.mark.parametrize("feedback", BAD)
def test_whatever_a_function_does_there_is_feedback(feedback):
    found = teach.check("pearson", BAD[feedback])
    assert not found and feedback in found and len(found) < 3000
    assert found.page.encode()  # a notebook sends it as UTF-8


def test_an_argument_that_cannot_be_compared_any_more_is_a_changed_one():
    def spoils(values):
        values[:] = [Hostile()]

    assert "changes its argument number 1 in place" in teach.check("interval", spoils)


def test_ctrl_c_still_interrupts():
    with pytest.raises(KeyboardInterrupt):
        teach.check("pearson", raising(KeyboardInterrupt()))


def test_a_list_within_a_list_that_is_changed_is_named_and_the_case_stays():
    before = repr(EXERCISES["pcgrad"].cases)

    def spoils(G, orders):
        answer = EXERCISES["pcgrad"].right(G, orders)
        orders[0].reverse()
        return answer

    assert "changes its argument number 2 in place" in teach.check("pcgrad", spoils)
    assert repr(EXERCISES["pcgrad"].cases) == before
