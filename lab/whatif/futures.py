"""`lab.fork`: what if, from here. Two futures of a run from one step, which differ in one thing and in nothing else.

    fork = lab.fork("gse-sample-...", step=94, updates=("sum",), iterations=30)
    fork.figure()

Both futures start from the run's weights, moments, streams and random states, and so see the same batches, dropout
masks and noise. An effect then shows within seconds, because most of what a change of seed does drops out. It is an
early effect, and not a verdict on two recipes: that takes whole runs and seeds (`lab.ablate`). Forks from several
steps, or with several seeds, give the effect an interval.
"""

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from lab.batches import Rows, cross, prepare
from lab.data import SCORES, TASK_NAMES, TASKS, Data, load_data
from lab.encoders.device import Randomness
from lab.encoders.sources import weights_sha256
from lab.errors import LabError, nearest
from lab.evaluate import evaluate
from lab.experiment import Experiment
from lab.results.significance import interval
from lab.results.words import between
from lab.runs import checkpoints, schema
from lab.runs.disk import commit, copied
from lab.runs.folder import FORKS, Run
from lab.runs.labels import as_set
from lab.runs.replay import train_until
from lab.runs.scoring import EVAL_SEED
from lab.runs.signals import Stopped
from lab.runs.stores import runs_root
from lab.runs.training import Training
from lab.tasks import MultitaskModel
from lab.train import fit, kept_share

if TYPE_CHECKING:
    import plotly.graph_objects as go

HEADS = {"qqp_head": "qqp", "sts_head": "sts"}  # a head that changes starts afresh
# What can change in mid-training: no other encoder, and no other data.
FIELDS = ("updates", "smart", "lr", "dropout", "sampling", "tasks", "task_weights", "weight_decay", "warmup",
          "schedule", "pooling", "qqp_head", "sts_head")
ARMS = ("as it was", "changed")
SCORED = 300  # dev rows of each task, always the same
MOVED = 0.5  # a similarity that differs by more counts as another answer
NOTE = "an early effect, and not a verdict on the recipes"


@dataclass
class Fork:
    """What came of both futures, of each pair of step and seed."""

    run: str
    changes: dict[str, Any]
    steps: list[int]
    iterations: int
    rows: pd.DataFrame  # metric rows of both: columns arm, start, seed, step, split, task, metric, value
    answers: pd.DataFrame  # dev answers at the end: start, seed, task, id, label, and one column for each arm
    folders: list[Path]  # of the runs, which have a parent in their records

    def effect(self) -> pd.DataFrame:
        """The scores at the end, changed minus as it was, of each task: a row with its interval.

        low, high: a 95 % interval over the pairs of step and seed, from three pairs on. flipped: examples, of all
        pairs, that only one of the two answers right (SST, QQP), or that moved by more than .5 (STS); better: those
        among them that the changed one is right about, or closer to.
        """
        last = self.rows[self.rows["split"] == "dev"]
        last = last[last["step"] == last.groupby(["arm", "start", "seed"])["step"].transform("max")]
        wide = last.pivot_table(index=["task", "start", "seed"], columns="arm", values="value", sort=False)
        found = []
        for task in (*TASKS, "all"):
            if task not in wide.index.get_level_values("task"):
                continue
            of = wide.loc[task]
            mean, low, high = interval(of[ARMS[1]] - of[ARMS[0]])
            flipped, better = self._flips(task)
            found.append({"task": task, **{arm: of[arm].mean() for arm in ARMS}, "difference": mean, "low": low,
                          "high": high, "pairs": len(of), "flipped": flipped, "better": better})
        return pd.DataFrame(found)

    def flips(self, task: str) -> pd.DataFrame:
        """The examples of a task whose answers differ between the two futures: see `effect`."""
        of = self.answers[self.answers["task"] == task]
        if task == "sts":
            return of[(of[ARMS[0]] - of[ARMS[1]]).abs() > MOVED]
        right = [of[arm] == of["label"] for arm in ARMS]
        return of[right[0] != right[1]]

    def _flips(self, task: str) -> tuple[int | None, int | None]:
        if task not in TASKS:
            return None, None
        of = self.flips(task)
        error = [(of[arm] - of["label"]).abs() for arm in ARMS]
        return len(of), int((error[1] < error[0]).sum())

    def figure(self) -> "go.Figure":
        """Both futures by iteration, and their difference."""
        from lab.figures.futures import futures

        return futures(self)

    def as_text(self) -> str:
        """The effect as lines."""
        change = ", ".join(f"{field} {as_set(value)}" for field, value in self.changes.items())
        steps = ", ".join(map(str, self.steps))
        lines = [f"{self.run} with {change}, {self.iterations} iterations from iteration {steps} on; {NOTE}"]
        lines += [f"  the head of {TASK_NAMES[task]} starts afresh there" for field, task in HEADS.items()
                  if field in self.changes]
        effect = self.effect()
        for row, before in zip(effect.itertuples(), effect[ARMS[0]], strict=True):
            moved = between(row.difference, row.low, row.high) + (f", {row.pairs} pairs" if row.low == row.low else "")
            differ = f"{row.flipped:.0f} {'answer differs' if row.flipped == 1 else 'answers differ'}"
            flips = "" if row.task == "all" else f"; {differ}, {row.better:.0f} of them for the better"
            lines.append(f"  {row.task:<4} {before:.3f} as it was, {row.changed:.3f} changed: {moved}{flips}")
        return "\n".join(lines)


