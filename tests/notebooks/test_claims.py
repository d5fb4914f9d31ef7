"""The claim cards of the notebooks: the paper's sentence and numbers, a prediction, and where the lab's answer is."""

import re
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest

from lab.experiment import KNOWN
from lab.results.plan import plan
from lab.results.tables import paper_table

HERE = Path(__file__).resolve().parents[2] / "notebooks"
PARTS = ["Its numbers", "The mechanism", "Predict before you run", "The lab's answer", "Why they may differ"]
CELLS = [(path.stem[:2], *two) for path in sorted(HERE.glob("0[3-8]_*.ipynb"))
         for two in pairwise(nbformat.read(path, as_version=4).cells)]
CARDS = [pytest.param(cell.source, after, id=f"{number}-{cell.id}") for number, cell, after in CELLS
         if cell.id.startswith("claim-")]
ANSWER = re.compile(r'teach\.contrasts\((.*)\)')


@pytest.mark.parametrize(("card", "after"), CARDS)
def test_a_card_has_all_parts_and_its_answer_is_in_the_next_cell_or_in_the_report(card, after):
    assert re.findall(r"^- \*\*([^*]+?)\.?\*\*", card, re.M) == PARTS
    assert card.startswith("### Claim") == ("\n> “" in card)
    answer = card.split("**The lab's answer.**")[1].split("\n")[0]
    assert not re.search(r"\.\d\d", answer)  # no number that goes stale
    assert "The next cell" in answer or "`lab report --runs data/runs`" in answer
    assert set(re.findall(r"`(\w+)`", answer)) - {"peak_memory_mb"} <= set(KNOWN)
    if "The next cell" in answer:
        assert after.cell_type == "code" and after.outputs


@pytest.mark.parametrize(("card", "after"), CARDS)
def test_the_numbers_of_a_card_are_the_papers(card, after):
    numbers = card.split("**Its numbers**")[1].split("\n")[0] if "**Its numbers**" in card else ""
    paper = {f"{value:.3f}"[1:] for name in ("table1", "table2")
             for value in paper_table(name).select_dtypes("number").to_numpy().ravel()}
    assert set(re.findall(r"(?<!\d)\.\d{3}\b", numbers)) <= paper


def test_every_claim_of_the_plan_that_is_the_papers_is_answered_below_a_card():
    answered = {name for card in CARDS if (found := ANSWER.search(card.values[1].source))
                for name in re.findall(r'"([^"]+)"', found[1])}
    planned = {f"{contrast['a']} - {contrast['b']}" for contrast in plan()["contrasts"] if contrast["a"] != "weighted"}
    assert answered == planned
