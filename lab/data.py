"""Find, read and check the three data sets: SST (sentiment), QQP (paraphrase), STS (similarity).

The files have the format of the course (CS224N): tab-separated columns, a header, one row per physical line, standard
CSV quotes. The course's loader wraps its parser in try/except and drops rows silently. This module reports every
unusable row with its line number, and refuses a file that is damaged as a whole.
"""

import hashlib
import os
import re
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from lab.datasets import tsv
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
SMALL_SCALE = "no similarity is above 1, but they are read as from 0 to 5; if they are from 0 to 1, multiply them by 5"


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

    def number(self, label: str) -> float:
        """A label as a number. ValueError: it is empty or not a valid one."""
        if not label:
            raise ValueError("no label")
        try:
            value = float(label)
        except ValueError:
            value = float("nan")
        if not 0 <= value <= self.highest or (self.whole and value != int(value)):  # NaN fails the first comparison
            raise ValueError(f"{self.label} {label[:30]!r} is not {self.legal}")
        return value


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
    for inner in there:
        if not _missing(folder / inner):
            return f"; all of them are in {folder / inner}"
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
        if not os.path.lexists(files[task, "test"]):
            files[task, "test"] = folder / student_name(task)
    splits = {key: read_split(file, *key) for key, file in files.items() if key in NEEDED or os.path.lexists(file)}
    if splits["sts", "train"].small_scale:
        warnings.warn(f"{file_name('sts', 'train')}: {SMALL_SCALE}", stacklevel=2)
    return Data(folder, "sample" if _is_sample(splits) else "files", splits)


def _is_sample(splits: dict[tuple[str, str], Split]) -> bool:
    sample = checkout() / "data" / "sample"
    if _missing(sample):  # installed without a checkout: there is no sample to compare with
        return False
    return all(hashlib.sha256(tsv.read(sample / file_name(*key))).hexdigest() == splits[key].sha256 for key in NEEDED)


def read_split(path: Path, task: str, name: str) -> Split:
    """Read and check one file. Only a test file may lack labels, which are then NaN.

    It lacks them if it has no label column, or no valid label in any row, as GLUE's test files. Raises LabError, with
    line numbers, if the file cannot be read or decoded, is not separated by tabs, lacks a column, has no rows, or if
    more than 1 % of its rows are unusable.
    """
    content, form = tsv.read(path), FORMATS[task]
    columns = ("id", *form.texts, form.label)
    header, rows = tsv.table(path, content, columns)
    labelled, unlabelled = form.label in header, ""
    if name == "test" and labelled:
        rows = list(rows)
        labelled, unlabelled = _has_labels(rows, header, form)
    if name == "test" and not labelled:
        columns = columns[:-1]
    where = tsv.positions(path, header, columns)
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
            row = [tsv.visible(fields[i]) for i in where]
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
            plain = [row[0], *map(tsv.unquote, row[1:])]
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


def _has_labels(rows: list[tsv.Line], header: list[str], form: Format) -> tuple[bool, str]:
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
    """The label as a float. ValueError: it is empty, not valid, or not in plain digits."""
    value = form.number(text)
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):  # float also takes 0_1, -0.0, 1e0 and the digits of all scripts
        raise ValueError(f"{form.label} {text[:30]!r} is not in plain digits, such as 1 or 1.0")
    return value


def no_formula(text: str) -> str:
    """Escape a text for a CSV file: a leading apostrophe if a spreadsheet would take it for a formula."""
    return f"'{text}" if text[:1] in tuple("=+-@\t\r\n＝＋－＠") else text
