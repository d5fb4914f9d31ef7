"""The bundled sample is what data/make_sample.py writes, and is fit to teach with: held-out wording, no shortcut."""

import csv
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[2] / "data"
ROWS = {
    **{"ids-sst-train": 560, "quora-train": 1600, "sts-train": 400},
    **{"ids-sst-dev": 220, "quora-dev": 400, "sts-dev": 220},
}
COLUMNS = {
    "ids-sst": ["", "id", "sentence", "sentiment"],
    "quora": ["", "id", "sentence1", "sentence2", "is_duplicate"],
    "sts": ["", "id", "sentence1", "sentence2", "similarity"],
}


def table(name: str) -> list[list[str]]:
    with open(DATA / "sample" / f"{name}.csv", encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter="\t"))


def rows(name: str) -> list[list[str]]:
    return table(name)[1:]


def labels(name: str) -> list[float]:
    return [float(row[-1]) for row in rows(name)]


def texts(name: str) -> list[str]:
    return [text for row in rows(name) for text in row[2:-1]]


def words(*sentences: str) -> set[str]:
    return {word for text in sentences for word in re.findall(r"\w+", text.lower())}


def test_script_writes_the_committed_bytes(tmp_path):
    subprocess.run([sys.executable, DATA / "make_sample.py", "--out", tmp_path], check=True)
    made, kept = ({p.name: p.read_bytes() for p in folder.iterdir()} for folder in (tmp_path, DATA / "sample"))
    assert made.keys() == kept.keys() == {f"{name}.csv" for name in ROWS}
    assert [name for name in kept if made[name] != kept[name]] == []
    assert sum(map(len, kept.values())) < 1_000_000


@pytest.mark.parametrize("name", ROWS)
def test_layout(name):
    header, *body = table(name)
    assert header == COLUMNS[name.rsplit("-", 1)[0]]
    assert len(body) == ROWS[name] and {len(row) for row in body} == {len(header)}
    assert [row[0] for row in body] == [str(i) for i in range(len(body))]
    assert all(re.fullmatch("[0-9a-f]{25}", row[1]) for row in body)
    raw = (DATA / "sample" / f"{name}.csv").read_bytes()
    assert raw.count(b"\n") == len(body) + 1 and b"\r" not in raw  # one physical line a row, LF
    assert all(re.fullmatch(r"[A-Z][^{}*#=/]*[.?]", text) for text in texts(name))  # no mark of the grammar is left
    assert b'""' in raw  # quotes inside sentences, so that the reader's quoting is exercised
    assert any(ord(letter) > 127 for text in texts(name) for letter in text)
    length = [len(text.split()) for text in texts(name)]
    assert min(length) <= 7 and 20 <= max(length) <= 35


@pytest.mark.parametrize("name", ROWS)
def test_no_row_twice(name):
    assert len({frozenset(row[2:-1]) for row in rows(name)}) == len({row[1] for row in rows(name)}) == ROWS[name]
    assert all(len(set(row[2:-1])) == len(row) - 3 for row in rows(name))  # a sentence is never paired with itself


@pytest.mark.parametrize("task", COLUMNS)
def test_dev_is_new(task):
    train, dev = texts(f"{task}-train"), texts(f"{task}-dev")
    assert not set(train) & set(dev)
    assert len(words(*dev) - words(*train)) >= 0.25 * len(words(*dev))


@pytest.mark.parametrize("split", ["train", "dev"])
def test_labels(split):
    sst = Counter(row[-1] for row in rows(f"ids-sst-{split}"))
    assert set(sst) == set("01234")
    assert all(0.1 <= n / sst.total() <= 0.32 for n in sst.values())  # the majority class is no good answer
    qqp = Counter(row[-1] for row in rows(f"quora-{split}"))
    assert set(qqp) == {"0.0", "1.0"} and 0.33 <= qqp["1.0"] / qqp.total() <= 0.43
    sts = labels(f"sts-{split}")
    assert min(sts) == 0 and max(sts) == 5 and 2.4 <= sum(sts) / len(sts) <= 2.8
    assert sum(score % 1 > 0 for score in sts) > 0.5 * len(sts)


@pytest.mark.parametrize("split", ["train", "dev"])
def test_overlap_does_not_solve_qqp(split):
    pairs = [(words(row[2]), words(row[3])) for row in rows(f"quora-{split}")]
    overlap = [len(a & b) / len(a | b) for a, b in pairs]
    gold = labels(f"quora-{split}")
    best = 0.0
    for threshold in sorted(set(overlap)):
        right = sum((value >= threshold) == bool(y) for value, y in zip(overlap, gold, strict=True)) / len(gold)
        best = max(best, right, 1 - right)  # more overlap may as well mean "not a duplicate"
    assert best < 0.8
