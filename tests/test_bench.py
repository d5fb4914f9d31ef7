"""The bench compares like with like."""

import dataclasses
import itertools

import pytest
import torch

import lab
from lab.bench import ROWS, as_text, bench, ordinary
from lab.train import fit


def test_bench_times_every_way_and_says_what_runs_take(tiny_data, tiny_encoder):
    threads = torch.get_num_threads()
    found = bench(str(tiny_data), str(tiny_encoder), rounds=2)
    assert set(found["seconds"]) == set(found["ratios"]) == {*ROWS, "ordinary", "best ordinary"}
    assert found["ratios"]["multitask"] == 1 and all(value > 0 for value in found["seconds"].values())
    assert min(found["floor"], found["gflops"], found["scoring"], found["tokens"], *found["minutes"].values()) > 0
    said = as_text(found, "laptop")
    assert "the best ordinary way" in said and "gse " in said and "minutes" in said
    assert torch.get_num_threads() == threads


def test_both_ordinary_ways_train_the_same_model(tiny, tiny_data, tmp_path):
    """Without dropout, from the same weights and on the same rows."""
    e = dataclasses.replace(tiny, updates=("sum",), dropout=0.0, epochs=1, iterations=3)
    training = fit(e, data=tiny_data, progress=False)
    with torch.random.fork_rng():
        found = []
        for best in (False, True):
            torch.manual_seed(0)
            found.append([float(loss) for loss in itertools.islice(
                ordinary(e, training.recorder.data, training, tmp_path / str(best), best, dropout=0), 3)])
    training.close()
    assert found[0] == pytest.approx(found[1], rel=1e-4) and found[0][2] != pytest.approx(found[0][0], rel=1e-3)


def test_rounds_are_one_or_more(tiny_data):
    with pytest.raises(lab.LabError, match="rounds must be 1 or more"):
        bench(str(tiny_data), rounds=0)
