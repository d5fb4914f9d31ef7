"""The recorder writes the record of a training loop, and lets a run resume after a crash.

It locks the run's folder, shows progress and a heartbeat, turns windows of measurements into rows, saves checkpoints,
resumes from the newest one (`lab.runs.resuming`), stops when it is asked to, and never saves NaN or infinite values. It
does not depend on what is trained; the loops in `lab.train` and `lab.pretrain` call it.
"""

import contextlib
import json
import math
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from tqdm.auto import tqdm

from lab.data import Data
from lab.encoders.device import Randomness, peak_memory, pick_device
from lab.encoders.formats import save_description
from lab.errors import LabError
from lab.evaluate import shown
from lab.experiment import Settings
from lab.runs import checkpoints, resuming
from lab.runs.disk import commit
from lab.runs.folder import Run
from lab.runs.writer import Writer

HEARTBEAT = 5  # seconds
WINDOW = 25  # iterations whose means make one row of each training measurement
CHECKPOINT_EVERY = 100  # iterations, besides the end of every epoch and what the setting `checkpoints` says


def rate(settings: Settings, step: int, total: int) -> float:
    """The learning rate of an iteration, 1 to total: it rises over `warmup` iterations and then follows `schedule`."""
    if step <= settings.warmup:
        return settings.lr * step / settings.warmup
    return settings.lr * ((total + 1 - step) / (total - settings.warmup) if settings.schedule == "linear" else 1.0)


