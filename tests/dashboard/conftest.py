"""Fixtures for the dashboard's tests: its pages in Streamlit's test runner, and stores of runs."""

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from browsing import browser, server, visit  # noqa: F401
from helpers import records, stored, with_repeated_ids
from streamlit.testing.v1 import AppTest

import lab
from lab.data import SCORES
from lab.evaluate import COURSE_FILES
from lab.runs.stores import runs_root

DASHBOARD = Path(__file__).resolve().parents[2] / "dashboard"
HOSTILE = "<script>alert(1)</script> **bold** [x](javascript:1)"  # the first text of the SST dev file


@pytest.fixture
def dashboard(monkeypatch):
    """The dashboard's folder, on the path, with nothing cached from other tests."""
    monkeypatch.syspath_prepend(str(DASHBOARD))
    st.cache_resource.clear()
    st.cache_data.clear()
    yield DASHBOARD
    st.cache_resource.clear()
    st.cache_data.clear()


@pytest.fixture
def app(dashboard):
    """The dashboard on the test's own store; it has not been run yet."""
    return AppTest.from_file(str(dashboard / "app.py"), default_timeout=60)


@pytest.fixture
def open_page(dashboard):
    """A function that opens a page, with choices from the address. The page must not fail."""
    def opened(page, **address):
        app = AppTest.from_file(str(dashboard / "app.py"), default_timeout=60)
        app.query_params.update(address)
        app.switch_page(f"views/{page}.py").run()
        assert not app.exception and (page == "predictions" or not app.error)
        return app

    return opened


@pytest.fixture
def add_run(tmp_path):
    """A function that puts a made-up run into the test's store; its arguments are those of `records`."""
    def add(name="baseline", seed=1, state="done", **more):
        status = {"state": state, "step": 47, "total": 94, "heartbeat": time.time() + 3000}
        return stored(tmp_path / "runs", records(name, seed, state=state, **more), status)

    return add


@pytest.fixture
def three_seeds(add_run, tmp_path):
    """A store with three seeds of baseline, which are worse than three seeds of gse."""
    for seed, (low, high) in enumerate([(0.51, 0.83), (0.53, 0.81), (0.52, 0.82)]):
        add_run("baseline", seed, overall=low, best=0.6)
        add_run("gse", seed, overall=high)
    return tmp_path / "runs"


@pytest.fixture
def data(tiny_data, tmp_path, monkeypatch):
    """The user's own data folder; the first text of its SST dev file is hostile."""
    folder = tmp_path / "data"
    shutil.copytree(tiny_data, folder)
    file = folder / "ids-sst-dev.csv"
    header, first, *rest = file.read_text(encoding="utf-8").splitlines()
    fields = dict(zip(header.split("\t"), first.split("\t"), strict=True)) | {"sentence": HOSTILE}
    file.write_text("\n".join([header, "\t".join(fields.values()), *rest]) + "\n", encoding="utf-8")
    monkeypatch.setenv("LAB_DATA", str(folder))
    return lab.load_data(folder)


@pytest.fixture
def repeated(data):
    """The same folder and the same `data`, but in its dev files each id stands in two rows."""
    data.splits.update(lab.load_data(with_repeated_ids(data.folder)).splits)
    return data


@pytest.fixture
def add_predictions(data):
    """A function that makes a finished run whose predictions are wrong in the first `wrong` examples of sst and qqp.

    sure: the probability of its answers; without it there are no probabilities.
    """
    def add(name="baseline", seed=1, wrong=6, sure=None, answers=True, score=0.5, **more):
        folder = runs_root() / f"{name}-{seed}"
        (folder / "predictions" / "last").mkdir(parents=True)
        settings = {"name": name, "seed": seed, "protocol": "laptop", "encoder": "minilm", "updates": ["sum"], **more}
        (folder / "experiment.json").write_text(json.dumps({
            "experiment": settings, "data": {"label": data.label, "fingerprint": data.fingerprint},
            "versions": {"torch": f"2.{seed}"}, "threads": 2}))
        (folder / "status.json").write_text(json.dumps({"state": "done"}))
        (folder / "metrics.jsonl").write_text("".join(json.dumps({
            "step": 9, "epoch": 1, "split": "dev_full", "task": task, "metric": metric, "value": score, "seconds": 1.0})
            + "\n" for task, metric in SCORES.items()))
        for task, (stem, header) in COURSE_FILES.items() if answers else ():
            examples = data.splits[task, "dev"].examples
            values = np.array([e.label for e in examples])
            if task == "sts":
                values = values + np.random.default_rng(seed).normal(0, wrong / 4, len(values))
            else:
                values[:wrong] = (values[:wrong] + 1) % (5 if task == "sst" else 2)
            lines = [f"id \t {header} \n", *(f"{e.id} , {v} \n" for e, v in zip(examples, values, strict=True))]
            (folder / "predictions" / "last" / f"{stem}-dev-output.csv").write_text("".join(lines))
            if sure and task != "sts":
                many = 5 if task == "sst" else 2
                rows = ["id," + ",".join(f"p{c}" for c in range(many))]
                for i, (e, value) in enumerate(zip(examples, values, strict=True)):
                    shares = np.full(many, (1 - sure - i / 1000) / (many - 1))
                    shares[int(value)] = sure + i / 1000
                    rows.append(e.id + "," + ",".join(map(str, shares)))
                (folder / "probabilities" / "last").mkdir(parents=True, exist_ok=True)
                file = folder / "probabilities" / "last" / f"{stem}-dev-probabilities.csv"
                file.write_text("\n".join(rows) + "\n")
        return folder

    return add


@pytest.fixture(scope="session")
def trained(tiny_encoder, tiny_data, tmp_path_factory):
    """A store with two trained runs: "one", which is siamese, and "two", which is cross."""
    root = tmp_path_factory.mktemp("trained")
    tiny = lab.Experiment(name="tiny", encoder=str(tiny_encoder), epochs=2, iterations=4, lr=1e-3, eval_train=20,
                          eval_qqp=20, device="cpu")
    for name, experiment in (("one", tiny), ("two", replace(tiny, name="other", pair="cross"))):
        list(lab.fit(experiment, data=lab.load_data(tiny_data), run=name, root=root, progress=False))
    return root


@pytest.fixture
def trained_store(trained):
    """A copy of that store as the test's own."""
    shutil.copytree(trained, runs_root(), ignore=shutil.ignore_patterns(".cache"))
    return runs_root()
