"""fit(): the training loop. Forward, backward, combine, step, on one screen; everything else is records.

    for row in lab.fit(lab.PROTOCOLS["laptop"](lab.RECIPES["baseline"])):
        print(row)
"""

import hashlib
import json
import math
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from lab import checkpoints
from lab.batches import SAMPLERS, Rows, Stream, pack, prepare
from lab.data import TASKS, Data, load_data
from lab.errors import LabError
from lab.evaluate import evaluate, shown, write_predictions
from lab.experiment import PAPER_ITERATIONS, Experiment, departs
from lab.machine import Randomness, autocast, peak_memory, pick_device
from lab.optim import AdamW
from lab.runs import Run, checked_name, fill, runs_root
from lab.tasks import MultitaskModel
from lab.weights import load_encoder, save_description

WINDOW = 25  # iterations whose means make one row of each training measurement
HEARTBEAT = 5  # seconds
CHECKPOINT_EVERY = 100  # iterations, besides the end of every epoch
STS_ROWS = 8 * PAPER_ITERATIONS  # the paper's smallest set, 6,040 rows: one batch of 8 an iteration of its epoch
# What is summed on the device over a window, in the order of its columns.
MEASURED = [*(("loss", task) for task in TASKS), *(("grad_norm", task) for task in (*TASKS, "all"))]
EVAL_SEED = 42  # which rows the smaller evaluations score; the same for every recipe and seed


def fit(experiment: Experiment, *, data: Data | str | Path | None = None, run: str | Path | None = None,
        resume: bool = False, root: str | Path | None = None, progress: bool = True) -> "Fit":
    """Train an experiment: an iterator of metric rows (dicts as in metrics.jsonl), with `.run` and `.model`.

    data: `lab.load_data(...)`, or its argument. run: the new run's name in the store `root` (default: made from the
    experiment; a name that is taken gets a number). resume: go on with that run where its newest checkpoint stands; a
    finished run yields nothing. Errors in the settings or the data come from this call, as LabError; a loss that
    turns NaN comes as one from the iteration, with the last good weights kept.
    """
    return Fit(experiment, data, run, resume, root, progress)


