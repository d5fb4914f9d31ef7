"""lab/datasets/files.py: what is written reads back, and the default folder."""

import pytest

from lab.data import checkout, read_split
from lab.datasets.files import Row, target_folder, write_rows
from lab.errors import LabError

TEXTS = ["plain", "a\ttab", "two\r\nlines", '"quoted"', 'half " quote', "'", "=1+1", "é\u2028東京 \x0b\x85", "a\0b",
         "\\", '"', '"" a ""']


def test_whatever_is_written_reads_back(tmp_path):
    rows = [Row(f"row {i}", i, (text, text), i % 2) for i, text in enumerate(TEXTS)]
    assert write_rows(tmp_path / "quora-train.csv", "qqp", rows) == (len(TEXTS), [])
    found = read_split(tmp_path / "quora-train.csv", "qqp", "train")
    assert not found.problems and [row.label for row in found.examples] == [i % 2 for i in range(len(TEXTS))]
    expected = [*TEXTS[:1], "a tab", "two lines", *TEXTS[3:8], "a b", *TEXTS[9:]]
    assert [row.texts[1] for row in found.examples] == [text.strip() for text in expected]


@pytest.mark.parametrize(("task", "label", "expected"), [
    ("sst", 4, "4"), ("qqp", "1.0", "1.0"), ("sts", 3.799999952316284, "3.8"), ("sts", -0.0, "0"), ("sst", 0.0, "0"),
    ("sts", "4.57142857142857", "4.57142857142857"), ("sts", "1e0", "1"), ("sts", 5.0, "5"), ("qqp", "-0.0", "0"),
    ("sts", "2.533", "2.533"), ("sst", 5, None), ("sst", 2.5, None), ("qqp", -1, None), ("sts", float("nan"), None),
    ("qqp", "-0.5", None),
    ("sts", "high", None)])
def test_labels(task, label, expected, tmp_path):
    texts = ("a",) if task == "sst" else ("a", "b")
    count, problems = write_rows(tmp_path / "x.csv", task, [Row("row 0", "i", texts, label)])
    if expected is None:
        assert count == 0 and problems[0].startswith("row 0: ") and " is not " in problems[0]
    else:
        assert (tmp_path / "x.csv").read_text().splitlines()[1].rpartition("\t")[2] == expected


def test_rows_without_a_text_or_an_id_are_left_out(tmp_path):
    rows = [Row("row 0", "i", (None,), 1), Row("row 1", " ", ("a",), 1), Row("row 2", "i", ("x" * 140_000,), 1),
            Row("row 3", "i", ("a",), None), Row("row 4", "i", ("a",), " "), Row("row 5", "", (), "", "broken"),
            Row("row 6", "i", (float("nan"),), 1)]
    count, problems = write_rows(tmp_path / "x.csv", "sst", rows)
    long = "row 2: sentence has 140,000 characters; a sentence is expected"
    assert count == 0 and problems == ["row 0: no sentence", "row 1: no id", long, "row 3: no label", "row 4: no label",
                                       "row 5: broken", "row 6: sentence is a float, not a text"]


def test_the_folder_that_is_written_to(tmp_path, monkeypatch):
    assert target_folder(None) == checkout() / "data"
    monkeypatch.setenv("LAB_DATA", str(tmp_path / "env"))
    assert target_folder(None) == tmp_path / "env" and target_folder(tmp_path / "to") == tmp_path / "to"
    monkeypatch.delenv("LAB_DATA")
    monkeypatch.setattr("lab.datasets.files.checkout", lambda: tmp_path / "installed")
    with pytest.raises(LabError, match="--to DIR"):
        target_folder(None)
