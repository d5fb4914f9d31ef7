"""Download the three data sets from their public hub into the course's layout, and check them later.

Nothing but public files is asked for, so no token is sent. A file arrives in the folder `.download` beside its place,
is held against the hash that the hub lists, and is moved when all of them are whole. After an interruption the same
command goes on where it stopped. `sources.json` keeps the revisions and the hashes of the first download.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from lab.data import SPLITS, file_name
from lab.datasets.files import (
    Row,
    check_share,
    make_folder,
    move_in,
    named,
    read_objects,
    refuse_existing,
    sha256_of,
    target_folder,
    write_rows,
)
from lab.errors import LabError

RECORD = "sources.json"
TEMPORARY = ".download"
TIMEOUT = 10  # seconds, for the list of files; huggingface_hub has the same for the files themselves
AGAIN = "what has arrived is kept, and the same command goes on from there"
BY_HAND = "get the files yourself and bring them in with `lab data import DIR`"


class Source(NamedTuple):
    """Where a task's data set is on the hub, and what a user must know of it before the first byte."""

    repository: str
    config: str  # the folder within the repository, "" if there is none
    texts: tuple[str, ...]  # columns
    label: str
    splits: tuple[str, ...]  # GLUE hides the labels of its test splits, and rows without labels are of no use here
    terms: str
    differs: str


SOURCES = {
    "sst": Source(
        "SetFit/sst5", "", ("text",), "label", SPLITS,
        "no licence is stated (Socher et al. 2013, built on Pang and Lee 2005); research use, with citation, is usual",
        "8,544 / 1,101 / 2,210 sentences, as the course's"),
    "qqp": Source(
        "nyu-mll/glue", "qqp", ("question1", "question2"), "label", SPLITS[:2],
        "offered by Quora for non-commercial use under its terms of service; do not use it commercially",
        "GLUE's, 363,846 / 40,430 pairs. The course has its own of the same release (141,506 / 20,215 / 40,431 pairs, "
        "in later years 283,003 / 40,429 / 80,859), so scores cannot be compared with the paper's, and pairs of the "
        "course's dev and test files may be in this train file. GLUE hides its test labels (all are -1): no test file"),
    "sts": Source(
        "nyu-mll/glue", "stsb", ("sentence1", "sentence2"), "label", SPLITS[:2],
        "scores CC BY-SA 4.0; each text keeps the licence of its own source",
        "the benchmark's, 5,749 / 1,500 pairs. The course splits its 8,628 pairs anew into 6,040 / 863 / 1,725, so "
        "scores cannot be compared with the paper's, and pairs of the course's dev and test files may be in this train "
        "file. GLUE hides the labels of the other 1,379 (all are -1): no test file"),
}


class Listed(NamedTuple):
    """A file as the hub lists it: LFS files by sha256, small ones by git's hash."""

    name: str
    size: int
    sha256: str | None
    git_hash: str | None


def download(to: str | Path | None = None, endpoint: str | None = None, say: Callable[[str], None] = print) -> None:
    """Fetch the sets into the folder `to` (default: LAB_DATA, else data/), or check the ones fetched there before.

    Terms and splits are said before anything is asked for. LabError: files of these names exist that were not
    downloaded, a downloaded file has changed, the hub fails, or a file has another layout than expected.
    """
    folder = target_folder(to)
    record = _read_record(folder / RECORD)
    names = [file_name(task, split) for task, source in SOURCES.items() for split in source.splits]
    refuse_existing(folder, [name for name in names if name not in record["files"]])
    there = [name for name in names if os.path.lexists(folder / name)]
    changed = [name for name in there if sha256_of(folder / name) != record["files"][name]]
    if changed:
        raise LabError(f"{folder}: {', '.join(changed)} changed since the download (sha256 in {RECORD}); move what "
                       "changed away, and `lab data download` fetches it again")
    if there == names:
        revisions = {f"{kept['repository']} at {kept['revision'][:12]}": None for kept in record["sets"].values()}
        return say(f"{folder}: {len(names)} files are as they were downloaded ({', '.join(revisions)})")
    tasks = [task for task in SOURCES if not {file_name(task, split) for split in SOURCES[task].splits} <= set(there)]
    for line in notice(tasks):
        say(line)
    temporary = folder / TEMPORARY
    make_folder(temporary)
    listings = {task: _listing(task, record["sets"].get(task), endpoint) for task in tasks}
    for task, (revision, listed) in listings.items():
        source, kept = SOURCES[task], record["sets"].get(task)
        hashes = dict(kept["files"]) if kept else {}
        for split, files in listed.items():
            path = temporary / file_name(task, split)
            if path.name in there:
                continue
            parts = [_fetch(source, file, revision, temporary, endpoint) for file in files]
            found = {file.name: sha256_of(part) for file, part in zip(files, parts, strict=True)}
            if any(hashes.get(name, sha256) != sha256 for name, sha256 in found.items()):
                raise LabError(f"{source.repository} at {revision[:12]} has other files than at the first download "
                               f"(sha256 in {folder / RECORD}); nothing was written. {BY_HAND}")
            hashes |= found
            path.unlink(missing_ok=True)
            rows = chain.from_iterable(_rows(source, *pair) for pair in zip(files, parts, strict=True))
            count, problems = write_rows(path, task, (row._replace(id=f"{split}-{i}") for i, row in enumerate(rows)))
            check_share(f"{source.repository} {files[0].name}", count, problems)
            say(f"{path.name}: {count:,} rows{named(problems)}")
            record["files"][path.name] = sha256_of(path)
        record["sets"][task] = {"repository": source.repository, "revision": revision, "files": hashes}
    (temporary / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary / RECORD, folder / RECORD)  # first, so that an interruption from here on can be resumed
    move_in(temporary, folder, [name for name in names if name not in there])
    shutil.rmtree(temporary)
    say(f"{folder}: {len(names)} files; their revisions and hashes are in {RECORD}")


