"""The command line: every command of `lab` by its name, and what becomes of errors.

The commands are in `lab/commands/`. An error that a user can correct is one line, with exit code 2. Only the commands
that need torch import it.
"""

import os
import sys
import warnings

import typer
from typer.exceptions import TyperException

from lab.commands import (
    ablate,
    bench,
    class_grade,
    class_notebooks,
    compare,
    data_check,
    data_download,
    data_import,
    fork,
    predict,
    pretrain,
    report,
    share,
    story,
    train,
    verify,
)
from lab.commands.terminal import complain
from lab.errors import LabError

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
                  help="minBERT lab: fine-tune minBERT on three tasks, and measure what each technique contributes.")
for command in (train, ablate, predict, story, report, share, compare, verify, fork, pretrain, bench):
    app.command()(command)

data_app = typer.Typer(no_args_is_help=True, help="Get the data sets, and look at them.")
for name, command in {"check": data_check, "download": data_download, "import": data_import}.items():
    data_app.command(name)(command)
app.add_typer(data_app, name="data")

class_app = typer.Typer(no_args_is_help=True, help="For teachers: notebooks for a class, and a table of its answers.")
for name, command in {"grade": class_grade, "notebooks": class_notebooks}.items():
    class_app.command(name)(command)
app.add_typer(class_app, name="class")


def main() -> None:
    """Run the command line. What a user can correct, and errors of the disk, become one line and exit code 2."""
    _show_any_sign()
    warnings.showwarning = lambda message, *_: complain(message)
    try:
        try:
            code = app(standalone_mode=False)
        finally:
            sys.stdout.flush()  # here, where an error can still be told
    except BrokenPipeError:  # what reads our output has read enough, as in `lab report | head`
        code = 1
    except TyperException as error:
        code = error.exit_code
        if what := error.format_message():  # empty where the help was printed
            command = getattr(getattr(error, "ctx", None), "command_path", "lab")
            if what.startswith("No such option") and command.endswith("predict"):
                what = f"{what.removesuffix('.')}; put -- before a sentence that begins with -"
            complain(f"{what.removesuffix('.')}; `{command} --help` says what is possible")
    except (LabError, OSError) as error:
        code = 2
        complain(error)
    except KeyboardInterrupt:
        code = 130
        complain("interrupted")
    try:
        sys.stdout.flush()
    except OSError:
        sys.stdout = open(os.devnull, "w")  # Python would try again when it ends, and complain
    sys.exit(code or 0)


def _show_any_sign() -> None:
    """See to it that no print() fails: signs that a terminal lacks become `?`, closed streams swallow everything."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # as after `>&-`
            setattr(sys, name, open(os.devnull, "w"))
        if hasattr(getattr(sys, name), "reconfigure"):
            getattr(sys, name).reconfigure(errors="replace")
