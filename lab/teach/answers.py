"""Whether a learner's answer is the right one, in whatever form: lists, arrays and stacked tensors count as tensors.

Only what the exercise asks for is compared (`Exercise.matters`), and gradients where a training goes through the
function (`Exercise.gradients`).
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

RELATIVE, ABSOLUTE = 1e-4, 1e-5  # tolerances; whole numbers are compared exactly
LARGEST = 1000  # numbers of an answer that are looked at; no right answer has a tenth of that
LONGEST = 1000  # characters of a value in a message


class Tried(NamedTuple):
    """What a function made of one case."""

    answer: Any  # or the exception that it raised
    fault: str = ""  # what is wrong, as the end of a message; empty if nothing is
    changed: tuple[int, ...] = ()  # the arguments that it changed, counted from 0
    plain: bool = False  # the values are right, but they are numpy's or Python's, through which no gradient flows
    gradient: bool = False  # whether the fault is in the gradient alone


def tried(exercise: Any, mine: Callable, given: Sequence[Any]) -> Tried:
    """Call a function on copies of a case's arguments, and compare with the right answer, derived anew."""
    answer, error, changed = _called(mine, given)
    if error is not None:
        return Tried(error, f"it raises {type(error).__name__}: {short(error)}")
    fault = differs(answer, exercise.right(*copies(given)), given, exercise.matters)
    if fault or not exercise.gradients:
        return Tried(answer, fault, changed)
    return Tried(answer, "", changed)._replace(**_gradient_fault(exercise, mine, given, answer))


def copies(given: Sequence[Any]) -> list[Any]:
    """Copies of a case's arguments, down to the lists within lists."""
    return copy.deepcopy(list(given))


def _called(mine: Callable, given: Sequence[Any]) -> tuple[Any, BaseException | None, tuple[int, ...]]:
    """The answer, what was raised instead, and which arguments were changed."""
    mutable = copies(given)
    try:
        answer = mine(*mutable)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a learner's function may raise anything
        return None, error, ()
    return answer, None, tuple(i for i, pair in enumerate(zip(given, mutable, strict=True)) if not _same(*pair))


def _same(before: Any, after: Any) -> bool:
    try:
        return torch.equal(before, after) if isinstance(before, Tensor) else before == after
    except Exception:  # what the function has put there cannot be compared
        return False


# ---- values ----------------------------------------------------------------------------------------------------------


def numbers(answer: Any, right: Any) -> list[Tensor] | None:
    """An answer as tensors in the form of the right one: one, or one for each part of a tuple. None if it has another
    form or is not real numbers."""
    try:
        if not isinstance(right, tuple):
            return [_tensor(answer)]
        if isinstance(answer, tuple | list | Tensor | np.ndarray) and len(answer) == len(right):
            return [_tensor(part) for part in answer]
    except Exception:  # an answer can be any object, and refuse in any way
        pass
    return None


def _tensor(part: Any) -> Tensor:
    if isinstance(part, Tensor):
        if not is_plain(part) or part.is_complex():
            raise TypeError("not real numbers that can be looked at")
        return part
    if isinstance(part, tuple | list):
        if len(part) > LARGEST:
            raise TypeError("too many numbers")
        if any(isinstance(of, Tensor | np.ndarray | tuple | list) for of in part):
            return torch.stack([_tensor(of) for of in part])
    part = float(part) if isinstance(part, Fraction | Decimal) else part
    made = torch.as_tensor(part)
    return _tensor(made if not made.is_floating_point() else torch.as_tensor(part, dtype=torch.float64))


def is_plain(tensor: Tensor) -> bool:
    """Whether its numbers can be looked at: it is not sparse, nested, quantized, without data, or huge."""
    return (tensor.layout == torch.strided and tensor.device.type != "meta" and not tensor.is_quantized
            and not tensor.is_nested and tensor.numel() <= LARGEST)


