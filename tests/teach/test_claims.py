"""lab/teach/claims.py: the lab's answer to a claim."""

import pytest

import lab
from lab import teach
from lab.data import checkout
from lab.results.plan import plan


@pytest.fixture
def shipped(monkeypatch):
    """The records that ship with the lab, which other tests do without."""
    monkeypatch.setattr("lab.runs.stores.shipped_root", lambda: checkout() / "data" / "runs")


@pytest.mark.usefixtures("shipped")
def test_a_contrast_says_difference_interval_seeds_the_papers_and_the_verdict():
    text = str(teach.contrasts("smart - multitask"))
    assert text.startswith("smart - multitask, 10 seeds: +0.017 (+0.012 to +0.021).")
    assert "The paper has +0.006." in text and text.endswith("Verdict: differs.")


@pytest.mark.usefixtures("shipped")
def test_one_without_a_difference_and_one_that_the_paper_does_not_have_say_so():
    stalled, own = str(teach.contrasts("cosine_d - cosine_2d1", "gse - sum_sum")).splitlines()
    assert ": n/a." in stalled and "without a score" in stalled and "nan" not in stalled
    assert "The paper has none." in own


@pytest.mark.usefixtures("shipped")
def test_every_planned_contrast_can_be_asked_and_another_name_is_refused():
    names = [f"{contrast['a']} - {contrast['b']}" for contrast in plan()["contrasts"]]
    assert len(str(teach.contrasts(*names)).splitlines()) == len(names)
    with pytest.raises(lab.LabError, match="did you mean 'gse - sum_sum'"):
        teach.contrasts("gse - sumsum")


def test_where_no_records_ship_it_says_so():
    with pytest.raises(lab.LabError, match=r"no records of the planned contrasts in .*shipped"):
        teach.contrasts("gse - sum_sum")