class Fit:
    """What `fit` returns. Iterating it trains."""

    def __init__(self, experiment: Experiment, data: Data | str | Path | None, run: str | Path | None, resume: bool,
                 root: str | Path | None, progress: bool) -> None:
        data = data if isinstance(data, Data) else load_data(data)
        self.experiment, self.data, self.progress = experiment, data, progress
        self.device, self.total = pick_device(experiment.device), experiment.iterations * experiment.epochs
        self.run = _place(experiment, data, run, resume, runs_root(root))
        self.run.lock()
        try:
            self._prepare(resume)
        except BaseException:
            self.run.close()
            raise
        self._iterator = self._train()
        self.next_heartbeat = 0.0

    def __iter__(self) -> Iterator[dict]:
        return self

    def __next__(self) -> dict:
        with self.randomness:  # torch's global random state is the run's own while it works, and the caller's after
            return next(self._iterator)

    def close(self) -> None:
        """Stop training here. `resume` goes on from the newest checkpoint."""
        self._iterator.close()
        self.run.close()

    # ---- getting ready ------------------------------------------------------------------------------------------

    def _prepare(self, resume: bool) -> None:
        e, run, data = self.experiment, self.run, self.data
        recorded = run.config if resume and (run.folder / "experiment.json").exists() else None
        if recorded and recorded.get("data", {}).get("fingerprint") != data.fingerprint:
            raise LabError(f"run {run.name} was trained on other data ({recorded.get('data', {}).get('label')}); "
                           "name the same data, or start a new run")
        if recorded and recorded.get("device") != self.device.type:
            raise LabError(f"run {run.name} was begun on {recorded.get('device')}, and would not be the same run on "
                           f"{self.device.type}; start a new run here")
        if recorded and recorded["experiment"] != _plain(e):
            differs = [k for k, v in _plain(e).items() if recorded["experiment"].get(k) != v]
            raise LabError(f"run {run.name} was trained with another {', '.join(differs)}; name another run")
        self.finished = bool(recorded) and run.status.get("state") == "done"

        self.randomness = Randomness(e.seed, self.device)
        newest = checkpoints.load_newest(run.checkpoints, self.total) if recorded else None
        if recorded and not newest and run.rows():
            raise LabError(f"run {run.name} has no checkpoint that can be read; its records are left as they are, "
                           "so start a new run")
        with self.randomness:
            # A run that goes on needs nothing but its own folder.
            bert, self.tokenizer = run.encoder() if newest else load_encoder(e.encoder)
            for module in bert.modules():
                if isinstance(module, torch.nn.Dropout):
                    module.p = e.dropout
            self.model = MultitaskModel(bert, e.pooling, e.sts_head).to(self.device)
        self.optimizer = AdamW(self.model.parameters(), lr=e.lr, weight_decay=e.weight_decay)

        share = min(1.0, 8 * e.epoch_1x / max(1, len(data.splits["sts", "train"].examples)))
        rows = prepare(data, self.tokenizer, share=share, longest=bert.config.max_position_embeddings,
                       cache=run.folder.parent / ".cache")
        self.rows = rows
        self.streams = {t: Stream(len(rows[t, "train"]), e.batch_size, [e.seed, i]) for i, t in enumerate(TASKS)}
        self.scored = {"train": {t: rows[t, "train"].some(least(e.eval_train, e.eval_rows), EVAL_SEED) for t in TASKS},
                       "dev": {t: rows[t, "dev"].some(least(e.eval_rows, e.eval_qqp if t == "qqp" else None), EVAL_SEED)
                               for t in TASKS}}
        # What a resumed run needs besides weights and random state.
        self.state: dict[str, Any] = {"step": 0, "best": None, "seconds": 0.0, "scoring": 0.0,
                                      "drawn": dict.fromkeys(TASKS, 0), "window_tokens": 0, "window_seconds": 0.0}
        self.window = torch.zeros(2, len(MEASURED), device=self.device)  # sums, and how many values each is of

        if newest:
            self._restore(*newest)
        if self.finished:
            return
        if not recorded:  # experiment.json comes last: with it, the folder is a run
            save_description(bert.config, run.folder / "encoder", self.tokenizer)
            sizes = {f"{task} {split}": {"rows": len(s.examples), "used": len(rows[task, split]),
                                         "left out": len(s.problems)} for (task, split), s in data.splits.items()}
            run.write_config({"experiment": _plain(e), "departs": departs(e), "device": self.device.type, "data": {
                "label": data.label, "kind": data.kind, "fingerprint": data.fingerprint, "sizes": sizes,
                "cut": rows["sst", "train"].texts.cut}})
        run.cut_rows(newest[1]["metrics_bytes"] if newest else 0)
        if not newest:
            with self.randomness:
                self._checkpoint()

    def _restore(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        fill(self.model, tensors, self.run)
        self.state = {key: state.get(key, fresh) for key, fresh in self.state.items()}
        if "training/window" not in tensors:
            return  # a finished run keeps its weights alone
        parameters = list(self.model.parameters())
        for i, parameter in enumerate(parameters):
            if f"training/{i}.step" in tensors:
                self.optimizer.state[parameter] = {
                    "step": int(tensors[f"training/{i}.step"]),
                    **{k: tensors[f"training/{i}.{k}"].clone().to(self.device) for k in ("exp_avg", "exp_avg_sq")}}
        self.window.copy_(tensors["training/window"])
        self.randomness.own = {k: tensors[f"training/random.{k}"] for k in self.randomness.own}

    def _checkpoint(self) -> None:
        training = {"window": self.window, **{f"random.{k}": v for k, v in self.randomness.now().items()}}
        for i, parameter in enumerate(self.model.parameters()):
            moments = self.optimizer.state.get(parameter, {})
            training |= {f"{i}.{key}": torch.as_tensor(value) for key, value in moments.items()}
        best = self.state["best"]
        checkpoints.save(self.run.checkpoints, self.state["step"],
                         {"model": self.model.state_dict(), "training": training},
                         {**self.state, "metrics_bytes": self.run.sync()}, keep=[best["step"]] if best else [])

    # ---- the loop ------------------------------------------------------------------------------------------------

    def _train(self) -> Iterator[dict]:
        e, state, total = self.experiment, self.state, self.total
        if self.finished:
            self.run.close()
            return
        bar = tqdm(total=total, initial=state["step"], desc=self.run.name, unit="it", disable=not self.progress,
                   dynamic_ncols=True)
        try:
            self._heartbeat()
            while state["step"] < total:
                began = time.perf_counter()
                self._iterate()
                spent = time.perf_counter() - began
                state["seconds"] += spent
                state["window_seconds"] += spent
                bar.update()
                step, rows = state["step"], []
                epoch_ends = step % e.iterations == 0
                if step % WINDOW == 0 or step == total:
                    rows += self._close_window()
                self._heartbeat()
                if epoch_ends:
                    bar.set_postfix_str("scoring dev")
                    rows += self._score_epoch()
                    bar.set_postfix_str(f"epoch {step // e.iterations}, dev overall {shown(rows[-1]['value'])}")
                saves = epoch_ends or step % CHECKPOINT_EVERY == 0
                if saves:
                    self._check_finite()
                self.run.append(rows)
                if saves:
                    self._checkpoint()
                yield from rows
            bar.set_postfix_str("scoring all of dev")
            rows = self._score_everything()
            self.run.append(rows)
            checkpoints.finish(self.run.checkpoints, {total, state["best"]["step"]})
            self.run.sync()
            self.finished = True
            self.run.write_status("done", step=total, total=total, best=state["best"],
                                  seconds=round(state["seconds"], 1), scoring=round(state["scoring"], 1))
            yield from rows
        except BaseException as error:
            if not self.finished:
                why = str(error) or type(error).__name__
                stopped = isinstance(error, GeneratorExit | KeyboardInterrupt)
                self.run.write_status("stopped" if stopped else "failed", step=state["step"], total=total, why=why)
            raise
        finally:
            bar.close()
            self.run.close()

    def _heartbeat(self) -> None:
        """Say in status.json that the run is alive, every few seconds at most."""
        if time.monotonic() > self.next_heartbeat:
            self.next_heartbeat = time.monotonic() + HEARTBEAT
            self.run.write_status("running", step=self.state["step"], total=self.total)

    def _iterate(self) -> None:
        """One iteration: draw a batch of every task, then take the experiment's updates in order."""
        e, state = self.experiment, self.state
        state["step"] += 1
        if e.warmup:
            for group in self.optimizer.param_groups:
                group["lr"] = e.lr * min(1.0, state["step"] / e.warmup)
        drawn: dict[str, Rows] = {}
        for task in SAMPLERS[e.sampling](TASKS):
            drawn[task] = self.rows[task, "train"].take(self.streams[task].batch(state["drawn"][task]))
            state["drawn"][task] += 1
        self.model.train()
        for update in e.updates:
            if update == "separate":  # a step a task, each gradient at the weights just moved
                for task, rows in drawn.items():
                    self._step({task: rows})
            else:  # one step on the sum of the losses
                self._step(drawn)

    def _step(self, rows: dict[str, Rows]) -> None:
        """Forward, backward, step; losses and the encoder's gradient norm are summed on the device."""
        batch = pack(rows, self.device)
        self.state["window_tokens"] += len(batch.ids)
        with autocast(self.experiment.precision, self.device):
            losses = self.model.losses(batch)
        self.optimizer.zero_grad()
        sum(losses.values()).backward()
        self.optimizer.step()
        for task, loss in losses.items():
            self._note("loss", task, loss.detach())
        gradients = [p.grad for p in self.model.bert.parameters() if p.grad is not None]
        norm = torch.stack(torch._foreach_norm(gradients)).norm()
        self._note("grad_norm", "all" if len(rows) > 1 else next(iter(rows)), norm)

    def _note(self, metric: str, task: str, value: Tensor) -> None:
        column = self.window[:, MEASURED.index((metric, task))]
        column[0] += value
        column[1] += 1

    # ---- measurements --------------------------------------------------------------------------------------------

    def _row(self, split: str, task: str, metric: str, value: float | None, step: int | None = None) -> dict:
        step = self.state["step"] if step is None else step
        return {"step": step, "epoch": -(-step // self.experiment.iterations), "split": split, "task": task,
                "metric": metric, "value": value, "seconds": round(self.state["seconds"], 3)}

    def _read_window(self) -> tuple[list[float], list[float]]:
        """The window's sums and counts, read from the device at once. LabError: a value was NaN or infinite."""
        sums, counts = self.window.tolist()
        for (metric, task), value in zip(MEASURED, sums, strict=True):
            if not math.isfinite(value):
                raise self._not_finite(f"{task} {metric}")
        return sums, counts

    def _check_finite(self) -> None:
        """Nothing that is not finite is ever saved: neither sums nor weights. LabError otherwise."""
        self._read_window()
        if not torch.stack(torch._foreach_norm(list(self.model.parameters()))).isfinite().all():
            raise self._not_finite("a weight")

    def _not_finite(self, what: str) -> LabError:
        good = checkpoints.steps(self.run.checkpoints)[-1]
        return LabError(f"run {self.run.name}: {what} became NaN or infinite by iteration {self.state['step']}; the "
                        f"last good weights (iteration {good}) are kept. Try a smaller lr")

    def _close_window(self) -> list[dict]:
        """The window's means as rows, and a fresh window."""
        rows = [self._row("batch", task, metric, total / count)
                for (metric, task), total, count in zip(MEASURED, *self._read_window(), strict=True) if count]
        speed = self.state["window_tokens"] / max(self.state["window_seconds"], 1e-9)
        rows += [self._row("batch", "all", "tokens_per_second", round(speed, 1)),
                 self._row("batch", "all", "peak_memory_mb", peak_memory(self.device))]
        self.window.zero_()
        self.state |= {"window_tokens": 0, "window_seconds": 0.0}
        return rows

    def _score(self, split: str, rows: dict[str, Rows], step: int | None = None) -> tuple[list[dict], dict]:
        began = time.perf_counter()
        with autocast(self.experiment.precision, self.device):
            scores, predictions = evaluate(self.model, rows, self._heartbeat)
        spent = time.perf_counter() - began
        self.state["seconds"] += spent
        self.state["scoring"] += spent
        made = [self._row(split, task, metric, value, step)
                for task, of in scores.items() for metric, value in of.items()]
        if bad := next((row for row in made if row["value"] is not None and not math.isfinite(row["value"])), None):
            raise self._not_finite(f"{bad['task']} {bad['metric']} on {split}")
        return made, predictions

    def _score_epoch(self) -> list[dict]:
        """Train and dev after an epoch; remembers the epoch that is best on dev overall."""
        rows = [row for split, part in self.scored.items() for row in self._score(split, part)[0]]
        overall, best = rows[-1]["value"], self.state["best"]
        # A null score (a constant STS prediction) is best only while every epoch has one; then the last is.
        if best is None or best["overall"] is None or (overall is not None and overall > best["overall"]):
            self.state["best"] = {"step": self.state["step"], "overall": overall}
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
                    made, predictions = self._score("dev_full" if split == "dev" else split, parts, step)
                    rows += made
                    write_predictions(self.run.folder / "predictions" / name, split, parts, predictions)
        if best == last:
            shutil.copytree(self.run.folder / "predictions" / "last", self.run.folder / "predictions" / "best",
                            dirs_exist_ok=True)
        return rows


def least(*limits: int | None) -> int | None:
    """The smallest of several limits, None being no limit."""
    return min((limit for limit in limits if limit is not None), default=None)


def _plain(experiment: Experiment) -> dict[str, Any]:
    return json.loads(experiment.to_json())


def run_name(experiment: Experiment, data: Data) -> str:
    """The name of an experiment's run: recipe, protocol, seed, and six digits that stand for all the rest."""
    digest = hashlib.sha256(f"{experiment.to_json()} {data.fingerprint}".encode()).hexdigest()
    kind = "sample-" if data.kind == "sample" else ""
    return f"{experiment.name}-{experiment.protocol}-{kind}s{experiment.seed}-{digest[:6]}"


def _place(experiment: Experiment, data: Data, run: str | Path | None, resume: bool, root: Path) -> Run:
    """The run's folder: the named one, or one named after the experiment, with a number if it is taken."""
    given = Path(run) if run is not None else None
    if given is not None and (given.is_absolute() or len(given.parts) > 1) and ".." not in given.parts:
        root, name = given.parent, given.name
    else:
        name = str(run) if run is not None else run_name(experiment, data)
    folder = root / checked_name(name)
    if resume or not (folder / "experiment.json").exists():
        return Run(folder)
    if run is not None:
        raise LabError(f"there is a run {name} already; --resume (resume=True) goes on with it, another name starts "
                       "another")
    return Run(next(f for i in range(2, 10**6) if not (f := root / f"{name}-{i}").exists()))
