"""fit(): one iteration, forward, backward, combine, step, on one screen; the loop around it is in `training`.

    for row in lab.fit(lab.PROTOCOLS["laptop"](lab.RECIPES["baseline"])):
        print(row)
"""

import math
import shutil
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lab import checkpoints
from lab.batches import SAMPLERS, Batch, Rows, pack
from lab.data import TASKS, Data, load_data
from lab.diagnostics import Window, sample
from lab.evaluate import logits, scored, write_predictions, write_probabilities
from lab.experiment import Experiment
from lab.gradients import COMBINERS, combine, gramian
from lab.machine import autocast
from lab.runs import fill
from lab.session import EVAL_SEED, Session
from lab.smart import DIVERGENCES, penalties


def fit(experiment: Experiment, *, data: Data | str | Path | None = None, run: str | Path | None = None,
        resume: bool = False, root: str | Path | None = None, progress: bool = True) -> "Fit":
    """Train an experiment: an iterator of metric rows (dicts as in metrics.jsonl), with `.run` and `.model`.

    data: `lab.load_data(...)`, or its argument. run: the new run's name in the store `root` (default: made from the
    experiment; a name that is taken gets a number). resume: go on with that run where its newest checkpoint stands; a
    finished run yields nothing. Errors in the settings or the data come from this call, as LabError; a loss that
    turns NaN comes as one from the iteration, with the last good weights kept.
    """
    data = data if isinstance(data, Data) else load_data(data)
    return Fit(experiment, data, run, resume, root, progress)


