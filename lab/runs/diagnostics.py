"""What is measured while a model trains: means over a window of iterations, and samples at some of them.

A recipe that combines task gradients measures their cosines and conflicts at every iteration. The others have only one
gradient, and SMART's penalty alone does not say how much of it dropout causes. Both are therefore sampled at some
iterations, with random numbers of their own, so that sampling never changes a run.

A cosine near 0 and conflict in half of the iterations may say nothing about two tasks: two random directions have them
too. Every sample therefore has a null beside it: the cosine that is left when the labels of one of the two tasks are
those of other rows, and the cosine between two batches of one task, which shows how far noise alone pulls them apart.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from lab.batches import Batch, Rows, pack
from lab.data import TASKS
from lab.encoders.device import Randomness, autocast
from lab.experiment import Experiment
from lab.gradients import COMBINERS, Gradient, gramian, touched
from lab.smart import Smart, penalties
from lab.tasks import MultitaskModel

PAIRS = ["-".join(pair) for pair in itertools.combinations(TASKS, 2)]
SAMPLE = 20  # with the run's seed and the step: the seed of a sample's own random numbers


class Window:
    """The sums of what is measured between two rows of the record: kept on the device, and read once a window."""

    columns = ([("loss", t) for t in TASKS] + [("grad_norm", t) for t in (*TASKS, "all")]
               + [(m, pair) for m in ("cosine", "conflict", "cosine_shuffled", "cosine_gap") for pair in PAIRS]
               + [("cosine_within", t) for t in TASKS]
               + [("update_cosine", "all"), ("update_length", "all")]
               + [(m, t) for m in ("penalty", "penalty_dropout", "penalty_noise", "bregman") for t in TASKS]
               + [("noise_norm", "all")])

    def __init__(self, device: torch.device) -> None:
        self.values = torch.zeros(2, len(self.columns), device=device)  # sums, and the number of values in each

    def note(self, metric: str, task: str, value: Tensor) -> None:
        """Add a value to a column."""
        column = self.values[:, self.columns.index((metric, task))]
        column[0] += value
        column[1] += 1

    def note_conflicts(self, G: Tensor, tasks: list[str]) -> None:
        """From the Gramian of the task gradients: the cosine of each pair, and whether it conflicts (cosine < 0)."""
        norms = G.diagonal().sqrt().clamp(min=1e-150)  # whose product is still above 0
        for i, j in itertools.combinations(range(len(tasks)), 2):
            cosine = G[i, j] / (norms[i] * norms[j])
            self.note("cosine", f"{tasks[i]}-{tasks[j]}", cosine)
            self.note("conflict", f"{tasks[i]}-{tasks[j]}", cosine < 0)

    def note_update(self, G: Tensor, weights: Tensor) -> None:
        """What a combiner changed: its update's cosine with the mean of the gradients, and its length over theirs."""
        plain = torch.full_like(weights, 1 / len(weights))
        # u = sum_i w_i g_i,  m = sum_i g_i / T:   |u|^2 = w' G w,  |m|^2 = m' G m,  u . m = w' G m
        update, mean = ((w @ G @ w).clamp(min=1e-300).sqrt() for w in (weights, plain))
        self.note("update_cosine", "all", weights @ G @ plain / (update * mean))
        self.note("update_length", "all", update / mean)

    def not_finite(self) -> str | None:
        """The first column whose sum is NaN or infinite, as "task metric"; None: all sums are finite."""
        sums = self.values[0].tolist()
        return next((f"{t} {m}" for (m, t), v in zip(self.columns, sums, strict=True) if not math.isfinite(v)), None)

    def means(self) -> Iterator[tuple[str, str, float]]:
        """(metric, task, mean) of every column that has values."""
        for (metric, task), total, count in zip(self.columns, *self.values.tolist(), strict=True):
            if count:
                yield metric, task, total / count


