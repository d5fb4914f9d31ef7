"""The stores of runs: which one is meant, and whether it can be written."""

import os
import pwd

import pytest
from helpers import records, stored

import lab
from lab.runs.folder import Run, find_run, list_runs
from lab.runs.stores import runs_root
from lab.train import fit


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    run = stored(tmp_path / "store", records())
    assert runs_root("~/store") == tmp_path / "store" and Run.open("~/store/baseline-1").folder == run
    assert find_run("x", "~/store/new", False, tmp_path).folder == tmp_path / "store" / "new"
    monkeypatch.setenv("LAB_RUNS", "~/store")
    assert [of.name for of in list_runs()] == ["baseline-1"]

    def unknown(_):
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.delenv("HOME")  # as in a container with a user of its own
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(lab.LabError, match=r"^~/store: where the home folder is .*HOME is not set"):
        runs_root()


def test_a_store_that_cannot_be_written_is_named_with_what_to_do(tiny, tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(tmp_path / "theirs"))
    (tmp_path / "theirs").mkdir()
    (tmp_path / "file").write_text("")
    for place, why in (("theirs", "you may not write in"), ("theirs/new/store", "you may not write in"),
                       ("file", "is not a folder"), ("file/store", "is not a folder")):
        with pytest.raises(lab.LabError, match=f"{place}: .*{why}.*; name another run store with --runs") as error:
            fit(tiny, data=tiny_data, root=tmp_path / place)
        assert "\n" not in str(error.value)
