"""lab/encoders/device.py: devices by name, cores, precision, and a run's own random state."""

import os

import pytest
import torch

from lab.encoders.device import Randomness, autocast, cores, peak_memory, pick_device
from lab.errors import LabError

CPU = torch.device("cpu")


@pytest.mark.parametrize(("name", "has_cuda", "device"), [("cpu", False, "cpu"), ("cpu", True, "cpu"),
                                                          ("auto", False, "cpu"), ("auto", True, "cuda:0"),
                                                          ("cuda", True, "cuda:0")])
def test_a_device_by_name(name, has_cuda, device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    assert pick_device(name) == torch.device(device)


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_not_available_is_named(name, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(LabError, match=rf"^device '{name}' is not available on this machine \(available: cpu\)$"):
        pick_device(name)


def test_only_cores_that_this_process_may_use_are_counted(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 5, 7}, raising=False)
    assert cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert cores() == os.cpu_count()


def test_a_run_draws_from_its_own_state_and_the_callers_is_restored():
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    randomness = Randomness(7, CPU)
    with randomness:
        first = torch.rand(2)
    between = torch.rand(2)
    with randomness:
        start = randomness.now()
        second = torch.rand(3)
        randomness.restore(start)
        assert torch.equal(torch.rand(3), second)
    assert torch.equal(torch.cat([between, torch.rand(2)]), expected)
    torch.manual_seed(7)
    assert torch.equal(torch.cat([first, second]), torch.rand(5))


def test_the_callers_state_is_restored_after_an_exception():
    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), Randomness(7, CPU):
        torch.rand(1)
        raise ZeroDivisionError
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_precision_is_that_of_matrix_products(precision, dtype):
    x = torch.ones(2, 2)
    with autocast(precision, CPU):
        assert (x @ x).dtype == dtype and (x + x).dtype == torch.float32
    assert (x @ x).dtype == torch.float32


def test_peak_memory_is_that_of_the_process():
    before = peak_memory(CPU)
    held = torch.ones(64 * 2**20 // 4)
    assert 10 < before <= peak_memory(CPU) < 2**20 and held.sum() > 0
