"""What a training scores and when: step 0, every epoch, the end; which epoch is the best; what is kept of it."""

import dataclasses
import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from helpers import first_quick, inputs

import lab
from lab.data import TASKS, file_name, student_name
from lab.evaluate import evaluate, read_predictions
from lab.runs import scoring
from lab.runs.scoring import scored_rows
from lab.train import fit


def run(experiment, data, **options):
    training = fit(experiment, data=data, progress=False, **options)
    rows = list(training)
    return training, rows


def test_best_and_last_are_both_scored_on_all_of_dev(tiny, tiny_data):
    training, rows = run(dataclasses.replace(tiny, eval_qqp=10, epochs=4, lr=3e-3), tiny_data)
    dev = {r["step"]: r["value"] for r in rows if r["split"] == "dev" and r["task"] == "all" and r["step"]}
    full = {r["step"]: r["value"] for r in rows if r["split"] == "dev_full" and r["task"] == "all"}
    best = max(dev, key=lambda step: (dev[step], -step))
    assert set(full) == {best, 16} and training.run.status["best"]["step"] == best
    for name in ("best", "last"):
        files = sorted(f.name for f in (training.run.folder / "predictions" / name).iterdir())
        assert files == ["para-dev-output.csv", "sst-dev-output.csv", "sts-dev-output.csv"]
        files = sorted(f.name for f in (training.run.folder / "probabilities" / name).iterdir())
        assert files == ["para-dev-probabilities.csv", "sst-dev-probabilities.csv"]
    # .model holds the last weights when all is done
    step_16 = lab.predict(training.run, "sst", ["good", "bad film"], weights="last")
    direct = lab.predict(training.model, "sst", ["good", "bad film"], tokenizer=training.tokenizer)
    np.testing.assert_allclose(step_16[["p0", "p4"]], direct[["p0", "p4"]], rtol=1e-5)


def test_step_0_is_the_fresh_models_own_score(tiny, tiny_data):
    experiment = dataclasses.replace(tiny, eval_train=64, eval_qqp=None, epochs=1)
    training = fit(experiment, data=tiny_data, progress=False)
    rows, _ = inputs(training)
    expected = {split: evaluate(training.model, {t: rows[t, split] for t in TASKS})[0] for split in ("train", "dev")}
    before = {name: of.clone() for name, of in training.model.state_dict().items()}
    found = {"train": {}, "dev": {}}
    for row in training:
        if row["step"]:
            break
        assert row["epoch"] == 0 and all(of.equal(before[name]) for name, of in training.model.state_dict().items())
        if row["split"] in found and (row["metric"] != "majority_class" and "no_training" not in row["metric"]):
            found[row["split"]].setdefault(row["task"], {})[row["metric"]] = row["value"]
    assert found == expected and {"sst", "qqp", "sts", "all"} == set(found["dev"])


def test_step_0_is_never_the_best(tiny, tiny_data, monkeypatch):
    real, calls = scoring.scored, []

    def wonderful_first(model, rows, answers):
        scores, predictions = real(model, rows, answers)
        calls.append(1)
        if len(calls) <= 2:  # train and dev of step 0
            scores["all"]["overall"] = 1.0
        return scores, predictions

    monkeypatch.setattr(scoring, "scored", wonderful_first)
    training, rows = run(tiny, tiny_data)
    assert next(r["value"] for r in rows if (r["step"], r["split"], r["metric"]) == (0, "dev", "overall")) == 1.0
    assert training.run.status["best"]["step"] in (4, 8, 12)
    assert 0 not in {r["step"] for r in rows if (r["split"], r["metric"]) == ("dev_full", "overall")}


@pytest.mark.parametrize("settings", first_quick({}, {"pair": "cross"}, {"trains": "heads", "updates": ("sum",)}))
def test_what_no_training_gives_is_recorded_once_for_the_rows_that_are_scored(settings, tiny, tiny_data, tmp_path):
    shutil.copytree(tiny_data, tmp_path / "data")
    for name in ("ids-sst", "quora", "sts"):
        shutil.copy(tmp_path / "data" / f"{name}-dev.csv", tmp_path / "data" / f"{name}-test.csv")
    training = fit(dataclasses.replace(tiny, epochs=1, eval_qqp=8, end_qqp=16, **settings), data=tmp_path / "data",
                   progress=False)
    bert, _ = lab.load_encoder(tiny.encoder)  # untouched
    alone = lab.batches.prepare(training.recorder.data, training.tokenizer)
    rows = [r for r in training if r["metric"] == "majority_class" or r["metric"].startswith("no_training")]
    names = [("sst", "majority_class"), ("qqp", "majority_class"), *(("sts", f"no_training_{p}") for p in lab.POOLINGS)]
    assert {(r["split"], r["task"], r["metric"]) for r in rows} == {
        (split, *name) for split in ("dev", "dev_full", "test") for name in names}
    assert len(rows) == 3 * len(names) and {r["step"] for r in rows} == {0}
    value = {(r["split"], r["metric"]): r["value"] for r in rows if r["task"] != "sst"}
    limits = {"dev": 8, "dev_full": 16, "test": None}
    common = Counter(alone["qqp", "train"].labels).most_common(1)[0][0]
    for split, limit in limits.items():
        labels = alone["qqp", "dev"].some(limit, 42).labels
        assert value[split, "majority_class"] == sum(labels == common) / len(labels)
    whole = dict(untrained_scores(bert, training))
    assert value["dev", "no_training_mean"] == pytest.approx(whole["mean"], abs=1e-4)
    assert value["dev", "no_training_cls"] == pytest.approx(whole["cls"], abs=1e-4)


