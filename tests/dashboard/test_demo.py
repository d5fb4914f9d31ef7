"""The demo: a small model that a click trains where there is none."""

import shutil
from types import SimpleNamespace

import pytest
from helpers import page_figures, page_text

from lab.runs.stores import runs_root


def train(at):
    """The button that trains a model; None where there is none."""
    return next((button for button in at.button if button.label == "Train a model here"), None)


@pytest.mark.slow
def test_only_a_click_trains_a_model(open_page, demo, monkeypatch, tiny_encoder, tiny_data):
    monkeypatch.setenv("LAB_DATA", str(tiny_data))
    monkeypatch.setattr(demo, "COMMAND", (*demo.COMMAND[:-1], "--encoder", str(tiny_encoder), "--set", "epochs=1",
                                          "--set", "iterations=1", "--set", "device=cpu", "--run"))
    at = open_page("predictions", train="true", start="1", **{"Train a model here": "true"})
    assert "lab train strong" in page_text(at) and demo.under_way() is None and not runs_root().exists()
    train(at).click().run()
    process = demo.current().process
    demo.start()  # another visitor's click
    assert demo.current().process is process and demo.under_way().name == "demo"
    at.run()
    assert not at.exception and train(at) is None
    assert process.wait() == 0
    at.run()
    assert not at.exception and at.selectbox(key="live").value == "demo" and page_figures(at)


def test_a_training_that_fails_says_why_and_may_be_tried_again(open_page, demo, monkeypatch, tmp_path):
    monkeypatch.setenv("LAB_DATA", str(tmp_path / "nowhere"))
    at = open_page("predictions")
    train(at).click().run()
    demo.current().process.wait()
    at.run()
    assert "nowhere" in at.error[0].value and train(at)


@pytest.mark.slow
def test_a_stopped_demo_is_resumed_and_a_failed_one_left(demo, monkeypatch, trained_store):
    asked = []

    class Process:
        def __init__(self, command, **_):
            asked.append(command[command.index("--run") + 1 :])

        def poll(self):
            return 1

    monkeypatch.setattr(demo, "subprocess", SimpleNamespace(Popen=Process, DEVNULL=None, STDOUT=None))
    shutil.copytree(trained_store / "one", trained_store / "demo")
    (trained_store / "demo" / "status.json").write_text('{"state": "stopped"}')
    demo.start()
    demo.start()
    assert demo.under_way() is None and "exit code 1" in demo.why_not()
    assert asked[0][0] == "demo" and asked[0][-1] == "--resume"
    assert asked[1][0] == "demo-2" and "--resume" not in asked[1]
