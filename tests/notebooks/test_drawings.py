"""The drawings of the lessons are those that docs/draw_lessons.py draws, and stand in the notebooks with words."""

import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs"))

from draw_lessons import TO, drawings  # noqa: E402

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)]*)\)")


def test_the_drawings_are_up_to_date():
    assert {path.name: path.read_text(encoding="utf-8") for path in TO.glob("*.svg")} == drawings()


def test_a_drawing_has_a_title_and_refers_to_no_other_file():
    for name, svg in drawings().items():
        root = ElementTree.fromstring(svg)
        assert len(root.findtext("{http://www.w3.org/2000/svg}title")) > 20, name
        assert not re.search(r"href|url\((?!#)|https?:(?!//www\.w3\.org/2000/svg)|<script|@import", svg), name


def test_each_drawing_stands_in_a_notebook_and_every_picture_has_an_alternative_text():
    shown = set()
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown":
                assert "<img" not in cell.source, path.name
                for words, target in PICTURE.findall(cell.source):
                    assert len(words) > 20 and (path.parent / target).exists(), (path.name, target)
                    shown.add(target.removeprefix("drawings/"))
    assert shown == set(drawings())


def test_links_between_notebooks_and_to_the_manual_lead_somewhere():
    for path in NOTEBOOKS:
        cells = nbformat.read(path, as_version=4).cells
        words = " ".join(cell.source for cell in cells if cell.cell_type == "markdown")
        for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", words):
            assert (path.parent / target).exists(), (path.name, target)
