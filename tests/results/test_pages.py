"""The pages on results say what the records that ship with the lab say: docs/fill_pages.py has nothing to change."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from lab.results.plan import planned

DOCS = Path(__file__).resolve().parents[2] / "docs"
sys.path.insert(0, str(DOCS))
import claims_tables  # noqa: E402
from fill_pages import PAGES, filled  # noqa: E402


def test_the_pages_agree_with_the_records():
    done = subprocess.run([sys.executable, DOCS / "fill_pages.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_table_that_was_changed_by_hand_is_made_anew():
    page = "Before.\n\n<!-- table: a: b -->\n| stale |\n|---|\n| 1 |\n\nAfter | this.\n"
    assert filled(page, {"a: b": ["| fresh |", "|---|"]}) == (
        "Before.\n\n<!-- table: a: b -->\n| fresh |\n|---|\n\nAfter | this.\n")


def test_a_table_without_a_source_is_an_error():
    with pytest.raises(KeyError):
        filled("<!-- table: none -->\n", {})


@pytest.mark.parametrize("page", PAGES)
def test_every_page_has_a_table_that_is_made(page):
    assert "<!-- table: " in (DOCS / page).read_text(encoding="utf-8")


def test_the_picture_of_the_claims_says_why_there_is_no_difference(monkeypatch):
    runs = pd.DataFrame({"recipe": [*"aaabbbc"], "seed": [1, 2, 3, 1, 2, 3, 1],
                         "value": [.5, .6, None, .4, .4, .5, .6]})
    found = planned(runs, [{"a": "a", "b": "b", "claim": ""}, {"a": "b", "b": "c", "claim": ""}]).assign(paper=.01)
    monkeypatch.setattr(claims_tables, "claims", lambda runs: found)
    picture = claims_tables.drawn(None)
    assert ">1 run of a without a score</text>" in picture and ">-0.200, 1 seed in common</text>" in picture
