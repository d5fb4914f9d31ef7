"""Predictions and scores: accuracy for SST and QQP, Pearson's r for STS, the paper's overall score (section 5.2)."""

import csv
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lab.batches import Rows, Texts, chunks, cross
from lab.bert import Bert
from lab.data import CLASS_NAMES, METRICS, TASKS, no_formula
from lab.errors import LabError, nearest
from lab.tasks import POOLINGS, MultitaskModel

if TYPE_CHECKING:
    import pandas as pd

    from lab.runs.folder import Run

# The course's file names: task -> (start of the file name, header of the predictions).
COURSE_FILES = {"sst": ("sst", "Predicted_Sentiment"), "qqp": ("para", "Predicted_Is_Paraphrase"),
                "sts": ("sts", "Predicted_Similiary")}


def overall_score(sst: float | None, qqp: float | None, sts: float | None) -> float | None:
    """The paper's overall score: mean(SST accuracy, QQP accuracy, (STS Pearson + 1) / 2); None if one is None."""
    if None in (sst, qqp, sts):
        return None
    return (sst + qqp + (sts + 1) / 2) / 3


def pearson(predictions: np.ndarray, scores: np.ndarray) -> float | None:
    """Pearson's r in float64; None if a side is constant or not finite, because r is then undefined."""
    sides = [np.asarray(side, dtype=np.float64) for side in (predictions, scores)]
    x, y = (side - side.mean() for side in sides)
    norms = np.linalg.norm(x) * np.linalg.norm(y)
    constant = any(np.ptp(side) == 0 for side in sides)
    r = float(x @ y / norms) if norms > 0 and not constant else math.nan
    return r if math.isfinite(r) else None


class Vectors:
    """The vectors that a model's encoder gives some texts, without dropout.

    All are computed at once, since a text's last bits depend on those that it is encoded with: a training of the heads
    that was killed goes on with the same ones.
    """

    @torch.no_grad()
    def __init__(self, model: MultitaskModel, texts: Texts, which: np.ndarray,
                 tick: Callable[[], None] = lambda: None) -> None:
        self.which = np.unique(which)
        self.found = torch.empty(len(self.which), model.bert.config.hidden_size,
                                 device=next(model.parameters()).device)
        training = model.training
        model.eval()
        for part, *packed in chunks(texts, self.which, device=self.found.device):
            self.found[self._places(part)] = model.sentences(*packed)
            tick()
        model.train(training)

    def of(self, which: np.ndarray) -> torch.Tensor:
        """The vectors of these texts (S,) -> (S, H)."""
        return self.found[self._places(which)]

    def _places(self, which: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.searchsorted(self.which, which)).to(self.found.device)


def used(rows: Mapping[Any, Rows]) -> np.ndarray:
    """The texts of all these rows, each once."""
    return np.unique(np.concatenate([part.text.ravel() for part in rows.values()]))


@torch.no_grad()
def logits(model: MultitaskModel, rows: Mapping[str, Rows], tick: Callable[[], None] = lambda: None,
           vectors: Vectors | None = None) -> dict[str, torch.Tensor]:
    """The logits of each task for its rows, in eval mode. Each distinct text or cross pair is encoded once.

    tick: called after every few thousand tokens, for example to update a heartbeat. vectors: those of an encoder that
    is not trained, which are computed once for all calls.
    """
    training = model.training
    model.eval()
    vectors = vectors or Vectors(model, next(iter(rows.values())).texts, used(rows), tick)
    answers = {}
    for task, part in rows.items():
        answers[task] = torch.cat([model.heads[task](*(vectors.of(column) for column in block.T)).float()
                                   for block in np.split(part.text, range(4096, len(part), 4096))])
    model.train(training)
    return answers


