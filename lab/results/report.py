"""The report: tables and figures in one HTML file that opens offline; the tables also as CSV and as Markdown files.

`lab report` writes all three, `lab share` the page alone; `lab.results.page` has its look and the script behind its
choices. All texts from records are escaped, in tables here and in figures by `lab.figures`. A content security policy
keeps the page from loading anything.
"""

import base64
import contextlib
import html
import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from lab import figures
from lab.data import TASK_NAMES
from lab.errors import LabError
from lab.results import headlines, tables
from lab.results.notes import test_notes
from lab.results.page import CHOICES, SCRIPT, STYLE
from lab.results.plan import CLAIMS, claim_cells
from lab.results.significance import FEWEST_SEEDS, half_width
from lab.runs.frames import KEYS, distinct_runs, labelled, last_rows, scores_on
from lab.runs.labels import as_set, line_labels

FIGURE_4 = "smart"  # the paper's Figure 4 shows SMART

AXES = ("step", "updates", "seconds")  # beside epoch
TITLE = "<title>minBERT lab</title>"


def write(runs: pd.DataFrame, file: Path, beside: bool = True) -> Path:
    """Write the tables and figures of `lab.load_runs()` as `file`, .html, and the tables as .csv and .md beside it.

    beside: whether to write these two. LabError: a file is there that no report wrote, or cannot be written.
    """
    if file.suffix.lower() not in (".html", ".htm"):
        raise LabError(f"{file}: the report is an HTML file, such as report.html; .csv and .md are written beside it")
    for other in (file, *((file.with_suffix(".csv"), file.with_suffix(".md")) if beside else ())):
        if os.path.lexists(other) and not _is_report(other):
            raise LabError(f"{other} is there already, and no report wrote it; name another file with --out")
    texts = {".csv": tables.as_csv(runs), ".md": tables.as_markdown(runs)} if beside else {}
    return _write(file, texts | {file.suffix: page(runs)})


def write_figure(figure: go.Figure | None, file: Path) -> Path:
    """Write a figure as an HTML file of its own, by the same rules; without one, only see that it can be written."""
    if file.suffix.lower() not in (".html", ".htm"):
        raise LabError(f"{file}: the picture is an HTML file; give --out a name that ends with .html")
    if os.path.lexists(file) and not _is_report(file):
        raise LabError(f"{file} is there already, and the lab did not write it; name another file with --out")
    return _write(file, {file.suffix: figure.to_html().replace("<head>", f"<head>{TITLE}", 1)} if figure else {})


def _write(file: Path, texts: Mapping[str, str]) -> Path:
    """Write texts beside each other under the name of `file`, each with the suffix that is its key; or only try to."""
    part = file.with_suffix(f".{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
        for suffix, text in texts.items():
            part.write_text(text, encoding="utf-8", newline="")
            part.replace(file.with_suffix(suffix))
    except OSError as error:
        raise LabError(f"{file}: the page cannot be written there ({error.strerror}); name another file with --out"
                       ) from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    return file


def page(runs: pd.DataFrame) -> str:
    """The page as HTML, with plotly's script in it."""
    import plotly.io
    from plotly.offline import get_plotlyjs

    contents, sections, lines = [], [], {}
    for number, block in enumerate(tables.blocks(runs), 1):
        headings, body = _section(block, f"b{number}")
        inner = "".join(f"<li><a href='#{anchor}'>{_text(title)}</a></li>" for anchor, title in headings)
        contents.append(f"<li><a href='#b{number}'>{_text(block.provenance)}</a><ul>{inner}</ul></li>")
        sections.append(f"<section><h2 id='b{number}'>{_text(block.provenance)}</h2>{body}</section>")
        lines |= dict.fromkeys(distinct_runs(block.runs)["label"])
    looks = plotly.io.templates["plotly_white"].to_plotly_json()
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><meta name='viewport' content='width=device-width, "
        "initial-scale=1'><meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src "
        "'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:\">" + TITLE +
        f"<style>{STYLE}</style></head><body><h1>minBERT lab</h1><nav aria-label='Contents'>"
        f"<ul>{''.join(contents)}</ul></nav>{CHOICES}<div hidden id='looks'>{_json(looks)}</div>"
        f"<div hidden id='every'>{_json({'lines': list(lines)})}</div>"
        "<noscript><p>The figures need JavaScript; the tables do not.</p></noscript>"
        f"{''.join(sections)}"
        f"<script>{get_plotlyjs()}</script><script>{SCRIPT}</script></body></html>")


