"""An experiment is an immutable dataclass: each axis of the paper is one field, and an ablation is one `replace`.

    dataclasses.replace(lab.RECIPES["baseline"], pooling="mean")

`RECIPES` are rows of the paper's Table 1 at the paper's own scale; a protocol moves such a row to another scale.
"""

import json
import numbers
import re
import types
import typing
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self

from lab.batches import SAMPLERS
from lab.data import TASKS
from lab.errors import LabError, nearest
from lab.gradients import COMBINERS
from lab.smart import MOST, Smart, within
from lab.tasks import FROM_ONE, POOLINGS, QQP_HEADS, STS_HEADS

PAPER_ITERATIONS = 755  # an epoch of the paper: 6,040 STS rows in batches of 8


class Settings:
    """What Experiment and Pretraining share: fields checked when they are set, JSON in and out, field=value texts."""

    def __post_init__(self) -> None:
        kinds = typing.get_type_hints(type(self))
        for of in fields(self):
            name, value = of.name, _checked(of.name, getattr(self, of.name), kinds[of.name])
            object.__setattr__(self, name, value)
            if name in CHOICES:
                for one in value if isinstance(value, tuple) else (value,):
                    if one not in CHOICES[name]:
                        raise nearest(one, CHOICES[name], name)
            if value is not None and "within" in of.metadata:
                low, high = of.metadata["within"]
                if not low <= value <= high:
                    raise LabError(f"{name} must be between {low} and {high}, not {value}")

    def to_json(self) -> str:
        """One JSON object, a key a field."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`. LabError: not an object, or a field that this version does not know."""
        try:
            entries = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise LabError(f"not an experiment in JSON: {error}") from None
        if not isinstance(entries, dict):
            raise LabError("not an experiment in JSON: an object of fields is expected")
        return cls(**{cls._known(key): value for key, value in entries.items()})

    def with_settings(self, settings: Iterable[str]) -> Self:
        """These settings with `field=value` texts applied: numbers and none as written, lists with commas."""
        changes: dict[str, Any] = {}  # applied together, since one setting may be valid only with another
        given: dict[str, str] = {}
        for setting in settings:
            field, equals, text = (part.strip() for part in setting.partition("="))
            if not equals:
                raise LabError(f"--set {setting}: write it as field=value")
            if not field:
                raise LabError(f"--set {setting}: write the name of a field before the =")
            if field == "protocol":
                raise LabError(f"--set {setting}: a protocol sets many fields, and --set only its name; use --protocol")
            if given.setdefault(field, text) != text:
                raise LabError(f"{field} is given twice, as {given[field]!r} and as {text!r}; leave out one of them")
            changes |= self._change(field, text, changes)
        for field, text in given.items():
            if (of := field.partition(".")[0]) != field and of in given:  # smart=none and smart.weight=3
                raise LabError(f"{of}={given[of]} and {field}={text} contradict each other; leave out one of them")
        return replace(self, **changes)

    def _change(self, field: str, text: str, before: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that one such text changes, after those `before` it."""
        return {self._known(field): text}

    @classmethod
    def _known(cls, field: str) -> str:
        if field not in (fields := typing.get_type_hints(cls)):
            raise nearest(field, fields, "field")
        return field


@dataclass(frozen=True)
class Experiment(Settings):
    """One fine-tuning run. The same value on the same data, CPU and number of threads gives the same weights."""

    name: str = "baseline"
    protocol: str = "paper"  # the protocol that set the scale below; a label that changes nothing
    encoder: str = "bert-base-uncased"  # "minilm", "minilm-raw", a hub id or a folder
    trains: str = "all"  # encoder and heads; or "heads": they alone, on the sentence vectors of the untouched encoder
    pooling: str = "cls"  # how hidden states become one vector a sentence
    pair: str = "siamese"  # each sentence of a pair is encoded alone; or "cross": both in one input (QQP, STS)
    sts_head: str = "linear"  # how two sentence vectors become a similarity
    qqp_head: str = "linear"  # and the logit of a paraphrase
    tasks: tuple[str, ...] = TASKS  # those that are trained; all are scored
    task_weights: tuple[float, ...] | None = None  # factor of the loss of sst, qqp and sts, in this order; None: 1
    updates: tuple[str, ...] = ("separate",)  # the optimizer steps of one iteration, in order
    smart: Smart | None = None  # SMART and Bregman terms; with --set: smart.weight=5, smart.bregman=1, smart=none
    sampling: str = "parallel"  # which tasks the three batches of an iteration are drawn from
    iterations: int = within(PAPER_ITERATIONS, 1, 10**9)  # of an epoch
    epochs: int = within(10, 1, 10**6)
    batch_size: int = within(8, 1, 10**6)  # rows of each task
    lr: float = within(1e-5, 0, 1e30)
    weight_decay: float = within(0.0, 0, 1e30)
    warmup: int = within(0, 0, 10**9)  # iterations over which lr rises from 0
    schedule: str = "constant"  # of lr after the warm-up; or "linear": it falls, to almost 0 at the end of the training
    dropout: float = within(0.1, 0, 0.999)  # in the encoder; the heads have their own
    precision: str = "fp32"  # or "bf16": matrix products in bfloat16, weights and sums in float32
    device: str = "auto"  # cuda where there is one, else cpu
    scale: float | None = within(None, 1e-6, 1)  # share of the paper's epoch and training rows; None: the protocol's
    eval_train: int = within(1000, 1, 10**9)  # training rows of each task scored after every epoch, always the same
    eval_qqp: int | None = within(None, 2, 10**9)  # QQP's dev rows scored after every epoch; None: all 20,212
    end_qqp: int | None = within(None, 2, 10**9)  # QQP's dev rows scored at the end; None: all
    eval_rows: int | None = within(None, 2, 10**9)  # a limit on the rows of each task in every evaluation; None: none
    samples: int = within(20, 0, 10**6)  # iterations of an epoch in which diagnostics are sampled (runs/diagnostics.py)
    checkpoints: str = "last two"  # those that stay; or "every epoch", or a number: one every so many iterations
    seed: int = within(11711, 0, 2**63 - 1)  # by default the course's

    def __post_init__(self) -> None:
        if type(self.checkpoints) is int:
            object.__setattr__(self, "checkpoints", str(self.checkpoints))
        super().__post_init__()
        if not re.fullmatch("last two|every epoch|[1-9][0-9]{0,8}", self.checkpoints):
            raise LabError("checkpoints must be 'last two', 'every epoch', or a number of iterations from one to the "
                           f"next, not {self.checkpoints!r}")
        if not self.name:
            raise LabError("name is empty: runs and their lines are called by it; give one, such as mine")
        if not self.updates:
            raise LabError("updates is empty: name at least one step an iteration, such as ('sum',)")
        if len(set(self.tasks)) != len(self.tasks) or not self.tasks:
            raise LabError(f"tasks must name one task or more, each once (valid: {', '.join(TASKS)})")
        object.__setattr__(self, "tasks", tuple(task for task in TASKS if task in self.tasks))  # one order
        if self.task_weights is not None and (len(self.task_weights) != len(TASKS)
                                              or not all(0 <= weight <= MOST for weight in self.task_weights)):
            raise LabError(f"task_weights must be {len(TASKS)} numbers of 0 or more, at most {MOST:g}, of "
                           f"{', '.join(TASKS)}")
        if not any(map(self.task_weight, self.tasks)):
            raise LabError(f"task_weights gives every task that is trained ({', '.join(self.tasks)}) the weight 0, so "
                           "nothing would be learned")
        for field in ("qqp_head", "sts_head") if self.pair == "cross" else ():
            if getattr(self, field) not in FROM_ONE:
                raise LabError(f"{field} {getattr(self, field)!r} compares two vectors, and pair 'cross' makes one of "
                               f"both sentences (valid with it: {', '.join(FROM_ONE)})")
        if self.trains == "heads" and self.sts_head == "cosine_embedding" and (
                self.tasks == ("sts",) or "separate" in self.updates or self.sampling != "parallel"):
            raise LabError("sts_head 'cosine_embedding' has no weights, so with trains 'heads' a step for STS alone "
                           "would train nothing (valid with it: updates sum, sampling parallel, another task too)")
        if self.trains == "heads" and (self.smart or set(self.updates) - {"separate", "sum"}):
            raise LabError("trains 'heads' leaves the encoder as it is, and smart and the combiners of gradients act "
                           "on the encoder (valid with it: updates separate or sum, smart none)")

    def task_weight(self, task: str) -> float:
        """The factor of a task's loss."""
        return 1.0 if self.task_weights is None else self.task_weights[TASKS.index(task)]

    @property
    def epoch_1x(self) -> int:
        """The iterations n in which the smallest set is seen once, round(755 * scale)."""
        return max(1, round(PAPER_ITERATIONS * (self.scale or 1)))

    def _change(self, field: str, text: str, before: Mapping[str, Any]) -> dict[str, Any]:
        of, _, name = field.partition(".")
        if of != "smart" or not name:
            return super()._change(field, text, before)
        if name not in _SMART_KINDS:
            raise nearest(name, _SMART_KINDS, "field of smart")
        smart = _checked("smart", before.get("smart", self.smart), Smart | None) or Smart()
        return {"smart": replace(smart, **{name: _checked(field, text, _SMART_KINDS[name])})}


def _checked(field: str, value: Any, kind: Any) -> Any:
    """The value as the field's type; text, as from a command line, is read as one. LabError names what would do."""
    optional = isinstance(kind, types.UnionType)
    if optional:
        kind = kind.__args__[0]
        if value is None or str(value).lower() == "none":
            return None
    if kind is Smart:
        if isinstance(value, Smart):
            return value
        if isinstance(value, dict):
            return Smart(**{k if k in _SMART_KINDS else _unknown_smart(k): v for k, v in value.items()})
        raise LabError(f"smart must be a lab.Smart or none, not {value!r}; on the command line: --set smart.weight=5")
    if kind is bool and str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    if typing.get_origin(kind) is tuple:
        parts = [p.strip(" '\"()[]") for p in value.split(",")] if isinstance(value, str) else value
        if isinstance(value, str) and "" in parts[:-1]:
            raise LabError(f"{field} has nothing between two commas: {value!r}")
        if kind.__args__[0] is float and isinstance(parts, list | tuple):
            return tuple(_checked(field, p, float) for p in parts if p != "")
        if isinstance(parts, list | tuple) and all(isinstance(p, str) for p in parts):
            return tuple(p for p in parts if p)
    elif kind is str:
        if isinstance(value, str):
            return value
    elif kind is not bool and not isinstance(value, bool):
        try:
            if isinstance(value, str | numbers.Integral) or (kind is float and isinstance(value, numbers.Real)):
                return kind(value)  # numpy's numbers too
        except (ValueError, OverflowError):
            pass
    wanted = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    wanted = wanted.get(kind, "names with commas between them") + (" or none" if optional else "")
    raise LabError(f"{field} must be {wanted}, not {value!r}")


def _unknown_smart(field: str) -> str:
    raise nearest(field, _SMART_KINDS, "field of smart")


_SMART_KINDS = typing.get_type_hints(Smart)
# The valid values of a field that names something, whichever settings have it.
CHOICES: dict[str, Iterable[str]] = {
    "protocol": ("paper", "laptop", "sample", "smoke"),
    "pooling": POOLINGS,
    "pair": ("siamese", "cross"),
    "trains": ("all", "heads"),
    "sts_head": STS_HEADS,
    "qqp_head": QQP_HEADS,
    "tasks": TASKS,
    "updates": ChainMap(COMBINERS, {"separate": None}),  # what is added to COMBINERS is valid at once
    "sampling": SAMPLERS,
    "schedule": ("constant", "linear"),
    "precision": ("fp32", "bf16"),
    "device": ("auto", "cpu", "cuda"),
}

_GSE = Experiment(name="gse", updates=("pcgrad", "sum"))
_ROWS = (
    Experiment(name="baseline"),
    Experiment(name="multitask", updates=("sum",)),
    Experiment(name="gradient_surgery", updates=("pcgrad",)),
    _GSE,
    replace(_GSE, name="cosine_embedding", sts_head="cosine_embedding"),
    replace(_GSE, name="cosine_d", sts_head="cosine_d"),
    replace(_GSE, name="cosine_2d1", sts_head="cosine_2d1"),
    replace(_GSE, name="cosine_2d1_mean", sts_head="cosine_2d1", pooling="mean"),
    Experiment(name="smart", updates=("sum",), smart=Smart()),
    replace(_GSE, name="smart_gse", smart=Smart()),
    replace(_GSE, name="gse_3x", iterations=3 * PAPER_ITERATIONS),
    replace(_GSE, name="cosine_2d1_3x", sts_head="cosine_2d1", iterations=3 * PAPER_ITERATIONS),
    Experiment(name="smart_3x", updates=("sum",), smart=Smart(), iterations=3 * PAPER_ITERATIONS),
)
# Beyond the paper, from the same axes; their settings come from a small search on dev (LOG.md).
_BEYOND = (
    # The heads alone, on the untouched encoder; of the hand-outs' "last-linear-layer" with heads that see similarity.
    Experiment(name="frozen", trains="heads", updates=("sum",), pooling="mean", sts_head="cosine", qqp_head="cosine",
               lr=1e-2),
    # The two sentences apart, and heads that see how similar they are.
    Experiment(name="strong", pooling="mean", sts_head="cosine", qqp_head="cosine", lr=1.5e-4, batch_size=32,
               iterations=90, epochs=3, warmup=27, schedule="linear", samples=0),
    # The two sentences in one input.
    Experiment(name="strong_cross", pair="cross", pooling="mean", sampling="square_root", lr=1e-4, batch_size=32,
               iterations=440, epochs=4, warmup=100, schedule="linear", samples=0),
)
TABLE1 = tuple(row.name for row in _ROWS)  # the paper's thirteen
RECIPES: dict[str, Experiment] = {row.name: row for row in (*_ROWS, *_BEYOND)}

_MULTITASK, _SMART = RECIPES["multitask"], RECIPES["smart"]
# What a row of Table 1 is to be held against: the same but for one thing. They are trained as recipes are.
CONTROLS: dict[str, Experiment] = {row.name: row for row in (
    replace(_MULTITASK, name="sum_sum", updates=("sum", "sum")),  # for gse: as many steps, without surgery
    replace(_MULTITASK, name="mean", updates=("mean",)),  # for gradient_surgery, whose update is a mean
    *(replace(_MULTITASK, name=f"{task}_alone", tasks=(task,)) for task in TASKS),  # does multitask help at all?
    replace(_SMART, name="smart_ball", smart=Smart(reading="ball")),  # the other reading of SMART's epsilon
    replace(_SMART, name="smart_no_dropout", smart=Smart(dropout=False)),
    replace(_SMART, name="smart_no_noise", smart=Smart(sigma=0.0, steps=0)),  # what dropout alone penalizes
    replace(_MULTITASK, name="fairgrad", updates=("fairgrad",)),
    replace(_MULTITASK, name="weighted", task_weights=(1.0, 2.0, 1.0)),  # the best of six (LOG.md)
)}
KNOWN: ChainMap[str, Experiment] = ChainMap(RECIPES, CONTROLS)  # all that has a name

QUICK = ("baseline", "multitask", "gse", "cosine_2d1_mean", "smart")  # one of each idea

# The axes that make a row. A protocol or a user may choose the rest (encoder, lr, seed, scale ...).
AXES = ("trains", "pooling", "pair", "sts_head", "qqp_head", "tasks", "task_weights", "updates", "smart", "sampling",
        "iterations", "epochs", "batch_size", "weight_decay", "warmup", "schedule", "dropout")


def departs(experiment: Experiment) -> list[str]:
    """The axes in which an experiment differs from the recipe of its name at its protocol."""
    if experiment.name not in KNOWN:
        return ["name"]
    recipe = PROTOCOLS[experiment.protocol](replace(KNOWN[experiment.name], scale=experiment.scale))
    return [axis for axis in AXES if getattr(experiment, axis) != getattr(recipe, axis)]


def paper(experiment: Experiment) -> Experiment:
    """The paper's own scale: 755 iterations an epoch (2,265 for 3x), all training rows, all of dev."""
    return _scaled(experiment, 1.0, protocol="paper")


# The strong recipes see other shares of the training rows at `laptop`; all rows of Table 1 see the same 1/16.
LAPTOP_SCALES = {"strong": 1.0, "strong_cross": 1.0}


def laptop(experiment: Experiment) -> Experiment:
    """The paper at 1/16 with its proportions, on MiniLM: minutes on a laptop's CPU. LAPTOP_SCALES has the exceptions.

    With n = round(755 * scale), an epoch has (iterations / 755) * n iterations, STS keeps 8 n training rows, and the
    other sets keep the same share of theirs, so that each set is seen as often as in the paper.
    """
    return _scaled(experiment, LAPTOP_SCALES.get(experiment.name, 1 / 16), protocol="laptop", encoder="minilm",
                   lr=1e-4, warmup=24, eval_train=200, eval_qqp=1000, end_qqp=4000, samples=4)


def sample(experiment: Experiment) -> Experiment:
    """A minute a run, for the bundled sample: three epochs of the same scale, in which its grammar is learned."""
    if experiment.name in LAPTOP_SCALES:  # their long epochs of large batches would read the sample many times
        experiment = replace(experiment, iterations=PAPER_ITERATIONS, batch_size=8, epochs=10, warmup=0)
    return _scaled(experiment, 1 / 16, protocol="sample", encoder="minilm", lr=3e-4, warmup=24, epochs=3,
                   eval_train=100, eval_qqp=200, samples=4)


def smoke(experiment: Experiment) -> Experiment:
    """A few seconds a run, to see that everything works. Nothing is learned in it."""
    return _scaled(experiment, 1 / 64, protocol="smoke", encoder="minilm", lr=1e-4, epochs=2, eval_train=100,
                   eval_rows=200, samples=4)


def _scaled(experiment: Experiment, scale: float, **settings: object) -> Experiment:
    """The experiment at a scale, with a protocol's settings; what a recipe sets otherwise than the paper stays."""
    default = Experiment()
    settings = {field: value for field, value in settings.items()
                if field in ("protocol", "encoder") or getattr(experiment, field) == getattr(default, field)}
    experiment = replace(experiment, scale=experiment.scale or scale, **settings)
    return replace(experiment, iterations=max(1, round(experiment.iterations / PAPER_ITERATIONS * experiment.epoch_1x)))


PROTOCOLS: dict[str, Callable[[Experiment], Experiment]] = {"paper": paper, "laptop": laptop, "sample": sample,
                                                            "smoke": smoke}


def default_protocol(sample: bool) -> str:
    """The protocol where none is named: "sample" on the bundled sample, else "laptop"."""
    return "sample" if sample else "laptop"
