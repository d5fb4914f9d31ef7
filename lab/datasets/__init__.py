"""Data sets: fetch the three from their public hub, bring a folder of another layout into the course's, check one."""

from lab import public

__getattr__, __dir__, __all__ = public(
    __name__, {"check_report": "check", "download": "hub", "import_folder": "folders"})
