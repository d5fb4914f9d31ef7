"""A run is a folder, and its record is enough to draw every picture and to resume after a crash.

    experiment.json   what was run: settings, versions, threads, data fingerprint, git revision; written once
    metrics.jsonl     what was measured: one JSON row a line, appended by the one writer
    status.json       running, done, failed or stopped and why, and a heartbeat; replaced as a whole
    checkpoints/<step>/   weights, optimizer and random state, see `lab.runs.checkpoints`
    predictions/      in the course's CSV layout
    probabilities/    the probabilities of the classes behind these predictions
    encoder/          configuration and tokenizer, so that the weights can be used without any other file

There is no pickle anywhere. A reader never sees half a row and never needs torch.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from lab.data import Data
from lab.errors import LabError
from lab.runs import schema
from lab.runs.reading import parse_rows, read_json
from lab.runs.stores import check_writable, expanded, run_folders, runs_root, ships, shown_store

if TYPE_CHECKING:
    from torch import Tensor

    from lab.experiment import Settings

STALE_AFTER = 120  # seconds without a heartbeat after which a "running" run counts as stopped
AHEAD = 3600  # seconds by which a heartbeat may lie in the future: clocks differ; more, and a clock was set back
RESERVED = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9])(\..*)?", re.IGNORECASE)  # names on Windows
PRETRAINED = "pretrained"  # the folder of a store in which `lab pretrain` keeps its runs
FORKS = "forks"  # and that of `lab fork`, so that no table mixes forks with whole runs


def checked_name(name: str) -> str:
    """The name of a run, if it is safe as a folder's: letters, digits, `.`, `_`, `-`, at most 100. LabError if not.

    What Windows reserves, such as CON, NUL or aux.txt, is refused everywhere, since stores are copied.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name) or name.endswith("."):
        raise LabError(f"{name!r} cannot name a run; use letters, digits, '.', '_' and '-', at most 100 of them")
    if RESERVED.fullmatch(name):
        raise LabError(f"{name!r} cannot name a run: Windows reserves this name; use another")
    if name.lower() in (PRETRAINED, FORKS):
        raise LabError(f"{name!r} cannot name a run: `lab pretrain` or `lab fork` keeps its runs in the folder of that "
                       "name")
    if name.lower().endswith((".json", ".html", ".csv", ".md")):
        raise LabError(f"{name!r} cannot name a run: a store keeps files with such names, as of its labels and reports")
    return name


class Run:
    """One run's folder, to be read. `lab.runs.writer` is for the one process that trains it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def exists(self) -> bool:
        """Whether the folder holds a run: a training that has begun."""
        return (self.folder / "experiment.json").is_file()

    @classmethod
    def open(cls, run: "str | Path | Run", root: str | Path | None = None) -> Self:
        """A run by its name in the store (see `shown_store`), or by its folder. LabError: there is none."""
        if isinstance(run, Run):
            return run
        given = expanded(run)
        is_path = given.is_absolute() or len(given.parts) > 1 or str(run) != given.name  # RUN/ and ./RUN too
        folder = given if is_path else shown_store(root)[0] / checked_name(str(run))
        if not cls(folder).exists:
            there = ", ".join(r.name for r in runs_in(runs_root(root))) or "none yet; `lab train baseline` makes one"
            raise LabError(f"there is no run {str(run)!r} (runs: {there})")
        return cls(folder)

    @property
    def config(self) -> dict[str, Any]:
        """experiment.json in the present schema: {"experiment": settings, "data": ..., "versions": ..., ...}.

        LabError: it cannot be read, or is of no schema that this version knows.
        """
        file = self.folder / "experiment.json"
        return schema.read(read_json(file), file)

    @property
    def status(self) -> dict[str, Any]:
        """status.json. Its "state" is running, done, failed or stopped; running without a recent heartbeat is stopped.
        """
        status = read_json(self.folder / "status.json")
        beat = status.get("heartbeat")
        alive = isinstance(beat, int | float) and -STALE_AFTER <= beat - time.time() <= AHEAD
        if status.get("state") in ("starting", "running"):
            status["state"] = "running" if alive else "stopped"
        return status

    def check_data(self, data: Data) -> None:
        """LabError: the run was made with other data than these."""
        about = self.config.get("data")
        recorded = about.get("fingerprint") if isinstance(about, dict) else None
        if recorded != data.fingerprint:
            raise LabError(f"run {self.name} was made with other data ({recorded}; {data.folder} holds "
                           f"{data.fingerprint}); name the run's own folder with --data or LAB_DATA")

    def rows(self) -> list[dict[str, Any]]:
        """The metric rows written so far. A line that is still being written is left for the next call."""
        file = self.folder / "metrics.jsonl"
        try:
            content = file.read_bytes() if file.is_file() else b""
        except OSError:
            return []
        return parse_rows(content[: content.rfind(b"\n") + 1])

    def check_finished(self) -> None:
        """LabError: the run is finished, and its metrics.jsonl is not what it was then."""
        status, file = self.status, self.folder / "metrics.jsonl"
        if status.get("state") != "done":
            return
        content = file.read_bytes() if file.is_file() else b""
        if "metrics_sha256" in status:
            same = hashlib.sha256(content).hexdigest() == status["metrics_sha256"]
        else:  # earlier versions kept no digest: the last line must be whole, and the last step must be there
            same = "step" not in status or (
                content.endswith(b"\n") and any(row.get("step") == status["step"] for row in self.rows()))
        if not same:
            raise LabError(f"{file} has changed since it was saved at the end of the run; bring back the file that was "
                           "there, or move the run's folder away and train it again")

    @property
    def checkpoints(self) -> Path:
        """The folder that `lab.runs.checkpoints` reads and writes."""
        return self.folder / "checkpoints"

    def model(self, weights: str = "best") -> tuple[Any, Any]:
        """(MultitaskModel in eval mode, tokenizer), with the weights that were "best" on dev, or with the "last".

        model.step is the iteration after which these weights were saved.
        """
        import torch

        from lab.experiment import Experiment
        from lab.runs import checkpoints
        from lab.tasks import MultitaskModel

        check_weights(weights)
        config = self.config
        if "head" in config:
            raise LabError(f"run {self.name} is a pretraining, which answers no task; train on its encoder with "
                           "--encoder")
        newest, settings = checkpoints.load_newest(self.checkpoints), config["experiment"]
        if newest is None:
            shipped = ", as it ships with the lab" * ships(self.folder.parent)
            raise LabError(f"run {self.name} has records but no weights{shipped}; `lab train {settings.get('name')} "
                           f"--protocol {settings.get('protocol')}` trains one that has")
        schema.check_settings(config, self.folder / "experiment.json")
        experiment, (tensors, state) = Experiment.from_json(json.dumps(settings)), newest
        if weights == "best" and state["best"] and state["best"]["step"] != state["step"]:
            tensors, state = checkpoints.load(self.checkpoints, state["best"]["step"])
        with torch.random.fork_rng(devices=[]):  # the fresh weights are overwritten at once
            bert, tokenizer = self.encoder()
            model = MultitaskModel(bert, experiment.pooling, experiment.sts_head, experiment.pair,
                                  experiment.qqp_head)
        fill(model, tensors, self)
        model.step = state["step"]
        return model.eval(), tokenizer

    def encoder(self) -> tuple[Any, Any]:
        """(Bert with fresh weights, tokenizer), with the sizes and the vocabulary of the run's own encoder."""
        from lab.bert import Bert, BertConfig
        from lab.encoders.tokenizers import load_tokenizer

        config = BertConfig.from_json(self.folder / "encoder" / "config.json")
        return Bert(config), load_tokenizer(self.folder / "encoder", config)


