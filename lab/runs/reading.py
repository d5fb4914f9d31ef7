"""Reading JSON that may be missing, damaged, or still being written. What cannot be read is passed over."""

import contextlib
import json
import re
from pathlib import Path
from typing import Any

FLAT = re.compile(rb"(?:\{[^][{}\n]*\}\n)+")  # lines of one object each, in which nothing is nested


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where there is none, or none that can be read."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}  # a named pipe would block
    except (OSError, ValueError, RecursionError):
        return {}
    return entries if isinstance(entries, dict) else {}


def parse_rows(lines: bytes) -> list[dict[str, Any]]:
    """The JSON objects in whole lines; other lines are passed over."""
    text = lines.decode("utf-8", "replace")
    if FLAT.fullmatch(lines):  # then all lines can be read at once, which takes two thirds of the time
        with contextlib.suppress(ValueError):
            return json.loads("[" + text[:-1].replace("\n", ",") + "]")
    rows = []
    for line in text.split("\n"):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows
