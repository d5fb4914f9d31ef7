"""A session: all that training an experiment holds, made ready, brought back after a crash, and saved.

Model, optimizer, rows, streams, random states, the open window. The loop that uses them is `lab.train`.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lab import checkpoints
from lab.batches import Stream, prepare
from lab.data import TASKS, Data
from lab.diagnostics import Window
from lab.errors import LabError
from lab.experiment import Experiment, departs
from lab.machine import Randomness, pick_device
from lab.optim import AdamW
from lab.runs import Run, checked_name, fill, runs_root
from lab.smart import Average
from lab.tasks import MultitaskModel
from lab.weights import load_encoder, save_description

EVAL_SEED = 42  # which rows the smaller evaluations score; the same for every recipe and seed


class Session:
    """An experiment on some data in a run's folder, new or brought back; the run is locked for this process."""

    def __init__(self, experiment: Experiment, data: Data, run: str | Path | None, resume: bool,
                 root: str | Path | None) -> None:
        self.experiment, self.data = experiment, data
        self.device, self.total = pick_device(experiment.device), experiment.iterations * experiment.epochs
        self.run = _place(experiment, data, run, resume, runs_root(root))
        self.run.lock()
        try:
            self._prepare(resume)
        except BaseException:
            self.run.close()
            raise

    def _prepare(self, resume: bool) -> None:
        e, run, data = self.experiment, self.run, self.data
        plain = json.loads(e.to_json())
        recorded = run.config if resume and (run.folder / "experiment.json").exists() else None
        if recorded and recorded.get("data", {}).get("fingerprint") != data.fingerprint:
            raise LabError(f"run {run.name} was trained on other data ({recorded.get('data', {}).get('label')}); "
                           "name the same data, or start a new run")
        if recorded and recorded.get("device") != self.device.type:
            raise LabError(f"run {run.name} was begun on {recorded.get('device')}, and would not be the same run on "
                           f"{self.device.type}; start a new run here")
        before = json.loads(Experiment.from_json(json.dumps(recorded["experiment"])).to_json()) if recorded else plain
        if differs := [key for key in plain if before[key] != plain[key]]:
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
        # What a resumed run needs besides weights and random state.
        self.state: dict[str, Any] = {"step": 0, "best": None, "seconds": 0.0, "scoring": 0.0,
                                      "drawn": dict.fromkeys(TASKS, 0), "window_tokens": 0, "window_seconds": 0.0}
        self.windows = {split: Window(self.device) for split in ("batch", "sampled")}
        self.generator = torch.Generator().manual_seed(e.seed)  # the order in which combiners take the tasks
        self.combiner_state: dict[str, dict[str, Tensor]] = {}
        self.noise = torch.Generator().manual_seed(e.seed)  # SMART's
        self.average = Average(self.model) if e.smart and e.smart.bregman else None

        if newest:
            self._restore(*newest)
        if self.finished:
            return
        if not recorded:  # experiment.json comes last: with it, the folder is a run
            save_description(bert.config, run.folder / "encoder", self.tokenizer)
            sizes = {f"{task} {split}": {"rows": len(s.examples), "used": len(rows[task, split]),
                                         "left out": len(s.problems)} for (task, split), s in data.splits.items()}
            run.write_config({"experiment": plain, "departs": departs(e), "device": self.device.type, "data": {
                "label": data.label, "kind": data.kind, "fingerprint": data.fingerprint, "sizes": sizes,
                "cut": rows["sst", "train"].texts.cut}})
        run.cut_rows(newest[1]["metrics_bytes"] if newest else 0)
        if not newest:
            with self.randomness:
                self.checkpoint()

    def _restore(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        fill(self.model, tensors, self.run)
        self.state = {key: state.get(key, fresh) for key, fresh in self.state.items()}
        if not any(key.startswith("training/") for key in tensors):
            return  # a finished run keeps its weights alone
        for split, window in self.windows.items():
            saved = tensors.get(f"training/window.{split}")
            if saved is None or saved.shape != window.values.shape:
                raise LabError(f"run {self.run.name} was begun with another version of the lab; go on with that one, "
                               "or start a new run")
            window.values.copy_(saved)
        parameters = list(self.model.parameters())
        for i, parameter in enumerate(parameters):
            if f"training/{i}.step" in tensors:
                self.optimizer.state[parameter] = {
                    "step": int(tensors[f"training/{i}.step"]),
                    **{k: tensors[f"training/{i}.{k}"].clone().to(self.device) for k in ("exp_avg", "exp_avg_sq")}}
        self.randomness.own = {k: tensors[f"training/random.{k}"] for k in self.randomness.own}
        self.generator.set_state(tensors["training/random.combiners"])
        self.noise.set_state(tensors["training/random.noise"])
        if self.average:
            self.average.model.load_state_dict(_under("training/average.", tensors))
        for key, value in _under("training/combiner.", tensors).items():
            update, name = key.split(".", 1)
            self.combiner_state.setdefault(update, {})[name] = value.clone()

    def checkpoint(self) -> None:
        """Save all that `resume` needs, at the present step."""
        training = {**{f"window.{split}": window.values for split, window in self.windows.items()},
                    **{f"random.{k}": v for k, v in self.randomness.now().items()},
                    "random.combiners": self.generator.get_state(),
                    "random.noise": self.noise.get_state(),
                    **{f"combiner.{u}.{k}": v for u, of in self.combiner_state.items() for k, v in of.items()}}
        if self.average:
            training |= {f"average.{name}": value for name, value in self.average.model.state_dict().items()}
        for i, parameter in enumerate(self.model.parameters()):
            moments = self.optimizer.state.get(parameter, {})
            training |= {f"{i}.{key}": torch.as_tensor(value) for key, value in moments.items()}
        best = self.state["best"]
        checkpoints.save(self.run.checkpoints, self.state["step"],
                         {"model": self.model.state_dict(), "training": training},
                         {**self.state, "metrics_bytes": self.run.sync()}, keep=[best["step"]] if best else [])


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def least(*limits: int | None) -> int | None:
    """The smallest of several limits, None being no limit."""
    return min((limit for limit in limits if limit is not None), default=None)


def run_name(experiment: Experiment, data: Data) -> str:
    """The name of an experiment's run: recipe, protocol, seed, and six digits that stand for all the rest.

    A setting at its default is left out of the digits, so a later version that adds one finds the same runs.
    """
    usual = json.loads(Experiment().to_json())
    settings = {key: value for key, value in json.loads(experiment.to_json()).items() if value != usual[key]}
    digest = hashlib.sha256(f"{json.dumps(settings, sort_keys=True)} {data.fingerprint}".encode()).hexdigest()
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
