"""lab/data.py against small files with one fault each, a plain csv reader, and the real sets if they are present."""

import csv
import gzip
import hashlib
import math
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab import data
from lab.data import TASKS, file_name, find_data, load_data, read_split
from lab.datasets import check_report, tsv
from lab.datasets.check import remarks
from lab.errors import LabError

REPO = Path(__file__).resolve().parents[1]
REAL = Path(__file__).resolve().parents[2] / "shared" / "data"  # not published with the lab; may be missing
HEADERS = {
    "sst": ["", "id", "sentence", "sentiment"],
    "qqp": ["", "id", "sentence1", "sentence2", "is_duplicate"],
    "sts": ["", "id", "sentence1", "sentence2", "similarity"],
}
BROKEN = ('a broken quote (a field that begins with " ends with one in the same line, and each " inside it is '
          "doubled)")
ROWS = 200  # so that 2 unusable rows are exactly 1 %


def a_row(task, number, **changes):
    """A valid row, with some columns changed; None removes the field."""
    label = {"sst": str(number % 5), "qqp": f"{number % 2}.0", "sts": f"{number % 50 / 10}"}[task]
    values = ["7", f"id{number}", f"first text {number}", f"second text {number}", label]
    if task == "sst":
        del values[3]
    values = [changes.get(column, value) for column, value in zip(HEADERS[task], values, strict=True)]
    return "\t".join(value for value in values if value is not None)


def a_file(task, rows=ROWS, header=None, first=0):
    return ["\t".join(header or HEADERS[task]), *(a_row(task, number) for number in range(first, first + rows))]


def put(folder, task, lines, split="train"):
    content = lines if isinstance(lines, bytes) else ("\n".join(lines) + "\n").encode()
    path = folder / file_name(task, split)
    path.write_bytes(content)
    return path


@pytest.fixture(autouse=True)
def _no_lab_data(monkeypatch):
    monkeypatch.delenv("LAB_DATA", raising=False)


