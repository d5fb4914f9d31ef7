"""The exception for errors that a user can correct."""


class LabError(Exception):
    """An error that the user of the lab can correct.

    Its message is one line that says which file, row or field is wrong, and what would be right. The command line
    prints it without a traceback and exits with code 2.
    """