@torch.no_grad()
def floors(bert: Bert, rows: Mapping[tuple[str, str], Rows], splits: Mapping[str, Mapping[str, Rows]],
           tick: Callable[[], None] = lambda: None) -> Iterator[tuple[str, str, str, float | None]]:
    """What no training at all gives: (split, task, metric, value) for each of the splits' rows, which have labels.

    "majority_class": the accuracy of always answering the most frequent class of the training rows (SST, QQP).
    "no_training_cls", "no_training_mean", "no_training_max": Pearson's r of the cosine of the untouched encoder's
    pooled vectors (STS). rows: as `prepare` gives them, pairs not joined. splits: name -> {task: Rows}.
    """
    training = bert.training
    bert.eval()
    for split, parts in splits.items():
        for task in CLASS_NAMES:
            if task in parts and len(parts[task]):
                classes, counts = np.unique(rows[task, "train"].labels, return_counts=True)
                yield split, task, "majority_class", float(np.mean(parts[task].labels == classes[counts.argmax()]))
    pairs = {split: parts["sts"] for split, parts in splits.items() if "sts" in parts}
    wanted = np.unique(np.concatenate([part.text.ravel() for part in pairs.values()] or [np.zeros(0, int)]))
    found = {name: torch.empty(len(wanted), bert.config.hidden_size) for name in POOLINGS}
    for which, ids, segments, positions, layout in chunks(rows["sts", "train"].texts, wanted,
                                                          device=next(bert.parameters()).device):
        hidden = bert.encode_packed(bert.embed(ids, segments, positions), layout)
        for name, pool in POOLINGS.items():
            found[name][np.searchsorted(wanted, which)] = pool(bert, hidden, layout).float().cpu()
        tick()
    for split, part in pairs.items():
        for name, vectors in found.items():
            u, v = (vectors[np.searchsorted(wanted, column)] for column in part.text.T)
            cosine = torch.nn.functional.cosine_similarity(u.double(), v.double()).numpy()  # all may be close to 1
            yield split, "sts", f"no_training_{name}", pearson(cosine, part.labels)
    bert.train(training)


def evaluate(model: MultitaskModel, rows: Mapping[str, Rows],
             tick: Callable[[], None] = lambda: None) -> tuple[dict[str, dict], dict[str, np.ndarray]]:
    """Score a model: ({task: {metric: value}}, {task: predictions}).

    The scores of a task are its metric and its mean loss. The overall score is under "all" if all three tasks have
    scores. Rows without labels get predictions but no score.
    """
    return scored(model, rows, logits(model, rows, tick))


def scored(model: MultitaskModel, rows: Mapping[str, Rows],
           answers: Mapping[str, torch.Tensor]) -> tuple[dict[str, dict], dict[str, np.ndarray]]:
    """The same as `evaluate`, from logits computed earlier."""
    scores: dict[str, dict] = {}
    predictions = {}
    for task, answer in answers.items():
        head, part = model.heads[task], rows[task]
        labels = torch.from_numpy(part.labels).to(answer.device)
        predictions[task] = head.predict(answer).cpu().numpy()
        if np.isnan(part.labels).any():
            continue
        if task == "sts":
            score = pearson(predictions[task], part.labels)
        else:
            score = float(np.mean(predictions[task] == part.labels))
        scores[task] = {METRICS[task]: score, "loss": float(head.loss(answer, labels))}
    if set(scores) == set(TASKS):
        scores["all"] = {"overall": overall_score(*(scores[task][METRICS[task]] for task in TASKS))}
    return scores, predictions


def write_predictions(folder: Path, split: str, rows: Mapping[str, Rows],
                      predictions: Mapping[str, np.ndarray]) -> None:
    """Write predictions in the course's layout: `<folder>/{sst,para,sts}-<split>-output.csv`, lines "id , value "."""
    folder.mkdir(parents=True, exist_ok=True)
    for task, values in predictions.items():
        name, header = COURSE_FILES[task]
        with open(folder / f"{name}-{split}-output.csv", "w", encoding="utf-8", newline="\n") as file:
            file.write(f"id \t {header} \n")
            for row, value in zip(rows[task].ids, values, strict=True):
                file.write(f"{no_formula(row)} , {int(value) if task == 'sst' else float(value)} \n")


def write_probabilities(folder: Path, split: str, rows: Mapping[str, Rows],
                        answers: Mapping[str, torch.Tensor]) -> None:
    """Write the probability of each class: `<folder>/{sst,para}-<split>-probabilities.csv`. STS has no classes.

    answers: the result of `logits`. Columns: id, p0, p1, ...
    """
    folder.mkdir(parents=True, exist_ok=True)
    for task in answers.keys() & CLASS_NAMES.keys():
        answer = answers[task].cpu().double()
        p1 = answer.sigmoid()
        shares = answer.softmax(-1) if task == "sst" else torch.stack([1 - p1, p1], -1)  # (B, C)
        with open(folder / f"{COURSE_FILES[task][0]}-{split}-probabilities.csv", "w", encoding="utf-8",
                  newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["id", *(f"p{c}" for c in range(len(CLASS_NAMES[task])))])
            writer.writerows([no_formula(row), *(f"{p:.6g}" for p in share)]
                             for row, share in zip(rows[task].ids, shares.tolist(), strict=True))


