"""The run store: names that are safe, runs by name or folder, records that are read while they are written."""

import dataclasses
from types import SimpleNamespace

import pytest
from helpers import trained

import lab
from lab.runs.folder import Run, checked_name
from lab.train import fit


@pytest.mark.parametrize("name", ["../x", "a/../../x", "", ".", "..", ".hidden", "a b", "x\0", "a" * 101,
                                  "x\n", "con:1"])
def test_a_name_cannot_leave_the_store(name, tiny, tiny_data):
    with pytest.raises(lab.LabError):
        checked_name(name)
    with pytest.raises(lab.LabError):
        fit(tiny, data=tiny_data, run=name)
    with pytest.raises(lab.LabError):
        Run.open(name)


def test_names_are_made_and_numbered(tiny, tiny_data):
    first, _ = trained(dataclasses.replace(tiny, epochs=1), tiny_data)
    second, _ = trained(dataclasses.replace(tiny, epochs=1), tiny_data)
    other, _ = trained(dataclasses.replace(tiny, epochs=1, lr=1e-4), tiny_data)
    assert second.name == f"{first.name}-2" and other.name.rsplit("-", 1)[0] == first.name.rsplit("-", 1)[0]
    assert "tiny" in first.name and "s11711" in first.name


def test_a_reader_never_sees_half_a_row(tiny, tiny_data):
    run, rows = trained(tiny, tiny_data, run="one")
    with open(run.folder / "metrics.jsonl", "ab") as file:
        file.write(b'{"step": 99, "epo')
    assert run.rows() == rows
    with open(run.folder / "metrics.jsonl", "ab") as file:
        file.write(b'\nnot json\n[1]\n\xff\xfe\n')
    assert run.rows() == rows


def test_names_do_not_change_when_a_setting_is_added(tiny, tiny_data):
    """Settings at their defaults are not in a name, and neither is SMART's reduction, which came later."""
    data = lab.load_data(tiny_data)
    smart = dataclasses.replace(tiny, encoder="minilm", smart=lab.Smart())
    assert lab.train.run_name(smart, data) != lab.train.run_name(dataclasses.replace(smart, smart=None), data)
    other = dataclasses.replace(smart, smart=lab.Smart(reduction="sum"))
    assert lab.train.run_name(smart, data) != lab.train.run_name(other, data)
    sample = SimpleNamespace(fingerprint="f6f362c880f9", kind="sample")  # the sample of then
    recipe = lab.PROTOCOLS["smoke"](lab.RECIPES["smart"])
    assert lab.train.run_name(recipe, sample) == SMART_ON_THE_SAMPLE


SMART_ON_THE_SAMPLE = "smart-smoke-sample-s11711-3441db"  # as it was named before SMART had a reduction