@pytest.fixture
def six(tmp_path):
    """A valid folder: 200 rows in every train file, 100 in every dev file."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for task in TASKS:
        put(folder, task, a_file(task))
        put(folder, task, a_file(task, rows=100, first=500), split="dev")
    return folder


def read(folder, task, lines, split="train"):
    return read_split(put(folder, task, lines, split), task, split)


def one_line(error):
    text = str(error.value)
    assert "\n" not in text
    return text


# -- whole folders


def test_valid_folder(six):
    got = load_data(six)
    assert list(got.splits) == [(task, split) for task in TASKS for split in ("train", "dev")]
    assert got.folder == six and got.kind == "files" and got.label == "SST 200, QQP 200, STS 200 from mine"
    for (task, name), split in got.splits.items():
        assert (split.task, split.name, split.path) == (task, name, six / file_name(task, name))
        assert split.sha256 == hashlib.sha256(split.path.read_bytes()).hexdigest()
        assert len(split.examples) == (200 if name == "train" else 100)
        assert split.problems == () and split.labelled and split.unquoted == 0
    assert got.splits["sst", "train"].examples[3] == ("id3", ("first text 3",), 3.0)
    assert got.splits["qqp", "dev"].examples[5] == ("id505", ("first text 505", "second text 505"), 1.0)
    assert got.splits["sts", "dev"].examples[28] == ("id528", ("first text 528", "second text 528"), 2.8)
    assert all(type(example.label) is float for split in got.splits.values() for example in split.examples)


def test_fingerprint_follows_train_and_dev_contents_alone(six, tmp_path):
    first = load_data(six).fingerprint
    assert re.fullmatch("[0-9a-f]{12}", first)
    hashes = [hashlib.sha256((six / file_name(task, split)).read_bytes()).hexdigest()
              for task in TASKS for split in ("train", "dev")]
    assert first == hashlib.sha256("".join(hashes).encode()).hexdigest()[:12]
    shutil.copytree(six, tmp_path / "copy")
    assert load_data(tmp_path / "copy").fingerprint == first
    put(six, "sts", a_file("sts", rows=7), split="test")
    assert load_data(six).fingerprint == first
    put(six, "sts", a_file("sts", rows=99), split="dev")
    assert load_data(six).fingerprint != first


def test_test_files_are_read_if_present(six):
    (six / "ids-sst-test.csv").symlink_to(six / "gone")
    with pytest.raises(LabError, match=r"ids-sst-test\.csv: cannot be read \(No such file or directory\)"):
        load_data(six)
    (six / "ids-sst-test.csv").unlink()
    put(six, "sst", a_file("sst", rows=3), split="test")
    got = load_data(six)
    assert ("sst", "test") in got.splits and ("qqp", "test") not in got.splits
    assert len(got.splits["sst", "test"].examples) == 3 and got.splits["sst", "test"].labelled
    assert "no quora-test.csv, sts-test.csv (optional)" in check_report(got)


def test_the_test_files_that_the_course_hands_out_are_test_files(six):
    first = load_data(six).fingerprint
    for name, task in (("ids-sst", "sst"), ("quora", "qqp"), ("sts", "sts")):
        lines = [line.rpartition("\t")[0] for line in a_file(task, rows=5)]
        (six / f"{name}-test-student.csv").write_text("\n".join(lines) + "\n")
    got = load_data(six)
    assert [len(got.splits[task, "test"].examples) for task in TASKS] == [5, 5, 5] and got.fingerprint == first
    assert not any(got.splits[task, "test"].labelled for task in TASKS) and "optional" not in check_report(got)
    put(six, "sts", a_file("sts", rows=3), split="test")  # the file with labels wins, and the check says so
    got = load_data(six)
    assert len(got.splits["sts", "test"].examples) == 3 and got.splits["sts", "test"].labelled
    assert "sts-test.csv is read; sts-test-student.csv, which is there too, is not" in check_report(got).splitlines()
    assert "quora-test-student.csv, which" not in check_report(got)


@pytest.mark.parametrize("label", ["-1", "", "-1.0", "?"])
def test_a_test_file_without_a_valid_label_has_no_labels(six, label):
    put(six, "qqp", [a_file("qqp")[0], *(a_row("qqp", n, is_duplicate=label) for n in range(9))], split="test")
    got = load_data(six)
    split = got.splits["qqp", "test"]
    assert not split.labelled and split.problems == () and len(split.examples) == 9
    assert all(math.isnan(e.label) for e in split.examples) and split.examples[2].texts[1] == "second text 2"
    assert f"no labels (no row has a valid is_duplicate; the last is {label!r})" in check_report(got)


def test_a_test_file_with_some_labels_is_held_to_them_all(tmp_path):
    lines = a_file("qqp")
    lines[3] = a_row("qqp", 2, is_duplicate="-1")
    got = read(tmp_path, "qqp", lines, "test")
    assert got.labelled and got.problems == ("quora-test.csv:4: is_duplicate '-1' is not 0 or 1",)
    lines[1:100] = [a_row("qqp", n, is_duplicate="-1") for n in range(99)]
    with pytest.raises(LabError, match=r"quora-test\.csv: 99 of 200 rows are unusable, more than 1 %: lines 2, 3, "):
        read(tmp_path, "qqp", lines, "test")


def test_only_a_test_file_may_be_unlabelled(six):
    lines = [line.rpartition("\t")[0] for line in a_file("qqp", rows=3)]
    put(six, "qqp", lines, split="test")
    got = load_data(six)
    split = got.splits["qqp", "test"]
    assert not split.labelled and len(split.examples) == 3 and all(math.isnan(e.label) for e in split.examples)
    assert split.examples[2].texts == ("first text 2", "second text 2")
    assert "qqp test: 3 rows; no labels" in check_report(got)
    put(six, "qqp", lines, split="dev")
    with pytest.raises(LabError, match=r"quora-dev\.csv:1: no column 'is_duplicate'"):
        load_data(six)


def test_check_report(six):
    bad = a_file("qqp")
    bad[3] = a_row("qqp", 3, is_duplicate="")
    put(six, "qqp", bad)
    lines = check_report(load_data(six)).splitlines()
    assert lines[0] == f"folder {six}"
    assert lines[1] == f"data SST 200, QQP 199, STS 200 from mine (fingerprint {load_data(six).fingerprint})"
    assert lines[2] == ("sst train: 200 rows; labels 0: 40, 1: 40, 2: 40, 3: 40, 4: 40; longest text 3 words; "
                        "0 rows left out")
    assert lines[4] == "qqp train: 199 rows; labels 0: 99, 1: 100; longest text 3 words; 1 rows left out"
    assert lines[6] == "sts train: 200 rows; mean 2.4500, from 0 to 4.9; longest text 3 words; 0 rows left out"
    assert lines[8] == "no ids-sst-test.csv, quora-test.csv, sts-test.csv (optional)"
    assert lines[9:] == ["quora-train.csv:4: no label"]


# -- finding the folder


def test_find_data_in_order(six, tmp_path, monkeypatch):
    home = tmp_path / "checkout"
    monkeypatch.setattr(data, "checkout", lambda: home)
    shutil.copytree(six, home / "data" / "sample")
    assert find_data() == home / "data" / "sample"
    shutil.copytree(six, home / "data", dirs_exist_ok=True)
    assert find_data() == home / "data"
    (home / "data" / "sts-dev.csv").unlink()
    assert find_data() == home / "data" / "sample"
    shutil.copytree(six, tmp_path / "other")
    monkeypatch.setenv("LAB_DATA", str(tmp_path / "other"))
    assert find_data() == tmp_path / "other"
    assert find_data(six) == find_data(str(six)) == six
    monkeypatch.setenv("LAB_DATA", "")
    assert find_data() == home / "data" / "sample"


def test_find_data_takes_relative_and_home_paths(six, monkeypatch):
    monkeypatch.chdir(six.parent)
    monkeypatch.setenv("HOME", str(six.parent))
    assert find_data("mine") == find_data("~/mine") == six


def test_find_data_names_what_is_missing(six, tmp_path, monkeypatch):
    (six / "sts-dev.csv").unlink()
    (six / "quora-train.csv").unlink()
    with pytest.raises(LabError) as error:
        find_data(six)
    assert f"{six}: missing quora-train.csv, sts-dev.csv; a data folder holds ids-sst-train.csv" in one_line(error)
    monkeypatch.setenv("LAB_DATA", str(six))  # the sample never replaces a folder that was named
    with pytest.raises(LabError, match=r"\(named by LAB_DATA\): missing quora-train"):
        load_data()
    (tmp_path / "empty").mkdir()
    with pytest.raises(LabError, match=r"empty: missing ids-sst-train\.csv, .*sts-dev\.csv; a data folder holds"):
        find_data(tmp_path / "empty")
    with pytest.raises(LabError, match="nowhere: no such folder; a data folder holds ids-sst-train"):
        find_data(tmp_path / "nowhere")
    with pytest.raises(LabError, match="a file, not a folder"):
        find_data(six / "sts-train.csv")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LabError, match="missing ids-sst-train"):  # as in --data "$UNSET"
        find_data("")


def test_the_sample_is_the_sample_wherever_it_lies(tmp_path):
    sample = REPO / "data" / "sample"
    got = load_data(sample)
    assert got.kind == got.label == "sample"
    shutil.copytree(sample, tmp_path / "copied")
    copied = load_data(tmp_path / "copied")
    assert copied.kind == copied.label == "sample" and copied.fingerprint == got.fingerprint
    assert "This is the bundled sample: no number from it says anything" in check_report(copied)
    with (tmp_path / "copied" / "sts-dev.csv").open("a") as file:
        file.write("\n")
    assert load_data(tmp_path / "copied").kind == "files"


def test_no_bundled_sample_to_compare_with(six, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "checkout", lambda: tmp_path)
    assert load_data(six).kind == "files"
    assert "bundled sample" not in check_report(load_data(six))


# -- what is accepted


def test_columns_are_found_by_name(tmp_path):
    lines = ["Similarity\tID\tnote\tsentence2\t id \tSentence1", "2.8\t9\tx\tb\tone\ta", "0\t9\t\td\ttwo\tc"]
    got = read(tmp_path, "sts", lines)
    assert got.examples == [("one", ("a", "b"), 2.8), ("two", ("c", "d"), 0.0)]


@pytest.mark.parametrize("change", [
    lambda b: b"\xef\xbb\xbf" + b,
    lambda b: b.replace(b"\n", b"\r\n"),
    lambda b: b.removesuffix(b"\n"),
    lambda b: b.replace(b"\n", b"\r\n").removesuffix(b"\r\n"),
    lambda b: b + b"\n\r\n",
    lambda b: b.replace(b"\n", b"\n\n", 3),
    lambda b: b.replace(b"\n", b"\r"),
    lambda b: b"\xef\xbb\xbf\xef\xbb\xbf" + b.removeprefix(b"\t").replace(b"\n7\t", b"\n"),
    lambda b: b" \n" + b + b"\t\t\t\t\n \t\n" * 9,
    lambda b: b"sep=\t\r\n" + b,
    lambda b: b'"sep=\t"\n' + b,
], ids=["bom", "crlf", "no-last-newline", "crlf-no-last-newline", "blank-at-end", "blank-within", "only-cr",
        "two-boms-and-no-index", "empty-rows-of-a-spreadsheet", "sep", "quoted-sep"])
def test_harmless_differences(tmp_path, change):
    plain = read(tmp_path, "qqp", a_file("qqp"))
    changed = read(tmp_path, "qqp", change(plain.path.read_bytes()))
    assert changed.examples == plain.examples and changed.problems == ()


def test_line_numbers_count_blank_lines(tmp_path):
    lines = a_file("sst")
    lines[2:3] = ["", a_row("sst", 1, sentiment="")]
    assert read(tmp_path, "sst", lines).problems == ("ids-sst-train.csv:4: no label",)


@pytest.mark.parametrize("odd", ["\u2028", "\u2029", "\x0b", "\x0c", "\x1c", "\x85", "\x7f", "\u200b", "\U0001f600"])
def test_odd_characters_do_not_split_or_drop_a_row(tmp_path, odd):
    lines = a_file("qqp")
    lines[10] = a_row("qqp", 9, sentence2=f"left{odd}right")
    got = read(tmp_path, "qqp", lines)
    assert len(got.examples) == ROWS and got.problems == ()
    assert got.examples[9].texts[1] == f"left{odd}right" and got.examples[10].id == "id10"


def test_texts_are_stripped(tmp_path):
    got = read(tmp_path, "sst", [*a_file("sst", rows=1), a_row("sst", 1, sentence=" \u00a0 in  the middle \x85 ")])
    assert got.examples[1].texts == ("in  the middle",)


@pytest.mark.parametrize("task, spelling, value", [
    ("sst", "3", 3.0), ("sst", "3.0", 3.0), ("sst", " 4 ", 4.0), ("sst", "0", 0.0),
    ("qqp", "1", 1.0), ("qqp", "1.0", 1.0), ("qqp", "0.0", 0.0),
    ("sts", "2.8", 2.8), ("sts", "5", 5.0), ("sts", "0.0", 0.0), ("sts", "4.999", 4.999),
])
def test_labels(tmp_path, task, spelling, value):
    got = read(tmp_path, task, [*a_file(task, rows=1), a_row(task, 1, **{HEADERS[task][-1]: spelling})])
    assert got.examples[1].label == value and type(got.examples[1].label) is float


def test_equal_ids_are_both_kept(tmp_path):
    got = read(tmp_path, "sst", [*a_file("sst", rows=1), a_row("sst", 0)])
    assert [example.id for example in got.examples] == ["id0", "id0"]


def test_ids_that_repeat_or_that_a_spreadsheet_has_rounded_are_named(six):
    assert not any(remarks(split) for split in load_data(six).splits.values())
    put(six, "sst", [*a_file("sst"), *(a_row("sst", n) for n in (7, 8, 9, 10, 7))])
    put(six, "qqp", [*a_file("qqp"), *(a_row("qqp", n, id=i) for n, i in enumerate(("1.23E+47", "4E+5", "5,1e+30")))])
    put(six, "sts", [*a_file("sts"), *(a_row("sts", n, id=i) for n, i in enumerate(("1e5", "12.5", "5e8d4", "E+5")))])
    lines = check_report(load_data(six)).splitlines()[-2:]  # ids of hexadecimal digits may have an e among them
    assert lines == [
        "ids-sst-train.csv: ids in more than one row: 4, such as 'id7', 'id8', 'id9'; predictions are paired with rows "
        "by their place in the file",
        "quora-train.csv: ids like numbers that a spreadsheet has rounded: 3, such as '1.23E+47', '4E+5', '5,1e+30'; "
        "take the ids from the original file"]


def test_similarities_from_0_to_1_are_warned_of(six):
    put(six, "sts", [a_file("sts")[0], *(a_row("sts", n, similarity=f"{n % 11 / 10}") for n in range(50))])
    with pytest.warns(UserWarning, match=r"^sts-train\.csv: no similarity is above 1, .* multiply them by 5$") as found:
        got = load_data(six)
    assert len(found) == 1 and str(found[0].message) in check_report(got).splitlines()
    put(six, "sts", [a_file("sts")[0], *(a_row("sts", n, similarity=f"{n % 12 / 10}") for n in range(50))])
    load_data(six)  # a warning is an error here


# -- left-over quotes: (text from the csv reader, expected text)


@pytest.mark.parametrize("text, expected", [
    ('"What is ""this"" about?"', 'What is "this" about?'),
    ('"""This"" is first"', '"This" is first'),
    ('" ""spaced"" "', '"spaced"'),
    ('"all of it is a quotation"', '"all of it is a quotation"'),
    ('"one" and "two"', '"one" and "two"'),
    ('"mixed ""doubled"" and "single" inside"', '"mixed ""doubled"" and "single" inside"'),
    ('no quotes outside ""but doubled""', 'no quotes outside ""but doubled""'),
    ('"only ""the start', '"only ""the start'),
    ('"""', '"""'), ('""', '""'), ('"', '"'),
])
def test_left_over_quotes(tmp_path, text, expected):
    path = tmp_path / "sts-train.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerows([HEADERS["sts"], ["0", "a", text, "plain", "1.0"], ["1", "b", "plain", text, "1.0"],
                          ["2", "c", text, text, "1.0"], ["3", "d", "plain", "plain", "1.0"]])
    got = read_split(path, "sts", "train")
    assert [e.texts for e in got.examples] == [(expected, "plain"), ("plain", expected), (expected, expected),
                                               ("plain", "plain")]
    assert got.unquoted == (3 if text != expected else 0)  # rows, not texts


