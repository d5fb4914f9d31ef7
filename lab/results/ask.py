"""Answers to your own sentences, from the best model at hand, with how good it is on sentences that it has not seen.

    who = lab.results.ask.best()
    print(who.about)
    lab.predict(who.model, "sst", ["I loved it."], tokenizer=who.tokenizer)

The best model is that of the best finished run in the store. Without one, or where that one was trained on the bundled
sample, it is the untouched MiniLM with the heads of the recipe `frozen`, which ship with the lab; `data/ship_heads.py`
trains and writes them.
"""

import json
import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import safe_open

from lab.batches import Texts
from lab.data import SCORES, TASKS, Data, checkout
from lab.encoders import load_encoder
from lab.errors import LabError
from lab.evaluate import as_rows, class_probabilities, predict, shown
from lab.experiment import Experiment
from lab.results.words import QUORA
from lab.runs import checkpoints
from lab.runs.folder import Run, check_weights, runs_in
from lab.runs.stores import runs_root
from lab.tasks import MultitaskModel

if TYPE_CHECKING:
    import pandas as pd

BETTER = "`lab train strong` makes one that does"
LEARNED = 3  # standard errors by which an accuracy must be above the majority class
LEAST_R = 0.3  # below this, predicted similarities have hardly anything to do with people's


@dataclass
class Asked:
    """A model that answers, and what is known about it."""

    name: str  # of its run, or what it is
    about: str  # encoder, data
    scores: dict[str, float | None]  # on dev rows, by task; "all": the overall score
    majority: dict[str, float]  # the accuracy of the majority class on the same rows: sst, qqp
    rows: dict[str, int]  # the number of these rows
    model: MultitaskModel
    tokenizer: object
    instead_of: str = ""  # one's own best run, where it is of the sample and so was passed over

    def remarks(self, texts: Sequence[str]) -> list[str]:
        """What the model does not see of a text, or of a pair: a sentence each."""
        longest, said = self.model.bert.config.max_position_embeddings, []
        flat = Texts.encode(texts, self.tokenizer, longest)
        for text, ids in zip(texts, np.split(flat.tokens, flat.starts[1:-1]), strict=True):
            if not len(ids := ids[1:-1]):  # without [CLS] and [SEP]
                said.append(f"{reprlib.repr(text)} has no token at all, so the answer says nothing about it")
            elif (ids == self.tokenizer.unk_token_id).all():
                said.append(f"the encoder knows no token of {reprlib.repr(text)}, so the answer says nothing about it")
        pair = as_rows(self.model, self.tokenizer, "sst" if len(texts) == 1 else "qqp", [tuple(texts)]).popitem()[1]
        if pair.texts.cut:
            said.append(f"longer than the {longest} tokens that the encoder takes at once, so the end is cut off")
        return said

    def quality(self, task: str) -> str:
        """How good it is at a task, in a sentence: on examples that it was not trained on."""
        if not self.scores:
            return "how good it is was not measured: its run is not finished"
        text = quality(task, self.scores.get(task), self.majority.get(task), self.rows.get(task, 0))
        return f"{text}; {QUORA}" if task == "qqp" and "minilm" in self.about else text


def quality(task: str, score: float | None, majority: float | None, rows: int) -> str:
    """How good a model with this score on unseen rows is at a task, in a sentence; it says if nothing was learned."""
    if score is None:
        return f"it gives the same answer to all: it has learned nothing about this; {BETTER}"
    if task == "sts":
        knows = "" if score >= LEAST_R else f"; that is hardly more than chance: {BETTER}"
        return f"agrees with people's scores of unseen pairs with r = {shown(score)} (1 is perfect, 0 is chance){knows}"
    what = "sentences" if task == "sst" else "pairs"
    text = f"right on {100 * score:.0f} of 100 unseen {what}"
    if majority is None:
        return text
    text += f"; always giving the most frequent answer is right on {100 * majority:.0f}"
    if has_learned(score, majority, rows):
        return text
    return f"{text}, so it knows nothing about this: {BETTER}"


def of_five(similarity: float) -> float:
    """A predicted similarity within its scale, 0 to 5, which a head is free to leave; for display only."""
    return min(5.0, max(0.0, float(similarity)))


def has_learned(score: float, majority: float, rows: int) -> bool:
    """Whether an accuracy on so many rows is above the majority class by more than chance."""
    return score > majority + LEARNED * math.sqrt(majority * (1 - majority) / max(1, rows))


