"""Train from the page: the form, the process, its end."""

import contextlib
import os
import subprocess

import pytest
from helpers import page_text, rerun

from lab.runs.folder import runs_in
from lab.runs.stores import runs_root


@pytest.fixture
def started(dashboard, monkeypatch, tiny_data):
    """The module of jobs; the processes of the test are ended with it."""
    import jobs

    monkeypatch.setenv("LAB_DATA", str(tiny_data))
    yield jobs
    for child in jobs.children().values():
        if child.poll() is None:
            child.kill()
        child.wait()


def test_the_form_shows_the_command_and_refuses_what_cannot_be_trained(started, open_page):
    app = open_page("train", train="gse", scale="smoke", set=["lr=0.01", "pooling=mean"], many="3")
    command = app.code[0].value
    assert command.startswith("lab ablate gse --protocol smoke --seeds 3")
    assert "--set lr=0.01 --set pooling=mean" in command
    assert not started.jobs("ablate") and not runs_root().exists()  # an address alone trains nothing
    small = open_page("train", train="multitask", scale="laptop", set=["scale=0.01"])  # as `lab ablate` reads it
    assert any(f"10 epochs, {10 * round(755 * .01):,} iterations" in caption.value for caption in small.caption)
    app.text_input(key="change-gse-lr").set_value("fast")
    app.run()
    assert "lr must be a number" in app.error[0].value.replace("\\", "")
    assert next(button for button in app.button if button.label == "Train").disabled


@pytest.mark.slow
def test_a_click_trains_in_a_process_of_its_own_which_a_click_stops(started, open_page, tiny_encoder):
    app = open_page("train", train="gse", scale="smoke", set=[f"encoder={tiny_encoder}", "epochs=500", "device=cpu"])
    next(button for button in app.button if button.label == "Train").click()
    app = rerun(app)
    (job,) = started.jobs("ablate")
    assert job.runs() and os.getsid(job.process) == job.process  # of its own session: the terminal's Ctrl-C is not its
    while job.runs() and not any(run.exists for run in runs_in(runs_root())):
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.children()[job.name].wait(.2)
    app = rerun(app)
    next(button for button in app.button if button.label == "Stop").click()
    rerun(app)
    assert started.children()[job.name].wait(60) == 130
    app = rerun(app)
    assert "It has ended." in page_text(app) and not [button for button in app.button if button.label == "Stop"]
    (run,) = runs_in(runs_root())
    assert run.status["state"] == "stopped"


def test_the_job_of_another_server_is_known_by_its_command(started):
    job = started.start("data", "check")
    started.children()[job.name].wait()
    child = started.children().pop(job.name)
    assert not job.runs() and child.returncode == 2 and "No such option" in job.said()
    mine = started.Job(job.file, job.command, os.getpid(), 0)
    assert not mine.runs()  # another process with that number
    mine.stop()  # and it is left alone


@pytest.mark.slow
def test_curves_start_two_futures_of_a_run_with_weights(started, open_page, trained_store):
    assert not open_page("curves").number_input  # folded
    app = open_page("curves", set="lr=0.1", **{"what-if": "true"})
    assert "nothing is changed" not in page_text(app) and not started.jobs("fork")
    next(button for button in app.button if button.label == "Start both futures").click()
    app = rerun(app)
    (job,) = started.jobs("fork")
    assert started.children()[job.name].wait() == 0, job.said()
    assert "as it was" in page_text(rerun(app)) and "lr 0.1" in job.said()
