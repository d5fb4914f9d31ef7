"""Further pretraining: an encoder goes on guessing masked words, on the tasks' own sentences, before any fine-tuning.

Masked-language modelling is task 1 of Devlin et al. 2019 (BERT), section 3.1, with masks drawn anew in every pass as in
Liu et al. 2019 (RoBERTa), section 4.1. To continue it on the text of the tasks helped Sun et al. 2019 and Gururangan et
al. 2020 (task-adaptive pretraining). Sentences that dev or test files have too are never trained on.

    for row in lab.pretrain_mlm(lab.Pretraining()):
        print(row)

Whether it helps here is for an ablation to show. MiniLM was last trained by the cosines of sentence pairs, not on
masked words, and comes without a head for them. With a fresh one the loss starts a little above ln V, that of a blind
guess (10.3 for V = 30,522), and much of the training goes into the head, which fine-tuning throws away.

Shapes: N packed tokens of a batch, M of them chosen to be guessed, S sentences, H hidden size, V words.
"""

import hashlib
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lab import checkpoints
from lab.batches import SUBSET_SEED, Stream, Texts, chunks
from lab.bert import ACTIVATIONS, Bert, Layout
from lab.data import TASKS, Data, load_data
from lab.diagnostics import Window
from lab.errors import LabError
from lab.experiment import Settings
from lab.machine import autocast
from lab.optim import AdamW
from lab.runs import PRETRAINED, runs_root
from lab.training import Training, find_place, name_end
from lab.weights import load_encoder, load_mlm_head, save_encoder

HELD_OUT_SEED, HELD_OUT_MASK = 15, 0.15  # the masks of held-out sentences: the same in every evaluation of every run


@dataclass(frozen=True)
class Pretraining(Settings):
    """One further pretraining, complete; same value, data, machine and threads: same weights."""

    encoder: str = "minilm"  # "minilm", a hub id or a folder
    epochs: int = 1  # passes over the sentences, each with fresh masks
    batch_size: int = 64  # sentences
    lr: float = 1e-4
    weight_decay: float = 0.01
    warmup: int = 100  # iterations over which lr rises from 0
    mask: float = 0.15  # share of the tokens that are to be guessed
    held_out: float = 0.02  # share of the sentences that is never trained on
    scale: float = 0.2  # share of the others that is; .2 of the real ones is about ten minutes on two cores with MiniLM
    precision: str = "fp32"  # or "bf16": matrix products in bfloat16, weights and sums in float32
    device: str = "auto"
    seed: int = 11711


def sentences(data: Data, settings: Pretraining) -> tuple[list[str], list[str], int]:
    """The tasks' distinct training sentences: (held out, trained on, how many are left out: dev or test has them too).

    Sentences that differ in case and spaces alone are one, as to an uncased encoder. One constant shuffle, for all
    seeds, says which are held out; a smaller scale holds out the same and trains on fewer.
    """
    def distinct(*names: str) -> dict[str, str]:
        return {" ".join(text.lower().split()): text for (_, name), split in data.splits.items() if name in names
                for example in split.examples for text in example.texts}

    train, scored = distinct("train"), distinct("dev", "test")
    kept = [text for plain, text in train.items() if plain not in scored]
    shuffled = [kept[i] for i in np.random.default_rng([SUBSET_SEED, len(TASKS)]).permutation(len(kept))]
    held_out = max(1, round(settings.held_out * len(kept)))
    trained = shuffled[held_out:][: round(settings.scale * (len(kept) - held_out))]
    return shuffled[:held_out], trained, len(train) - len(kept)


def mask_tokens(ids: Tensor, lengths: np.ndarray, share: float, generator: np.random.Generator, mask_id: int,
                V: int) -> tuple[Tensor, Tensor, Tensor]:
    """BERT's task: packed ids (N,) of sentences of these lengths (S,) -> (inputs (N,), chosen (M,), answers (M,)).

    Each token but a sentence's first and last ([CLS], [SEP]) is chosen with p = share, and at least one is. Of the
    chosen 80 % become [MASK], 10 % a random word, and 10 % stay, for in fine-tuning there will be no [MASK].
    """
    draws, ends = generator.random(len(ids)), lengths.cumsum()
    draws[ends - lengths] = draws[ends - 1] = math.inf
    chosen = np.flatnonzero(draws < share)
    if not len(chosen):
        chosen = draws.argmin(keepdims=True)
    fate, words = generator.random(len(chosen), np.float32), generator.integers(V, size=len(chosen))
    chosen, fate, words = (torch.from_numpy(array).to(ids.device) for array in (chosen, fate, words))
    answers = ids.index_select(0, chosen)
    shown = torch.where(fate < 0.8, mask_id, torch.where(fate < 0.9, words, answers))
    return ids.index_copy(0, chosen, shown), chosen, answers


class LossWindow(Window):
    """The losses of the batches since the last row."""

    columns = (("loss", "mlm"),)


class MaskedLM(nn.Module):
    """An encoder under BERT's masked-language head: dense, activation, layer norm, and the word embeddings again."""

    def __init__(self, bert: Bert) -> None:
        super().__init__()
        H, V = bert.config.hidden_size, bert.config.vocab_size
        self.bert, self.activation = bert, ACTIVATIONS[bert.config.hidden_act]
        self.dense, self.norm = nn.Linear(H, H), nn.LayerNorm(H, eps=bert.config.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(V))
        nn.init.normal_(self.dense.weight, std=bert.config.initializer_range)
        nn.init.zeros_(self.dense.bias)

    def forward(self, inputs: Tensor, positions: Tensor, layout: Layout, chosen: Tensor) -> Tensor:
        """Packed tokens (N,) -> logits (M, V), at the chosen tokens alone: all (N, V) would fill the memory."""
        hidden = self.bert.encode_packed(self.bert.embed(inputs, positions=positions), layout)  # (N, H)
        x = self.norm(self.activation(self.dense(hidden.index_select(0, chosen))))  # (M, H)
        # logits = x E' + b, E the embeddings of all words                              Press and Wolf 2017
        return F.linear(x, self.bert.word.weight, self.bias).float()