def scores_of(run: Run, weights: str = "best") -> tuple[dict[str, float | None], dict[str, float], dict[str, int]]:
    """A finished run's scores on dev, the majority class's, and the rows of each task that were scored."""
    run.check_finished()
    rows = [row for row in run.rows() if row.get("split") == "dev_full"]
    steps = [row["step"] for row in rows if row.get("metric") == "overall"]
    chosen = (min if weights == "best" else max)(steps, default=None)
    scores = {row["task"]: row["value"] for row in rows
              if row["step"] == chosen and row["metric"] == SCORES.get(row["task"])}
    majority = {row["task"]: row["value"] for row in rows if row["metric"] == "majority_class"}
    config = run.config
    settings, sizes = config["experiment"], config["data"].get("sizes") or {}
    limits = {"qqp": settings.get("end_qqp")}
    used = {task: min(int((sizes.get(f"{task} dev") or {}).get("used", 0)),
                      *(limit for limit in (settings.get("eval_rows"), limits.get(task)) if limit), 10**9)
            for task in TASKS}
    return scores, majority, used


def best_run(root: str | Path | None = None) -> Run | None:
    """The finished run with weights that is best on dev: first those that learned every task, then those on real data.
    """
    ranked = []
    for run in runs_in(runs_root(root)):
        try:
            if run.status.get("state") != "done" or "head" in run.config or not checkpoints.steps(run.checkpoints):
                continue
            scores, majority, used = scores_of(run)
            sample = on_sample(run)
        except (LabError, OSError, KeyError, TypeError, ValueError, AttributeError):
            continue  # a damaged record answers nothing
        learned = (scores.get("sts") or 0) >= LEAST_R and all(
            has_learned(scores.get(task) or 0, majority.get(task, 0), used[task]) for task in ("sst", "qqp"))
        ranked.append((learned, not sample, scores.get("all") or 0, run.name, run))
    return max(ranked, key=lambda entry: entry[:4])[-1] if ranked else None


def on_sample(run: Run) -> bool:
    """Whether a run was trained on the bundled sample, whose sentences are made up."""
    return run.config["data"].get("kind") == "sample"


def best(run: str | Path | Run | None = None, *, weights: str = "best", root: str | Path | None = None) -> Asked:
    """The model of a run; by default that of the best finished run, or else the one that ships with the lab.

    A run on the bundled sample answers only when it is named: the model that ships has seen the real sets too.
    """
    check_weights(weights)
    chosen = best_run(root) if run is None else Run.open(run, root)
    if chosen is None:
        return shipped()
    if run is None and on_sample(chosen):
        return replace(shipped(), instead_of=chosen.name)
    model, tokenizer = chosen.model(weights)
    config = chosen.config
    data = config["data"]
    return Asked(chosen.name, f"{config['experiment']['encoder']}, trained on {data['label']} ({data['fingerprint']}), "
                 f"{weights} weights", *scores_of(chosen, weights), model, tokenizer)


def heads_file() -> Path:
    """The heads that ship with the lab: kilobytes, safetensors, with what they were made from in its header."""
    return checkout() / "data" / "heads" / "frozen-minilm.safetensors"


def shipped() -> Asked:
    """The untouched MiniLM with the heads that ship with the lab. LabError: they or the encoder are not there."""
    file = heads_file()
    try:
        with safe_open(file, "pt") as opened:
            about: Mapping[str, Any] = json.loads((opened.metadata() or {})["about"])
            tensors = {key: opened.get_tensor(key) for key in opened.keys()}
    except (OSError, KeyError, ValueError) as error:
        raise LabError(f"{file}: the heads that ship with the lab cannot be read ({error}); `lab train strong` trains "
                       "a model of your own") from None
    e = Experiment.from_json(json.dumps(about["experiment"]))
    bert, tokenizer = load_encoder(e.encoder)
    model = MultitaskModel(bert, e.pooling, e.sts_head, e.pair, e.qqp_head)
    model.heads.load_state_dict(tensors)
    model.step = about["step"]
    return Asked(f"{e.name}, as it ships with the lab",
                 f"untouched {e.encoder}, heads trained on {about['data']}, scores on {about['dev']}; on these, `lab "
                 "train strong` makes a better one", about["scores"], about["majority"], about["rows"], model.eval(),
                 tokenizer)


def examples(asked: Asked, task: str, data: Data) -> "pd.DataFrame":
    """Its answers to the dev examples of a task: the columns of `comparison.predictions`, p0, p1, ... and confidence.

    confidence: the probability of the answer; nan for sts, which has no classes.
    """
    there = data.splits[task, "dev"].examples
    found = predict(asked.model, task, [e.texts[0] if task == "sst" else e.texts for e in there],
                    tokenizer=asked.tokenizer)
    shares = class_probabilities(found)
    return found.filter(regex="^text|^prediction$").assign(
        id=[e.id for e in there], task=task, label=[e.label for e in there],
        confidence=shares.max(axis=1) if len(shares.columns) else math.nan).join(shares)
