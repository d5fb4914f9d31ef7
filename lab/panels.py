"""A figure's panels one by one, for pages that lay them out as the screen is wide; and a sentence on each."""

import math

import pandas as pd
import plotly.graph_objects as go


def panels(figure: go.Figure, height: int = 300) -> list[go.Figure]:
    """Each panel of a picture from `lab.figures` as a figure of its own, without a legend.

    Axes that match in the picture span the same range.
    """
    layout, found = figure.layout.to_plotly_json(), []
    traces = [trace.to_plotly_json() for trace in figure.data]
    numbers = [key.removeprefix("xaxis") for key in layout if key.startswith("xaxis")]
    if not traces:
        return []
    below = next((layout[f"xaxis{n}"]["title"] for n in reversed(numbers) if "title" in layout[f"xaxis{n}"]), {})
    matching = {n: (layout[f"yaxis{n}"].get("matches") or f"y{n}").removeprefix("y") for n in numbers}
    for number, title in zip(numbers, layout["annotations"], strict=False):
        mine = [trace for trace in traces if _axis(trace) == number]
        x, y = ({k: v for k, v in layout[f"{axis}axis{number}"].items() if k not in ("anchor", "domain", "matches")}
                for axis in "xy")
        if matching[number] != number or list(matching.values()).count(number) > 1:
            y["range"] = _span([t for t in traces if matching.get(_axis(t)) == matching[number]])
        lines = [{**shape, "xref": "x", "yref": "y domain"} for shape in layout.get("shapes", ())
                 if shape.get("xref", "x").removeprefix("x") == number]
        found.append(go.Figure(
            [{k: v for k, v in trace.items() if k not in ("xaxis", "yaxis")} for trace in mine],
            {"template": layout["template"], "title": {"text": title["text"], "font": {"size": 15}}, "shapes": lines,
             "height": layout["height"] if y.get("type") == "category" else height, "showlegend": False,
             "xaxis": {**x, "title": {**below, "standoff": 18}}, "yaxis": {**y, "showticklabels": True},
             "margin": {"t": 55, "l": 10, "r": 10, "b": 55}}, _validate=False))  # parts that plotly has checked
    return found


def said(panel: go.Figure) -> str:
    """A sentence for those who do not see a panel: what it shows, and which line ends highest and lowest."""
    ends = {}
    for trace in panel.data:
        points = [(x, y) for x, y in zip(*(_values(v) for v in (trace.x, trace.y)), strict=False)
                  if isinstance(y, int | float) and y == y]
        if trace.mode == "lines+markers" and points and trace.name:
            ends[_read(trace.name)] = points[-1]
    title = _read(panel.layout.title.text or "")
    if not ends:
        return f"{title}."
    axis = _read((panel.layout.xaxis.title.text or "").split(" (")[0]) or "epoch"
    order = sorted(ends, key=lambda name: -ends[name][1])
    parts = [f"{name} ends at {ends[name][1]:.3g} ({axis} {ends[name][0]:.4g})" for name in
             dict.fromkeys((order[0], order[-1]))]
    many = f"Of {len(order)} lines, " if len(order) > 2 else ""
    return f"{title}. {many}" + "; ".join(
        part + (", the highest" if i == 0 else ", the lowest") * (len(order) > 1) for i, part in enumerate(parts)) + "."


def numbers(figure: go.Figure, x: str) -> pd.DataFrame:
    """The points of a picture's lines as a table: panel, line, x, mean."""
    titles = {str(i + 1) if i else "": _read(note.text.split("<br>")[0])
              for i, note in enumerate(figure.layout.annotations)}
    parts = [pd.DataFrame({"panel": titles[_axis(trace.to_plotly_json())], "line": _read(trace.name),
                           x: _values(trace.x), "mean": _values(trace.y)})
             for trace in figure.data if trace.mode == "lines+markers"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["panel", "line", x, "mean"])


def _axis(trace: dict) -> str:
    """The number of a trace's axes; the first has none."""
    number = trace.get("xaxis", "x").removeprefix("x")
    return "" if number == "1" else number


def _values(values: object) -> list:
    return [] if values is None else values.tolist() if hasattr(values, "tolist") else list(values)


def _span(traces: list[dict]) -> list[float]:
    """From the lowest to the highest value of these lines, and a little more."""
    values = [v for t in traces for v in _values(t.get("y")) if isinstance(v, int | float) and math.isfinite(v)]
    low, high = (min(values), max(values)) if values else (0, 1)
    return [low - 0.05 * (high - low or 1), high + 0.05 * (high - low or 1)]


def _read(text: str) -> str:
    """A title as it is read."""
    for mark, plain in (("<br>", ", "), ("<b>", ""), ("</b>", ""), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        text = text.replace(mark, plain)
    return text
