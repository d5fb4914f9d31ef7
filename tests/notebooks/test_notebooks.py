"""Every notebook runs from top to bottom in a fresh kernel, says nothing unasked, and is committed readable."""

import base64
import io
import re
import sys
import textwrap
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

HERE = Path(__file__).resolve().parents[2] / "notebooks"
sys.path.insert(0, str(HERE))

from execute import NOTEBOOKS, PLOTLY, alternative, execute, figures, smaller, tagged  # noqa: E402

names = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
MOST_BYTES = 400_000
IDEAS = ["00_start", "01_minbert", "02_adamw", "03_three_tasks", "04_gradient_surgery", "05_similarity", "06_smart",
         "07_iterations_and_sampling", "08_is_it_real", "09_traps", "10_your_own"]


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def outputs(notebook):
    return [output for cell in code(notebook) for output in cell.outputs]


def texts(output):
    return "".join(output.get("text", "")) + str(output.get("data", {}).get("text/plain", ""))


def test_there_is_a_notebook_an_idea():
    assert [path.stem for path in NOTEBOOKS] == IDEAS


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem, marks=[pytest.mark.slow] * (path.stem[:2] != "09"))
                                  for path in NOTEBOOKS])
def test_it_runs_from_top_to_bottom_without_a_stray_word(path, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("LAB_DATA", "")
    made = execute(path, "small", tmp_path)
    strays = [texts(output)[:500] for output in outputs(made) if output.get("name") == "stderr"]
    assert not strays
    assert not [texts(output) for output in outputs(made) if "Warning" in texts(output)]


@names
def test_it_is_committed_with_outputs_that_any_reader_shows(path):
    assert path.stat().st_size < MOST_BYTES
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert "widgets" not in notebook.metadata
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    kinds = {kind for output in outputs(notebook) for kind in output.get("data", {})}
    assert not {kind for kind in kinds if "widget" in kind} and not any(o.output_type == "error"
                                                                        for o in outputs(notebook))
    for figure in figures(notebook):  # nbconvert --template classic shows the words
        assert "image/png" in figure.data and figure.metadata["image/png"]["alt"] == alternative(figure.data[PLOTLY])
        assert re.match(r"Chart: \w[^<]{30,}\.$", alternative(figure.data[PLOTLY]))
    assert not [texts(output)[:300] for output in outputs(notebook) if output.get("name") == "stderr"]
    # no path of the machine that made them
    assert not re.search(r"(?<![\w.])/(home|root|tmp|work|Users)/", " ".join(map(texts, outputs(notebook))))


@names
def test_a_line_has_its_own_colour_in_the_static_picture_too(path):
    for figure in figures(nbformat.read(path, as_version=4)):
        picture = Image.open(io.BytesIO(base64.b64decode(figure.data["image/png"]))).convert("RGB")
        there = np.array([colour for _, colour in picture.getcolors(1 << 16)])
        lines = {line.get("line", {}).get("color") for line in figure.data[PLOTLY]["data"] if line.get("name")} - {None}
        for line in lines:
            wanted = np.array([int(line[i : i + 2], 16) for i in (1, 3, 5)])
            assert np.abs(there - wanted).sum(1).min() < 40, line  # the nearest two of ours are 82 apart


def test_the_tests_shrink_what_a_reader_trains():
    assert smaller("lab.ablate(chosen,\n           seeds=3)\nlab.fork(run, 94, iterations=40)") == (
        "lab.ablate(chosen,\n           seeds=1)\nlab.fork(run, 94, iterations=2)")
    assert smaller("weights_after(iterations=30)") == "weights_after(iterations=30)"


@names
def test_no_cell_knows_of_the_tests(path):
    assert "LAB_NOTEBOOKS" not in path.read_text(encoding="utf-8")


@names
def test_it_teaches_from_the_running_code(path):
    """It imports the lab, defines none of its names again, and each exercise in it has its check and its solution."""
    notebook = nbformat.read(path, as_version=4)
    source = "\n".join(cell.source for cell in code(notebook))
    assert "import lab" in source
    checked = set(re.findall(r'teach\.check\("(\w+)"', source))
    assert checked == set(re.findall(r'teach\.solution\("(\w+)"', source))
    assert len(notebook.cells[0].source.splitlines()[0]) > 3 and notebook.cells[0].source.startswith("# ")


@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if path.stem[:2] in ("03", "04", "05", "06")],
                         ids=lambda path: path.stem)
def test_it_ends_with_a_model_that_has_learned_and_answers_the_readers_sentences(path):
    *_, before, _, last = nbformat.read(path, as_version=4).cells  # the last cell is the reader's own
    asking = [cell for cell in (before, last) if re.search(r"lab\.predict\(|positive\(", cell.source)]
    assert asking[-1] is last and last.cell_type == "code"
    answers = [[float(number) for number in re.findall(r"\b\d\.\d+\b", cell.outputs[0].data["text/plain"])]
               for cell in asking]
    assert len(answers[-1]) > 1
    assert max(map(max, answers)) - min(map(min, answers)) > 0.1  # it does not say the same of everything


@names
def test_the_code_that_it_shows_is_the_labs_of_today(path):
    for output in outputs(nbformat.read(path, as_version=4)):
        for shown in re.finditer(r"\*(lab/\S+\.py), lines? (\d+)(?:-(\d+))?\*\n+```python\n(.*?)\n```",
                                 output.get("data", {}).get("text/markdown", ""), re.DOTALL):
            file, first, last, code_then = shown.groups()
            lines = (HERE.parent / file).read_text(encoding="utf-8").splitlines()[int(first) - 1 : int(last or first)]
            assert textwrap.dedent("\n".join(lines)).rstrip() == code_then.rstrip(), f"{file}: make outputs"


@names
def test_each_cell_that_shows_records_that_ship_is_found_when_others_ship(path):
    shown = set()  # names that hold records, or are made from them
    for cell in code(nbformat.read(path, as_version=4)):
        reads = any(text in cell.source for text in ('"../data/runs"', "teach.contrasts("))
        reads = reads or any(re.search(rf"\b{name}\b", cell.source) for name in shown)
        if reads:
            shown |= set(re.findall(r"^(\w+) = ", cell.source, re.MULTILINE))
        assert reads == tagged(cell, "records"), cell.source


def test_every_exercise_stands_in_a_notebook():
    from lab.teach.exercises import EXERCISES

    source = " ".join(path.read_text(encoding="utf-8") for path in NOTEBOOKS)
    assert not [name for name in EXERCISES if f'teach.check(\\"{name}\\"' not in source]


def test_each_exercise_says_how_hard_it_is_and_that_there_are_hints():
    from lab.teach.hints import HELP

    words = " ".join(cell.source for path in NOTEBOOKS for cell in nbformat.read(path, as_version=4).cells
                     if cell.cell_type == "markdown")
    for name, of in HELP.items():
        assert f'`{name}`: {of.level}, about {of.minutes} minutes. `teach.hint("{name}")` gives hints' in words