# -- rows that cannot be used


@pytest.mark.parametrize("task, changes, reason", [
    ("sst", {"sentence": ""}, "no sentence"),
    ("sts", {"sentence1": "   "}, "no sentence1"),
    ("sst", {"sentence": "\u200b \ufeff\xad"}, "no sentence"),
    ("sst", {"sentence": "\x07\x1b\u202e"}, "no sentence"),
    ("qqp", {"sentence2": ""}, "no sentence2"),
    ("qqp", {"id": ""}, "no id"),
    ("qqp", {"is_duplicate": ""}, "no label"),
    ("qqp", {"is_duplicate": "", "sentence2": ""}, "no label"),
    ("qqp", {"is_duplicate": "yes"}, "is_duplicate 'yes' is not 0 or 1"),
    ("qqp", {"is_duplicate": "2"}, "is_duplicate '2' is not 0 or 1"),
    ("qqp", {"is_duplicate": "0.5"}, "is_duplicate '0.5' is not 0 or 1"),
    ("sst", {"sentiment": "2.5"}, "sentiment '2.5' is not a whole number from 0 to 4"),
    ("sst", {"sentiment": "5"}, "sentiment '5' is not a whole number from 0 to 4"),
    ("sst", {"sentiment": "-1"}, "sentiment '-1' is not a whole number from 0 to 4"),
    ("sst", {"sentiment": "nan"}, "sentiment 'nan' is not a whole number from 0 to 4"),
    ("sst", {"sentiment": "inf"}, "sentiment 'inf' is not a whole number from 0 to 4"),
    ("sts", {"similarity": "5.01"}, "similarity '5.01' is not a number from 0 to 5"),
    ("sts", {"similarity": "-0.1"}, "similarity '-0.1' is not a number from 0 to 5"),
    ("sts", {"similarity": "NaN"}, "similarity 'NaN' is not a number from 0 to 5"),
    ("sts", {"similarity": "-inf"}, "similarity '-inf' is not a number from 0 to 5"),
    ("sts", {"similarity": "2,5"}, "similarity '2,5' is not a number from 0 to 5"),
    ("qqp", {"is_duplicate": "-0.0"}, "is_duplicate '-0.0' is not in plain digits, such as 1 or 1.0"),
    ("sst", {"sentiment": "-0"}, "sentiment '-0' is not in plain digits, such as 1 or 1.0"),
    ("sst", {"sentiment": "0_1"}, "sentiment '0_1' is not in plain digits, such as 1 or 1.0"),
    ("sst", {"sentiment": "+1"}, "sentiment '+1' is not in plain digits, such as 1 or 1.0"),
    ("sst", {"sentiment": "٣"}, "sentiment '٣' is not in plain digits, such as 1 or 1.0"),
    ("sst", {"sentiment": "0x1"}, "sentiment '0x1' is not a whole number from 0 to 4"),
    ("sts", {"similarity": "1e0"}, "similarity '1e0' is not in plain digits, such as 1 or 1.0"),
    ("qqp", {"sentence1": '"Great" he said'}, BROKEN),
    ("qqp", {"sentence2": '"We will see'}, BROKEN),
    ("qqp", {"sentence1": '"closed below', "is_duplicate": '1"'}, "3 fields, but the header has 5"),
    ("sts", {"sentence1": "b" * 140_000}, "a field of more than 131,072 characters; a sentence is expected"),
    ("sts", {"sentence1": "b\rc"}, "a carriage return within the row; lines end with LF or CRLF"),
    ("sts", {"similarity": None}, "4 fields, but the header has 5"),
    ("sts", {"sentence1": "a stray\ttab"}, "6 fields, but the header has 5"),
    ("sts", {"sentence1": '"quoted over', "sentence2": 'a tab"'}, "4 fields, but the header has 5"),
])
def test_an_unusable_row_is_named_and_left_out(tmp_path, task, changes, reason):
    lines = a_file(task)
    lines[122] = a_row(task, 121, **changes)
    got = read(tmp_path, task, lines)
    assert got.problems == (f"{file_name(task, 'train')}:123: {reason}",)
    assert [example.id for example in got.examples] == [f"id{n}" for n in range(ROWS) if n != 121]


