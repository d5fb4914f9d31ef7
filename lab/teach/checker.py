"""Check a learner's answer to an exercise: call the function on all cases and report what is wrong.

    teach.check("pcgrad", mine)             # which cases are correct, and what is wrong with the first that is not
"""

import copy
import html
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch

from lab.experiment import nearest
from lab.teach.exercises import EXERCISES
from lab.teach.source import Text, source_of
from lab.teach.wrong_answers import WRONG_ANSWERS

TOLERANCE = 1e-4  # relative and absolute
LARGEST = 1000  # numbers of an answer that are looked at; no right answer has a tenth of that
LONGEST = 1000  # characters of a value in a message


class Checked(Text):
    """The result of `check` as text; true if every case is correct."""

    passed = False

    def __bool__(self) -> bool:
        return self.passed


def check(name: str, mine: Callable) -> Checked:
    """Call a learner's function on all cases of an exercise; report which are correct, and why the first other is not.

    A common wrong answer gets its own feedback. Whatever the function raises is reported, not raised, also sys.exit();
    only Ctrl-C interrupts. Whatever it returns is answered with a sentence. LabError: no such exercise.
    """
    exercise = _exercise(name)
    lines, why, answers = [], "", []
    for about, given in exercise.cases.items():
        answer, fault = _called(mine, given)
        answers.append(answer)
        fault = fault or _differs(answer, exercise.right(*_copies(given)))
        lines.append(f"{'✗' if fault else '✓'} {about}")
        why = why or (fault and f"{fault}\n(the case “{about}”: {_arguments(exercise.right, given)})")
    if why:
        why = next((feedback for feedback, wrong in WRONG_ANSWERS[name].items()
                    if _same_answers(wrong, exercise, answers)), why)
    result = Checked("\n".join([f"{name}: {'correct' if not why else 'not yet'}", *lines, *([why] if why else [])]))
    result.passed = not why
    result.page = "<pre>" + html.escape(str(result)) + "</pre>"
    return result


def solution(name: str) -> Text:
    """The solution of an exercise, collapsed in a notebook until the learner opens it. LabError: no such exercise."""
    code, _ = source_of(_exercise(name).right)
    text = Text(code)
    text.page = f"<details><summary>Solution of {html.escape(name)}</summary><pre>{html.escape(code)}</pre></details>"
    return text


def _exercise(name: str) -> Any:
    if not isinstance(name, str) or name not in EXERCISES:
        raise nearest(name, EXERCISES, "exercise")
    return EXERCISES[name]


def _copies(given: Sequence[Any]) -> list[Any]:
    return copy.deepcopy(list(given))


def _called(mine: Callable, given: Sequence[Any]) -> tuple[Any, str]:
    """The answer, and a fault that is wrong in any exercise: an exception, or a modified argument."""
    mutable = _copies(given)
    try:
        answer = mine(*mutable)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a learner's function may raise anything
        return error, f"it raises {type(error).__name__}: {_short(error)}"
    for number, (before, after) in enumerate(zip(given, mutable, strict=True), 1):
        try:
            same = torch.equal(before, after) if isinstance(before, torch.Tensor) else before == after
        except Exception:  # what it has put there cannot be compared
            same = False
        if not same:
            return answer, f"it changes its argument number {number} in place: work on a copy, the caller needs it"
    return answer, ""


def _parts(answer: Any) -> list[torch.Tensor] | None:
    """An answer as float64 tensors, with an empty tensor for None. Returns None if the answer is not real numbers."""
    try:
        return [torch.empty(0, dtype=torch.float64) if part is None else _numbers(part)
                for part in (answer if isinstance(answer, tuple) else (answer,))]
    except Exception:  # an answer can be any object, and refuse in any way
        return None


def _numbers(part: Any) -> torch.Tensor:
    part = part.detach() if isinstance(part, torch.Tensor) else torch.as_tensor(part, dtype=torch.float64)
    if not _is_plain(part) or part.is_complex():
        raise TypeError("not real numbers that can be looked at")
    return part.to(torch.float64)


def _is_plain(tensor: torch.Tensor) -> bool:
    """Whether its numbers can be looked at: it is not sparse, nested, quantized, without data, or huge."""
    return (tensor.layout == torch.strided and tensor.device.type != "meta" and not tensor.is_quantized
            and not tensor.is_nested and tensor.numel() <= LARGEST)


def _differs(answer: Any, right: Any) -> str:
    """How the answer differs from the right one; empty if it does not."""
    if answer is None and right is not None:
        return "it returns None: is a `return` missing?"
    got, wanted = _parts(answer), _parts(right)
    if got is None or len(got) != len(wanted):
        return f"it returns {_short(answer)}; expected {_short(right)}"
    for part, of in zip(got, wanted, strict=True):
        if part.shape != of.shape and of.numel() and part.numel():
            return f"its result has shape {tuple(part.shape)}; expected {tuple(of.shape)}"
        if part.numel() != of.numel() or not torch.allclose(part, of, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
            return f"it returns {_short(answer)}; expected {_short(right)}"
    return ""


def _same_answers(wrong: Callable, exercise: Any, answers: list[Any]) -> bool:
    """Whether all answers and exceptions equal those of this wrong answer."""
    theirs = [_called(wrong, given)[0] for given in exercise.cases.values()]
    return not any((type(a), _short(a)) != (type(b), _short(b)) if isinstance(a, BaseException)
                   or isinstance(b, BaseException) else _differs(a, b) for a, b in zip(answers, theirs, strict=True))


def _arguments(right: Callable, given: Sequence[Any]) -> str:
    """The arguments of a case with their names, for the message."""
    names = inspect.signature(right).parameters
    return ", ".join(f"{name} = {_short(of)}" for name, of in zip(names, given, strict=True))


def _short(of: Any) -> str:
    """Format any object for the message, numbers with four significant digits; what cannot be shown is described."""
    try:
        text = _formatted(of)
    except Exception:  # RecursionError too, of a list that contains itself
        text = f"an object of type {type(of).__name__} that cannot be shown"
    text = text if len(text) <= LONGEST else text[:LONGEST] + "..."
    return "".join(sign if sign.isprintable() or sign == "\n" else "\N{REPLACEMENT CHARACTER}" for sign in text)


def _formatted(of: Any) -> str:
    if isinstance(of, torch.Tensor):
        if not _is_plain(of):
            return f"a tensor of {of.dtype}, layout {of.layout} and device {of.device}, with {of.numel():,} numbers"
        of = of.detach().tolist()
    if isinstance(of, tuple | list):
        ends = "()" if isinstance(of, tuple) else "[]"
        return ", ".join(map(_formatted, of[:LARGEST])).join(ends)
    return f"{of:.4g}" if isinstance(of, float) else str(of)
