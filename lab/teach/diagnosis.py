"""What is wrong with an answer, in a sentence or two: a common mistake by its name, a pattern, or the first case."""

import dis
import inspect
import linecache
import math
import traceback
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lab.teach.answers import ABSOLUTE, Tried, argument_names, copies, differs, numbers, right_parts, short, tried
from lab.teach.wrong_answers import WHERE_IT_FAILS, WRONG_ANSWERS

FLOAT32 = ("its formula is right, but float32 is too small or too coarse for these numbers: convert the arguments with "
           ".double() first")


def diagnosis(name: str, exercise: Any, mine: Callable, cases: Mapping[str, tuple], made: Sequence[Tried]) -> str:
    """Why a function is not right, and what to do. made: what it made of each case; one of them has a fault."""
    rights = [exercise.right(*copies(given)) for given in cases.values()]
    sentence = (_mistake(name, exercise, cases, made, rights) or _rounded(made, rights)
                or _where(name, exercise, mine, cases, made) or _pattern(exercise, mine, cases, made, rights))
    faulty = [(*case, one) for case, one in zip(cases.items(), made, strict=True) if one.fault]
    about, given, first = next((case for case in faulty if not case[-1].gradient), faulty[0])  # values come first
    if not sentence:
        line = _line(mine, first.answer)
        which = right_parts(exercise.parts, made, rights)
        sentence = (f"{which}{first.fault}{_help(first.answer)}{line}\n(the case “{about}”: "
                    f"{_arguments(exercise.right, given)})")
    if changed := changed_names(exercise, made):
        sentence += f"\nIt also changes {_listed(changed)} in place: work on a copy."
    taken = taken_names(mine)
    return sentence + (f"\nIt reads {_listed(taken)} from the notebook: use its arguments alone." if taken else "")


def changed_names(exercise: Any, made: Sequence[Tried]) -> list[str]:
    """The arguments that a function has changed in any case."""
    names = argument_names(exercise.right)
    return [names[i] for i in sorted({i for one in made for i in one.changed})]


def _line(mine: Callable, error: Any) -> str:
    """The learner's line that raised an exception, for the message; empty if it cannot be found."""
    if not isinstance(error, BaseException):
        return ""
    codes = {code for function in reached(mine) for code in _codes(function.__code__)}
    lines = [linecache.getline(frame.f_code.co_filename, number, frame.f_globals).strip()
             for frame, number in traceback.walk_tb(error.__traceback__) if frame.f_code in codes]
    return f"\nIt happens in the line: {short(lines[-1])}" if lines and lines[-1] else ""


# ---- a common mistake ------------------------------------------------------------------------------------------------


def _mistake(name: str, exercise: Any, cases: Mapping[str, tuple], made: Sequence[Tried], rights: list[Any]) -> str:
    """The feedback of the wrong answer that gives the same in all cases; empty if there is none."""
    if all(one.gradient or not one.fault for one in made):
        return ""
    ways = dict.fromkeys(((None, False, False), (exercise.matters, False, False), (exercise.matters, True, False),
                          (exercise.matters, True, True)))
    return next((feedback for matters, loose, guarded in ways for feedback, wrong in WRONG_ANSWERS[name].items()
                 if not (guarded and "in every case" in feedback)  # which is not so where some are right
                 and _is_like(wrong, matters, loose, guarded, cases, made, rights)), "")


def _where(name: str, exercise: Any, mine: Callable, cases: Mapping[str, tuple], made: Sequence[Tried]) -> str:
    """The feedback that belongs to the only cases that are wrong; empty if there is none."""
    faulty = [about for about, one in zip(cases, made, strict=True) if one.fault and not one.gradient]
    found = next((feedback for words, feedback in WHERE_IT_FAILS.get(name, {}).items()
                  if faulty and all(any(word in about for word in words) for about in faulty)), "")
    return FLOAT32 if found and _right_in_float64(exercise, mine, cases) else found


