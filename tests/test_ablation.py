"""Many runs: all there, none twice, a failed one named and the others finished."""

import dataclasses

import pytest

import lab
from lab.runs import list_runs


def test_all_runs_are_made_and_none_twice(tiny, tiny_data):
    experiments = [dataclasses.replace(tiny, name=name, updates=(name,), epochs=1) for name in ("sum", "separate")]
    frame = lab.ablate(experiments, seeds=2, data=tiny_data, progress=False)
    assert frame.groupby("name")["seed"].nunique().to_dict() == {"sum": 2, "separate": 2}
    assert set(frame["state"]) == {"done"} and list(lab.leaderboard(frame)["seeds"]) == [2, 2]
    before = {run.name: (run.folder / "metrics.jsonl").stat().st_mtime_ns for run in list_runs()}
    again = lab.ablate(experiments, seeds=2, workers=2, data=tiny_data, progress=False)
    assert len(again) == len(frame)
    assert {run.name: (run.folder / "metrics.jsonl").stat().st_mtime_ns for run in list_runs()} == before


def test_a_failed_run_is_named_and_the_others_finish(tiny, tiny_data):
    good = dataclasses.replace(tiny, epochs=1)
    bad = dataclasses.replace(good, name="bad", lr=1e30)
    with pytest.raises(lab.LabError, match="1 of 2 runs failed, the others are finished: bad-"):
        lab.ablate([bad, good], seeds=1, data=tiny_data, progress=False)
    assert {run.config["experiment"]["name"]: run.status["state"] for run in list_runs()} == {
        "bad": "failed", "tiny": "done"}
