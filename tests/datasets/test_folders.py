"""lab/datasets/folders.py: other layouts into the course's; what is not recognised or cannot be used is named."""

import csv
import json
import os
import re
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from lab.data import file_name, load_data, read_split
from lab.datasets import import_folder
from lab.errors import LabError

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "sample"
QUORA = ["id", "qid1", "qid2", "question1", "question2", "is_duplicate"]
STSB = ["index", "genre", "filename", "year", "old_index", "source1", "source2", "sentence1", "sentence2", "score"]


def put(path, header, rows, separator=None):
    """A file with CSV quotes, or with tabs and no quotes, as GLUE's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if separator:
        with open(path, "w", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter=separator).writerows([header, *rows])
    else:
        path.write_text("".join("\t".join(map(str, row)) + "\n" for row in [header, *rows]), encoding="utf-8")


def quora(rows):
    return [[i, 2 * i, 2 * i + 1, f"How, \"in short\", is {i}?", f"Why {i}?", i % 2] for i in range(rows)]


def imported(source, target):
    """The lines that an import says."""
    said = []
    import_folder(source, target, said.append)
    assert not [path.name for path in target.iterdir() if path.name.startswith(".")]
    return said


def examples(folder, task, split):
    found = read_split(folder / file_name(task, split), task, split)
    assert not found.problems
    return found.examples


def test_the_courses_own_folder_is_copied_byte_for_byte(tmp_path):
    source = tmp_path / "course"
    for file in SAMPLE.glob("*.csv"):
        put(source / file.name, *(lambda rows: (rows[0], rows[1:]))(
            [line.split("\t") for line in file.read_text().splitlines()[:301]]))
    dev = (source / "quora-dev.csv").read_text().splitlines()
    (source / "quora-dev.csv").write_text("\n".join([*dev, "9\tx\tA?\tB?\t"]) + "\n")
    put(source / "sts-test-student.csv", ["", "id", "sentence1", "sentence2"], [[0, "t0", "One.", "Two."]])
    put(source / "ids-cfimdb-train.csv", ["", "id", "sentence", "sentiment"], [[0, "t0", "One.", "1"]])
    said = imported(source, tmp_path / "to")
    for file in (tmp_path / "to").iterdir():
        assert file.read_bytes() == (source / file.name).read_bytes()
    assert "sts-test-student.csv: the course's STS, copied as sts-test-student.csv: 1 rows" in said
    assert ("quora-dev.csv: the course's QQP, copied as quora-dev.csv: 300 rows; 1 that cannot be used: line 302: no "
            "label") in said
    assert "ids-cfimdb-train.csv: CFIMDB, which the lab does not use; not taken" in said
    assert said[-1] == f"{tmp_path / 'to'}: 7 files written"
    assert ("sts", "test") in load_data(tmp_path / "to").splits


@pytest.mark.parametrize("separator", [",", ";"])
def test_files_of_the_course_with_other_separators(separator, tmp_path):
    for file in SAMPLE.glob("*.csv"):
        rows = list(csv.reader(file.read_text(encoding="utf-8").splitlines(), delimiter="\t"))
        if separator == ";" and file.name.startswith("sts"):  # a German spreadsheet
            rows = [rows[0], *([*row[:-1], row[-1].replace(".", ",")] for row in rows[1:])]
        put(tmp_path / "from" / file.name, rows[0], rows[1:], separator)
    bom = tmp_path / "from" / "sts-dev.csv"
    bom.write_bytes(b"\xef\xbb\xbf" + bom.read_bytes())
    said = imported(tmp_path / "from", tmp_path / "to")
    ours, theirs = load_data(tmp_path / "to").splits, load_data(SAMPLE).splits
    assert all(ours[key].examples == theirs[key].examples and not ours[key].problems for key in theirs)
    name = {",": "commas", ";": "semicolons"}[separator]
    assert f"sts-train.csv: the course's STS, separated by {name}: sts-train.csv, 400 rows" in said


def test_kaggles_file_is_split_by_a_hash_of_the_ids(tmp_path):
    rows = quora(500)
    rows[7][3] = "How is\nthis, \"in two lines\"?"
    rows[8][4] = ""
    put(tmp_path / "kaggle" / "train.csv", QUORA, rows, ",")
    file = tmp_path / "kaggle" / "train.csv"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())  # a BOM
    put(tmp_path / "kaggle" / "test.csv", ["test_id", "question1", "question2"], [[0, "a", "b"]], ",")
    said = imported(tmp_path / "kaggle", tmp_path / "to")
    train, dev = examples(tmp_path / "to", "qqp", "train"), examples(tmp_path / "to", "qqp", "dev")
    assert len(train) + len(dev) == 499 and 25 < len(dev) < 75
    assert {row.id for row in train} | {row.id for row in dev} == {str(i) for i in range(500) if i != 8}
    assert {row.id: row for row in [*train, *dev]}["7"] == ("7", ('How is this, "in two lines"?', "Why 7?"), 1.0)
    start = "train.csv: Quora's QQP, separated by commas; no dev file, so by a hash of the ids one pair in ten is dev: "
    assert f"{start}quora-dev.csv, {len(dev)} rows" in "\n".join(said)
    assert "1 left out: line 11: no sentence2" in "\n".join(said)  # one row before it has two lines
    assert "test.csv: a test file without labels, which the lab could not score; not taken" in said
    assert "a data folder also needs ids-sst-train.csv, ids-sst-dev.csv, sts-train.csv, sts-dev.csv" in said[-1]
    put(tmp_path / "again" / "train.csv", QUORA, rows[::-1], ",")
    imported(tmp_path / "again", tmp_path / "second")
    assert {row.id for row in examples(tmp_path / "second", "qqp", "dev")} == {row.id for row in dev}


@pytest.mark.parametrize(("name", "content"), [
    ("sts-dev.csv", "\t Id \tSentence1\tSENTENCE2\tsimilarity\n0\ta\tOne.\tTwo.\t2.5\n"),
    ("sts-dev.csv", "\ufeffsep=;\r\nId;Sentence1; sentence2;Similarity\r\na;One.;Two.;2,5\r\n"),
    ("sts-dev.csv", '"sep=,"\nid,sentence1,sentence2,Similarity,a;b;c;d;e;f\na,One.,Two.,2.5,\n'),
    ("sts-dev.csv", "\ufeff\ufeff \n\nid,sentence1,sentence2,similarity\n,,,\na,One.,Two.,2.5\n  \n"),
    ("sts-dev.csv", "id;sentence1;sentence2;similarity\ra;One.;Two.;2.5\r"),
    ("sts-dev.csv", "id,sentence1,sentence2,similarity\r\ra,One.,Two.,2.5\r\n"),  # an editor has added a last line end
    ("sts-dev.csv", '"sep=\t"\r\nid\tsentence1\tsentence2\tsimilarity\r\na\t"One."\tTwo.\t2.5\r\n'),
    ("dev.tsv", "index\tsentence1\tsentence2\tscore\ra\tOne.\tTwo.\t2.5"),
    ("dev.tsv", "Index\tSentence1\tSentence2\tScore\na\tOne.\tTwo.\t2.5\n")])
def test_columns_of_other_case_lines_before_them_and_other_ends_of_lines(name, content, tmp_path):
    (tmp_path / name).write_bytes(content.encode())
    imported(tmp_path, tmp_path / "to")
    assert examples(tmp_path / "to", "sts", "dev") == [("a", ("One.", "Two."), 2.5)]


@pytest.mark.parametrize("separator", [",", None], ids=["converted", "copied"])
def test_what_looks_wrong_in_a_file_is_said_when_it_is_brought_in(separator, tmp_path):
    rows = [[i, "A.", "B.", n / 9] for n, i in enumerate(["1.23E+47", "x", "x", "y"])]
    put(tmp_path / "sts-train.csv", ["id", "sentence1", "sentence2", "similarity"], rows, separator)
    start = "sts-train.csv: sts-train.csv: " if separator else "sts-train.csv: "
    said = imported(tmp_path, tmp_path / "to")[1:-1]
    assert [line.removeprefix(start).partition(":")[0] for line in said] == [
        "ids in more than one row", "ids like numbers that a spreadsheet has rounded",
        "no similarity is above 1, but they are read as from 0 to 5; if they are from 0 to 1, multiply them by 5"]


UNCLOSED = "a quote that is not closed, or that stands within quotes and is not doubled ("


@pytest.mark.parametrize(("gap", "closing"), [(500, 'What says "Bob"'), (3, 'What says "Bob"'), (1, '"What, then?"'),
                                              (1, '"What?"'), (900, "What?"), (10, 'What "'), (9, 'What "')])
def test_a_quote_that_is_not_closed_costs_its_own_row_alone(gap, closing, tmp_path):
    lines = [",".join(QUORA), *(f"{i},{2 * i},{2 * i + 1},How do I {i}?,What is {i}?,{i % 2}" for i in range(1000))]
    lines[301] = '300,600,601,How?,"What is unclosed?,1'
    lines[min(301 + gap, 1000)] = f"{299 + gap},1,2,How then?,{closing},0"
    put(tmp_path / "train.csv", QUORA, [], ",")
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n")
    said = "\n".join(imported(tmp_path, tmp_path / "to"))
    train, dev = examples(tmp_path / "to", "qqp", "train"), examples(tmp_path / "to", "qqp", "dev")
    assert len(train) + len(dev) == 999 and f"1 left out: line 302: {UNCLOSED}" in said


def test_questions_of_some_lines_are_read_and_longer_ones_are_counted_by_their_lines(tmp_path):
    rows = quora(500)
    for number, lines in ((3, 2), (5, 3), (8, 10)):
        rows[number][4] = "\n".join(f'line, "{i}",' for i in range(lines))
    put(tmp_path / "two" / "quora-train.csv", QUORA, rows, ",")
    put(tmp_path / "two" / "quora-dev.csv", QUORA, rows, ";")
    assert not any("left out" in line for line in imported(tmp_path / "two", tmp_path / "to"))
    assert examples(tmp_path / "to", "qqp", "dev")[3].texts[1] == 'line, "0", line, "1",'
    assert len(examples(tmp_path / "to", "qqp", "train")) == 500
    rows[9][4] = "\n".join(["one of eleven"] * 11)
    put(tmp_path / "two" / "quora-train.csv", QUORA, rows, ",")
    with pytest.raises(LabError, match=("11 of 510 rows cannot be used.*; 11 left out: line 23: "
                                        f"{re.escape(UNCLOSED)}.*; line 24: ")):
        import_folder(tmp_path / "two", tmp_path / "other")


def test_glues_folders_and_setfits_sentiment(tmp_path):
    put(tmp_path / "glue" / "QQP" / "train.tsv", QUORA, [*quora(200), ["a row", "that broke"]])
    put(tmp_path / "glue" / "QQP" / "dev.tsv", QUORA, quora(5))
    put(tmp_path / "glue" / "QQP" / "test.tsv", ["id", "question1", "question2"], [[0, "a", "b"]])
    rows = [[i, "main", "x", "2012", "0", "s", "s", f"\"A man {i}.", "He.", f"{i}.000"] for i in range(6)]
    put(tmp_path / "glue" / "STS-B" / "train.tsv", STSB, rows)
    put(tmp_path / "glue" / "STS-B" / "dev.tsv", STSB, rows[:2])
    put(tmp_path / "glue" / "SST-2" / "train.tsv", ["sentence", "label"], [["fine", 1]])
    for name in ("train", "dev"):
        classes = ["very negative", "negative", "neutral", "positive", "very positive"]
        (tmp_path / "glue" / f"{name}.jsonl").write_text("\ufeff" + "".join(
            json.dumps({"text": f"{name} {c}", "label": c, "label_text": classes[c]}) + "\n" for c in range(5)))
    said = imported(tmp_path / "glue", tmp_path / "to")
    assert len(examples(tmp_path / "to", "qqp", "train")) == 200 and len(examples(tmp_path / "to", "qqp", "dev")) == 5
    assert examples(tmp_path / "to", "qqp", "dev")[3] == ("3", ('How, "in short", is 3?', "Why 3?"), 1.0)
    assert examples(tmp_path / "to", "sts", "train")[4] == ("4", ('"A man 4.', "He."), 4.0)
    assert examples(tmp_path / "to", "sst", "dev")[2] == ("dev-2", ("dev 2",), 2.0)
    assert ("QQP/train.tsv: Quora's QQP, separated by tabs: quora-train.csv, 200 rows; 1 left out: line 202: 2 fields, "
            "but the header has 6") in said
    assert "SST-2/train.tsv: not recognised; its columns are 'sentence', 'label'; a first line with " in "\n".join(said)
    assert "QQP/test.tsv: a test file without labels, which the lab could not score; not taken" in said
    assert said[-1] == f"{tmp_path / 'to'}: 6 files written"


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_qqp_and_sts_as_the_hub_has_them(kind, tmp_path):
    for folder, texts, labels in (("qqp", ("question1", "question2"), [0, 1, 1]),
                                  ("stsb", ("sentence1", "sentence2"), [0.0, 2.5999999, 5.0]),
                                  ("mrpc", ("sentence1", "sentence2"), [0, 1, 1])):
        (tmp_path / "glue" / folder).mkdir(parents=True)
        for split in ("train", "validation", "test"):
            rows = [{"idx": i, texts[0]: "One?", texts[1]: f"{split}\n{i}", "label": label if split != "test" else -1}
                    for i, label in enumerate(labels)]
            path = tmp_path / "glue" / folder / f"{split}-00000-of-00001.{kind}"
            if kind == "parquet":
                parquet.write_table(pyarrow.Table.from_pylist(rows), path)
            else:
                path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = "\n".join(imported(tmp_path / "glue", tmp_path / "to"))
    assert examples(tmp_path / "to", "qqp", "dev")[1] == ("dev-1", ("One?", "validation 1"), 1.0)
    assert [row.label for row in examples(tmp_path / "to", "sts", "train")] == [0.0, 2.6, 5.0]
    assert said.count("a test file whose labels GLUE hides, so that the lab could not score it; not taken") == 2
    assert "4 files written" in said and said.count(": not recognised; its columns are 'idx'") == 3  # MRPC's


def test_files_with_tabs_whose_header_is_quoted_have_quotes(tmp_path):
    put(tmp_path / "QQP" / "train.tsv", QUORA, [])
    with open(tmp_path / "QQP" / "train.tsv", "w", newline="") as file:
        csv.writer(file, delimiter="\t", quoting=csv.QUOTE_ALL).writerows([QUORA, *quora(30)])
    put(tmp_path / "QQP" / "dev.tsv", QUORA, quora(5))
    imported(tmp_path, tmp_path / "to")
    assert examples(tmp_path / "to", "qqp", "train")[3] == ("3", ('How, "in short", is 3?', "Why 3?"), 1.0)


def test_escaped_quotes_cost_their_rows_and_are_no_texts(tmp_path):
    rows = "".join(f'{i},1,2,"Is it {i}?","Why, {i}?",1\n' for i in range(200))
    (tmp_path / "train.csv").write_text(",".join(QUORA) + "\n" + '0,1,2,"He said \\"Why?\\"",b,0\n' + rows)
    put(tmp_path / "dev.csv", QUORA, quora(5), ",")
    assert f"1 left out: line 2: {UNCLOSED}" in "\n".join(imported(tmp_path, tmp_path / "to"))
    assert len(examples(tmp_path / "to", "qqp", "train")) == 200


def test_parquet_of_bytes_and_scores_by_another_name(tmp_path):
    def write(name, **columns):
        (tmp_path / "from").mkdir(exist_ok=True)
        parquet.write_table(pyarrow.table(columns), tmp_path / "from" / name)

    first = pyarrow.array([b"A caf\xc3\xa9."], pyarrow.binary())
    write("train.parquet", sentence1=first, sentence2=["Two."], score=[4.5])
    write("test.parquet", sentence1=["One."], sentence2=["Two."], score=[2.0])
    imported(tmp_path / "from", tmp_path / "to")
    assert examples(tmp_path / "to", "sts", "train")[0].texts == ("A café.", "Two.")
    assert examples(tmp_path / "to", "sts", "test")[0].label == 2


def test_a_test_file_whose_labels_have_another_name_is_said_to_have_none(tmp_path):
    put(tmp_path / "sts-test.csv", ["id", "sentence1", "sentence2", "gold"], [["a", "One.", "Two.", 3.5]], ",")
    assert "sts-test.csv, 1 rows, without labels: it has no column similarity" in "\n".join(
        imported(tmp_path, tmp_path / "to"))


def test_sentiment_of_two_classes_is_not_taken_for_five(tmp_path):
    (tmp_path / "train.jsonl").write_text('{"text": "x", "label": 1, "label_text": "positive"}\n')
    with pytest.raises(LabError, match=r"no file is recognised; train\.jsonl: not recognised; its columns are 'text'"):
        import_folder(tmp_path, tmp_path / "to")


@pytest.mark.parametrize(("name", "content", "message"), [
    ("train.csv", "a,b\n1,2\n", r"no file is recognised; train\.csv: not recognised; its columns are 'a', 'b'"),
    ("train.csv", "<html>", r"train\.csv: a web page in place of the file; open its address"),
    ("train.jsonl", "version https://git-lfs.github.com/spec/v1\n", r"train\.jsonl: a Git LFS pointer in place of the"),
    ("train.csv.gz", "\x1f\x8b\x08", r"train\.csv\.gz: compressed by gzip; unpack it with gunzip"),
    ("Sheet.XLSX", "PK\x03\x04", r"Sheet\.XLSX: a zip archive or an \.xlsx workbook; unpack it, or save its"),
    ("train.csv", "\xff\xfei\0d\0", r"train\.csv: UTF-16; UTF-8 is expected: iconv -f utf-16 -t utf-8"),
    ("train.csv", "# mine\nid,sentence,sentiment\n", r"its columns are '# mine'; a first line with these is needed, "
     r"separated by tabs, commas or semicolons: SST: id, sentence, sentiment; QQP: id, sentence1, sentence2, is_dup"),
    ("train.csv.zip", "PK", r"train\.csv\.zip: an archive; unpack it first"),
    ("train.csv", "id,sentence,sentiment\n1,caf\xe9,2\n", r"train\.csv: not UTF-8 text; convert it, as with iconv"),
    ("sst.csv", "id,sentence,sentiment\n1,fine,2\n", r"sst\.csv: its name says none of train, dev and test"),
    ("dev_test.csv", "id,sentence,sentiment\n1,fine,2\n", r"dev_test\.csv: its name says dev and test of train"),
    ("dev.csv", "id,sentence,sentiment\n1,fine,2\n2,fine,7\n", r"dev\.csv: 1 of 2 rows cannot be used.*line 3: "
                                                                 r"sentiment '7' is not a whole number from 0 to 4"),
    ("dev.csv", "id,sentence,sentiment\n1,\"" + "x" * 140000, r"dev\.csv: not readable as CSV near line 2 \(field la"),
    ("sts-dev.csv.txt", "id", r"; sts-dev\.csv\.txt: its name ends in \.csv\.txt: rename it to sts-dev\.csv$"),
    ("dev.TSV.TXT", "id", r"; dev\.TSV\.TXT: its name ends in \.TSV\.TXT: rename it to dev\.TSV$"),
    ("dev.csv", "", r"dev\.csv: cannot be read \(No such file or directory\)"),  # a link to nothing
    ("x.md", "", r"neither it nor a folder in it holds a \.csv, \.tsv, \.jsonl or \.parquet, and it looks no deeper; "
     r"found instead: x\.md$"),
    ("dev.csv", " \n", r"dev\.csv: an empty file; columns and rows are expected"),
    ("dev.jsonl", " \n", r"dev\.jsonl: an empty file; columns and rows are expected"),
    ("dev.csv", "i\0d\0,\0\n\0", r"dev\.csv: a NUL byte; .*if it is UTF-16: iconv -f utf-16 -t utf-8"),
    ("dev.csv", "PAR1\x15", r"dev\.csv: a Parquet file; give it a name such as train\.parquet"),
    ("dev.parquet", "PAR1\x15", r"dev\.parquet: cannot be read as Parquet \(.*\); fetch the file again"),
    ("sts-dev.csv", "id,sentence1,sentence2,similarity,similarity\n1,a,b,2,3\n", r"column 'similarity' twice;"),
    ("train.csv", "id,question1,question2,is_duplicate\n1,a,b,1\n", r"train\.csv: its 1 rows are too few to be parted"),
    ("train.jsonl", '{"text": 1' + "1" * 5000 + "}", r"train\.jsonl: line 1 is not JSON \(a number of thousands of d"),
    ("dev.jsonl", '{"text": "\\ud83d", "label": 1, "label_text": "very negative"}', r": sentence has a lone surrogate"),
    ("dev.csv", "id,sentence,sentiment\n", r"dev\.csv: no rows; one row per line is expected below the header"),
    ("dev.jsonl", '{"text": "a", "label": 1, "label_text": "negative"}\n{"text": \n', r"dev\.jsonl: line 2 is not JSON "
     r"\(Expecting value, column 9\); one object in each line is expected"),
    ("dev.csv", "id,sentence,sentiment\n1,\"fi\"ne\n", r"dev\.csv: 1 of 1 rows cannot be used.*line 2: a quote that"),
    ("dev.csv", "id,sentence,sentiment\n1,it\x92s,2\n", r"dev\.csv: not UTF-8 text; .* iconv -f cp1252"),
    ("train.jsonl", '{"question1": "a", "question2": "b", "label": 1}\n{"question1": "a', r"train\.jsonl: line 2 is "
     r"not JSON \(Unterminated string"),
    ("train.jsonl", '{"question1": ["a"], "question2": "b", "label": 1}', r"line 1: sentence1 is a list, not a text"),
    ("train.jsonl", '{"text1": "a", "text2": "b", "score": 1}', r"in Parquet and JSONL these are known, .*: SST: text, "
     r"label; QQP: question1, question2, label; STS: sentence1, sentence2, label; STS: sentence1, sentence2, score$"),
    ("train.jsonl", "[" * 100_000, r"train\.jsonl: line 1 is not JSON \(nested too deeply\)"),
])
def test_what_cannot_be_taken_is_said_in_one_line_and_nothing_is_written(name, content, message, tmp_path):
    if content:
        (tmp_path / name).write_bytes(content.encode("latin1"))
    else:
        (tmp_path / name).symlink_to(tmp_path / "nowhere")
    with pytest.raises(LabError, match=message) as error:
        import_folder(tmp_path, tmp_path / "to")
    assert "\n" not in str(error.value) and not list((tmp_path / "to").glob("*"))


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    put(tmp_path / "from" / "ids-sst-dev.csv", ["id", "sentence", "sentiment"], [[1, "Fine.", 2]])
    closed = tmp_path / "from" / "QQP"
    closed.mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: path != closed)  # for root, every folder is open
    assert "QQP: a folder that you may not read; not taken" in imported(tmp_path / "from", tmp_path / "to")
    with pytest.raises(LabError, match=r"^[^\n]*/QQP: you may not read this folder; get the permission, or"):
        import_folder(closed, tmp_path / "to")


def test_two_files_of_one_name_and_files_that_exist(tmp_path):
    put(tmp_path / "from" / "quora-train.csv", QUORA, quora(50), ",")
    put(tmp_path / "from" / "QQP" / "train.tsv", QUORA, quora(50))
    with pytest.raises(LabError, match=r"QQP/train\.tsv and quora-train\.csv would both become quora-train\.csv"):
        import_folder(tmp_path / "from", tmp_path / "to")
    (tmp_path / "from" / "quora-train.csv").unlink()
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "quora-dev.csv").write_text("mine")
    with pytest.raises(LabError, match=r"has quora-dev\.csv already, and nothing is overwritten"):
        import_folder(tmp_path / "from", tmp_path / "to")
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["quora-dev.csv"]
    with pytest.raises(LabError, match=r"to/quora-dev\.csv: no files can be written there \(there is a file of that "
                                       r"name\); name another folder with --to DIR"):
        import_folder(tmp_path / "from", tmp_path / "to" / "quora-dev.csv")
    with pytest.raises(LabError, match=r"no files can be written there \(.+\); name another folder with --to DIR"):
        import_folder(tmp_path / "from", tmp_path / "to" / "quora-dev.csv" / "below")
    with pytest.raises(LabError, match=r"no such folder$"):
        import_folder(tmp_path / "none", tmp_path / "to")