def _is_like(wrong: Callable, matters: Callable | None, loose: bool, guarded: bool, cases: Mapping[str, tuple],
             made: Sequence[Tried], rights: list[Any]) -> bool:
    """Whether all answers equal those of a wrong answer, in what matters; both may raise.

    loose: numbers of which one is NaN or infinite, and should not be, may differ, since such cases hang on how a
    mistake is written. Some other case must then show the same mistake in its numbers. guarded: cases that the learner
    has right do not count, since a mistake may be made with a good guard; two others, and more than contradict it,
    must then show it.
    """
    shown, against, messages = 0, 0, []
    for given, one, right in zip(cases.values(), made, rights, strict=True):
        if guarded and not one.fault:
            against += _fails(wrong, matters, given, right)
            continue
        try:
            theirs = wrong(*copies(given))
        except Exception as error:
            if isinstance(error, ArithmeticError) and _broken(one.answer, right, given, matters):
                continue  # tensors make 0 / 0 NaN where Python's numbers raise
            if type(one.answer) is not type(error):
                return False
            messages.append(short(one.answer) == short(error))
            continue
        if isinstance(one.answer, BaseException):
            return False
        if _equal(one.answer, theirs, right, given, matters):
            shown += bool(one.fault) and not (loose and _broken(one.answer, right, given, matters))
        elif not loose or not (_broken(one.answer, right, given, matters) or _broken(theirs, right, given, matters)):
            return False
        elif not _equal_where_finite(one.answer, theirs, right, given, matters):
            return False
    if len(messages) == len(made):
        return all(messages)
    return shown > (max(1, against) if guarded else 0) or (bool(messages) and not loose)


def _fails(wrong: Callable, matters: Callable | None, given: tuple, right: Any) -> bool:
    """Whether a wrong answer gives another result than the right one, without an exception."""
    try:
        return not _equal(right, wrong(*copies(given)), right, given, matters)
    except Exception:
        return False


def _broken(answer: Any, right: Any, given: tuple, matters: Callable | None) -> bool:
    """Whether an answer is NaN or infinite where the right one is not, in what matters."""
    got, wanted = numbers(answer, 0.0 if right is None else right), numbers(right, right)
    if got is None:
        return False
    if wanted is None or [part.shape for part in got] != [part.shape for part in wanted]:
        return not all(part.isfinite().all() for part in got)
    if matters:
        got, wanted = ([matters(part.detach().double(), *given) for part in of] for of in (got, wanted))
    return any((~part.isfinite() & of.isfinite()).any() for part, of in zip(got, wanted, strict=True))


def _equal_where_finite(answer: Any, theirs: Any, right: Any, given: tuple, matters: Callable | None) -> bool:
    """Whether two wrong answers are the same wherever both are numbers, or cannot be compared number by number."""
    mine, wrong = (numbers(of, 0.0 if right is None else right) for of in (answer, theirs))
    if mine is None or wrong is None or [part.shape for part in mine] != [part.shape for part in wrong]:
        return True
    if matters and [part.shape for part in mine] == [part.shape for part in numbers(right, right) or []]:
        mine, wrong = ([matters(part.detach().double(), *given) for part in of] for of in (mine, wrong))
    return all(_close(part[both].double(), of[both].double()) for part, of in zip(mine, wrong, strict=True)
               if (both := part.isfinite() & of.isfinite()).any())


def _equal(answer: Any, theirs: Any, right: Any, given: tuple, matters: Callable | None) -> bool:
    """Whether two wrong answers are the same, in any form."""
    mine, wrong, wanted = numbers(answer, right), numbers(theirs, right), numbers(right, right)
    if mine is None or wrong is None or wanted is None:
        if wrong is not None and wanted is not None and not differs(theirs, right, given, matters):
            return False  # a right result, of which another form is shown alike
        alike = short(answer) == short(theirs) and isinstance(answer, str) == isinstance(theirs, str)
        return alike or (answer is not None and not differs(answer, theirs))
    if [part.shape for part in wrong] != [part.shape for part in wanted]:
        matters = None  # it takes an answer of the right shape
    if len(mine) != len(wrong):
        return False
    mine, wrong = ([part.detach().double().nan_to_num(math.nan, math.nan, math.nan) for part in of]
                   for of in (mine, wrong))
    return not differs(tuple(mine), tuple(wrong), given, matters)


