"""What the home page says: true to the leaderboard, and silent about what cannot be told."""

import pandas as pd
import pytest
from helpers import records

from lab.results import tables


@pytest.fixture
def sentences(dashboard):
    import sentences

    return sentences


def runs(**scores):
    """A frame with a run for each score of each recipe."""
    return pd.concat([records(name, seed, overall=value) for name, values in scores.items()
                      for seed, value in enumerate(values)], ignore_index=True)


def test_from_one_seed_nothing_is_told(sentences):
    said = sentences.found(runs(baseline=[.5], gse=[.9]))
    assert said.startswith("Best on dev is gse, with an overall score of 0.900 (one seed).")
    assert "Nothing can be told from one seed" in said and "better" not in said


def test_the_verdict_is_the_leaderboards(sentences):
    for gse in ([.82, .81, .83], [.53, .50, .55]):
        frame = runs(baseline=[.51, .53, .52], gse=gse)
        row = tables.verdicts(frame)[0].set_index("recipe").loc["gse"]
        said = sentences.found(frame)
        assert f"{row['low']:+.3f} to {row['high']:+.3f}, over 3 seeds" in said
        words = {"better": "It is better than baseline", "no difference shown": "No difference from baseline is shown"}
        assert words[row["verdict"]] in said


def test_where_there_is_no_verdict_it_says_why(sentences):
    found = sentences.found
    assert "that takes 3 seeds of each recipe" in found(runs(baseline=[.5], gse=[.8, .7, .9]))
    assert "nothing to compare it with" in found(runs(gse=[.8, .7, .9]))
    assert "no other recipe scored higher" in found(runs(baseline=[.8, .7, .9], gse=[.5, .6, .4]))
    assert "no result" in found(records(state="running"))
    assert "too short to compare" in found(runs(baseline=[.5], gse=[.8]).assign(protocol="smoke"))


def test_a_best_recipe_that_is_not_above_no_training_is_called_that(sentences):
    floor = [(0, "dev_full", *row) for row in (("sst", "majority_class", .3), ("qqp", "majority_class", .6),
                                               ("sts", "no_training_mean", .8))]
    assert "That is not above the 0.600 that the untouched encoder gives" in sentences.found(records(more=floor))
    assert "untouched" not in sentences.found(records(overall=.7, more=floor))


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
    hostile = one.assign(name="`x` <b>")
    assert commands(hostile, a="done") == ["lab report"]
