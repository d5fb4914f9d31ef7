"""Labels of one's own, tags, notes, hidden runs; and the bin."""

import json
import time

import pytest
from filelock import FileLock
from helpers import records, stored

from lab.errors import LabError
from lab.runs import stores
from lab.runs.folder import Run
from lab.runs.marks import Mark, Marks, discard, discarded, restore
from lab.runs.records import Store
from lab.runs.stores import runs_root


@pytest.fixture
def store(tmp_path):
    for name in ("baseline", "gse"):
        stored(tmp_path / "runs", records(name))
    return tmp_path / "runs"


def test_what_is_said_is_read_back_by_everyone_and_changes_no_run(store):
    before = sorted((file, file.read_bytes()) for file in store.glob("*/*") if file.is_file())
    Marks(store).set("gse-1", "baseline-1", tags=("a", "b"))
    Marks(store).set("gse-1", label="mine", note="two\nlines", hidden=True)
    assert Marks(store).all() == {"gse-1": Mark("mine", ("a", "b"), "two\nlines", True),
                                  "baseline-1": Mark(tags=("a", "b"))}
    assert sorted((file, file.read_bytes()) for file in store.glob("*/*") if file.is_file()) == before
    Marks(store).set("gse-1", label="", tags=(), note="", hidden=False)
    assert set(json.loads((store / "marks.json").read_text())["runs"]) == {"baseline-1"}


def test_a_label_is_in_the_frame_as_soon_as_it_is_given(store):
    looking = Store(store)
    first = looking.frame()
    assert set(first["called"]) == {""} and looking.frame() is first
    Marks(store).set("gse-1", label="mine", hidden=True)
    frame = looking.frame()
    assert set(frame.loc[frame["run"] == "gse-1", "called"]) == {"mine"} and looking.version == 2
    assert looking.marked == {"gse-1": Mark("mine", hidden=True)} and looking.frame() is frame


SAID = {"label": "x", "tags": [], "note": "", "hidden": True}


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 2, "runs": {}}', *(
    json.dumps({"schema": 1, "runs": {"a": mark}}) for mark in ({}, SAID | {"tags": 1}, SAID | {"label": "\x1b"}))])
def test_a_damaged_file_is_said_and_never_overwritten(store, text):
    (store / "marks.json").write_text(text)
    looking = Store(store)
    assert len(looking.frame()) and "damaged" in looking.unreadable["marks.json"]
    with pytest.raises(LabError, match="damaged"):
        Marks(store).set("gse-1", label="x")
    assert (store / "marks.json").read_text() == text


def test_texts_that_cannot_stand_there_are_refused(store):
    for bad in ({"label": "x" * 81}, {"label": "a\nb"}, {"tags": ("\x1b",)}, {"note": "\x00"}, {"label": 5}):
        with pytest.raises(LabError):
            Marks(store).set("gse-1", **bad)
    assert not (store / "marks.json").exists()


def test_a_shipped_run_is_marked_in_ones_own_store(tmp_path):
    stored(stores.shipped_root(), records("gse"))
    Marks(stores.shipped_root()).set("shipped/gse-1", hidden=True)
    assert (runs_root() / "marks.json").exists() and not (stores.shipped_root() / "marks.json").exists()
    assert Store(stores.shipped_root()).marked == {} and Store(runs_root(), stores.shipped_root()).frame() is not None
    both = Store(runs_root(), stores.shipped_root())
    both.frame()
    assert both.marked == {"shipped/gse-1": Mark(hidden=True)}
    with pytest.MonkeyPatch.context() as patch, pytest.raises(LabError, match="stay as they are"):
        patch.setenv("LAB_RUNS", str(stores.shipped_root()))
        Marks(runs_root()).set("gse-1", hidden=True)
    assert not (stores.shipped_root() / "marks.json").exists()
    with pytest.raises(LabError, match="ships with the lab"):
        discard(Run(stores.shipped_root() / "gse-1"))


def test_a_run_goes_to_the_bin_and_comes_back_whole(store):
    before = {file.name: file.read_bytes() for file in (store / "gse-1").iterdir()}
    discard(Run(store / "gse-1"))
    assert set(Store(store).frame()["run"]) == {"baseline-1"} and [run.name for run in discarded(store)] == ["gse-1"]
    stored(store, records("gse"))
    with pytest.raises(LabError, match="is there already"):
        restore(store, "gse-1")
    with pytest.raises(LabError, match="is there already"):
        discard(Run(store / "gse-1"))
    (store / "gse-1").rename(store / "gse-2")
    restore(store, "gse-1")
    after = {file.name: file.read_bytes() for file in (store / "gse-1").iterdir() if file.name != ".lock"}
    assert after == before
    for name in ("gse-1", "../gse-2"):
        with pytest.raises(LabError):
            restore(store, name)


def test_a_run_that_trains_is_not_thrown_away(tmp_path):
    folder = stored(tmp_path / "runs", records(state="running"), {"state": "running", "heartbeat": time.time()})
    with pytest.raises(LabError, match="being trained"):
        discard(Run(folder))
    (folder / "status.json").write_text('{"state": "done"}')
    with FileLock(folder / ".lock"), pytest.raises(LabError, match="being trained"):
        discard(Run(folder))
    assert folder.is_dir()
