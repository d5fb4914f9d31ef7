"""A table of a class: which exercises each student's notebooks solve, on cases that the students have not seen.

    lab class grade FOLDER > grades.csv     # FOLDER/STUDENT/*.ipynb, or FOLDER/STUDENT_04_gradient_surgery.ipynb

A notebook is not executed. Its imports, functions and constants up to the cell of the check are, with the values that
the answer names, and then the function is called: in a process for each student, with a time limit. That process may do
whatever the user who starts it may do.
"""

import ast
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import symtable
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lab.data import no_formula
from lab.errors import LabError, nearest
from lab.teach.hints import HELP

if TYPE_CHECKING:
    import pandas as pd

SEEDS = 3  # draws of the cases; an answer must be right in all of them
SOLVED = "solved"
LONGEST = 300  # characters of the feedback in the table
CANNOT_BE_READ, NO_NOTEBOOK = "cannot be read", "no notebook"
VALUES = ast.Assign | ast.AnnAssign | ast.AugAssign | ast.For | ast.If | ast.With | ast.Try  # what may give a value
NOTHING = (CANNOT_BE_READ, NO_NOTEBOOK, "no answer", "unknown exercise")  # results without an answer to judge
LEFT_OUT = {"__MACOSX", "__pycache__", "drawings"}  # what archives and `lab class notebooks` put beside notebooks


class Answer(NamedTuple):
    """A function that a notebook passes to a check."""

    exercise: str
    code: str  # what defines it
    function: str  # the expression that was passed
    wrong: str = ""  # why it may not be there: a cell that names it is no Python, or there is no such exercise


def grade(folder: str | Path, seconds: int = 60, seed: int | None = None) -> "tuple[pd.DataFrame, int]":
    """One row for each student, notebook and exercise: what the answer is, and the check's feedback; and the seed of
    the hidden cases. What gave no answer has a row too, with a result of NOTHING. seconds: after so long an answer
    that hangs is stopped. LabError: there is no such folder, or it has no notebooks."""
    import pandas as pd

    folder = Path(folder)
    if not folder.is_dir():
        raise LabError(f"{folder}: {'this is a file' if folder.exists() else 'there is no such folder'}; name the "
                       "folder of the class's notebooks")
    handed_in = _handed_in(folder)
    if not any(handed_in.values()):
        raise LabError(f"{folder}: there is no notebook (*.ipynb) in this folder")
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    rows = []
    for student, notebooks in handed_in.items():
        mine, found, silent = [], [], []
        for path in notebooks:
            about = {"student": student, "notebook": str(path.relative_to(folder))}
            try:
                answers = answers_in(path)
            except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, MemoryError):
                mine.append(about | _said(CANNOT_BE_READ, "this file is no notebook"))
                continue
            found += [(about, answer) for answer in answers if answer.exercise in HELP]
            mine += [about | _said("unknown exercise", answer.wrong, answer.exercise) for answer in answers
                     if answer.exercise not in HELP]
            if not answers:
                silent.append(about | _said("no answer", "no teach.check in this notebook passes a function"))
        judged = judge([answer for _, answer in found], seconds, seed)
        mine += [about | _said(result, why, answer.exercise)
                 for (about, answer), (result, why) in zip(found, judged, strict=True)]
        mine += [row for row in silent if _has_exercises(row["notebook"])] or silent[:not mine]
        rows += mine or [{"student": student, "notebook": student}
                         | _said(NO_NOTEBOOK, "no notebook (*.ipynb) was handed in")]
    rows.sort(key=lambda row: (row["student"], row["notebook"]))
    columns = ["student", "notebook", "exercise", "result", "feedback"]
    rows = [{name: no_formula(said.encode("utf-8", "replace").decode()) for name, said in row.items()} for row in rows]
    return pd.DataFrame(rows, columns=columns), seed  # a file's name may be of no encoding


def _said(result: str, why: str, exercise: str = "") -> dict[str, str]:
    return {"exercise": exercise, "result": result, "feedback": why}


def _handed_in(folder: Path) -> dict[str, list[Path]]:
    """The notebooks of each student; none where only something else was handed in, or nothing."""
    found: dict[str, list[Path]] = {}
    for place in sorted(folder.iterdir()):
        if place.name.startswith(".") or place.name in LEFT_OUT or place.suffix == ".csv":  # .csv: an earlier table
            continue
        inside = sorted(place.rglob("*")) if place.is_dir() else [place]
        student = place.name if place.is_dir() else student_of(place, folder)
        found.setdefault(student, []).extend(
            path for path in inside if path.suffix.lower() == ".ipynb" and path.is_file()
            and not any(part.startswith(".") or part in LEFT_OUT for part in path.relative_to(folder).parts))
    return found


