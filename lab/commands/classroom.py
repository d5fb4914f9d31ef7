"""`lab class`, for teachers: grade and notebooks."""

import sys
from typing import Annotated

import typer

from lab.commands.terminal import complain


def class_grade(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Folder of notebooks: STUDENT/*.ipynb, or files that "
                                          "begin with the student's name")],
    feedback: Annotated[bool, typer.Option("--feedback", help="A row for each answer with the check's feedback, not "
                                           "a row for each student")] = False,
    seconds: Annotated[int, typer.Option(min=5, help="After so long an answer that hangs is stopped")] = 60,
    seed: Annotated[int | None, typer.Option(help="Draw the hidden cases as in an earlier table")] = None,
) -> None:
    """Print a table of a class as CSV: who has solved which exercise, on cases that nobody has seen. Students' code
    runs on this computer, in a process of its own with a time limit, but not in a sandbox."""
    from lab.teach.grading import NOTHING, grade, table

    rows, seed = grade(folder, seconds, seed)
    for row in rows[rows["result"].isin(NOTHING)].itertuples():
        complain(f"{row.notebook}: {row.feedback}")
    print((rows if feedback else table(rows)).to_csv(index=False), end="")
    print(f"the hidden cases were drawn with --seed {seed}", file=sys.stderr)


def class_notebooks(to: Annotated[str, typer.Argument(metavar="DIR", help="Folder that they are written to")]) -> None:
    """Write the notebooks for students: without solutions and outputs, with hints in place of the solutions."""
    from lab.teach.edition import student_edition

    print(f"{len(student_edition(to))} notebooks in {to}, without solutions and outputs")
