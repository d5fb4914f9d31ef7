"""Write rows in the course's layout (`lab.data.FORMATS`), each of them checked, without overwriting anything."""

import csv
import hashlib
import json
import math
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from lab.data import FORMATS, MAX_UNUSABLE, NAMED, Format, checkout
from lab.datasets.tsv import visible
from lab.errors import LabError


class Row(NamedTuple):
    """One row as another layout has it; `fault` says why it could not be read at all."""

    place: str  # such as "line 12", for messages
    id: object
    texts: tuple[object, ...]
    label: object
    fault: str = ""


def target_folder(to: str | Path | None) -> Path:
    """The folder that files are written to: `to`, else LAB_DATA, else the checkout's data/."""
    own = checkout() / "data"
    named = to or os.environ.get("LAB_DATA")
    if not named and not own.is_dir():
        raise LabError("this lab is installed without its data/ folder; say where the files go with --to DIR")
    return Path(os.path.expanduser(named or own)).absolute()


def make_folder(folder: Path) -> None:
    """Create a folder that files are written to. LabError: it is a file, or cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.rmdir(tempfile.mkdtemp(dir=folder))
    except OSError as error:
        reason = "there is a file of that name" if isinstance(error, FileExistsError) else error.strerror
        raise LabError(f"{folder}: no files can be written there ({reason}); name another folder with --to DIR"
                       ) from None


def refuse_existing(folder: Path, names: Iterable[str]) -> None:
    """LabError: the folder has one of these files already."""
    there = [name for name in names if os.path.lexists(folder / name)]
    if there:
        raise LabError(f"{folder} has {', '.join(there)} already, and nothing is overwritten; move what is there away, "
                       "or name another folder with --to DIR")


def move_in(temporary: Path, folder: Path, names: Iterable[str]) -> None:
    """Move whole files from a temporary folder inside `folder` to their places."""
    refuse_existing(folder, names)
    for name in names:
        os.rename(temporary / name, folder / name)


def sha256_of(path: Path) -> str:
    """The sha256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_jsonl(path: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield (place, object) for each line of JSON. ValueError: a line is not a JSON object in UTF-8."""
    with open(path, encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                try:
                    found = json.loads(line.rstrip())
                except (ValueError, RecursionError) as error:
                    reason = "nested too deeply"
                    if isinstance(error, ValueError):
                        reason = "a number of thousands of digits"
                    if isinstance(error, json.JSONDecodeError):
                        reason = f"{error.msg}, column {error.colno}"
                    raise ValueError(f"line {number} is not JSON ({reason}); one object in each line is expected"
                                     ) from None
                if not isinstance(found, dict):
                    raise ValueError(f"line {number} is not a JSON object")
                yield f"line {number}", found


def read_objects(path: Path, name: str = "") -> Iterator[tuple[str, dict[str, object]]]:
    """Yield (place, object) for each row of a .parquet or .jsonl file. ValueError: it is none, or damaged.

    name: the file's own name, where its path has another, as in a cache.
    """
    return (read_parquet if (name or path.name).lower().endswith(".parquet") else read_jsonl)(path)


def read_parquet(path: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield (place, object) for each row of a Parquet file. ValueError: it is none, or damaged."""
    from pyarrow import parquet

    try:
        rows = parquet.read_table(path).to_pylist()
    except (ValueError, OSError, OverflowError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"cannot be read as Parquet ({reason}); fetch the file again") from None
    for number, found in enumerate(rows, start=1):
        yield f"row {number}", found


def write_rows(path: Path, task: str, rows: Iterable[Row], labelled: bool = True) -> tuple[int, list[str]]:
    """Write the usable rows; return their number and a message for each of the others.

    Tabs and line ends within a text become a space, because the layout has one line for each row.
    """
    form, count, problems = FORMATS[task], 0, []
    with open(path, "x", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerow(["", "id", *form.texts, *[form.label] * labelled])
        for row in rows:
            try:
                fields = _fields(row, form, labelled)
            except ValueError as reason:
                problems.append(f"{row.place}: {reason}")
                continue
            table.writerow([count, *fields])
            count += 1
        file.flush()
        os.fsync(file.fileno())
    return count, problems


def named(problems: list[str]) -> str:
    """The number of unusable rows and the first ten of them; empty if there is none."""
    if not problems:
        return ""
    more = len(problems) - NAMED
    return f"; {len(problems):,} left out: " + "; ".join(problems[:NAMED] + [f"and {more:,} more"] * (more > 0))


def check_share(where: object, count: int, problems: list[str]) -> None:
    """LabError: no row can be used, or more than 1 % cannot, as for the course's own files."""
    if not count and not problems:
        raise LabError(f"{where}: no rows; one row per line is expected below the header")
    if not count or len(problems) > MAX_UNUSABLE * (count + len(problems)):
        raise LabError(f"{where}: {len(problems):,} of {count + len(problems):,} rows cannot be used, so the layout is "
                       f"probably another than it seems{named(problems)}")


def _fields(row: Row, form: Format, labelled: bool) -> list[str]:
    """The id, the texts and the label as they are written. ValueError: why the row cannot be used."""
    if row.fault:
        raise ValueError(row.fault)
    fields = []
    for name, value in zip(("id", *form.texts), (row.id, *row.texts), strict=True):
        value = value.decode("utf-8") if isinstance(value, bytes) else value
        if not isinstance(value, str | int | float | None) or (isinstance(value, float) and not math.isfinite(value)):
            raise ValueError(f"{name} is a {type(value).__name__}, not a text")
        fields.append(visible(re.sub(r"[\t\r\n\0]+", " ", "" if value is None else str(value))))
    for name, text in zip(("id", *form.texts), fields, strict=True):
        if not text:
            raise ValueError(f"no {name}")
        if len(text) > csv.field_size_limit():
            raise ValueError(f"{name} has {len(text):,} characters; a sentence is expected")
        if re.search("[\ud800-\udfff]", text):
            raise ValueError(f"{name} has a lone surrogate, which is half of a character")
    return [*fields, _label(row.label, form)] if labelled else fields


def label_fault(value: object, task: str) -> str:
    """Why a label cannot be used; empty if it can."""
    try:
        _label(value, FORMATS[task])
    except ValueError as reason:
        return str(reason)
    return ""


def _label(value: object, form: Format) -> str:
    """A label in plain digits: as it is written, or six decimals of a number, which may come from float32."""
    text = "" if value is None else str(value).strip()
    number = form.number(text)
    if isinstance(value, str) and re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return text
    return f"{abs(number):.6f}".rstrip("0").rstrip(".")  # abs: no -0
