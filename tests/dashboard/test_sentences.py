"""What the home page says: true to the leaderboard, and silent about what cannot be told."""

from dataclasses import replace

import pandas as pd
import pytest
from helpers import records

import lab


@pytest.fixture
def sentences(dashboard):
    import sentences

    return sentences


def runs(**scores):
    """A frame with a run for each score of each recipe."""
    return pd.concat([records(name, seed, overall=value) for name, values in scores.items()
                      for seed, value in enumerate(values)], ignore_index=True)


def test_progress_has_share_time_left_losses_and_the_newest_score(sentences):
    losses = [(step, "batch", task, "loss", value) for step, value in ((25, 2.), (50, 1.)) for task in ("sst", "qqp")]
    rows = records(more=losses).query("step <= 50").sort_values("step", kind="stable").assign(seconds=300.)
    status = {"state": "running", "step": 50, "total": 100}
    assert sentences.progress("baseline-1", status, rows) == (
        "baseline-1: 50 % done; about 5 minutes left; latest loss: SST 1.000, QQP 1.000; "
        "latest overall score on dev: 0.400 (epoch 1).")
    assert sentences.progress("x", {"step": "?", "total": None}, rows[:0]) == "x: it has just begun; no score yet."


def test_the_next_commands_follow_from_what_is_there(sentences):
    def commands(frame, **states):
        return [command for command, _ in sentences.next_steps(frame, {run: {"state": s} for run, s in states.items()})]

    one, three = runs(baseline=[.5], gse=[.9]), runs(baseline=[.5, .6, .7], gse=[.6, .7, .8])
    assert commands(one) == ["lab train baseline", "lab ablate quick"]
    assert commands(one, **{"shipped/gse-0": "done"}) == ["lab train baseline", "lab ablate quick"]
    assert commands(one, a="done") == ["lab ablate gse baseline --data DIR --protocol laptop --seeds 3"]
    sample = one.assign(data="sample", protocol="sample")  # which needs no folder
    assert commands(sample, a="done") == ["lab ablate gse baseline --protocol sample --seeds 3"]
    assert commands(three, a="done") == ["lab report"]
    assert commands(three[:0], a="running") == ["lab ablate quick"]
    assert commands(three, a="stopped", b="done") == ["lab train RECIPE --resume", "lab report"]
    made = replace(lab.PROTOCOLS["laptop"](lab.RECIPES["gse"]), lr=1.0)  # the command would train the recipe as it is
    changed = one.assign(settings=one["settings"].where(one["name"] != "gse", made.to_json()))
    assert commands(changed, a="done") == ["lab ablate baseline --data DIR --protocol laptop --seeds 3"]
    hostile = one.assign(name="`x` <b>")
    assert commands(hostile, a="done") == ["lab report"]