def _is_report(file: Path) -> bool:
    """Whether a report wrote this file, from how it begins."""
    try:
        with open(file, encoding="utf-8", errors="replace") as stream:
            start = stream.read(1000)
    except OSError:
        return False
    begins = {".csv": f"table,{','.join(KEYS)},called,date,seeds,", ".md": f"{tables.MARKDOWN_TITLE}\n\n## data: "}
    return start.startswith(begins[file.suffix]) if file.suffix in begins else TITLE in start


def _section(block: tables.Block, anchor: str) -> tuple[list[tuple[str, str]], str]:
    """A block's headings (anchor, title), and its HTML under its own heading."""
    parts = [f"<p class='note'>{_sentence(note)}</p>" for note in block.notes]
    headings = []

    def head(title: str) -> None:
        headings.append((f"{anchor}-{len(headings) + 1}", title))
        parts.append(f"<h3 id='{headings[-1][0]}'>{_text(title)}</h3>")

    def say(text: str) -> None:
        if text:
            parts.append(f"<p class='said'>{_text(text)}</p>")

    head("Table 1: dev")
    say(headlines.leaderboard(block.runs))
    parts.append(_table(tables.cells(block.dev, beside=block.floors), line_labels(block.dev)))
    parts += [f"<p class='soft'>{_sentence(tables.FLOORS_NOTE)}</p>"] if len(block.floors) else []
    parts += [f"<p>Not here: {', '.join(gone)}.</p>"] if (gone := tables.missing(block.dev)) else []
    parts.append(f"<p class='soft'>{_text(tables.LEGEND)}</p>")
    if len(block.test):
        head("Table 2: test")
        parts.append(_table(tables.cells(block.test, beside=block.test_floors)))
        parts += [f"<p class='note'>{_sentence(note)}</p>" for note in test_notes(block.test)]
    if len(block.verdicts) or block.verdict_note:
        head("Verdicts")
        if len(block.verdicts):
            parts.append(f"<p>{_sentence(tables.VERDICTS.format('baseline'))}</p>")
            parts.append(_table(tables.verdict_cells(block.verdicts)))
        parts.append(f"<p>{_sentence(block.verdict_note)}</p>")
    if len(block.claims):
        head("Claims of the paper")
        parts.append(f"<p>{_sentence(CLAIMS)}</p>")
        parts.append(_table(claim_cells(block.claims)))
    head("Figures 1-3: dev scores by epoch")
    say(headlines.curves(block.runs))
    parts.append(_figure(
        _by_axes(block.runs), "The dev score of each task and the overall score after every epoch, as means over "
        "the seeds of a recipe; epoch 0 is before the first step. Gray lines: what no training gives. "
        "The band is the range of two seeds, or a 95 % interval over three or more."))
    head("All of dev at the last epoch")
    parts.append(_figure(
        figures.leaderboard(block.runs), "A point for each seed; with three or more seeds also the mean and a 95 % "
        "interval. Gray: what no training gives."))
    head("Figure 4: train and dev")
    names = line_labels(block.dev)
    unfolded = [label for label, name in zip(names, block.dev["name"], strict=True) if name == FIGURE_4][:1]
    parts += [_overfit(block.runs, name) for name in unfolded]
    parts += [f"<details data-line='{_text(name)}'><summary>{_text(name)}</summary>{_overfit(block.runs, name)}"
              "</details>" for name in names if name not in unfolded]
    for title, figure, said, caption in (
            ("Gradients of the tasks", figures.conflict(block.runs), headlines.gradients(block.runs), "Cosines between "
             "the encoder's task gradients, the share of iterations in which they conflict (cosine below 0), and their "
             "norms; means over each epoch. Sampled: measured in some iterations, beside the training."),
            ("SMART's penalty", figures.smart(block.runs), "", "The penalty that SMART adds to each loss, before the "
             "factor lambda; its parts by dropout alone and by the noise; the size of the noise.")):
        if figure.data:
            head(title)
            say(said)
            parts.append(_figure(figure, caption))
    head("Two lines compared")
    parts.append(_compare(block.runs))
    return headings, "".join(parts)


def _by_axes(runs: pd.DataFrame) -> tuple[go.Figure, dict[str, list]]:
    """The curves by epoch, and the x of each of their traces by the other axes."""
    figure, axes = figures.curves(runs), {}
    for axis in AXES:
        other = figures.curves(runs, x=axis)
        if [len(trace.x) for trace in other.data] == [len(trace.x) for trace in figure.data]:
            axes[axis] = [trace.x for trace in other.data]
    return figure, axes


