"""Further pretraining: the right sentences, BERT's own task and head, and a run that goes on to the bit."""

import dataclasses
import math
import shlex
import shutil
import sys

import numpy as np
import pytest
import torch
import transformers
from helpers import same_weights
from safetensors.torch import load_file, save_file

import lab
from lab import cli
from lab.bert import Bert, BertConfig, Layout
from lab.encoders.formats import HEAD_NAMES
from lab.encoders.sources import load_encoder
from lab.pretrain import MaskedLM, Pretraining, mask_tokens, pretrain_mlm, sentences
from lab.runs import checkpoints
from lab.runs.folder import Run, list_runs

SIZES = {"vocab_size": 40, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 20,
         "max_position_embeddings": 16}


@pytest.fixture
def tiny(tiny_encoder):
    """A pretraining that takes a second: two epochs of seven iterations on a part of the tiny data."""
    return Pretraining(encoder=str(tiny_encoder), epochs=2, batch_size=16, lr=1e-3, warmup=2, held_out=0.1, scale=0.4,
                       device="cpu")


def pretrained(settings, data, **options):
    """A pretraining done to its end, and its rows."""
    training = pretrain_mlm(settings, data=data, progress=False, **options)
    return training, list(training)


def held_out(rows, metric="loss"):
    return {row["step"]: row["value"] for row in rows if (row["split"], row["metric"]) == ("held_out", metric)}


# ---- settings and sentences ------------------------------------------------------------------------------------------


def test_settings_are_a_value(tiny):
    assert Pretraining.from_json(tiny.to_json()) == tiny
    assert Pretraining().with_settings(["mask=.3", "epochs=4", "encoder=x"]) == Pretraining("x", 4, mask=0.3)


@pytest.mark.parametrize(("setting", "message"), [
    ("maks=.2", "field 'maks' is not known; did you mean 'mask'"), ("mask=1.5", "mask must be between"),
    ("held_out=0", "held_out must be between"), ("epochs=0", "epochs must be between"), ("lr=fast", "must be a number"),
    ("scale=none", "scale must be a number"), ("precision=fp16", "precision 'fp16' is not known"),
    ("smart.weight=1", "field 'smart.weight' is not known"), ("pooling=cls", "field 'pooling' is not known"),
])
def test_a_wrong_setting_is_named(setting, message):
    with pytest.raises(lab.LabError, match=message):
        Pretraining().with_settings([setting])


