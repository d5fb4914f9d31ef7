"""Run by test_runs.py in a process of its own: kill -9 a training at many moments, resume it, print what came out.

The process imports everything and runs torch on one thread only; every training is a fork of it (an OpenMP pool would
not survive a fork). A profile function in the child counts its function calls and kills it at a chosen one, so
that moments are spread over all of a run's work; every third is inside the writing of a checkpoint.

    python kill_and_resume.py DATA ENCODER STORE TIMES SEED
"""

import hashlib
import json
import os
import random
import signal
import sys
from pathlib import Path

import torch
import torch._dynamo  # optimizers import it late, and that takes longer than a whole run here

import lab.train
from lab import Experiment, checkpoints, runs
from lab.weights import load_encoder

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
    for _ in lab.train.fit(EXPERIMENT, data=DATA, run=name, root=STORE, resume=True, progress=False):
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


if __name__ == "__main__":
    DATA, STORE, times = sys.argv[1], Path(sys.argv[3]), int(sys.argv[4])
    EXPERIMENT = Experiment(name="tiny", encoder=sys.argv[2], epochs=3, iterations=4, lr=1e-3, eval_train=20,
                            eval_qqp=20, device="cpu")
    lab.train.CHECKPOINT_EVERY = 3
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(1)
    load_encoder(EXPERIMENT.encoder)  # imports what is imported late, once for all forks
    assert in_child(lambda: train("first")) == 0  # makes the token cache, so that later runs make equal calls
    assert in_child(lambda: count("undisturbed")) == 0
    everywhere, inside = (int(0.98 * calls) for calls in json.loads((STORE / "calls.json").read_text()))
    draw = random.Random(int(sys.argv[5]))
    for i in range(times):
        in_save = i % 3 == 2
        number = draw.randrange(1, inside if in_save else everywhere)
        status = in_child(lambda: killed_at(f"killed-{i}", number, in_save))  # noqa: B023
        if i % 2:  # the one that goes on is killed too
            in_child(lambda: killed_at(f"killed-{i}", draw.randrange(1, everywhere // 2), False))  # noqa: B023
        resumed = in_child(lambda: train(f"killed-{i}"))  # noqa: B023
        same = outcome(f"killed-{i}") == outcome("undisturbed")
        print(json.dumps({"killed": status, "at": number, "in save": in_save, "resumed": resumed, "same": same}))
