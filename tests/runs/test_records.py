"""Records as one table: read piece by piece as at once, and unharmed by whatever stands in them."""

import hashlib
import json
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import trained
from hypothesis import given, settings
from hypothesis import strategies as some
from pandas.testing import assert_frame_equal

from lab.runs import records
from lab.runs.folder import list_runs
from lab.runs.labels import line_labels
from lab.runs.reading import parse_rows
from lab.runs.records import Store, load_runs

SURROGATE, NESTED = '"\\ud800"', "[" * 5000 + "]" * 5000
VALUES = ["0.5", "1", "-0.0", "null", "true", "NaN", "Infinity", "-1e999", "9" * 400, "9" * 5000, '"x"', "[]", "{}",
          SURROGATE, '"\\u0000\\u202e\\n"', '"<b>"', NESTED]
NO_ROWS = ["", "null", "7", '"text"', "[1]", "not json", '{"metric": 1}', '{"metric": "x"', '{"metric": "x"}}',
           '{"metric": "x"}, {"metric": "y"}', '[{"metric": "x"}', NESTED, "\x00", "\r"]


def made(store, run="one", rows=b"", status='{"state": "done"}', config=None, **experiment):
    """A run's folder."""
    folder = Path(store) / run
    folder.mkdir(parents=True, exist_ok=True)
    experiment = {"name": "gse", "protocol": "laptop", "encoder": "minilm", "seed": 1} | experiment
    config = {"format": 1, "experiment": experiment, "data": {"label": "SST 5", "fingerprint": "f"}} | (config or {})
    (folder / "experiment.json").write_text(json.dumps(config))
    (folder / "status.json").write_text(status)
    (folder / "metrics.jsonl").write_bytes(rows)
    return folder


def line(number, **other):
    row = {"step": number, "epoch": 1, "split": "dev", "task": "sst", "metric": "loss", "value": number / 7,
           "seconds": 0.5 + number}
    return json.dumps(row | other).encode() + b"\n"


@some.composite
def lines(draw):
    """A line as some writer might leave it; most are rows, a few with anything in a field."""
    fields = {"step": str(draw(some.integers(1, 10**6))), "epoch": "1", "split": '"dev"', "task": '"sst"',
              "metric": draw(some.sampled_from(['"loss"', '"f1"', '"a}{b"'])), "value": repr(draw(some.floats())),
              "seconds": "1.5"}
    if draw(some.integers(0, 3)) == 0:
        fields[draw(some.sampled_from(sorted(fields)))] = draw(some.sampled_from(VALUES))
    if draw(some.integers(0, 5)) == 0:
        del fields[draw(some.sampled_from(sorted(fields)))]
    row = "{" + ", ".join(f'"{key}": {value}' for key, value in fields.items()) + "}"
    text = draw(some.sampled_from(NO_ROWS)) if draw(some.integers(0, 5)) == 0 else row
    return text.encode() + draw(some.sampled_from([b"", b"", b"", b"\xff"])) + b"\n"


def cut_rows(folder, size):
    """What a resumed run does to its record."""
    with open(folder / "metrics.jsonl", "ab") as file:
        file.truncate(size)


def fresh(folder):
    return Store(folder).frame()


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(some.lists(lines(), max_size=12), some.lists(some.integers(0, 4000), max_size=5),
       some.lists(lines(), max_size=6), some.integers(0, 12))
def test_reading_what_was_added_is_reading_it_all(tmp_path_factory, written, cuts, rewritten, kept):
    store = tmp_path_factory.mktemp("store")
    made(store, "other", line(1))
    folder, text = made(store), b"".join(written)
    looking, before = Store(store), 0
    for cut in [*sorted(cuts), len(text)]:
        with open(folder / "metrics.jsonl", "ab") as file:
            file.write(text[before:cut])
        before = max(before, cut)
        assert_frame_equal(looking.frame(), fresh(store))
    cut_rows(folder, len(b"".join(written[:kept])))  # as a resumed run does
    rewritten = [row.replace(b'"seconds": 1.5', b'"seconds": 2.5') for row in rewritten]  # the clock has gone on
    if kept % 2:  # it may be seen in between, or not
        looking.frame()
    with open(folder / "metrics.jsonl", "ab") as file:
        file.write(b"".join(line(1000 + i) for i in range(kept)) + b"".join(rewritten))
    assert_frame_equal(looking.frame(), fresh(store))


@settings(deadline=None, max_examples=50)
@given(some.lists(lines(), max_size=8))
def test_rows_read_at_once_are_those_read_one_by_one(tmp_path_factory, written):
    text = b"".join(written)
    alone = [row for line in text.split(b"\n")[:-1] for row in parse_rows(line + b"\n")]
    assert repr(parse_rows(text)) == repr(alone)
    slow = [row for row in alone if isinstance(row.get("metric"), str)]
    store = tmp_path_factory.mktemp("store")
    made(store, rows=text)
    frame = fresh(store)
    assert len(frame) == len(slow) and np.isfinite(frame["value"].dropna()).all()
    for column in frame.select_dtypes("category"):
        "".join(frame[column].cat.categories).encode()  # could be sent
        assert all(text.isprintable() for text in frame[column].cat.categories)


