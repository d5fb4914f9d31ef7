"""Data sets: fetch the three from their public hub, or bring a folder of another layout into the course's."""

from lab import public

__getattr__, __dir__, __all__ = public(__name__, {"download": "hub", "import_folder": "folders"})
