"""What `lab data check` says of a folder: what was read, what looks wrong although it can be used, what cannot be."""

import os
import re
from collections import Counter

from lab.data import FORMATS, NAMED, SMALL_SCALE, TASKS, Data, Split, file_name, student_name

UNREAD = (".csv", ".tsv", ".jsonl", ".gz", ".zip")  # ends of names that a user may take for names of data files
EMPTY = {"nan", "none", "null", "n/a", "#n/a", "<na>"}  # what programs write in place of an empty text
FEW = 3  # rows with damaged letters, as the real STS has one, that are not worth a line
SHARED = 0.05  # of a file's texts that may be in another one without a line; the real STS shares 2 %
DAMAGED = re.compile("\ufffd|Ã[\x80-\xbf]|Â[\xa0-\xbf]|â€|[\x80-\x9f]")  # read as Latin-1 or Windows-1252, and was not
BYTES = re.compile(r"b(['\"]).*\1")  # as Python writes bytes


def check_report(data: Data) -> str:
    """The output of `lab data check`: the folder, one line per file, then remarks and one line per unusable row."""
    lines = data.describe()
    absent = [file_name(task, "test") for task in TASKS if (task, "test") not in data.splits]
    if absent:
        lines.append(f"no {', '.join(absent)} (optional)")
    for task in TASKS:
        if os.path.exists(data.folder / file_name(task, "test")) and os.path.exists(data.folder / student_name(task)):
            lines.append(f"{file_name(task, 'test')} is read; {student_name(task)}, which is there too, is not")
    read = {split.path.name for split in data.splits.values()} | {student_name(task) for task in TASKS}
    unread = sorted(name for name in os.listdir(data.folder) if name.lower().endswith(UNREAD) and name not in read)
    if unread:
        more = f" and {len(unread) - NAMED:,} more" * (len(unread) > NAMED)
        lines.append(f"also in the folder, and not read: {', '.join(unread[:NAMED])}{more}")
    for split in data.splits.values():
        lines += [f"{split.path.name}: {line}" for line in remarks(split) + beside_others(split, data)]
    if data.kind == "sample":
        lines.append("This is the bundled sample: no number from it says anything about the real SST, QQP or STS.")
    return "\n".join(lines + [problem for split in data.splits.values() for problem in split.problems])


def remarks(split: Split) -> list[str]:
    """What looks wrong in one file although every row can be used: ids, scale, labels, letters. A line each."""
    lines, labels = [], {example.label for example in split.examples}
    counts = Counter(example.id for example in split.examples)
    if repeated := [i for i, n in counts.items() if n > 1]:
        lines.append(f"ids in more than one row: {_first(repeated)}; predictions are paired with rows by their place "
                     "in the file")
    if mangled := [i for i in counts if re.fullmatch(r"[0-9]([.,][0-9]+)?[eE][+][0-9]+", i)]:
        lines.append(f"ids like numbers that a spreadsheet has rounded: {_first(mangled)}; take the ids from the "
                     "original file")
    if split.small_scale:
        lines.append(SMALL_SCALE)
    if split.labelled and len(labels) == 1:
        lines.append(f"every label is {min(labels):g}, so there is nothing to learn from it or to score with it")
    elif split.labelled and FORMATS[split.task].whole:
        if absent := [f"{n}" for n in range(FORMATS[split.task].highest + 1) if n not in labels]:
            lines.append(f"no row has the label {' or '.join(absent)}; a label of {split.task.upper()} is "
                         f"{FORMATS[split.task].legal}")
    words = [text for example in split.examples for text in example.texts if text.lower() in EMPTY]
    if len(words) > FEW:
        lines.append(f"{len(words):,} texts are {words[0]!r} or the like, which programs write in place of an empty "
                     "one; take the original file")
    texts = [text for example in split.examples for text in example.texts]
    as_bytes = [text for text in texts if BYTES.fullmatch(text)]
    if len(as_bytes) > len(texts) / 2:
        lines.append(f"texts are written as Python writes bytes, such as {as_bytes[0][:30]!r}: decode them, and write "
                     "the file again")
    damaged = [text for example in split.examples for text in example.texts if DAMAGED.search(text)]
    if len(damaged) > FEW:
        at = DAMAGED.search(damaged[0]).start()
        lines.append(f"letters of {len(damaged):,} texts are damaged, such as {damaged[0][max(0, at - 15):at + 15]!r}: "
                     "the file was once read in another encoding than it has; take the original")
    return lines


def _first(ids: list[str]) -> str:
    return f"{len(ids):,}, such as {', '.join(repr(i[:40]) for i in ids[:3])}"


def beside_others(split: Split, data: Data) -> list[str]:
    """Remarks on a file beside the other files of its task: dev is longer than train; more than a few texts are shared,
    in either order. A line each."""
    lines, train = [], data.splits[split.task, "train"]
    if split.name == "dev" and len(split.examples) > len(train.examples):
        lines.append(f"it has {len(split.examples):,} rows, and {train.path.name} only {len(train.examples):,}; are "
                     "the two files in each other's place?")
    for name in ("train", "dev")[:("train", "dev", "test").index(split.name)]:
        other = data.splits[split.task, name]
        theirs = {frozenset(example.texts) for example in other.examples}
        both = sum(frozenset(example.texts) in theirs for example in split.examples)
        if both > SHARED * len(split.examples):
            lines.append(f"the texts of {both:,} of {len(split.examples):,} rows "
                         f"({100 * both / len(split.examples):.0f} %) are in {other.path.name} too, so its scores say "
                         "little about new texts")
    return lines