class Fit(Session):
    """What `fit` returns. Iterating it trains."""

    def _draw(self) -> dict[str, Rows]:
        """Begin an iteration: the rows of its batches, task -> Rows; and sample task gradients where it is time."""
        e, state = self.experiment, self.state
        state["step"] += 1
        self._warm_up()
        sizes = {task: len(self.rows[task, "train"]) for task in TASKS}
        generator = np.random.default_rng([e.seed, len(TASKS), state["step"]])
        drawn: dict[str, list[np.ndarray]] = {}
        for task in SAMPLERS[e.sampling](sizes, -(-state["step"] // e.iterations), e.epochs, generator):
            drawn.setdefault(task, []).append(self.streams[task].batch(state["drawn"][task]))
            state["drawn"][task] += 1
        rows = {t: self.rows[t, "train"].take(np.concatenate(drawn[t])) for t in TASKS if t in drawn}
        sample(self, rows)
        return rows

    def _iterate(self, rows: dict[str, Rows]) -> None:
        """Take the experiment's updates in order, on the iteration's rows."""
        e = self.experiment
        self.model.train()
        for update in e.updates:
            if update == "separate":  # a step a batch, each gradient at the weights just moved
                for task, part in rows.items():
                    for first in range(0, len(part), e.batch_size):
                        self._gradient([{task: part.take(np.arange(first, first + e.batch_size))}], task)
                        self._take_step()
            elif update == "sum":  # one step on the sum of the losses
                # In one pass; but with SMART's three graphs a pass, one task after the other bounds the memory.
                self._gradient([{task: part} for task, part in rows.items()] if e.smart else [rows], "all")
                self._take_step()
            else:
                self._combined_step(update, rows)

    def _take_step(self) -> None:
        self.optimizer.step()
        if self.average:
            self.average.update(self.model)

    def _gradient(self, passes: list[dict[str, Rows]], name: str) -> None:
        """The gradient of the sum of all losses, pass by pass; its norm over the encoder is noted as `name`."""
        window = self.windows["batch"]
        self.optimizer.zero_grad()
        for rows in passes:
            batch = pack(rows, self.device)
            self.state["window_tokens"] += len(batch.ids)
            sum(self.losses(batch, window, self.noise).values()).backward()
        gradients = [p.grad for p in self.model.bert.parameters() if p.grad is not None]
        window.note("grad_norm", name, torch.stack(torch._foreach_norm(gradients)).norm())

    def losses(self, batch: Batch, window: Window, noise: torch.Generator) -> dict[str, Tensor]:
        """Each task's loss on a batch, SMART's terms in it."""
        with autocast(self.experiment.precision, self.device):
            embeddings = self.model.embed(batch)
            logits = self.model.logits(embeddings, batch)
            losses = self.model.losses(batch, logits)
            for task, loss in losses.items():
                window.note("loss", task, loss.detach())
            if self.experiment.smart:
                self._add_smart(losses, batch, embeddings, logits, window, noise)
        return losses

    def _add_smart(self, losses: dict[str, Tensor], batch: Batch, embeddings: Tensor, logits: dict[str, Tensor],
                   window: Window, noise: torch.Generator) -> None:
        """Add SMART's penalty and the Bregman term to each task's loss, before any gradients are combined."""
        smart, model = self.experiment.smart, self.model
        model.train(smart.dropout)
        if not smart.dropout:  # both sides of each divergence then come from passes without dropout
            embeddings = model.embed(batch)
            logits = model.logits(embeddings, batch)
        if smart.weight:
            penalty = penalties(smart, lambda x: model.logits(x, batch), embeddings, logits, noise)
            window.note("noise_norm", "all", penalty.noise_norm.detach())
            for task, value in penalty.values.items():
                window.note("penalty", task, value.detach())
                losses[task] = losses[task] + smart.weight * value
        if self.average:
            slow = self.average.model.train(smart.dropout)
            with torch.no_grad():
                reference = slow.logits(slow.embed(batch), batch)
            for task in losses:
                value = DIVERGENCES[task](logits[task], reference[task])
                window.note("bregman", task, value.detach())
                losses[task] = losses[task] + smart.bregman * value
        model.train()

    def _combined_step(self, update: str, rows: dict[str, Rows]) -> None:
        """One step on combined task gradients: the tasks go one after the other, so one graph is in memory at a time.

        The encoder's gradients are combined as one vector; a head gets its own task's, with weight 1.
        """
        encoder, of_heads, gradients = list(self.model.bert.parameters()), {}, []
        for task, part in rows.items():
            self._gradient([{task: part}], task)
            gradients.append([p.grad for p in encoder])
            of_heads |= {p: p.grad for p in self.model.heads.parameters() if p.grad is not None}
        G = gramian(gradients)
        weights = COMBINERS[update](G, self.generator, self.combiner_state.setdefault(update, {}))
        self.windows["batch"].note_conflicts(G, list(rows))
        self.windows["batch"].note_update(G, weights)
        for p, gradient in zip(encoder, combine(gradients, weights), strict=True):
            p.grad = gradient
        for p, gradient in of_heads.items():
            p.grad = gradient
        self._take_step()

    # ---- measurements --------------------------------------------------------------------------------------------

    def _score(self, split: str, rows: dict[str, Rows], step: int | None = None) -> tuple[list[dict], dict, dict]:
        """Metric rows, predictions and the logits that they were chosen from."""
        began = time.perf_counter()
        with autocast(self.experiment.precision, self.device):
            answers = logits(self.model, rows, self._heartbeat)
            scores, predictions = scored(self.model, rows, answers)
        spent = time.perf_counter() - began
        self.state["seconds"] += spent
        self.state["scoring"] += spent
        made = [self._row(split, task, metric, value, step)
                for task, of in scores.items() for metric, value in of.items()]
        if bad := next((row for row in made if row["value"] is not None and not math.isfinite(row["value"])), None):
            raise self._not_finite(f"{bad['task']} {bad['metric']} on {split}")
        return made, predictions, answers

    def _score_epoch(self) -> list[dict]:
        """Train and dev after an epoch; remembers the epoch that is best on dev overall."""
        rows = [row for split, part in self.scored.items() for row in self._score(split, part)[0]]
        overall, best = rows[-1]["value"], self.state["best"]
        # A null score (a constant STS prediction) is best only while every epoch has one; then the last is.
        if best is None or best["overall"] is None or (overall is not None and overall > best["overall"]):
            self.state["best"] = {"step": self.state["step"], "overall": overall}
        return rows

    def _end(self) -> list[dict]:
        rows = self._score_everything()
        self.run.append(rows)
        checkpoints.finish(self.run.checkpoints, {self.total, self.state["best"]["step"]})
        self._done(best=self.state["best"])
        return rows

    def _score_everything(self) -> list[dict]:
        """All of dev, and test where it is, at the last weights and at those best on dev; predictions are written."""
        last, best, rows = self.state["step"], self.state["best"]["step"], []
        for name, step in [("best", best), ("last", last)] if best != last else [("last", last)]:
            fill(self.model, checkpoints.load(self.run.checkpoints, step)[0], self.run)
            for split in ("dev", "test"):
                parts = {t: self.rows[t, split].some(self.experiment.eval_rows, EVAL_SEED)
                         for t in TASKS if (t, split) in self.rows}
                if parts:
                    made, predictions, answers = self._score("dev_full" if split == "dev" else split, parts, step)
                    rows += made
                    write_predictions(self.run.folder / "predictions" / name, split, parts, predictions)
                    write_probabilities(self.run.folder / "probabilities" / name, split, parts, answers)
        for folder in ("predictions", "probabilities") if best == last else ():
            shutil.copytree(self.run.folder / folder / "last", self.run.folder / folder / "best", dirs_exist_ok=True)
        return rows


