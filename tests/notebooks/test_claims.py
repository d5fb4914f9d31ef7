"""The claim cards of the notebooks: the paper's sentence and numbers, a prediction, and where the lab's answer is."""

import re
from pathlib import Path

import nbformat
import pytest

from lab.experiment import KNOWN
from lab.results.plan import plan
from lab.results.tables import paper_table

HERE = Path(__file__).resolve().parents[2] / "notebooks"
PARTS = ["Its numbers", "The mechanism", "Predict before you run", "The lab's answer", "Why they may differ"]
CARDS = [pytest.param(cell.source, id=f"{path.stem[:2]}-{cell.id}") for path in sorted(HERE.glob("0[3-8]_*.ipynb"))
         for cell in nbformat.read(path, as_version=4).cells if cell.id.startswith("claim-")]


@pytest.mark.parametrize("card", CARDS)
def test_a_card_has_all_parts_and_names_rows_that_the_report_has(card):
    assert re.findall(r"^- \*\*([^*]+?)\.?\*\*", card, re.M) == PARTS
    assert card.startswith("### Claim") == ("\n> “" in card)
    answer = card.split("**The lab's answer.**")[1].split("\n")[0]
    assert "`lab report --runs data/runs`" in answer and not re.search(r"\.\d\d", answer)  # no number that goes stale
    contrasts = {(contrast["a"], contrast["b"]) for contrast in plan()["contrasts"]}
    named = re.findall(r"`(\w+) - (\w+)`", answer)
    assert set(named) <= contrasts and set(re.findall(r"`(\w+)`", answer)) - {"peak_memory_mb"} <= set(KNOWN)


@pytest.mark.parametrize("card", CARDS)
def test_the_numbers_of_a_card_are_the_papers(card):
    numbers = card.split("**Its numbers**")[1].split("\n")[0] if "**Its numbers**" in card else ""
    paper = {f"{value:.3f}"[1:] for name in ("table1", "table2")
             for value in paper_table(name).select_dtypes("number").to_numpy().ravel()}
    assert set(re.findall(r"(?<!\d)\.\d{3}\b", numbers)) <= paper


def test_every_claim_of_the_plan_that_is_the_papers_has_a_card():
    cards = " ".join(card.values[0] for card in CARDS)
    missing = [c for c in plan()["contrasts"] if f"`{c['a']} - {c['b']}`" not in cards and "weighted" not in c["a"]]
    assert not missing
