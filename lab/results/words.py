"""Words for readers: what recorded metrics are called, and with how many digits an estimate and its interval stand."""

import math
import re

METRICS = {
    "score": "score", "accuracy": "accuracy", "pearson": "Pearson's r", "overall": "overall score", "loss": "loss",
    "cosine": "cosine of two task gradients", "conflict": "share of iterations in conflict",
    "grad_norm": "length of a task's gradient", "update_cosine": "cosine of the update and the plain mean",
    "update_length": "length of the update, divided by that of the plain mean",
    "cosine_gap": "cosine minus that of shuffled labels", "cosine_shuffled": "cosine under shuffled labels",
    "cosine_within": "cosine of two batches of one task", "penalty": "SMART's penalty",
    "penalty_dropout": "SMART's penalty by dropout alone", "penalty_noise": "SMART's penalty by the noise",
    "noise_norm": "largest entry of SMART's noise", "peak_memory_mb": "peak memory in MiB",
    "tokens_per_second": "tokens a second",
}
SPLITS = {"dev": "dev", "dev_full": "all of dev, last and best epoch", "train": "a sample of train",
          "test": "all of test", "batch": "training batches", "sampled": "samples beside the training"}
ROUNDING = 1e-6  # scores that differ by less over seeds are the same score, but for how the machine rounds
QUORA = "MiniLM was pretrained on sentence pairs that include Quora's"  # it belongs beside every QQP score of MiniLM


def metric_words(metric: str, split: str = "") -> str:
    """A metric as readers know it, and on which rows. A name that the lab does not know stays as it is recorded."""
    name = METRICS.get(metric, metric)
    return f"{name}, {SPLITS.get(split, split)}" if split else name


def printable(text: str) -> str:
    """A text without what controls a terminal: names in records may hold anything."""
    return re.sub(r"[^\n -~\xa0-\uffff]", "?", text)


def decimals(value: float, low: float, high: float, least: int = 3) -> int:
    """How many decimals a value and its interval need so that neither bound reads as the value itself, at most 9."""
    gap = min(value - low, high - value)
    return max(least, min(9, -math.floor(math.log10(gap)))) if gap > 0 else least


def with_interval(value: float, low: float, high: float, least: int = 3, sign: str = "") -> tuple[str, str, str]:
    """A value and its bounds as texts, with the decimals that they need. sign: "+" writes the sign of a gain too."""
    n = decimals(value, low, high, least)
    return f"{value:{sign}.{n}f}", f"{low:{sign}.{n}f}", f"{high:{sign}.{n}f}"


def between(value: float, low: float, high: float, least: int = 3) -> str:
    """A difference with its sign, and in parentheses its interval, where there is one; empty for nan."""
    value, low, high = with_interval(value, low, high, least, "+")
    return "" if "nan" in value else value if "nan" in low else f"{value} ({low} to {high})"


def bounds(value: float, low: float, high: float) -> tuple[str, str]:
    """The bounds of an interval with 4 significant digits, or up to 9 so that neither reads as the value itself."""
    for digits in range(4, 10):
        texts = [f"{number:.{digits}g}" for number in (value, low, high)]
        if texts[0] not in texts[1:]:
            break
    return texts[1], texts[2]
