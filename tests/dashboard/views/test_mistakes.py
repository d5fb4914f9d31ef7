"""The dashboard's pages on predictions: Mistakes and Compare."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

import lab
from lab.evaluate import COURSE_FILES
from lab.runs.folder import runs_root

DASHBOARD = Path(__file__).resolve().parents[3] / "dashboard"
HOSTILE = "<script>alert(1)</script> **bold** [x](javascript:1)"


@pytest.fixture
def data(tiny_data, tmp_path, monkeypatch):
    """The user's own folder; its first SST text is hostile."""
    folder = tmp_path / "data"
    shutil.copytree(tiny_data, folder)
    file = folder / "ids-sst-dev.csv"
    header, first, *rest = file.read_text(encoding="utf-8").splitlines()
    fields = dict(zip(header.split("\t"), first.split("\t"), strict=True)) | {"sentence": HOSTILE}
    file.write_text("\n".join([header, "\t".join(fields.values()), *rest]) + "\n", encoding="utf-8")
    monkeypatch.setenv("LAB_DATA", str(folder))
    return lab.load_data(folder)


@pytest.fixture
def make(data):
    """A function that makes a finished run that has the first `wrong` examples of sst and qqp wrong."""
    def made(name="baseline", seed=1, wrong=6, sure=None, answers=True, score=0.5, **more):
        folder = runs_root() / f"{name}-{seed}"
        (folder / "predictions" / "last").mkdir(parents=True)
        settings = {"name": name, "seed": seed, "protocol": "laptop", "encoder": "minilm", "updates": ["sum"], **more}
        about = {"label": data.label, "fingerprint": data.fingerprint}
        (folder / "experiment.json").write_text(json.dumps({
            "experiment": settings, "data": about, "versions": {"torch": f"2.{seed}"}, "threads": 2}))
        (folder / "status.json").write_text(json.dumps({"state": "done"}))
        (folder / "metrics.jsonl").write_text("".join(json.dumps({
            "step": 9, "epoch": 1, "split": "dev_full", "task": task, "metric": metric, "value": score, "seconds": 1.0})
            + "\n" for task, metric in lab.figures.SCORES.items()))
        for task, (stem, header) in COURSE_FILES.items() if answers else ():
            examples = data.splits[task, "dev"].examples
            values = np.array([e.label for e in examples])
            if task == "sts":
                values = values + np.random.default_rng(seed).normal(0, wrong / 4, len(values))
            else:
                values[:wrong] = (values[:wrong] + 1) % (5 if task == "sst" else 2)
            place = folder / "predictions" / "last" / stem
            lines = [f"{e.id} , {value} \n" for e, value in zip(examples, values, strict=True)]
            Path(f"{place}-dev-output.csv").write_text(f"id \t {header} \n" + "".join(lines))
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
    return made


@pytest.fixture
def page(monkeypatch):
    """Opens a page with choices from the address."""
    monkeypatch.syspath_prepend(str(DASHBOARD))
    st.cache_resource.clear()
    st.cache_data.clear()

    def opened(name, **address):
        at = AppTest.from_file(str(DASHBOARD / "app.py"), default_timeout=60)
        at.query_params.update(address)
        return run(at.switch_page(f"views/{name}.py"))
    yield opened
    st.cache_resource.clear()
    st.cache_data.clear()


def run(at):
    assert not at.run().exception and not at.error
    return at


def words(at):
    return "\n".join(str(part.value) for kind in (at.caption, at.info, at.markdown, at.subheader) for part in kind)


def drawn(at):
    """Title of each picture -> its figure, as JSON."""
    found = [json.loads(part.proto.spec) for part in at.get("plotly_chart")]
    assert all(part.proto.alt for part in at.get("plotly_chart"))
    return {figure["layout"]["title"]["text"]: figure for figure in found}


TABLES = {"examples": {"answer", "id"}, "of the run": {"score of", "gse-1"}, "settings": {"setting", "a", "b"},
          "differences": {"score of", "a", "b", "a minus b"}, "tests": {"task", "only_a"}, "seeds": {"task", "seeds"}}


def table(at, name, number=0):
    """A table of the page, by columns that it alone has."""
    return [part.value for part in at.dataframe if TABLES[name] <= set(part.value)][number]


def test_mistakes_are_counted_and_shown_with_their_texts(page, make):
    make(wrong=6, sure=.6)
    at = page("mistakes")
    found = drawn(at)
    assert len(found) == 2 and any(title.startswith("SST: sentiment") for title in found)
    assert next(title for title in found if title.startswith("Calibration: error"))
    assert "Expected calibration error" in words(at)
    shown = table(at, "examples")
    assert list(shown) == ["gold", "answer", "confidence", "text", "id"] and len(shown) == 6
    assert list(shown["confidence"]) == sorted(shown["confidence"], reverse=True)
    assert shown.iloc[-1]["text"] == HOSTILE and HOSTILE not in words(at)  # in the table, where it is text
    at.segmented_control(key="ms").set_value("all")
    at = run(at)
    assert len(table(at, "examples")) == 20
    at.get("pagination")[0].set_value(2)
    assert len(table(run(at), "examples")) == 4