def differs(answer: Any, right: Any, given: Sequence[Any] = (), matters: Callable | None = None) -> str:
    """How the answer differs from the right one in what matters; empty if it does not."""
    if answer is None and right is not None:
        return f"it returns None; expected {short(right)}. Does every branch return something?"
    if answer is None:
        return ""
    if isinstance(answer, Iterator):
        return f"it returns a {type(answer).__name__}, which has no numbers yet: make a list of it, list(...)"
    got, wanted = short(answer), short(right)
    if got == wanted:
        got, wanted = short(answer, 10), short(right, 10)
    if got == wanted or isinstance(answer, str):
        got, wanted = (f"{text}, of type {_types(of)}" for text, of in ((got, answer), (wanted, right)))
    otherwise = f"it returns {got}; expected {wanted}"
    got, wanted = (numbers(of, right) for of in (answer, right)) if right is not None else (None, None)
    if got is None or wanted is None:
        return otherwise
    for place, (part, of) in enumerate(zip(got, wanted, strict=True)):
        if part.shape != of.shape:
            which = "its result" if len(got) == 1 else f"number {place + 1} of its {len(got)} results"
            listed = isinstance(right, tuple) and isinstance(right[place], list)  # of ids: to look at them tells more
            return _shapes(part, of, answer, which) if part.numel() and not listed else otherwise
        exact = not of.is_floating_point()
        part, of = part.detach().to(torch.float64), of.detach().to(torch.float64)
        if matters:
            part, of = matters(part, *given), matters(of, *given)
        if not torch.allclose(part, of, rtol=0 if exact else RELATIVE, atol=0 if exact else ABSOLUTE, equal_nan=True):
            return otherwise
    return ""


def right_parts(names: Sequence[str], made: Sequence[Tried], rights: Sequence[Any]) -> str:
    """Which of several results are right in every case, as the beginning of a message; empty if none is."""
    pairs = [(numbers(one.answer, right), numbers(right, right)) for one, right in zip(made, rights, strict=True)]
    if not names or any(got is None for got, _ in pairs):
        return ""
    wrong = [any(differs(got[i], wanted[i]) for got, wanted in pairs) for i in range(len(names))]
    if all(wrong) or not any(wrong):
        return ""
    parts = [[f"`{name}`" for name, of in zip(names, wrong, strict=True) if of == kind] for kind in (False, True)]
    are, are_not = (f"{' and '.join(of)} {'is' if len(of) == 1 else 'are'}" for of in parts)
    return f"{are} right in every case, {are_not} not: "


def _types(of: Any) -> str:
    """The type of an object, and those of its parts if it is a tuple."""
    parts = f" of {' and '.join(_types(part) for part in of[:3])}" if isinstance(of, tuple) and len(of) < 4 else ""
    return type(of).__name__ + parts


def _shapes(part: Tensor, of: Tensor, answer: Any, which: str) -> str:
    if not isinstance(answer, Tensor) and not of.dim():
        return f"it returns {short(answer)}; expected one number"
    if isinstance(answer, tuple) and len(answer) == 1:
        return "it returns a tuple with one part: is there a comma after the result?"
    fault = f"{which} has shape {tuple(part.shape)}; expected {tuple(of.shape)}"
    if part.squeeze().shape == of.squeeze().shape:
        more = part.dim() > of.dim()
        return fault + (": remove the dimension of size 1, as squeeze() does" if more
                        else ": keep the dimension of size 1, as keepdim=True does")
    return fault + (": it is the transpose" if part.dim() == 2 and part.T.shape == of.shape else "")


# ---- gradients -------------------------------------------------------------------------------------------------------


