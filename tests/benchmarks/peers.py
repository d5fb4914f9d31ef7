"""The lab beside other programs, on this computer: a Markdown table for each of the sections that are named.

    python tests/benchmarks/peers.py surgery scoring start store growth --data ../shared/data --rounds 10

All contenders take turns; seconds are medians over the rounds, and ratios are medians of the rounds' ratios. Run it
where nothing else runs. `lab bench` compares the plain iterations.

surgery  an iteration of gradient surgery: the lab's, the common form (transformers, one forward pass of all sentences,
         a backward pass a task through the retained graph, projections of long vectors), and TorchJD's engine
scoring  sentence vectors of QQP's dev pairs: the lab's, and sentence-transformers'
start    whole processes: `lab --help`, an empty typer application, `import lab`, `import json`
store    reading 100 runs of 10,000 records again: the lab's store, and pandas on the same files
growth   what an iteration of `sum` costs with more rows and more layers, combining with more tasks, and a store with
         more runs
"""

import argparse
import contextlib
import hashlib
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

import lab
from lab.batches import prepare
from lab.bench import WARM_UP, iteration_seconds, ordinary, timed
from lab.data import Data, load_data
from lab.encoders import load_encoder
from lab.evaluate import logits, used
from lab.gradients import combine, gramian, pcgrad
from lab.runs.records import Store
from lab.tasks import MultitaskModel

Timed = dict[str, Iterator[float]]


def turns(contenders: Timed, rounds: int) -> dict[str, list[float]]:
    """The seconds of each contender in each round, after a warm-up, in turns."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds + WARM_UP):
        for name, seconds in contenders.items():
            times[name].append(next(seconds))
    return {name: of[WARM_UP:] for name, of in times.items()}


def table(title: str, times: dict[str, list[float]], unit: float = 1000, name: str = "ms") -> None:
    """Print a table; the first contender is what the others are compared with."""
    first = next(iter(times.values()))
    print(f"\n| {title} | {name} | times as long |\n|---|---|---|")
    for contender, of in times.items():
        ratio = statistics.median(b / a for a, b in zip(first, of, strict=True))
        print(f"| {contender} | {statistics.median(of) * unit:.3g} | {ratio:.2f} |", flush=True)


def again(call: Callable[[], object]) -> Iterator[float]:
    """The seconds of one call after another."""
    while True:
        began = time.perf_counter()
        call()
        yield time.perf_counter() - began


# ---- gradient surgery ----------------------------------------------------------------------------------------------


def common(losses: dict[str, Tensor], features: list[Tensor], bert: torch.nn.Module, heads: torch.nn.Module) -> None:
    """PCGrad as it is commonly written."""
    shared = list(bert.parameters())
    vectors = []
    for loss in losses.values():
        parts = torch.autograd.grad(loss, shared, retain_graph=True, allow_unused=True)
        vectors.append(torch.cat([torch.zeros_like(p).flatten() if g is None else g.flatten()
                                  for p, g in zip(shared, parts, strict=True)]))
    projected = [vector.clone() for vector in vectors]
    for i, vector in enumerate(projected):
        for j in random.sample([k for k in range(len(vectors)) if k != i], len(vectors) - 1):
            if (dot := vector @ vectors[j]) < 0:
                vector -= dot / (vectors[j] @ vectors[j]) * vectors[j]
    update, start = torch.stack(projected).mean(0), 0
    for p in shared:
        p.grad = update[start : start + p.numel()].view_as(p)
        start += p.numel()
    of_heads = torch.autograd.grad(sum(losses.values(), torch.zeros(())), list(heads.parameters()))
    for p, g in zip(heads.parameters(), of_heads, strict=True):
        p.grad = g


def torchjd(losses: dict[str, Tensor], features: list[Tensor], bert: torch.nn.Module, heads: torch.nn.Module) -> None:
    """PCGrad by TorchJD's own engine."""
    from torchjd.aggregation import PCGrad
    from torchjd.autojac import jac_to_grad, mtl_backward

    shared = [p for name, p in bert.named_parameters()]
    mtl_backward(list(losses.values()), features, shared_params=shared,
                 tasks_params=[list(heads[task].parameters()) for task in losses])
    jac_to_grad(shared, PCGrad())


def surgery(data: Data, rounds: int) -> None:
    """Iterations of gradient surgery on the same rows."""
    settings = {"device": "cpu", "samples": 0, "eval_rows": 16, "epochs": 1, "iterations": rounds + WARM_UP + 1}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as closing:
        contenders: Timed = {}
        for name in ("gradient_surgery", "multitask"):
            e = replace(lab.PROTOCOLS["laptop"](lab.RECIPES[name]), **settings)
            training = closing.enter_context(contextlib.closing(lab.fit(e, data=data, root=folder, progress=False)))
            contenders[f"the lab's {name}"] = iteration_seconds(training, [])
        for name, backward in (("the common form", common), ("TorchJD's engine", torchjd)):
            contenders[name] = timed(ordinary(training.recorder.settings, data, training, Path(folder, name),
                                               best=True, backward=backward))
        table("gradient surgery, 3 x 8 rows", turns(contenders, rounds))


# ---- scoring, start, store -----------------------------------------------------------------------------------------


