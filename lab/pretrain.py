"""Further pretraining: masked-language modelling on the sentences of the tasks, before any fine-tuning.

It is task 1 of Devlin et al. 2019 (BERT), section 3.1, with masks drawn anew in every pass as in Liu et al. 2019
(RoBERTa), section 4.1. Sun et al. 2019 and Gururangan et al. 2020 (task-adaptive pretraining) found that continuing it
on the text of the tasks helps. Sentences that a dev or test file has too are never trained on.

    for row in lab.pretrain_mlm(lab.Pretraining()):
        print(row)

Whether it helps here has to be measured by an ablation. MiniLM was last trained by the cosines of sentence pairs, and
comes without a head for masked words. With a fresh head the loss starts a little above ln V, the loss of a uniform
guess (10.3 for V = 30,522), and much of the training goes into the head, which fine-tuning does not use.

Shapes: N packed tokens of a batch, M of them chosen to be guessed, S sentences, H hidden size, V words.
"""

import hashlib
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lab.batches import SUBSET_SEED, Stream, Texts, chunks
from lab.bert import ACTIVATIONS, Bert, Layout
from lab.data import TASKS, Data, load_data
from lab.encoders.device import autocast
from lab.encoders.formats import save_encoder
from lab.encoders.sources import load_encoder, load_mlm_head, weights_sha256
from lab.experiment import Settings
from lab.optim import AdamW
from lab.runs import checkpoints
from lab.runs.diagnostics import Window
from lab.runs.disk import commit
from lab.runs.folder import PRETRAINED, Run, find_run, name_end
from lab.runs.recorder import Recorder
from lab.runs.stores import runs_root
from lab.runs.training import Training
from lab.smart import within

if TYPE_CHECKING:  # transformers takes a second to import
    from transformers import PreTrainedTokenizerBase

HELD_OUT_SEED, HELD_OUT_MASK = 15, 0.15  # the masks of held-out sentences: the same in every evaluation of every run


@dataclass(frozen=True)
class Pretraining(Settings):
    """One further pretraining. The same value on the same data, CPU and number of threads gives the same weights."""

    encoder: str = "minilm"  # "minilm", a hub id or a folder
    epochs: int = within(1, 1, 10**6)  # passes over the sentences, each with fresh masks
    batch_size: int = within(64, 1, 10**6)  # sentences
    lr: float = within(1e-4, 0, 1e30)
    weight_decay: float = within(0.01, 0, 1e30)
    warmup: int = within(100, 0, 10**9)  # iterations over which lr rises from 0
    schedule: str = "constant"  # of lr after the warm-up; or "linear": it falls, to almost 0 at the end of the training
    mask: float = within(0.15, 1e-6, 1)  # share of the tokens that are to be predicted
    held_out: float = within(0.02, 1e-6, 0.5)  # share of the sentences that is never trained on
    # Share of the other sentences that is trained on; .2 of the real ones takes about ten minutes with MiniLM on two
    # cores.
    scale: float = within(0.2, 1e-6, 1)
    precision: str = "fp32"  # or "bf16": matrix products in bfloat16, weights and sums in float32
    device: str = "auto"
    seed: int = within(11711, 0, 2**63 - 1)


