"""For the notebooks: the lab's running source, exercises that check themselves, pictures of toys, two scales.

    from lab import teach
    teach.show(lab.COMBINERS["pcgrad"])     # the code that runs, never a copy of it
    teach.check("pcgrad", mine)             # what is right, what is wrong, and why
"""

import html
import inspect
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import torch

from lab.data import Data
from lab.errors import LabError
from lab.exercises import EXERCISES
from lab.experiment import PROTOCOLS, RECIPES, Experiment, nearest
from lab.looks import COLOURS
from lab.missteps import MISSTEPS

SCALE = "LAB_NOTEBOOKS"  # "small": the tests' scale; "full": as one works, without widgets; unset: as one works
# What an experiment is at the tests' scale, at most.
SMALL = {"epochs": 1, "iterations": 2, "eval_train": 20, "eval_qqp": 40, "eval_rows": 40, "samples": 1}
TOLERANCE = 1e-4


# ---- two scales ------------------------------------------------------------------------------------------------------


def scaled(full: Any, small: Any) -> Any:
    """`full`, or `small` where the tests run a notebook (LAB_NOTEBOOKS=small)."""
    return small if os.environ.get(SCALE) == "small" else full


def experiment(recipe: str, data: Data, **changes: object) -> Experiment:
    """A recipe at the scale of the data at hand, with changes: `smoke` on the sample, `laptop` on one's own files.

    LabError: no such recipe, or a field or value that an Experiment does not know.
    """
    if recipe not in RECIPES:
        raise nearest(recipe, RECIPES, "recipe")
    made = PROTOCOLS["smoke" if data.kind == "sample" else "laptop"](RECIPES[recipe])
    if unknown := next((field for field in changes if field not in made.__dataclass_fields__), None):
        raise nearest(unknown, made.__dataclass_fields__, "field")
    made = replace(made, **changes)
    limits = scaled({}, SMALL).items()
    return replace(made, **{field: min(most, getattr(made, field) or most) for field, most in limits})


# ---- source ----------------------------------------------------------------------------------------------------------


class Text(str):
    """A text that a notebook shows as Markdown, or as HTML where it has any, and everything else as it stands."""

    markdown = page = ""

    def __repr__(self) -> str:
        return str(self)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        rich = {"text/html": self.page} if self.page else {"text/markdown": self.markdown} if self.markdown else {}
        return {"text/plain": str(self), **rich}


def show(*objects: object) -> Text:
    """The source of functions, classes or modules as it runs here, each with its file and lines."""
    parts, marked = [], []
    for of in objects:
        code, where = _source(of)
        parts.append(f"{where}\n{code}")
        marked.append(f"*{where}*\n\n```python\n{code}\n```")
    text = Text("\n\n".join(parts))
    text.markdown = "\n\n".join(marked)
    return text


def _source(of: object) -> tuple[str, str]:
    """An object's source, and where it stands: "lab/gradients.py, lines 76-93"."""
    try:
        lines, first = inspect.getsourcelines(inspect.unwrap(of) if callable(of) else of)
        path = Path(inspect.getsourcefile(of))
    except (TypeError, OSError):
        raise LabError(f"{of!r} has no source to show; show() takes a function, a class or a module") from None
    where = f"{path.parent.name}/{path.name}"
    if first:
        where += f", lines {first}-{first + len(lines) - 1}"
    return inspect.cleandoc("\n" + "".join(lines)).rstrip(), where


# ---- exercises -------------------------------------------------------------------------------------------------------


class Checked(Text):
    """What `check` found, to be read; true where everything is right."""

    passed = False

    def __bool__(self) -> bool:
        return self.passed


def check(name: str, mine: Callable) -> Checked:
    """Call a learner's function on an exercise's cases; say which are right, and of the first that is not, why.

    Nothing that the function does is raised: it is named. LabError: no such exercise.
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
        why = next((words for words, wrong in MISSTEPS[name].items() if _like(wrong, exercise, answers)), why)
    result = Checked("\n".join([f"{name}: {'all right' if not why else 'not yet'}", *lines, *([why] if why else [])]))
    result.passed = not why
    result.page = "<pre>" + html.escape(str(result)) + "</pre>"
    return result


def solution(name: str) -> Text:
    """An exercise's answer, folded away in a notebook: open it when you have tried."""
    code, _ = _source(_exercise(name).right)
    text = Text(code)
    text.page = f"<details><summary>Solution of {html.escape(name)}</summary><pre>{html.escape(code)}</pre></details>"
    return text


def _exercise(name: str) -> Any:
    if name not in EXERCISES:
        raise nearest(name, EXERCISES, "exercise")
    return EXERCISES[name]


def _copies(given: Sequence[Any]) -> list[Any]:
    return [of.clone() if isinstance(of, torch.Tensor) else list(of) if isinstance(of, list) else of for of in given]


def _called(mine: Callable, given: Sequence[Any]) -> tuple[Any, str]:
    """The answer, and what is wrong whatever the exercise: an exception, an argument that it changed."""
    mutable = _copies(given)
    try:
        answer = mine(*mutable)
    except Exception as error:  # whatever a learner's function does
        return error, f"it raises {type(error).__name__}: {error}"
    for number, (before, after) in enumerate(zip(given, mutable, strict=True), 1):
        same = torch.equal(before, after) if isinstance(before, torch.Tensor) else before == after
        if not same:
            return answer, f"it changes its argument number {number} in place: work on a copy, for the caller needs it"
    return answer, ""


