"""Find, read and check the three data sets: SST (sentiment), QQP (paraphrase), STS (similarity).

The files have the format of the course (CS224N): tab-separated columns, a header, one row per physical line, standard
CSV quotes. The course's loader wraps its parser in try/except and drops rows silently. This module reports every
unusable row with its line number, and refuses a file that is damaged as a whole.
"""

import csv
import hashlib
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from lab.errors import LabError

TASKS = ("sst", "qqp", "sts")
TASK_NAMES = {"sst": "SST", "qqp": "QQP", "sts": "STS", "all": "overall"}  # for display; "all" is the three together
METRICS = {"sst": "accuracy", "qqp": "accuracy", "sts": "pearson"}  # the metric that scores each task
SCORES = METRICS | {"all": "overall"}  # with the paper's overall score, see `lab.overall_score`
CLASS_NAMES = {"sst": ("negative", "somewhat negative", "neutral", "somewhat positive", "positive"),
               "qqp": ("not a paraphrase", "paraphrase")}  # by label; STS has scores instead of classes
SPLITS = ("train", "dev", "test")
# The splits that appear in a run's records, for display.
SPLIT_NAMES = {"train": "train", "dev": "dev", "dev_full": "dev at the end",
               "test": "test", "batch": "training batches", "sampled": "sampled batches", "held_out": "held out"}
NEEDED = tuple((task, split) for task in TASKS for split in ("train", "dev"))  # test files are optional
MAX_UNUSABLE = 0.01  # a file with a larger share of unusable rows is refused
NAMED = 10  # unusable rows that the error names
OTHER_LAYOUTS = ("`lab data import DIR` brings in files with commas or semicolons and those of Kaggle, GLUE and "
                 "SetFit; give any other file this header")
SMALL_SCALE = "no similarity is above 1, but they are read as from 0 to 5; if they are from 0 to 1, multiply them by 5"

FOREIGN = (  # how files begin that are no text in UTF-8: what they are, and what to do
    (rb"PK\x03\x04", "a zip archive or an .xlsx workbook; unpack it, or save its sheet as CSV in UTF-8"),
    (rb"\x1f\x8b", "compressed by gzip; unpack it with gunzip"),
    (rb"\xff\xfe|\xfe\xff", "UTF-16; UTF-8 is expected: iconv -f utf-16 -t utf-8"),
    (rb"version https://git-lfs", "a Git LFS pointer in place of the file; fetch the file itself with git lfs pull"),
    (rb"(?i)(\xef\xbb\xbf)?\s*<(!doctype|html|\?xml|head|script)",
     "a web page in place of the file; open its address in a browser, sign in if it asks, and download the file"),
)


class Format(NamedTuple):
    """The files of one task, `{stem}-{split}.csv`, and their columns besides `id`.

    The columns may be in any order; others are ignored.
    """

    stem: str
    texts: tuple[str, ...]
    label: str
    highest: int  # labels range from 0 to this value
    whole: bool  # whole numbers; not for STS, where the course's cast to int changes 69 % of the scores
    legal: str  # the valid labels, in words for the error message


FORMATS = {
    "sst": Format("ids-sst", ("sentence",), "sentiment", 4, True, "a whole number from 0 to 4"),
    "qqp": Format("quora", ("sentence1", "sentence2"), "is_duplicate", 1, True, "0 or 1"),
    "sts": Format("sts", ("sentence1", "sentence2"), "similarity", 5, False, "a number from 0 to 5"),
}


class Example(NamedTuple):
    """One usable row: one text for SST, two for QQP and STS. The label is NaN if the file has no labels."""

    id: str
    texts: tuple[str, ...]
    label: float


@dataclass(frozen=True)
class Split:
    """One file as it was read: its usable rows, and a message for every other row."""

    task: str
    name: str  # train, dev or test
    path: Path
    sha256: str  # of the file's bytes
    examples: list[Example]
    problems: tuple[str, ...]  # such as "quora-dev.csv:123: no label"
    labelled: bool  # False for a test file without a label column, or without a valid label in it
    unquoted: int  # number of examples from which left-over CSV quotes were removed
    unlabelled: str = ""  # why a test file with a label column has no labels

    def describe(self) -> str:
        """One line: number of rows, labels, longest text, unusable rows, rows with left-over quotes removed."""
        labels = [example.label for example in self.examples]
        if not self.labelled:
            spread = f"no labels ({self.unlabelled})" if self.unlabelled else "no labels"
        elif FORMATS[self.task].whole:
            spread = "labels " + ", ".join(f"{label:.0f}: {n:,}" for label, n in sorted(Counter(labels).items()))
        else:
            spread = f"mean {sum(labels) / len(labels):.4f}, from {min(labels):g} to {max(labels):g}"
        longest = max(len(text.split()) for example in self.examples for text in example.texts)
        quotes = f"; left-over quotes removed in {self.unquoted:,}" if self.unquoted else ""
        return (f"{self.task} {self.name}: {len(labels):,} rows; {spread}; longest text {longest} words; "
                f"{len(self.problems):,} rows left out{quotes}")

    @property
    def small_scale(self) -> bool:
        """Whether these are similarities that may be from 0 to 1 (`SMALL_SCALE`)."""
        return self.task == "sts" and self.labelled and max(example.label for example in self.examples) <= 1