def test_a_cut_off_last_row_is_named(tmp_path):
    content = "\n".join(a_file("sts")).encode().removesuffix(b"\tsecond text 199\t4.9")
    assert read(tmp_path, "sts", content).problems == ("sts-train.csv:201: 3 fields, but the header has 5",)


def test_one_percent_is_the_limit(tmp_path):
    lines = a_file("sst")
    lines[5], lines[9] = a_row("sst", 4, sentiment="9"), a_row("sst", 8, sentence="")
    got = read(tmp_path, "sst", lines)
    assert len(got.examples) == 198 and len(got.problems) == 2
    lines[77] = a_row("sst", 76, id="")
    with pytest.raises(LabError) as error:
        read(tmp_path, "sst", lines)
    assert one_line(error) == (f"{tmp_path / 'ids-sst-train.csv'}: 3 of 200 rows are unusable, more than 1 %: "
                               "line 6: sentiment '9' is not a whole number from 0 to 4; line 10: no sentence; "
                               "line 78: no id")


def test_all_broken_lines_are_named_at_once(tmp_path):
    lines = a_file("qqp")
    for n in (4, 10, 30):
        lines[n] = a_row("qqp", n - 1, sentence1=f'"Text {n}" he said')
    lines[20] = a_row("qqp", 19, sentence2='"opened here')  # no later quote closes it
    with pytest.raises(LabError) as error:
        read(tmp_path, "qqp", lines)
    assert one_line(error) == (f"{tmp_path / 'quora-train.csv'}: 4 of 200 rows are unusable, more than 1 %: "
                               f"lines 5, 11, 21, 31: {BROKEN}")
    for n in range(50, 100):
        lines[n] = a_row("qqp", n - 1, sentence2="")
    with pytest.raises(LabError) as error:
        read(tmp_path, "qqp", lines)
    text = one_line(error)
    assert text.endswith("; lines 51, 52, 53, 54, 55, 56: no sentence2; and 44 more") and "54 of 200 rows" in text


