"""Figures: plotly figures of records and of predictions. A recipe has one style in all of them."""

from lab import public

__getattr__, __dir__, __all__ = public(__name__, {
    "curves": "training", "overfit": "training", "conflict": "training", "smart": "training",
    "leaderboard": "training",
    "confusion": "predictions", "reliability": "predictions", "scatter": "predictions", "forest": "predictions",
    "heatmap": "attention", "bars": "attention",
})
