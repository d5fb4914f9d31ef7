"""lab/encoders/formats.py: weights are read and written as by transformers, and damaged folders are refused."""

import re
import shlex
from pathlib import Path

import pytest
import sentence_transformers
import torch
import transformers
from helpers import TINY_SIZES, TINY_TEXTS, TINY_WORDS, assert_same_encoder, rewrite_tensors
from safetensors.torch import load_file

from lab.bert import Bert, BertConfig
from lab.encoders import formats, load_encoder
from lab.encoders.formats import checkpoint_names, save_encoder
from lab.errors import LabError

# ---- folders -------------------------------------------------------------------------------------------------------

def prefixed(tensors):
    return {f"bert.{key}": tensor for key, tensor in tensors.items()} | {
        "cls.predictions.bias": torch.ones(3), "bert.embeddings.position_ids": torch.arange(16)}


def gamma_and_beta(tensors):
    return {key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
            for key, tensor in tensors.items()}


def wrapped(name):
    return lambda tensors: {f"{name}{key}": tensor for key, tensor in tensors.items()} | {"fc.weight": torch.ones(3)}


@pytest.mark.parametrize("change", [prefixed, gamma_and_beta, lambda tensors: prefixed(gamma_and_beta(tensors)),
                                    wrapped("module."), wrapped("0.auto_model."), wrapped("model.bert.")],
                         ids=["bert.", "gamma and beta", "both", "module.", "0.auto_model.", "model.bert."])
def test_other_names_of_the_same_tensors(change, folder, theirs):
    rewrite_tensors(folder, change)
    assert_same_encoder(load_encoder(folder), theirs)


def test_the_weights_of_two_encoders_are_refused(folder):
    rewrite_tensors(folder, lambda tensors: {f"{name}{key}": tensor.clone() for key, tensor in tensors.items()
                                             for name in ("query.", "doc.")})
    with pytest.raises(LabError, match=r"those of 2 encoders, with names that begin with 'doc\.' and 'query\.'; keep"):
        load_encoder(folder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_read_as_float32(dtype, folder, theirs):
    rewrite_tensors(folder, lambda tensors: {key: tensor.to(dtype) for key, tensor in tensors.items()})
    bert, _ = load_encoder(folder)
    names, expected = checkpoint_names(bert), theirs[0].state_dict()
    for name, tensor in bert.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, expected[names[name]].to(dtype).float())


def test_sharded(folder, theirs):
    (folder / "model.safetensors").unlink()
    theirs[0].save_pretrained(folder, max_shard_size="3KB")
    assert len(list(folder.glob("*.safetensors"))) > 2 and not (folder / "model.safetensors").exists()
    assert_same_encoder(load_encoder(folder), theirs)
    first, *_ = sorted(folder.glob("*.safetensors"))
    first.unlink()
    with pytest.raises(LabError, match=first.name):
        load_encoder(folder)


