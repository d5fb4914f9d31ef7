"""Which model answers, and what is said about it."""

import contextlib
import dataclasses

import pytest
from helpers import trained

import lab
from lab.results.ask import best, best_run


def test_of_a_run_that_is_not_finished_it_is_said_that_nothing_was_measured(tiny, tiny_data):
    with contextlib.closing(lab.fit(tiny, data=tiny_data)) as training:
        next(row for row in training if row["step"] == 8 and row["metric"] == "overall")
    asked = best(training.run, weights="last")
    assert asked.quality("sst") == "how good it is was not measured: its run is not finished"


def test_a_run_on_the_sample_answers_only_when_it_is_named(tiny, tiny_data):
    run, _ = trained(dataclasses.replace(tiny, epochs=1), tiny_data)
    assert best().name == run.name
    config = run.folder / "experiment.json"
    config.write_text(config.read_text().replace('"kind": "files"', '"kind": "sample"'))
    assert best().name == "frozen, as it ships with the lab" and best().instead_of == run.name
    assert best(run).name == best(run.name).name == best_run().name == run.name


def test_scores_that_were_cut_are_not_taken_for_a_model_that_has_learned_nothing(tiny, tiny_data):
    run, _ = trained(dataclasses.replace(tiny, epochs=1), tiny_data)
    assert best_run().folder == run.folder and best(run).scores
    (run.folder / "metrics.jsonl").write_text("")
    assert best_run() is None
    with pytest.raises(lab.LabError, match=r"^[^\n]*metrics.jsonl has changed since it was saved at the end"):
        best(run)
