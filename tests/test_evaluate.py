"""lab/evaluate.py: scores by the paper's formulas, predictions in the course's layout, predictions for own texts."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

import lab
from lab.batches import pack, prepare
from lab.encoders.sources import load_encoder
from lab.evaluate import (
    evaluate,
    logits,
    pearson,
    read_predictions,
    scored,
    write_predictions,
    write_probabilities,
)
from lab.results.tables import paper_table
from lab.tasks import MultitaskModel


@pytest.fixture(scope="module")
def model(tiny_encoder):
    bert, tokenizer = load_encoder(tiny_encoder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MultitaskModel(bert), tokenizer


@pytest.mark.parametrize("table", ["table1", "table2"])
def test_overall_is_the_papers_in_every_complete_row(table):
    rows = paper_table(table).dropna()
    assert len(rows) == {"table1": 12, "table2": 3}[table]
    for row in rows.itertuples():
        assert lab.overall_score(row.sst, row.qqp, row.sts) == pytest.approx(row.overall, abs=6e-4)


def test_pearson_is_float64_and_null_for_a_constant():
    import scipy.stats
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=500).astype(np.float32), rng.normal(size=500)
    assert pearson(x, y) == pytest.approx(scipy.stats.pearsonr(x.astype(np.float64), y).statistic, abs=1e-12)
    near = (1000 + 1e-3 * x).astype(np.float32)  # float32 sums would lose this
    assert pearson(near, x) == pytest.approx(np.corrcoef(near.astype(np.float64), x)[0, 1], abs=1e-9)
    assert pearson(np.full(9, 2.5), np.arange(9)) is None
    assert pearson(np.array([1, np.nan, 2]), np.arange(3)) is None
    assert lab.overall_score(0.5, 0.7, None) is None


def test_evaluation_is_eval_mode_each_row_on_its_own_and_in_file_order(model, tiny_data):
    model, tokenizer = model
    rows = prepare(lab.load_data(tiny_data), tokenizer)
    dev = {t: rows[t, "dev"] for t in ("sst", "qqp", "sts")}
    model.train()
    scores, predictions = evaluate(model, dev)
    assert model.training
    data = lab.load_data(tiny_data)
    for task in dev:
        examples = data.splits[task, "dev"].examples
        texts = [e.texts[0] if task == "sst" else e.texts for e in examples]
        alone = np.concatenate([lab.predict(model, task, [t], tokenizer=tokenizer)["prediction"] for t in texts])
        np.testing.assert_allclose(predictions[task], alone, rtol=1e-4, atol=1e-5)
        labels = np.array([e.label for e in examples])
        if task == "sts":
            assert scores[task]["pearson"] == pytest.approx(np.corrcoef(alone, labels)[0, 1], abs=1e-4)
        else:
            assert scores[task]["accuracy"] == np.mean(alone == labels)
    assert scores["all"]["overall"] == lab.overall_score(scores["sst"]["accuracy"], scores["qqp"]["accuracy"],
                                                         scores["sts"]["pearson"])


def test_cross_pairs_are_answered_as_in_training(tiny_encoder, tiny_data):
    bert, tokenizer = load_encoder(tiny_encoder)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = MultitaskModel(bert, pair="cross").eval()
        for name, p in model.named_parameters():  # fresh weights give all pairs nearly the same answer
            p.mul_(1 if "norm" in name else 4)
        data = lab.load_data(tiny_data)
        rows = prepare(data, tokenizer, pair="cross")
        dev = {t: rows[t, "dev"] for t in ("sst", "qqp", "sts")}
        batch = pack(dev)
        forward = model.logits(model.embed(batch), batch)
    answers = logits(model, dev)
    for task in dev:
        torch.testing.assert_close(answers[task], forward[task], rtol=1e-4, atol=1e-4)
    examples = {t: [e.texts[0] if t == "sst" else e.texts for e in data.splits[t, "dev"].examples] for t in dev}
    asked = {t: lab.predict(model, t, texts, tokenizer=tokenizer) for t, texts in examples.items()}
    close = {"rtol": 1e-3, "atol": 1e-3}
    np.testing.assert_allclose(asked["sts"]["prediction"], forward["sts"], **close)
    np.testing.assert_allclose(asked["qqp"]["probability"], forward["qqp"].sigmoid(), **close)
    np.testing.assert_allclose(asked["sst"][[f"p{c}" for c in range(5)]], forward["sst"].softmax(1), **close)
    swapped = lab.predict(model, "sts", [(b, a) for a, b in examples["sts"]], tokenizer=tokenizer)
    assert (np.abs(swapped["prediction"] - asked["sts"]["prediction"]) > 1e-3).mean() > 0.8


def test_predictions_are_in_the_courses_layout(model, tiny_data, tmp_path):
    model, tokenizer = model
    rows = prepare(lab.load_data(tiny_data), tokenizer)
    dev = {t: rows[t, "dev"] for t in ("sst", "qqp", "sts")}
    _, predictions = evaluate(model, dev)
    write_predictions(tmp_path, "dev", dev, predictions)
    lines = (tmp_path / "sst-dev-output.csv").read_text().split("\n")
    assert lines[0] == "id \t Predicted_Sentiment " and lines[1] == f"{dev['sst'].ids[0]} , {predictions['sst'][0]} "
    assert (tmp_path / "para-dev-output.csv").read_text().startswith("id \t Predicted_Is_Paraphrase \n")
    back = read_predictions(tmp_path / "sts-dev-output.csv")
    assert [row for row, _ in back] == dev["sts"].ids
    np.testing.assert_array_equal(np.array([value for _, value in back], np.float32), predictions["sts"])


def test_predictions_come_back_line_by_line_whatever_the_ids_are(model, tiny_data, tmp_path):
    rows = prepare(lab.load_data(tiny_data), model[1])["sst", "dev"].take(np.arange(4))
    rows.ids[:] = ["same", "same", "a , b", "odd\u2028\x0bid"]
    write_predictions(tmp_path, "test", {"sst": rows}, {"sst": np.array([0, 4, 2, 1])})
    assert read_predictions(tmp_path / "sst-test-output.csv") == [
        ("same", 0), ("same", 4), ("a , b", 2), ("odd\u2028\x0bid", 1)]


def test_an_id_that_a_spreadsheet_would_run_is_escaped(model, tiny_data, tmp_path):
    _, tokenizer = model
    rows = prepare(lab.load_data(tiny_data), tokenizer)["sst", "dev"].take(np.arange(1))
    rows.ids[0] = "=HYPERLINK(1)"
    write_predictions(tmp_path, "dev", {"sst": rows}, {"sst": np.array([2])})
    assert "\n'=HYPERLINK(1) , 2 \n" in (tmp_path / "sst-dev-output.csv").read_text()


def test_probabilities_stand_beside_the_predictions_that_they_led_to(model, tiny_data, tmp_path):
    model, tokenizer = model
    rows = prepare(lab.load_data(tiny_data), tokenizer)
    dev = {t: rows[t, "dev"] for t in ("sst", "qqp", "sts")}
    dev["sst"].ids[0] = "=HYPERLINK(1)"
    answers = logits(model, dev)
    _, predictions = scored(model, dev, answers)
    write_probabilities(tmp_path, "dev", dev, answers)
    assert {file.name for file in tmp_path.iterdir()} == {"sst-dev-probabilities.csv", "para-dev-probabilities.csv"}
    p1 = answers["qqp"].sigmoid()
    for task, file, shares in (("sst", "sst", answers["sst"].softmax(1)),
                               ("qqp", "para", torch.stack([1 - p1, p1], 1))):
        table = pd.read_csv(tmp_path / f"{file}-dev-probabilities.csv", index_col="id")
        assert list(table) == [f"p{c}" for c in range(shares.shape[1])] and list(table.index) == [
            "'=HYPERLINK(1)" if i.startswith("=") else i for i in dev[task].ids]
        np.testing.assert_allclose(table, shares, atol=1e-5)
        np.testing.assert_array_equal(table.to_numpy().argmax(1), predictions[task])


def test_predict_answers_every_task(model):
    model, tokenizer = model
    sst = lab.predict(model, "sst", ["A fine film.", "Dull."], tokenizer=tokenizer)
    assert list(sst["text"]) == ["A fine film.", "Dull."] and set(sst["prediction"]) <= set(range(5))
    np.testing.assert_allclose(sst[[f"p{c}" for c in range(5)]].sum(axis=1), 1, rtol=1e-5)
    qqp = lab.predict(model, "qqp", [("How far is it?", "What is the distance?")], tokenizer=tokenizer)
    assert qqp["prediction"][0] == round(qqp["probability"][0])
    sts = lab.predict(model, "sts", [("A man sings.", "A dog runs."), ("a", "a")], tokenizer=tokenizer)
    assert isinstance(sts, pd.DataFrame) and len(sts) == 2 and sts["prediction"].dtype.kind == "f"


def test_rows_without_labels_are_predicted_and_not_scored(model, tiny_data):
    model, tokenizer = model
    rows = prepare(lab.load_data(tiny_data), tokenizer)
    dev = {t: rows[t, "dev"] for t in ("sst", "qqp", "sts")}
    dev["sst"] = dataclasses.replace(dev["sst"], labels=np.full(24, np.nan, np.float32))
    scores, predictions = evaluate(model, dev)
    assert set(scores) == {"qqp", "sts"} and len(predictions["sst"]) == 24


@pytest.mark.parametrize(("task", "texts"), [("sst", []), ("sst", "Great"), ("sst", [""]), ("sst", [("a", "b")]),
                                             ("qqp", ["one"]),
                                             ("sts", [("a", " ")]), ("sts", [("a", 5)]), ("stss", ["a"])])
def test_predict_says_what_it_takes(model, task, texts):
    model, tokenizer = model
    with pytest.raises(lab.LabError):
        lab.predict(model, task, texts, tokenizer=tokenizer)
