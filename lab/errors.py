"""The one exception a user of the lab is meant to read."""


class LabError(Exception):
    """One line that says which file, row or field is wrong, and what would be right.

    The command line prints it without a traceback and exits with code 2.
    """
