"""The schema of a run's record, and how records of older schemas are read.

experiment.json carries the number of the schema that it was written in. Within a schema the keys are fixed: an unknown
or a missing key is an error, because a default in its place could change what a number means. A later version that adds
a setting raises SCHEMA and adds an upgrade, which gives older records the value that they were in fact made with.

    1   "format" 1. Settings came and went within it, so what such a record lacks is read as "not recorded".
    2   "schema" 2. All settings of this version, and no others; SMART has the reduction of its ascent's loss.
    3   Trained parts, QQP's head and its rows at the end are settings; "minilm" has a pooler that works.
    4   The schedule of the learning rate, the tasks that are trained and their weights are settings.
    5   So are the checkpoints that stay.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lab.data import TASKS
from lab.errors import LabError

SCHEMA = 5
# experiment.json: of fine-tuning, which has "departs", and of masked-language modelling, which has "head".
CONFIG = {"schema", "experiment", "device", "data", "versions", "threads", "revision", "started"}
OPTIONAL = {"parent",  # of a fork: its run and step
            "encoder_sha256"}  # of an encoder that is a folder: the hash of its weights
SETTINGS = {"name", "protocol", "encoder", "trains", "pooling", "pair", "sts_head", "qqp_head", "tasks", "task_weights",
            "updates", "smart", "sampling", "iterations", "epochs", "batch_size", "lr", "weight_decay", "warmup",
            "schedule", "dropout", "precision", "device", "scale", "eval_train", "eval_qqp", "end_qqp", "eval_rows",
            "samples", "checkpoints", "seed"}
SMART = {"weight", "step_size", "epsilon", "sigma", "steps", "reading", "dropout", "bregman", "reduction"}
DATA = {"label", "kind", "fingerprint", "cut"}  # and "sizes", or of masked-language modelling "sentences"
PRETRAINING = {"encoder", "epochs", "batch_size", "lr", "weight_decay", "warmup", "schedule", "mask", "held_out",
               "scale", "precision", "device", "seed"}
ROW = {"step", "epoch", "split", "task", "metric", "value", "seconds"}  # of metrics.jsonl


def read(entries: Mapping[str, Any], path: object) -> dict[str, Any]:
    """An experiment.json in the present schema. LabError, with its path: another schema, or other keys than its own."""
    number = entries.get("schema", entries.get("format", 1))
    if type(number) is not int or not 1 <= number <= SCHEMA:
        raise LabError(f"{path}: its records have schema {str(number)[:50]!r}, and this lab reads schemas 1 to "
                       f"{SCHEMA}: another version of the lab wrote it")
    entries = dict(entries)
    if not isinstance(entries.get("experiment"), dict):
        raise LabError(f"{path}: not a record of this lab, since it has no settings under 'experiment'")
    for older in range(number, SCHEMA):
        entries = UPGRADES[older](entries)
    if number > 1:
        _check(entries, path)
    return entries


def check_settings(entries: Mapping[str, Any], path: object) -> None:
    """Whether a record that `read` gave has all settings, as a model or a training needs them. LabError: it has not.

    A record of schema 1 can be shown without them, as "not recorded".
    """
    keys = PRETRAINING if "head" in entries else SETTINGS
    if entries["experiment"].keys() != keys:
        raise LabError(f"{path}: experiment: its record {_difference(entries['experiment'].keys(), keys)}")


def check_rows(rows: Iterable[Mapping[str, Any]], path: object) -> None:
    """Whether rows of metrics.jsonl have the keys of the present schema, each and no others. LabError: one has not."""
    for row in rows:
        if row.keys() != ROW:
            raise LabError(f"{path}: a row of schema {SCHEMA} {_difference(row.keys(), ROW)}")


def draws_at_random(settings: Mapping[str, Any]) -> bool:
    """Whether an iteration of an experiment may draw two batches of one task."""
    return settings.get("sampling", "parallel") != "parallel"


def _check(entries: Mapping[str, Any], path: object) -> None:
    mlm = "head" in entries
    parts = [("", {key: value for key, value in entries.items() if key not in OPTIONAL},
              CONFIG | {"head" if mlm else "departs"}),
             ("experiment: ", entries["experiment"], PRETRAINING if mlm else SETTINGS),
             ("data: ", entries.get("data"), DATA | {"sentences" if mlm else "sizes"})]
    if isinstance(smart := entries["experiment"].get("smart"), dict):
        parts.append(("experiment: smart: ", smart, SMART))
    for where, part, keys in parts:
        if not isinstance(part, dict):
            raise LabError(f"{path}: {where}schema {SCHEMA} has an object of keys here")
        if part.keys() != keys:
            raise LabError(f"{path}: {where}schema {SCHEMA} {_difference(part.keys(), keys)}")


def _difference(found: Iterable[str], wanted: Iterable[str]) -> str:
    missing, unknown = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    parts = [f"lacks {', '.join(missing)}"] if missing else []
    return " and ".join(parts + ([f"has the unknown key {unknown[0][:50]!r}"] if unknown else []))


def _from_1(entries: dict[str, Any]) -> dict[str, Any]:
    """Settings that came within schema 1, and the reduction, have the value that every older run was made with.

    In schema 1, two batches of one task in an iteration counted with the mean of their losses (under `separate` only in
    its earlier versions). Now they count with the sum, so an older run that drew tasks at random gets another name.
    """
    settings = dict(entries["experiment"])
    if "head" not in entries:
        settings = {"pair": "siamese", "samples": 20} | settings
    if isinstance(settings.get("smart"), dict):
        settings["smart"] = settings["smart"] | {"reduction": "mean"}
    if draws_at_random(settings) and isinstance(settings.get("name"), str):
        settings["name"] += "_batch_mean"
    return {key: value for key, value in entries.items() if key != "format"} | {"schema": 2, "experiment": settings}


def _from_2(entries: dict[str, Any]) -> dict[str, Any]:
    """Older runs trained everything, had the paper's QQP head and scored all rows; their minilm was the raw one."""
    settings = dict(entries["experiment"])
    if "head" not in entries:
        settings |= {"trains": "all", "qqp_head": "linear", "end_qqp": None}
    if settings.get("encoder") == "minilm":
        settings["encoder"] = "minilm-raw"
    return entries | {"schema": 3, "experiment": settings}


def _from_3(entries: dict[str, Any]) -> dict[str, Any]:
    """Older runs kept the learning rate after the warm-up, and trained all tasks with weight 1."""
    settings = entries["experiment"] | {"schedule": "constant"}
    if "head" not in entries:
        settings |= {"tasks": list(TASKS), "task_weights": None}
    return entries | {"schema": 4, "experiment": settings}


def _from_4(entries: dict[str, Any]) -> dict[str, Any]:
    """Older runs kept the newest two checkpoints."""
    settings = entries["experiment"] | ({} if "head" in entries else {"checkpoints": "last two"})
    return entries | {"schema": 5, "experiment": settings}


# schema -> its upgrade to the one after it
UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_1, 2: _from_2, 3: _from_3,
                                                                     4: _from_4}
