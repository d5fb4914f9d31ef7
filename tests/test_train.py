"""fit(): the updates mean what they say, records have what pictures need, and no random stream leaks."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch

import lab
from lab.batches import Stream, pack
from lab.optim import AdamW
from lab.train import fit


def weights(training):
    return {k: v.clone() for k, v in training.model.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def run(experiment, data, **options):
    training = fit(experiment, data=data, progress=False, **options)
    rows = list(training)
    return training, rows


@pytest.mark.parametrize("update", ["sum", "separate"])
def test_an_update_equals_one_written_out(tiny, tiny_data, update):
    experiment = dataclasses.replace(tiny, updates=(update,), epochs=1, iterations=2, dropout=0.0)
    training = fit(experiment, data=tiny_data, progress=False)
    for head in training.model.heads.values():
        for module in head.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
    other = fit(experiment, data=tiny_data, run="other", progress=False)
    model = other.model.eval()
    optimizer = AdamW(model.parameters(), lr=experiment.lr)
    streams = {t: Stream(64, 8, [experiment.seed, i]) for i, t in enumerate(("sst", "qqp", "sts"))}
    for k in range(2):
        parts = [{t: other.rows[t, "train"].take(stream.batch(k))} for t, stream in streams.items()]
        if update == "sum":
            optimizer.zero_grad()
            sum(loss for part in parts for loss in model.losses(pack(part)).values()).backward()
            optimizer.step()
        else:
            for part in parts:
                optimizer.zero_grad()
                next(iter(model.losses(pack(part)).values())).backward()
                optimizer.step()
    list(training)
    for (name, ours), theirs in zip(training.model.named_parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=2e-5, msg=name)


def test_no_random_stream_depends_on_name_iterations_or_epochs(tiny, tiny_data):
    one, _ = run(dataclasses.replace(tiny, epochs=3, iterations=4), tiny_data)
    long, _ = run(dataclasses.replace(tiny, name="other", epochs=1, iterations=12), tiny_data)
    assert same(weights(one), weights(long))
    seed, _ = run(dataclasses.replace(tiny, seed=1), tiny_data)
    assert not same(weights(one), weights(seed))


def test_the_callers_randomness_is_neither_used_nor_moved(tiny, tiny_data):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = fit(tiny, data=tiny_data, progress=False)
    for _ in one:
        assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    two = fit(tiny, data=tiny_data, progress=False)
    for _ in two:
        torch.rand(3)
    assert same(weights(one), weights(two))


def test_rows_have_what_the_pictures_need(tiny, tiny_data):
    training, rows = run(tiny, tiny_data)
    assert training.run.rows() == rows
    assert all(set(row) == {"step", "epoch", "split", "task", "metric", "value", "seconds"} for row in rows)
    have = {(r["split"], r["task"], r["metric"], r["step"]) for r in rows}
    for step in (4, 8, 12):
        for split in ("train", "dev"):
            for task, metric in [("sst", "accuracy"), ("qqp", "accuracy"), ("sts", "pearson"), ("all", "overall"),
                                 ("sst", "loss")]:
                assert (split, task, metric, step) in have
    assert ("dev_full", "all", "overall", 12) in have
    assert {("batch", task, "grad_norm", 12) for task in ("sst", "qqp", "sts")} <= have
    assert {("batch", "all", metric, 12) for metric in ("tokens_per_second", "peak_memory_mb")} <= have
    assert all(r["epoch"] == -(-r["step"] // 4) for r in rows)


def test_best_and_last_are_both_scored_on_all_of_dev(tiny, tiny_data):
    training, rows = run(dataclasses.replace(tiny, eval_qqp=10, epochs=4, lr=3e-3), tiny_data)
    dev = {r["step"]: r["value"] for r in rows if r["split"] == "dev" and r["task"] == "all"}
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


def test_a_null_score_never_beats_a_number(tiny, tiny_data, monkeypatch):
    import lab.train

    real, calls = lab.train.scored, []

    def constant_first(model, rows, answers):
        scores, predictions = real(model, rows, answers)
        calls.append(1)
        if len(calls) in (2, 6):  # dev of epochs 1 and 3
            scores["sts"]["pearson"] = scores["all"]["overall"] = None
        return scores, predictions

    monkeypatch.setattr(lab.train, "scored", constant_first)
    training, rows = run(tiny, tiny_data)
    assert [r["value"] for r in rows if r["split"] == "dev" and r["task"] == "all"][0::2] == [None, None]
    assert training.run.status["best"]["step"] == 8


def test_training_learns(tiny, tiny_data):
    experiment = dataclasses.replace(tiny, updates=("sum",), iterations=16, lr=3e-3, pooling="mean", eval_train=64)
    _, rows = run(experiment, tiny_data)
    for task in ("sst", "qqp", "sts"):
        loss = [r["value"] for r in rows if (r["split"], r["task"], r["metric"]) == ("train", task, "loss")]
        assert loss[-1] < 0.8 * loss[0]


def test_bf16_is_near_fp32(tiny, tiny_data):
    fp32, rows = run(tiny, tiny_data)
    bf16, half = run(dataclasses.replace(tiny, precision="bf16"), tiny_data)
    ours, theirs = ([r["value"] for r in s if (r["metric"], r["split"]) == ("loss", "batch")] for s in (half, rows))
    np.testing.assert_allclose(ours, theirs, rtol=0.02)
    assert all(p.dtype == torch.float32 for p in bf16.model.parameters()) and not same(weights(fp32), weights(bf16))


def test_warmup_raises_the_rate(tiny, tiny_data):
    training = fit(dataclasses.replace(tiny, warmup=10, epochs=1), data=tiny_data, progress=False)
    list(training)
    assert training.optimizer.param_groups[0]["lr"] == pytest.approx(1e-3 * 4 / 10)


def test_a_scale_keeps_its_share_of_the_training_rows(tiny, tiny_data):
    scaled = dataclasses.replace(tiny, scale=4 / 755)  # n = 4: 32 of the 64 rows
    training = fit(scaled, data=tiny_data, progress=False)
    assert {len(training.rows[t, "train"]) for t in ("sst", "qqp", "sts")} == {32}
    again = fit(dataclasses.replace(scaled, seed=3, name="x"), data=tiny_data, progress=False)
    assert again.rows["qqp", "train"].ids == training.rows["qqp", "train"].ids
    assert set(training.scored["train"]["sst"].ids) <= set(training.rows["sst", "train"].ids)


def test_a_labelled_test_set_is_scored_at_the_end(tiny, tiny_data, tmp_path):
    shutil.copytree(tiny_data, tmp_path / "data")
    for name in ("ids-sst", "quora", "sts"):
        shutil.copy(tmp_path / "data" / f"{name}-dev.csv", tmp_path / "data" / f"{name}-test.csv")
    training, rows = run(dataclasses.replace(tiny, epochs=1), tmp_path / "data")
    test, dev = ({(r["task"], r["metric"]): r["value"] for r in rows if r["split"] == s} for s in ("test", "dev_full"))
    assert test == dev and ("all", "overall") in test
    assert (training.run.folder / "predictions" / "last" / "para-test-output.csv").exists()


def test_a_device_that_is_not_here_is_named(tiny, tiny_data, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(lab.LabError, match="device 'cuda' is not available on this machine"):
        fit(dataclasses.replace(tiny, device="cuda"), data=tiny_data)
