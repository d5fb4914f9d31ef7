"""Writing: whole or not at all, whenever the process or the power ends; and errors of the disk that name their file."""

import dataclasses
import errno
import hashlib

import pytest
from helpers import first_quick, repeatable, trained
from power_cut import PowerCuts, restore
from safetensors import SafetensorError

from lab.runs.disk import commit, copied, naming
from lab.runs.folder import Run


def outcome(run):
    """All that two runs of the same experiment have in common."""
    files = sorted([*run.checkpoints.glob("*/model.safetensors"), *run.folder.glob("p*/*/*.csv"),
                    *run.folder.glob("encoder/*")])
    digests = {str(f.relative_to(run.folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
    return digests, repeatable(run.rows()), run.status["state"]


@pytest.mark.parametrize("share", first_quick(8, 3))
def test_a_power_cut_at_any_moment_leaves_a_run_that_goes_on_to_the_same_bits(share, tiny, tiny_data, tmp_path,
                                                                              monkeypatch):
    """Or one that is whole. Nothing is ever "done" over an empty file, and no checkpoint is passed over."""
    monkeypatch.setattr("lab.runs.recorder.CHECKPOINT_EVERY", 1)
    e = dataclasses.replace(tiny, epochs=1, iterations=3, eval_rows=8, eval_train=8, samples=0)
    (tmp_path / "disk").mkdir()
    with PowerCuts(tmp_path / "disk") as cuts:
        whole, _ = trained(e, tiny_data, run="one", root=tmp_path / "disk" / "store")
    expected, ends = outcome(whole), set()
    *some, last = [(tree, moment) for (kind, tree), moment in cuts.disks.items() if kind == "nothing"]
    restore(last[0], tmp_path)
    assert outcome(Run(tmp_path / "store" / "one")) == expected  # once fit() has ended, nothing can be lost
    chosen = [disk for number, disk in enumerate(cuts.disks.items()) if number % share == 0]
    assert len(some) > 20 and len(chosen) > 80 / share
    for (kind, tree), moment in chosen:
        store = tmp_path / f"{kind}-{moment}"
        store.mkdir()
        restore(tree, store)
        left = Run(store / "store" / "one")
        ends.add(left.status.get("state") if left.exists else None)
        run, _ = trained(e, tiny_data, run="one", root=store / "store", resume=left.exists)
        assert outcome(run) == expected, (kind, moment)
    assert {None, "running"} <= ends


@pytest.mark.parametrize("old", [None, "file", "folder"])
def test_a_commit_that_fails_changes_nothing_and_names_its_file(old, tmp_path):
    target = tmp_path / "new" / "target"
    if old:
        target.parent.mkdir()
        (target / "mine").mkdir(parents=True) if old == "folder" else target.write_text("old")

    def full(part):
        part.mkdir() if old == "folder" else part.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match=r"No space left on device: .*new/target") as caught:
        commit(target, full)
    assert caught.value.errno == errno.ENOSPC
    assert [f.name for f in target.parent.iterdir()] == ([target.name] if old else [])  # and nothing half beside it
    assert old != "file" or target.read_text() == "old"


def test_a_commit_into_a_folder_keeps_what_else_is_there(tmp_path):
    target = tmp_path / "target"
    for name, text in (("a", "1"), ("b", "2"), ("b", "3")):
        def write(part, name=name, text=text):
            part.mkdir()
            (part / name).write_text(text)

        commit(target, write)
    assert {f.name: f.read_text() for f in target.iterdir()} == {"a": "1", "b": "3"}


def test_what_a_killed_commit_left_is_in_nobodys_way(tmp_path):
    (tmp_path / ".target.part" / "half").mkdir(parents=True)
    commit(tmp_path / "target", lambda part: part.write_text("whole"))
    assert [f.name for f in tmp_path.iterdir()] == ["target"] and (tmp_path / "target").read_text() == "whole"


def test_an_error_of_safetensors_is_one_of_the_disk(tmp_path):
    with pytest.raises(OSError, match="model: no space"), naming(tmp_path / "model"):
        raise SafetensorError("no space")


def test_a_copy_of_what_may_only_be_read_can_be_written(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_text("x")
    (tmp_path / "a" / "b" / "file").chmod(0o444)
    (tmp_path / "a" / "b").chmod(0o555)
    copied(tmp_path / "a", tmp_path / "copy")
    made = tmp_path / "copy" / "b" / "file"
    assert made.read_text() == "x" and made.stat().st_mode & 0o200 and made.parent.stat().st_mode & 0o200
    (tmp_path / "a" / "b").chmod(0o755)
