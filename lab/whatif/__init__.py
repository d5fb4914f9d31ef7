"""What if, from here: two futures of a run that differ in one thing, trained on the same batches and noise."""

from lab import public

__getattr__, __dir__, __all__ = public(__name__, {"fork": "futures", "Fork": "futures"})