def test_trap_9_try_and_except_around_the_parser_drop_rows_in_silence(tmp_path):
    lines = a_file("qqp")
    lines[5], lines[9] = a_row("qqp", 4, is_duplicate=""), a_row("qqp", 8, is_duplicate="1.0 ?")
    kept = []
    with put(tmp_path, "qqp", lines).open(encoding="utf-8") as file:
        for record in csv.DictReader(file, delimiter="\t"):
            try:  # the course's loader
                kept.append((record["id"], int(float(record["is_duplicate"]))))
            except ValueError:
                pass
    assert len(kept) == ROWS - 2  # without any message
    got = read(tmp_path, "qqp", lines)
    assert [(example.id, example.label) for example in got.examples] == kept
    assert got.problems == ("quora-train.csv:6: no label", "quora-train.csv:10: is_duplicate '1.0 ?' is not 0 or 1")
    assert "2 rows left out" in got.describe()


# -- files that cannot be used: (damage, line, what the error says is wrong, and what would be right)


def at(number, text):
    """Damage: replace the physical line `number` by `text`."""
    def change(content):
        lines = content.split(b"\n")
        lines[number - 1] = text
        return b"\n".join(lines)
    return change


def quoted(separator, *columns):
    """Damage: a header of these columns, every field in quotes, and another separator."""
    return lambda content: b"\n".join(
        separator.join(f'"{field}"' for field in line.split("\t")).encode()
        for line in ["\t".join(columns), *content.decode().splitlines()[1:]])