def _gradient_fault(exercise: Any, mine: Callable, given: Sequence[Any], answer: Any) -> dict[str, Any]:
    """The fields of `Tried` that say what is wrong with the gradients of an answer whose values are right."""
    at = [i for i, name in enumerate(argument_names(exercise.right)) if name in exercise.gradients]
    one_number = numbers(answer, 0.0)[0].dim() == 0  # a loss: nothing can be trained by it without its gradient
    if not one_number and not _holds_tensors(answer):
        return {"plain": True}
    cut = {"gradient": True, "fault": "its values are right, but no gradient flows through it: use torch's operations "
           "only, without detach(), no_grad(), item(), float() or numpy, since training differentiates this function"}
    try:
        got = _gradients(exercise, mine, given, at)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # numpy refuses tensors that have a gradient
        if "numpy()" in str(error):
            return cut if one_number else {"plain": True}
        return {"gradient": True, "fault": "its values are right, but it fails where a gradient is needed, with "
                f"{type(error).__name__}: {short(error)}"}
    if got is None:
        return cut
    rights = [exercise.right, exercise.also] if exercise.also else [exercise.right]
    faults = [_differing(got, _gradients(exercise, right, given, at), exercise.gradients)
              for right in rights]
    return {"gradient": True, "fault": faults[0]} if all(faults) else {}


def _holds_tensors(answer: Any) -> bool:
    return isinstance(answer, Tensor) or (isinstance(answer, list | tuple) and any(map(_holds_tensors, answer)))


def _gradients(exercise: Any, function: Callable, given: Sequence[Any], at: Sequence[int]) -> list[Tensor] | None:
    """The gradients of a fixed weighted sum of what matters in a function's answer. None: it has no gradient."""
    arguments = copies(given)
    leaves = [arguments[i].requires_grad_() for i in at]
    with torch.enable_grad():  # a notebook may have switched it off
        for i in at:
            arguments[i] = arguments[i].clone()  # a function may write into it
        of = _tensor(function(*arguments)).to(torch.float64)
        of = exercise.matters(of, *given) if exercise.matters else of
        total = (of.flatten() * torch.arange(1, of.numel() + 1, dtype=torch.float64).cos()).sum()
    if not total.requires_grad:
        return None
    found = torch.autograd.grad(total, leaves, allow_unused=True)
    return [torch.zeros_like(leaf) if of is None else of for of, leaf in zip(found, leaves, strict=True)]


def _differing(got: Sequence[Tensor], wanted: Sequence[Tensor], names: Sequence[str]) -> str:
    for part, of, name in zip(got, wanted, names, strict=True):
        if not part.isfinite().all():
            return (f"its values are right, but the gradient with respect to {name} is NaN or infinite, which would "
                    "destroy the weights: never let NaN or inf arise on the way, not even in what is left out later, "
                    "such as the softmax of a row that is all -inf")
        if not torch.allclose(part, of, rtol=10 * RELATIVE, atol=10 * ABSOLUTE):
            return (f"its values are right, but the gradient with respect to {name} is not, which training needs: "
                    "is a part cut off by detach(), no_grad() or item()?")
    return ""


# ---- words -----------------------------------------------------------------------------------------------------------


def argument_names(right: Callable) -> tuple[str, ...]:
    """The names of a function's arguments, in order."""
    return right.__code__.co_varnames[:right.__code__.co_argcount]


def short(of: Any, digits: int = 4) -> str:
    """Format any object for a message, numbers with so many digits; what cannot be shown is described."""
    try:
        text = _formatted(of, digits)
    except Exception:  # RecursionError too, of a list that contains itself
        text = f"an object of type {type(of).__name__} that cannot be shown"
    text = text if len(text) <= LONGEST else text[:LONGEST] + "..."
    return "".join(sign if sign.isprintable() or sign == "\n" else "\N{REPLACEMENT CHARACTER}" for sign in text)


def _formatted(of: Any, digits: int) -> str:
    if isinstance(of, Tensor):
        if not is_plain(of):
            return f"a tensor of {of.dtype}, layout {of.layout} and device {of.device}, with {of.numel():,} numbers"
        of = of.detach().tolist()
    if isinstance(of, np.ndarray) and of.size <= LARGEST:
        of = of.tolist()
    if isinstance(of, tuple | list):
        ends = "()" if isinstance(of, tuple) else "[]"
        return ", ".join(_formatted(part, digits) for part in of[:LARGEST]).join(ends)
    return f"{of:.{digits}g}" if isinstance(of, float) else str(of)
