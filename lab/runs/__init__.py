"""Runs: what is kept of a training. The run folder, checkpoints, the recorder, and all records as one data frame."""

from lab import public

__getattr__, __dir__, __all__ = public(__name__, {
    "Run": "folder", "list_runs": "folder", "runs_root": "stores", "load_runs": "records",
    "line_labels": "labels", "provenance": "frames",
})