def notice(tasks: list[str]) -> list[str]:
    """Terms and splits of the sets, one line each."""
    return [f"{task}: {SOURCES[task].repository} {SOURCES[task].config}".rstrip()
            + f". Terms: {SOURCES[task].terms}. Splits: {SOURCES[task].differs}." for task in tasks]


def _read_record(path: Path) -> dict[str, dict]:
    if not path.exists():
        return {"sets": {}, "files": {}}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {"sets": {task: {key: kept[key] for key in ("repository", "revision", "files")}
                         for task, kept in record["sets"].items()}, "files": dict(record["files"])}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise LabError(f"{path} is damaged: the files beside it cannot be checked; move it and them away, then "
                       "`lab data download` fetches them again") from None


def _listing(task: str, kept: dict | None, endpoint: str | None) -> tuple[str, dict[str, list[Listed]]]:
    """The revision, which is the recorded one if there is one, and the files of each split. LabError: one has none."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError

    source = SOURCES[task]
    what = f"{source.repository}{' at ' + kept['revision'][:12] if kept else ''}"
    try:
        info = HfApi(endpoint=endpoint, token=False).dataset_info(
            source.repository, revision=kept and kept["revision"], files_metadata=True, timeout=TIMEOUT)
    except (OSError, ValueError, TypeError, HTTPError) as error:
        raise _failure(what, error) from None
    splits = {}
    for split in source.splits:
        pattern = re.compile((f"{source.config}/" if source.config else "") +
                             rf"{'(dev|validation)' if split == 'dev' else split}(-\d+-of-\d+)?\.(parquet|jsonl)")
        found = sorted((file for file in info.siblings or () if pattern.fullmatch(file.rfilename)),
                       key=lambda file: file.rfilename)
        if not found:
            names = ", ".join(file.rfilename for file in (info.siblings or ())[:8])
            raise LabError(f"{what} has another layout than expected: no .parquet or .jsonl file of {source.config} "
                           f"{split}; found {names}; {BY_HAND}".replace("  ", " "))
        if not all(file.size and (file.lfs or file.blob_id) for file in found):
            raise LabError(f"{what}: the hub lists no size or no hash of {found[0].rfilename}; {BY_HAND}")
        splits[split] = [Listed(f.rfilename, f.size, f.lfs and f.lfs.sha256, f.blob_id) for f in found]
    return info.sha, splits


def _fetch(source: Source, file: Listed, revision: str, folder: Path, endpoint: str | None) -> Path:
    """One whole file, begun or continued, whose hash is the one that the hub lists."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.errors import HTTPError
    from huggingface_hub.file_download import http_get

    what = f"{source.repository} {file.name}"
    part = folder / f"{file.sha256 or file.git_hash}.part"
    if part.exists() and part.stat().st_size > file.size:
        part.unlink()
    try:
        with open(part, "ab") as stream:
            url = hf_hub_url(source.repository, file.name, repo_type="dataset", revision=revision, endpoint=endpoint)
            http_get(url, stream, resume_size=stream.tell(), expected_size=file.size, displayed_filename=file.name,
                     headers={"Accept-Encoding": "identity"})
    except (OSError, ValueError, HTTPError) as error:
        raise _failure(what, error) from None
    content = part.read_bytes()
    if file.sha256:
        expected, found = file.sha256, hashlib.sha256(content).hexdigest()
    else:
        expected, found = file.git_hash, hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    if found != expected:
        part.unlink()
        raise LabError(f"{what} arrived damaged (the hub lists hash {str(expected)[:12]}, it has {found[:12]}) and was "
                       "deleted; run `lab data download` again")
    return part


def _failure(what: str, error: Exception) -> LabError:
    """One line that says what happened and what to do."""
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 404 or isinstance(error, (EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError)):
        return LabError(f"the hub has no {what} (any more); {BY_HAND}")
    if status == 429:
        return LabError(f"{what}: the hub refuses more requests for now (429); wait some minutes: {AGAIN}")
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return LabError(f"{what} could not be fetched ({reason}); when that is mended, run it again: {AGAIN}")


def _rows(source: Source, file: Listed, path: Path) -> Iterator[Row]:
    """The rows of a .parquet or .jsonl file, without ids. LabError, by column: another layout than expected."""
    needed = (*source.texts, source.label)
    try:
        found = [row for _, row in read_objects(path, file.name)]
    except (ValueError, OSError) as error:
        raise LabError(f"{source.repository} {file.name} cannot be read ({str(error).partition(chr(10))[0]}); {BY_HAND}"
                       ) from None
    columns = list(found[0]) if found else []
    missing = [name for name in needed if name not in columns]
    if missing:
        raise LabError(f"{source.repository} {file.name} has another layout than expected: no column "
                       f"{', '.join(map(repr, missing))}; found {', '.join(map(repr, columns))}; {BY_HAND}")
    for number, (*texts, label) in enumerate([row.get(name) for name in needed] for row in found):
        yield Row(f"row {number}", "", tuple(texts), label)
