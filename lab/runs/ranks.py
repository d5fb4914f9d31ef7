"""One training on several processes: `torchrun --nproc-per-node N -m lab train ...`.

Every process ("rank", as torch calls it) draws the same batch and takes its share of each task's rows. After a backward
pass the gradients are summed over all processes, so that each has the gradient of the whole batch. What follows from
it, Gramian, combiner and step, is the same computation in each of them. The first process alone scores, records and
saves; in the others a `Follower` has the recorder's place.

torch's DistributedDataParallel is not used: it reduces gradients inside of `backward`, once an iteration, and the loop
makes a backward pass a task (docs/scale.md).
"""

import contextlib
import datetime
import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lab.batches import Batch, Rows
from lab.data import Data
from lab.encoders.device import Randomness, pick_device
from lab.errors import LabError
from lab.experiment import Settings
from lab.runs import checkpoints
from lab.runs.folder import Run, fill
from lab.runs.recorder import Recorder, rate
from lab.runs.row_dropout import Masks, by_rows
from lab.runs.signals import Stopped
from lab.tasks import MultitaskModel

PATIENCE = datetime.timedelta(days=7)  # the others wait while the first scores; that it has ended is noticed at once


def join(rows: int) -> "Ranks":
    """The processes that train together: this one alone, unless torchrun started it. rows: of a task's batch.

    LabError: a process would have no rows, or no card.
    """
    if not dist.is_torchelastic_launched():
        return Ranks(0, 1)
    if not dist.is_initialized():
        place, cards = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if cards and place >= cards:
            raise LabError(f"torchrun started more processes than this machine has cards ({cards})")
        if cards:
            torch.cuda.set_device(place)
        dist.init_process_group("cpu:gloo,cuda:nccl" if cards else "gloo", timeout=PATIENCE)
    if dist.get_world_size() > rows:
        raise LabError(f"a batch of {rows} rows cannot be shared by {dist.get_world_size()} processes; start fewer, or "
                       "raise batch_size")
    return Ranks(dist.get_rank(), dist.get_world_size(), launched=True)


class Ranks:
    """The processes that share each batch of a training: this one's number `rank`, from 0, and their number `size`.

    In a training of one process the methods do nothing. If torchrun started that one process, it still draws its
    dropout as several would, so that the results do not depend on their number. LabError: another process has ended.
    """

    def __init__(self, rank: int, size: int, launched: bool = False) -> None:
        self.rank, self.size = rank, size
        self.masks: Masks | None = None
        self.launched = launched
        self.asked: Stopped | None = None  # of a follower: that it was asked to stop, as the first process was

    def sum_gradients(self, model: nn.Module) -> None:
        """After a backward pass: sum each parameter's gradients over all processes."""
        if self.size > 1:
            self._sum([p.grad for p in model.parameters() if p.grad is not None])

    def share_dropout(self, seed: int, *models: MultitaskModel) -> None:
        """Let the masks of these models' dropout belong to the rows of a batch (`lab.runs.row_dropout`)."""
        if self.launched:
            self.masks = Masks(seed, self.rank, self.size)
            for model in models:
                by_rows(model, self.masks)

    def passing(self, rows: Mapping[str, Rows], batch: Batch, step: int) -> contextlib.AbstractContextManager:
        """While a batch passes through the models. rows: of all processes together."""
        return self.masks.of(rows, batch, step) if self.masks else contextlib.nullcontext()

    def average(self, values: Tensor) -> None:
        """Set a tensor to the mean over all processes."""
        if self.size > 1:
            self._sum([values])
            values /= self.size

    def lead(self, recorder: Recorder) -> Recorder:
        """In the first process: tell the others what is trained, and return the recorder."""
        if self.size > 1:
            self._tell(_task(recorder.settings, recorder.data)
                       | {"folder": str(recorder.run.folder.resolve()), "resumed": recorder.newest is not None,
                          "finished": recorder.finished})
        return recorder

    def hear(self) -> dict[str, Any]:
        """In the other processes: receive what `lead` tells."""
        return self._tell(None)

    def spread(self, recorder: "Recorder | Follower") -> None:
        """Give all processes the weights, moments, random states and state of the first one, before they train."""
        if self.size == 1 or recorder.finished:
            return
        parts, tensors = recorder.parts, {}
        if not self.rank:
            tensors = {**{f"model/{name}": value for name, value in parts.model.state_dict().items()},
                       **{f"training/{name}": value for name, value in parts.tensors().items()}}
        state, names = self._tell([recorder.state, [[name, str(of.dtype).removeprefix("torch."), list(of.shape)]
                                                    for name, of in tensors.items()]])
        for name, dtype, shape in names:
            own = tensors[name].cpu() if not self.rank else torch.empty(shape, dtype=getattr(torch, dtype))
            with self._others():
                dist.broadcast(own.contiguous(), 0)
            tensors[name] = own
        if self.rank:
            fill(parts.model, tensors, recorder.run)
            parts.restore(tensors)
            recorder.state |= state

    def _sum(self, tensors: Iterable[Tensor]) -> None:
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with self._others():
            dist.all_reduce(flat)
        for tensor, of in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(of.view_as(tensor))

    def _tell(self, message: Any) -> Any:
        """Send a value as JSON from the first process to all; each returns it."""
        text = json.dumps(message).encode()
        size = torch.tensor(len(text))
        with self._others():
            dist.broadcast(size, 0)
            sent = torch.frombuffer(bytearray(text), dtype=torch.uint8) if not self.rank else torch.empty(
                int(size), dtype=torch.uint8)
            dist.broadcast(sent, 0)
        return json.loads(bytes(sent.tolist()))

    @contextlib.contextmanager
    def _others(self) -> Iterator[None]:
        """While this process waits for the others. What torch raises if one of them has ended becomes one line."""
        try:
            yield
        except RuntimeError as error:
            if self.asked:
                raise self.asked from None
            raise LabError("another process of this training has ended, so that this one cannot go on; the same "
                           "command with --resume does, from the newest checkpoint "
                           f"({str(error).splitlines()[0][:150]})") from None


