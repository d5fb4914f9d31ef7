"""The run store: a run is a folder, and its record is enough to draw every picture and to go on after a crash.

    experiment.json   what was run: settings, versions, threads, data fingerprint, git revision; written once
    metrics.jsonl     what was measured: a JSON row a line, appended by the one writer
    status.json       running, done or failed, and a heartbeat; replaced whole
    checkpoints/<step>/   weights, optimizer, random state; written beside, fsynced, then renamed
    predictions/      in the course's CSV layout
    probabilities/    what they were chosen from: a share for each class
    encoder/          config and tokenizer, so that the weights can be used without any other file

No pickle anywhere. A reader never sees half a row and never needs torch.
"""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from filelock import FileLock, Timeout

from lab.data import checkout
from lab.errors import LabError

if TYPE_CHECKING:
    from torch import Tensor

STALE_AFTER = 120  # seconds without a heartbeat after which a "running" run is taken for stopped
FORMAT = 1
ADDED = {"pair": "siamese", "samples": 20}  # settings that older records lack, so that they stand beside newer ones
BEGUN = {"lock", "encoder", "experiment", "status", "metrics", "checkpoints"}  # what a run that never began may leave
PRETRAINED = "pretrained"  # the folder of a store in which further pretraining keeps its runs


def runs_root(root: str | Path | None = None) -> Path:
    """The run store: `root`, else LAB_RUNS, else `runs/` of the checkout."""
    return Path(root or os.environ.get("LAB_RUNS") or checkout() / "runs")


def shipped_root() -> Path:
    """The store that comes with the lab: records of the recipes on the real data, without weights."""
    return checkout() / "data" / "runs"


def shown_store(root: str | Path | None = None) -> tuple[Path, str | None]:
    """The store to read, and a line to show with it: where none is named and one's own has no run, the shipped one."""
    own, shipped = runs_root(root), runs_in(shipped_root())
    if root is not None or not shipped or runs_in(own):
        return own, None
    made = [_read_json(run.folder / "experiment.json") for run in shipped]
    days, recipes = zip(*[(str(e.get("started"))[:10], e.get("experiment", {}).get("name")) for e in made], strict=True)
    seeds, first, last = max(map(recipes.count, recipes)), min(days), max(days)
    when = f"on {first}" if first == last else f"from {first} to {last}"
    return shipped_root(), (f"no runs of your own yet: these are the records that ship with the lab, made {when}, "
                            f"{seeds} seed{'s at most' * (seeds > 1)} a recipe")


def checked_name(name: str) -> str:
    """A run's name, if it is safe as a folder's: letters, digits, `.`, `_`, `-`, at most 100. LabError otherwise."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name) or name.endswith("."):
        raise LabError(f"{name!r} cannot name a run; use letters, digits, '.', '_' and '-', at most 100 of them")
    if name.lower() == PRETRAINED:
        raise LabError(f"{name!r} cannot name a run: `lab pretrain` keeps its runs in the folder of that name")
    return name


class Run:
    """One run's folder. `Run.open` reads it; `writer` is for the one process that trains it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: FileLock | None = None
        self._rows: BinaryIO | None = None

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @classmethod
    def open(cls, run: "str | Path | Run", root: str | Path | None = None) -> Self:
        """A run by its name in the store (see `shown_store`), or by its folder. LabError: there is none."""
        if isinstance(run, Run):
            return run
        given = Path(run)
        folder = given if given.is_absolute() or len(given.parts) > 1 else shown_store(root)[0] / checked_name(str(run))
        if not (folder / "experiment.json").is_file():
            there = ", ".join(r.name for r in runs_in(runs_root(root))) or "none yet; `lab train baseline` makes one"
            raise LabError(f"there is no run {str(run)!r} (runs: {there})")
        return cls(folder)

    # ---- reading -----------------------------------------------------------------------------------------------

    @property
    def config(self) -> dict[str, Any]:
        """experiment.json: {"experiment": settings, "data": ..., "versions": ..., ...}."""
        entries = _read_json(self.folder / "experiment.json")
        if not isinstance(entries.get("experiment"), dict):
            raise LabError(f"{self.folder / 'experiment.json'}: not a record of this lab")
        return entries

    @property
    def status(self) -> dict[str, Any]:
        """status.json, its "state" being running, done, failed or stopped (no heartbeat, and no end)."""
        status = _read_json(self.folder / "status.json")
        beat = status.get("heartbeat")
        alive = isinstance(beat, int | float) and beat >= time.time() - STALE_AFTER
        if status.get("state") == "running" and not alive:
            status["state"] = "stopped"
        return status

    def rows(self) -> list[dict[str, Any]]:
        """The metric rows written so far; a line still being written is left for the next look."""
        rows = []
        try:
            text = (self.folder / "metrics.jsonl").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return rows
        for line in text.split("\n")[:-1]:
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(row, dict):
                rows.append(row)
        return rows

    @property
    def checkpoints(self) -> Path:
        """The folder that `lab.checkpoints` reads and writes."""
        return self.folder / "checkpoints"

    def model(self, weights: str = "best") -> tuple[Any, Any]:
        """(MultitaskModel in eval mode, tokenizer) with the weights that were "best" on dev, or the "last".

        model.step is the iteration after which they were saved.
        """
        import torch

        from lab import checkpoints
        from lab.experiment import Experiment
        from lab.tasks import MultitaskModel

        if weights not in ("best", "last"):
            raise LabError(f"weights {weights!r} is not known (valid: best, last)")
        experiment = Experiment.from_json(json.dumps(self.config["experiment"]))
        newest = checkpoints.load_newest(self.checkpoints)
        if newest is None:
            shipped = ", as it ships with the lab" * (self.folder.parent == shipped_root())
            raise LabError(f"run {self.name} has records but no weights{shipped}; `lab train {experiment.name} "
                           f"--protocol {experiment.protocol}` trains one that has")
        tensors, state = newest
        if weights == "best" and state["best"] and state["best"]["step"] != state["step"]:
            tensors, state = checkpoints.load(self.checkpoints, state["best"]["step"])
        with torch.random.fork_rng(devices=[]):  # the draws of a fresh model are overwritten at once
            bert, tokenizer = self.encoder()
            model = MultitaskModel(bert, experiment.pooling, experiment.sts_head, experiment.pair)
        fill(model, tensors, self)
        model.step = state["step"]
        return model.eval(), tokenizer

    def encoder(self) -> tuple[Any, Any]:
        """(Bert with fresh weights, tokenizer), of the sizes and vocabulary that the run was trained with."""
        from lab.bert import Bert, BertConfig
        from lab.weights import load_tokenizer

        config = BertConfig.from_json(self.folder / "encoder" / "config.json")
        return Bert(config), load_tokenizer(self.folder / "encoder", config)

    # ---- writing -----------------------------------------------------------------------------------------------

    def lock(self) -> None:
        """Become the run's one writer. LabError: another process is, or the folder holds what no run has written."""
        if not (self.folder / "experiment.json").exists() and self.folder.is_dir():
            if strange := sorted(f.name for f in self.folder.iterdir() if f.name.strip(".").split(".")[0] not in BEGUN):
                raise LabError(f"{self.folder} is no run's folder: it holds {strange[0]!r}; name another run")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.folder / ".lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            self._lock = None
            raise LabError(f"run {self.name} is being trained already, by another process or by a fit() here that "
                           "was neither finished nor closed; wait, close() it, or use another name") from None

    def close(self) -> None:
        """Let the next writer in."""
        if self._rows:
            self._rows.close()
            self._rows = None
        if self._lock:
            if not (self.folder / "experiment.json").exists():
                shutil.rmtree(self.folder, ignore_errors=True)  # it never began
            self._lock.release()
            self._lock = None

    def write_config(self, entries: Mapping[str, Any]) -> None:
        """Write experiment.json, with the versions and the revision that made the run."""
        _write_json(self.folder / "experiment.json", {"format": FORMAT, **entries, **_provenance()})

    def write_status(self, state: str, **entries: object) -> None:
        """Replace status.json."""
        _write_json(self.folder / "status.json", {"state": state, "heartbeat": time.time(), **entries})

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows to metrics.jsonl, whole lines at a time."""
        if self._rows is None:
            self._rows = open(self.folder / "metrics.jsonl", "ab")
        self._rows.write("".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode())
        self._rows.flush()

    def cut_rows(self, size: int) -> None:
        """Forget what was recorded after a checkpoint: metrics.jsonl becomes its first `size` bytes."""
        file = self.folder / "metrics.jsonl"
        file.touch()
        if file.stat().st_size < size:
            raise LabError(f"{file} is shorter than when the checkpoint was written; the run cannot go on")
        os.truncate(file, size)

    def sync(self) -> int:
        """Bring what was appended to the disk; the size of metrics.jsonl, for `cut_rows`."""
        if self._rows:
            os.fsync(self._rows.fileno())
        file = self.folder / "metrics.jsonl"
        return file.stat().st_size if file.exists() else 0


def fill(model: Any, tensors: Mapping[str, "Tensor"], run: Run) -> None:
    """Load a checkpoint's model tensors. LabError: they have other names or shapes."""
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
    return [Run(f.parent) for f in sorted(folder.glob("*/experiment.json"))] if folder.is_dir() else []


def _provenance() -> dict[str, Any]:
    from importlib.metadata import version

    import torch

    git = ["git", "-C", str(checkout()), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        revision = subprocess.run(git, capture_output=True, text=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.TimeoutExpired):
        revision = None
    return {"versions": {p: version(p) for p in ("minbert-lab", "torch", "transformers", "numpy")},
            "threads": torch.get_num_threads(), "revision": revision,
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z")}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return entries if isinstance(entries, dict) else {}


def _write_json(path: Path, entries: Mapping[str, Any]) -> None:
    part = path.with_name(f".{path.name}.part")
    with open(part, "w", encoding="utf-8") as file:
        json.dump(entries, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
