"""Which words an answer depends on, by occlusion: leave out one word at a time, and see how far the answer moves.

Zeiler and Fergus (2014) cover parts of a picture; Li, Monroe and Jurafsky (2016) erase words. It asks the model itself
what would change, where attention only shows from which tokens a vector was computed.
"""

from collections.abc import Sequence
from typing import Any

from lab.evaluate import predict
from lab.tasks import MultitaskModel

MOST = 40  # words of a text: each costs one more text


def occlusion(model: MultitaskModel, tokenizer: Any, task: str, texts: Sequence[str]) -> list[list[tuple[str, float]]]:
    """For each text its words, each with its effect: (word, effect).

    texts: one sentence for sst, two for qqp and sts. effect: the probability of the answer (sst, qqp), or the
    similarity (sts), minus the same without this word. Above 0 the word speaks for the answer. A text of one word has
    none to leave out, and words beyond the first MOST are not tried; both have the effect nan.
    """
    words = [text.split() for text in texts]
    asked, places = [tuple(texts)], []
    for which, mine in enumerate(words):
        for place in range(min(len(mine), MOST) if len(mine) > 1 else 0):
            rest = " ".join(mine[:place] + mine[place + 1:])
            asked.append(tuple(rest if i == which else text for i, text in enumerate(texts)))
            places.append((which, place))
    values = _values(model, tokenizer, task, asked)
    effects = [[float("nan")] * len(mine) for mine in words]
    for (which, place), value in zip(places, values[1:], strict=True):
        effects[which][place] = values[0] - value
    return [list(zip(mine, effect, strict=True)) for mine, effect in zip(words, effects, strict=True)]


def _values(model: MultitaskModel, tokenizer: Any, task: str, asked: list[tuple[str, ...]]) -> list[float]:
    """The probability of the first one's answer in each of these texts or pairs, or the similarity of each."""
    found = predict(model, task, [one[0] for one in asked] if task == "sst" else asked, tokenizer=tokenizer)
    if task == "sts":
        return found["prediction"].tolist()
    answer = int(found["prediction"].iloc[0])
    if task == "qqp":
        return [p if answer else 1 - p for p in found["probability"]]
    return found[f"p{answer}"].tolist()