def _parts(answer: Any) -> list[torch.Tensor] | None:
    """An answer as float64 tensors; None (no number) as an empty one. None: it is not made of numbers."""
    try:
        return [torch.empty(0, dtype=torch.float64) if part is None
                else torch.as_tensor(part, dtype=torch.float64).detach()
                for part in (answer if isinstance(answer, tuple) else (answer,))]
    except (TypeError, ValueError, RuntimeError):
        return None


def _differs(answer: Any, right: Any) -> str:
    """In what the answer is not the right one; empty where it is."""
    if answer is None and right is not None:
        return "it returns None: is a `return` missing?"
    got, wanted = _parts(answer), _parts(right)
    if got is None or len(got) != len(wanted):
        return f"it returns {_short(answer)}; {_short(right)} is right"
    for part, of in zip(got, wanted, strict=True):
        if part.shape != of.shape and of.numel() and part.numel():
            return f"its shape is {tuple(part.shape)}; {tuple(of.shape)} is right"
        if part.numel() != of.numel() or not torch.allclose(part, of, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
            return f"it returns {_short(answer)}; {_short(right)} is right"
    return ""


def _like(wrong: Callable, exercise: Any, answers: list[Any]) -> bool:
    """Whether all answers, or exceptions, are those of this mistake."""
    theirs = [_called(wrong, given)[0] for given in exercise.cases.values()]
    return not any(repr(a) != repr(b) if isinstance(a, Exception) or isinstance(b, Exception) else _differs(a, b)
                   for a, b in zip(answers, theirs, strict=True))


def _arguments(right: Callable, given: Sequence[Any]) -> str:
    names = inspect.signature(right).parameters
    return ", ".join(f"{name} = {_short(of)}" for name, of in zip(names, given, strict=True))


def _short(of: Any) -> str:
    """Numbers as a person writes them."""
    if isinstance(of, tuple):
        return "(" + ", ".join(map(_short, of)) + ")"
    if isinstance(of, torch.Tensor):
        of = of.detach().tolist()
    if isinstance(of, list):
        return "[" + ", ".join(map(_short, of)) + "]"
    return f"{of:.4g}" if isinstance(of, float) else str(of)[:200]


# ---- pictures of toys ------------------------------------------------------------------------------------------------

_FRAME = {"template": "none", "height": 400, "margin": {"t": 70, "l": 60, "r": 20, "b": 50},
          "legend": {"orientation": "h", "y": 1, "yanchor": "bottom"}}


def _title(text: str) -> dict[str, Any]:
    return {"text": text, "font": {"size": 14}, "y": 0.97, "yanchor": "top"}


def plot(x: Sequence[float], lines: Mapping[str, Sequence[float]], title: str = "", x_label: str = "",
         y_label: str = "", log: bool = False) -> go.Figure:
    """A line for each name, in the lab's colours and dashes, over x; log: a logarithmic y axis."""
    dashes = ("solid", "dash", "dot", "dashdot", "longdash")
    drawn = [go.Scatter(x=list(map(float, x)), y=list(map(float, y)), name=name, mode="lines",
                        line={"color": COLOURS[i % len(COLOURS)], "dash": dashes[i % len(dashes)], "width": 2})
             for i, (name, y) in enumerate(lines.items())]
    return go.Figure(drawn, dict(
        _FRAME, title=_title(title), xaxis={"title": {"text": x_label}},
        yaxis={"title": {"text": y_label}, "type": "log" if log else "linear"}, showlegend=len(lines) > 1))


def arrows(vectors: Mapping[str, Sequence[float]], title: str = "") -> go.Figure:
    """Vectors of the plane as arrows from the origin, both axes on one scale."""
    figure = go.Figure(layout=dict(_FRAME, title=_title(title)))
    for i, (name, (x, y)) in enumerate(vectors.items()):
        colour, x, y = COLOURS[i % len(COLOURS)], float(x), float(y)
        figure.add_scatter(x=[0, x], y=[0, y], name=name, mode="lines+markers", hovertemplate="(%{x:.3f}, %{y:.3f})",
                           line={"color": colour, "width": 3, "dash": ("solid", "dash", "dot", "dashdot")[i % 4]},
                           marker={"symbol": ["circle", "arrow"], "size": [4, 14], "angleref": "previous"})
    size = 1.15 * max([math.hypot(*map(float, of)) for of in vectors.values()] or [1.0]) or 1.0
    figure.update_xaxes(range=[-size, size], zeroline=True)
    return figure.update_yaxes(range=[-size, size], zeroline=True, scaleanchor="x")


def slider(draw: Callable[..., go.Figure], **ranges: tuple[float, float, float]) -> Any:
    """A picture with a slider an argument: `slider(draw, angle=(0, 180, 120))` goes from 0 to 180 and begins at 120.

    Where LAB_NOTEBOOKS is set (tests, committed outputs) or there is no kernel for a widget, the picture as it begins.
    """
    first = draw(**{name: value for name, (_, _, value) in ranges.items()})
    if os.environ.get(SCALE):
        return first
    try:
        import ipywidgets
    except ImportError:
        return first
    sliders = {name: ipywidgets.FloatSlider(value, min=low, max=high, step=(high - low) / 100, description=name,
                                            continuous_update=False) for name, (low, high, value) in ranges.items()}
    picture = ipywidgets.interactive_output(lambda **at: _display(draw(**at)), sliders)
    return ipywidgets.VBox([*sliders.values(), picture])


def _display(figure: go.Figure) -> None:
    from IPython.display import display

    display(figure)
