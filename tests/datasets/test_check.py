"""lab/datasets/check.py: what looks wrong in files that can be read (tests/test_data.py has the rest of the report)."""

import shutil
from pathlib import Path

import pytest

from lab.data import file_name, load_data
from lab.datasets import check_report

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "sample"


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(SAMPLE, tmp_path / "mine")


def warned(folder):
    """The lines of the report about a folder that the sample's report lacks, but for those about every file."""
    expected = check_report(load_data(SAMPLE)).splitlines()
    return [line for line in check_report(load_data(folder)).splitlines() if line not in expected and ".csv: " in line]


def change(folder, task, split, edit):
    """Each row of a file, its fields edited in place by `edit(number, fields)`."""
    path = folder / file_name(task, split)
    head, *rows = path.read_text(encoding="utf-8").splitlines()
    rows = [row.split("\t") for row in rows]
    for number, fields in enumerate(rows):
        edit(number, fields)
    path.write_text("\n".join([head, *("\t".join(row) for row in rows)]) + "\n", encoding="utf-8")


def test_texts_that_two_files_share(folder):
    assert not warned(folder)
    pairs = [line.split("\t") for line in (folder / "quora-train.csv").read_text(encoding="utf-8").splitlines()[1:41]]
    change(folder, "qqp", "dev", lambda i, f: f.__setitem__(slice(2, 4), pairs[i][3:1:-1]) if i < 20 else None)
    assert not warned(folder)  # 20 of 400 are 5 %
    change(folder, "qqp", "dev", lambda i, f: f.__setitem__(slice(2, 4), pairs[i][3:1:-1]) if i < 40 else None)
    shutil.copy(folder / "ids-sst-dev.csv", folder / "ids-sst-test.csv")
    shutil.copy(folder / "sts-dev.csv", folder / "sts-train.csv")
    few = "so its scores say little about new texts"
    assert warned(folder) == [
        f"ids-sst-test.csv: the texts of 220 of 220 rows (100 %) are in ids-sst-dev.csv too, {few}",
        f"quora-dev.csv: the texts of 40 of 400 rows (10 %) are in quora-train.csv too, {few}",
        f"sts-dev.csv: the texts of 220 of 220 rows (100 %) are in sts-train.csv too, {few}"]


def test_dev_that_is_longer_than_train(folder):
    train, dev = (folder / file_name("sts", split) for split in ("train", "dev"))
    rows = [len(path.read_text(encoding="utf-8").splitlines()) - 1 for path in (train, dev)]
    aside = train.rename(folder / "aside")
    dev.rename(train)
    aside.rename(dev)
    assert warned(folder)[-1] == (f"sts-dev.csv: it has {rows[0]:,} rows, and sts-train.csv only {rows[1]:,}; are the "
                                  "two files in each other's place?")


def test_one_label_another_scale_and_damaged_letters(folder):
    change(folder, "sst", "train", lambda i, f: f.__setitem__(-1, "2"))
    change(folder, "sts", "dev", lambda i, f: f.__setitem__(-1, f"{float(f[-1]) / 5:.3f}"))
    change(folder, "qqp", "train", lambda i, f: f.__setitem__(2, f[2] + " a caf\ufffd") if i < 3 else None)
    words = ("Itâ€™s no", "cafÃ©") * 2
    change(folder, "qqp", "dev", lambda i, f: f.__setitem__(2, words[i]) if i < 4 else None)
    assert warned(folder) == [
        "ids-sst-train.csv: every label is 2, so there is nothing to learn from it or to score with it",
        "quora-dev.csv: letters of 4 texts are damaged, such as 'Itâ€™s no': the file was once read in another "
        "encoding than it has; take the original",
        "sts-dev.csv: no similarity is above 1, but they are read as from 0 to 5; if they are from 0 to 1, multiply "
        "them by 5"]


def test_texts_as_python_writes_bytes_and_control_characters(folder):
    change(folder, "sts", "dev", lambda i, f: f.__setitem__(slice(2, 4), [f"b'{text}'" for text in f[2:4]]))
    change(folder, "qqp", "dev", lambda i, f: f.__setitem__(2, f"it\x92s {i}") if i < 4 else None)
    said = warned(folder)
    assert said[0].startswith("quora-dev.csv: letters of 4 texts are damaged, such as 'it\\x92s 0'")
    assert said[1].startswith("sts-dev.csv: texts are written as Python writes bytes, such as ")


def test_labels_that_no_row_has_and_words_for_empty_texts(folder):
    change(folder, "sst", "dev", lambda i, f: f.__setitem__(-1, str(i % 2)))
    change(folder, "qqp", "train", lambda i, f: f.__setitem__(2, ("nan", "NaN", "None", "null")[i]) if i < 4 else None)
    change(folder, "sts", "train", lambda i, f: f.__setitem__(2, "nan") if i < 3 else None)
    assert warned(folder) == [
        "ids-sst-dev.csv: no row has the label 2 or 3 or 4; a label of SST is a whole number from 0 to 4",
        "quora-train.csv: 4 texts are 'nan' or the like, which programs write in place of an empty one; take the "
        "original file"]


def test_files_that_are_not_read_are_named(folder):
    for name in ("ids-sst-test (1).csv", "quora-test.csv.gz", "notes.md", "sts-test-student.csv"):
        shutil.copy(folder / "sts-dev.csv", folder / name)
    assert "also in the folder, and not read: ids-sst-test (1).csv, quora-test.csv.gz" in check_report(
        load_data(folder)).splitlines()
    for number in range(9):
        (folder / f"z{number}.tsv").write_text("")
    assert check_report(load_data(folder)).count("z7.tsv and 1 more\n") == 1