class Recorder:
    """The record of one training, which this process alone writes, from the making of the recorder to `close`.

    `state` holds the numbers that a resumed training needs besides its tensors; the loop adds its own to it. LabError:
    the run cannot be written, or cannot be resumed with these settings and data (see `resuming.check_same_run`).
    """

    def __init__(self, settings: Settings, data: Data, run: Run, *, iterations: int, progress: bool = True,
                 sentences: Mapping[str, Any] | None = None) -> None:
        self.settings, self.data, self.run, self.iterations, self.progress = settings, data, run, iterations, progress
        self.total = iterations * settings.epochs  # iterations in all
        self.every = checkpoints.every(getattr(settings, "checkpoints", "last two"), iterations)
        self.device = pick_device(settings.device)
        self.randomness = Randomness(settings.seed, self.device)
        self.state: dict[str, Any] = {"step": 0, "seconds": 0.0, "scoring": 0.0, "window_tokens": 0,
                                      "window_seconds": 0.0, "machine": resuming.machine()}
        self.saved: int | None = None  # the step of the newest checkpoint
        self.asked: tuple[KeyboardInterrupt, int] | None = None  # see `ask_to_stop`
        self.ready = self.finished = self.closed = self.taken_over = False
        self.window, self.next_heartbeat, self.bar = WINDOW, 0.0, None
        self.iterating = threading.Lock()  # held while the loop makes ready or works
        self.iterating.acquire()  # until `preparing` ends
        try:
            self.writer = Writer(run, self._take_over)
        except OSError as error:
            raise LabError(f"run {run.name}: {error}") from None
        try:
            self.newest = self._found(sentences)
        except BaseException as error:
            self._close_after(error)
            raise

    # ---- the life of a record ----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def preparing(self) -> Iterator[None]:
        """While the loop makes ready: torch's random state is the run's own; an error leaves the folder as it was."""
        try:
            with self.randomness:
                yield
        except BaseException as error:
            self._close_after(error)
            raise
        finally:
            self.iterating.release()

    def begin(self, parts: checkpoints.Parts, tokenizer: object, about_data: Mapping[str, Any],
              **config: object) -> None:
        """Restore what is trained from the newest checkpoint, or write a new run's description and first checkpoint.

        about_data, config: further entries of experiment.json, under "data" and beside it.
        """
        newest, self.newest, self.parts = self.newest, None, parts  # the checkpoint's tensors are not held any longer
        if newest:
            resuming.restore(self.run, self.parts, self.state, *newest)
            self.saved = self.state["step"]
        if self.finished:
            return
        self.writer.cut_rows(newest[1]["metrics_bytes"] if newest else 0)
        if not newest:
            bad = [name for name, of in parts.model.named_parameters() if not of.isfinite().all()]
            if bad:
                raise LabError(f"encoder {self.settings.encoder}: its weights {bad[0]} are not all finite, so nothing "
                               "can be trained from it")
            self.save()
        if not self.writer.begun:  # experiment.json comes last: with it, the folder is a run
            commit(self.run.folder / "encoder",
                   lambda part: save_description(parts.model.bert.config, part, tokenizer))
            data = {"label": self.data.label, "kind": self.data.kind, "fingerprint": self.data.fingerprint}
            self.writer.write_config({"experiment": json.loads(self.settings.to_json()), **config,
                                      "device": self.device.type, "data": {**data, **about_data}})
        self.ready = True
        self.heartbeat()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """While the loop runs: a progress bar, a heartbeat, and at the end status.json says how the training ended."""
        try:
            self.bar = tqdm(total=self.total, initial=self.state["step"], desc=self.run.name, unit="it",
                            disable=not self.progress, dynamic_ncols=True)
        except OSError:  # standard error is closed, or on a full disk
            self.bar = tqdm(disable=True)
        try:
            yield
        except BaseException as error:
            self._close_after(error)
            raise
        finally:
            self.show("close")
            self.close()

    def done(self, **more: object) -> None:
        """All is trained and recorded: say so in status.json."""
        self.writer.write_status("done", step=self.total, total=self.total, **more, **self.writer.sync(),
                                 seconds=round(self.state["seconds"], 1), scoring=round(self.state["scoring"], 1))
        self.finished = True

    def close(self, state: str = "stopped", why: str = "closed") -> None:
        """Write to status.json how an unfinished training ended, and release the run. Further calls do nothing."""
        if self.writer.process != os.getpid():  # a forked process has a copy of this recorder, and not the run
            return
        with contextlib.suppress(OSError):  # as where the disk is full; without a heartbeat it counts as stopped
            if self.ready and not self.finished and not self.closed:
                self.writer.write_status(state, step=self.state["step"], total=self.total, why=why)
            elif self.writer.begun and not self.closed and (before := self.run.status).get("state") == "running":
                self.writer.write_status("stopped", step=before.get("step"), total=self.total, why="it was killed")
        self.closed = True
        self.writer.close()

    def _take_over(self) -> None:
        """Another training of this run begins in this process, so this one ends here. LabError: it is iterated now."""
        if not self.iterating.acquire(blocking=False):
            raise LabError(f"run {self.run.name} is being trained by another thread of this process; wait for its end")
        self.taken_over = True
        self.close(why="another training of this run began, or Python ended")
        self.iterating.release()

    def ask_to_stop(self, stop: KeyboardInterrupt, step: int = 0) -> None:
        """Have the loop raise `stop` as soon as the present iteration, or a later one, `step`, is done and saved."""
        self.asked = stop, step

    def _stops_here(self) -> bool:
        return self.asked is not None and self.state["step"] >= self.asked[1]

    def _stop_if_saved(self) -> None:
        if self._stops_here() and self.saved == self.state["step"]:
            raise self.asked[0]

    def _close_after(self, error: BaseException) -> None:
        """Close with the status that an error means. LabError: it is one of the machine, here in one line."""
        stopped, line = isinstance(error, GeneratorExit | KeyboardInterrupt), self._in_one_line(error)
        self.close("stopped" if stopped else "failed", str(line or error) or type(error).__name__)
        if line:
            raise line from None

    def _in_one_line(self, error: BaseException) -> LabError | None:
        """An error of the machine, such as a full disk, as a LabError that says how to go on. None: another error."""
        if isinstance(error, OSError | SafetensorError):  # safetensors writes the cache of tokens
            why = str(error)
        elif isinstance(error, MemoryError) or (isinstance(error, RuntimeError)
                                                and re.search("allocate memory|out of memory", str(error))):
            why = f"not enough memory ({(str(error) or 'MemoryError').splitlines()[0][:200]})"
        else:
            return None
        good = checkpoints.steps(self.run.checkpoints) if self.writer.begun else []
        return LabError(f"run {self.run.name}: {why}"
                        + (f"; --resume (resume=True) goes on from iteration {good[-1]}" if good else ""))

    # ---- one iteration after another ---------------------------------------------------------------------------

    def advance(self) -> int:
        """Begin the next iteration: its number, from 1. It sets the learning rate."""
        self._stop_if_saved()
        self.state["step"] += 1
        for group in self.parts.optimizer.param_groups:
            group["lr"] = rate(self.settings, self.state["step"], self.total)
        return self.state["step"]

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """While an iteration's updates are taken: their seconds count, and the progress bar moves."""
        began = time.perf_counter()
        yield
        spent = time.perf_counter() - began
        self.state["seconds"] += spent
        self.state["window_seconds"] += spent
        self.show("update")

    def show(self, method: str, *arguments: object) -> None:
        """Call a method of the progress bar. Where it cannot be written any more, training goes on without it."""
        try:
            getattr(self.bar, method)(*arguments)
        except OSError:
            self.bar.disable = True

    @contextlib.contextmanager
    def scoring(self) -> Iterator[None]:
        """While the model is scored: the seconds count as training time, and apart as time for scoring."""
        self._stop_if_saved()
        began = time.perf_counter()
        self.show("set_postfix_str", "scoring")
        yield
        for clock in ("seconds", "scoring"):
            self.state[clock] += time.perf_counter() - began

    def row(self, split: str, task: str, metric: str, value: float | None, step: int | None = None) -> dict[str, Any]:
        """A metric row, at the present step or at another one. LabError: the value is NaN or infinite."""
        if value is not None and not math.isfinite(value):
            raise self.not_finite(f"{task} {metric} on {split}")
        step = self.state["step"] if step is None else step
        return {"step": step, "epoch": -(-step // self.iterations), "split": split, "task": task,
                "metric": metric, "value": value, "seconds": round(self.state["seconds"], 3)}

    def window_rows(self) -> list[dict[str, Any]]:
        """The means of the windows as rows, where a window ends; then the windows begin anew."""
        step = self.state["step"]
        self.heartbeat()
        if step % self.window and step != self.total:
            return []
        self._check_windows()
        rows = []
        for split, window in self.parts.windows.items():
            rows += [self.row(split, task, metric, mean) for metric, task, mean in window.means()]
            window.values.zero_()
        speed = self.state["window_tokens"] / max(self.state["window_seconds"], 1e-9)
        rows += [self.row("batch", "all", "tokens_per_second", round(speed, 1)),
                 self.row("batch", "all", "peak_memory_mb", peak_memory(self.device))]
        self.state |= {"window_tokens": 0, "window_seconds": 0.0}
        return rows

    def record(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Append rows to the record, save a checkpoint where one is due, and give the rows back.

        A row is written before it is yielded, and a checkpoint stores the size of metrics.jsonl.
        """
        step = self.state["step"]
        saves = step and (step % self.iterations == 0 or step % CHECKPOINT_EVERY == 0 or self._stops_here()
                          or (self.every and step % self.every == 0))
        if saves:
            self._check_finite()
        self.writer.append(rows)
        if saves:
            self.save()
        if rows and step and step % self.iterations == 0:
            last = rows[-1] | {"value": shown(rows[-1]["value"])}
            self.show("set_postfix_str", "epoch {epoch}, {split} {metric} {value}".format_map(last))
        return rows

    def heartbeat(self) -> None:
        """Say in status.json that the run is alive, every few seconds at most; stop here if nothing would be lost."""
        self._stop_if_saved()
        if time.monotonic() > self.next_heartbeat:
            self.next_heartbeat = time.monotonic() + HEARTBEAT
            self.writer.write_status("running", step=self.state["step"], total=self.total)

    def not_finite(self, what: str) -> LabError:
        """The error for a value that became NaN or infinite; it names the last good weights."""
        good = checkpoints.steps(self.run.checkpoints)[-1]
        return LabError(f"run {self.run.name}: {what} became NaN or infinite by iteration {self.state['step']}; the "
                        f"last good weights (iteration {good}) are kept. Try a smaller lr")

    def _check_windows(self) -> None:
        for window in self.parts.windows.values():
            if bad := window.not_finite():
                raise self.not_finite(bad)

    def _check_finite(self) -> None:
        """Nothing that is not finite is ever saved: neither sums nor weights. LabError otherwise."""
        self._check_windows()
        if not torch.stack(torch._foreach_norm(list(self.parts.model.parameters()))).isfinite().all():
            raise self.not_finite("a weight")

    # ---- checkpoints -------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Save all that resuming needs, at the present step."""
        best = self.state.get("best")
        checkpoints.save(self.run.checkpoints, self.state["step"],
                         {"model": self.parts.model.state_dict(), "training": self.parts.tensors()},
                         {**self.state, **self.writer.sync()}, keep=[best["step"]] if best else [],
                         every=self.every)
        self.saved = self.state["step"]

    def _found(self, sentences: Mapping[str, Any] | None) -> checkpoints.Checkpoint | None:
        """The newest checkpoint of a run that has begun already. None: there is none."""
        if not self.writer.begun:
            return None
        resuming.check_same_run(self.run, self.settings, self.data, self.device, sentences)
        self.finished = self.run.status.get("state") == "done"
        newest = resuming.newest_checkpoint(self.run, self.total, self.finished)
        if newest and not self.finished:
            resuming.warn_of_another_machine(self.run, newest[1], self.state["machine"])
        return newest
