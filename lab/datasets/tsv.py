"""A file of tab-separated columns, one row a line, as its header and its rows; or what it is in place of that."""

import csv
import os
import re
from collections.abc import Iterator
from pathlib import Path

from lab.errors import LabError

Line = tuple[int, list[str] | str]  # its number, and its fields; or, in a text, why it has none
OTHER_LAYOUTS = ("`lab data import DIR` brings in files with commas or semicolons and those of Kaggle, GLUE and "
                 "SetFit's SST-5; give any other file this header")
SEP = re.compile(r'"?sep=(.)"?')  # a first line that tells Excel the separator
# A sign that is seen: no space, no control or format character, such as the zero-width space.
VISIBLE = re.compile(r"[^\s\x00-\x1f\x7f-\x9f\xad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]")
FOREIGN = (  # how files begin that are no text in UTF-8: what they are, and what to do
    (rb"PK\x03\x04", "a zip archive or an .xlsx workbook; unpack it, or save its sheet as CSV in UTF-8"),
    (rb"\x1f\x8b", "compressed by gzip; unpack it with gunzip"),
    (rb"\xff\xfe\0\0|\0\0\xfe\xff", "UTF-32; UTF-8 is expected: iconv -f utf-32 -t utf-8"),
    (rb"\xff\xfe|\xfe\xff", "UTF-16; UTF-8 is expected: iconv -f utf-16 -t utf-8"),
    (rb"PAR1", "a Parquet file; give it a name such as train.parquet, and bring it in with `lab data import DIR`"),
    (rb"version https://git-lfs", "a Git LFS pointer in place of the file; fetch the file itself with git lfs pull"),
    (rb"(?i)(\xef\xbb\xbf)?\s*<(!doctype|html|\?xml|head|meta|script|table)",
     "a web page in place of the file; open its address in a browser, sign in if it asks, and download the file"),
)


def read(path: Path) -> bytes:
    """The bytes of a file. LabError: it is no regular file, or cannot be read."""
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):  # a pipe would be read for ever
        raise LabError(f"{path}: a pipe or a device; a regular file is expected")
    try:
        return path.read_bytes()
    except OSError as error:
        raise LabError(f"{path}: cannot be read ({error.strerror}); a readable file is expected") from None


def table(path: Path, content: bytes, columns: tuple[str, ...]) -> tuple[list[str], Iterator[Line]]:
    """The header of a file with this content, as `plain_names`, and its rows.

    columns: those that are expected, for messages. LabError, with line numbers: it is not text in UTF-8, it is empty,
    or its header is broken or not separated by tabs.
    """
    text = _decode(path, content)
    _check_separator(path, text, columns)
    rows = _rows(text)
    line, header = next(rows, (1, []))
    if isinstance(header, str):
        raise LabError(f"{path}:{line}: {header}")
    return plain_names(header), rows


def foreign(start: bytes) -> str:
    """What a file is that begins so, and what to do, if it is a known kind that is not text in UTF-8; else empty."""
    return next((what for pattern, what in FOREIGN if re.match(pattern, start)), "")


def _decode(path: Path, content: bytes) -> str:
    """The text of a file. LabError, with the line: it is not text in UTF-8, or empty."""
    if what := foreign(content):
        raise LabError(f"{path}:1: {what}")
    nul = content.find(b"\0")
    if nul >= 0:
        line = content.count(b"\n", 0, nul) + 1
        raise LabError(f"{path}:{line}: a NUL byte; UTF-8 text is expected (if it is UTF-16: iconv -f utf-16 -t utf-8)")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise LabError(f"{path}:{line}: byte 0x{content[error.start]:02x} is not UTF-8, which is expected; "
                       f"if the whole file is in another encoding, convert it: {conversion(content)}") from None
    text = normal(text)
    if not text.strip():
        raise LabError(f"{path}:1: an empty file; a header and rows are expected")
    return text


def conversion(content: bytes) -> str:
    """The command that converts a file to UTF-8: from Windows-1252 if it has a byte, such as that of a curly quote, for
    which Latin-1 has no letter."""
    high = re.search("[\udc80-\udc9f]", content.decode("utf-8", "surrogateescape"))  # bytes that cannot be decoded
    return f"iconv -f {'cp1252' if high else 'latin1'} -t utf-8"


def normal(text: str) -> str:
    """The text of a file without byte order marks at its start, with LF where lone CRs end its lines, and with a blank
    first line where that one tells Excel the separator. No line gets another number.
    """
    text = text.lstrip("\ufeff")
    alone = re.compile("\r(?!\r*\n)")
    text = alone.sub("\n", text) if len(alone.findall(text)) > text.count("\n") else text
    first, end, rest = text.partition("\n")
    return end + rest if SEP.fullmatch(first.rstrip("\r")) else text


def visible(text: str) -> str:
    """A field without the spaces around it; empty if nothing in it is seen."""
    text = text.strip()
    return text if VISIBLE.search(text) else ""


def _check_separator(path: Path, text: str, columns: tuple[str, ...]) -> None:
    """LabError: the header is separated by commas or semicolons, or has a single column."""
    header = re.split("[\r\n]", text.strip(), maxsplit=1)[0]
    if "\t" in header:
        return
    fault = "the header has a single column"
    for separator, name in ((",", "commas"), (";", "semicolons")):
        found = next(csv.reader([header[:10_000]], delimiter=separator))  # csv refuses long fields
        if len(found) > 1:
            kaggle = {"question1", "question2"} <= set(found)
            fault = "this is Kaggle's file of Quora Question Pairs, " * kaggle + f"separated by {name}"
            break
    raise LabError(f"{path}:1: {fault}, but {', '.join(columns)} are expected, separated by tabs; {OTHER_LAYOUTS}")


def _rows(text: str) -> Iterator[Line]:
    """Yield each line that has more than tabs and spaces: a row of its own, so that a broken quote spoils no other."""
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
                fields = ('a broken quote (a field that begins with " ends with one in the same line, and each " '
                          "inside it is doubled)")
        if isinstance(fields, str) or any(map(str.strip, fields)):
            yield number, fields


def plain_names(header: list[str]) -> list[str]:
    """Columns without the spaces around them, in lower case unless another column has that name."""
    names = [column.strip() for column in header]
    return [name if name.lower() in names else name.lower() for name in names]


def positions(path: Path, header: list[str], columns: tuple[str, ...]) -> list[int]:
    """Where these columns stand in the header. LabError: one of them is not there, or twice."""
    wrong = [column for column in columns if header.count(column) != 1]
    if not wrong:
        return [header.index(column) for column in columns]
    found = ", ".join(repr(column[:40]) for column in header[:20])
    fault, remedy = f"column {wrong[0]!r} twice", ""
    if wrong[0] not in header:
        fault, remedy = f"no column {', '.join(map(repr, wrong))}", f"; {OTHER_LAYOUTS}"
    raise LabError(f"{path}:1: {fault}; found {found}; needed {', '.join(columns)}, separated by tabs{remedy}")


def unquote(text: str) -> str:
    """Remove CSV quoting that an earlier tool left in the text, but only where the text itself proves it.

    The proof is a quote at each end, and at least one quote between them, all of them doubled. A text that is merely
    a quotation stays as it is.
    """
    inner = text[1:-1]
    if text[:1] == text[-1:] == '"' and '""' in inner and '"' not in inner.replace('""', ""):
        return inner.replace('""', '"').strip()
    return text
