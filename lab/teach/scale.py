"""The scale of the runs in a notebook: one that suits the data, and a small one at which the tests run them."""

import os
from dataclasses import replace

from lab.data import Data
from lab.errors import nearest
from lab.experiment import PROTOCOLS, RECIPES, Experiment, default_protocol

SCALE = "LAB_NOTEBOOKS"  # environment variable. "small": for tests; "full": normal scale without widgets; unset: normal
# Upper limits of an experiment's fields at the small scale.
SMALL = {"scale": 1 / 64, "epochs": 1, "iterations": 2, "eval_train": 20, "eval_qqp": 40, "eval_rows": 40, "samples": 1}


def experiment(recipe: str, data: Data, **changes: object) -> Experiment:
    """A recipe with changed fields, at a scale that suits the data: `sample` for the sample, `laptop` for other files.

    With LAB_NOTEBOOKS=small, as when the tests run a notebook, it takes two iterations.
    LabError: no such recipe or field, or an invalid value.
    """
    if recipe not in RECIPES:
        raise nearest(recipe, RECIPES, "recipe")
    made = PROTOCOLS[default_protocol(data.kind == "sample")](RECIPES[recipe])
    if unknown := next((field for field in changes if field not in made.__dataclass_fields__), None):
        raise nearest(unknown, made.__dataclass_fields__, "field")
    made = replace(made, **changes)
    limits = SMALL if os.environ.get(SCALE) == "small" else {}
    return replace(made, **{field: min(most, getattr(made, field) or most) for field, most in limits.items()})
