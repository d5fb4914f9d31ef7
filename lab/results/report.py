"""The report: tables and figures in one HTML file that opens offline; the tables also as CSV and as Markdown files.

All texts from records are escaped, in tables here and in figures by `lab.figures`. A content security policy keeps the
page from loading anything.
"""

import contextlib
import html
import os
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from lab import figures
from lab.errors import LabError
from lab.results import conflict, tables
from lab.results.plan import CLAIMS, claim_cells
from lab.runs.frames import KEYS
from lab.runs.labels import line_labels

FIGURE_4 = "smart"  # the paper's Figure 4 shows SMART

TITLE = "<title>minBERT lab</title>"
STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #59636e; --line: #d1d9e0; --page: #fff; --head: #f3f5f7;
        --mark: #8a4b00 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --soft: #9ba5b0; --line: #3a414a; --page: #14171b;
        --head: #1e2329; --mark: #f0b45c } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 1200px;
       margin: 0 auto; padding: 1rem; overflow-wrap: break-word }
h1 { margin: .2rem 0 } h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; border-top: 1px solid var(--line);
     padding-top: 1rem } h3 { font-size: 1rem; margin: 1.5rem 0 .4rem }
a { color: inherit } nav ul { margin: .2rem 0; padding-left: 1.2rem } nav ul ul { padding: 0 }
nav ul ul li { display: inline-block; margin-right: 1rem }
p, figcaption, li { max-width: 75ch } .soft, figcaption { color: var(--soft); font-size: .9rem }
.note { color: var(--mark); font-weight: 600 }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: .8rem; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .3rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line) }
th { background: var(--head) } thead th { text-align: center } .group { border-left: 1px solid var(--line) }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: var(--page) }
thead th:first-child { background: var(--head) }
figure { margin: 1rem 0 } .plot { min-height: 300px } summary { cursor: pointer; padding: .3rem 0 }
"""

# Draws each figure when it is first seen unfolded; panels stand one below the other on a narrow screen.
SCRIPT = """
const dark = matchMedia('(prefers-color-scheme: dark)'), narrow = matchMedia('(max-width: 760px)')
function layoutFor({data, layout}) {
  const clear = 'rgba(0,0,0,0)', grid = dark.matches ? '#3a414a' : '#e3e7eb'
  const ink = dark.matches ? '#e6e8eb' : '#1b1f24'
  layout = {...layout, paper_bgcolor: clear, plot_bgcolor: clear, title: undefined, font: {color: ink},
            modebar: {bgcolor: clear, color: grid, activecolor: ink}, margin: {...layout.margin, t: 60}}
  layout.height -= 30
  const axes = Object.keys(layout).filter(key => /^xaxis/.test(key)).slice(0, layout.annotations.length)
  for (const key of Object.keys(layout).filter(key => /^[xy]axis/.test(key)))
    layout[key] = {...layout[key], gridcolor: grid, zerolinecolor: grid, automargin: true}
  if (!narrow.matches || axes.length < 2) return layout
  const names = new Set(data.filter(line => line.showlegend !== false).map(line => line.name)).size
  const each = names ? 260 : layout.height - 60, plot = each * axes.length, foot = 40 + 22 * Math.ceil(names / 2)
  layout.height = plot + 60 + foot
  layout.margin = {...layout.margin, l: 40, r: 10, b: foot}
  axes.forEach((x, i) => {
    const y = x.replace('x', 'y'), top = 1 - i / axes.length
    layout[x] = {...layout[x], domain: [0, 1]}
    layout[y] = {...layout[y], domain: [top - (each - 75) / plot, top], showticklabels: true}
  })
  layout.annotations = layout.annotations.map((title, i) => ({...title, x: .5, y: 1 - i / axes.length}))
  return layout
}
function draw(box) {
  const figure = JSON.parse(box.querySelector('script').textContent)
  const config = {displaylogo: false, responsive: true, showSendToCloud: false, plotlyServerURL: '',
                  modeBarButtons: [['toImage', 'zoom2d', 'pan2d', 'resetScale2d']]}
  Plotly.react(box.querySelector('.plot'), figure.data, layoutFor(figure), config)
}
const shown = () => [...document.querySelectorAll('figure')].filter(box => !box.closest('details:not([open])'))
shown().forEach(draw)
for (const fold of document.querySelectorAll('details'))
  fold.addEventListener('toggle', () => fold.open && fold.querySelectorAll('figure').forEach(draw))