@dataclass(frozen=True)
class Data:
    """All splits of one folder.

    `kind` is "sample" if the six train and dev files equal those of the bundled sample, wherever the folder is.
    """

    folder: Path
    kind: Literal["sample", "files"]
    splits: dict[tuple[str, str], Split]  # by (task, split), for example ("sst", "train")

    @property
    def fingerprint(self) -> str:
        """12 hex digits that identify the contents of the six train and dev files; test files do not count."""
        return hashlib.sha256("".join(self.splits[key].sha256 for key in NEEDED).encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """The name under which tables and figures cite the data."""
        rows = ", ".join(f"{task.upper()} {len(self.splits[task, 'train'].examples)}" for task in TASKS)
        return "sample" if self.kind == "sample" else f"{rows} from {self.folder.name}"

    def describe(self) -> list[str]:
        """The folder and the fingerprint, then one line per file."""
        head = [f"folder {self.folder}", f"data {self.label} (fingerprint {self.fingerprint})"]
        return head + [split.describe() for split in self.splits.values()]

    def left_out(self) -> list[str]:
        """A line for each train and dev file with rows that cannot be used."""
        counts = {self.splits[key].path.name: len(self.splits[key].problems) for key in NEEDED}
        return [f"{count:,} {'row' if count == 1 else 'rows'} of {name} {'is' if count == 1 else 'are'} left out: "
                f"`lab data check {self.folder}` names {'it' if count == 1 else 'them'}"
                for name, count in counts.items() if count]


def file_name(task: str, split: str) -> str:
    """The name of a task's file, for example "quora-dev.csv"."""
    return f"{FORMATS[task].stem}-{split}.csv"


def student_name(task: str) -> str:
    """The name under which the course hands out a task's test file, without labels."""
    return f"{FORMATS[task].stem}-test-student.csv"


def checkout() -> Path:
    """The folder that contains the `lab` package, whatever the working directory is."""
    return Path(__file__).resolve().parents[1]


def find_data(path: str | Path | None = None) -> Path:
    """Find the folder with the six train and dev files.

    It is `path`, else the folder named by the environment variable LAB_DATA, else the checkout's data/ if it is
    complete, else the bundled sample. Raises LabError if the folder does not exist or lacks a file: the sample never
    replaces a folder that was named.
    """
    from_env = path is None and os.environ.get("LAB_DATA")
    own = checkout() / "data"
    path = path if path is not None else from_env or (own / "sample" if _missing(own) else own)
    folder = Path(os.path.expanduser(path)).absolute()
    missing = _missing(folder)
    if not missing:
        return folder
    if os.path.isdir(folder):
        fault = f"missing {', '.join(missing)}{_resembling(folder, missing)}"
    else:
        fault = "a file, not a folder" if os.path.exists(folder) else "no such folder"
    source = " (named by LAB_DATA)" if from_env else ""
    raise LabError(f"{folder}{source}: {fault}; a data folder holds {', '.join(file_name(*key) for key in NEEDED)}")


def _missing(folder: Path) -> list[str]:
    # os.path.exists, because Path.exists raises PermissionError in a folder without search permission
    return [file_name(*key) for key in NEEDED if not os.path.exists(folder / file_name(*key))]


def _resembling(folder: Path, missing: list[str]) -> str:
    """Names of files that may be the missing ones. LabError: the folder, or the way to its files, is closed."""
    try:
        there = sorted(os.listdir(folder))
    except OSError as error:
        raise LabError(f"{folder}: the folder cannot be read ({error.strerror}); get the permission, or name another"
                       ) from None
    if barred := [name for name in missing if name in there]:
        raise LabError(f"{folder}: {', '.join(barred)} cannot be reached; either the permission to enter the folder is "
                       "missing, or these are links to files that are gone")
    stems = [name.removesuffix(".csv") for name in missing]
    alike = [name for stem in stems for name in there if re.match(rf"{stem}\b", name, re.IGNORECASE)]
    return f"; {'is it' if len(alike) == 1 else 'are they'} {', '.join(alike)}?" if alike else ""


def load_data(path: str | Path | None = None) -> Data:
    """Read every split in the folder that `find_data(path)` finds. LabError: see `find_data` and `read_split`.

    A test split is `-test.csv`, else the course's `-test-student.csv`. Warns if no similarity is above 1.
    """
    folder = find_data(path)
    files = {(task, split): folder / file_name(task, split) for task in TASKS for split in SPLITS}
    for task in TASKS:
        if not os.path.exists(files[task, "test"]):
            files[task, "test"] = folder / student_name(task)
    splits = {key: read_split(file, *key) for key, file in files.items() if key in NEEDED or os.path.exists(file)}
    if splits["sts", "train"].small_scale:
        warnings.warn(f"{file_name('sts', 'train')}: {SMALL_SCALE}", stacklevel=2)
    return Data(folder, "sample" if _is_sample(splits) else "files", splits)


def _is_sample(splits: dict[tuple[str, str], Split]) -> bool:
    sample = checkout() / "data" / "sample"
    if _missing(sample):  # installed without a checkout: there is no sample to compare with
        return False
    return all(hashlib.sha256(_read(sample / file_name(*key))).hexdigest() == splits[key].sha256 for key in NEEDED)


def read_split(path: Path, task: str, name: str) -> Split:
    """Read and check one file. Only a test file may lack labels, which are then NaN.

    It lacks them if it has no label column, or no valid label in any row, as GLUE's test files. Raises LabError, with
    line numbers, if the file cannot be read or decoded, is not separated by tabs, lacks a column, has no rows, or if
    more than 1 % of its rows are unusable.
    """
    content = _read(path)
    text = _decode(path, content)
    form = FORMATS[task]
    columns = ("id", *form.texts, form.label)
    _check_separator(path, text, columns)
    rows = _rows(text)
    line, header = next(rows)
    if isinstance(header, str):
        raise LabError(f"{path}:{line}: {header}")
    header = plain_names(header)
    labelled, unlabelled = form.label in header, ""
    if name == "test" and labelled:
        rows = list(rows)
        labelled, unlabelled = _has_labels(rows, header, form)
    if name == "test" and not labelled:
        columns = columns[:-1]
    where = _positions(path, header, columns)
    examples: list[Example] = []
    problems: list[tuple[int, str]] = []
    unquoted = 0
    labels: dict[str | None, float] = {None: float("nan")}  # each spelling is checked once; None: no labels
    for line, fields in rows:
        try:
            if isinstance(fields, str):
                raise ValueError(fields)
            if len(fields) != len(header):
                raise ValueError(f"{len(fields)} fields, but the header has {len(header)}")
            row = [fields[i].strip() for i in where]
            spelling = row.pop() if labelled else None
            if spelling not in labels:
                labels[spelling] = _label(spelling, form)
            label = labels[spelling]
            if "" in row:
                raise ValueError(f"no {columns[row.index('')]}")
        except ValueError as reason:
            problems.append((line, str(reason)))
            continue
        if '""' in row[1] or '""' in row[-1]:
            plain = [row[0], *map(_unquote, row[1:])]
            unquoted += plain != row
            row = plain
        examples.append(Example(row[0], tuple(row[1:]), label))
    count = len(examples) + len(problems)
    if not count:
        raise LabError(f"{path}:1: a header but no rows; one row per line is expected below it")
    if len(problems) > MAX_UNUSABLE * count:
        raise LabError(f"{path}: {len(problems):,} of {count:,} rows are unusable, more than 1 %: {_named(problems)}")
    sha256 = hashlib.sha256(content).hexdigest()
    return Split(task, name, path, sha256, examples, tuple(f"{path.name}:{line}: {why}" for line, why in problems),
                 labelled, unquoted, unlabelled)


def _named(problems: list[tuple[int, str]]) -> str:
    """The first ten unusable rows, those with the same fault together, and how many more there are."""
    lines: dict[str, list[str]] = {}
    for line, reason in problems[:NAMED]:
        lines.setdefault(reason, []).append(str(line))
    parts = [f"line{'s'[:len(of) - 1]} {', '.join(of)}: {reason}" for reason, of in lines.items()]
    more = len(problems) - NAMED
    return "; ".join(parts + [f"and {more:,} more"] * (more > 0))


def _read(path: Path) -> bytes:
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):  # a pipe would be read for ever
        raise LabError(f"{path}: a pipe or a device; a regular file is expected")
    try:
        return path.read_bytes()
    except OSError as error:
        raise LabError(f"{path}: cannot be read ({error.strerror}); a readable file is expected") from None