@pytest.mark.parametrize("damage, line, wrong, right", [
    (at(1, b"\tid\tsentence1\tsentence2\tscore"), 1, "no column 'similarity'", "found '', 'id', 'sentence1'"),
    (at(1, b"\tsentence1\tsentence\tsimilarity\tx"), 1, "no column 'id', 'sentence2'", "needed id, sentence1"),
    (at(1, b"id\tid\tsentence1\tsentence2\tsimilarity"), 1, "column 'id' twice", "needed id, sentence1"),
    (lambda b: b.replace(b"\t", b","), 1, "separated by commas, but id, sent", "by tabs; `lab data import DIR` brings"),
    (lambda b: b.replace(b"\t", b";"), 1, "separated by semicolons, but id", "by tabs; `lab data import DIR` brings"),
    (lambda b: b.replace(b"\t", b" "), 1, "the header has a single column, but id", "separated by tabs"),
    (lambda b: b"a b " * 40_000, 1, "the header has a single column, but id", "separated by tabs"),
    (quoted(",", "id", "qid1", "question1", "question2", "is_duplicate"), 1,
     "this is Kaggle's file of Quora Question Pairs, separated by commas", "`lab data import DIR` brings"),
    (quoted(";", "id", "sentence1", "sentence2", "similarity"), 1, "1: separated by semicolons", "lab data import"),
    (at(1, b"id\tqid1\tquestion1\tquestion2\tx"), 1, "no column 'sentence1', 'sentence2'", "lab data import DIR"),
    (at(1, b'id\t"sentence1\tsentence2\tsimilarity'), 1, "a broken quote", "each \" inside it is doubled"),
    (lambda b: b"", 1, "an empty file", "a header and rows are expected"),
    (lambda b: b"\xef\xbb\xbf\r\n", 1, "an empty file", "a header and rows are expected"),
    (lambda b: b.split(b"\n")[0], 1, "a header but no rows", "one row per line"),
    (lambda b: b.split(b"\n")[0] + b"\r\n\r\n", 1, "a header but no rows", "one row per line"),
    (at(7, b"1\ta\tb\0\tc\t1.0"), 7, "a NUL byte", "UTF-8 text is expected"),
    (lambda b: b.decode().encode("utf-16-le"), 1, "a NUL byte", "iconv -f utf-16 -t utf-8"),
    (lambda b: b.decode().encode("utf-16"), 1, "UTF-16;", "iconv -f utf-16 -t utf-8"),
    (lambda b: b.decode().encode("utf-32"), 1, "UTF-32;", "iconv -f utf-32 -t utf-8"),
    (lambda b: b"PAR1\x15\x04" + b, 1, "a Parquet file;", "bring it in with `lab data import DIR`"),
    (lambda b: b"<table><tr>" + b, 1, "a web page in place", "download the file"),
    (lambda b: b'""\t""\n', 1, "no column 'id'", "separated by tabs"),
    (lambda b: b"PK\x03\x04" + b, 1, "a zip archive or an .xlsx workbook", "save its sheet as CSV in UTF-8"),
    (gzip.compress, 1, "compressed by gzip", "unpack it"),
    (lambda b: b"version https://git-lfs.github.com/spec/v1\n", 1, "a Git LFS pointer", "git lfs pull"),
    (lambda b: b"\xef\xbb\xbf\n<!DOCTYPE html>\n", 1, "a web page in place", "download the file"),
    (at(9, "1\ta\tcafé\tc\t1.0".encode("latin1")), 9, "byte 0xe9 is not UTF-8", "iconv -f latin1 -t utf-8"),
    (at(9, "1\ta\tit’s\tc\t1.0".encode("cp1252")), 9, "byte 0x92 is not UTF-8", "iconv -f cp1252 -t utf-8"),
    (lambda b: b"\xef\xbb\xbf" + at(2, b"1\ta\t\xff\tc\t1.0")(b), 2, "byte 0xff is not UTF-8", "iconv -f latin1"),
    (lambda b: b.replace(b"\n", b"\r", 3), 1, "a carriage return", "lines end with LF or CRLF"),
], ids=["renamed", "two-missing", "twice", "commas", "semicolons", "spaces", "one-long-line", "kaggle",
        "quoted-semicolons", "glue", "quote-in-header", "empty", "only-bom", "header-only",
        "header-crlf", "nul", "utf-16-without-bom",
        "utf-16", "utf-32", "parquet", "html-table", "only-empty-fields", "zip", "gzip", "lfs", "html", "latin-1",
        "windows-1252", "latin-1-bom", "some-cr"])
