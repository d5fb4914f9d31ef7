"""The loop that `fit` and `pretrain_mlm` share, and the life of a run, which one process alone writes.

It is begun or found again, trains as it is iterated, says how it goes, and never saves what is not finite.
"""

import contextlib
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from lab import checkpoints
from lab.data import Data
from lab.diagnostics import Window
from lab.errors import LabError
from lab.evaluate import shown
from lab.experiment import Settings
from lab.machine import Randomness, peak_memory, pick_device
from lab.optim import AdamW
from lab.runs import Run, checked_name, fill
from lab.weights import save_description

HEARTBEAT = 5  # seconds
WINDOW = 25  # iterations whose means make one row of each training measurement
CHECKPOINT_EVERY = 100  # iterations, besides the end of every epoch

Record = dict[str, Any] | None  # a run's experiment.json
Checkpoint = tuple[dict[str, Tensor], dict[str, Any]] | None  # its tensors and its state


class Training:
    """An iterator of metric rows that trains as it goes, with a random state of its own.

    A subclass says what is trained: `_prepare(resume)` makes ready, `_draw()` begins an iteration and gives its
    batches, `_iterate(batches)` takes its steps. `_score_start()` and `_score_epoch()` return rows, which the loop
    records; `_end()` records its own, then calls `_done()`.
    """

    model: nn.Module
    optimizer: AdamW
    tokenizer: Any
    windows: dict[str, Window]  # by the split under which their rows are recorded
    state: dict[str, Any]  # what a resumed run needs besides weights and random state
    iterations: int  # an epoch
    finished = False

    def __init__(self, settings: Settings, data: Data, run: Run, resume: bool, progress: bool) -> None:
        self.settings, self.data, self.run, self.progress = settings, data, run, progress
        self.device, self.next_heartbeat = pick_device(settings.device), 0.0
        self.randomness = Randomness(settings.seed, self.device)
        self.run.lock()
        try:
            self._prepare(resume)
        except BaseException:
            self.run.close()
            raise
        self._iterator = self._train()

    @property
    def total(self) -> int:
        """Iterations in all."""
        return self.iterations * self.settings.epochs

    def __iter__(self) -> Iterator[dict]:
        return self

    def __next__(self) -> dict:
        with self.randomness:  # torch's global random state is the run's own while it works, and the caller's after
            return next(self._iterator)

    def close(self) -> None:
        """Stop training here. `resume` goes on from the newest checkpoint."""
        self._iterator.close()
        self.run.close()

    def _found(self, resume: bool) -> tuple[Record, Checkpoint]:
        """What the run's folder has to go on with: experiment.json and the newest checkpoint, or None for either.

        LabError: it was begun with other data, settings or device, or its checkpoints cannot be read.
        """
        run, kind = self.run, type(self.settings)
        if not resume or not (run.folder / "experiment.json").exists():
            return None, None
        recorded = run.config
        if recorded.get("data", {}).get("fingerprint") != self.data.fingerprint:
            raise LabError(f"run {run.name} was trained on other data ({recorded.get('data', {}).get('label')}); "
                           "name the same data, or start a new run")
        if recorded.get("device") != self.device.type:
            raise LabError(f"run {run.name} was begun on {recorded.get('device')}, and would not be the same run on "
                           f"{self.device.type}; start a new run here")
        now, before = (json.loads(settings.to_json())
                       for settings in (self.settings, kind.from_json(json.dumps(recorded["experiment"]))))
        if differs := [key for key in now if before[key] != now[key]]:
            raise LabError(f"run {run.name} was trained with another {', '.join(differs)}; name another run")
        self.finished = run.status.get("state") == "done"
        newest = checkpoints.load_newest(run.checkpoints, self.total)
        if not newest and run.rows():
            raise LabError(f"run {run.name} has no checkpoint that can be read; its records are left as they are, "
                           "so start a new run")
        return recorded, newest

    def _begin(self, recorded: Record, newest: Checkpoint, about_data: dict[str, Any], **more: object) -> None:
        """Write a new run's description and first checkpoint; of an old one, forget the rows after its newest."""
        if not recorded:  # experiment.json comes last: with it, the folder is a run
            save_description(self.model.bert.config, self.run.folder / "encoder", self.tokenizer)
            self.run.write_status("running", step=0, total=self.total)
            data = {"label": self.data.label, "kind": self.data.kind, "fingerprint": self.data.fingerprint}
            self.run.write_config({"experiment": json.loads(self.settings.to_json()), **more,
                                   "device": self.device.type, "data": data | about_data})
        self.run.cut_rows(newest[1]["metrics_bytes"] if newest else 0)
        if not newest:
            with self.randomness:
                self.checkpoint()

    def _train(self) -> Iterator[dict]:
        """The loop. Rows are in the run's folder before they are yielded; a checkpoint knows how far they went."""
        state = self.state
        if self.finished:
            self.run.close()
            return
        with self._watched() as bar:
            if state["step"] == 0:
                made = self._score_start()
                self.run.append(made)
                yield from made
            while state["step"] < self.total:
                batches = self._draw()
                began = time.perf_counter()
                self._iterate(batches)
                spent = time.perf_counter() - began
                state["seconds"] += spent
                state["window_seconds"] += spent
                bar.update()
                step, made = state["step"], []
                epoch_ends = step % self.iterations == 0
                if step % WINDOW == 0 or step == self.total:
                    made += self._close_windows()
                self._heartbeat()
                if epoch_ends:
                    bar.set_postfix_str("scoring")
                    made += self._score_epoch()
                    last = made[-1] | {"value": shown(made[-1]["value"])}
                    bar.set_postfix_str("epoch {epoch}, {split} {metric} {value}".format_map(last))
                saves = epoch_ends or step % CHECKPOINT_EVERY == 0
                if saves:
                    self._check_finite()
                self.run.append(made)
                if saves:
                    self.checkpoint()
                yield from made
            bar.set_postfix_str("last scores")
            yield from self._end()

    def _score_start(self) -> list[dict]:
        return []

    @contextlib.contextmanager
    def _watched(self) -> Iterator[tqdm]:
        """While the run trains: a progress bar, and status.json, which says at the latest here how it ended."""
        bar = tqdm(total=self.total, initial=self.state["step"], desc=self.run.name, unit="it",
                   disable=not self.progress, dynamic_ncols=True)
        try:
            self._heartbeat()
            yield bar
        except BaseException as error:
            if not self.finished:
                why = str(error) or type(error).__name__
                stopped = isinstance(error, GeneratorExit | KeyboardInterrupt)
                self.run.write_status("stopped" if stopped else "failed", step=self.state["step"], total=self.total,
                                      why=why)
            raise
        finally:
            bar.close()
            self.run.close()

    def _done(self, **more: object) -> None:
        """All is trained and written: say so in status.json."""
        self.run.sync()
        self.finished = True
        self.run.write_status("done", step=self.total, total=self.total, **more,
                              seconds=round(self.state["seconds"], 1), scoring=round(self.state["scoring"], 1))

    def _heartbeat(self) -> None:
        """Say in status.json that the run is alive, every few seconds at most."""
        if time.monotonic() > self.next_heartbeat:
            self.next_heartbeat = time.monotonic() + HEARTBEAT
            self.run.write_status("running", step=self.state["step"], total=self.total)

    def _warm_up(self) -> None:
        """Let lr rise from 0 to its own value over the first `warmup` iterations."""
        if self.settings.warmup:
            for group in self.optimizer.param_groups:
                group["lr"] = self.settings.lr * min(1.0, self.state["step"] / self.settings.warmup)

    def _row(self, split: str, task: str, metric: str, value: float | None, step: int | None = None) -> dict:
        step = self.state["step"] if step is None else step
        return {"step": step, "epoch": -(-step // self.iterations), "split": split, "task": task,
                "metric": metric, "value": value, "seconds": round(self.state["seconds"], 3)}

    def _close_windows(self) -> list[dict]:
        """The windows' means as rows, and fresh windows."""
        self._check_windows()
        rows = []
        for split, window in self.windows.items():
            rows += [self._row(split, task, metric, mean) for metric, task, mean in window.means()]
            window.values.zero_()
        speed = self.state["window_tokens"] / max(self.state["window_seconds"], 1e-9)
        rows += [self._row("batch", "all", "tokens_per_second", round(speed, 1)),
                 self._row("batch", "all", "peak_memory_mb", peak_memory(self.device))]
        self.state |= {"window_tokens": 0, "window_seconds": 0.0}
        return rows

    def _check_windows(self) -> None:
        for window in self.windows.values():
            if bad := window.not_finite():
                raise self._not_finite(bad)

    def _check_finite(self) -> None:
        """Nothing that is not finite is ever saved: neither sums nor weights. LabError otherwise."""
        self._check_windows()
        if not torch.stack(torch._foreach_norm(list(self.model.parameters()))).isfinite().all():
            raise self._not_finite("a weight")

    def _not_finite(self, what: str) -> LabError:
        good = checkpoints.steps(self.run.checkpoints)[-1]
        return LabError(f"run {self.run.name}: {what} became NaN or infinite by iteration {self.state['step']}; the "
                        f"last good weights (iteration {good}) are kept. Try a smaller lr")

    def checkpoint(self) -> None:
        """Save all that `resume` needs, at the present step."""
        best = self.state.get("best")
        checkpoints.save(self.run.checkpoints, self.state["step"],
                         {"model": self.model.state_dict(), "training": self._training_tensors()},
                         {**self.state, "metrics_bytes": self.run.sync()}, keep=[best["step"]] if best else [])

    def _restore(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Go back to a checkpoint."""
        fill(self.model, tensors, self.run)
        self.state = {key: state.get(key, fresh) for key, fresh in self.state.items()}
        if any(key.startswith("training/") for key in tensors):  # a finished run keeps its weights alone
            self._restore_training(tensors)

    def _training_tensors(self) -> dict[str, Tensor]:
        """What AdamW, the random state and the open windows hold."""
        tensors = {**{f"window.{split}": window.values for split, window in self.windows.items()},
                   **{f"random.{kind}": value for kind, value in self.randomness.now().items()}}
        for i, parameter in enumerate(self.model.parameters()):
            moments = self.optimizer.state.get(parameter, {})
            tensors |= {f"{i}.{key}": torch.as_tensor(value) for key, value in moments.items()}
        return tensors

    def _restore_training(self, tensors: dict[str, Tensor]) -> None:
        """The inverse of `_training_tensors`, from all tensors of a checkpoint."""
        for i, parameter in enumerate(self.model.parameters()):
            if f"training/{i}.step" in tensors:
                self.optimizer.state[parameter] = {
                    "step": int(tensors[f"training/{i}.step"]),
                    **{k: tensors[f"training/{i}.{k}"].clone().to(self.device) for k in ("exp_avg", "exp_avg_sq")}}
        for split, window in self.windows.items():
            saved = tensors.get(f"training/window.{split}")
            if saved is None or saved.shape != window.values.shape:
                raise LabError(f"run {self.run.name} was begun with another version of the lab; go on with that one, "
                               "or start a new run")
            window.values.copy_(saved)
        self.randomness.own = {kind: tensors[f"training/random.{kind}"] for kind in self.randomness.own}


def name_end(settings: Settings, data: Data) -> str:
    """The end of a run's name: whether it is of the sample, the seed, and six digits for all settings and the data.

    A setting at its default is left out of the digits, so a later version that adds one finds the same runs.
    """
    usual = json.loads(type(settings)().to_json())
    changed = {key: value for key, value in json.loads(settings.to_json()).items() if value != usual[key]}
    digest = hashlib.sha256(f"{json.dumps(changed, sort_keys=True)} {data.fingerprint}".encode()).hexdigest()
    return f"{'sample-' if data.kind == 'sample' else ''}s{settings.seed}-{digest[:6]}"


def find_place(name: str, run: str | Path | None, resume: bool, root: Path) -> Run:
    """The run's folder: the one that `run` names, or `name`, with a number if it is taken."""
    given = Path(run) if run is not None else None
    if given is not None and (given.is_absolute() or len(given.parts) > 1) and ".." not in given.parts:
        root, name = given.parent, given.name
    elif run is not None:
        name = str(run)
    folder = root / checked_name(name)
    if resume or not (folder / "experiment.json").exists():
        return Run(folder)
    if run is not None:
        raise LabError(f"there is a run {name} already; --resume (resume=True) goes on with it, another name starts "
                       "another")
    return Run(next(f for i in range(2, 10**6) if not (f := root / f"{name}-{i}").exists()))
