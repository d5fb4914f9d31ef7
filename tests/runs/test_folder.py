"""Run folders: names that are safe, runs by name or folder, records that are read while they are written."""

import dataclasses
import os
import stat
import time
from types import SimpleNamespace

import pytest
from helpers import records, stored, trained

import lab
from lab.runs.folder import Run, checked_name
from lab.train import fit


@pytest.mark.parametrize("name", ["../x", "a/../../x", "", ".", "..", ".hidden", "a b", "x\0", "a" * 101,
                                  "x\n", "con:1", "CON", "nul", "aux.txt", "Com1.a.b", "lpt9", "x.", "marks.json",
                                  "report.html"])
def test_a_name_cannot_leave_the_store(name, tiny, tiny_data):
    with pytest.raises(lab.LabError):
        checked_name(name)
    with pytest.raises(lab.LabError):
        fit(tiny, data=tiny_data, run=name)
    with pytest.raises(lab.LabError):
        Run.open(name)


def test_a_folder_may_be_written_as_a_terminal_completes_it(tmp_path, monkeypatch):
    folder = stored(tmp_path, records("gse"))
    monkeypatch.chdir(tmp_path)
    for given in (f"./{folder.name}", f"{folder.name}/", folder, f"{folder}/"):
        assert Run.open(given).config == Run(folder).config


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


@pytest.mark.parametrize(("ago", "state"), [(0, "running"), (-1800, "running"), (1000, "stopped"), (-86400, "stopped"),
                                            (float("nan"), "stopped"), (-1e300, "stopped")])
def test_a_run_whose_heartbeat_is_far_from_now_is_not_running(ago, state, tmp_path):
    """Also where a clock was set back, so that it lies in the future: it would seem to be running for ever."""
    folder = stored(tmp_path / "runs", records(), {"state": "running", "heartbeat": time.time() - ago})
    assert Run(folder).status["state"] == state


def test_all_files_of_a_store_are_as_readable_as_the_mode_for_new_files_says(tiny, tiny_data, tmp_path):
    before = os.umask(0o027)
    try:
        run, _ = trained(dataclasses.replace(tiny, epochs=1), tiny_data)
        lab.Bert.save_pretrained(run.model()[0].bert, tmp_path / "encoder")
    finally:
        os.umask(before)
    files = [file for folder in ("runs", "encoder") for file in (tmp_path / folder).rglob("*") if file.is_file()]
    assert {file.suffix for file in files} >= {".safetensors", ".json", ".csv", ".jsonl"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o640}
