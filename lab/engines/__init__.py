"""Engines: where the runs of an ablation are trained. Worker processes of this machine, or a Ray cluster."""

from lab import public

__getattr__, __dir__, __all__ = public(__name__, {"ablate": "ablation"})