def read_predictions(file: Path) -> list[tuple[str, float]]:
    """Read a file of `write_predictions`: (id, prediction) of each line. Ids may repeat. ValueError: another layout."""
    lines = file.read_bytes().decode("utf-8").split("\n")[1:]  # splitlines would split an id at U+2028
    pairs = (line.rsplit(" , ", 1) for line in lines if line.strip())
    return [(row, float(value)) for row, value in pairs]


def shown(value: float | None) -> str:
    """A score for display: three decimals, or n/a."""
    return "n/a" if value is None else f"{value:.3f}"


def predict(run_or_model: "str | Path | Run | MultitaskModel", task: str, texts: Sequence, *, tokenizer: object = None,
            weights: str = "best") -> "pd.DataFrame":
    """Predict a task for your own texts, with a run (its name, folder or `Run`) or a model. One row per text or pair.

    task "sst": a list of sentences -> columns text, prediction (0-4), answer, p0 ... p4.
    task "qqp": a list of pairs -> text1, text2, prediction (0 or 1), answer, probability.
    task "sts": a list of pairs -> text1, text2, prediction (similarity, from 0, unrelated, to 5, equivalent).
    weights: of a run, "best" on dev or "last". tokenizer: required with a model. LabError: no such task or run, no
    texts, or texts of the wrong kind.
    """
    import pandas as pd

    if task not in TASKS:
        raise nearest(task, TASKS, "task")
    if isinstance(run_or_model, MultitaskModel):
        model = run_or_model
    else:
        from lab.runs.folder import Run

        model, tokenizer = Run.open(run_or_model).model(weights)
    if tokenizer is None:
        raise LabError("a model needs its tokenizer: predict(model, task, texts, tokenizer=tokenizer)")
    size = 1 if task == "sst" else 2
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise LabError(f"texts must be a list: predict(..., {task!r}, [...])")
    pairs = [(of,) if isinstance(of, str | dict) or not isinstance(of, Iterable) else tuple(of) for of in texts]
    if not pairs or any(len(pair) != size or not all(isinstance(t, str) and t.strip() for t in pair) for pair in pairs):
        raise LabError(f"texts of {task} must be {'sentences' if size == 1 else 'pairs of sentences'}, none empty")
    answer = logits(model, as_rows(model, tokenizer, task, pairs))[task]
    table = pd.DataFrame(pairs, columns=["text"] if size == 1 else ["text1", "text2"])
    table["prediction"] = model.heads[task].predict(answer).cpu().numpy()
    if task == "sst":
        table["answer"] = [CLASS_NAMES["sst"][c] for c in table["prediction"]]
        table[[f"p{c}" for c in range(5)]] = answer.softmax(-1).cpu().numpy()
    elif task == "qqp":
        table["prediction"] = table["prediction"].astype(int)
        table["answer"] = [CLASS_NAMES["qqp"][c] for c in table["prediction"]]
        table["probability"] = answer.sigmoid().cpu().numpy()
    return table


def class_probabilities(found: "pd.DataFrame") -> "pd.DataFrame":
    """The columns p0, p1, ... of a table of `predict`, also of qqp's, which has the probability of p1 alone."""
    if "probability" in found:
        found = found.assign(p0=1 - found["probability"], p1=found["probability"])
    return found.filter(regex=r"^p\d$")


def as_rows(model: MultitaskModel, tokenizer: object, task: str, texts: Sequence[tuple[str, ...]]) -> dict[str, Rows]:
    """Your own texts or pairs as rows of a task; pairs are joined if the model takes cross pairs."""
    longest, size = model.bert.config.max_position_embeddings, len(texts[0])
    flat = Texts.encode([t for row in texts for t in row], tokenizer, longest)
    rows = {task: Rows(task, [""] * len(texts), np.arange(len(texts) * size).reshape(-1, size),
                       np.zeros(len(texts), np.float32), flat)}
    return cross(rows, longest) if model.pair == "cross" else rows
