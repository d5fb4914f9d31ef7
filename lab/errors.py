"""The exception for errors that a user can correct, and its message about a name that is not known."""

import difflib
from collections.abc import Iterable


class LabError(Exception):
    """An error that the user of the lab can correct.

    Its message is one line that says which file, row or field is wrong, and what would be right. The command line
    prints it without a traceback and exits with code 2.
    """


def nearest(value: object, valid: Iterable[str], what: str) -> LabError:
    """The error for a name that is not one of `valid`; it suggests the nearest."""
    valid = list(valid)
    lower = {name.lower(): name for name in valid}
    close = difflib.get_close_matches(str(value).lower(), lower, n=1, cutoff=0.5)
    hint = f"; did you mean {lower[close[0]]!r}?" if close else ""
    return LabError(f"{what} {value!r} is not known{hint} (valid: {', '.join(valid)})")
