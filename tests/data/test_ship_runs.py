"""The records that ship with the lab: fit to be published, shown while one's own store is empty, and called shipped."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import pandas as pd
import pytest

import lab
from lab import cli, figures
from lab.data import SCORES
from lab.experiment import KNOWN
from lab.results.plan import plan
from lab.runs.folder import Run, list_runs
from lab.runs.records import load_runs
from lab.runs.stores import shown_store
from lab.train import fit

DATA = Path(__file__).resolve().parents[2] / "data"
spec = importlib.util.spec_from_file_location("ship_runs", DATA / "ship_runs.py")
ship_runs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ship_runs)

STARTED = "2026-11-25T01:23:32+0000"


def record(store, recipe="gse", seed=11711, state="done", **changes):
    """A made-up run's folder, of records alone; `changes` go into its config."""
    experiment = lab.PROTOCOLS["laptop"](lab.RECIPES[recipe]).with_settings([f"seed={seed}"])
    config = {"format": 1, "experiment": json.loads(experiment.to_json()), "departs": [], "device": "cpu",
              "data": {"label": "SST 8544, QQP 120674, STS 6040 from data", "kind": "files",
                       "fingerprint": "b59f4013d8a2", "cut": 0,
                       "sizes": {"sst train": {"rows": 8544, "used": 532, "left out": 0}}},
              "versions": {"torch": "2.13.0+cpu"}, "threads": 1, "revision": "65d95289edee", "started": STARTED}
    for path, value in changes.items():
        part, *rest = path.split("__")
        (config[part] if rest else config)[rest[0] if rest else part] = value
    folder = store / f"{recipe}-laptop-s{seed}"
    folder.mkdir(parents=True)
    (folder / "experiment.json").write_text(json.dumps(config))
    rows = [{"step": step, "epoch": step // 47, "split": split, "task": task, "metric": metric, "value": 0.5,
             "seconds": 1.0}
            for split, step in (("train", 47), ("dev", 47), ("train", 94), ("dev", 94), ("dev_full", 94))
            for task, metric in SCORES.items()]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "status.json").write_text(json.dumps({"state": state, "heartbeat": 1.0, "step": 94, "total": 94,
                                                    "best": {"step": 94, "overall": 0.5}}))
    return folder


def files(folder):
    return sorted(str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file())


def test_only_the_records_of_finished_runs_are_copied(tmp_path, capsys):
    whole = record(tmp_path / "store")
    for inner in ("checkpoints/00000094/model.safetensors", "predictions/last/sst-dev-output.csv", "encoder/vocab.txt"):
        (whole / inner).parent.mkdir(parents=True)
        (whole / inner).write_text("not to be shipped")
    record(tmp_path / "store", "baseline", state="failed")
    out = tmp_path / "out"
    for _ in range(2):  # the second time, over the first
        assert ship_runs.ship(tmp_path / "store", out) == 0
        said = capsys.readouterr().out.splitlines()
        assert said[0] == "left out: baseline-laptop-s11711 is failed"
        assert re.fullmatch(r"gse: minilm-raw, laptop, SST 8544, QQP 120674, STS 6040 from data \(b59f4013d8a2\), "
                            r"2026-11-25, seed 11711, \d+ kB", said[1])
        assert "1 runs copied, 0 refused" in said[2]
        assert files(out) == [f"gse-laptop-s11711/{file}" for file in ship_runs.FILES]
        assert all((out / whole.name / f).read_bytes() == (whole / f).read_bytes() for f in ship_runs.FILES)


