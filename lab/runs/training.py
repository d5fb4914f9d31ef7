"""Training: what `fit` and `pretrain_mlm` return, a small iterator around their loops."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import nn

from lab.errors import LabError
from lab.runs.folder import Run
from lab.runs.recorder import Recorder


class Training:
    """What `fit` and `pretrain_mlm` return: an iterator of metric rows, which trains while it is iterated.

    While the loop runs, torch's global random state is the run's own; each row is yielded with the caller's restored.
    """

    encoder: Path  # of a pretraining: the folder that `--encoder` opens when it is done

    def __init__(self, recorder: Recorder, model: nn.Module, tokenizer: object, loop: Iterator[dict]) -> None:
        self.recorder, self.model, self.tokenizer, self._loop = recorder, model, tokenizer, loop
        if recorder.finished:
            self.close()

    @property
    def run(self) -> Run:
        """The run's folder."""
        return self.recorder.run

    @property
    def step(self) -> int:
        """The iterations that are done."""
        return self.recorder.state["step"]

    @property
    def finished(self) -> bool:
        """Whether everything is trained, scored and recorded."""
        return self.recorder.finished

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        if self.recorder.taken_over:
            raise LabError(f"run {self.run.name} is trained by a later fit() of this process; iterate that one")
        with self.recorder.iterating, self.recorder.randomness:
            return next(self._loop)

    def close(self) -> None:
        """Stop training here; `resume=True` continues from the newest checkpoint. More than once does no harm."""
        self._loop.close()
        self.recorder.close()

    def __del__(self) -> None:
        self.close()