for (const query of [dark, narrow]) query.addEventListener('change', () => shown().forEach(draw))
"""


def write(runs: pd.DataFrame, file: Path) -> Path:
    """Write the tables and figures of `lab.load_runs()` as `file`, .html, and the tables as .csv and .md beside it."""
    from plotly.offline import get_plotlyjs

    if file.suffix.lower() not in (".html", ".htm"):
        raise LabError(f"{file}: the report is an HTML file, such as report.html; .csv and .md are written beside it")
    for other in (file, file.with_suffix(".csv"), file.with_suffix(".md")):
        if os.path.lexists(other) and not _is_report(other):
            raise LabError(f"{other} is there already, and no report wrote it; name another file with --out")
    contents, sections = [], []
    for number, block in enumerate(tables.blocks(runs), 1):
        headings, body = _section(block, f"b{number}")
        inner = "".join(f"<li><a href='#{anchor}'>{_text(title)}</a></li>" for anchor, title in headings)
        contents.append(f"<li><a href='#b{number}'>{_text(block.provenance)}</a><ul>{inner}</ul></li>")
        sections.append(f"<section><h2 id='b{number}'>{_text(block.provenance)}</h2>{body}</section>")
    page = (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><meta name='viewport' content='width=device-width, "
        "initial-scale=1'><meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src "
        "'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:\">" + TITLE +
        f"<style>{STYLE}</style></head><body><h1>minBERT lab</h1><nav aria-label='Contents'>"
        f"<ul>{''.join(contents)}</ul></nav><noscript><p>The figures need JavaScript; the tables do not.</p></noscript>"
        f"{''.join(sections)}"
        f"<script>{get_plotlyjs()}</script><script>{SCRIPT}</script></body></html>")
    part = file.with_suffix(f".{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        for suffix, text in ((".csv", tables.as_csv(runs)), (".md", tables.as_markdown(runs)), (file.suffix, page)):
            part.write_text(text, encoding="utf-8", newline="")
            part.replace(file.with_suffix(suffix))
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise LabError(f"{file}: the report cannot be written there ({error.strerror}); name another file with --out"
                       ) from None
    return file


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

    head("Table 1: dev")
    parts.append(_table(tables.cells(block.dev, beside=block.floors)))
    parts += [f"<p class='soft'>{_sentence(tables.FLOORS_NOTE)}</p>"] if len(block.floors) else []
    parts += [f"<p>Not here: {', '.join(gone)}.</p>"] if (gone := tables.missing(block.dev)) else []
    parts.append(f"<p class='soft'>{_text(tables.LEGEND)}</p>")
    if len(block.test):
        head("Table 2: test")
        parts.append(_table(tables.cells(block.test, beside=block.test_floors)))
        parts += [f"<p class='note'>{_sentence(note)}</p>" for note in tables.test_notes(block.test)]
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
    parts.append(_figure(
        figures.curves(block.runs), "The dev score of each task and the overall score after every epoch, as means over "
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
    parts += [f"<details><summary>{_text(name)}</summary>{_overfit(block.runs, name)}</details>"
              for name in names if name not in unfolded]
    for title, figure, caption in (
            ("Gradients of the tasks", figures.conflict(block.runs), "Cosines between the encoder's task gradients, "
             "the share of iterations in which they conflict (cosine below 0), and their norms; means over each epoch. "
             "Sampled: measured in some iterations, beside the training. "
             + conflict.sentence(conflict.against_null(block.runs))),
            ("SMART's penalty", figures.smart(block.runs), "The penalty that SMART adds to each loss, before the "
             "factor lambda; its parts by dropout alone and by the noise; the size of the noise.")):
        if figure.data:
            head(title)
            parts.append(_figure(figure, caption))
    return headings, "".join(parts)


def _overfit(runs: pd.DataFrame, name: str) -> str:
    return _figure(figures.overfit(runs, name), f"{name}: scores on train (dotted, a sample of the training rows) and "
                   "dev after every epoch; gray lines: what no training gives on dev. Where train goes on rising and "
                   "dev does not, the model overfits.")


def _figure(figure: go.Figure, caption: str) -> str:
    """A figure as JSON, which the page's script draws. No text in it can end the script element."""
    data = figure.to_json().replace("<", "\\u003c")
    return (f"<figure><div class='plot'></div><figcaption>{_text(caption)}</figcaption>"
            f"<script type='application/json'>{data}</script></figure>")


def _table(table: pd.DataFrame) -> str:
    """A frame of texts as an HTML table; the groups of two-level columns get a header row."""
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