@pytest.mark.parametrize(("changes", "why"), [
    ({"experiment__encoder": "/home/me/encoder"}, "holds '/home/me/encoder'"),
    ({"experiment__encoder": "C:\\encoder"}, r"holds 'C:\\\\encoder'"),
    ({"experiment__encoder": "../encoder"}, "holds '../encoder'"),
    ({"experiment__name": "mine"}, "'mine' is not a recipe"),
    ({"experiment__pooling": "men"}, "pooling 'men' is not known"),
    ({"data__label": "SST 8544, QQP 120674, STS 6040 from /home/me"}, "not the real sets"),
    ({"data__label": "sample", "data__kind": "sample"}, "its data is 'sample', not the real sets"),
    ({"data__first": "A fine film."}, "holds 'A fine film.'"),
    ({"data__sizes": {"A fine film.": 1}}, "holds 'A fine film.'"),
    ({"revision": "65d95289edee-dirty"}, "code that no commit holds"),
    ({"revision": None}, "code that no commit holds"),
    ({"started": None}, "does not say when"),
    ({"format": 99}, "records have schema '99'"),
])
def test_a_record_that_may_not_ship_is_refused_in_a_line(tmp_path, capsys, changes, why):
    folder = record(tmp_path / "store", **changes)
    assert ship_runs.ship(tmp_path / "store", tmp_path / "out") == 1
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2 and re.match(f"refused: {folder.name}: .*{why}", said[0]) and not files(tmp_path / "out")


def test_a_measurement_is_a_number_on_a_whole_line(tmp_path):
    folder = record(tmp_path)
    assert ship_runs.fault(Run(folder)) is None
    whole = (folder / "metrics.jsonl").read_text()
    row = json.loads(whole.splitlines()[-1])
    for line in ('{"step": 1, "epo', '"A fine film."', *map(json.dumps, (row | {"value": "good"}, row | {"text": 1}))):
        for end in ("\n", ""):
            (folder / "metrics.jsonl").write_text(whole + line + end)
            assert "metrics.jsonl has a" in ship_runs.fault(Run(folder))


def test_a_record_that_was_changed_after_its_end_does_not_ship(tmp_path):
    folder = record(tmp_path)
    rows = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join(row.replace('"step": 94', '"step": 93') for row in rows))
    assert "has changed since it was saved at the end" in ship_runs.fault(Run(folder))


def test_too_much_is_not_copied_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(ship_runs, "MOST_BYTES", 8_000)
    record(tmp_path / "store")
    ship_runs.ship(tmp_path / "store", tmp_path / "out")
    record(tmp_path / "store", "baseline")
    record(tmp_path / "store", "multitask")
    with pytest.raises(lab.LabError, match="nothing is copied"):
        ship_runs.ship(tmp_path / "store", tmp_path / "out")
    assert len(list_runs(tmp_path / "out")) == 1


def test_an_empty_store_shows_the_shipped_runs_and_says_so(tmp_path, monkeypatch, capsys):
    for seed in (1, 2):
        record(tmp_path / "shipped", seed=seed)
    record(tmp_path / "shipped", "baseline", started="2026-11-27T00:00:00+0000")
    store, note = shown_store()
    assert store == tmp_path / "shipped" and "\n" not in note
    for said in ("no runs of your own yet", "ship with the lab", "2026-11-25 to 2026-11-27", "2 seeds at most"):
        assert said in note
    with pytest.warns(UserWarning, match=re.escape(note)):
        frame = load_runs()
    assert sorted(frame["run"].unique()) == [run.name for run in list_runs()] == [
        "baseline-laptop-s11711", "gse-laptop-s1", "gse-laptop-s2"]
    figure = figures.curves(frame)
    assert {line.name for line in figure.data} == {f"{name} (encoder=minilm-raw)" for name in ("baseline", "gse")}
    assert "records that ship with the lab" in figure.layout.title.text
    assert len(Run.open("gse-laptop-s2").rows()) == 20

    monkeypatch.setattr(sys, "argv", ["lab", "report"])
    assert _main() == 0
    out = capsys.readouterr().out
    assert out.startswith(note + "\n") and out.count(note) == 1 and "gse-laptop-s1" in out
    page = (tmp_path / "runs" / "report.html").read_text(encoding="utf-8")
    assert "records that ship with the lab" in page and not list(tmp_path.glob("shipped/*.html"))

    monkeypatch.setattr(sys, "argv", ["lab", "report", "--runs", str(tmp_path / "shipped")])
    assert _main() == 0 and not list(tmp_path.glob("shipped/report*"))  # only what ships belongs there
    assert "gse" in (tmp_path / "runs" / "shipped.html").read_text(encoding="utf-8")
    capsys.readouterr()

    monkeypatch.setattr(sys, "argv", ["lab", "predict", "gse-laptop-s1", "A fine film."])
    assert _main() == 2
    assert ("gse-laptop-s1 has records but no weights, as it ships with the lab; `lab train gse --protocol laptop`"
            in capsys.readouterr().err)