def scoring(data: Data, rounds: int) -> None:
    """Sentence vectors of the first 2,000 of QQP's dev pairs, which are scored in the lab's way too."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    bert, tokenizer = load_encoder("minilm")
    model = MultitaskModel(bert, "mean", "cosine", "siamese", "cosine").eval()
    rows = prepare(data, tokenizer)
    part = {"qqp": rows["qqp", "dev"].some(2000)}
    kept = set(part["qqp"].ids)
    texts = [text for example in data.splits["qqp", "dev"].examples if example.id in kept for text in example.texts]
    with tempfile.TemporaryDirectory() as folder:
        lab.encoders.save_encoder(bert, Path(folder), tokenizer)
        transformer = Transformer(folder)
        theirs = SentenceTransformer(modules=[transformer, Pooling(bert.config.hidden_size, "mean")], device="cpu")
        contenders = {"the lab, ids at hand": again(lambda: logits(model, part)),
                      "sentence-transformers, batches of 32": again(
                          lambda: theirs.encode(texts, batch_size=32, show_progress_bar=False))}
        title = f"vectors of {len(texts):,} sentences ({len(used(part)):,} distinct)"
        table(title, turns(contenders, min(rounds, 5)), 1, "s")


def start(rounds: int) -> None:
    """Whole processes, from their start to their end."""
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder, "empty.py")
        empty.write_text("import typer\napp = typer.Typer()\n\n\n@app.command()\ndef main():\n    pass\n\n\napp()\n")

        def process(*command: str) -> Iterator[float]:
            return again(lambda: subprocess.run([sys.executable, *command], check=True, capture_output=True))

        table("process", turns({"an empty typer application, --help": process(str(empty), "--help"),
                                "lab --help": process(str(Path(sys.executable).with_name("lab")), "--help")}, rounds))
        table("process", turns({"python -c 'import json'": process("-c", "import json"),
                                "python -c 'import lab'": process("-c", "import lab")}, rounds))


def made_store(folder: Path, runs: int, records: int) -> None:
    """A store of runs with so many records each, from the records that ship with the lab."""
    source = next(run for run in lab.runs.list_runs(lab.runs.stores.shipped_root()) if "multitask" in run.name)
    lines = (source.folder / "metrics.jsonl").read_text().splitlines()
    lines = (lines * (records // len(lines) + 1))[:records]
    for k in range(runs):
        run = folder / f"multitask-{k}"
        run.mkdir(parents=True)
        config = source.config
        config["experiment"]["seed"] = k
        (run / "experiment.json").write_text(json.dumps(config))
        rows = "".join(f"{line}\n" for line in lines).encode()
        (run / "metrics.jsonl").write_bytes(rows)
        (run / "status.json").write_text(json.dumps(source.status | {
            "metrics_bytes": len(rows), "metrics_sha256": hashlib.sha256(rows).hexdigest()}))


def store(rounds: int, runs: int = 100, records: int = 10_000) -> None:
    """Reading a store again, as a page does at each redraw."""
    with tempfile.TemporaryDirectory() as folder:
        made_store(Path(folder), runs, records)
        ours = Store(Path(folder))
        began = time.perf_counter()
        ours.frame()
        print(f"\nfirst reading of {runs} runs of {records:,} records: {time.perf_counter() - began:.2f} s")

        def theirs() -> pd.DataFrame:
            return pd.concat(pd.read_json(file, lines=True) for file in sorted(Path(folder).glob("*/metrics.jsonl")))

        table(f"{runs} runs of {records:,} records", turns({"the lab's store, read again": again(ours.frame),
                                                            "pandas.read_json": again(theirs)}, min(rounds, 3)))


# ---- growth --------------------------------------------------------------------------------------------------------


def growth(data: Data, rounds: int) -> None:
    """How the cost of an iteration, of combining and of reading grows."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as closing:
        def iterations(**settings: object) -> Iterator[float]:
            e = replace(lab.PROTOCOLS["laptop"](lab.RECIPES["multitask"]), device="cpu", samples=0, eval_rows=16,
                        epochs=1, iterations=rounds + WARM_UP + 1, **settings)
            training = closing.enter_context(contextlib.closing(lab.fit(e, data=data, root=folder, progress=False)))
            return iteration_seconds(training, [])

        table("`sum`, rows of a task", turns({str(n): iterations(batch_size=n) for n in (4, 8, 16, 32)}, rounds))
        encoders = {}
        tokenizer = load_encoder("minilm")[1]
        for layers in (3, 6, 12):
            config = replace(load_encoder("minilm")[0].config, num_hidden_layers=layers)
            lab.encoders.save_encoder(lab.Bert(config), Path(folder, f"encoder-{layers}"), tokenizer)
            encoders[str(layers)] = iterations(encoder=str(Path(folder, f"encoder-{layers}")))
        table("`sum`, layers", turns(encoders, rounds))

    def combined(tasks: int) -> Iterator[float]:
        gradients = [[torch.randn(1_000_000) for _ in range(11)] for _ in range(tasks)]
        noise = torch.Generator().manual_seed(1)

        def call() -> None:
            G = gramian(gradients)
            combine([[g.clone() for g in gradients[0]], *gradients[1:]], pcgrad(G, noise, {}))

        return again(call)

    table("combining 11 M numbers, tasks", turns({str(n): combined(n) for n in (2, 3, 6, 12)}, min(rounds, 5)))
    for runs in (10, 100, 1000):
        with tempfile.TemporaryDirectory() as folder:
            made_store(Path(folder), runs, 1000)
            seconds = again(Store(Path(folder)).frame)
            print(f"a store of {runs} runs of 1,000 records: {next(seconds):.2f} s, then {next(seconds) * 1000:.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="+", choices=("surgery", "scoring", "start", "store", "growth"))
    parser.add_argument("--data", default=None, help="folder of the data sets; default: the sample")
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    data = load_data(arguments.data)
    calls = {"surgery": lambda: surgery(data, arguments.rounds), "scoring": lambda: scoring(data, arguments.rounds),
             "start": lambda: start(arguments.rounds), "store": lambda: store(arguments.rounds),
             "growth": lambda: growth(data, arguments.rounds)}
    for section in arguments.sections:
        calls[section]()


if __name__ == "__main__":
    main()
