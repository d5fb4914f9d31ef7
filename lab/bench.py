"""Compare the lab's iterations with other ways of writing them, on this computer: `lab bench`.

All contenders have the same weights, rows, dropout, threads and train mode, and take turns, so that what else the
computer does meets all alike. Ratios are medians over the rounds. The ordinary way uses `transformers.BertModel`, one
padded pass for each list of sentences (five for three tasks), tokenization in the loop, and `torch.optim.AdamW`. The
best ordinary way tokenizes before, makes one padded pass of all sentences, and uses torch's fused AdamW. The floor is
the time of the matrix products alone, at the speed of `torch.mm` measured in the same run.
"""

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lab.batches import Stream, kept_examples, prepare
from lab.bert import Bert
from lab.data import TASKS, Data, Example, load_data
from lab.encoders import save_encoder
from lab.errors import LabError
from lab.evaluate import logits, used
from lab.experiment import PROTOCOLS, RECIPES, Experiment, default_protocol
from lab.runs.scoring import scored_rows
from lab.runs.training import Training
from lab.train import fit, kept_share

WARM_UP = 3  # iterations of each that are not counted
ROWS = ("multitask", "baseline", "gradient_surgery", "gse", "smart")  # the first is what all are compared with
SCORED = 200  # dev rows of each task that are scored to measure the speed of scoring


def bench(data: Data | str | Path | None = None, encoder: str = "minilm", rounds: int = 10) -> dict[str, Any]:
    """Time iterations of 3 x 8 rows on the CPU; medians.

    Returns "seconds" (of each contender), "ratios" (how many times as long each takes as ours), "tokens" of a batch,
    "floor" (seconds of the products alone) and "gflops" (of `torch.mm`), "scoring" (tokens a second), and "minutes" (of
    a whole run with its scores, of each recipe at the data's default protocol). LabError: rounds below 1.
    """
    if rounds < 1:
        raise LabError(f"rounds must be 1 or more, not {rounds}")
    data = data if isinstance(data, Data) else load_data(data)
    settings = {"encoder": encoder, "device": "cpu", "samples": 0, "eval_rows": 16, "epochs": 1,
                "iterations": rounds + WARM_UP + 1}  # the last one, which ends in scores, is not reached
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as closing:
        contenders: dict[str, Iterator[float]] = {}
        for name in ROWS:
            e = replace(PROTOCOLS["laptop"](RECIPES[name]), **settings)
            training = closing.enter_context(contextlib.closing(fit(e, data=data, root=folder, progress=False)))
            contenders[name] = iteration_seconds(training, tokens := [])
            if name == ROWS[0]:
                ours, counts = training, tokens
        e = ours.recorder.settings
        contenders["ordinary"] = timed(ordinary(e, data, ours, Path(folder) / "ordinary", best=False))
        contenders["best ordinary"] = timed(ordinary(e, data, ours, Path(folder) / "best", best=True))
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(rounds + WARM_UP):
            for name, iterations in contenders.items():
                times[name].append(next(iterations))
        times = {name: of[WARM_UP:] for name, of in times.items()}
        count, gflops = statistics.mean(counts[WARM_UP:]), _products(ours.model.bert)
        seconds = {name: statistics.median(of) for name, of in times.items()}
        longest = ours.model.bert.config.max_position_embeddings
        rows = prepare(data, ours.tokenizer, share=kept_share(e, data), longest=longest)
        scoring = _scoring(ours, rows)
        floor = 6 * _multiplied(ours.model.bert) * count / gflops / 1e9
        return {"seconds": seconds, "tokens": count, "floor": floor, "gflops": gflops, "scoring": scoring,
                "ratios": {name: statistics.median(b / a for a, b in zip(times[ROWS[0]], of, strict=True))
                           for name, of in times.items()},
                "minutes": {name: _minutes(PROTOCOLS[default_protocol(data.kind == "sample")](RECIPES[name]), rows,
                                           seconds[name], scoring) for name in ROWS}}


def iteration_seconds(training: Training, tokens: list[float]) -> Iterator[float]:
    """The seconds of the updates of each iteration of a training; the tokens of its batch are appended to `tokens`."""
    training.recorder.window = 1  # a row, and so a stop, after every iteration
    before = 0.0
    for row in training:
        if row["metric"] == "tokens_per_second":
            seconds = training.recorder.state["seconds"] - training.recorder.state["scoring"] - before
            before += seconds
            tokens.append(row["value"] * seconds)
            yield seconds


def timed(iterations: Iterator[Tensor]) -> Iterator[float]:
    """The seconds of each iteration."""
    while True:
        began = time.perf_counter()
        next(iterations)
        yield time.perf_counter() - began


def _multiplied(bert: Bert) -> int:
    """The encoder's parameters that each token is multiplied with: those of its layers."""
    return sum(p.numel() for p in bert.layers.parameters() if p.ndim == 2)


def _products(bert: Bert, repeats: int = 40) -> float:
    """The speed of torch.mm, in GFLOP/s, on products of the size of the feed-forward layer's; the best of `repeats`."""
    up = bert.layers[0].up.weight.detach()
    x, best = torch.randn(700, up.shape[1]), float("inf")
    for _ in range(repeats):
        began = time.perf_counter()
        torch.mm(x, up.T)
        best = min(best, time.perf_counter() - began)
    return 2 * len(x) * up.numel() / best / 1e9