def sample(e: Experiment, step: int, model: MultitaskModel, rows: Mapping[str, Rows], all_rows: Mapping[str, Rows],
           window: Window, losses: Callable[[Batch, Window, torch.Generator], dict[str, Tensor]]) -> None:
    """Before the updates of a sampled iteration, measure on its rows what the recipe itself does not show.

    That is: the task gradients of a recipe that combines none, the null of their cosines, and the parts of SMART's
    penalty. `losses` gives each task's loss on a batch. all_rows: the training rows from which other batches are drawn.
    The random numbers are the sample's own and no gradient is left, so that a run ends with the same bits whether it is
    sampled or not.
    """
    model.train()
    device = window.values.device
    seed = int(np.random.SeedSequence([e.seed, SAMPLE, step]).generate_state(1)[0])
    unused = Window(device)

    def gradient(task: str, part: Rows, seed: int) -> list[Tensor]:
        model.zero_grad()
        # under `sum` a task that is drawn twice counts with both batches' losses
        factor = e.task_weight(task) * (len(part) // e.batch_size if "sum" in e.updates else 1)
        with Randomness(seed, device):
            (losses(pack({task: part}, device), unused, torch.Generator().manual_seed(seed))[task] * factor).backward()
        return [p.grad for p in model.bert.parameters()]

    places = {task: i for i, task in enumerate(TASKS)}
    gradients = {task: gradient(task, part, seed + places[task]) for task, part in rows.items()}
    if not any(update in COMBINERS and update != "sum" for update in e.updates):  # no task gradients of its own
        G = gramian(list(gradients.values()))
        window.note_conflicts(G, list(rows))
        for task, norm in zip(rows, G.diagonal().sqrt(), strict=True):
            window.note("grad_norm", task, norm)
    null: dict[str, list[Tensor]] = {}
    generator = np.random.default_rng([e.seed, SAMPLE, step])
    for task, part in rows.items():
        drawn = generator.integers(len(all_rows[task]), size=len(part))
        other = all_rows[task].take(drawn)
        window.note("cosine_within", task, cosine(gradients[task], gradient(task, other, seed + 10 + places[task])))
        # the labels of other rows; sentences, dropout and noise are those of the gradient itself
        mislabelled = gradient(task, replace(part, labels=other.labels), seed + places[task])
        for rest in rows.keys() - {task}:
            null.setdefault("-".join(sorted((task, rest), key=TASKS.index)), []).append(
                cosine(mislabelled, gradients[rest]))
    model.zero_grad()
    for pair, cosines in null.items():
        a, b = pair.split("-")
        shuffled = sum(cosines) / len(cosines)
        window.note("cosine_shuffled", pair, shuffled)
        window.note("cosine_gap", pair, cosine(gradients[a], gradients[b]) - shuffled)
    del gradients
    if e.smart and e.smart.weight:
        with autocast(e.precision, device):
            parts = penalty_parts(model, e.smart, pack(rows, device), seed)
        for task, (whole, of_dropout) in parts.items():
            window.note("penalty", task, whole)
            window.note("penalty_dropout", task, of_dropout)
            window.note("penalty_noise", task, whole - of_dropout)


def cosine(a: Sequence[Gradient], b: Sequence[Gradient]) -> Tensor:
    """The cosine of two gradients over all their parameters as one vector; 0 if one of them is 0."""
    def dot(a: Sequence[Gradient], b: Sequence[Gradient]) -> Tensor:
        there = [touched(pair)[0] for pair in zip(a, b, strict=True) if pair[0] is not None and pair[1] is not None]
        return torch.stack([torch.dot(x.flatten(), y.flatten()) for x, y in there]).double().sum()

    return dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().clamp(min=1e-150)


def is_sampled(experiment: Experiment, step: int) -> bool:
    """Whether iteration `step`, counted from 1, is one of an epoch's `samples`, which are evenly spaced."""
    place, n = (step - 1) % experiment.iterations, min(experiment.samples, experiment.iterations)
    return (place + 1) * n // experiment.iterations > place * n // experiment.iterations


def penalty_parts(model: MultitaskModel, smart: Smart, batch: Batch, seed: int) -> dict[str, tuple[Tensor, Tensor]]:
    """SMART's penalty of each task under the same dropout masks, with and without noise: task -> (with, without).

    Their difference is what the noise adds. Neither is multiplied by `weight`. No parameter's gradient is touched.
    """
    found = []
    model.train(smart.dropout)
    # With sigma and step size 0 both readings leave the noise at 0, and still draw the same masks.
    for variant in (smart, replace(smart, sigma=0.0, step_size=0.0)):
        with Randomness(seed, batch.ids.device), torch.no_grad():
            noise = torch.Generator().manual_seed(seed)
            embeddings = model.embed(batch)
            clean = model.logits(embeddings, batch)
            found.append(penalties(variant, lambda x: model.logits(x, batch), embeddings, clean, noise).values)
    model.train()
    return {task: (found[0][task], found[1][task]) for task in clean}