@pytest.mark.parametrize("index, message", [
    ("{", "cannot be read as an index"),
    ("[]", "cannot be read as an index"),
    pytest.param("[" * 100_000, "cannot be read as an index", id="deep"),
    pytest.param(" " * 5_000_001, "5,000,001 bytes", id="giant"),
    ('{"weight_map": {"a": 1}}', "cannot be read as an index"),
    ('{"weight_map": {"a": "model-\\u0000-of-2.safetensors"}}', "is not a valid name of a shard"),
    ('{"weight_map": {"a": "../model-1-of-2.safetensors"}}', "is not a valid name of a shard"),
    ('{"weight_map": {"a": "pytorch_model.bin"}}', "is not a valid name of a shard"),
])
def test_a_bad_index_of_shards(index, message, folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(index)
    with pytest.raises(LabError, match=message):
        load_encoder(folder)


QUERY = "encoder.layer.1.attention.self.query.weight"


def without(*keys):
    return lambda tensors: {key: tensor for key, tensor in tensors.items() if key not in keys}


def with_(key, tensor):
    return lambda tensors: tensors | {key: tensor}


@pytest.mark.parametrize("change, message", [
    (without(QUERY), rf"bert: {QUERY} \(12, 12\) is missing"),
    (without("pooler.dense.bias"), r"pooler.dense.bias \(12,\) is missing"),
    (without(QUERY, "embeddings.LayerNorm.bias"), r"embeddings.LayerNorm.bias \(12,\) is missing"),
    (with_(QUERY, torch.zeros(12, 13)), rf"{QUERY} has shape \(12, 13\), but config.json requires \(12, 12\)"),
    (with_(QUERY, torch.zeros(12, 12, dtype=torch.int8)), f"{QUERY} has dtype I8"),
])
def test_the_first_wrong_tensor_is_named(change, message, folder):
    rewrite_tensors(folder, change)
    with pytest.raises(LabError, match=message):
        load_encoder(folder)


def test_weights_of_the_encoder_that_its_config_has_no_place_for_are_an_error(folder, theirs):
    rewrite_tensors(folder, with_("classifier.weight", torch.zeros(2)))  # what stands beside the encoder is left out
    assert_same_encoder(load_encoder(folder), theirs)
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"num_hidden_layers": 2', '"num_hidden_layers": 1'))
    with pytest.raises(LabError, match=r"num_hidden_layers 1\) has no place for 16 of the weights' tensors, such as "
                                       r"encoder\.layer\.1\.attention\.output\.LayerNorm\.bias; use the config\.json"):
        load_encoder(folder)


def test_a_missing_pooler_is_drawn_afresh_with_a_warning(folder, theirs):
    rewrite_tensors(folder, without("pooler.dense.weight", "pooler.dense.bias"))
    torch.manual_seed(3)
    with pytest.warns(UserWarning, match="bert has no pooler; a new one is initialized randomly"):
        bert, tokenizer = load_encoder(folder)
    torch.manual_seed(3)
    assert torch.equal(bert.pooler[0].weight, torch.empty(12, 12).normal_(std=0.02))
    assert (bert.pooler[0].bias == 0).all()
    bert.pooler[0].load_state_dict(theirs[0].pooler.dense.state_dict())
    assert_same_encoder((bert, tokenizer), theirs)


@pytest.mark.parametrize(("content", "message"), [
    (b"PK\x03\x04" + b"x" * 99, "a PyTorch pickle under the name"),
    (b"\x80\x02\x8a\nx", "a PyTorch pickle under the name"),
    (b"\x89HDF\r\n", "TensorFlow's weights under the name"), (b"", "an empty file; fetch it again")])
def test_another_kind_of_file_is_named(content, message, folder):
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(LabError, match=f"model.safetensors: {message}"):
        load_encoder(folder)


def test_a_file_whose_end_is_zeros_is_damaged(folder):
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:len(content) // 2] + bytes(len(content) - len(content) // 2))
    with pytest.raises(LabError, match="nothing but zeros at its end, so it is damaged or incomplete; fetch it again"):
        load_encoder(folder)


@pytest.mark.parametrize("content", [b"abc", b"\xff" * 100, 300, -1], ids=str)
def test_a_damaged_file_is_named(content, folder):
    path = folder / "model.safetensors"
    path.write_bytes(content if isinstance(content, bytes) else path.read_bytes()[:content])
    with pytest.raises(LabError, match=r"model.safetensors: cannot be read as a safetensors file"):
        load_encoder(folder)


@pytest.mark.parametrize("file, message", [("config.json", r"no config\.json in this folder; an encoder's folder holds "
                                            r".*; this one holds model\.safetensors, tokenizer\.json, tok"),
                                           ("model.safetensors", "no model.safetensors in this folder"),
                                           ("tokenizer.json", "neither tokenizer.json nor vocab.txt")])
def test_a_missing_file_is_named(file, message, folder):
    (folder / file).unlink()
    with pytest.raises(LabError, match=message):
        load_encoder(folder)


def test_what_stands_in_place_of_an_encoder_is_named(folder, tmp_path, monkeypatch):
    with pytest.raises(LabError, match=rf"this one holds bert; is the encoder {re.escape(str(folder))}\?$"):
        load_encoder(tmp_path)
    monkeypatch.chdir(folder)
    with pytest.raises(LabError, match=r"^config\.json: a file, not a folder; name the folder with config\.json"):
        load_encoder("config.json")
    weights = folder / "model.safetensors"
    weights.rename(folder / "weights.safetensors")
    with pytest.raises(LabError, match=r"no model\.safetensors in this folder; .*, weights\.safetensors$"):
        load_encoder(folder)
    weights.symlink_to(tmp_path / "blobs" / "gone")  # a snapshot of the hub's cache, without the blobs
    with pytest.raises(LabError, match=r"model\.safetensors: a link to a file that is not there; copy the file itself"):
        load_encoder(folder)
    weights.unlink()
    (folder / "pytorch_model-00001-of-00002.bin").write_bytes(b"")
    with pytest.raises(LabError, match="as a pickle"):
        load_encoder(folder)
    for name in ("model.safetensors", "config.json"):
        (folder / name).write_text("\n<!DOCTYPE html><title>Sign in</title>")
        with pytest.raises(LabError, match=rf"{name}: a web page in place of the file; download the file itself"):
            load_encoder(folder)


class Bomb:
    def __reduce__(self):
        return exec, ("raise AssertionError('the pickle ran')",)


def test_a_pickle_is_refused_unopened_and_the_printed_line_converts_it(folder, theirs, monkeypatch):
    safe, pickled = folder / "model.safetensors", folder / "pytorch_model.bin"
    tensors = load_file(safe)
    safe.unlink()
    torch.save({"weight": Bomb()}, pickled)
    with pytest.raises(LabError, match="pickle") as refused:
        load_encoder(folder)

    torch.save(tensors, pickled)
    line = re.search(r'python -c ".*"', str(refused.value)).group()
    _, _, code = shlex.split(line)
    monkeypatch.chdir(folder.parent)
    exec(code)
    assert str(refused.value).endswith("use --encoder ./NEW")
    assert_same_encoder(load_encoder("./NEW"), theirs)


# ---- out -----------------------------------------------------------------------------------------------------------

def test_a_saved_encoder_opens_everywhere(tmp_path, theirs):
    torch.manual_seed(1)
    bert = Bert(BertConfig(vocab_size=len(TINY_WORDS), **TINY_SIZES, hidden_act="gelu_new", layer_norm_eps=1e-5))
    with torch.no_grad():
        for p in bert.parameters():
            p.normal_(std=0.3)
    tokenizer, path = theirs[1], tmp_path / "new" / "bert"
    save_encoder(bert, path, tokenizer)
    assert not list(path.glob(".*"))
    opened = transformers.AutoModel.from_pretrained(path).eval()
    assert type(opened) is transformers.BertModel
    opened_tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    assert_same_encoder((opened, opened_tokenizer), (bert, tokenizer))
    assert opened.dtype == torch.float32
    assert_same_encoder(load_encoder(path), (bert, tokenizer), atol=0)

    sentences = sentence_transformers.SentenceTransformer(str(path), device="cpu")  # mean pooling by default
    inputs = tokenizer(TINY_TEXTS, padding=True, return_tensors="pt")
    mask = inputs["attention_mask"]
    with torch.no_grad():
        means = bert.eval().encode(bert.embed(inputs["input_ids"]), mask).sum(1) / mask.sum(1, keepdim=True)
    torch.testing.assert_close(torch.from_numpy(sentences.encode(TINY_TEXTS)), means, rtol=0, atol=1e-5)


def test_save_pretrained_and_from_pretrained(tmp_path, theirs):
    bert = Bert(BertConfig(vocab_size=len(TINY_WORDS), **TINY_SIZES)).eval()
    theirs[1].save_pretrained(tmp_path)
    bert.save_pretrained(str(tmp_path))
    again = Bert.from_pretrained(tmp_path)
    assert again.config == bert.config
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), bert.parameters(), strict=True))


def test_every_tensor_has_the_name_of_transformers(theirs):
    bert = Bert(BertConfig(vocab_size=len(TINY_WORDS), **TINY_SIZES))
    assert set(checkpoint_names(bert).values()) == set(theirs[0].state_dict())


def test_a_failed_save_leaves_what_was_there(folder, theirs, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(tensors, path, metadata):
        Path(path).write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(formats, "save_file", full)
    with pytest.raises(LabError, match=r"cannot write the encoder .*No space left"):
        save_encoder(Bert(BertConfig(vocab_size=len(TINY_WORDS), **TINY_SIZES)), folder, theirs[1])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