def test_choices_come_from_the_address(page, make):
    make(wrong=6), make("gse", wrong=9)
    at = page("mistakes", mr="gse-1", m2="baseline-1", mt="QQP", ms="disagreements", mg="1 paraphrase")
    assert at.selectbox(key="mr").value == "gse-1"
    shown = table(at, "examples")
    assert list(shown) == ["gold", "answer", "answer 2", "text1", "text2", "id"]
    assert set(shown["gold"]) <= {"1 paraphrase"} and (shown["answer"] != shown["answer 2"]).all()
    bad = page("mistakes", mr="../../etc", mt="<b>", mp="99", mg="x")
    assert bad.selectbox(key="mr").value in ("gse-1", "baseline-1") and len(table(bad, "examples"))


def test_sts_is_a_scatter_a_run(page, make):
    make(wrong=6), make("gse", wrong=2)
    at = page("mistakes", mt="STS", m2="gse-1")
    assert len(drawn(at)) == 2 and all("STS: similarity: r 0." in title for title in drawn(at))
    assert (table(at, "examples")["gold"] - table(at, "examples")[["answer", "answer 2"]].mean(axis=1)).abs().max() > .5


def test_without_the_runs_data_there_are_ids_alone(page, make, tmp_path, monkeypatch):
    make(wrong=6), make("gse", wrong=9)
    monkeypatch.setenv("LAB_DATA", str(tmp_path / "nowhere"))
    at = page("mistakes", m2="gse-1", ms="disagreements")
    assert "LAB\\_DATA names" in words(at) and not drawn(at)
    assert list(table(at, "examples")) == ["answer", "answer 2", "id"]
    assert len(table(at, "examples")) == 3
    assert "LAB\\_DATA names" in words(page("compare"))


def test_runs_without_probabilities_or_predictions_say_so(page, make):
    make(wrong=6), make("gse", answers=False, score=.625)
    assert "No calibration" in words(page("mistakes"))
    at = page("mistakes", mc="true")  # there is no checkpoint
    assert "has records but no weights" in words(at)
    at = page("mistakes", mr="gse-1")
    assert "has no sst predictions" in words(at) and .625 in set(table(at, "of the run")["gse-1"])
    at = page("compare")
    assert words(at).count("has no predictions") == 1 and "the same experiment" in words(at)
    assert set(table(at, "differences")["a minus b"].abs()) == {.125}


def test_damaged_files_and_strange_ids_are_a_line(page, make):
    folder = make(wrong=6)
    make("gse")
    file = folder / "predictions" / "last" / "sst-dev-output.csv"
    whole = file.read_text()
    file.write_text(whole + "nobody , 3 \n")
    at = page("mistakes")
    assert "is none of the 24" in words(at) and list(table(at, "examples")) == ["answer", "id"]
    for damaged in (whole + "half a li", "", "id \t x \na , nan \n", "\0"):
        file.write_text(damaged)
        for name in ("mistakes", "compare"):
            assert "sst-dev-output.csv" in words(page(name)).replace("\\", "")
    file.write_text(whole)
    (folder / "probabilities" / "last").mkdir(parents=True)
    (folder / "probabilities" / "last" / "sst-dev-probabilities.csv").write_text("id,p0\n,,,")
    assert "not in the layout of probabilities" in words(page("mistakes")).replace("\\", "")


def test_a_run_that_vanishes_between_two_clicks_is_no_exception(page, make):
    make(wrong=6)
    gone = make("gse")
    opened = {name: page(name, **address) for name, address in (("mistakes", {"mr": "gse-1"}), ("compare", {}))}
    file = gone / "predictions" / "last" / "sst-dev-output.csv"
    file.write_text("\n".join(file.read_text().splitlines()[:4]) + "\n")
    assert len(table(run(opened["mistakes"]), "examples")) == 3  # what is on the disk now
    shutil.rmtree(gone / "predictions")
    assert "has no predictions" in words(run(opened["compare"]))
    shutil.rmtree(gone)
    for at in opened.values():
        run(at)


def test_compare_shows_what_differs_and_the_paired_tests(page, make):
    make(wrong=2, updates=["pcgrad"]), make("gse", wrong=20, lr=1e-4)
    at = page("compare", ca="baseline-1", cb="gse-1")
    differ = table(at, "settings").set_index("setting")
    assert set(differ.index) == {"updates", "lr"} and list(differ.loc["updates"]) == ["pcgrad", "sum"]
    tests = table(at, "tests")
    assert len(tests) == 5 and tests.iloc[0]["verdict"] == "better" and tests.iloc[0]["only_a"] == "18"
    assert "only seeds answer that" in words(at) and "it takes 3" in words(at)
    (forest,) = drawn(at).values()
    assert forest["data"][0]["y"] == [f"{task}, these runs, last weights" for task in ("STS", "QQP", "SST")]
    turned = page("compare", ca="gse-1", cb="baseline-1")
    assert table(turned, "tests").iloc[0]["verdict"] == "worse"


def test_compare_asks_the_seeds_where_both_recipes_have_several(page, make):
    for seed in (1, 2, 3):
        make(seed=seed, wrong=2, score=.6 + seed / 100), make("gse", seed, wrong=20, score=.5 + seed / 90)
    at = page("compare", ca="baseline-1", cb="gse-1")
    assert list(table(at, "seeds")["verdict"]) == ["better"] * 4 and list(table(at, "seeds", 1)["seeds"]) == ["3"] * 3
    assert len(drawn(at).popitem()[1]["data"][0]["y"]) == 10
    assert "what differs is chance" in words(page("compare", ca="baseline-1", cb="baseline-2"))


def test_one_run_cannot_be_compared(page, make):
    make()
    assert "It takes two runs" in words(page("compare"))