def check_weights(weights: str) -> None:
    """LabError: a run has no weights of this name; it has the best and the last."""
    if weights not in ("best", "last"):
        raise LabError(f"weights {weights!r} is not known (valid: best, last)")


def fill(model: Any, tensors: Mapping[str, "Tensor"], run: Run) -> None:
    """Load a checkpoint's model tensors into a model. LabError: they have other names or shapes."""
    weights = {key.removeprefix("model/"): value for key, value in tensors.items() if key.startswith("model/")}
    mine = model.state_dict()
    for key in sorted(mine.keys() | weights.keys()):
        shapes = [tuple(side[key].shape) if key in side else "nothing" for side in (weights, mine)]
        if shapes[0] != shapes[1]:
            raise LabError(f"run {run.name}: checkpoint of another shape: {key} is {shapes[0]} there, {shapes[1]} here")
    model.load_state_dict(weights)


def list_runs(root: str | Path | None = None) -> list[Run]:
    """All runs of the store that `shown_store` gives, by name."""
    return runs_in(shown_store(root)[0])


def runs_in(folder: Path) -> list[Run]:
    """All runs of a folder, by name."""
    return [Run(place) for place in run_folders(folder)]


def name_end(settings: "Settings", data: Data, weights: str | None = None) -> str:
    """The end of a run's name: "sample-" if it is on the sample, the seed, and a hash of the settings and the data.

    weights: the hash of an encoder that is a folder. Settings at their defaults are left out of the digits, so that a
    later version which adds one finds the same runs.
    """
    usual, values = (json.loads(of.to_json()) for of in (type(settings)(), settings))
    changed = {key: value for key, value in values.items() if value != usual[key]}
    if isinstance(smart := changed.get("smart"), dict):
        changed["smart"] = {key: value for key, value in smart.items() if (key, value) != ("reduction", "mean")}
    if schema.draws_at_random(values):  # other names than in schema 1, where the losses of two batches were averaged
        changed["batches"] = "sum"
    if weights:
        changed["encoder_sha256"] = weights
    digest = hashlib.sha256(f"{json.dumps(changed, sort_keys=True)} {data.fingerprint}".encode()).hexdigest()
    return f"{'sample-' if data.kind == 'sample' else ''}s{settings.seed}-{digest[:6]}"


def find_run(name: str, run: str | Path | None, resume: bool, root: Path) -> Run:
    """The run that a training is to write: the one that `run` names, or `name`; a number is added if it is taken.

    LabError: a run of the given name is there and is not to be resumed, or is to be resumed and is not there.
    """
    given = expanded(run) if run is not None else None
    if given is not None and (given.is_absolute() or len(given.parts) > 1) and ".." not in given.parts:
        root, name = given.parent, given.name
    elif run is not None:
        name = str(run)
    root = Path(os.path.abspath(root))  # for the process may change its folder
    found = Run(root / checked_name(name))
    if resume:
        if not found.exists:
            raise LabError(f"there is no run {name} to resume in {root}; its name follows from its settings, and from "
                           "the weights of an encoder that is a folder, unless --run (run=) gives one. Leave out "
                           "--resume (resume=True) to begin it" + (
                               "" if root.name == PRETRAINED else
                               ", or use `lab ablate`, which begins what is missing"))
        return found
    check_writable(root)
    if not found.exists:
        return found
    if run is not None:
        raise LabError(f"there is a run {name} already; --resume (resume=True) resumes it, another name starts another")
    return Run(next(f for i in range(2, 10**6) if not (f := root / f"{name}-{i}").exists()))