class Follower:
    """Has the recorder's place in all processes but the first: it keeps the same state, and writes nothing.

    LabError: the first process trains something else, as with other data on another machine.
    """

    def __init__(self, settings: Settings, data: Data, ranks: Ranks) -> None:
        self.settings, self.data, self.ranks = settings, data, ranks
        told = ranks.hear()
        if differs := [what for what, value in _task(settings, data).items() if value != told[what]]:
            raise LabError(f"process {ranks.rank} has other {' and '.join(differs)} than the first one")
        self.run, self.newest, self.finished = Run(Path(told["folder"])), told["resumed"], told["finished"]
        self.total = settings.iterations * settings.epochs
        self.device = pick_device(settings.device)
        self.randomness = Randomness(settings.seed, self.device)
        self.state: dict[str, Any] = {"step": 0, "seconds": 0.0, "window_tokens": 0}
        self.iterating, self.taken_over = threading.Lock(), False
        self.parts: checkpoints.Parts

    def begin(self, parts: checkpoints.Parts, *about: object, **config: object) -> None:
        """Take what is trained; `Ranks.spread` brings it to the first process's state."""
        self.parts = parts

    def advance(self) -> int:
        """Begin the next iteration, as the recorder does."""
        self.state["step"] += 1
        for group in self.parts.optimizer.param_groups:
            group["lr"] = rate(self.settings, self.state["step"], self.total)
        return self.state["step"]

    def not_finite(self, what: str) -> LabError:
        """The error for a value that became NaN or infinite. The first process names the last good weights."""
        return LabError(f"{what} became NaN or infinite by iteration {self.state['step']}")

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """While the loop runs. When it ends, this process is finished, and the first one scores alone."""
        yield
        self.finished = True

    def ask_to_stop(self, stop: Stopped) -> None:
        """Stop where the first process does, which was asked too."""
        self.ranks.asked = stop

    def preparing(self) -> contextlib.AbstractContextManager:
        """While the loop makes ready: torch's random state is the run's own."""
        return self.randomness

    def timed(self) -> contextlib.AbstractContextManager:
        """Do nothing, since the recorder measures the time and shows the progress."""
        return contextlib.nullcontext()

    scoring = timed

    def heartbeat(self) -> None:
        """Do nothing, since the recorder's heartbeat stands for all processes."""

    close = heartbeat


def _task(settings: Settings, data: Data) -> dict[str, str]:
    return {"settings": settings.to_json(), "data": data.fingerprint}
