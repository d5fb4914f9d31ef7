"""Compare the speed of the lab's iteration with that of a plain implementation, in one process.

The plain implementation, here called ordinary, uses `transformers.BertModel`, one padded pass for each list of
sentences (five for three tasks), tokenization in the loop, and `torch.optim.AdamW`. Both have the same weights, rows,
dropout, threads and train mode, and they alternate.
"""

import contextlib
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from lab.batches import Stream, kept_examples
from lab.data import TASKS, Data, Example, load_data
from lab.encoders import save_encoder
from lab.errors import LabError
from lab.experiment import PROTOCOLS, RECIPES, Experiment
from lab.runs.training import Training
from lab.train import fit, kept_share

WARM_UP = 3  # iterations of each that are not counted


def bench_iteration(data: Data | str | Path | None = None, encoder: str = "minilm",
                    rounds: int = 30) -> dict[str, float]:
    """Time one `sum` iteration of the paper's batch, the lab's way and the ordinary way in turn; medians.

    Returns the seconds of each ("ours", "ordinary"), "ratio" (the median of the pairs' ratios), and "tokens" a batch.
    Diagnostics are not sampled, and neither side's records or scores count. LabError: rounds below 1.
    """
    if rounds < 1:
        raise LabError(f"rounds must be 1 or more, not {rounds}")
    data = data if isinstance(data, Data) else load_data(data)
    e = replace(PROTOCOLS["laptop"](RECIPES["multitask"]), encoder=encoder, device="cpu", samples=0, epochs=1,
                iterations=rounds + WARM_UP + 1)  # the last one, which ends in scores, is not reached
    ours, theirs, tokens = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        training = fit(e, data=data, root=folder, progress=False)
        training.recorder.window = 1  # a row, and so a stop, after every iteration
        with contextlib.closing(training):
            ordinary = _ordinary(e, data, training, Path(folder) / "ordinary")
            for seconds, count in itertools.islice(_iterations(training), rounds + WARM_UP):
                began = time.perf_counter()
                next(ordinary)
                theirs.append(time.perf_counter() - began)
                ours.append(seconds)
                tokens.append(count)
    ours, theirs, tokens = ours[WARM_UP:], theirs[WARM_UP:], tokens[WARM_UP:]
    return {"ours": statistics.median(ours), "ordinary": statistics.median(theirs), "tokens": statistics.mean(tokens),
            "ratio": statistics.median(b / a for a, b in zip(ours, theirs, strict=True))}


def _iterations(training: Training) -> Iterator[tuple[float, float]]:
    """After each iteration of a training: the seconds that its updates took, and the tokens of its batch."""
    before = 0.0
    for row in training:
        if row["metric"] == "tokens_per_second":
            seconds = training.recorder.state["seconds"] - training.recorder.state["scoring"] - before
            before += seconds
            yield seconds, row["value"] * seconds


def _ordinary(e: Experiment, data: Data, training: Training, folder: Path) -> Iterator[None]:
    """Ordinary iterations, one for each `next`, on the rows that the training draws."""
    from transformers import BertModel

    save_encoder(training.model.bert, folder, training.tokenizer)
    bert = BertModel.from_pretrained(folder, hidden_dropout_prob=e.dropout, attention_probs_dropout_prob=e.dropout)
    H = bert.config.hidden_size
    heads = nn.ModuleDict({"sst": nn.Linear(H, 5), "qqp": nn.Linear(2 * H, 1), "sts": nn.Linear(2 * H, 1)})
    optimizer = torch.optim.AdamW([*bert.parameters(), *heads.parameters()], lr=e.lr, eps=1e-6, weight_decay=0)
    bert.train()
    losses: dict[str, Callable] = {"sst": lambda z, y: F.cross_entropy(z, y.long()),
                                   "qqp": lambda z, y: F.binary_cross_entropy_with_logits(z.squeeze(-1), y),
                                   "sts": lambda z, y: F.mse_loss(z.squeeze(-1), y)}

    def encode(texts: list[str]) -> torch.Tensor:
        batch = training.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        return bert(**batch).pooler_output

    def step(drawn: dict[str, list[Example]]) -> None:
        loss = torch.zeros(())
        for task, examples in drawn.items():
            labels = torch.tensor([example.label for example in examples])
            vectors = torch.cat([encode(list(side)) for side in zip(*(x.texts for x in examples), strict=True)], -1)
            loss = loss + losses[task](heads[task](vectors if task == "sts" else F.dropout(vectors, 0.3)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    kept = {task: kept_examples(data.splits[task, "train"], kept_share(e, data)) for task in TASKS}
    streams = {task: Stream(len(kept[task]), e.batch_size, [e.seed, i]) for i, task in enumerate(TASKS)}
    for k in range(e.iterations):
        step({task: [kept[task][i] for i in streams[task].batch(k)] for task in TASKS})
        yield
