"""Small pictures for the notebooks: lines, arrows in the plane, and sliders for the arguments of a picture."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from lab.figures.styles import COLOURS, DASHES
from lab.teach.scale import SCALE

_FRAME = {"template": "none", "height": 400, "margin": {"t": 70, "l": 60, "r": 20, "b": 50},
          "legend": {"orientation": "h", "y": 1, "yanchor": "bottom"}}


def _title(text: str) -> dict[str, Any]:
    return {"text": text, "font": {"size": 14}, "y": 0.97, "yanchor": "top"}


def plot(x: Sequence[float], lines: Mapping[str, Sequence[float]], title: str = "", x_label: str = "",
         y_label: str = "", log: bool = False) -> go.Figure:
    """Draw one line per name over x, in the lab's colours and dashes. log: use a logarithmic y axis."""
    drawn = [go.Scatter(x=list(map(float, x)), y=list(map(float, y)), name=name, mode="lines",
                        line={"color": COLOURS[i % len(COLOURS)], "dash": DASHES[i % len(DASHES)], "width": 2})
             for i, (name, y) in enumerate(lines.items())]
    return go.Figure(drawn, dict(
        _FRAME, title=_title(title), xaxis={"title": {"text": x_label}},
        yaxis={"title": {"text": y_label}, "type": "log" if log else "linear"}, showlegend=len(lines) > 1))


def arrows(vectors: Mapping[str, Sequence[float]], title: str = "") -> go.Figure:
    """Draw vectors of the plane as arrows from the origin, with equal scales on both axes."""
    figure = go.Figure(layout=dict(_FRAME, title=_title(title)))
    for i, (name, (x, y)) in enumerate(vectors.items()):
        colour, x, y = COLOURS[i % len(COLOURS)], float(x), float(y)
        figure.add_scatter(x=[0, x], y=[0, y], name=name, mode="lines+markers", hovertemplate="(%{x:.3f}, %{y:.3f})",
                           line={"color": colour, "width": 3, "dash": DASHES[i % len(DASHES)]},
                           marker={"symbol": ["circle", "arrow"], "size": [4, 14], "angleref": "previous"})
    size = 1.15 * max([math.hypot(*map(float, of)) for of in vectors.values()] or [1.0]) or 1.0
    figure.update_xaxes(range=[-size, size], zeroline=True)
    return figure.update_yaxes(range=[-size, size], zeroline=True, scaleanchor="x")


def slider(draw: Callable[..., go.Figure], **ranges: tuple[float, float, float]) -> Any:
    """A picture with one slider per argument: `slider(draw, angle=(0, 180, 120))` ranges from 0 to 180, starts at 120.

    If LAB_NOTEBOOKS is set (in tests and for committed outputs) or ipywidgets is missing, only the first picture.
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
