"""How much is lost when things go wrong: `make scorecard` prints the figures of docs/reliability.md.

    python tests/scorecard.py --kills 2 --cuts 1 --damages 40 --faults 40 --signals 12 --inputs 300 --seed 1

Models are tiny and every training is a fork of this process, which runs torch on one thread. A section prints one line:
how often, and how it ended. The exit code is 1 if anything was lost, or was other than it should be.
"""

import argparse
import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path

import kill_and_resume as runs
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from power_cut import PowerCuts, restore

import lab.data
import lab.runs.records
import lab.runs.signals
import lab.train
from lab import Bert, BertConfig, LabError, cli
from lab.encoders.formats import save_encoder
from lab.encoders.sources import load_encoder
from lab.experiment import PROTOCOLS, RECIPES, Experiment
from lab.runs.folder import Run

SAMPLE = Path(__file__).resolve().parents[1] / "data" / "sample"
SAME, REFUSED, ACCEPTED = "the same bits", "refused in one line", "accepted"
# What may be damaged, and whether a run may be refused for it. An older checkpoint may be that of the best weights.
PARTS = {"newest checkpoint": False, "older checkpoint": True, "token cache": False, "status": False, "records": True}
GOOD = {SAME, ACCEPTED, REFUSED, *(f"{SAME} ({part})" for part in PARTS),
        *(f"{REFUSED} ({part})" for part, may in PARTS.items() if may)}


