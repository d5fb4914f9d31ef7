"""Fixtures for all tests: a tiny encoder, a tiny data folder, a separate run store for each test."""

import csv
from pathlib import Path

import pytest
import torch

# Tiny models do not gain from threads, and the tests run in several processes: one thread for each.
torch.set_num_threads(1)

SAMPLE = Path(__file__).resolve().parent.parent / "data" / "sample"


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    """Isolate each test from the user's data setting and run store, and from the runs that ship with the lab."""
    monkeypatch.setenv("LAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr("lab.runs.stores.shipped_root", lambda: tmp_path / "shipped")
    monkeypatch.delenv("LAB_DATA", raising=False)


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory):
    """A folder with a BERT of two layers and hidden size 32, random weights, and MiniLM's tokenizer."""
    from lab import Bert, BertConfig
    from lab.encoders.formats import save_encoder
    from lab.encoders.sources import load_encoder

    folder = tmp_path_factory.mktemp("encoder")
    tokenizer = load_encoder("minilm")[1]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        bert = Bert(BertConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64))
    save_encoder(bert, folder, tokenizer)
    return folder


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory):
    """The first rows of the sample: 64 of each training file, 24 of each dev file."""
    folder = tmp_path_factory.mktemp("data")
    for file in SAMPLE.glob("*.csv"):
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / file.name).write_text("".join(lines[: 65 if "train" in file.name else 25]), encoding="utf-8")
    return folder


@pytest.fixture
def tiny(tiny_encoder):
    """An experiment that trains in a second: three epochs of four iterations."""
    from lab import Experiment

    return Experiment(name="tiny", encoder=str(tiny_encoder), epochs=3, iterations=4, lr=1e-3, eval_train=20,
                      eval_qqp=20, device="cpu")


def write_csv(path, header, rows):
    """Write rows in the layout of the course's files."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows([header, *rows])