def test_a_cut_that_leaves_the_same_size_is_seen(tmp_path):
    folder = made(tmp_path, rows=line(1) + line(2))
    store = Store(tmp_path)
    assert list(store.frame()["step"]) == [1, 2]
    cut_rows(folder, 0)
    (folder / "metrics.jsonl").write_bytes(line(3) + line(4))
    assert list(store.frame()["step"]) == [3, 4]
    (folder / "metrics.jsonl").unlink()
    assert store.frame().empty


def test_long_files_are_read_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "PIECE", 100)
    made(tmp_path, rows=b"".join(line(i) for i in range(50)) + b'{"half')
    assert list(Store(tmp_path).frame()["step"]) == list(range(50))


def test_nothing_new_is_the_same_object(tmp_path):
    folder = made(tmp_path, rows=line(1))
    store = Store(tmp_path)
    frame, version = store.frame(), store.version
    assert store.frame() is frame and store.version == version
    with open(folder / "metrics.jsonl", "ab") as file:
        file.write(line(2)[:-1])  # half-written
    assert store.frame() is frame
    with open(folder / "metrics.jsonl", "ab") as file:
        file.write(b"\n")
    assert len(store.frame()) == 2 and store.version == version + 1 and len(frame) == 1


def test_a_state_is_followed(tmp_path):
    status = {"state": "running", "heartbeat": time.time(), "step": 1, "total": 2}
    folder = made(tmp_path, rows=line(1), status=json.dumps(status))
    store = Store(tmp_path)
    assert list(store.frame()["state"]) == ["running"] and store.status["one"]["total"] == 2
    for text, state in (('{"state": "runn', "not recorded"), ('{"state": "running", "heartbeat": "soon"}', "stopped"),
                        ('{"state": "running"}', "stopped"), ('{"state": "running", "heartbeat": NaN}', "stopped"),
                        (f'{{"state": {NESTED}}}', "not recorded"), ("[]", "not recorded"),
                        ('{"state": "done"}', "done")):
        (folder / "status.json").write_text(text)
        assert list(store.frame()["state"]) == [state], text[:50]


def test_texts_are_categories_and_in_order(tmp_path):
    made(tmp_path, "b", line(1, split="train") + line(2, metric="accuracy"))
    made(tmp_path, "a", line(3), name="baseline")
    frame = fresh(tmp_path)
    assert all(isinstance(frame[c].dtype, pd.CategoricalDtype) for c in (*records.ABOUT, *records.TEXTS))
    assert list(frame["run"].cat.categories) == ["a", "b"] and list(frame["run"]) == ["a", "b", "b"]
    assert list(frame["split"].cat.categories) == ["dev", "train"] and list(frame["metric"]) == [
        "loss", "loss", "accuracy"]
    assert list(frame.sort_values("metric")["metric"]) == ["accuracy", "loss", "loss"]
    assert list(frame.columns) == list(fresh(tmp_path / "nowhere").columns) == records.COLUMNS


@pytest.mark.parametrize("broken", [
    "", "{", "[]", "7", NESTED, '{"experiment": 1}', '{"experiment": null, "format": 1}',
    '{"format": 2, "experiment": {}}', '{"format": "<script>", "experiment": {}}',
    f'{{"experiment": {{"a": {NESTED}}}}}'])
def test_a_run_that_cannot_be_read_is_named_and_the_others_are_read(tmp_path, broken):
    made(tmp_path, rows=line(1))
    (made(tmp_path, "broken", line(2)) / "experiment.json").write_text(broken)
    store = Store(tmp_path)
    assert set(store.frame()["run"]) == {"one"} and list(store.unreadable) == ["broken"]
    made(tmp_path, "broken", line(2))  # it is whole again
    assert set(store.frame()["run"]) == {"one", "broken"} and not store.unreadable


@pytest.mark.parametrize("experiment", [
    {}, {"name": None, "seed": "x", "encoder": ["a"], "protocol": {"a": 1}}, {"name": "<script>alert(1)</script>"},
    {"name": "../../x"}, {"name": "a\x00\n\u202eb", "lr": float("nan")}, {"name": "\ud800", "pooling": "\udfff\x1b"},
    {"\ud800": {"\n": ["\x7f"]}}, {"seed": 10**400, "lr": 10**4000}, {"name": "x" * 10**6}, {"seed": True}])
@pytest.mark.parametrize("config", [{}, {"data": 7, "departs": "all", "started": 7},
                                    {"data": {"label": ["<img>"], "fingerprint": None}, "departs": [None, {}, "\x00"]}])