# ---- patterns --------------------------------------------------------------------------------------------------------


def _pattern(exercise: Any, mine: Callable, cases: Mapping[str, tuple], made: Sequence[Tried], rights: list) -> str:
    """What all answers have in common that is wrong in any exercise; empty if that is nothing."""
    faulty = [one for one in made if one.fault]
    if all(one.answer is None for one in made):
        return "it returns None: is a `return` missing?"
    if all(isinstance(one.answer, bool) for one in made) and not all(isinstance(right, bool) for right in rights):
        return "it returns True or False: return the number itself, not what follows from it"
    if any(isinstance(one.answer, BaseException) or one.gradient for one in faulty):
        return ""
    pairs = [(got[0], wanted[0]) for one, right in zip(made, rights, strict=True) if right is not None
             if (got := numbers(one.answer, right)) and (wanted := numbers(right, right)) and len(got) == 1]
    if len(pairs) < 2 or len(pairs) < len([right for right in rights if right is not None]):
        return _swapped(made, rights)
    pairs = [(of.detach().double(), right.detach().double()) for of, right in pairs]
    if any(of.shape != right.shape for of, right in pairs):
        alike = all(of.dim() == 2 and of.T.shape == right.shape and _close(of.T, right) for of, right in pairs)
        return "it is the transpose of the right result: swap its two dimensions" if alike else ""
    moving = [(of, right) for of, right in pairs if right.abs().max() > ABSOLUTE]
    if all(_close(of, -right) for of, right in moving):
        return "it has the wrong sign in every case: it is minus the right result"
    factors = [float((of * right).sum() / (right * right).sum()) for of, right in moving]
    factor = factors[0]
    if min(abs(factor), abs(factor - 1), ABSOLUTE) == ABSOLUTE > max(factors) - min(factors) and all(
            _close(of, factor * right) for of, right in moving):
        return f"it is {factor:.4g} times the right result in every case: a factor is missing, or there is one too many"
    if all(of.dim() == 0 and _close(of, pairs[0][0]) for of, _ in pairs):
        return (f"it returns {short(pairs[0][0])} in every case: does it use its arguments, or do // or int() cut off "
                "decimals?")
    return FLOAT32 if _right_in_float64(exercise, mine, cases) else ""


def _rounded(made: Sequence[Tried], rights: Sequence[Any]) -> str:
    """Whether all answers are the right ones, rounded to so many decimals, or without them."""
    pairs = []
    for one, right in zip(made, rights, strict=True):
        got, wanted = (numbers(of, 0.0 if right is None else right) for of in (one.answer, right))
        if one.gradient or got is None or wanted is None:
            if one.fault:
                return ""
            continue
        pairs += [(mine.detach().double(), of.detach().double()) for mine, of in zip(got, wanted, strict=True)]
    if any(mine.shape != of.shape for mine, of in pairs):
        return ""
    if any(mine.any() for mine, _ in pairs) and any(
            all(torch.equal(mine, cut(of)) for mine, of in pairs) for cut in (torch.floor, torch.trunc, torch.round)):
        return "it is the right result without its decimals: do // or int() or round() cut them off?"
    return next((f"it is the right result, but rounded to {n} decimal{'s' * (n > 1)}: return it as it is"
                 for n in range(1, 6) if all(torch.allclose(mine, of.round(decimals=n), rtol=1e-6, atol=1e-9,
                                                            equal_nan=True) for mine, of in pairs)), "")


def _close(of: Tensor, right: Tensor) -> bool:
    return torch.allclose(of, right, rtol=1e-4, atol=ABSOLUTE)


