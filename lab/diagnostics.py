"""What is measured while a model trains: sums over a window of iterations, and samples at some of them.

A recipe that combines task gradients shows their cosines and conflicts at every iteration. The others have one gradient
alone, and SMART's penalty never says how much of it is dropout: both are measured now and then, beside the training,
with random numbers of their own, so that a run ends with the same bits whether it was looked at or not.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lab.batches import Batch, Rows, pack
from lab.data import TASKS
from lab.experiment import Experiment
from lab.gradients import COMBINERS, gramian
from lab.machine import Randomness, autocast
from lab.smart import Smart, penalties
from lab.tasks import MultitaskModel

if TYPE_CHECKING:
    from lab.train import Fit

PAIRS = ["-".join(pair) for pair in itertools.combinations(TASKS, 2)]
SAMPLE = 20  # with the run's seed and the step: the seed of a sample's own random numbers


class Window:
    """Sums of what is measured between two rows, kept on the device and read once a window."""

    columns = ([("loss", t) for t in TASKS] + [("grad_norm", t) for t in (*TASKS, "all")]
               + [(metric, pair) for metric in ("cosine", "conflict") for pair in PAIRS]
               + [("update_cosine", "all"), ("update_length", "all")]
               + [(m, t) for m in ("penalty", "penalty_dropout", "penalty_noise", "bregman") for t in TASKS]
               + [("noise_norm", "all")])

    def __init__(self, device: torch.device) -> None:
        self.values = torch.zeros(2, len(self.columns), device=device)  # sums, and how many values each is of

    def note(self, metric: str, task: str, value: Tensor) -> None:
        """Add a value to a column."""
        column = self.values[:, self.columns.index((metric, task))]
        column[0] += value
        column[1] += 1

    def note_conflicts(self, G: Tensor, tasks: list[str]) -> None:
        """From the task gradients' Gramian: the cosine of each two, and whether they conflict (cosine below 0)."""
        norms = G.diagonal().sqrt().clamp(min=1e-150)  # whose product is still above 0
        for i, j in itertools.combinations(range(len(tasks)), 2):
            cosine = G[i, j] / (norms[i] * norms[j])
            self.note("cosine", f"{tasks[i]}-{tasks[j]}", cosine)
            self.note("conflict", f"{tasks[i]}-{tasks[j]}", cosine < 0)

    def note_update(self, G: Tensor, weights: Tensor) -> None:
        """What a combiner changed: the cosine of its update with the plain mean of the gradients, and their lengths'
        ratio."""
        plain = torch.full_like(weights, 1 / len(weights))
        # u = sum_i w_i g_i,  m = sum_i g_i / T:   |u|^2 = w' G w,  |m|^2 = m' G m,  u . m = w' G m
        update, mean = ((w @ G @ w).clamp(min=1e-300).sqrt() for w in (weights, plain))
        self.note("update_cosine", "all", weights @ G @ plain / (update * mean))
        self.note("update_length", "all", update / mean)

    def not_finite(self) -> str | None:
        """The first column whose sum is NaN or infinite, in words; None: all are finite."""
        sums = self.values[0].tolist()
        return next((f"{t} {m}" for (m, t), v in zip(self.columns, sums, strict=True) if not math.isfinite(v)), None)

    def means(self) -> Iterator[tuple[str, str, float]]:
        """(metric, task, mean) of every column that has values."""
        for (metric, task), total, count in zip(self.columns, *self.values.tolist(), strict=True):
            if count:
                yield metric, task, total / count


def sample(training: "Fit", rows: dict[str, Rows]) -> None:
    """At some iterations, before their updates: what the recipe itself does not show, on the iteration's rows.

    It uses random numbers of its own and leaves no gradient, so the run stays the same to the bit.
    """
    e, step = training.experiment, training.state["step"]
    if not is_sampled(e, step):
        return
    model, window, device = training.model.train(), training.windows["sampled"], training.device
    seed = int(np.random.SeedSequence([e.seed, SAMPLE, step]).generate_state(1)[0])
    if not any(update in COMBINERS and update != "sum" for update in e.updates):  # no task gradients at equal weights
        gradients, nobody, noise = [], Window(device), torch.Generator().manual_seed(seed)
        with Randomness(seed, device):
            for task, part in rows.items():
                training.optimizer.zero_grad()
                training.losses(pack({task: part}, device), nobody, noise)[task].backward()
                gradients.append([p.grad for p in model.bert.parameters()])
        training.optimizer.zero_grad()
        G = gramian(gradients)
        del gradients
        window.note_conflicts(G, list(rows))
        for task, norm in zip(rows, G.diagonal().sqrt(), strict=True):
            window.note("grad_norm", task, norm)
    if e.smart and e.smart.weight:
        with autocast(e.precision, device):
            parts = penalty_parts(model, e.smart, pack(rows, device), seed)
        for task, (whole, of_dropout) in parts.items():
            window.note("penalty", task, whole)
            window.note("penalty_dropout", task, of_dropout)
            window.note("penalty_noise", task, whole - of_dropout)


def is_sampled(experiment: Experiment, step: int) -> bool:
    """Whether this iteration, 1 ..., is one of an epoch's `samples`, which lie evenly in it."""
    place, n = (step - 1) % experiment.iterations, min(experiment.samples, experiment.iterations)
    return (place + 1) * n // experiment.iterations > place * n // experiment.iterations


def penalty_parts(model: MultitaskModel, smart: Smart, batch: Batch, seed: int) -> dict[str, tuple[Tensor, Tensor]]:
    """SMART's penalty of each task, whole and at zero noise, under the same dropout masks: task -> (whole, dropout's).

    Their difference is what the noise adds. Neither is yet times `weight`; no parameter's gradient is touched.
    """
    found = []
    model.train(smart.dropout)
    # Without a first noise and a step, both readings leave the noise at 0, and draw the same masks on the way.
    for variant in (smart, replace(smart, sigma=0.0, step_size=0.0)):
        with Randomness(seed, batch.ids.device), torch.no_grad():
            noise = torch.Generator().manual_seed(seed)
            embeddings = model.embed(batch)
            clean = model.logits(embeddings, batch)
            found.append(penalties(variant, lambda x: model.logits(x, batch), embeddings, clean, noise).values)
    model.train()
    return {task: (found[0][task], found[1][task]) for task in clean}
