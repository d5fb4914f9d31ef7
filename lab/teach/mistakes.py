"""Common wrong answers, each written as what stands in it in place of a text of the right one."""

import inspect
from collections.abc import Callable, Mapping


def mistakes(right: Callable, told: Mapping[str, Callable | tuple[str, ...]]) -> dict[str, Callable]:
    """{feedback: the wrong function}. told: for each feedback a function, or pairs of texts in one tuple.

    The first text of a pair stands in the source of the right answer, and the second takes its place. ValueError: it
    does not stand there.
    """
    source = inspect.getsource(right)
    return {feedback: of if callable(of) else _changed(right, source, of) for feedback, of in told.items()}


def _changed(right: Callable, source: str, texts: tuple[str, ...]) -> Callable:
    for old, new in zip(texts[::2], texts[1::2], strict=True):
        if old not in source:
            raise ValueError(f"{right.__name__} has no {old!r}")
        source = source.replace(old, new)
    names = dict(right.__globals__)
    exec(source, names)
    return names[right.__name__]