def _has_exercises(notebook: str) -> bool:
    """Whether a notebook of this name should hold an answer: 00 has no exercise."""
    number = re.search(r"(?:^|[/\\_ -])(\d\d)_[a-z_]+( \(\d+\))?\.ipynb$", notebook)
    return not number or number[1] in {one.notebook for one in HELP.values()}


def table(rows: "pd.DataFrame") -> "pd.DataFrame":
    """A row for each student with the number of solved exercises, and a column for each exercise. The best of several
    answers counts. What is missing may stand in a notebook that cannot be read, or in no notebook: it says so then."""
    import pandas as pd

    made = []
    for student, of in rows.groupby("student", sort=True):
        best = {name: sorted(of[of["exercise"] == name]["result"], key=lambda result: result != SOLVED)
                for name in HELP}
        none = next((why for why in (CANNOT_BE_READ, NO_NOTEBOOK) if (of["result"] == why).any()), "missing")
        results = {name: found[0] if found else none for name, found in best.items()}
        made.append({"student": student, SOLVED: list(results.values()).count(SOLVED), **results})
    return pd.DataFrame(made, columns=["student", SOLVED, *HELP])


def student_of(path: Path, folder: Path) -> str:
    """Whose notebook it is: the first folder below the class's, or what stands before the notebook's own name."""
    inside = path.relative_to(folder).parts
    if len(inside) > 1:
        return inside[0]
    name = re.sub(r" ?\(\d+\)$", "", path.stem)  # what a browser adds to a second download
    return re.sub(r"[ _-]*\d\d_[a-z_]+$", "", name) or folder.resolve().name


# ---- what a notebook holds -------------------------------------------------------------------------------------------


def answers_in(path: Path) -> list[Answer]:
    """The functions that a notebook passes to `teach.check`, the last one of each exercise, the unknown ones last."""
    cells = json.loads(path.read_text(encoding="utf-8-sig"))["cells"]
    definitions, texts, broken = [], {}, []
    found: dict[str, Answer] = {}
    for number, cell in enumerate(cells, 1):
        if cell.get("cell_type") != "code":
            continue
        source = "".join(cell["source"])
        try:
            tree = _parsed(source)
        except (SyntaxError, MemoryError, RecursionError) as error:
            line, why = getattr(error, "lineno", 1), getattr(error, "msg", "it is nested too deeply")
            broken.append((source, f"cell {number} of the notebook is no Python, line {line}: {type(error).__name__}: "
                                   f"{why}"))
            for name in re.findall(r"""\bcheck\(\s*["'](\w+)["']""", source):
                if name in HELP:  # a cell that fails leaves an earlier answer as it was
                    found.setdefault(name, Answer(name, "", "", broken[-1][1]))
            continue
        for node in tree.body:
            definitions += [node] * (_defines(node) or isinstance(node, VALUES))
            for name, function in _checks(node, texts):
                named = re.compile(rf"\b{re.escape(function)}\b")
                wrong = next((why for text, why in reversed(broken) if named.search(text)), "")
                if name not in HELP:
                    wrong = str(nearest(name, HELP, "exercise")).partition(" (valid")[0]
                found[name] = Answer(name, _reached(definitions, function), function, wrong)
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                texts |= {target.id: node.value.value for target in node.targets if isinstance(target, ast.Name)}
    return [found[name] for name in (*HELP, *(name for name in found if name not in HELP)) if name in found]


def _parsed(source: str) -> ast.Module:
    """A cell as Python, without the lines of IPython's own commands; a cell of another language is empty.

    SyntaxError: it is no Python.
    """
    tree = None
    with contextlib.suppress(SyntaxError):
        tree = ast.parse(source)
    if tree is None and re.match(r"\s*%%(?!time|capture|prun)", source):
        return ast.Module([], [])
    commands = r"(?m)^([ \t]*)([%!?]|[\w., ]+=[ \t]*[!%]|[\w.]+\?\??[ \t]*$).*$"
    tree = tree or ast.parse(textwrap.dedent(re.sub(commands, r"\1pass", source)))
    compile(tree, "notebook", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)  # as of `def f(a, a)`, which can be parsed
    return tree


def _defines(node: ast.stmt) -> bool:
    """Whether a statement only defines something: an import, a function, a class, a constant, or another name."""
    if isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef):
        return True
    if isinstance(node, ast.Try):  # of an import; a message in a handler does no harm
        handled = [of for handler in node.handlers for of in handler.body if not isinstance(of, ast.Pass | ast.Expr)]
        return all(map(_defines, [*node.body, *node.orelse, *node.finalbody, *handled]))
    if not isinstance(node, ast.Assign | ast.AnnAssign):
        return False
    try:
        return isinstance(node.value, ast.Lambda | ast.Name | ast.Attribute) or ast.literal_eval(node.value) is not ...
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):  # it is no constant
        return False