def test_no_sentence_of_dev_or_test_is_used_and_none_twice(tiny, tiny_data, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(tiny_data, folder)
    train, dev, test = (folder / f"quora-{split}.csv" for split in ("train", "dev", "test"))
    lines = train.read_text(encoding="utf-8").splitlines(keepends=True)
    first, second, third = (line.split("\t") for line in lines[1:4])
    columns = lines[0].rstrip("\n").split("\t")
    one, two = columns.index("sentence1"), columns.index("sentence2")
    # A dev file has a training question in other case and spaces, a test file without labels another one as it stands.
    row = {**dict.fromkeys(columns, "0"), "id": "new-1", "sentence1": first[one].upper().replace(" ", "  "),
           "sentence2": "Never seen?"}
    with open(dev, "a", encoding="utf-8") as file:
        file.write("\t".join(row[c] for c in columns) + "\n")
    test.write_text(f"id\tsentence1\tsentence2\nnew-2\t{second[two].strip()}\tNor this?\n", encoding="utf-8")
    with open(train, "a", encoding="utf-8") as file:  # and a training question comes twice
        file.write("".join(lines[3]))
    everything = dataclasses.replace(tiny, scale=1.0)
    held, trained, left_out = sentences(lab.load_data(folder), everything)
    used = held + trained
    assert left_out == 2 and len(used) == len(set(used))
    assert first[one].strip() not in used and second[two].strip() not in used and third[one].strip() in used
    data = lab.load_data(folder)
    of = {name: {text for (_, n), split in data.splits.items() if n == name for e in split.examples for text in e.texts}
          for name in ("train", "dev", "test")}
    assert set(used) <= of["train"] - of["dev"] - of["test"] and not set(held) & set(trained)
    assert set(used) == of["train"] - {first[one].strip(), second[two].strip()}


def test_held_out_sentences_are_the_same_for_every_seed_and_scale(tiny, tiny_data):
    data = lab.load_data(tiny_data)
    held, trained, _ = sentences(data, tiny)
    assert sentences(data, dataclasses.replace(tiny, seed=5, epochs=1))[:2] == (held, trained)
    same, more, _ = sentences(data, dataclasses.replace(tiny, scale=1.0))
    assert same == held and more[: len(trained)] == trained and len(trained) == round(0.4 * len(more))


# ---- masks -----------------------------------------------------------------------------------------------------------


def test_masks_are_berts():
    lengths = np.full(5000, 12)
    ids = torch.randint(1000, 1100, (60_000,), generator=torch.Generator().manual_seed(0))
    inputs, chosen, answers = mask_tokens(ids, lengths, 0.15, np.random.default_rng(1), 103, 30_000)
    assert torch.equal(answers, ids[chosen]) and not set((chosen % 12).tolist()) & {0, 11}
    rest = torch.ones(len(ids), dtype=torch.bool)
    rest[chosen] = False
    assert torch.equal(inputs[rest], ids[rest])
    masked, kept = inputs[chosen] == 103, inputs[chosen] == answers
    random = inputs[chosen][~masked & ~kept].float()
    M = len(chosen)
    for count, of, p in [(M, 50_000, 0.15), (masked.sum(), M, 0.8), (kept.sum(), M, 0.1), (len(random), M, 0.1)]:
        assert abs(count / of - p) < 4 * math.sqrt(p * (1 - p) / of)
    assert random.min() < 1000 and random.max() > 29_000 and abs(random.mean() / 15_000 - 1) < 0.1


def test_at_least_one_token_is_chosen_and_never_cls_or_sep():
    for seed in range(50):
        _, chosen, _ = mask_tokens(torch.arange(9), np.array([3, 2, 4]), 1e-6, np.random.default_rng(seed), 103, 50)
        assert len(chosen) == 1 and chosen.item() in (1, 6, 7)
    _, chosen, _ = mask_tokens(torch.arange(9), np.array([3, 2, 4]), 1.0, np.random.default_rng(0), 103, 50)
    assert chosen.tolist() == [1, 6, 7]


def test_every_pass_has_fresh_masks_and_held_out_ones_never_change(tiny, tiny_data, monkeypatch):
    seen = []

    def noted(ids, lengths, share, generator, mask_id, V):
        made = mask_tokens(ids, lengths, share, generator, mask_id, V)
        seen.append((made[0].tolist(), made[1].tolist()))
        return made

    monkeypatch.setattr("lab.pretrain.mask_tokens", noted)
    _, trained, _ = sentences(lab.load_data(tiny_data), tiny)
    whole = dataclasses.replace(tiny, batch_size=len(trained), epochs=3, lr=0)  # a pass is one batch of all sentences
    _, rows = pretrained(whole, tiny_data, run="one")
    assert len(set(held_out(rows).values())) == 1  # the same masks, and no dropout
    first, seen[:] = list(seen), []
    assert len(first) == 7 and first[0] == first[2] == first[4] == first[6]
    one, two, three = (set(chosen) for _, chosen in first[1::2])
    assert all(len(a & b) < 0.5 * len(a) for a, b in ((one, two), (two, three), (one, three)))
    pretrained(dataclasses.replace(whole, seed=3, mask=0.5, epochs=1), tiny_data, run="two")
    assert seen[0] == first[0] and seen[1] != first[1]


# ---- the head --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def theirs():
    """transformers' tiny BertForMaskedLM, random weights."""
    torch.manual_seed(0)
    model = transformers.BertForMaskedLM(transformers.BertConfig(**SIZES)).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(std=0.3)
    return model


@pytest.fixture
def folder(theirs, tmp_path):
    """The same in a folder, with a tokenizer."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *map(chr, range(97, 123)), *map(str, range(9))]
    theirs.save_pretrained(tmp_path / "bert")
    transformers.BertTokenizer({word: i for i, word in enumerate(words)}).save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


@pytest.mark.filterwarnings("ignore:.*has no pooler")
def test_loss_and_gradients_are_those_of_transformers(theirs, folder):
    model = MaskedLM(load_encoder(folder)[0])
    head = lab.encoders.load_mlm_head(folder, model.state_dict())
    assert set(head) == set(HEAD_NAMES) == {k for k in model.state_dict() if not k.startswith("bert.")}
    model.load_state_dict(head, strict=False)
    model.eval()
    lengths = np.array([5, 5, 9, 12])
    ids = torch.randint(5, 40, (31,), generator=torch.Generator().manual_seed(1))
    inputs, chosen, answers = mask_tokens(ids, lengths, 0.3, np.random.default_rng(2), 4, 40)
    positions = torch.cat([torch.arange(n) for n in lengths])
    loss = torch.nn.functional.cross_entropy(model(inputs, positions, Layout.of(lengths.tolist()), chosen), answers)
    loss.backward()

    labels = torch.full_like(ids, -100).index_copy(0, chosen, answers)
    pad = torch.nn.utils.rnn.pad_sequence
    parts = [t.split(lengths.tolist()) for t in (inputs, labels, torch.ones_like(ids))]
    expected = theirs(pad(parts[0], True), attention_mask=pad(parts[2], True),
                      labels=pad(parts[1], True, padding_value=-100)).loss
    theirs.zero_grad()
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    for ours, reference in [(model.bert.word.weight, theirs.bert.embeddings.word_embeddings.weight),
                            (model.dense.weight, theirs.cls.predictions.transform.dense.weight),
                            (model.bias, theirs.cls.predictions.bias)]:
        torch.testing.assert_close(ours.grad, reference.grad, rtol=1e-4, atol=1e-6)


def test_an_encoder_without_a_head_gets_a_fresh_one_and_a_damaged_head_is_named(folder, tiny_encoder):
    fresh = MaskedLM(Bert(BertConfig(**SIZES)))
    assert lab.encoders.load_mlm_head(tiny_encoder, fresh.state_dict()) is None
    wrong = MaskedLM(Bert(BertConfig(**SIZES | {"vocab_size": 41})))
    with pytest.raises(lab.LabError, match=r"cls.predictions.bias is \(40,\); expected \(41,\)"):
        lab.encoders.load_mlm_head(folder, wrong.state_dict())
    tensors = load_file(folder / "model.safetensors")
    tensors["cls.predictions.bias"][3] = float("nan")
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(lab.LabError, match=r"cls.predictions.bias holds NaN or infinite values"):
        lab.encoders.load_mlm_head(folder, fresh.state_dict())


def test_a_folder_is_identified_by_the_hash_of_its_weights(tiny, tiny_data, tmp_path):
    shutil.copytree(tiny.encoder, tmp_path / "encoder")
    settings = dataclasses.replace(tiny, encoder=str(tmp_path / "encoder"))
    file = tmp_path / "encoder" / "model.safetensors"
    runs = []
    for _ in range(2):
        training = pretrain_mlm(settings, data=tiny_data, progress=False)
        training.close()
        runs.append(training.run)
        tensors = load_file(file)
        tensors["pooler.dense.bias"] += 1
        save_file(tensors, file)
    assert runs[0].name != runs[1].name.removesuffix("-2")
    assert len({run.config["encoder_sha256"] for run in runs}) == 2


@pytest.mark.filterwarnings("ignore:.*has no pooler")
def test_an_encoders_own_head_is_taken_and_said(tiny, tiny_data, theirs, folder):
    training = pretrain_mlm(dataclasses.replace(tiny, encoder=str(folder)), data=tiny_data, progress=False)
    training.close()
    assert training.run.config["head"] == "own"
    assert torch.equal(training.model.dense.weight, theirs.cls.predictions.transform.dense.weight)


# ---- the run ---------------------------------------------------------------------------------------------------------


def test_it_learns_and_says_so(tiny, tiny_data):
    training, rows = pretrained(dataclasses.replace(tiny, epochs=8, lr=3e-3), tiny_data)
    loss, n = held_out(rows), training.recorder.iterations
    assert list(loss) == [n * epoch for epoch in range(9)] == list(held_out(rows, "accuracy"))
    assert abs(loss[0] - math.log(30_522)) < 1 and loss[8 * n] < loss[0] - 1.5
    assert held_out(rows, "accuracy")[8 * n] > held_out(rows, "accuracy")[0]
    assert rows == training.run.rows()
    assert all(set(row) == {"step", "epoch", "split", "task", "metric", "value", "seconds"} for row in rows)
    batch = [row for row in rows if row["split"] == "batch"]
    assert {(row["task"], row["metric"]) for row in batch} == {("mlm", "loss"), ("all", "tokens_per_second"),
                                                               ("all", "peak_memory_mb")}
    assert {row["step"] for row in batch} == {25, 50, 8 * n} and 8 * n == 56
    config = training.run.config
    assert config["head"] == "fresh" and config["data"]["fingerprint"] == lab.load_data(tiny_data).fingerprint
    assert Pretraining(**config["experiment"]) == training.recorder.settings


def test_the_encoder_opens_everywhere(tiny, tiny_data, tiny_encoder):
    training, _ = pretrained(tiny, tiny_data, run="one")
    bert, tokenizer = load_encoder(str(training.encoder))
    assert same_weights(bert, training.model.bert) and not same_weights(bert, load_encoder(tiny_encoder)[0])
    model = transformers.AutoModel.from_pretrained(training.encoder).eval()
    inputs = transformers.AutoTokenizer.from_pretrained(training.encoder)("a fine film", return_tensors="pt")
    with torch.no_grad():
        hidden = bert.eval().encode(bert.embed(inputs["input_ids"]), inputs["attention_mask"])
        torch.testing.assert_close(hidden, model(**inputs)[0], rtol=1e-4, atol=1e-5)
    assert tokenizer("a fine film")["input_ids"] == inputs["input_ids"][0].tolist()


def test_a_stopped_one_goes_on_to_the_bit(tiny, tiny_data, tiny_encoder, monkeypatch, tmp_path):
    monkeypatch.setattr("lab.runs.recorder.CHECKPOINT_EVERY", 3)
    monkeypatch.setattr("lab.runs.recorder.WINDOW", 4)
    shutil.copytree(tiny_encoder, tmp_path / "encoder")
    tiny = dataclasses.replace(tiny, encoder=str(tmp_path / "encoder"))
    whole, rows = pretrained(tiny, tiny_data, run="whole")
    half = pretrain_mlm(tiny, data=tiny_data, run="half", progress=False)
    for row in half:
        if row["step"] == 8:  # two iterations after a checkpoint, in an open window of the second epoch
            break
    half.close()
    assert half.run.status["state"] == "stopped" and checkpoints.steps(half.run.checkpoints)[-1] == 7
    shutil.rmtree(tmp_path / "encoder")  # a run that goes on needs nothing but its own folder
    torch.manual_seed(1)
    again, later = pretrained(tiny, tiny_data, run="half", resume=True)
    assert same_weights(again.model, whole.model)

    def repeated(rows):
        return [(r["step"], r["split"], r["metric"], r["value"]) for r in rows
                if r["metric"] not in ("tokens_per_second", "peak_memory_mb")]

    assert repeated(again.run.rows()) == repeated(rows) and len(later) < len(rows)
    assert (again.encoder / "model.safetensors").read_bytes() == (whole.encoder / "model.safetensors").read_bytes()
    assert pretrained(tiny, tiny_data, run="half", resume=True)[1] == []  # and a finished one has nothing left to do


def test_a_loss_that_turns_nan_stops_and_keeps_the_last_good_weights(tiny, tiny_data):
    training = pretrain_mlm(tiny, data=tiny_data, run="nan", progress=False)
    with pytest.raises(lab.LabError, match=r"NaN or infinite .* last good weights \(iteration 7\)"):
        for row in training:
            if row["split"] == "held_out" and row["epoch"] == 1:
                training.model.bias.data[0] = math.nan
    assert training.run.status["state"] == "failed"
    tensors, _ = checkpoints.load_newest(training.run.checkpoints)
    assert all(t.isfinite().all() for key, t in tensors.items() if key.startswith("model/"))
    assert not (training.encoder / "model.safetensors").exists()
    with pytest.raises(lab.LabError, match=r"no model\.safetensors"):
        load_encoder(training.encoder)


def test_weights_that_are_not_finite_are_never_saved(tiny, tiny_data, monkeypatch):
    monkeypatch.setattr("lab.runs.recorder.CHECKPOINT_EVERY", 3)
    training = pretrain_mlm(tiny, data=tiny_data, progress=False)
    optimizer = training.recorder.parts.optimizer
    step = optimizer.step

    def poisoned():
        step()
        training.model.bias.data[0] = math.nan if training.step == 3 else 0

    monkeypatch.setattr(optimizer, "step", poisoned)
    with pytest.raises(lab.LabError, match=r"a weight became NaN .* last good weights \(iteration 0\)"):
        list(training)
    assert checkpoints.steps(training.run.checkpoints) == [0]


def test_it_does_not_go_on_with_other_sentences_or_settings(tiny, tiny_data, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(tiny_data, folder)
    pretrain_mlm(tiny, data=folder, run="one", progress=False).close()
    with pytest.raises(lab.LabError, match=r"other settings \(seed\)"):
        pretrain_mlm(dataclasses.replace(tiny, seed=1), data=folder, run="one", resume=True)
    _, trained, _ = sentences(lab.load_data(folder), tiny)
    (folder / "sts-test.csv").write_text(f"id\tsentence1\tsentence2\nx\t{trained[0]}\tNew.\n", encoding="utf-8")
    with pytest.raises(lab.LabError, match="with other sentences"):
        pretrain_mlm(tiny, data=folder, run="one", resume=True)


def test_it_is_never_taken_for_a_fine_tuning_run(tiny, tiny_data, tmp_path):
    training, _ = pretrained(dataclasses.replace(tiny, epochs=1), tiny_data)
    assert training.run.folder.parent == tmp_path / "runs" / "pretrained"
    assert list_runs() == [] and lab.load_runs().empty
    for name in ("pretrained", "Pretrained"):  # a run of this name would share its folder
        with pytest.raises(lab.LabError, match="cannot name a run"):
            Run.open(name)


def test_the_callers_randomness_is_neither_used_nor_moved(tiny, tiny_data):
    tiny = dataclasses.replace(tiny, epochs=1)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, _ = pretrained(tiny, tiny_data, run="one")
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    two, _ = pretrained(tiny, tiny_data, run="two")
    assert same_weights(one.model, two.model)


def test_the_command_ends_with_the_next_one(tiny_data, tiny_encoder, tmp_path, monkeypatch, capsys):
    def command(*words):
        monkeypatch.setattr(sys, "argv", [*map(str, words)])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code or 0
        return code, capsys.readouterr()

    options = ("--data", tiny_data, "--encoder", tiny_encoder, "--runs", tmp_path / "my store", "--run", "mine",
               "--set", "batch_size=16", "--set", "device=cpu")
    code, said = command("lab", "pretrain", *options)
    assert code == 0 and "fresh" in said.out and "left out" in said.out
    assert "epoch  0, held out:  loss" in said.out + said.err and "epoch  1, held out:  loss" in said.out + said.err
    following = said.out.splitlines()[-1].removeprefix("next: ")
    assert following.startswith("lab train multitask ")
    code, said = command(*shlex.split(following), "--set", "iterations=1", "--set", "epochs=1", "--set", "device=cpu")
    assert code == 0, said.err
    (run,) = list_runs(tmp_path / "my store")
    encoder = tmp_path / "my store" / "pretrained" / "mine" / "encoder"
    assert run.config["experiment"]["encoder"] == str(encoder) and run.status["state"] == "done"
    code, said = command("lab", "pretrain", *options, "--resume")
    assert code == 0 and "finished already" in said.out and f"'{encoder}'" in said.out.splitlines()[-1]
    code, said = command("lab", "pretrain", "--set", "batchsize=3")
    assert code == 2 and said.err == ("lab: field 'batchsize' is not known; did you mean 'batch_size'? (valid: "
                                      + ", ".join(f.name for f in dataclasses.fields(Pretraining)) + ")\n")


@pytest.mark.slow
def test_bf16_is_near_fp32(tiny, tiny_data):
    fp32, rows = pretrained(dataclasses.replace(tiny, epochs=1), tiny_data)
    bf16, half = pretrained(dataclasses.replace(tiny, epochs=1, precision="bf16"), tiny_data)
    np.testing.assert_allclose(list(held_out(half).values()), list(held_out(rows).values()), rtol=0.02)
    assert all(p.dtype == torch.float32 for p in bf16.model.parameters()) and not same_weights(fp32.model, bf16.model)