def test_hostile_settings_become_texts_that_can_be_shown(tmp_path, experiment, config):
    folder = made(tmp_path, rows=line(1))
    (folder / "experiment.json").write_text(json.dumps({"experiment": experiment, **config}))
    made(tmp_path, "two", line(1), **({"name": experiment["name"]} if "name" in experiment else {}))
    store = Store(tmp_path)
    frame = store.frame()
    assert len(frame) == 2 and not store.unreadable
    for text in (*frame[list(records.ABOUT)].to_numpy().ravel(), *line_labels(frame)):
        assert text.isprintable() and len(text.encode()) < 10_000


def test_ten_megabytes_in_a_line_and_a_name_of_that_size(tmp_path):
    long = "x" * 10**7
    made(tmp_path, rows=line(1, note=long) + line(2, metric=long) + line(3))
    frame = fresh(tmp_path)
    assert list(frame["step"]) == [1, 2, 3] and frame["metric"].str.len().max() <= records.LONGEST


def test_folders_may_vanish_while_one_looks(tmp_path, monkeypatch):
    made(tmp_path, rows=line(1))
    gone = made(tmp_path, "gone", line(2))
    store = Store(tmp_path)
    assert len(store.frame()) == 2
    there = list_runs(tmp_path)
    shutil.rmtree(gone)
    with monkeypatch.context() as context:
        context.setattr("lab.runs.folder.runs_in", lambda folder: there)  # it went after the folder was listed
        assert set(store.frame()["run"]) == {"one"} and list(store.unreadable) == ["gone"]
    assert set(store.frame()["run"]) == {"one"} and not store.unreadable
    shutil.rmtree(tmp_path)
    assert store.frame().empty and load_runs(tmp_path).empty


ROWS = line(1) + line(2) + line(3)
DIGEST = {"metrics_bytes": len(ROWS), "metrics_sha256": hashlib.sha256(ROWS).hexdigest()}


@pytest.mark.parametrize(("kept", "rows"), [
    (DIGEST, b""), (DIGEST, ROWS[:-9]), (DIGEST, line(1) + line(2)), (DIGEST, line(1) + b"#\n" + line(2) + line(3)),
    ({}, b""), ({}, line(1) + line(2)), ({}, line(1) + line(2) + line(3)[:-9])])  # before schema 4 there was no digest
def test_a_finished_run_whose_rows_were_cut_or_changed_is_named_and_left_out(kept, rows, tmp_path):
    status = json.dumps({"state": "done", "step": 3, **kept})
    whole, damaged = made(tmp_path, rows=ROWS, status=status), made(tmp_path, "damaged", rows, status)
    with pytest.warns(UserWarning, match="run damaged is left out: .*metrics.jsonl has changed since it was saved"):
        assert set(load_runs(tmp_path)["run"]) == {"one"}
    shutil.copy(whole / "metrics.jsonl", damaged)
    store = Store(tmp_path)
    assert set(store.frame()["run"]) == {"one", "damaged"}
    (damaged / "metrics.jsonl").unlink()  # while one looks
    assert set(store.frame()["run"]) == {"one"} and list(store.unreadable) == ["damaged"]


def test_load_runs_is_long_form_and_passes_over_what_is_broken(tiny, tiny_data, tmp_path):
    _, rows = trained(tiny, tiny_data, run="one", root=tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "experiment.json").write_text("{")
    with pytest.warns(UserWarning, match="broken"):
        frame = load_runs(tmp_path)
    assert len(frame) == len(rows) and set(frame["run"]) == {"one"}
    assert {"name", "seed", "protocol", "encoder", "settings", "data", "step", "epoch", "split", "task", "metric",
            "value", "seconds"} <= set(frame.columns)
    assert frame["started"].str.match(r"20\d\d-\d\d-\d\dT").all()
    assert load_runs(tmp_path / "nowhere").empty and list_runs(tmp_path / "nowhere") == []


def test_of_two_stores_a_shipped_run_keeps_apart_from_ones_own_of_the_same_name(tmp_path):
    row = b'{"step": 1, "epoch": 1, "split": "dev", "task": "sst", "metric": "accuracy", "value": 0.5, "seconds": 1}\n'
    for place in ("runs", "shipped"):
        made(tmp_path / place, "one", row, name="baseline")
    store = Store(tmp_path / "runs", tmp_path / "shipped")
    frame = store.frame()
    assert frame["run"].tolist() == ["one", "shipped/one"] and frame["shipped"].tolist() == [False, True]
    assert store.folders == {"one": tmp_path / "runs" / "one", "shipped/one": tmp_path / "shipped" / "one"}
    assert store.status.keys() == store.folders.keys() and store.frame() is frame
    made(tmp_path / "runs", "two", row)
    assert store.frame()["run"].tolist() == ["one", "two", "shipped/one"]
