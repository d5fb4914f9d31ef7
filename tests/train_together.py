"""Run under torchrun by test_ranks.py, so in several processes: train experiments together, without dropout.

    torchrun --nproc-per-node N train_together.py DATA STORE EXPERIMENT...     in JSON; its name is the run's

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
data, store = lab.load_data(sys.argv[1]), Path(sys.argv[2])
for experiment in map(lab.Experiment.from_json, sys.argv[3:]):
    training = without_dropout(lab.fit(experiment, data=data, run=experiment.name, root=store, progress=False))
    list(training)
    digest = hashlib.sha256()
    for value in training.model.state_dict().values():
        digest.update(value.numpy().tobytes())
    (store / f"{experiment.name}-{os.environ['RANK']}.txt").write_text(digest.hexdigest())