def _swapped(made: Sequence[Tried], rights: Sequence[Any]) -> str:
    """Whether the parts of each answer are right, but in another order."""
    if not all(isinstance(right, tuple) for right in rights):
        return ""
    for one, right in zip(made, rights, strict=True):
        got, wanted = numbers(one.answer, right), numbers(right, right)
        if got is None or not all(any(not differs(mine, of) for mine in got) for of in wanted):
            return ""
    return f"its {len(rights[0])} parts are right, but in another order: return them as the docstring lists them"


def _right_in_float64(exercise: Any, mine: Callable, cases: Mapping[str, tuple]) -> bool:
    wide = [tuple(of.double() if isinstance(of, Tensor) and of.is_floating_point() else of for of in given)
            for given in cases.values()]
    return not any(tried(exercise, mine, given).fault for given in wide)


def _help(error: Any) -> str:
    """What to do about an exception that beginners often meet."""
    if isinstance(error, NameError):
        return ". Import or define it in a cell above"
    if isinstance(error, IndexError) and "index 1 is out of bounds for dimension 0 with size 1" in short(error):
        return ". Whole numbers as an index are places: convert a mask with .bool()"
    text = short(error) if isinstance(error, RuntimeError | TypeError | AttributeError) else ""
    if "return_types" in text or "to tuple" in text:
        return ". With a dimension, max() and min() return a tuple (values, indices): use amax() and amin()"
    if "NoneType" in text:
        return ". A function without `return` gives None, and so does a method that changes a list, such as remove()"
    if "floating point" in text:
        return ". Convert whole numbers and booleans first, with .float()"
    if "scalar type" in text or "same dtype" in text or "same type" in text:
        return ". Give both tensors the same dtype: create yours with dtype=..., or convert it"
    return ""


# ---- names from the notebook -----------------------------------------------------------------------------------------


def taken_names(mine: Callable) -> list[str]:
    """Names of values, not of modules, functions or classes, that a function reads from the notebook it stands in."""
    found = []
    for function in reached(mine):
        for name in _global_names(function.__code__):
            value = function.__globals__.get(name)
            fine = isinstance(value, types.ModuleType) or callable(value) or name.startswith("__")
            fine = fine or (isinstance(value, float) and value == getattr(math, name, None))  # from math import inf
            if name in function.__globals__ and not fine and name not in found:
                found.append(name)
    return found


def reached(mine: Callable) -> list[types.FunctionType]:
    """A learner's function and the functions of the same notebook that it calls, directly or through others."""
    functions, waiting = [], [inspect.unwrap(mine)] if callable(mine) else []
    while waiting:
        function = waiting.pop()
        function = getattr(function, "func", function)  # functools.partial
        if not isinstance(function, types.FunctionType) or function in functions:
            continue
        functions.append(function)
        home = functions[0].__globals__
        waiting += [home[name] for name in _global_names(function.__code__)
                    if function.__globals__ is home and name in home]
    return [function for function in functions if function.__globals__ is functions[0].__globals__]


def is_the_labs(exercise: Any, mine: Callable) -> bool:
    """Whether a function is the lab's own answer, or calls it by a name."""
    functions = reached(mine)
    values = [function.__globals__.get(name) for function in functions for name in _global_names(function.__code__)]
    if any(value is exercise.right for value in [*functions, *values]):
        return True
    return any({"EXERCISES", "right"} <= set(code.co_names) for of in functions for code in _codes(of.__code__))


def _global_names(code: types.CodeType) -> Iterator[str]:
    for each in _codes(code):
        for step in dis.get_instructions(each):
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                yield step.argval


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """A function's code and that of the functions and comprehensions within it."""
    yield code
    for of in code.co_consts:
        if isinstance(of, types.CodeType):
            yield from _codes(of)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _arguments(right: Callable, given: Sequence[Any]) -> str:
    """The arguments of a case with their names, for the message."""
    return ", ".join(f"{name} = {short(of)}" for name, of in zip(argument_names(right), given, strict=True))