def main() -> int:
    """Run the sections that the options name."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, number, meaning in (("kills", 2, "of each recipe"), ("cuts", 1, "every how many-th power cut is tried"),
                                  ("damages", 40, ""), ("faults", 40, ""), ("signals", 12, ""),
                                  ("inputs", 300, "of each kind"), ("seed", 1, "")):
        parser.add_argument(f"--{name}", type=int, default=number, help=f"{meaning} (default: {number}; 0: none)")
    options = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ.pop("LAB_DATA", None)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    lost = 0
    with tempfile.TemporaryDirectory(prefix="lab-scorecard-") as folder:
        prepare(Path(folder))
        for section in (kills, cuts, damages, faults, signals, inputs):
            if number := getattr(options, section.__name__):
                began, ends = time.monotonic(), Counter(section(number, random.Random(options.seed)))
                lost += sum(count for end, count in ends.items() if end not in GOOD)
                print(f"{section.__doc__.splitlines()[0]} {sum(ends.values())}: "
                      + ", ".join(f"{count} {end}" for end, count in ends.most_common())
                      + f" ({time.monotonic() - began:.0f} s)", flush=True)
    return 1 if lost else 0


def prepare(folder: Path) -> None:
    """A tiny encoder, a few rows of the sample, and a store, which `kill_and_resume` trains with."""
    tokenizer = load_encoder("minilm")[1]
    torch.manual_seed(1)
    bert = Bert(BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32))
    save_encoder(bert, folder / "encoder", tokenizer)
    (folder / "data").mkdir()
    for file in SAMPLE.glob("*.csv"):
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / "data" / file.name).write_text("".join(lines[: 33 if "train" in file.name else 17]), encoding="utf-8")
    runs.DATA, runs.STORE = str(folder / "data"), folder / "store"
    runs.EXPERIMENT = tiny(Experiment(name="tiny"), folder)
    lab.runs.recorder.CHECKPOINT_EVERY = 1


def tiny(recipe: Experiment, folder: Path) -> Experiment:
    """A recipe of six iterations."""
    return replace(recipe, encoder=str(folder / "encoder"), epochs=2, iterations=3, lr=1e-3, eval_train=8, eval_rows=8,
                   batch_size=4, samples=1, device="cpu")


def end_of(name: str, whole: str) -> str:
    """Resume a run, or begin it if it had not begun, and say how that ended."""
    status = in_quiet_child(lambda: runs.train(name))
    if status == 2:
        return REFUSED
    if status:
        return f"a traceback or a signal ({status})"
    return SAME if runs.outcome(name) == whole and Run(runs.STORE / name).status["state"] == "done" else "OTHER BITS"


def in_quiet_child(work) -> int:
    """`kill_and_resume.in_child` with exit code 2 for a LabError, and nothing on the terminal."""
    def quietly() -> None:
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        try:
            work()
        except LabError:
            os._exit(2)

    return runs.in_child(quietly)


def whole_run(name: str = "whole") -> str:
    """The outcome of an undisturbed run. Its store is new; the token cache is made by a first one."""
    shutil.rmtree(runs.STORE, ignore_errors=True)
    runs.STORE.mkdir()
    for each in ("first", name):
        assert runs.in_child(lambda: runs.train(each)) == 0  # noqa: B023
    return runs.outcome(name)


def kills(times, draw):
    """kill -9 at a random moment of every recipe, then resumed:"""
    own = runs.EXPERIMENT
    for recipe in RECIPES.values():
        runs.EXPERIMENT = tiny(recipe, Path(own.encoder).parent)
        whole = whole_run()
        assert runs.in_child(lambda: runs.count("counted")) == 0
        calls, inside = json.loads((runs.STORE / "calls.json").read_text())
        for i in range(times):
            in_save = i % 3 == 2
            at = draw.randrange(1, int(0.98 * (inside if in_save else calls)))
            assert in_quiet_child(lambda: runs.killed_at(f"killed-{i}", at, in_save)) == -9  # noqa: B023
            yield end_of(f"killed-{i}", whole)
    runs.EXPERIMENT = own


def cuts(share, draw):
    """Power cuts, all that was not synced lost, or all names written and unsynced bytes lost; then resumed:"""
    whole = whole_run()
    (runs.STORE / "disk").mkdir()
    store = runs.STORE
    with PowerCuts(store / "disk") as found:
        runs.STORE = store / "disk"
        runs.train("one")
    for number, (_, tree) in enumerate(found.disks):
        if number % share == 0:
            runs.STORE = store / f"cut-{number}"
            runs.STORE.mkdir()
            restore(tree, runs.STORE)
            yield end_of("one", whole)
            shutil.rmtree(runs.STORE)
    runs.STORE = store


def stopped_run(name: str) -> Path:
    """A run that was stopped after four of its six iterations."""
    def train() -> None:
        training = lab.train.fit(runs.EXPERIMENT, data=runs.DATA, run=name, root=runs.STORE, progress=False)
        training.recorder.ask_to_stop(KeyboardInterrupt("scorecard"), 4)
        with contextlib.suppress(KeyboardInterrupt):
            list(training)

    assert in_quiet_child(train) == 0
    return runs.STORE / name


def damages(times, draw):
    """A file of a stopped run damaged (a bit, a block of zeros, its end, all of it), then resumed:"""
    whole = whole_run()
    kept = stopped_run("stopped")
    cache = runs.STORE / ".cache"
    shutil.copytree(cache, runs.STORE / "cache")
    for i in range(times):
        shutil.copytree(kept, runs.STORE / f"damaged-{i}")
        files = [f for f in sorted((runs.STORE / f"damaged-{i}").rglob("*")) if f.is_file() and f.name != ".lock"
                 and f.parent.name != "encoder"]
        file = draw.choice([*files, *cache.iterdir()])
        content = bytearray(file.read_bytes())
        place = draw.randrange(len(content))
        kind = draw.choice(["bit", "zeros", "end", "gone"])
        if kind == "bit":
            content[place] ^= 1 << draw.randrange(8)
        elif kind == "zeros":
            content[place : place + 512] = bytes(len(content[place : place + 512]))
        file.write_bytes(content[:place] if kind == "end" else content)
        if kind == "gone":
            file.unlink()
        part = {"00000004": "newest checkpoint", "00000003": "older checkpoint", ".cache": "token cache"}.get(
            file.parent.name, "status" if file.name == "status.json" else "records")
        begun = Run(runs.STORE / f"damaged-{i}").exists  # without experiment.json there is no run to go on with
        yield f"{end_of(f'damaged-{i}', whole) if begun else REFUSED} ({part})"
        shutil.rmtree(cache)
        shutil.copytree(runs.STORE / "cache", cache)


def faults(times, draw):
    """A full disk, a limit, or no memory at a random write or iteration, then resumed:"""
    whole, struck = whole_run(), 0
    places = [(os, "fsync", OSError(28, "No space left on device")), (os, "replace", OSError(5, "Input/output error")),
              (lab.runs.checkpoints, "save_file", OSError(27, "File too large")),
              (os, "mkdir", OSError(28, "No space left on device")),
              (lab.train, "losses", RuntimeError("DefaultCPUAllocator: can't allocate memory")),
              (lab.train, "pack", MemoryError())]
    for i in itertools.count():
        if struck == times:
            return
        module, name, error = places[i % len(places)]
        real, left = getattr(module, name), draw.randrange(1, {"fsync": 60, "replace": 30, "mkdir": 20}.get(name, 12))

        def fails(*arguments, real=real, error=error, **options):
            nonlocal left
            left -= 1
            if not left:
                raise error
            return real(*arguments, **options)

        def faulty(module=module, name=name, fails=fails, i=i) -> None:
            setattr(module, name, fails)
            runs.train(f"faulty-{i}")

        status, state = in_quiet_child(faulty), Run(runs.STORE / f"faulty-{i}").status.get("state")
        if status == 0 and state == "done":  # there were fewer calls
            continue
        struck += 1
        end = end_of(f"faulty-{i}", whole)
        yield end if status == 2 and state != "running" else f"{end}, but {name}: exit {status}, {state}"


def signals(times, draw):
    """SIGTERM, SIGHUP or SIGINT at a random moment of `lab train`, saved and resumed:"""
    own = runs.EXPERIMENT
    names = ("encoder", "epochs", "iterations", "lr", "eval_train", "eval_rows", "batch_size", "samples", "device")
    changed = [f"{key}={getattr(own, key)}" for key in names]
    runs.EXPERIMENT = PROTOCOLS["smoke"](RECIPES["multitask"]).with_settings(changed)
    command = ["lab", "train", "multitask", "--protocol", "smoke", "--data", runs.DATA,
               *(word for setting in changed for word in ("--set", setting))]
    whole = whole_run()
    assert runs.in_child(lambda: runs.count("counted")) == 0
    calls = json.loads((runs.STORE / "calls.json").read_text())[0]
    for i in range(times):
        number, at = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)[i % 3], draw.randrange(1, int(0.7 * calls))

        def train(number=number, at=at, i=i) -> None:
            count = 0
            stopping = lab.runs.signals.stopping

            @contextlib.contextmanager
            def stopping_at(ask):
                with stopping(ask):
                    sys.setprofile(profile)
                    yield
                    sys.setprofile(None)

            def profile(frame, event, argument) -> None:
                nonlocal count
                count += 1
                if count == at:
                    os.kill(os.getpid(), number)

            lab.runs.signals.stopping = stopping_at
            sys.argv = [*command, "--run", f"signal-{i}", "--runs", str(runs.STORE)]
            cli.main()

        def exits(train=train) -> None:
            try:
                train()
            except SystemExit as stop:
                os._exit(stop.code or 0)

        code, status = in_quiet_child(exits), Run(runs.STORE / f"signal-{i}").status
        end = end_of(f"signal-{i}", whole)
        good = (code, status["state"], status.get("why")) == (128 + number, "stopped", number.name)
        # One that comes while the last answers are written ends a run that is done; one before the handlers are there
        # ends the process as it ends any other.
        good = good or (code == 0 and status["state"] == "done") or code == -number
        yield end if good else f"{end}, but exit code {code} and status {status}"
    runs.EXPERIMENT = own


def inputs(times, draw):
    """Malformed settings, CSV files, records and states of checkpoints, by hypothesis:"""
    ends, folder = [], runs.STORE
    folder.mkdir(exist_ok=True)
    quick = settings(max_examples=times, deadline=None, database=None, derandomize=True,
                     suppress_health_check=list(HealthCheck))
    leaf = some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=8)
    anything = some.recursive(leaf, lambda inner: some.lists(inner, max_size=3)
                              | some.dictionaries(some.text(max_size=5), inner, max_size=3), max_leaves=6)
    names = some.sampled_from(sorted(json.loads(Experiment().to_json())))

    def tried(act) -> None:
        try:
            act()
            ends.append(ACCEPTED)
        except LabError as error:
            ends.append(REFUSED if len(str(error).splitlines()) == 1 else "refused in several lines")
        except Exception as error:
            ends.append(f"{type(error).__name__}: {str(error)[:100]}")

    @quick
    @given(some.dictionaries(names | some.text(max_size=5), anything, max_size=3))
    def setting(changes) -> None:
        tried(lambda: Experiment.from_json(json.dumps(json.loads(Experiment().to_json()) | changes)))

    @quick
    @given(names, some.text(max_size=10))
    def assignment(name, value) -> None:
        tried(lambda: Experiment().with_settings([f"{name}={value}"]))

    @quick
    @given(some.sampled_from(sorted(f.name for f in Path(runs.DATA).iterdir())), some.binary(max_size=60), some.data())
    def table(name, piece, data) -> None:
        shutil.rmtree(folder / "csv", ignore_errors=True)
        shutil.copytree(runs.DATA, folder / "csv")
        content = (folder / "csv" / name).read_bytes()
        place = data.draw(some.integers(0, len(content)))
        (folder / "csv" / name).write_bytes(content[:place] + piece + content[place + data.draw(some.integers(0, 99)):])
        tried(lambda: lab.data.load_data(folder / "csv"))

    @quick
    @given(some.sampled_from(["experiment.json", "metrics.jsonl", "status.json"]), anything, some.binary(max_size=60),
           some.data())
    def record(name, value, piece, data) -> None:
        shutil.rmtree(folder / "records", ignore_errors=True)
        shutil.copytree(kept, folder / "records" / "one", ignore=shutil.ignore_patterns("checkpoints", "encoder"))
        file = folder / "records" / "one" / name
        content = file.read_bytes()
        place = data.draw(some.integers(0, len(content)))
        file.write_bytes(data.draw(some.sampled_from([json.dumps(value).encode(), content[:place] + piece
                                                      + content[place + len(piece):]])))
        tried(lambda: lab.runs.records.load_runs(folder / "records"))

    @quick
    @given(anything, some.binary(min_size=1, max_size=20), some.data())
    def state(value, piece, data) -> None:
        file = kept / "checkpoints" / "00000004" / "state.json"
        content = file.read_bytes()
        place = data.draw(some.integers(0, len(content) - 1))
        damaged = content[:place] + piece + content[place + len(piece):]
        file.write_bytes(data.draw(some.sampled_from([json.dumps(value).encode(), damaged])))
        if file.read_bytes() == content:
            return
        try:
            tried(lambda: lab.runs.checkpoints.load(kept / "checkpoints", 4, for_training=True))
            if ends[-1] == ACCEPTED:
                ends[-1] = "a changed state of a checkpoint ACCEPTED"
        finally:
            file.write_bytes(content)

    kept = stopped_run("kept")
    for each in (setting, assignment, table, record, state):
        each()
    return ends


if __name__ == "__main__":
    sys.exit(main())
