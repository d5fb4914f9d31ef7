"""The dashboard's page of live predictions: answers to one's own sentences, and a model made where there is none."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

import lab
from lab.runs.folder import Run, runs_root

DASHBOARD = Path(__file__).resolve().parents[3] / "dashboard"


@pytest.fixture(scope="module")
def trained(tiny_encoder, tiny_data, tmp_path_factory):
    """A store with a siamese and a cross run."""
    root = tmp_path_factory.mktemp("trained")
    tiny = lab.Experiment(name="tiny", encoder=str(tiny_encoder), epochs=2, iterations=4, lr=1e-3, eval_train=20,
                          eval_qqp=20, device="cpu")
    for name, experiment in (("one", tiny), ("two", replace(tiny, name="other", pair="cross"))):
        list(lab.fit(experiment, data=lab.load_data(tiny_data), run=name, root=root, progress=False))
    return root


@pytest.fixture
def store(trained):
    shutil.copytree(trained, runs_root(), ignore=shutil.ignore_patterns(".cache"))
    return runs_root()


@pytest.fixture
def demo(monkeypatch):
    monkeypatch.syspath_prepend(str(DASHBOARD))
    st.cache_resource.clear()
    import demo
    yield demo
    if process := demo._demo().process:
        process.kill()
        process.wait()
    st.cache_resource.clear()


@pytest.fixture
def page(demo):
    """Opens the page with choices from the address."""
    def opened(**address):
        at = AppTest.from_file(str(DASHBOARD / "app.py"), default_timeout=60)
        at.query_params.update(address)
        at.switch_page("views/predictions.py").run()
        assert not at.exception
        return at
    return opened


def words(at):
    return "\n".join(str(part.value) for kind in (at.caption, at.info, at.error, at.markdown, at.code, at.subheader)
                     for part in kind)


def metrics(at):
    return [part.value for part in at.metric]


def shown(at):
    return [json.loads(part.proto.spec) for part in at.get("plotly_chart")]


def test_one_sentence_is_answered_by_the_best_checkpoint_and_its_tokens_are_shown(page, store):
    at = page(say="Unbelievably good!", live="one", saved="best")
    model, tokenizer = Run.open("one").model("best")
    expected = lab.predict(model, "sst", ["Unbelievably good!"], tokenizer=tokenizer)
    bars, heat = shown(at)
    assert bars["data"][0]["x"] == pytest.approx(expected.loc[0, [f"p{c}" for c in range(5)]].tolist(), rel=1e-5)
    assert heat["layout"]["title"]["text"] == "Attention, layer 2, mean of heads" and not at.metric
    said = words(at)
    assert " ".join(tokenizer.convert_ids_to_tokens(tokenizer("Unbelievably good!")["input_ids"])) in said
    assert all(part.proto.alt for part in at.get("plotly_chart"))
    made = f"epoch {model.step // 4} of 2, iteration {model.step}"
    assert made in said.replace("\\", "") and "seed: 11711" in said.replace("\\", "")


def test_a_pair_is_answered_by_two_runs_side_by_side(page, store):
    pair = ("How far is it?", "What is the distance?")
    at = page(**{"say": pair[0], "and": pair[1], "live": "one", "beside": "two", "layer": "1", "head": "head 3",
                 "of": "sentence 2"})
    expected = []
    for run in ("one", "two"):
        expected += [f"{lab.predict(run, 'qqp', [pair], weights='last')['probability'][0]:.0%}",
                     f"{lab.predict(run, 'sts', [pair], weights='last')['prediction'][0]:.2f}"]
    assert metrics(at) == expected
    assert [part.value for part in at.code] == ["[CLS] what is the distance ? [SEP]",
                                                "[CLS] how far is it ? [SEP] what is the distance ? [SEP]"]
    assert [figure["layout"]["title"]["text"] for figure in shown(at)[2:]] == ["Attention, layer 1, head 3"] * 2
    assert len({figure["data"][0]["zmax"] for figure in shown(at)[2:]}) == 1  # one scale of colours


def test_an_address_without_a_first_sentence_opens_as_it_was(page, store):
    assert page().text_input(key="say").value == "The film is not good."
    at = page(**{"and": "How far is it?"})
    assert at.text_input(key="say").value == "" and not at.metric


def test_an_example_fills_both_sentences_and_says_what_to_watch(page, store):
    at = page()
    next(button for button in at.button if button.label == "Word order").click().run()
    assert at.text_input(key="say").value == "The dog chases the cat." and len(at.metric) == 2
    assert "only counts words" in words(at)


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "[x](javascript:alert(1)) **b** $a$ :red[x]", "   ", "",
                                  "\x00\x1b[31m\x07", "\x00", "word " * 2000, "\N{CJK UNIFIED IDEOGRAPH-597D}" * 10_000,
                                  "\N{GRINNING FACE}" * 300])
def test_any_text_is_answered_or_refused_with_a_word(page, store, text):
    at = page(**{"say": text, "and": text, "live": "two", "beside": "one"})
    if not text.strip():
        assert "Type a sentence" in words(at)
    elif len(text) == 10_000:
        assert "first 500 characters" in words(at) and at.metric
    else:
        assert at.metric or "nothing of the text is left" in words(at)
    assert not any(part.allow_html for part in at.markdown) and "<script>" not in "".join(map(json.dumps, shown(at)))


@pytest.mark.parametrize("harm", ["weights", "state", "encoder", "settings", "tokenizer", "list"])
def test_a_damaged_run_is_one_line_and_the_other_still_answers(page, store, harm):
    run = store / "two"
    if harm == "settings":
        config = json.loads((run / "experiment.json").read_text())
        config["experiment"]["telepathy"] = True
        (run / "experiment.json").write_text(json.dumps(config))
    elif harm in ("encoder", "tokenizer"):
        (run / "encoder" / {"encoder": "config.json", "tokenizer": "tokenizer.json"}[harm]).write_text("{")
    else:
        for folder in (run / "checkpoints").iterdir():
            if harm == "weights":
                file = folder / "model.safetensors"
                file.write_bytes(file.read_bytes()[:100])
            else:
                (folder / "state.json").write_text({"state": '{"files": {}}', "list": "[]"}[harm])
    at = page(**{"say": "Good.", "and": "Fine.", "live": "one", "beside": "two"})
    assert len(at.error) == 1 and "\n" not in at.error[0].value and len(at.metric) == 2


def test_a_run_whose_weights_vanish_gives_way_to_another(page, store):
    at = page(say="Good.", live="one")
    before = shown(at)[0]["data"][0]["x"]
    for folder in (store / "one" / "checkpoints").iterdir():
        shutil.rmtree(folder)
    at.run()
    assert not at.exception and at.selectbox(key="live").value == "two"
    assert shown(at)[0]["data"][0]["x"] != before


def test_where_nothing_has_weights_a_click_and_nothing_else_trains(page, demo, monkeypatch, tiny_encoder, tiny_data):
    monkeypatch.setenv("LAB_DATA", str(tiny_data))
    monkeypatch.setattr(demo, "COMMAND", (*demo.COMMAND[:-1], "--encoder", str(tiny_encoder), "--set", "epochs=1",
                                          "--set", "iterations=1", "--set", "device=cpu", "--run"))
    at = page(train="true", start="1", **{"Train a small model": "true"})
    assert "lab train multitask" in words(at) and demo.under_way() is None and not runs_root().exists()
    at.button[0].click().run()
    process = demo._demo().process
    demo.start()  # another visitor's click
    assert demo._demo().process is process and demo.under_way().name == "demo"
    at.run()
    assert not at.exception and not at.button
    assert process.wait() == 0
    at.run()
    assert not at.exception and at.selectbox(key="live").value == "demo" and shown(at)


def test_a_training_that_fails_says_why_and_may_be_tried_again(page, demo, monkeypatch, tmp_path):
    monkeypatch.setenv("LAB_DATA", str(tmp_path / "nowhere"))
    at = page()
    at.button[0].click().run()
    demo._demo().process.wait()
    at.run()
    assert "nowhere" in at.error[0].value and at.button[0].label == "Train a small model"


def test_a_stopped_demo_is_resumed_and_a_failed_one_left(page, demo, monkeypatch, store):
    asked = []

    class Process:
        def __init__(self, command, **_):
            asked.append(command[command.index("--run") + 1 :])

        def poll(self):
            return 1

    monkeypatch.setattr(demo, "subprocess", SimpleNamespace(Popen=Process, DEVNULL=None, STDOUT=None))
    shutil.copytree(store / "one", store / "demo")
    (store / "demo" / "status.json").write_text('{"state": "stopped"}')
    demo.start()
    demo.start()
    assert demo.under_way() is None and "exit code 1" in demo.why_not()
    assert asked[0][0] == "demo" and asked[0][-1] == "--resume"
    assert asked[1][0] == "demo-2" and "--resume" not in asked[1]
