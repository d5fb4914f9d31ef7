"""lab/datasets/hub.py: the three sets from a hub on the loopback, which serves well, stalls, lies and breaks off."""

import hashlib
import json
import re
import socket
import subprocess
import sys

import huggingface_hub
import pytest
from loopback_hub import REVISION, as_jsonl, as_parquet

from lab import cli, load_data
from lab.data import read_split
from lab.datasets import download
from lab.datasets import hub as client
from lab.datasets.check import remarks
from lab.errors import LabError

NAMES = ["ids-sst-train.csv", "ids-sst-dev.csv", "ids-sst-test.csv", "quora-train.csv", "quora-dev.csv",
         "sts-train.csv", "sts-dev.csv"]
QQP_TRAIN = "qqp/train-00000-of-00001.parquet"
QUIET = {"say": lambda line: None}


def written(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} if folder.exists() else {}


def refused(folder, hub, message):
    """The download fails with one line like `message`, and no file is in its place."""
    with pytest.raises(LabError, match=message) as error:
        download(folder, hub.url, **QUIET)
    assert "\n" not in str(error.value) and not written(folder)
    return str(error.value)


def test_the_three_sets_arrive_in_the_courses_layout(hub, tmp_path):
    said = []
    download(tmp_path / "new", hub.url, said.append)
    assert sorted(written(tmp_path / "new")) == sorted([*NAMES, "sources.json"])
    assert not (tmp_path / "new" / ".download").exists()
    data = load_data(tmp_path / "new")
    assert {key: len(split.examples) for key, split in data.splits.items()} == {
        ("sst", "train"): 10, ("sst", "dev"): 5, ("sst", "test"): 5,
        ("qqp", "train"): 300, ("qqp", "dev"): 4, ("sts", "train"): 4, ("sts", "dev"): 4}
    assert not any(split.problems or remarks(split) for split in data.splits.values())
    assert data.splits["sst", "dev"].examples[3] == ("dev-3", ('dev film 3 "so"',), 3.0)
    assert data.splits["qqp", "train"].examples[2].texts == ("How is train 2?", '"What" of train 31676?')
    assert [example.label for example in data.splits["sts", "train"].examples] == [0, 2.533, 3.8, 5]
    assert (tmp_path / "new" / "sts-dev.csv").read_text().startswith("\tid\tsentence1\tsentence2\tsimilarity\n0\tdev-0")
    assert "quora-train.csv: 300 rows" in said


def test_terms_and_splits_are_said_before_anything_is_asked_for(hub, tmp_path):
    asked = {}
    download(tmp_path, hub.url, lambda line: asked.setdefault(line, len(hub.asked)))
    terms = [line for line, before in asked.items() if before == 0]
    assert [line.partition(" Terms: ")[0] for line in terms] == ["sst: SetFit/sst5.", "qqp: nyu-mll/glue qqp.",
                                                                 "sts: nyu-mll/glue stsb."]
    assert "no licence is stated" in terms[0] and "non-commercial" in terms[1] and "CC BY-SA 4.0" in terms[2]
    assert "8,544 / 1,101 / 2,210" in terms[0] and "363,846 / 40,430" in terms[1] and "6,040 / 863 / 1,725" in terms[2]
    assert all("all are -1" in line for line in terms[1:])
    assert not [name for name in hub.sent() if "test" in name and "qqp" in name]


def test_a_second_download_asks_for_nothing_and_names_a_changed_file(hub, tmp_path):
    download(tmp_path, hub.url, **QUIET)
    hub.asked.clear()
    said, before = [], written(tmp_path)
    download(tmp_path, hub.url, said.append)
    assert said == [f"{tmp_path}: 7 files are as they were downloaded (SetFit/sst5 at {REVISION[:12]}, "
                    f"nyu-mll/glue at {REVISION[:12]})"]
    assert not hub.asked and written(tmp_path) == before
    with open(tmp_path / "sts-dev.csv", "a") as file:
        file.write("4\tx\ta\tb\t1\n")
    with pytest.raises(LabError, match=r"sts-dev\.csv changed since the download .*move what changed away"):
        download(tmp_path, hub.url, **QUIET)
    (tmp_path / "sts-dev.csv").unlink()
    download(tmp_path, hub.url, **QUIET)
    assert written(tmp_path) == before
    assert hub.sent() == ["stsb/validation-00000-of-00001.parquet"]
    assert f"/api/datasets/nyu-mll/glue/revision/{REVISION}" in hub.asked