def _scoring(training: Training, rows: Mapping) -> float:
    """Tokens a second in scoring dev rows."""
    parts = {task: rows[task, "dev"].some(SCORED) for task in TASKS}
    count = int(parts["sst"].texts.lengths[used(parts)].sum())
    logits(training.model, parts)
    began = time.perf_counter()
    logits(training.model, parts)
    return count / (time.perf_counter() - began)


def _minutes(e: Experiment, rows: Mapping, iteration: float, scoring: float) -> float:
    """What a run takes with its scores: those before the first step, of every epoch, and the two at the end."""
    def tokens(split: str) -> int:
        parts = scored_rows(e, rows, split)
        return int(parts["sst"].texts.lengths[used(parts)].sum())

    scores = (1 + e.epochs) * (tokens("train") + tokens("dev")) + 2 * tokens("dev_full")
    return (e.epochs * e.iterations * iteration + scores / scoring) / 60


def summed(losses: dict[str, Tensor], features: Sequence[Tensor], bert: nn.Module, heads: nn.Module) -> None:
    """One backward pass of the sum of the losses."""
    sum(losses.values(), torch.zeros(())).backward()


def ordinary(e: Experiment, data: Data, training: Training, folder: Path, best: bool, dropout: float = 0.3,
             backward: Callable[[dict[str, Tensor], Sequence[Tensor], nn.Module, nn.Module], None] = summed,
             ) -> Iterator[Tensor]:
    """The losses of ordinary iterations, one for each `next`, on the rows that the training draws.

    backward: gives the parameters of encoder and heads their gradients, from the losses and the sentence vectors.
    """
    from transformers import BertModel

    save_encoder(training.model.bert, folder, training.tokenizer)
    bert = BertModel.from_pretrained(folder, hidden_dropout_prob=e.dropout, attention_probs_dropout_prob=e.dropout)
    H = bert.config.hidden_size
    heads = nn.ModuleDict({"sst": nn.Linear(H, 5), "qqp": nn.Linear(2 * H, 1), "sts": nn.Linear(2 * H, 1)})
    optimizer = torch.optim.AdamW([*bert.parameters(), *heads.parameters()], lr=e.lr, eps=1e-6, weight_decay=0,
                                  fused=best)
    bert.train()
    losses: dict[str, Callable] = {"sst": lambda z, y: F.cross_entropy(z, y.long()),
                                   "qqp": lambda z, y: F.binary_cross_entropy_with_logits(z.squeeze(-1), y),
                                   "sts": lambda z, y: F.mse_loss(z.squeeze(-1), y)}
    kept = {task: kept_examples(data.splits[task, "train"], kept_share(e, data)) for task in TASKS}
    streams = {task: Stream(len(kept[task]), e.batch_size, [e.seed, i]) for i, task in enumerate(TASKS)}
    ids: dict[str, list[int]] = {}
    if best:  # tokenized once, before
        texts = sorted({text for examples in kept.values() for example in examples for text in example.texts})
        ids = dict(zip(texts, training.tokenizer(texts, truncation=True)["input_ids"], strict=True))

    features: list[Tensor] = []

    def encode(texts: list[str]) -> Tensor:
        if best:
            batch = training.tokenizer.pad({"input_ids": [ids[text] for text in texts]}, return_tensors="pt")
        else:
            batch = training.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        features.append(bert(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).pooler_output)
        return features[-1]

    def vectors(drawn: dict[str, list[Example]]) -> dict[str, Tensor]:
        """Of each task, the vectors of its sentences side by side: (B, H) or (B, 2H)."""
        sides = {task: list(zip(*(x.texts for x in examples), strict=True)) for task, examples in drawn.items()}
        if not best:
            return {task: torch.cat([encode(list(side)) for side in of], -1) for task, of in sides.items()}
        of_all = iter(encode([text for of in sides.values() for side in of for text in side]).split(e.batch_size))
        return {task: torch.cat([next(of_all) for _ in of], -1) for task, of in sides.items()}

    for k in range(e.iterations):
        drawn = {task: [kept[task][i] for i in streams[task].batch(k)] for task in TASKS}
        features.clear()
        found = {}
        for task, of in vectors(drawn).items():
            labels = torch.tensor([example.label for example in drawn[task]])
            found[task] = losses[task](heads[task](of if task == "sts" else F.dropout(of, dropout)), labels)
        optimizer.zero_grad()
        backward(found, features, bert, heads)
        optimizer.step()
        yield sum(found.values(), torch.zeros(())).detach()


def as_text(found: Mapping[str, Any], protocol: str) -> str:
    """The findings of `bench` as lines."""
    seconds, ratios = found["seconds"], found["ratios"]
    lines = [f"one iteration of 3 x 8 rows ({found['tokens']:.0f} tokens), `sum`: {1000 * seconds[ROWS[0]]:.0f} ms",
             f"  the ordinary way       {ratios['ordinary']:.2f} times as long",
             f"  the best ordinary way  {ratios['best ordinary']:.2f} times as long",
             f"  the products alone     {found['floor'] / seconds[ROWS[0]]:.2f} times as long (at "
             f"{found['gflops']:.0f} GFLOP/s)",
             "other recipes, against `sum` (multitask):"]
    lines += [f"  {name:<22} {ratios[name]:.2f} times as long" for name in ROWS[1:]]
    lines += [f"scoring: {found['scoring']:,.0f} tokens a second",
              f"a whole run at protocol {protocol}, with its scores, would take here:"]
    lines += [f"  {name:<22} {minutes:.1f} minutes" for name, minutes in found["minutes"].items()]
    return "\n".join(lines)
