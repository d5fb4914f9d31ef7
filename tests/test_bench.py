"""The bench compares like with like."""

import torch

from lab.bench import bench_iteration


def test_bench_times_both_ways(tiny_data, tiny_encoder):
    threads = torch.get_num_threads()
    found = bench_iteration(str(tiny_data), str(tiny_encoder), rounds=2)
    assert set(found) == {"ours", "ordinary", "tokens", "ratio"} and all(v > 0 for v in found.values())
    assert torch.get_num_threads() == threads
