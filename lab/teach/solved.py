"""Which exercises a learner has solved, in all notebooks and after a restart.

Each exercise that is solved for the first time adds a line to progress.jsonl in the run store (LAB_RUNS, by default
runs/), so two notebooks can write at once and nothing is ever replaced.
"""

import json
from datetime import UTC, datetime
from pathlib import Path

from lab.runs.stores import runs_root
from lab.teach.hints import HELP
from lab.teach.source import Text

FILE = "progress.jsonl"


def solved_exercises() -> dict[str, str]:
    """{exercise: when it was first solved, as "2026-11-28 20:05" in UTC}. Lines that cannot be read are left out."""
    found: dict[str, str] = {}
    try:
        lines = _file().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError):
        return found
    for line in lines:
        try:
            row = json.loads(line)
            if row["exercise"] in HELP:
                found.setdefault(row["exercise"], str(row["solved"]))
        except (ValueError, KeyError, TypeError):  # as half a line after a power cut
            continue
    return found


def keep(name: str) -> str:
    """Note that an exercise is solved, and say how many are. Where nothing can be written, it says that."""
    done = solved_exercises()
    if name not in done:
        row = {"exercise": name, "solved": f"{datetime.now(UTC):%Y-%m-%d %H:%M}"}
        try:
            _file().parent.mkdir(parents=True, exist_ok=True)
            with open(_file(), "a", encoding="utf-8") as file:
                file.write("\n" * _half_a_line(file.name) + json.dumps(row) + "\n")
        except OSError as error:
            return f"Solved, but it cannot be noted in {_file()}: {error.strerror}."
    return f"Solved: {len(done | {name: ''})} of {len(HELP)} exercises (teach.progress() lists them)."


def progress() -> Text:
    """All exercises in the order of the notebooks: which are solved, and how hard and how long the others are."""
    done = solved_exercises()
    lines = [f"{len(done)} of {len(HELP)} exercises solved"]
    for name, of in HELP.items():
        state = f"solved {done[name]}" if name in done else f"{of.level}, about {of.minutes} minutes"
        lines.append(f"{'✓' if name in done else '·'} {of.notebook}  {name:<16} {state}")
    return Text("\n".join(lines))


def _file() -> Path:
    return runs_root() / FILE


def _half_a_line(path: str) -> bool:
    """Whether a file ends within a line, as after a power cut."""
    content = Path(path).read_bytes()
    return bool(content) and not content.endswith(b"\n")