def fork(run: str | Path | Run, step: int | None = None, *, steps: Sequence[int] = (), iterations: int = 50,
         seeds: int = 1, every: int = 10, data: Data | str | Path | None = None, root: str | Path | None = None,
         progress: bool = True, **changes: Any) -> Fork:
    """Train two futures of a run from a step on: as it was, and with fields changed (`FIELDS`).

    step, or steps: iterations after which the futures part. A step without a checkpoint is reached by training from the
    one before it, or else from the beginning. iterations: how long both are trained. seeds: pairs at each step; the
    first goes on with the run's own batches and random numbers, the others with new ones, which both share. every: the
    iterations between two scores. A changed head starts afresh, with the weights of its seed and without moments; the
    unchanged future keeps the trained one. The runs are kept in the store's folder "forks". LabError: the run or a step
    cannot be used, or a field cannot change in mid-training.
    """
    parent = Run.open(run, root)
    config = parent.config
    schema.check_settings(config, parent.folder / "experiment.json")
    if "head" in config:
        raise LabError(f"run {parent.name} is a pretraining; only a fine-tuning can be forked")
    e = Experiment.from_json(json.dumps(config["experiment"]))
    for field in changes:
        if hasattr(e, field) and field not in FIELDS:
            raise LabError(f"{field} cannot change in mid-training (what can: {', '.join(FIELDS)})")
        if field not in FIELDS:
            raise nearest(field, FIELDS, "field")
    changed = replace(e, **changes)
    if changed.smart and changed.smart.bregman is not None and not (e.smart and e.smart.bregman is not None):
        raise LabError("smart.bregman cannot begin in mid-training: the average of the weights that it needs is not in "
                       "the run's checkpoints; fork a run that was trained with it")
    if changed == e:
        raise LabError("nothing is changed: name a field with another value, such as updates=('pcgrad',)")
    steps, total = [*([step] if step is not None else []), *steps], e.iterations * e.epochs
    if not steps or iterations < 1 or seeds < 1 or every < 1:
        raise LabError("name a step, or steps, and 1 iteration, seed or more")
    if iterations > total:
        raise LabError(f"the run has {total} iterations in all, and a fork of {iterations} does not fit into them; "
                       "take fewer with --iterations (iterations=)")
    if bad := [s for s in steps if not 0 <= s <= total - iterations]:
        raise LabError(f"{iterations} iterations from {bad[0]} on do not fit into the run's {total}; take a step from "
                       f"0 to {total - iterations}")
    data = data if isinstance(data, Data) else load_data(data)
    parent.check_data(data)
    forks = runs_root(root) / FORKS
    rows, answers, folders = [], [], []
    with tempfile.TemporaryDirectory(prefix="lab-fork-") as beside:
        for start in sorted(set(steps)):
            base = _reach(parent, e, start, data, Path(beside, str(start)), progress)
            for seed in range(seeds):
                dev, ends = None, {}
                for arm, of in zip(ARMS, (e, changed), strict=True):
                    of = replace(of, seed=e.seed + seed)
                    name = f"{parent.name[:60]}-{start}-s{of.seed}-{arm}"
                    place = _arm(base, of, parent, start, _free(forks, name))
                    training = fit(of, data=data, run=place.folder, resume=True, progress=progress)
                    if seed:
                        _reseed(training, of.seed)
                    dev = dev or _dev(of, data, training)
                    for row in _follow(training, start, iterations, every, dev):
                        rows.append({"arm": arm, "start": start, "seed": of.seed, **row})
                    ends[arm] = evaluate(training.model, dev)[1]
                    folders.append(place.folder)
                answers += [{"start": start, "seed": e.seed + seed, "task": task, "id": part.ids[i],
                             "label": float(part.labels[i]), **{arm: float(ends[arm][task][i]) for arm in ARMS}}
                            for task, part in dev.items() for i in range(len(part))]
    return Fork(parent.name, changes, sorted(set(steps)), iterations, pd.DataFrame(rows), pd.DataFrame(answers),
                folders)


def _reach(parent: Run, e: Experiment, step: int, data: Data, folder: Path, progress: bool) -> Run:
    """A copy of the run as it was after `step`, with one checkpoint."""
    copy = Run(folder / parent.name)
    before = [s for s in checkpoints.steps(parent.checkpoints) if s <= step
              and (parent.checkpoints / f"{s:08d}" / "training.safetensors").exists()]
    if before:
        copy.folder.mkdir(parents=True)
        copied(parent.checkpoints / f"{before[-1]:08d}", copy.checkpoints / f"{before[-1]:08d}")
        copied(parent.folder / "encoder", copy.folder / "encoder")
        for name in ("experiment.json", "metrics.jsonl"):
            copied(parent.folder / name, copy.folder / name)
    if not before and parent.config.get("encoder_sha256") not in (None, weights_sha256(e.encoder)):
        raise LabError(f"run {parent.name} has no checkpoint at or before iteration {step}, and its encoder "
                       f"{e.encoder} has other weights now, so it cannot be begun again; take a later step")
    if not before or before[-1] < step:
        train_until(fit(e, data=data, run=copy.folder, resume=bool(before), progress=progress), step)
    return copy


def _arm(base: Run, e: Experiment, parent: Run, step: int, folder: Path) -> Run:
    """The folder of one future: the copy of the run at its step, with other settings and a parent in its record."""
    def write(part: Path) -> None:
        shutil.copytree(base.folder, part, ignore=lambda _, names: [n for n in names if n in (".lock", "status.json")])
        for other in checkpoints.steps(part / "checkpoints"):
            if other != step:
                shutil.rmtree(part / "checkpoints" / f"{other:08d}")
        config = json.loads((part / "experiment.json").read_text(encoding="utf-8"))
        config |= {"experiment": json.loads(e.to_json()), "parent": {"run": parent.name, "step": step}}
        (part / "experiment.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
        before = Experiment.from_json(json.dumps(base.config["experiment"]))
        if any(getattr(before, field) != getattr(e, field) for field in HEADS):
            _afresh(Run(part), step, before, e)

    commit(folder, write)
    return Run(folder)


def _afresh(run: Run, step: int, before: Experiment, e: Experiment) -> None:
    """Put new heads into a run's checkpoint, in place of those that changed. All else stays, moments included."""
    with torch.random.fork_rng():
        torch.manual_seed(e.seed)
        old, new = (MultitaskModel(run.encoder()[0], of.pooling, of.sts_head, of.pair, of.qqp_head)
                    for of in (before, e))
    tensors, state = checkpoints.load(run.checkpoints, step, for_training=True)
    changed = tuple(f"heads.{task}." for field, task in HEADS.items() if getattr(before, field) != getattr(e, field))
    weights = {name: value if name.startswith(changed) else tensors[f"model/{name}"]
               for name, value in new.state_dict().items()}
    kept = {key.removeprefix("training/"): value for key, value in tensors.items() if key.startswith("training/")}
    places = {name: i for i, (name, _) in enumerate(old.named_parameters())}
    moments = {f"{i}.{key}": kept[f"{places[name]}.{key}"] for i, (name, _) in enumerate(new.named_parameters())
               if not name.startswith(changed) for key in ("step", "exp_avg", "exp_avg_sq")
               if f"{places[name]}.{key}" in kept}
    rest = {key: value for key, value in kept.items() if not key[0].isdigit() and not key.startswith("average.")}
    average = {f"average.{name}": kept.get(f"average.{name}", value) if not name.startswith(changed) else value
               for name, value in weights.items()} if any(key.startswith("average.") for key in kept) else {}
    checkpoints.save(run.checkpoints, step, {"model": weights, "training": {**rest, **moments, **average}}, state, [])


def _free(forks: Path, name: str) -> Path:
    name = name.replace(" ", "-")
    return next(f for i in range(1, 10**6) if not (f := forks / (name if i == 1 else f"{name}-{i}")).exists())


def _reseed(training: Training, seed: int) -> None:
    """Other dropout masks and other noise than the run's own. The batches follow from the experiment's seed."""
    recorder = training.recorder
    recorder.randomness = recorder.parts.randomness = Randomness(seed, recorder.device)
    for generator in recorder.parts.generators.values():
        generator.manual_seed(seed)


def _dev(e: Experiment, data: Data, training: Training) -> dict[str, Rows]:
    """The dev rows that both futures are scored on."""
    longest = training.model.bert.config.max_position_embeddings
    cache = training.run.folder.parent / ".cache"
    rows: Mapping = prepare(data, training.tokenizer, share=kept_share(e, data), longest=longest, cache=cache)
    rows = cross(rows, longest) if e.pair == "cross" else rows
    return {task: rows[task, "dev"].some(SCORED, EVAL_SEED) for task in TASKS}


def _follow(training: Training, start: int, iterations: int, every: int,
            dev: Mapping[str, Rows]) -> Iterator[dict[str, Any]]:
    """Train one future to its end. Its windows' rows, and dev scores at the fork and after every few iterations."""
    end, recorder = start + iterations, training.recorder
    recorder.window = every
    reached = Stopped("the end of a fork", 0)
    recorder.ask_to_stop(reached, end)

    def scores() -> Iterable[dict[str, Any]]:
        for task, of in evaluate(training.model, dev)[0].items():
            metric = SCORES[task]
            yield {"step": training.step, "split": "dev", "task": task, "metric": metric, "value": of[metric]}

    yield from scores()
    scored = start
    try:
        for row in training:
            if row["split"] in ("batch", "sampled"):
                yield {key: row[key] for key in ("step", "split", "task", "metric", "value")}
            if row["metric"] == "peak_memory_mb" and training.step > scored:
                scored = training.step
                yield from scores()
    except Stopped as stop:
        if stop is not reached:
            raise
    if training.step > scored:
        yield from scores()
