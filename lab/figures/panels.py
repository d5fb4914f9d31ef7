"""A panel is one plot with its traces and axes. A figure is assembled of panels; a page draws each panel by itself."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lab.figures.styles import GRAY

DASHED = {"color": GRAY, "dash": "dash", "width": 1}  # the line of a reference value
NAMES_A_ROW = 6  # of a legend
LONG = 130  # characters of a line below a figure's title
NARROW, LONGEST = 330, 40  # pixels of a row of a panel's own legend; characters of a name in it
WIDE, LETTER = 830, 0.47  # pixels of all plots beside each other in a static picture; a letter's width, in font sizes
LEGEND = {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "itemclick": "toggleothers",
          "itemdoubleclick": "toggle"}
# The pointer shows the values of all lines at one x in one box, highest first.
HOVER = {"hovermode": "x unified", "hoversort": "value descending", "hoverlabel": {"font": {"size": 11}}}


@dataclass(frozen=True)
class Panel:
    """One plot, before it has a place in a figure."""

    title: str  # as plotly reads it, with its HTML: texts from files are escaped
    traces: Sequence[Mapping[str, Any]]  # plotly's, without axes; those that are lines with markers carry a name
    x: str = ""  # the title of the x-axis
    yaxis: Mapping[str, Any] = field(default_factory=dict)  # plotly's options of the y-axis
    vline: float | None = None  # the x of a dashed vertical line
    group: str = ""  # panels of one group share the range of their y-axes
    height: int = 300  # pixels, where it is a figure by itself

    @property
    def lines(self) -> list[Mapping[str, Any]]:
        """The traces that are lines with markers: means over seeds."""
        return [trace for trace in self.traces if trace["mode"] == "lines+markers"]

    @property
    def flat(self) -> list[Mapping[str, Any]]:
        """The traces that are horizontal lines: reference values."""
        return [trace for trace in self.traces if trace["mode"] == "lines" and trace.get("showlegend", True)
                and trace["y"][0] is not None]


def escape(text: object) -> str:
    """A text from a file, for a place in which plotly reads HTML."""
    return html.escape(str(text), quote=False)


def assemble(panels: Sequence[Panel], title: str, provenance: str, columns: int) -> go.Figure:
    """One figure of several panels in rows, with one legend. provenance: what it was made from, below the title."""
    rows, n = max(1, -(-len(panels) // columns)), len(panels)
    figure = make_subplots(rows=rows, cols=max(1, min(columns, n)), subplot_titles=[panel.title for panel in panels],
                           vertical_spacing=0.12 if rows < 3 else 0.07)
    if not panels:
        figure.add_annotation(text="nothing recorded yet", showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper")
    traces, axes, shapes = [], {}, []
    named: set[str] = set()  # lines that are in the legend
    groups: dict[str, str] = {}  # group -> the y-axis of its first panel
    for i, panel in enumerate(panels):
        number = str(i + 1) if i else ""
        for trace in panel.traces:
            new = trace.get("showlegend", True) and trace["name"] not in named
            named |= {trace["name"]} if new else set()
            traces.append({**trace, "xaxis": f"x{number}", "yaxis": f"y{number}", "showlegend": new})
        same = {} if panel.group else _around_one_value(panel)
        axes[f"yaxis{number}"] = yaxis = {**panel.yaxis, **same.get("yaxis", {})}
        if panel.group and groups.setdefault(panel.group, f"y{number}") != f"y{number}":
            yaxis["matches"] = groups[panel.group]
        if yaxis.get("type") == "category" and i % columns:  # the first column has the labels
            yaxis["showticklabels"] = False
        if panel.x:
            axes[f"xaxis{number}"] = {"unifiedhovertitle": {"text": _hover_title(panel)}}
        if panel.x and i >= n - columns:  # the last panel of a column has the title of the x-axis
            axes[f"xaxis{number}"]["title"] = {"text": panel.x, "standoff": 2}
        axes[f"xaxis{number}"] = axes.get(f"xaxis{number}", {}) | same.get("xaxis", {})
        shapes += _vline(panel, f"x{number}", f"y{number} domain")
    figure.add_traces(traces)
    below = _lines(provenance)
    top = (40 if any("<br>" in panel.title for panel in panels) else 0) + 16 * (len(below) - 1)  # room for more lines
    bottom = 22 * -(-len(named) // NAMES_A_ROW)
    figure.update_annotations(font_size=_title_size(panels, columns) if panels else 16)
    return figure.update_layout(
        axes, shapes=shapes, title={"text": "<br>".join([escape(title), *(f"<sup>{line}</sup>" for line in below)])},
        template="plotly_white", height=150 + top + bottom + 250 * rows,
        margin={"t": 90 + top, "l": 50, "r": 20, "b": 45 + bottom},
        legend=LEGEND, **(HOVER if any(panel.x for panel in panels) else {}))


def _lines(text: str) -> list[str]:
    """A text in lines of at most LONG characters, escaped, where it can be broken at a dot between its parts."""
    lines: list[str] = []
    for part in text.split(" · "):
        longer = f"{lines[-1]} · {part}" if lines else part
        lines[-1:] = [longer] if len(longer) <= LONG else [*lines[-1:], part]
    return [escape(line) for line in lines]


def _title_size(panels: Sequence[Panel], columns: int) -> float:
    """The font size with which the titles of panels in a row do not touch: 16, or less if one of them is long."""
    longest = max(len(_as_read(line)) for panel in panels for line in panel.title.split("<br>"))
    return min(16.0, WIDE / min(columns, len(panels)) / (LETTER * longest))


def standalone(panel: Panel, beside: Sequence[Panel] = ()) -> go.Figure:
    """One panel as a figure by itself, with a legend, so that an export has it. beside: the panels that a page shows
    together with it.

    A click on a name of the legend shows that line alone, a double click hides it.
    """
    group = [other for other in beside if panel.group and other.group == panel.group]
    shared = {"yaxis": {"range": _span(group)}} if len(group) > 1 else _around_one_value(panel)
    traces, named, width, rows = [], set(), 0, 1
    for trace in panel.traces:
        name = _as_read(trace["name"]) if trace.get("name") else ""
        shown = trace.get("showlegend", True) and name not in named and bool(name)
        traces.append({**trace, "showlegend": shown, **({"name": escape(_cut(name))} if name else {})})
        if shown:
            named.add(name)
            mine = 45 + 6 * len(_cut(name))
            rows, width = (rows, width + mine) if width + mine <= NARROW else (rows + 1, mine)
    # A line alone is named too where another panel of the page has more of them.
    several = len(named | {_as_read(trace["name"]) for other in beside for trace in other.traces
                           if trace.get("name") and trace.get("showlegend", True)}) > 1
    room = 20 * rows * several
    return go.Figure(traces, {
        "template": "plotly_white", "title": {"text": panel.title, "font": {"size": 15}}, "height": panel.height + room,
        "margin": {"t": 55, "l": 10, "r": 10, "b": 55}, **(HOVER if panel.x else {}), "showlegend": several,
        "shapes": _vline(panel, "x", "y domain"), "legend": LEGEND | {"font": {"size": 12}},
        "xaxis": {"title": {"text": panel.x, "standoff": 18}, "unifiedhovertitle": {"text": _hover_title(panel)},
                  **shared.get("xaxis", {})},
        "yaxis": {**panel.yaxis, **shared.get("yaxis", {})}})


def _cut(name: str) -> str:
    """A long name without its middle: names of one recipe differ in what is at their end."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST // 2]}…{name[LONGEST // 2 + 1 - LONGEST :]}"


