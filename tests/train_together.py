"""Run under torchrun by test_ranks.py, so in several processes: train experiments together.

    torchrun --nproc-per-node N train_together.py DROPOUT DATA STORE EXPERIMENT...

DROPOUT: "with" or "without"; an experiment in JSON, whose name is the run's.
Each process writes the sha256 of its weights at the end to STORE/NAME-RANK.txt.
"""

import hashlib
import os
import sys
from pathlib import Path

import torch
from helpers import without_dropout

import lab

torch.set_num_threads(1)
dropout, data, store = sys.argv[1], lab.load_data(sys.argv[2]), Path(sys.argv[3])
for experiment in map(lab.Experiment.from_json, sys.argv[4:]):
    training = lab.fit(experiment, data=data, run=experiment.name, root=store, progress=False)
    if dropout == "without":
        without_dropout(training)
    list(training)
    digest = hashlib.sha256()
    for value in training.model.state_dict().values():
        digest.update(value.numpy().tobytes())
    (store / f"{experiment.name}-{os.environ['RANK']}.txt").write_text(digest.hexdigest())
