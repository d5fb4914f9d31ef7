"""What the pages on predictions share: scores of runs, predictions with their confidence, the data of a run."""

import pandas as pd
import pytest
from helpers import records

from lab.runs.folder import Run


@pytest.fixture
def answers(dashboard):
    import answers

    return answers


def test_scores_are_of_all_of_dev_or_else_of_the_newest_epoch(answers):
    from choices import Chosen

    runs = pd.concat([records(run="done", overall=.6, best=.7), records(run="half", overall=.3).query("step < 94")])
    last = answers.scores(Chosen(runs, []), ["done", "half"])
    assert list(last["score of"]) == ["SST", "QQP", "STS", "overall"]
    assert set(last["done"]) == {.6} and set(last["half"]) == {.4}
    assert set(answers.scores(Chosen(runs, []), ["done"], "best")["done"]) == {.7}


def test_of_two_runs_of_a_seed_ones_own_comes_first(answers):
    from choices import Chosen

    runs = pd.concat([records("smart", run=run).assign(label="smart") for run in ("shipped/smart-1", "smart-1")])
    assert list(answers.runs_of(Chosen(runs, [])).index) == ["smart-1", "shipped/smart-1"]


def test_predictions_have_the_probability_of_the_answer(answers, add_predictions, data):
    folder = add_predictions(sure=.6)
    table, why = answers.examples(Run(folder), "sst", "last", data)
    assert why == "" and (table["confidence"] == table[[f"p{c}" for c in range(5)]].max(axis=1)).all()
    without, why = answers.examples(Run(add_predictions("gse")), "sst", "last", data)
    assert without["confidence"].isna().all() and "kept no sst probabilities" in why
    assert answers.examples(Run(folder), "sts", "last", data)[1] == ""  # no classes


def test_rows_with_the_same_id_keep_their_own_label_and_probability(answers, add_predictions, repeated):
    table, why = answers.examples(Run(add_predictions(wrong=6, sure=.6)), "sst", "last", repeated)
    examples = repeated.splits["sst", "dev"].examples
    assert why == "" and list(table["label"]) == [e.label for e in examples] and table["id"].nunique() == 12
    assert list(table["text"]) == [e.texts[0] for e in examples]
    assert list(table["confidence"]) == pytest.approx([.6 + i / 1000 for i in range(24)])
    assert list(table["label"] == table["prediction"]) == [False] * 6 + [True] * 18


def test_the_data_of_a_run_are_found_by_their_fingerprint(answers, add_predictions, data, tmp_path, monkeypatch):
    run = Run(add_predictions())
    assert answers.data_of(run)[0].fingerprint == data.fingerprint
    monkeypatch.setenv("LAB_DATA", str(tmp_path / "nowhere"))
    found, why = answers.data_of(run)
    assert found is None and data.fingerprint in why and "nowhere" in why


def test_stamps_change_with_a_file(answers, tmp_path):
    assert answers.stamps(tmp_path, "*.csv") == ()
    (tmp_path / "a.csv").write_text("1")
    before = answers.stamps(tmp_path, "*.csv")
    (tmp_path / "a.csv").write_text("12")
    assert answers.stamps(tmp_path, "*.csv") != before
