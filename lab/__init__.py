"""minBERT lab: fine-tune minBERT on three tasks in the ways that a Stanford CS224N report compares.

`lab.NAME` is one of the names below, or a module or folder of the package (`lab.tasks`, `lab.results`). Nothing is
imported before it is used, so `lab --help` does not wait for torch.
"""

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def public(package: str, homes: Mapping[str, str],
           rooms: Sequence[str] = ()) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package whose public names are imported when they are first used.

    homes: public name -> the module of the package that defines it. rooms: modules that are public as a whole. All
    modules of the package are attributes too.
    """
    def getattr_(name: str) -> Any:
        if name in homes:
            return getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        if name.isidentifier() and not name.startswith("_") and importlib.util.find_spec(f"{package}.{name}"):
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return getattr_, lambda: sorted([*homes, *rooms]), [*homes, *rooms]


__getattr__, __dir__, __all__ = public(__name__, {
    "LabError": "errors",
    "load_data": "data",
    "Bert": "bert", "BertConfig": "bert",
    "AdamW": "optim",
    "POOLINGS": "tasks", "STS_HEADS": "tasks",
    "SAMPLERS": "batches", "COMBINERS": "gradients", "Smart": "smart",
    "Experiment": "experiment", "RECIPES": "experiment", "PROTOCOLS": "experiment",
    "load_encoder": "encoders",
    "overall_score": "evaluate", "predict": "evaluate",
    "fit": "train", "Pretraining": "pretrain", "pretrain_mlm": "pretrain", "ablate": "engines",
    "fork": "whatif",
    "load_runs": "runs",
    "leaderboard": "results", "compare_runs": "results", "paired_predictions": "results",
}, rooms=("figures", "teach"))
