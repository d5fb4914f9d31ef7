"""Bring a folder into the course's layout: the course's own, Kaggle's Quora file, GLUE's folders, SetFit's SST-5, and
QQP and STS-B as their public hub has them (`lab.datasets.layouts`)."""

import csv
import hashlib
import io
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from lab.data import NAMED, NEEDED, file_name, read_split
from lab.datasets.check import remarks
from lab.datasets.files import (
    Row,
    check_share,
    label_fault,
    make_folder,
    move_in,
    named,
    read_objects,
    refuse_existing,
    target_folder,
    write_rows,
)
from lab.datasets.layouts import COURSE, HUB, SEPARATORS, Found, recognise
from lab.datasets.tsv import conversion, normal, plain_names
from lab.errors import LabError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet", ".zip", ".xlsx", ".gz", ".csv.txt", ".tsv.txt", ".jsonl.txt")
UNCLOSED = 'a quote that is not closed, or that stands within quotes and is not doubled ("" is expected, not \\")'
MAX_LINES = 10  # of one row in a file with quotes; Quora has questions of two and three lines
DEV_SHARE = 10  # of Quora's own file, one question pair in ten, by a hash of its id


def import_folder(folder: str | Path, to: str | Path | None = None, say: Callable[[str], None] = print) -> None:
    """Write what is recognised in `folder` and its subfolders into `to` (default: LAB_DATA, else data/).

    LabError: nothing is recognised, two files would become the same, a file of that name exists, or more than 1 % of
    the rows of a file cannot be used. Nothing is written then.
    """
    source, target = Path(os.path.expanduser(folder)), target_folder(to)
    if not source.is_dir():
        raise LabError(f"{source}: {'a file, not a folder' if source.exists() else 'no such folder'}")
    if not os.access(source, os.R_OK | os.X_OK):
        raise LabError(f"{source}: you may not read this folder; get the permission, or name another")
    found, unknown = [], [f"{path.name}: a folder that you may not read" for path in sorted(source.glob("*"))
                          if os.path.isdir(path) and not os.access(path, os.R_OK | os.X_OK)]
    others = []
    for path in sorted(path for pattern in ("*", "*/*") for path in source.glob(pattern)):
        if os.path.isdir(path) or path.name.startswith("."):
            continue
        if not path.name.lower().endswith(SUFFIXES):
            others.append(str(path.relative_to(source)))
        else:
            try:
                found.append(recognise(path))
            except ValueError as reason:
                unknown.append(f"{path.relative_to(source)}: {reason}")
            except OSError as error:
                unknown.append(f"{path.relative_to(source)}: cannot be read ({error.strerror})")
    if not found:
        none = "neither it nor a folder in it holds a .csv, .tsv, .jsonl or .parquet, and it looks no deeper"
        none += f"; found instead: {', '.join(others[:NAMED])}" if others else ""
        raise LabError(f"{source}: no file is recognised; {'; '.join(unknown) or none}")
    halved = [file for file in found if file.layout.name == "Quora's" and file.split == "train"
              and not any(other.name == file_name("qqp", "dev") for other in found)]
    names = [file.name for file in found] + [file_name("qqp", "dev")] * len(halved)
    for name in names:
        if names.count(name) > 1:
            both = " and ".join(str(file.path.relative_to(source)) for file in found if file.name == name)
            raise LabError(f"{source}: {both or 'two files'} would both become {name}; leave one of them in the folder")
    refuse_existing(target, names)
    make_folder(target)
    lines = []
    with tempfile.TemporaryDirectory(dir=target, prefix=".import-") as temporary:
        for file in found:
            lines += [f"{file.path.relative_to(source)}: {line}"
                      for line in _convert(file, Path(temporary), file in halved)]
        move_in(Path(temporary), target, names)
    for line in [*lines, *(f"{line}; not taken" for line in unknown)]:
        say(line)
    missing = [file_name(*key) for key in NEEDED if not os.path.lexists(target / file_name(*key))]
    also = f"; a data folder also needs {', '.join(missing)}" if missing else ""
    say(f"{target}: {len(names)} {'file' if len(names) == 1 else 'files'} written{also}")


def _convert(file: Found, folder: Path, halved: bool) -> list[str]:
    """Write a recognised file into `folder`; return a line for each file that it becomes."""
    layout = file.layout
    about = f"{layout.name} {layout.task.upper()}"
    if layout in COURSE and file.separator == "\t":
        split = read_split(file.path, layout.task, file.split)
        shutil.copyfile(file.path, folder / file.name)
        problems = [problem.partition(":")[2] for problem in split.problems]
        kept = named([f"line {problem}" for problem in problems]).replace("left out", "that cannot be used", 1)
        return [f"{about}, copied as {file.name}: {len(split.examples):,} rows{kept}", *remarks(split)]
    about += f", separated by {SEPARATORS[file.separator]}" if file.separator else ""
    rows = [*(_lines(file) if file.separator else _objects(file))]
    parts = {file.name: rows}
    if halved:
        about += "; no dev file, so by a hash of the ids one pair in ten is dev"
        parts = {file.name: [row for row in rows if not _in_dev(row)],
                 file_name("qqp", "dev"): [row for row in rows if _in_dev(row)]}
    lines = []
    for name, part in parts.items():
        if halved and rows and not part:
            raise LabError(f"{file.path}: its {len(rows):,} rows are too few to be parted into train and dev, one in "
                           "ten; put a file for dev beside it")
        count, problems = write_rows(folder / name, layout.task, part, file.labelled)
        check_share(file.path, count, problems)
        lines += [f"{name}: known as STS by its columns alone"] * (layout.label == "score" and layout in HUB)
        without = "" if file.labelled else f", without labels: it has no column {layout.label}"
        lines.append(f"{about}: {name}, {count:,} rows{without}{named(problems)}")
        split = "dev" if name == file_name(layout.task, "dev") else file.split
        lines += [f"{name}: {line}" for line in remarks(read_split(folder / name, layout.task, split))]
    return lines