def untrained_scores(bert, training):
    """Pearson's r of plain, padded vectors' cosine with the scores of the STS dev rows."""
    tokenizer, examples = training.tokenizer, training.recorder.data.splits["sts", "dev"].examples
    bert.eval()
    with torch.no_grad():
        sides = []
        for texts in zip(*(e.texts for e in examples), strict=True):
            batch = tokenizer(list(texts), padding=True, return_tensors="pt")
            mask = batch["attention_mask"]
            hidden = bert.encode(bert.embed(batch["input_ids"]), mask)
            sides.append({"mean": (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True),
                          "cls": bert.pooler(hidden[:, 0])})
    scores = [e.label for e in examples]
    for pooling in ("mean", "cls"):
        u, v = (side[pooling].double().numpy() for side in sides)
        cosine = (u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
        yield pooling, np.corrcoef(cosine, scores)[0, 1]


def test_a_test_set_without_labels_has_no_floor(tiny, tiny_data, tmp_path):
    shutil.copytree(tiny_data, tmp_path / "data")
    lines = (tmp_path / "data" / "sts-dev.csv").read_text(encoding="utf-8").splitlines()
    header, *rest = [line.split("\t") for line in lines]
    keep = [i for i, name in enumerate(header) if name != "similarity"]
    (tmp_path / "data" / "sts-test.csv").write_text(
        "\n".join("\t".join(cells[i] for i in keep) for cells in [header, *rest]) + "\n", encoding="utf-8")
    training, rows = run(dataclasses.replace(tiny, epochs=1, iterations=1), tmp_path / "data")
    assert ("sts", "test") in training.recorder.data.splits and "test" not in {r["split"] for r in rows}


def test_the_test_files_of_the_course_get_predictions_and_no_scores(tiny, tiny_data, tmp_path):
    shutil.copytree(tiny_data, tmp_path / "data")
    for task, label in (("sst", None), ("qqp", "-1")):  # without a label column, and with GLUE's label
        lines = (tmp_path / "data" / file_name(task, "dev")).read_text(encoding="utf-8").splitlines()
        lines = [line.rpartition("\t")[0] + f"\t{label}" * (label is not None) for line in lines]
        lines[0] += "\tis_duplicate" * (label is not None)
        lines[0] = lines[0].replace("\t-1", "")
        (tmp_path / "data" / student_name(task)).write_text("\n".join(lines) + "\n", encoding="utf-8")
    training, rows = run(dataclasses.replace(tiny, epochs=1, iterations=1), tmp_path / "data")
    assert "test" not in {r["split"] for r in rows}
    for task, file in (("sst", "sst"), ("qqp", "para")):
        examples = training.recorder.data.splits[task, "test"].examples
        written = read_predictions(training.run.folder / "predictions" / "last" / f"{file}-test-output.csv")
        assert [i for i, _ in written] == [e.id for e in examples] and len(written) == 24


def test_the_rows_of_the_end_hold_those_of_every_epoch(tiny, tiny_data):
    experiment = dataclasses.replace(tiny, epochs=1, eval_qqp=8, end_qqp=16)
    training, _ = run(experiment, tiny_data)
    rows, _ = inputs(training)
    ids = {file: [i for i, _ in read_predictions(training.run.folder / "predictions/last" / f"{file}-dev-output.csv")]
           for file in ("para", "sst", "sts")}
    assert {file: len(of) for file, of in ids.items()} == {"para": 16, "sst": 24, "sts": 24}
    every_epoch = scored_rows(experiment, rows, "dev")["qqp"].ids
    assert len(every_epoch) == 8 and set(every_epoch) < set(ids["para"])
    assert ids["para"] == [i for i in rows["qqp", "dev"].ids if i in set(ids["para"])]  # in the order of the file
    other = dataclasses.replace(experiment, seed=5, name="other")
    assert scored_rows(other, rows, "dev_full")["qqp"].ids == ids["para"]


def test_a_null_score_never_beats_a_number(tiny, tiny_data, monkeypatch):
    real, calls = scoring.scored, []

    def constant_first(model, rows, answers):
        scores, predictions = real(model, rows, answers)
        calls.append(1)
        if len(calls) in (4, 8):  # dev of epochs 1 and 3; the first two calls are of step 0
            scores["sts"]["pearson"] = scores["all"]["overall"] = None
        return scores, predictions

    monkeypatch.setattr(scoring, "scored", constant_first)
    training, rows = run(tiny, tiny_data)
    assert [r["value"] for r in rows if r["split"] == "dev" and r["task"] == "all"][1::2] == [None, None]
    assert training.run.status["best"]["step"] == 8


def test_a_labelled_test_set_is_scored_at_the_end(tiny, tiny_data, tmp_path):
    shutil.copytree(tiny_data, tmp_path / "data")
    for name in ("ids-sst", "quora", "sts"):
        shutil.copy(tmp_path / "data" / f"{name}-dev.csv", tmp_path / "data" / f"{name}-test.csv")
    training, rows = run(dataclasses.replace(tiny, epochs=1), tmp_path / "data")
    test, dev = ({(r["task"], r["metric"]): r["value"] for r in rows if r["split"] == s} for s in ("test", "dev_full"))
    assert test == dev and ("all", "overall") in test
    assert (training.run.folder / "predictions" / "last" / "para-test-output.csv").exists()
