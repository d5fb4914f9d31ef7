"""What this machine can do, as ratios: our iteration against the ordinary way of writing it, in turn, in one process.

The ordinary way is what most course code does: `transformers.BertModel`, one padded pass a list of sentences (five
for three tasks), texts tokenized in the loop, `torch.optim.AdamW`. Same weights, rows, dropout, threads and train mode.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn

from lab.data import TASKS, Data
from lab.experiment import PROTOCOLS, RECIPES
from lab.train import Fit, fit
from lab.weights import save_encoder


def bench_iteration(data: Data | str | None = None, encoder: str = "minilm", rounds: int = 30) -> dict[str, float]:
    """Time one `sum` iteration of the paper's batch, ours and the ordinary way, in turn; medians.

    Returns seconds of each ("ours", "ordinary"), "ratio" (the median of the pairs' ratios), "tokens" a batch.
    """
    experiment = replace(PROTOCOLS["laptop"](RECIPES["multitask"]), encoder=encoder, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        ours = fit(experiment, data=data, root=folder, progress=False)
        ordinary = _ordinary(ours, folder)
        times: dict[Callable, list[float]] = {lambda: ours._iterate(ours._draw()): [], ordinary: []}
        tokens = []
        for number in range(rounds + 3):
            ours.state["window_tokens"] = 0
            for step, spent in times.items():
                began = time.perf_counter()
                step()
                spent.append(time.perf_counter() - began)
                if number < 3:
                    spent.clear()  # warm-up
            tokens.append(ours.state["window_tokens"])
        ours.close()
    mine, theirs = times.values()
    return {"ours": statistics.median(mine), "ordinary": statistics.median(theirs), "tokens": statistics.mean(tokens),
            "ratio": statistics.median(b / a for a, b in zip(mine, theirs, strict=True))}


def _ordinary(ours: Fit, folder: str) -> Callable[[], None]:
    """The ordinary iteration, on the rows that our iteration has drawn last."""
    from pathlib import Path

    from transformers import BertModel

    where, e = Path(folder) / "ordinary", ours.experiment
    save_encoder(ours.model.bert, where, ours.tokenizer)
    bert = BertModel.from_pretrained(where, hidden_dropout_prob=e.dropout, attention_probs_dropout_prob=e.dropout)
    H = bert.config.hidden_size
    heads = nn.ModuleDict({"sst": nn.Linear(H, 5), "qqp": nn.Linear(2 * H, 1), "sts": nn.Linear(2 * H, 1)})
    optimizer = torch.optim.AdamW([*bert.parameters(), *heads.parameters()], lr=e.lr, eps=1e-6, weight_decay=0)
    examples = {(task, x.id): x for task in TASKS for x in ours.data.splits[task, "train"].examples}
    bert.train()

    def encode(texts: list[str]) -> torch.Tensor:
        batch = ours.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        return bert(**batch).pooler_output

    def step() -> None:
        loss = torch.zeros(())
        for task in TASKS:
            rows = ours.rows[task, "train"]
            drawn = [examples[task, rows.ids[i]] for i in ours.streams[task].batch(ours.state["drawn"][task] - 1)]
            labels = torch.tensor([example.label for example in drawn])
            vectors = torch.cat([encode(list(side)) for side in zip(*(x.texts for x in drawn), strict=True)], -1)
            logits = heads[task](vectors if task == "sts" else F.dropout(vectors, 0.3))
            if task == "sst":
                loss = loss + F.cross_entropy(logits, labels.long())
            elif task == "qqp":
                loss = loss + F.binary_cross_entropy_with_logits(logits.squeeze(-1), labels)
            else:
                loss = loss + F.mse_loss(logits.squeeze(-1), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step
