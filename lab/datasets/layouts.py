"""Which layout a data file has: the course's own, Kaggle's Quora file, GLUE's, SetFit's SST-5, or the public hub's.

A file is recognised by its columns, and its split by its name. Nothing is guessed from the rows, but for SetFit's
SST-5, whose columns are also those of other sets: the names of its five classes must be there.
"""

import csv
import re
from pathlib import Path
from typing import NamedTuple

from lab.data import FORMATS, TASKS, file_name, student_name
from lab.datasets.files import read_objects
from lab.datasets.tsv import SEP, conversion, foreign, plain_names

SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons"}
FIVE = {"very negative", "negative", "neutral", "positive", "very positive"}  # SetFit's label_text


class Layout(NamedTuple):
    """How one source names its columns."""

    name: str
    task: str
    id: str
    texts: tuple[str, ...]
    label: str


COURSE = tuple(Layout("the course's", task, "id", form.texts, form.label) for task, form in FORMATS.items())
OTHERS = (Layout("Quora's", "qqp", "id", ("question1", "question2"), "is_duplicate"),
          Layout("GLUE's", "sts", "index", ("sentence1", "sentence2"), "score"))
SETFIT = Layout("SetFit's", "sst", "", ("text",), "label")
HUB = (Layout("the hub's", "qqp", "", ("question1", "question2"), "label"),
       Layout("the hub's", "sts", "", ("sentence1", "sentence2"), "label"),  # MRPC has the same columns
       Layout("the hub's", "sts", "", ("sentence1", "sentence2"), "score"))
LABELS = {layout.label for layout in (*COURSE, *OTHERS, *HUB)}


class Found(NamedTuple):
    """A file that was recognised, and the file that it becomes."""

    path: Path
    layout: Layout
    separator: str  # "" for .jsonl and .parquet
    split: str
    name: str
    labelled: bool = True


def recognise(path: Path) -> Found:
    """What a file is. ValueError: it is nothing that is known, with its columns."""
    if path.exists() and not path.is_file():
        raise ValueError("a pipe or a device; a regular file is expected")
    if path.suffix.lower() == ".txt":  # which Windows adds, and hides
        raise ValueError(f"its name ends in {''.join(path.suffixes[-2:])}: rename it to {path.stem}")
    if path.suffix.lower() == ".zip":
        raise ValueError("an archive; unpack it first")
    if "cfimdb" in path.name.lower():
        raise ValueError("CFIMDB, which the lab does not use")
    separator, columns = _header(path)
    of = {"dev" if word.startswith("val") else word
          for word in re.findall(r"(?<![a-z])(train|dev|validation|valid|val|test)(?![a-z])", path.stem.lower())}
    for layout in (*COURSE, *OTHERS):
        needed = {layout.id, *layout.texts, layout.label}
        if separator and needed <= set(columns) and (twice := [name for name in needed if columns.count(name) > 1]):
            raise ValueError(f"column {min(twice)!r} twice; leave one of them in the file")
        if separator and needed <= set(columns):
            split = _split(of or {"train"} if layout.name == "Quora's" else of)
            return Found(path, layout, separator, split, file_name(layout.task, split))
    if not separator and {"text", "label", "label_text"} <= set(columns):
        classes = {str(row.get("label_text")) for _, row in read_objects(path)}
        if classes <= FIVE and classes - {"negative", "neutral", "positive"}:
            split = _split(of)
            return Found(path, SETFIT, "", split, file_name("sst", split))
    for layout in HUB if not separator else ():
        sure = layout.task == "qqp" or layout.label == "score"
        if {*layout.texts, layout.label} <= set(columns) and (
                sure or re.search("sts-?b", f"{path.parent.name} {path.stem}".lower())):
            if of == {"test"} and layout.label == "label":
                raise ValueError("a test file whose labels GLUE hides, so that the lab could not score it")
            split = _split(of)
            return Found(path, layout, "", split, file_name(layout.task, split))
    for task, layout in zip(TASKS, COURSE, strict=True):
        name, own = f"{path.stem}.csv", (student_name(task), file_name(task, "test"))
        if separator and {"id", *layout.texts} <= set(columns) and name in own:
            return Found(path, layout, separator, "test", name, labelled=False)
    if of == {"test"} and not LABELS & set(columns) and any(
            set(layout.texts) <= set(columns) for layout in (*COURSE, *OTHERS)):
        raise ValueError("a test file without labels, which the lab could not score")
    found = ", ".join(repr(column[:40]) for column in columns[:20])
    needed = "; ".join(f"{layout.task.upper()}: {', '.join(filter(None, (layout.id, *layout.texts, layout.label)))}"
                       for layout in (COURSE if separator else (SETFIT, *HUB)))
    what = "a first line with these is needed, separated by tabs, commas or semicolons" if separator else (
        "in Parquet and JSONL these are known, SST with a label_text of five classes, and STS with label where the "
        "file or its folder is named stsb")
    raise ValueError(f"not recognised; its columns are {found or 'none'}; {what}: {needed}")


def _split(words: set[str]) -> str:
    if len(words) != 1:
        said = " and ".join(sorted(words)) or "none"
        raise ValueError(f"its name says {said} of train, dev and test; one is expected")
    return next(iter(words))


def _header(path: Path) -> tuple[str, list[str]]:
    """The separator, "" for .jsonl and .parquet, and the columns. ValueError: it has none, or is not UTF-8 text."""
    with open(path, "rb") as file:
        if (what := foreign(file.read(200))) and path.suffix.lower() != ".parquet":
            raise ValueError(what)
    separator = ""
    try:
        if path.suffix.lower() in (".jsonl", ".parquet"):
            columns = list(next(read_objects(path), ("", {}))[1])
        else:
            with open(path, encoding="utf-8", newline="") as file:
                lines = (line.strip("\ufeff\r\n") for line in file)
                line = next(filter(str.strip, lines), "")
                if told := SEP.fullmatch(line):
                    line = next(filter(str.strip, lines), "")
            if "\0" in line:
                raise ValueError("a NUL byte; UTF-8 text is expected (if it is UTF-16: iconv -f utf-16 -t utf-8)")
            separator = told[1] if told and told[1] in SEPARATORS else max(SEPARATORS, key=line.count)
            columns = plain_names(next(csv.reader([line[:10_000]], delimiter=separator), []))  # csv refuses long fields
    except UnicodeDecodeError:
        raise ValueError(f"not UTF-8 text; convert it, as with {conversion(path.read_bytes())}") from None
    if not columns:
        raise ValueError("an empty file; columns and rows are expected")
    return separator, columns