def _reached(statements: Sequence[ast.stmt], function: str) -> str:
    """The source of what only defines something, and of the values that `function`, an expression, needs besides.

    A value, as of `NEG = float("-inf")`, is computed only if the function or what it calls reads its name. A call by
    itself, as of `W.append(1)`, is not.
    """
    reads, names = zip(*map(_names, statements), strict=True) if statements else ((), ())
    reached, new = set(), _names(ast.parse(function))[0]
    while new:
        reached |= new
        new = set().union(*(read for name, read in zip(names, reads, strict=True) if name & new)) - reached
    return "\n\n".join(ast.unparse(node) for node, name in zip(statements, names, strict=True)
                       if _defines(node) or name & reached)


def _names(node: ast.AST) -> tuple[set[str], set[str]]:
    """The names that a piece of code reads from the notebook, and those that it gives a value there, or a part of one.
    """
    top = symtable.symtable(ast.unparse(node), "notebook", "exec")
    tables = [top]
    for table in tables:
        tables += table.get_children()
    reads = {of.get_name() for table in tables for of in table.get_symbols()
             if of.is_referenced() and (table is top or of.is_global())}
    parts = {ast.unparse(of.value).partition("[")[0].partition(".")[0] for of in ast.walk(node)  # as in W["a"] = 1
             if isinstance(of, ast.Subscript | ast.Attribute) and isinstance(of.ctx, ast.Store)}
    return reads, parts | {of.get_name() for of in top.get_symbols() if of.is_assigned()}


def _checks(statement: ast.stmt, texts: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """The exercise and the function of each check in a statement. texts: the constants that have a name by then.

    An unknown exercise counts only in a call of `teach.check`, for others have functions called check.
    """
    for node in ast.walk(statement):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "check":
            given = dict(zip(("name", "mine"), node.args, strict=False))
            given |= {of.arg: of.value for of in node.keywords}
            if "name" in given and "mine" in given:
                name = given["name"]
                text = name.value if isinstance(name, ast.Constant) else texts.get(getattr(name, "id", ""))
                if text in HELP or ast.unparse(node.func) in ("teach.check", "lab.teach.check"):
                    yield text if isinstance(text, str) else ast.unparse(name), ast.unparse(given["mine"])


# ---- the process in which students' code runs ------------------------------------------------------------------------


def judge(answers: Sequence[Answer], seconds: int, seed: int) -> list[tuple[str, str]]:
    """The result and the feedback of each answer. One that hangs or kills its process does not harm the next ones."""
    judged: list[tuple[str, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        while len(judged) < len(answers):
            ended = _run(answers[len(judged):], Path(folder), seconds, seed)
            with contextlib.suppress(OSError, ValueError, TypeError):  # students' code may have damaged it
                for line in (Path(folder) / "judged.jsonl").read_text(encoding="utf-8").splitlines():
                    result, why = json.loads(line)
                    judged.append((str(result), str(why)))
            if len(judged) < len(answers):
                judged.append(("stopped", "it has ended its whole process") if ended else
                              ("too slow", f"it was stopped after {seconds} seconds: is there an endless loop?"))
    return judged[:len(answers)]


def _run(waiting: Sequence[Answer], folder: Path, seconds: int, seed: int) -> bool:
    """Judge answers in a new process, which writes judged.jsonl into the folder. False: the time was up."""
    (work := folder / "work").mkdir(parents=True, exist_ok=True)  # students' code may remove the folder that it is in
    (folder / "answers.json").write_text(json.dumps(waiting), encoding="utf-8")
    (folder / "judged.jsonl").write_text("")
    environment = os.environ | {"LAB_RUNS": str(folder / "runs"), "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(
        [str(Path(__file__).resolve().parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])}
    process = subprocess.Popen([sys.executable, "-m", "lab.teach.grading", str(folder), str(seed)], cwd=work,
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


def judge_one(answer: Answer, seed: int) -> tuple[str, str]:
    """The result of one answer, and why."""
    from lab.teach.checker import check

    if answer.wrong and not answer.function:
        return "not found", answer.wrong[:LONGEST]
    space: dict[str, Any] = {"__name__": "__main__"}
    for node in ast.parse(answer.code).body:
        with contextlib.suppress(Exception):  # as an import that only the student's machine has
            exec(compile(ast.Module([node], []), "notebook", "exec"), space)
    try:
        mine = eval(answer.function, space)
    except Exception as error:
        why = answer.wrong if isinstance(error, NameError) else ""
        return "not found", why[:LONGEST] or f"{answer.function}: {type(error).__name__}: {error}"
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
        result, why = judge_one(Answer(*answer), seed)
        with open(folder / "judged.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps([result, why]) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