def test_a_damaged_file_is_refused(six, damage, line, wrong, right):
    path = six / "sts-train.csv"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(LabError) as error:
        load_data(six)
    text = one_line(error)
    assert text.startswith(f"{path}:{line}: ") and wrong in text and right in text


@pytest.mark.parametrize("closed", ['1\tid7\tb"\tc\t1.0', '1\tid7"\tb\t"c"\t1.0', "1\tid7\tb\tc\t1.0"])
def test_a_quote_that_is_not_closed_costs_its_own_row_alone(tmp_path, closed):
    lines = a_file("sts")
    lines[5], lines[7] = '1\tid5\t"closed below\tc\t1.0', closed
    got = read(tmp_path, "sts", lines)
    assert got.problems == (f"sts-train.csv:6: {BROKEN}",) and len(got.examples) == ROWS - 1
    lines[-1] = '1\tid\tb\t"c\t1.0'
    assert read(tmp_path, "sts", lines).problems[1] == f"sts-train.csv:201: {BROKEN}"


def test_a_folder_in_place_of_a_file(six):
    (six / "sts-dev.csv").unlink()
    (six / "sts-dev.csv").mkdir()
    with pytest.raises(LabError, match=r"sts-dev\.csv: cannot be read \(Is a directory\); a readable file is expected"):
        load_data(six)


def test_what_resembles_a_missing_file_is_named(six):
    (six / "ids-sst-train.csv").rename(six / "ids-sst-train (1).csv")
    with pytest.raises(LabError, match=r"mine: missing ids-sst-train\.csv; is it ids-sst-train \(1\)\.csv\?; a data"):
        load_data(six)
    (six / "quora-dev.csv").rename(six / "quora-dev.csv.txt")
    (six / "sts-dev.csv").rename(six / "STS-DEV.CSV")
    with pytest.raises(LabError, match=r"; are they ids-sst-train \(1\)\.csv, quora-dev\.csv\.txt, STS-DEV\.CSV\?"):
        load_data(six)


def test_a_folder_within_that_has_the_files_is_named(six):
    with pytest.raises(LabError, match=rf"; all of them are in {re.escape(str(six))}; a data folder holds"):
        load_data(six.parent)


def test_a_closed_folder_and_files_that_cannot_be_reached(six, monkeypatch):
    (six / "sts-dev.csv").rename(six / "gone")
    (six / "sts-dev.csv").symlink_to(six / "nowhere")
    with pytest.raises(LabError, match=r"mine: sts-dev\.csv cannot be reached; either the permission to enter"):
        load_data(six)

    def refuse(folder):  # chmod does not stop root, which containers often use
        raise PermissionError(13, "Permission denied")
    monkeypatch.setattr(data.os, "listdir", refuse)
    with pytest.raises(LabError, match=r"mine: the folder cannot be read \(Permission denied\); get the permission"):
        load_data(six)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_place_of_a_file_is_not_waited_for(six):
    (six / "sts-dev.csv").unlink()
    os.mkfifo(six / "sts-dev.csv")
    with pytest.raises(LabError, match=r"sts-dev\.csv: a pipe or a device; a regular file is expected"):
        load_data(six)


def test_an_unreadable_file(six, monkeypatch):
    def refuse(self):  # chmod does not stop root, which containers often use
        raise PermissionError(13, "Permission denied")
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(LabError, match=r"ids-sst-train\.csv: cannot be read \(Permission denied\)"):
        load_data(six)


# -- any text is read back unchanged


