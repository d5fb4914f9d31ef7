"""Commands: what each command of `lab` does. `lab/cli.py` gives them their names and handles their errors."""

from lab import public

__getattr__, __dir__, __all__ = public(__name__, {
    "train": "training", "ablate": "training", "pretrain": "training", "fork": "training", "bench": "training",
    "predict": "asking", "story": "tour",
    "report": "records", "share": "records", "compare": "records", "verify": "records",
    "data_check": "data", "data_download": "data", "data_import": "data",
    "class_grade": "classroom", "class_notebooks": "classroom",
})