def foreign(start: bytes) -> str:
    """What a file is that begins so, and what to do, if it is a known kind that is not text in UTF-8; else empty."""
    return next((what for pattern, what in FOREIGN if re.match(pattern, start)), "")


def plain_names(header: list[str]) -> list[str]:
    """Columns without the spaces around them, in lower case unless another column has that name."""
    names = [column.strip() for column in header]
    return [name if name.lower() in names else name.lower() for name in names]


def _decode(path: Path, content: bytes) -> str:
    if what := foreign(content):
        raise LabError(f"{path}:1: {what}")
    content = content.removeprefix(b"\xef\xbb\xbf")  # a BOM
    nul = content.find(b"\0")
    if nul >= 0:
        line = content.count(b"\n", 0, nul) + 1
        raise LabError(f"{path}:{line}: a NUL byte; UTF-8 text is expected (if it is UTF-16: iconv -f utf-16 -t utf-8)")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise LabError(f"{path}:{line}: byte 0x{content[error.start]:02x} is not UTF-8, which is expected; "
                       "if the file is Latin-1, convert it: iconv -f latin1 -t utf-8") from None
    if not text.strip():
        raise LabError(f"{path}:1: an empty file; a header and rows are expected")
    return text


def _check_separator(path: Path, text: str, columns: tuple[str, ...]) -> None:
    """LabError: the header is separated by commas or semicolons, or has a single column."""
    header = text.lstrip("\r\n").split("\n", 1)[0]
    if "\t" in header:
        return
    fault = "the header has a single column"
    for separator, name in ((",", "commas"), (";", "semicolons")):
        found = next(csv.reader([header], delimiter=separator))
        if len(found) > 1:
            kaggle = {"question1", "question2"} <= set(found)
            fault = "this is Kaggle's file of Quora Question Pairs, " * kaggle + f"separated by {name}"
            break
    raise LabError(f"{path}:1: {fault}, but {', '.join(columns)} are expected, separated by tabs; {OTHER_LAYOUTS}")