def test_the_record_has_revisions_and_hashes_and_another_file_at_that_revision_is_refused(hub, tmp_path):
    download(tmp_path, hub.url, **QUIET)
    record = json.loads((tmp_path / "sources.json").read_text())
    assert record["sets"]["qqp"]["revision"] == REVISION and record["sets"]["qqp"]["repository"] == "nyu-mll/glue"
    assert record["files"] == {name: read_split(tmp_path / name, task, split).sha256 for name, task, split in [
        (name, {"ids": "sst", "quo": "qqp", "sts": "sts"}[name[:3]], name[:-4].rpartition("-")[2]) for name in NAMES]}
    (tmp_path / "quora-train.csv").unlink()
    hub.files["nyu-mll/glue", QQP_TRAIN] = as_parquet(question1=["a"], question2=["b"], label=[1])
    with pytest.raises(LabError, match=r"other files than at the first download"):
        download(tmp_path, hub.url, **QUIET)
    assert not (tmp_path / "quora-train.csv").exists()
    (tmp_path / "sources.json").write_text('{"sets": 3}')
    with pytest.raises(LabError, match=r"sources\.json is damaged"):
        download(tmp_path, hub.url, **QUIET)


def test_nothing_of_the_users_is_overwritten(hub, tmp_path, monkeypatch):
    (tmp_path / "quora-dev.csv").write_text("mine")
    monkeypatch.setenv("LAB_DATA", str(tmp_path))
    with pytest.raises(LabError, match=r"has quora-dev\.csv already, and nothing is overwritten; .*--to DIR"):
        download(None, hub.url, **QUIET)
    assert not hub.asked and written(tmp_path) == {"quora-dev.csv": b"mine"}


def test_no_token_is_sent(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    download(tmp_path, hub.url, **QUIET)
    assert hub.tokens == {None}


def test_the_commands(hub, tmp_path, monkeypatch, capsys):
    def lab(*words):
        monkeypatch.setattr(sys, "argv", ["lab", "data", *map(str, words)])
        try:
            cli.main()
        except SystemExit as end:
            return end.code or 0, *capsys.readouterr()

    monkeypatch.setenv("TQDM_POSITION", "-1")  # the progress bar without a terminal too
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    code, out, err = lab("download", "--to", tmp_path / "a")
    assert code == 0 and out.startswith("sst: SetFit/sst5. Terms: ")
    assert "qqp/train-00000-of-00001.parquet: 100%" in err
    code, out, _ = lab("import", tmp_path / "a", "--to", tmp_path / "b")
    assert code == 0 and out.endswith("7 files written\n")
    assert load_data(tmp_path / "b").fingerprint == load_data(tmp_path / "a").fingerprint
    code, out, err = lab("download", "--to", tmp_path / "b")
    assert code == 2 and not out and err.count("\n") == 1 and "nothing is overwritten" in err


def test_the_room_loads_nothing_before_it_is_used():
    code = ("import sys, lab.datasets.hub, lab.datasets.folders; print([m for m in ('huggingface_hub', 'pyarrow', "
            "'pandas', 'torch', 'numpy') if m in sys.modules])")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


# ---- a hub in trouble ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("trouble", "message"), [
    ("stall", r"train-00000-of-00001\.parquet could not be fetched \(.*timed out.*\); .*the same command goes on"),
    ("drop", r"train-00000-of-00001\.parquet could not be fetched \(.*\); .*the same command goes on from there"),
    ("truncate", r"could not be fetched \(Consistency check failed: .*\); .*the same command goes on from there"),
    (404, r"^the hub has no nyu-mll/glue qqp/train-00000-of-00001\.parquet \(any more\); .*`lab data import DIR`$"),
    (429, r"the hub refuses more requests for now \(429\); wait some minutes: what has arrived is kept"),
])
def test_a_file_that_fails_is_one_line_and_the_same_command_goes_on(trouble, message, hub, tmp_path):
    hub.trouble[QQP_TRAIN] = trouble
    refused(tmp_path, hub, message)
    before = hub.sent()
    assert {"train.jsonl", "dev.jsonl", "test.jsonl"} <= set(before)
    hub.trouble.clear()
    hub.ranges.clear()
    download(tmp_path, hub.url, **QUIET)
    assert len(load_data(tmp_path).splits["qqp", "train"].examples) == 300
    assert not {"train.jsonl", "dev.jsonl", "test.jsonl"} & set(hub.sent()[len(before):])
    half = len(hub.files["nyu-mll/glue", QQP_TRAIN]) // 2
    assert hub.ranges[0] == 0 if isinstance(trouble, int) else half - 512 < hub.ranges[0] <= half