TEXT = st.one_of(
    st.text(st.characters(exclude_characters="\0\n\r", exclude_categories=["Cs"]), min_size=1, max_size=30),
    st.text('"" \tab\u2028\x85', min_size=1, max_size=12),
).filter(tsv.visible)


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6), end=st.sampled_from(["\n", "\r\n"]))
def test_any_text_comes_back(tmp_path_factory, rows, end):
    path = tmp_path_factory.getbasetemp() / "quora-dev.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator=end)
        writer.writerows([HEADERS["qqp"], *([n, f"id{n}", *texts, "1.0"] for n, texts in enumerate(rows))])
    got = read_split(path, "qqp", "dev")
    assert got.problems == () and [example.texts for example in got.examples] == [
        tuple(map(plain, texts)) for texts in rows]


def plain(text):
    """The rule for left-over quotes again, as a regular expression."""
    text = text.strip()
    left_over = re.fullmatch(r'"((?:[^"]|"")*""(?:[^"]|"")*)"', text)
    return left_over[1].replace('""', '"').strip() if left_over else text


# -- the real sets; these tests are skipped where they do not lie beside the checkout


def require_real():
    if not REAL.is_dir():
        pytest.skip("the real data sets are not beside this checkout (../shared/data)")


@pytest.fixture(scope="module")
def real():
    require_real()
    return load_data(REAL)


@pytest.mark.parametrize(("folder", "changed", "saturated", "saturated_and_cast"), [
    (REPO / "data" / "sample", 0.70, 8.2, 10.0), (REAL, 0.69, 7.9, 9.7)], ids=["sample", "real"])
def test_trap_2_scores_cast_to_integers_are_other_scores(folder, changed, saturated, saturated_and_cast):
    if folder == REAL:
        require_real()
    got = load_data(folder)
    for name in ("train", "dev"):
        with got.splits["sts", name].path.open(encoding="utf-8", newline="") as file:
            assert [e.label for e in got.splits["sts", name].examples] == [
                float(row["similarity"]) for row in csv.DictReader(file, delimiter="\t")]
    scores = [example.label for name in ("train", "dev") for example in got.splits["sts", name].examples]
    assert all(type(score) is float for score in scores)  # the course's loader casts them to int by default
    assert round(sum(score != int(score) for score in scores) / len(scores), 2) == changed
    # The training loss of a head that always predicts 5 (trap 7), without the cast and with it.
    train = [example.label for example in got.splits["sts", "train"].examples]
    assert [round(sum((5 - kind(score)) ** 2 for score in train) / len(train), 1) for kind in (float, int)] == [
        saturated, saturated_and_cast]


@pytest.mark.parametrize("task, split, rows, unquoted", [
    ("sst", "train", 8_544, 0), ("sst", "dev", 1_101, 0), ("qqp", "train", 120_674, 0),
    ("qqp", "dev", 20_212, 693), ("sts", "train", 6_040, 0), ("sts", "dev", 863, 0),
])
def test_real_counts(real, task, split, rows, unquoted):
    got = real.splits[task, split]
    assert (len(got.examples), got.unquoted) == (rows, unquoted)
    assert len(got.problems) == (2 if (task, split) == ("qqp", "dev") else 0)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("split", ["train", "dev"])
def test_real_rows_are_those_of_a_plain_reader(real, task, split):
    got = real.splits[task, split]
    with got.path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row[HEADERS[task][-1]]]
    expected = [(row["id"], tuple(plain(row[column]) for column in HEADERS[task][2:-1]),
                 float(row[HEADERS[task][-1]])) for row in rows]
    assert len(got.examples) == len(expected)
    assert [a.id for a, b in zip(got.examples, expected, strict=True) if a != b] == []  # ids: no text in a log


def test_real_problems_are_named(real):
    lines = real.splits["qqp", "dev"].problems
    assert lines == ("quora-dev.csv:2577: no label", "quora-dev.csv:14222: no label")
    assert check_report(real).splitlines()[-2:] == list(lines)
    assert real.label == "SST 8544, QQP 120674, STS 6040 from data"


def test_real_quotations_stay_quoted(real):
    examples = [example for split in ("train", "dev") for example in real.splits["sts", split].examples]
    assert any(text[0] == text[-1] == '"' for example in examples for text in example.texts)


# -- the files of the repository have the same bytes on every system


def test_a_windows_checkout_has_the_same_bytes(tmp_path):
    def git(*words):
        subprocess.run(["git", "-c", "core.autocrlf=true", "-c", "core.eol=crlf", *words], cwd=tmp_path, check=True,
                       capture_output=True)

    contents = {"data/sample/sts-dev.csv": b"a\tb\n1\t2\n", "data/sample/crlf.csv": b"a\r\n", "data/x.json": b"{\n}\n",
                "Makefile": b"lab:\n\ttrue\n", "docs/picture.png": b"\x89PNG\r\n\n"}
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    shutil.copy(REPO / ".gitattributes", tmp_path)
    git("init")
    git("add", ".")
    for name in contents:
        (tmp_path / name).unlink()
    git("checkout", "--", ".")
    assert {name: (tmp_path / name).read_bytes() for name in contents} == contents
