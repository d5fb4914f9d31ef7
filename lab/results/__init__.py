"""Results: what records and predictions say. Significance, comparison of runs, tables, and the report."""

from lab import public

__getattr__, __dir__, __all__ = public(__name__, {
    "leaderboard": "tables",
    "against_null": "conflict",
    "compare_runs": "comparison", "paired_predictions": "comparison",
})
