"""Signals, and an output that cannot be written: the command line saves, says why it stopped, and loses nothing."""

import os
import signal
import sys
import threading

import pytest
from helpers import first_quick, repeatable, same_weights, trained

import lab
from lab import cli
from lab.optim import AdamW
from lab.runs import checkpoints
from lab.runs.folder import Run
from lab.runs.signals import Stopped, stopping

HANDLERS = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]


@pytest.fixture
def command(tiny_data, tiny_encoder, monkeypatch, capsys):
    """Call `lab train`: (exit code, standard output). `at_step(number, act)` acts in the middle of an iteration."""
    def call(*more):
        monkeypatch.setattr(sys, "argv", ["lab", "train", "multitask", "--run", "one", "--protocol", "smoke", "--data",
                                          str(tiny_data), "--encoder", str(tiny_encoder), "--set", "iterations=4",
                                          "--set", "device=cpu", "--set", "eval_rows=8", *more])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == HANDLERS
        return end.value.code or 0, capsys.readouterr().out

    def at_step(number, act):
        step, taken = AdamW.step, []

        def stepping(self):
            taken.append(1)
            if len(taken) == number:
                act()
            step(self)

        monkeypatch.setattr(AdamW, "step", stepping)

    call.at_step = at_step
    return call


def assert_goes_on_to_the_same_end(command, tiny_data):
    assert command("--resume")[0] == 0
    run = Run.open("one")
    experiment = lab.Experiment.from_json(lab.runs.folder.json.dumps(run.config["experiment"]))
    whole, rows = trained(experiment, tiny_data, run="whole")
    assert repeatable(run.rows()) == repeatable(rows) and same_weights(run.model("last")[0], whole.model("last")[0])


@pytest.mark.parametrize("number", first_quick(signal.SIGTERM, signal.SIGHUP, signal.SIGINT))
def test_a_signal_stops_at_the_end_of_the_iteration_with_everything_saved(number, command, tiny_data):
    assert threading.current_thread() is threading.main_thread()
    command.at_step(6, lambda: os.kill(os.getpid(), number))
    code, out = command()
    status = Run.open("one").status
    assert code == 128 + number and (f"stopped after iteration 6 ({number.name}); the same command with --resume --run "
                                     "one continues this run") in out
    assert (status["state"], status["why"], status["step"]) == ("stopped", number.name, 6)
    assert checkpoints.steps(Run.open("one").checkpoints) == [4, 6]
    assert_goes_on_to_the_same_end(command, tiny_data)


def test_a_second_signal_stops_at_once(command):
    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    command.at_step(6, twice)
    code, out = command()
    assert code == 130 and "--resume" in out and Run.open("one").status["state"] == "stopped"
    assert checkpoints.steps(Run.open("one").checkpoints)[-1] == 4


@pytest.mark.parametrize("call", ["write", "flush"])
def test_an_output_that_is_gone_or_full_stops_the_training_with_everything_saved(call, command, tiny_data, monkeypatch):
    class Full:
        def __getattr__(self, name):
            if name == call:
                raise OSError(28, "No space left on device")
            return getattr(sys.__stdout__, name)

    with monkeypatch.context() as context:
        command.at_step(4, lambda: context.setattr(sys, "stdout", Full()))  # the scores of the epoch cannot be printed
        code, _ = command()
    status = Run.open("one").status
    assert code == 2 and (status["state"], status["step"]) == ("stopped", 4)
    assert status["why"] == "standard output cannot be written: No space left on device"
    assert_goes_on_to_the_same_end(command, tiny_data)


def test_a_progress_bar_that_cannot_be_drawn_stops_nothing(tiny, tiny_data, monkeypatch):
    training = lab.fit(tiny, data=tiny_data)
    next(training)

    def gone(*arguments, **options):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(training.recorder.bar, "update", gone)
    monkeypatch.setattr(training.recorder.bar, "set_postfix_str", gone)
    list(training)
    assert training.run.status["state"] == "done"


def test_fit_installs_no_handlers(tiny, tiny_data):
    training = lab.fit(tiny, data=tiny_data, progress=False)
    next(training)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == HANDLERS
    training.close()


def test_what_a_process_ignores_stays_ignored_and_other_threads_are_left_alone():
    asked, before = [], signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        with stopping(asked.append):
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
            assert [str(stop) for stop in asked] == ["SIGTERM"] and asked[0].code == 143
            with pytest.raises(Stopped, match="SIGINT"):
                os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGHUP, before)

    def elsewhere():
        with stopping(asked.append):
            asked.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert asked[1] == HANDLERS[1]
