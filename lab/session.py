"""A session: all that training an experiment holds, made ready, brought back after a crash, and saved.

Model, optimizer, rows, streams, random states, the open window. The loop that uses them is in `lab.training`, an
iteration in `lab.train`.
"""

from pathlib import Path

import torch
from torch import Tensor

from lab.batches import Stream, prepare
from lab.data import TASKS, Data
from lab.diagnostics import Window
from lab.experiment import Experiment, departs
from lab.optim import AdamW
from lab.runs import runs_root
from lab.smart import Average
from lab.tasks import MultitaskModel
from lab.training import Training, find_place, name_end
from lab.weights import load_encoder

EVAL_SEED = 42  # which rows the smaller evaluations score; the same for every recipe and seed


class Session(Training):
    """An experiment on some data in a run's folder, new or brought back; the run is locked for this process."""

    def __init__(self, experiment: Experiment, data: Data, run: str | Path | None, resume: bool,
                 root: str | Path | None, progress: bool) -> None:
        self.experiment, self.iterations = experiment, experiment.iterations
        place = find_place(run_name(experiment, data), run, resume, runs_root(root))
        super().__init__(experiment, data, place, resume, progress)

    def _prepare(self, resume: bool) -> None:
        e, run, data = self.experiment, self.run, self.data
        recorded, newest = self._found(resume)
        with self.randomness:
            # A run that goes on needs nothing but its own folder.
            bert, self.tokenizer = run.encoder() if newest else load_encoder(e.encoder)
            for module in bert.modules():
                if isinstance(module, torch.nn.Dropout):
                    module.p = e.dropout
            self.model = MultitaskModel(bert, e.pooling, e.sts_head, e.pair).to(self.device)
        self.optimizer = AdamW(self.model.parameters(), lr=e.lr, weight_decay=e.weight_decay)

        share = min(1.0, 8 * e.epoch_1x / max(1, len(data.splits["sts", "train"].examples)))
        rows = prepare(data, self.tokenizer, share=share, longest=bert.config.max_position_embeddings,
                       cache=run.folder.parent / ".cache", pair=e.pair)
        self.rows = rows
        self.streams = {t: Stream(len(rows[t, "train"]), e.batch_size, [e.seed, i]) for i, t in enumerate(TASKS)}
        self.scored = {"train": {t: rows[t, "train"].some(least(e.eval_train, e.eval_rows), EVAL_SEED) for t in TASKS},
                       "dev": {t: rows[t, "dev"].some(least(e.eval_rows, e.eval_qqp if t == "qqp" else None), EVAL_SEED)
                               for t in TASKS}}
        self.state = {"step": 0, "best": None, "seconds": 0.0, "scoring": 0.0,
                      "drawn": dict.fromkeys(TASKS, 0), "window_tokens": 0, "window_seconds": 0.0}
        self.windows = {split: Window(self.device) for split in ("batch", "sampled")}
        self.generator = torch.Generator().manual_seed(e.seed)  # the order in which combiners take the tasks
        self.combiner_state: dict[str, dict[str, Tensor]] = {}
        self.noise = torch.Generator().manual_seed(e.seed)  # SMART's
        self.average = Average(self.model) if e.smart and e.smart.bregman else None

        if newest:
            self._restore(*newest)
        if not self.finished:
            sizes = {f"{task} {split}": {"rows": len(s.examples), "used": len(rows[task, split]),
                                         "left out": len(s.problems)} for (task, split), s in data.splits.items()}
            self._begin(recorded, newest, {"sizes": sizes, "cut": rows["sst", "train"].texts.cut}, departs=departs(e))

    def _restore_training(self, tensors: dict[str, Tensor]) -> None:
        super()._restore_training(tensors)
        self.generator.set_state(tensors["training/random.combiners"])
        self.noise.set_state(tensors["training/random.noise"])
        if self.average:
            self.average.model.load_state_dict(_under("training/average.", tensors))
        for key, value in _under("training/combiner.", tensors).items():
            update, name = key.split(".", 1)
            self.combiner_state.setdefault(update, {})[name] = value.clone()

    def _training_tensors(self) -> dict[str, Tensor]:
        average = self.average.model.state_dict() if self.average else {}
        return {**super()._training_tensors(),
                "random.combiners": self.generator.get_state(), "random.noise": self.noise.get_state(),
                **{f"combiner.{u}.{k}": v for u, of in self.combiner_state.items() for k, v in of.items()},
                **{f"average.{name}": value for name, value in average.items()}}


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def least(*limits: int | None) -> int | None:
    """The smallest of several limits, None being no limit."""
    return min((limit for limit in limits if limit is not None), default=None)


def run_name(experiment: Experiment, data: Data) -> str:
    """The name of an experiment's run: recipe, protocol, seed, and six digits that stand for all the rest."""
    return f"{experiment.name}-{experiment.protocol}-{name_end(experiment, data)}"