def describe(panel: Panel) -> str:
    """Sentences for readers who do not see a panel: what it shows, which line ends highest and lowest, what is flat."""
    ends = {}
    for trace in panel.lines:
        x, y = np.asarray(trace["x"], float), np.asarray(trace["y"], float)
        if (there := np.flatnonzero(~np.isnan(y))).size:
            ends[_as_read(trace["name"])] = x[there[-1]], y[there[-1]]
    title = _as_read(panel.title)
    if not ends:
        return f"{title}."
    order = sorted(ends, key=lambda name: -ends[name][1])
    parts = [f"{name} ends at {ends[name][1]:.3g} ({_quantity(panel)} {ends[name][0]:.4g})"
             for name in dict.fromkeys((order[0], order[-1]))]
    many = f"Of {len(order)} lines, " if len(order) > 2 else ""
    beside = [f"{_as_read(trace['name'])} at {trace['y'][0]:.3g}" for trace in panel.flat]
    return f"{title}. {many}" + "; ".join(
        part + (", the highest" if i == 0 else ", the lowest") * (len(order) > 1)
        for i, part in enumerate(parts)) + "." + (f" For comparison: {', '.join(beside)}." if beside else "")


def numbers(panels: Sequence[Panel]) -> pd.DataFrame:
    """The points of the lines, with the ends of flat ones, as a table: panel, line, what is on the x-axis, mean, band.

    band: in words, over how many seeds, and from where to where.
    """
    parts = []
    for panel in panels:
        for trace in [*panel.lines, *panel.flat]:
            bands = [band for _, band in trace["customdata"]] if "customdata" in trace else [""] * len(trace["x"])
            parts.append(pd.DataFrame({"panel": _as_read(panel.title.split("<br>")[0]), "line": _as_read(trace["name"]),
                                       _quantity(panel): trace["x"], "mean": trace["y"], "band": bands}))
    empty = pd.DataFrame(columns=["panel", "line", "epoch", "mean", "band"])
    return pd.concat(parts, ignore_index=True) if parts else empty


def _quantity(panel: Panel) -> str:
    """What is on the x-axis, without the note on its smoothing."""
    return panel.x.split(" (")[0]


def _hover_title(panel: Panel) -> str:
    """The first line of what the pointer shows."""
    return f"{_quantity(panel)} %{{x:.4~g}}"


def _vline(panel: Panel, x: str, y: str) -> list[dict[str, Any]]:
    if panel.vline is None:
        return []
    return [{"type": "line", "xref": x, "yref": y, "x0": panel.vline, "x1": panel.vline, "y0": 0, "y1": 1,
             "line": DASHED}]


def _span(panels: Sequence[Panel], axis: str = "y") -> list[float]:
    """From the lowest to the highest value in these panels, and a little more."""
    values = np.concatenate([np.zeros(0), *(np.asarray(trace[axis], float) for panel in panels
                                            for trace in panel.traces)])
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    room = 0.05 * (high - low) or 0.1 * abs(high) or 0.1
    return [low - room, high + room]


def _around_one_value(panel: Panel) -> dict[str, Any]:
    """The range of the axis of values where all values are equal; else none, and plotly chooses.

    Plotly's own would reach from one below the value to one above it, where no score can be.
    """
    axis = "x" if panel.yaxis.get("type") == "category" else "y"
    values = {float(value) for trace in panel.traces for value in trace[axis] if value is not None and value == value}
    wide = any("error_x" in trace for trace in panel.traces)
    if len(values) != 1 or panel.yaxis.get("type") == "log" or wide:
        return {}
    return {f"{axis}axis": {"range": _span([panel], axis)}}


def _as_read(text: str) -> str:
    """The text that a reader of the picture sees."""
    return html.unescape(text.replace("<br>", ", ").replace("<b>", "").replace("</b>", ""))