def _overfit(runs: pd.DataFrame, name: str) -> str:
    said = headlines.overfitting(runs, name)
    return (f"<p class='said'>{_text(said)}</p>" if said else "") + _figure(
        figures.overfit(runs, name), f"{name}: scores on train (dotted, a sample of the training rows) and "
        "dev after every epoch; gray lines: what no training gives on dev. Where train goes on rising and "
        "dev does not, the model overfits.")


def _compare(runs: pd.DataFrame) -> str:
    """A place in which the page's script compares two lines, with their settings and the scores of each seed."""
    about = distinct_runs(runs)
    rows = last_rows(labelled(scores_on(runs, ["dev_full"]), about))
    lines = {}
    for label, part in rows.groupby("label"):
        settings = json.loads(part["settings"].iloc[0])
        seeds = {str(seed): dict(zip(of["task"].astype(str), of["value"], strict=True))
                 for seed, of in part.groupby("seed")}
        lines[label] = {"settings": {key: as_set(value) for key, value in settings.items()}, "seeds": seeds}
    most = max((len(line["seeds"]) for line in lines.values()), default=0)
    t = {str(n): float(half_width(1, n) * n ** .5) for n in range(FEWEST_SEEDS, most + 1)}
    found = {"lines": lines, "t": t, "tasks": dict(TASK_NAMES)}
    return (f"<div class='compare'><p></p><div class='wide' tabindex='0' role='region' aria-label='Comparison'></div>"
            f"{_json(found)}<p class='soft'>Over the seeds that both lines have; each score by itself.</p></div>")


def _figure(figure: go.Figure | tuple[go.Figure, dict[str, list]], caption: str) -> str:
    """A figure as JSON, which the page's script draws; with the x of its traces by other axes, where it is a pair."""
    figure, axes = figure if isinstance(figure, tuple) else (figure, None)
    entries = figure.to_plotly_json()
    entries["layout"].pop("template", None)  # one for all, on the page
    entries |= {} if axes is None else {"axes": axes}
    return f"<figure><div class='plot'></div><figcaption>{_text(caption)}</figcaption>{_json(entries)}</figure>"


def _json(value: Any) -> str:
    """A value as JSON in a script element, which no text in it can end."""
    return f"<script type='application/json'>{json.dumps(_short(value)).replace('<', chr(92) + 'u003c')}</script>"


def _short(value: Any) -> Any:
    """The value with plain lists and five digits, which a screen cannot show more of; nulls for nan."""
    if isinstance(value, dict) and value.keys() >= {"dtype", "bdata"}:  # as plotly writes an array
        return _short(np.frombuffer(base64.b64decode(value["bdata"]), value["dtype"]))
    if isinstance(value, dict):
        return {key: _short(of) for key, of in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [_short(of) for of in (value.tolist() if isinstance(value, np.ndarray) else value)]
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def _table(table: pd.DataFrame, chosen: Iterable[str] = ()) -> str:
    """A frame of texts as an HTML table; the groups of two-level columns get a header row.

    chosen: the first cells of the rows that the page's choice of lines shows or hides.
    """
    lines, firsts = [], set()
    if table.columns.nlevels == 2:
        groups = [group for group, _ in table.columns]
        firsts = {i for i, group in enumerate(groups) if group and (i == 0 or groups[i - 1] != group)}
        cells = [f"<th scope='col' colspan='{groups.count(group)}'{_mark(group)}>{_text(group)}</th>"
                 for group in dict.fromkeys(groups)]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    names = [column[-1] if isinstance(column, tuple) else column for column in table.columns]
    lines.append(_row(names, "th scope='col'", firsts))
    body = [_row(row, "td", firsts) for row in table.itertuples(index=False)]
    body = [row.replace("<tr>", f"<tr data-line='{_text(line)}'>", 1) if line in chosen else row
            for row, line in zip(body, table.iloc[:, 0], strict=True)]
    return (f"<div class='wide' tabindex='0' role='region' aria-label='Table'><table><thead>{''.join(lines)}</thead>"
            f"<tbody>{''.join(body)}</tbody></table></div>")


def _row(texts: list[str] | tuple, tag: str, firsts: set[int]) -> str:
    cells = (f"<{tag}{_mark(i in firsts)}>{_text(text)}</{tag.split()[0]}>" for i, text in enumerate(texts))
    return f"<tr>{''.join(cells)}</tr>"


def _mark(first: object) -> str:
    return " class='group'" if first else ""


def _sentence(text: str) -> str:
    return _text(f"{text[:1].upper()}{text[1:].rstrip('.')}.")


def _text(text: object) -> str:
    """A text as HTML: texts from files are always escaped."""
    return html.escape(str(text))
