"""What several tests do with runs."""

import torch

from lab.train import fit


def trained(experiment, data, **options):
    """A run trained to its end, and its rows."""
    training = fit(experiment, data=data, progress=False, **options)
    rows = list(training)
    return training.run, rows


def stopped(experiment, data, run, after_epoch=1):
    """A training stopped when an epoch's scores are there, after its checkpoint."""
    training = fit(experiment, data=data, run=run, progress=False)
    for row in training:
        if row["epoch"] == after_epoch and row["split"] == "dev":
            break
    training.close()
    return training


def resumed(experiment, data, run="half", after_epoch=1):
    """The same, gone on with to its end."""
    stopped(experiment, data, run, after_epoch)
    training = fit(experiment, data=data, run=run, resume=True, progress=False)
    list(training)
    return training


def same_weights(ours, theirs):
    """Whether two models are equal to the bit."""
    ours, theirs = ours.state_dict(), theirs.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
