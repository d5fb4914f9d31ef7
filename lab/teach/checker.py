"""Check a learner's answer to an exercise: call the function on all cases and report what is wrong.

    teach.check("pcgrad", mine)             # which cases are correct, and what is wrong with the first that is not
"""

import html
import os
import random
from collections.abc import Callable, Sequence
from typing import Any

from lab.errors import nearest
from lab.teach.answers import Tried, tried
from lab.teach.diagnosis import changed_names, diagnosis, is_the_labs, taken_names
from lab.teach.draws import Draw
from lab.teach.exercises import EXERCISES
from lab.teach.hints import about
from lab.teach.scale import SCALE
from lab.teach.solved import keep
from lab.teach.source import Text, source_of

COLOURS = {"correct": "#1a7f37", "not yet": "#b35900", "not attempted": "#6e7781", "the lab's own answer": "#6e7781"}


class Checked(Text):
    """The result of `check` as text; true if every case is correct and the answer is the learner's own."""

    state = ""  # a key of COLOURS
    seed = 0  # of the drawn cases

    @property
    def passed(self) -> bool:
        """Whether every case is correct."""
        return self.state in ("correct", "the lab's own answer")

    def __bool__(self) -> bool:
        return self.state == "correct"


def check(name: str, mine: Callable, seed: int | None = None) -> Checked:
    """Call a learner's function on all cases of an exercise; report which are correct, and why the first other is not.

    Some cases can be checked by hand, the others are drawn anew each time, unless `seed` is the number that a check
    has printed. A common wrong answer gets its own feedback. Whatever the function raises is reported, not raised,
    also sys.exit(); only Ctrl-C interrupts. Whatever it returns is answered with a sentence. LabError: no such
    exercise.
    """
    exercise = _exercise(name)
    if seed is None:  # committed outputs must not change from one execution to the next
        seed = 0 if os.environ.get(SCALE) else random.SystemRandom().randrange(10_000)
    if not callable(mine):
        what = "None" if mine is None else f"a value of type {type(mine).__name__}"
        return _checked(name, "not yet", seed, [f"You passed {what}; pass the function itself, its name without "
                                                "parentheses"])
    drawn = exercise.draw(Draw(seed))
    cases = {**exercise.cases, **{f"drawn: {about}": given for about, given in drawn.items()}}
    made = [tried(exercise, mine, given) for given in cases.values()]
    lines = [f"{'✗' if one.fault else '✓'} {about}" for about, one in zip(exercise.cases, made, strict=False)]
    wrong = sum(bool(one.fault) for one in made[len(exercise.cases):])
    lines.append(f"✗ {wrong} of {len(drawn)} cases that were drawn at random (seed {seed})" if wrong
                 else f"✓ {len(drawn)} cases that were drawn at random (seed {seed})")
    if not any(one.fault for one in made):
        state = "the lab's own answer" if is_the_labs(exercise, mine) else "correct"
        lines += _remarks(exercise, mine, made, state)
        lines += [keep(name)] if state == "correct" else []
    else:
        untried = all(one.answer is None and not one.changed for one in made)
        state = "not attempted" if untried else "not yet"
        lines.append(diagnosis(name, exercise, mine, cases, made))
        difficulty = f"{about(name)}. " if state == "not attempted" else ""
        lines.append(f'{difficulty}Stuck? teach.hint("{name}")')
    return _checked(name, state, seed, lines)


def _checked(name: str, state: str, seed: int, lines: list[str]) -> Checked:
    result = Checked("\n".join([f"{name}: {state}", *lines]))
    result.state, result.seed, result.page = state, seed, _box(str(result), COLOURS[state])
    return result


def _remarks(exercise: Any, mine: Callable, made: Sequence[Tried], state: str) -> list[str]:
    """What a learner should know about an answer that is right."""
    remarks = []
    if state != "correct":
        remarks.append("This is the lab's own answer. Write one yourself, so that it counts as solved.")
    if changed := changed_names(exercise, made):
        which = " and ".join(f"`{name}`" for name in changed)
        remarks.append(f"It changes its argument{'s' * (len(changed) > 1)} {which} in place. The check "
                       "passes copies, so its results are right; elsewhere the caller may still need the original.")
    if any(one.plain for one in made):
        remarks.append(
            "No gradient flows through numpy or Python's numbers: nothing that comes before it in a model would learn.")
    if taken := taken_names(mine):
        remarks.append(f"It reads {', '.join(f'`{name}`' for name in taken)} from the notebook: it is safer to use its "
                       "arguments alone.")
    return remarks


def solution(name: str) -> Text:
    """The solution of an exercise, collapsed in a notebook until the learner opens it. LabError: no such exercise."""
    code, _ = source_of(_exercise(name).right)
    text = Text(code)
    text.page = f"<details><summary>Solution of {html.escape(name)}</summary><pre>{html.escape(code)}</pre></details>"
    return text


def _box(text: str, colour: str) -> str:
    """A text in a box whose edge has a colour; the words say the same to those who do not see it."""
    return (f'<div role="status" style="border-left: 6px solid {colour}; padding-left: 12px">'
            f'<pre style="white-space: pre-wrap">{html.escape(text)}</pre></div>')


def _exercise(name: str) -> Any:
    if not isinstance(name, str) or name not in EXERCISES:
        raise nearest(name, EXERCISES, "exercise")
    return EXERCISES[name]