@pytest.mark.parametrize("name", [QQP_TRAIN, "dev.jsonl"])  # by sha256, and by git's hash
def test_a_damaged_file_is_deleted_and_fetched_again(name, hub, tmp_path):
    hub.trouble[name] = "corrupt"
    refused(tmp_path, hub, rf"{re.escape(name)} arrived damaged \(the hub lists hash [0-9a-f]{{12}}, it has .*again$")
    hub.trouble.clear()
    download(tmp_path, hub.url, **QUIET)
    assert hub.sent().count(name) == 2 and not load_data(tmp_path).splits["sst", "dev"].problems


def test_a_left_over_part_that_is_too_long_is_begun_again(hub, tmp_path):
    content = hub.files["nyu-mll/glue", QQP_TRAIN]
    (tmp_path / ".download").mkdir()
    (tmp_path / ".download" / f"{hashlib.sha256(content).hexdigest()}.part").write_bytes(content + b"more")
    download(tmp_path, hub.url, **QUIET)
    assert hub.sent().count(QQP_TRAIN) == 1


def test_a_list_of_files_that_does_not_come(hub, tmp_path, monkeypatch):
    hub.trouble["any"] = 404
    refused(tmp_path, hub, r"^the hub has no SetFit/sst5 \(any more\); get the files yourself")
    hub.trouble["any"] = 429
    refused(tmp_path, hub, r"^SetFit/sst5: the hub refuses more requests for now \(429\)")
    monkeypatch.setattr(client, "TIMEOUT", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        for listens in (False, True):  # refused at once, and never answered
            if listens:
                silent.listen()
            with pytest.raises(LabError, match=r"^SetFit/sst5 could not be fetched \(.+\)"):
                download(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}", **QUIET)
    assert not written(tmp_path)


def test_an_interruption_between_two_moves_is_resumed(hub, tmp_path, monkeypatch):
    moved = []

    def stop_at_third(temporary, folder, names):
        for name in names:
            if len(moved) == 2:
                raise KeyboardInterrupt
            moved.append((temporary / name).rename(folder / name))

    with monkeypatch.context() as patch:
        patch.setattr(client, "move_in", stop_at_third)
        with pytest.raises(KeyboardInterrupt):
            download(tmp_path, hub.url, **QUIET)
    assert sorted(written(tmp_path)) == ["ids-sst-dev.csv", "ids-sst-train.csv", "sources.json"]
    hub.asked.clear()
    download(tmp_path, hub.url, **QUIET)
    assert not hub.sent() and sorted(written(tmp_path)) == sorted([*NAMES, "sources.json"])


# ---- another layout ------------------------------------------------------------------------------------------------

def test_another_layout_is_said_by_column(hub, tmp_path):
    hub.files["nyu-mll/glue", QQP_TRAIN] = as_parquet(question1=["a"], text2=["b"], label=[1])
    refused(tmp_path, hub, r"^nyu-mll/glue qqp/train\S+ has another layout than expected: no column 'question2'; found "
                           r"'question1', 'text2', 'label'; get the files yourself")
    hub.files["SetFit/sst5", "dev.jsonl"] = as_jsonl([{"sentence": "a", "label": 1}])
    refused(tmp_path, hub, r"^SetFit/sst5 dev\.jsonl has another layout .*: no column 'text'; found 'sentence'")
    hub.files["SetFit/sst5", "dev.jsonl"] = b"not json"
    refused(tmp_path, hub, r"^SetFit/sst5 dev\.jsonl cannot be read")
    del hub.files["SetFit/sst5", "dev.jsonl"]
    refused(tmp_path, hub, r"^SetFit/sst5 has another layout than expected: no .* file of dev; found .*test\.jsonl")


def test_rows_that_cannot_be_used_are_named_and_too_many_refused(hub, tmp_path):
    rows = [{"text": f"film {i}", "label": i % 5} for i in range(200)]
    hub.files["SetFit/sst5", "train.jsonl"] = as_jsonl([*rows, {"text": " ", "label": 1}, {"text": "x", "label": -1}])
    said = []
    download(tmp_path / "a", hub.url, said.append)
    assert ("ids-sst-train.csv: 200 rows; 2 left out: row 200: no sentence; row 201: sentiment '-1' is not a whole "
            "number from 0 to 4") in said
    assert not read_split(tmp_path / "a" / "ids-sst-train.csv", "sst", "train").problems
    hub.files["SetFit/sst5", "train.jsonl"] = as_jsonl([*rows, *[{"text": "x", "label": 5}] * 3])
    refused(tmp_path / "b", hub, r"^SetFit/sst5 train\.jsonl: 3 of 203 rows cannot be used")