def _main():
    try:
        cli.main()
    except SystemExit as end:
        return end.code or 0
    return 0


def test_a_run_of_ones_own_or_a_named_store_hides_the_shipped(tmp_path, monkeypatch, tiny, tiny_data):
    record(tmp_path / "shipped")
    assert load_runs(tmp_path / "elsewhere").empty and list_runs(tmp_path / "elsewhere") == []
    assert lab.ablate([], data=tiny_data, progress=False).empty
    with pytest.raises(lab.LabError, match="no run 'mine' \\(runs: none yet; `lab train baseline` makes one\\)"):
        Run.open("mine")
    training = fit(tiny, data=tiny_data, run="gse-laptop-s11711", progress=False)  # writers never look there
    training.close()
    assert training.run.folder == tmp_path / "runs" / "gse-laptop-s11711"
    assert shown_store() == (tmp_path / "runs", None) and [run.folder for run in list_runs()] == [training.run.folder]
    assert Run.open("gse-laptop-s11711").folder == training.run.folder
    assert not load_runs()["shipped"].any() and len(files(tmp_path / "shipped")) == 3


def test_what_ships_is_fit_to_be_published():
    shipped = list_runs(DATA / "runs")
    assert sum(f.stat().st_size for f in (DATA / "runs").rglob("*") if f.is_file()) < 12_000_000
    of_runs = [f"{run.name}/{file}" for run in shipped for file in ship_runs.FILES]
    assert files(DATA / "runs") == sorted(["README.md", "compared.csv", *of_runs])
    for run in shipped:
        assert ship_runs.fault(run) is None, run.name
        config = run.config
        made, data = config["experiment"], config["data"]
        assert made["encoder"] and made["protocol"] and data["label"] and config["started"] and made["seed"]
        assert made["name"] in KNOWN and run.status["state"] == "done"
    frame = load_runs(DATA / "runs")
    assert set(frame["run"]) == {run.name for run in shipped}
    assert set(lab.leaderboard(frame)["name"]) == set(frame["name"])
    for name in set(frame["name"]):
        assert figures.curves(frame[frame["name"] == name]).data
    tests = pd.read_csv(DATA / "runs" / "compared.csv")
    assert set(tests["contrast"]) <= {f"{c['a']} - {c['b']}" for c in plan()["contrasts"]}
    assert set(tests["task"]) == {"sst", "qqp", "sts"} and set(tests["test"]) == {"McNemar, exact", "paired bootstrap"}


def test_runs_of_a_contrast_are_tested_with_equal_seeds_and_other_rows_stay(tmp_path, monkeypatch):
    store, out = tmp_path / "store", tmp_path / "out"
    monkeypatch.setattr(ship_runs, "is_planned", lambda settings, protocol: protocol == "laptop")
    for recipe, seed in (("gse", 1), ("gse", 2), ("gradient_surgery", 2), ("gradient_surgery", 3), ("multitask", 2)):
        (record(store, recipe, seed) / "predictions" / "last").mkdir(parents=True)
    record(store, "multitask", 3)  # without predictions
    out.mkdir()
    before = {"contrast": "smart - multitask", "seed": 7, "task": "sts", "test": "paired bootstrap", "p": 0.5}
    stale = before | {"contrast": "gse - gradient_surgery", "seed": 2}
    pd.DataFrame([before, stale]).to_csv(out / "compared.csv", index=False)
    monkeypatch.setattr(ship_runs, "load_data", lambda folder: folder)
    monkeypatch.setattr(ship_runs, "compare_runs", lambda a, b, data: pd.DataFrame(
        [{"task": "sts", "metric": "pearson", "test": "paired bootstrap", "p": 0.125}]))
    ship_runs.compare(store, out, tmp_path)
    found = pd.read_csv(out / "compared.csv").set_index(["contrast", "seed"])["p"].to_dict()
    assert found == {("gse - gradient_surgery", 2): 0.125, ("gradient_surgery - multitask", 2): 0.125,
                     ("smart - multitask", 7): 0.5}
