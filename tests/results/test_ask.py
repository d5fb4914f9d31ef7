"""Which model answers, and what is said about it."""

import dataclasses

import pytest
from helpers import trained

import lab
from lab.results.ask import best, best_run


def test_scores_that_were_cut_are_not_taken_for_a_model_that_has_learned_nothing(tiny, tiny_data):
    run, _ = trained(dataclasses.replace(tiny, epochs=1), tiny_data)
    assert best_run().folder == run.folder and best(run).scores
    (run.folder / "metrics.jsonl").write_text("")
    assert best_run() is None
    with pytest.raises(lab.LabError, match=r"^[^\n]*metrics.jsonl has changed since it was saved at the end"):
        best(run)
