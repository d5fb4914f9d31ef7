"""A table of a class: which exercises each student's notebooks solve, on cases that the students have not seen.

    lab class grade FOLDER > grades.csv     # FOLDER/STUDENT/*.ipynb, or FOLDER/STUDENT_04_gradient_surgery.ipynb

A notebook is not executed. Its imports, functions and constants up to the cell of the check are, and then the function
is called: in a process for each student, with a time limit. That process may do whatever the user who starts it may do.
"""

import ast
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lab.data import no_formula
from lab.errors import LabError
from lab.teach.hints import HELP

if TYPE_CHECKING:
    import pandas as pd

SEEDS = 3  # draws of the cases; an answer must be right in all of them
SOLVED = "solved"
LONGEST = 300  # characters of the feedback in the table


class Answer(NamedTuple):
    """A function that a notebook passes to a check."""

    exercise: str
    code: str  # what defines it
    function: str  # the expression that was passed


def grade(folder: str | Path, seconds: int = 60, seed: int | None = None) -> "tuple[pd.DataFrame, int]":
    """One row for each student, notebook and exercise: what the answer is, and the check's feedback; and the seed of
    the hidden cases. seconds: the time for a student's exercises. LabError: the folder has no notebooks."""
    import pandas as pd

    folder = Path(folder)
    notebooks = sorted(path for path in folder.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
    if not notebooks:
        raise LabError(f"{folder}: there is no notebook (*.ipynb) in this folder")
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    rows, found = [], {}
    for path in notebooks:
        about = {"student": student_of(path, folder), "notebook": str(path.relative_to(folder))}
        try:
            found.setdefault(about["student"], []).extend((about, answer) for answer in answers_in(path))
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            rows.append(about | {"exercise": "", "result": "cannot be read", "feedback": "this file is no notebook"})
    for of in found.values():
        judged = judge([answer for _, answer in of], seconds, seed)
        rows += [about | {"exercise": answer.exercise, "result": result, "feedback": why}
                 for (about, answer), (result, why) in zip(of, judged, strict=True)]
    rows.sort(key=lambda row: (row["student"], row["notebook"]))
    columns = ["student", "notebook", "exercise", "result", "feedback"]
    return pd.DataFrame(rows, columns=columns).map(no_formula), seed


def table(rows: "pd.DataFrame") -> "pd.DataFrame":
    """A row for each student with the number of solved exercises, and a column for each exercise. The best of several
    answers counts."""
    import pandas as pd

    made = []
    for student, of in rows.groupby("student", sort=True):
        best = {name: sorted(of[of["exercise"] == name]["result"], key=lambda result: result != SOLVED)
                for name in HELP}
        results = {name: found[0] if found else "missing" for name, found in best.items()}
        made.append({"student": student, SOLVED: list(results.values()).count(SOLVED), **results})
    return pd.DataFrame(made, columns=["student", SOLVED, *HELP])


def student_of(path: Path, folder: Path) -> str:
    """Whose notebook it is: the first folder below the class's, or what stands before the notebook's own name."""
    inside = path.relative_to(folder).parts
    if len(inside) > 1:
        return inside[0]
    return re.sub(r"[ _-]*\d\d_[a-z_]+$", "", path.stem) or folder.resolve().name


# ---- what a notebook holds -------------------------------------------------------------------------------------------


def answers_in(path: Path) -> list[Answer]:
    """The functions that a notebook passes to `teach.check`, the last one of each exercise."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    definitions, found = [], {}
    for cell in cells:
        if cell.get("cell_type") != "code":
            continue
        tree = _parsed("".join(cell["source"]))
        definitions += [ast.unparse(node) for node in tree.body if _defines(node)]
        for name, function in _checks(tree):
            found[name] = Answer(name, "\n\n".join(definitions), function)
    return [found[name] for name in HELP if name in found]


def _parsed(source: str) -> ast.Module:
    """A cell as Python; lines of IPython's own commands are left out, and a cell that is no Python is empty."""
    for text in (source, re.sub(r"(?m)^[ \t]*[%!?].*$|^.*\?[ \t]*$", "", source)):
        with contextlib.suppress(SyntaxError):
            return ast.parse(text)
    return ast.Module([], [])


def _defines(node: ast.stmt) -> bool:
    """Whether a statement only defines something: an import, a function, a class, or a constant."""
    if isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef):
        return True
    if not isinstance(node, ast.Assign):
        return False
    try:
        return isinstance(node.value, ast.Lambda) or ast.literal_eval(node.value) is not ...
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):  # it is no constant
        return False


def _checks(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if (isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "check"
                and len(node.args) > 1 and isinstance(node.args[0], ast.Constant) and node.args[0].value in HELP):
            yield node.args[0].value, ast.unparse(node.args[1])


# ---- the process in which students' code runs ------------------------------------------------------------------------


def judge(answers: Sequence[Answer], seconds: int, seed: int) -> list[tuple[str, str]]:
    """The result and the feedback of each answer. One that hangs or kills its process does not harm the next ones."""
    judged: list[tuple[str, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        while len(judged) < len(answers):
            ended = _run(answers[len(judged):], Path(folder), seconds, seed)
            for line in (Path(folder) / "judged.jsonl").read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(ValueError, TypeError):
                    result, why = json.loads(line)
                    judged.append((str(result), str(why)))
            if len(judged) < len(answers):
                judged.append(("stopped", "it has ended its whole process") if ended else
                              ("too slow", f"it was stopped after {seconds} seconds: is there an endless loop?"))
    return judged[:len(answers)]


def _run(waiting: Sequence[Answer], folder: Path, seconds: int, seed: int) -> bool:
    """Judge answers in a new process, which writes judged.jsonl into the folder. False: the time was up."""
    (folder / "answers.json").write_text(json.dumps(waiting), encoding="utf-8")
    (folder / "judged.jsonl").write_text("")
    environment = os.environ | {"LAB_RUNS": str(folder / "runs"), "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(
        [str(Path(__file__).resolve().parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])}
    process = subprocess.Popen([sys.executable, "-m", "lab.teach.grading", str(folder), str(seed)], cwd=folder,
                               env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        process.stdout.readline()  # it has imported the lab, and the time begins
        process.wait(seconds)
        return True
    except subprocess.TimeoutExpired:
        return False
    finally:
        with contextlib.suppress(OSError):  # with the processes that it has started; they may be gone
            os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
        process.wait()
        process.stdout.close()


def _judged(answer: Answer, seed: int) -> tuple[str, str]:
    """The result of one answer, and why."""
    from lab.teach.checker import check

    space: dict[str, Any] = {"__name__": "__main__"}
    for node in ast.parse(answer.code).body:
        with contextlib.suppress(Exception):  # as an import that only the student's machine has
            exec(compile(ast.Module([node], []), "notebook", "exec"), space)
    try:
        mine = eval(answer.function, space)
    except Exception as error:
        return "not found", f"{answer.function}: {type(error).__name__}: {error}"
    for of in range(seed, seed + SEEDS):
        found = check(answer.exercise, mine, seed=of)
        if not found:
            why = next((line for line in found.splitlines()[1:] if line[:1] not in "✓✗"), "")
            return found.state, why[:LONGEST]
    return SOLVED, ""


def main(folder: Path, seed: int) -> None:
    """Judge the answers in answers.json one after the other, and write each result before the next begins."""
    from lab.teach import checker  # noqa: F401

    print("ready", flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads what students' code prints
    for answer in json.loads((folder / "answers.json").read_text(encoding="utf-8")):
        result, why = _judged(Answer(*answer), seed)
        with open(folder / "judged.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps([result, why]) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
