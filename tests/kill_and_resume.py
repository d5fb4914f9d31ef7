"""Run by test_recorder.py and test_train.py in a process of its own: kill -9 trainings, resume them, print the outcome.

The process imports everything and runs torch on one thread only; every training is a fork of it (an OpenMP pool would
not survive a fork). A profile function in the child counts its function calls and kills it at a chosen one, so
that moments are spread over all of a run's work; every third is inside the writing of a checkpoint.

    python kill_and_resume.py DATA ENCODER STORE TIMES SEED        one experiment, at many moments
    python kill_and_resume.py DATA ENCODER STORE RECIPE,RECIPE...  each recipe, within its third iteration
"""

import hashlib
import json
import os
import random
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
import torch._dynamo  # optimizers import it late, and that takes longer than a whole run here

import lab.train
from lab import RECIPES, Experiment
from lab.encoders.sources import load_encoder
from lab.runs import checkpoints
from lab.runs import folder as runs
from lab.runs.recorder import Recorder

NOT_REPEATED = ("seconds", "tokens_per_second", "peak_memory_mb")


def in_child(work) -> int:
    """Run `work` in a fork; its exit status, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def train(name: str, watch=None) -> None:
    """Train, or resume, a run; `watch(inside a checkpoint's writing)` is told of every function call."""
    depth = 0

    def profile(frame, event, argument) -> None:
        nonlocal depth
        if frame.f_code is checkpoints.save.__code__ and event in ("call", "return"):
            depth += 1 if event == "call" else -1
        watch(depth > 0)

    if watch:
        sys.setprofile(profile)
    begun = runs.Run(STORE / name).exists
    for _ in lab.train.fit(EXPERIMENT, data=DATA, run=name, root=STORE, resume=begun, progress=False):
        pass
    sys.setprofile(None)


def count(name: str) -> None:
    """Train undisturbed and write down how many calls there were, in all and inside checkpoints."""
    seen = {False: 0, True: 0}

    def watch(inside: bool) -> None:
        seen[inside] += 1

    train(name, watch)
    (STORE / "calls.json").write_text(json.dumps([seen[False] + seen[True], seen[True]]))


def killed_at(name: str, number: int, inside_only: bool) -> None:
    """Train until the given call, and die there."""
    left = number

    def watch(inside: bool) -> None:
        nonlocal left
        left -= inside or not inside_only
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    train(name, watch)


def outcome(name: str) -> str:
    """A digest of all that a run must repeat: weights of every checkpoint, records, predictions."""
    folder = STORE / name
    digest = hashlib.sha256()
    for file in sorted([*folder.glob("checkpoints/*/model.safetensors"), *folder.glob("predictions/*/*.csv")]):
        digest.update(str(file.relative_to(folder)).encode() + file.read_bytes())
    for row in runs.Run(folder).rows():
        if row["metric"] not in NOT_REPEATED:
            digest.update(json.dumps({k: v for k, v in row.items() if k != "seconds"}).encode())
    return digest.hexdigest()


def killed_in_third_iteration(name: str) -> None:
    """Train until two iterations are in checkpoints, and die in the third, when gradients are there and no step is."""
    advance, norm, gramian, reached = Recorder.advance, lab.train.norm, lab.train.gramian, 0

    def counted(self: Recorder) -> int:
        nonlocal reached
        reached = advance(self)
        return reached

    def die(of: Callable[[list], torch.Tensor], gradients: list) -> torch.Tensor:
        if reached == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return of(gradients)

    Recorder.advance, lab.train.norm, lab.train.gramian = counted, partial(die, norm), partial(die, gramian)
    train(name)


def many_moments(times: int, seed: int) -> None:
    """Print a line for each of so many kills of one experiment."""
    assert in_child(lambda: train("first")) == 0  # makes the token cache, so that later runs make equal calls
    assert in_child(lambda: count("undisturbed")) == 0
    everywhere, inside = (int(0.98 * calls) for calls in json.loads((STORE / "calls.json").read_text()))
    draw = random.Random(seed)
    for i in range(times):
        in_save = i % 3 == 2
        number = draw.randrange(1, inside if in_save else everywhere)
        status = in_child(lambda: killed_at(f"killed-{i}", number, in_save))  # noqa: B023
        if i % 2:  # the one that goes on is killed too
            in_child(lambda: killed_at(f"killed-{i}", draw.randrange(1, everywhere // 2), False))  # noqa: B023
        resumed = in_child(lambda: train(f"killed-{i}"))  # noqa: B023
        same = outcome(f"killed-{i}") == outcome("undisturbed")
        print(json.dumps({"killed": status, "at": number, "in save": in_save, "resumed": resumed, "same": same}))


def every_recipe(names: list[str]) -> None:
    """Print a line for each recipe."""
    global EXPERIMENT
    small = EXPERIMENT
    for name in names:
        EXPERIMENT = replace(RECIPES[name], iterations=4, epochs=1, encoder=small.encoder, lr=small.lr, device="cpu",
                             eval_train=20, eval_rows=20)
        assert in_child(lambda: train(f"{name}-whole")) == 0  # noqa: B023
        status = in_child(lambda: killed_in_third_iteration(f"{name}-killed"))  # noqa: B023
        left = checkpoints.steps(STORE / f"{name}-killed" / "checkpoints")
        resumed = in_child(lambda: train(f"{name}-killed"))  # noqa: B023
        same = outcome(f"{name}-killed") == outcome(f"{name}-whole")
        print(json.dumps({"recipe": name, "killed": status, "left": left, "resumed": resumed, "same": same}))


if __name__ == "__main__":
    DATA, STORE, what = sys.argv[1], Path(sys.argv[3]), sys.argv[4:]
    EXPERIMENT = Experiment(name="tiny", encoder=sys.argv[2], epochs=3, iterations=4, lr=1e-3, eval_train=20,
                            eval_qqp=20, device="cpu")
    lab.runs.recorder.CHECKPOINT_EVERY = 3 if len(what) == 2 else 1
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(1)
    load_encoder(EXPERIMENT.encoder)  # imports what is imported late, once for all forks
    many_moments(*map(int, what)) if len(what) == 2 else every_recipe(what[0].split(","))