def _in_dev(row: Row) -> bool:
    return int(hashlib.sha256(str(row.id).encode()).hexdigest(), 16) % DEV_SHARE == 0


def _objects(file: Found) -> Iterator[Row]:
    try:
        for number, (place, found) in enumerate(read_objects(file.path)):
            yield Row(place, f"{file.split}-{number}", tuple(found.get(name) for name in file.layout.texts),
                      found.get(file.layout.label))
    except ValueError as error:  # a file that was cut off, or is not UTF-8 to its end
        raise LabError(f"{file.path}: {error}") from None


def _lines(file: Found) -> Iterator[Row]:
    """The rows of a file with separators; only those with quotes may span lines. Files with tabs are read without
    quotes, as GLUE's, unless their header is quoted."""
    try:
        text = normal(file.path.read_bytes().decode("utf-8"))  # so that lines keep their numbers
    except UnicodeDecodeError:
        raise LabError(f"{file.path}: not UTF-8 text; convert it, as with {conversion(file.path.read_bytes())}"
                       ) from None
    if file.separator == "\t" and not text.lstrip().startswith('"'):
        table = ((number, line.rstrip("\r").split("\t")) for number, line in enumerate(text.split("\n"), start=1))
    else:
        table = _quoted(file, list(io.StringIO(text, newline="")))
    header: list[str] | None = None
    for number, fields in table:
        if isinstance(fields, list) and not any(map(str.strip, fields)):
            continue
        if header is None and isinstance(fields, str):
            raise LabError(f"{file.path}: line {number}: {fields}")
        if header is None:
            header = plain_names(fields)
            continue
        place = f"line {number}"
        if isinstance(fields, str):
            yield Row(place, "", (), "", fields)
        elif len(fields) != len(header):
            yield Row(place, "", (), "", f"{len(fields)} fields, but the header has {len(header)}")
        else:
            yield _row(file, place, dict(zip(header, fields, strict=True)))


def _row(file: Found, place: str, row: dict[str, str]) -> Row:
    layout, label = file.layout, row.get(file.layout.label, "").strip()
    label = label.replace(",", ".") if file.separator == ";" else label  # 2,5 of a German spreadsheet
    return Row(place, row[layout.id], tuple(row[name] for name in layout.texts), label)


def _quoted(file: Found, lines: list[str]) -> Iterator[tuple[int, list[str] | str]]:
    """(line number, fields) of each row of a file with CSV quotes; a text in place of fields says why it has none.

    A quote that is not closed costs its own line alone: a row of many lines, or with a whole row among them, is none.
    """
    number, header = 0, []
    while number < len(lines):
        fields, taken = _record(file, lines, number)
        if taken > 1 and header and (taken > MAX_LINES or len(fields) != len(header) or any(
                _whole(file, header, lines, further) for further in range(number + 1, number + taken))):
            fields, taken = UNCLOSED, 1
        yield number + 1, fields
        header = header or (plain_names(fields) if isinstance(fields, list) and any(map(str.strip, fields)) else [])
        number += taken


def _record(file: Found, lines: list[str], number: int) -> tuple[list[str] | str, int]:
    """The fields of the row that begins at this index, and how many lines it takes, at most MAX_LINES + 1; or, as a
    text, why it has none."""
    reader = csv.reader(lines[number:number + MAX_LINES + 1], delimiter=file.separator, strict=True)
    try:
        return next(reader), reader.line_num
    except csv.Error as error:
        if "limit" not in str(error):
            return UNCLOSED, 1
        raise LabError(f"{file.path}: not readable as CSV near line {number + 1} ({error}); a quote there is probably "
                       "not closed") from None


def _whole(file: Found, header: list[str], lines: list[str], number: int) -> bool:
    """Whether a line looks like a whole row: as many fields as the header, quotes in pairs, an id, a valid label."""
    if lines[number].count('"') % 2:
        return False
    fields, taken = _record(file, lines, number)
    if isinstance(fields, str) or taken > 1 or len(fields) != len(header):
        return False
    row = _row(file, "", dict(zip(header, fields, strict=True)))
    return bool(re.fullmatch(r"\S+", row.id)) and not (file.labelled and label_fault(row.label, file.layout.task))