def _rows(text: str) -> Iterator[tuple[int, list[str] | str]]:
    """Yield (line number, fields) for each line that is not blank; a text in place of fields says why it has none.

    Each line is a row of its own, so that a quote that is not closed spoils no other row.
    """
    # Lines end with \n or \r\n, as for grep -n. str.splitlines would also split at U+2028, \x85 and \x0b.
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            fields = next(csv.reader([line], delimiter="\t", strict=True))
        except csv.Error as error:
            if "new-line" in str(error):
                fields = "a carriage return within the row; lines end with LF or CRLF"
            elif "larger" in str(error):
                fields = f"a field of more than {csv.field_size_limit():,} characters; a sentence is expected"
            else:
                fields = 'a broken quote (a field that begins with " ends with one, and each " inside it is doubled)'
        if fields:
            yield number, fields


def _positions(path: Path, header: list[str], columns: tuple[str, ...]) -> list[int]:
    wrong = [column for column in columns if header.count(column) != 1]
    if not wrong:
        return [header.index(column) for column in columns]
    found = ", ".join(repr(column[:40]) for column in header[:20])
    fault, remedy = f"column {wrong[0]!r} twice", ""
    if wrong[0] not in header:
        fault, remedy = f"no column {', '.join(map(repr, wrong))}", f"; {OTHER_LAYOUTS}"
    raise LabError(f"{path}:1: {fault}; found {found}; needed {', '.join(columns)}, separated by tabs{remedy}")


def _has_labels(rows: list[tuple[int, list[str] | str]], header: list[str], form: Format) -> tuple[bool, str]:
    """Whether any row of a test file has a valid label; if none has, the reason in words."""
    place, spelling = header.index(form.label), ""
    for _, fields in rows:
        if isinstance(fields, list) and len(fields) == len(header):
            spelling = fields[place].strip()
            try:
                _label(spelling, form)
                return True, ""
            except ValueError:
                continue
    return False, f"no row has a valid {form.label}; the last is {spelling[:30]!r}"


def _label(text: str, form: Format) -> float:
    """The label as a float. Raises ValueError if the text is empty or not a valid label of the task."""
    if not text:
        raise ValueError("no label")
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value <= form.highest or (form.whole and value != int(value)):  # NaN fails the first comparison
        raise ValueError(f"{form.label} {text[:30]!r} is not {form.legal}")
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):  # float also takes 0_1, -0.0, 1e0 and the digits of all scripts
        raise ValueError(f"{form.label} {text[:30]!r} is not in plain digits, such as 1 or 1.0")
    return value


def _unquote(text: str) -> str:
    """Remove CSV quoting that an earlier tool left in the text, but only where the text itself proves it.

    The proof is a quote at each end, and at least one quote between them, all of them doubled. A text that is merely
    a quotation stays as it is.
    """
    inner = text[1:-1]
    if text[:1] == text[-1:] == '"' and '""' in inner and '"' not in inner.replace('""', ""):
        return inner.replace('""', '"').strip()
    return text


def no_formula(text: str) -> str:
    """Escape a text for a CSV file: a leading apostrophe if a spreadsheet would take it for a formula."""
    return f"'{text}" if text[:1] in tuple("=+-@\t\r\n＝＋－＠") else text