def sentences(data: Data, settings: Pretraining) -> tuple[list[str], list[str], int]:
    """The distinct training sentences: (held out, trained on, the number left out because dev or test has them too).

    Sentences that differ only in case or spaces count as one, as they do for an uncased encoder. One fixed shuffle,
    the same for all seeds, chooses the held-out ones. A smaller scale holds out the same and trains on fewer.
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
                 resume: bool = False, root: str | Path | None = None, progress: bool = True) -> Training:
    """Pretrain an encoder further: an iterator of metric rows, with `.run`, `.model` and, once done, `.encoder`.

    Arguments and errors are those of `lab.fit`. The run stands in the folder pretrained/ of the store.
    """
    e, data = settings, data if isinstance(data, Data) else load_data(data)
    held_out, trained, left_out = sentences(data, e)
    about = {"held out": len(held_out), "trained on": len(trained), "left out": left_out,
             "sha256": hashlib.sha256("\0".join([*held_out, *trained]).encode()).hexdigest()}
    stream = Stream(len(trained), e.batch_size, [e.seed, 0])
    weights = weights_sha256(e.encoder)
    place = find_run(f"mlm-{name_end(e, data, weights)}", run, resume, runs_root(root) / PRETRAINED)
    recorder = Recorder(e, data, place, iterations=len(trained) // e.batch_size, progress=progress, sentences=about)
    with recorder.preparing():
        bert, tokenizer = place.encoder() if recorder.newest else load_encoder(e.encoder)
        model = MaskedLM(bert)
        head = None if recorder.newest else load_mlm_head(e.encoder, model.state_dict())
        model.load_state_dict(head or {}, strict=False)
        model.to(recorder.device)
        texts = Texts.encode([*held_out, *trained], tokenizer, bert.config.max_position_embeddings,
                             place.folder.parent / ".cache")
        parts = checkpoints.Parts(model, AdamW(model.parameters(), lr=e.lr, weight_decay=e.weight_decay),
                                  recorder.randomness, windows={"batch": LossWindow(recorder.device)})
        recorder.begin(parts, tokenizer, {"sentences": about, "cut": texts.cut}, head="own" if head else "fresh",
                       **({"encoder_sha256": weights} if weights else {}))
    training = Training(recorder, model, tokenizer, loop(e, texts, len(held_out), stream, tokenizer, recorder))
    training.encoder = encoder_of(place)
    return training


def encoder_of(run: Run) -> Path:
    """The folder of the encoder that a finished pretraining has written; `--encoder` opens it."""
    return run.folder.resolve() / "encoder"


def loop(e: Pretraining, texts: Texts, held_out: int, stream: Stream, tokenizer: "PreTrainedTokenizerBase",
         recorder: Recorder) -> Iterator[dict[str, Any]]:
    """Train to the end. Every metric row is recorded, then yielded.

    texts: the held-out sentences, which come first, then those to train on.
    """
    parts, state, device = recorder.parts, recorder.state, recorder.device
    model, optimizer = parts.model, parts.optimizer

    def predict(rows: np.ndarray, ids: Tensor, segments: None, positions: Tensor, layout: Layout, share: float,
                generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """The model's logits (M, V) at the masked tokens of a batch, and the words that stood there (M,)."""
        inputs, chosen, answers = mask_tokens(ids, texts.lengths[rows], share, generator, tokenizer.mask_token_id,
                                              len(tokenizer))
        with autocast(e.precision, device):
            return model(inputs, positions, layout, chosen), answers

    @torch.no_grad()
    def score() -> list[dict[str, Any]]:
        """Mean loss (in nats) and accuracy at the masked tokens of the held-out sentences."""
        loss = right = M = 0
        model.eval()
        with recorder.scoring():
            for k, batch in enumerate(chunks(texts, np.arange(held_out), device=device)):
                logits, answers = predict(*batch, HELD_OUT_MASK, np.random.default_rng([HELD_OUT_SEED, k]))
                loss += float(F.cross_entropy(logits, answers, reduction="sum"))
                right += int((logits.argmax(-1) == answers).sum())
                M += len(answers)
                recorder.heartbeat()
        return [recorder.row("held_out", "mlm", metric, value / M) for metric, value in (("loss", loss),
                                                                                        ("accuracy", right))]

    with recorder.running():
        if state["step"] == 0:
            yield from recorder.record(score())
        while state["step"] < recorder.total:
            # Draw: the sentences and their masks are functions of seed and step.
            rows = held_out + stream.batch(state["step"])
            number = recorder.advance()
            (batch,) = chunks(texts, rows, sys.maxsize, device)

            # Forward, backward, step
            with recorder.timed():
                model.train()
                optimizer.zero_grad()
                logits, answers = predict(*batch, e.mask, np.random.default_rng([e.seed, 1, number]))
                loss = F.cross_entropy(logits, answers)
                loss.backward()
                optimizer.step()
                parts.windows["batch"].note("loss", "mlm", loss.detach())
                state["window_tokens"] += len(batch[1])
                del logits, loss

            # Measure, record, save
            found = recorder.window_rows()
            if number % recorder.iterations == 0:
                found += score()
            yield from recorder.record(found)
        recorder.heartbeat()
        commit(encoder_of(recorder.run), lambda part: save_encoder(model.bert, part, tokenizer))
        checkpoints.finish(recorder.run.checkpoints, {recorder.total})
        recorder.done()