def pretrain_mlm(settings: Pretraining, *, data: Data | str | Path | None = None, run: str | Path | None = None,
                 resume: bool = False, root: str | Path | None = None, progress: bool = True) -> "Pretrain":
    """Pretrain an encoder further: an iterator of metric rows, with `.run`, `.model` and, once done, `.encoder`.

    Arguments and errors as in `lab.fit`; the run stands in the folder pretrained/ of the store.
    """
    return Pretrain(settings, data if isinstance(data, Data) else load_data(data), run, resume, root, progress)


class Pretrain(Training):
    """What `pretrain_mlm` returns. Iterating it trains."""

    def __init__(self, settings: Pretraining, data: Data, run: str | Path | None, resume: bool,
                 root: str | Path | None, progress: bool) -> None:
        place = find_place(f"mlm-{name_end(settings, data)}", run, resume, runs_root(root) / PRETRAINED)
        super().__init__(settings, data, place, resume, progress)

    @property
    def encoder(self) -> Path:
        """The folder that `--encoder` opens when the run is done."""
        return self.run.folder.resolve() / "encoder"

    def _prepare(self, resume: bool) -> None:
        e, run = self.settings, self.run
        held_out, trained, left_out = sentences(self.data, e)
        about = {"held out": len(held_out), "trained on": len(trained), "left out": left_out,
                 "sha256": hashlib.sha256("\0".join([*held_out, *trained]).encode()).hexdigest()}
        self.held_out, self.stream = len(held_out), Stream(len(trained), e.batch_size, [e.seed, 0])
        self.iterations = len(trained) // e.batch_size
        recorded, newest = self._found(resume)
        if recorded and recorded["data"]["sentences"] != about:
            raise LabError(f"run {run.name} was begun with other sentences (a new test file?); start a new run")
        with self.randomness:
            bert, self.tokenizer = run.encoder() if newest else load_encoder(e.encoder)
            self.model = MaskedLM(bert)
            head = None if newest else load_mlm_head(e.encoder, self.model.state_dict())
            self.model.load_state_dict(head or {}, strict=False)
        self.model.to(self.device)
        self.optimizer = AdamW(self.model.parameters(), lr=e.lr, weight_decay=e.weight_decay)
        self.texts = Texts.encode([*held_out, *trained], self.tokenizer, bert.config.max_position_embeddings,
                                  run.folder.parent / ".cache")
        self.state = {"step": 0, "seconds": 0.0, "scoring": 0.0, "window_tokens": 0, "window_seconds": 0.0}
        self.windows = {"batch": LossWindow(self.device)}
        if newest:
            self._restore(*newest)
        if not self.finished:
            self._begin(recorded, newest, {"sentences": about, "cut": self.texts.cut}, head="own" if head else "fresh")

    def _draw(self) -> np.ndarray:
        """Begin an iteration: the numbers of its sentences, a function of seed and step."""
        rows = self.held_out + self.stream.batch(self.state["step"])
        self.state["step"] += 1
        self._warm_up()
        return rows

    def _iterate(self, rows: np.ndarray) -> None:
        """One step on the mean loss of one batch, whose masks are a function of seed and step."""
        e, state = self.settings, self.state
        self.model.train()
        self.optimizer.zero_grad()
        (batch,) = chunks(self.texts, rows, sys.maxsize, self.device)
        logits, answers = self._guess(*batch, e.mask, np.random.default_rng([e.seed, 1, state["step"]]))
        loss = F.cross_entropy(logits, answers)
        loss.backward()
        self.optimizer.step()
        self.windows["batch"].note("loss", "mlm", loss.detach())
        state["window_tokens"] += len(batch[1])

    def _guess(self, rows: np.ndarray, ids: Tensor, segments: None, positions: Tensor, layout: Layout, share: float,
               generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """The model's logits (M, V) at the masked tokens of a batch, and what stood there (M,)."""
        inputs, chosen, answers = mask_tokens(ids, self.texts.lengths[rows], share, generator,
                                              self.tokenizer.mask_token_id, len(self.tokenizer))
        with autocast(self.settings.precision, self.device):
            return self.model(inputs, positions, layout, chosen), answers

    def _score_start(self) -> list[dict]:
        return self._score_epoch()

    def _end(self) -> list[dict]:
        save_encoder(self.model.bert, self.encoder, self.tokenizer)
        checkpoints.finish(self.run.checkpoints, {self.total})
        self._done()
        return []

    @torch.no_grad()
    def _score_epoch(self) -> list[dict]:
        """Mean loss (in nats) and accuracy at the masked tokens of the held-out sentences."""
        began, held_out = time.perf_counter(), np.arange(self.held_out)
        loss = right = M = 0
        self.model.eval()
        for k, batch in enumerate(chunks(self.texts, held_out, device=self.device)):
            logits, answers = self._guess(*batch, HELD_OUT_MASK, np.random.default_rng([HELD_OUT_SEED, k]))
            loss += float(F.cross_entropy(logits, answers, reduction="sum"))
            right += int((logits.argmax(-1) == answers).sum())
            M += len(answers)
            self._heartbeat()
        for clock in ("seconds", "scoring"):
            self.state[clock] += time.perf_counter() - began
        if not math.isfinite(loss):
            raise self._not_finite("the held-out loss")
        return [self._row("held_out", "mlm", "loss", loss / M), self._row("held_out", "mlm", "accuracy", right / M)]
