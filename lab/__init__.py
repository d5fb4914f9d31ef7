"""minBERT lab: fine-tune minBERT on three tasks, every way the paper did, and see what each way is worth.

`lab.NAME` is a name below, or a module: `lab.tables`. Nothing is imported until it is used, so `lab --help` does not
wait for torch.
"""

import importlib
import importlib.util
from typing import Any

_HOME = {
    "LabError": "errors",
    "Bert": "bert", "BertConfig": "bert",
    "AdamW": "optim",
    "load_data": "data",
    "load_encoder": "weights",
    "Smart": "smart", "Experiment": "experiment", "RECIPES": "experiment", "PROTOCOLS": "experiment",
    "POOLINGS": "tasks", "STS_HEADS": "tasks", "overall_score": "evaluate", "predict": "evaluate",
    "SAMPLERS": "batches", "COMBINERS": "gradients",
    "fit": "train", "ablate": "ablation", "Pretraining": "pretrain", "pretrain_mlm": "pretrain",
    "load_runs": "records", "leaderboard": "tables",
    "compare_runs": "comparison", "paired_predictions": "comparison",
}
__all__ = [*_HOME, "figures"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"lab.{_HOME[name]}"), name)
    if name.isidentifier() and not name.startswith("_") and importlib.util.find_spec(f"lab.{name}"):
        return importlib.import_module(f"lab.{name}")
    raise AttributeError(f"module 'lab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
