"""Texts become token ids once; rows become packed batches.

Texts -> `Texts` (each distinct text tokenized once, in flat arrays) -> `Rows` (a task's rows as numbers of texts) ->
`Stream` (an endless shuffle whose place is one integer) -> `Batch` (N real tokens in a row, and not one [PAD]).

Shapes: S sequences of a batch, N their tokens, B rows of a task.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor

from lab.bert import Layout
from lab.data import TASKS, Data, Split
from lab.errors import LabError

SUBSET_SEED = 224  # which rows a smaller scale keeps; the same for every recipe and seed


@dataclass(frozen=True)
class Texts:
    """Distinct texts as token ids, one behind the other."""

    tokens: np.ndarray  # int32, every text's ids with [CLS] and [SEP]
    starts: np.ndarray  # int64, one more than there are texts
    cut: int  # texts that were longer than the encoder's positions and lost their end

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each text."""
        return np.diff(self.starts)

    @classmethod
    def encode(cls, texts: Sequence[str], tokenizer: object, longest: int = 512, cache: Path | None = None) -> Self:
        """Tokenize texts with a transformers fast tokenizer, or read the result of an earlier call from `cache`."""
        backend = tokenizer.backend_tokenizer
        key = hashlib.sha256("\0".join([backend.to_str(), str(longest), *texts]).encode("utf-8", "replace"))
        file = cache / f"tokens-{key.hexdigest()[:20]}.safetensors" if cache else None
        if file and file.exists():
            try:
                arrays = load_file(file)
                return cls(arrays["tokens"], arrays["starts"], int(arrays["cut"][0]))
            except (SafetensorError, KeyError, OSError):
                file.unlink(missing_ok=True)  # half a file, from a disk that was full: make it again
        backend.no_truncation()  # a call of the tokenizer leaves it cutting and padding
        backend.no_padding()
        last, cut, rows = tokenizer.sep_token_id, 0, []
        for i in range(0, len(texts), 20_000):
            for encoding in backend.encode_batch_fast(list(texts[i : i + 20_000])):
                ids = encoding.ids
                if len(ids) > longest:
                    ids, cut = [*ids[: longest - 1], last], cut + 1
                rows.append(np.array(ids, dtype=np.int32))
        starts = np.cumsum([0, *map(len, rows)], dtype=np.int64)
        made = cls(np.concatenate(rows) if rows else np.zeros(0, np.int32), starts, cut)
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_suffix(f".{os.getpid()}.part")
            save_file({"tokens": made.tokens, "starts": made.starts, "cut": np.array([cut])}, part)
            part.replace(file)
        return made


@dataclass(frozen=True)
class Rows:
    """A split of a task, its texts replaced by their numbers in `texts`."""

    task: str
    ids: list[str]
    text: np.ndarray  # (rows, 1) for sst, (rows, 2) for pairs
    labels: np.ndarray  # (rows,) float32
    texts: Texts

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: np.ndarray) -> "Rows":
        """These rows alone, in this order."""
        return Rows(self.task, [self.ids[i] for i in rows], self.text[rows], self.labels[rows], self.texts)

    def some(self, limit: int | None, seed: int = SUBSET_SEED) -> "Rows":
        """At most `limit` rows, drawn by a constant seed, in the file's order."""
        if limit is None or limit >= len(self):
            return self
        drawn = np.random.default_rng([seed, TASKS.index(self.task)]).permutation(len(self))[:limit]
        return self.take(np.sort(drawn))


def prepare(data: Data, tokenizer: object, *, share: float = 1.0, longest: int = 512,
            cache: Path | None = None) -> dict[tuple[str, str], Rows]:
    """All splits as token ids, (task, split) -> Rows; of the training rows only this share."""
    kept = {key: _kept(split, share) for key, split in data.splits.items()}
    number: dict[str, int] = {}
    text = {key: np.array([[number.setdefault(t, len(number)) for t in e.texts] for e in kept[key]]) for key in kept}
    texts = Texts.encode(list(number), tokenizer, longest, cache)
    return {key: Rows(key[0], [e.id for e in kept[key]], text[key],
                      np.array([e.label for e in kept[key]], dtype=np.float32), texts) for key in kept}


def _kept(split: Split, share: float) -> list:
    if split.name != "train" or share >= 1:
        return split.examples
    order = np.random.default_rng([SUBSET_SEED, TASKS.index(split.task)]).permutation(len(split.examples))
    return [split.examples[i] for i in np.sort(order[: round(share * len(order))])]


class Stream:
    """One task's endless stream: shuffled, cut in full batches, shuffled anew at the end of a pass (PAPER.md).

    Batch k is a function of (rows, batch size, seed, k) alone, so a stream's place is one integer and an epoch's end
    means nothing to it.
    """

    def __init__(self, rows: int, batch_size: int, seed: Sequence[int]) -> None:
        if rows < batch_size:
            raise LabError(f"a batch of {batch_size} cannot be drawn from {rows} training rows; lower batch_size")
        self.rows, self.batch_size, self.seed = rows, batch_size, list(seed)
        self._pass, self._order = -1, np.zeros(0, dtype=np.int64)

    def batch(self, k: int) -> np.ndarray:
        """Row numbers (batch_size,) of the k-th batch, k = 0, 1, ..."""
        number, place = divmod(k, self.rows // self.batch_size)
        if number != self._pass:
            self._pass, self._order = number, np.random.default_rng([*self.seed, number]).permutation(self.rows)
        return self._order[place * self.batch_size : (place + 1) * self.batch_size]


# A sampler names the task of each batch of an iteration: (training rows a task, epoch e = 1 ... E, E, generator).
Sampler = Callable[[Mapping[str, int], int, int, np.random.Generator], list[str]]


def parallel(sizes: Mapping[str, int], epoch: int, epochs: int, generator: np.random.Generator) -> list[str]:
    """The paper's sampler: one batch of every task. With updates ("separate",) it is what others call round robin."""
    return list(sizes)


def proportional(sizes: Mapping[str, int], epoch: int, epochs: int, generator: np.random.Generator) -> list[str]:
    """Each batch's task is drawn with p ~ N, the task's number of training rows."""
    return _drawn(sizes, 1.0, generator)


def square_root(sizes: Mapping[str, int], epoch: int, epochs: int, generator: np.random.Generator) -> list[str]:
    """p ~ N^0.5."""
    return _drawn(sizes, 0.5, generator)


def annealed(sizes: Mapping[str, int], epoch: int, epochs: int, generator: np.random.Generator) -> list[str]:
    """p ~ N^alpha, alpha falling from 1 to 0.2 over the epochs (Stickland and Murray 2019, section 4.3)."""
    # alpha = 1 - 0.8 (e - 1) / (E - 1)
    return _drawn(sizes, 1 - 0.8 * (epoch - 1) / (epochs - 1) if epochs > 1 else 1.0, generator)


def _drawn(sizes: Mapping[str, int], alpha: float, generator: np.random.Generator) -> list[str]:
    p = np.array(list(sizes.values()), dtype=np.float64) ** alpha
    return generator.choice(list(sizes), size=len(sizes), p=p / p.sum()).tolist()


SAMPLERS: dict[str, Sampler] = {"parallel": parallel, "proportional": proportional, "square_root": square_root,
                                "annealed": annealed}


@dataclass(frozen=True)
class Batch:
    """Rows of one or more tasks, packed: all of their sentences in one row of N tokens."""

    ids: Tensor  # (N,)
    positions: Tensor  # (N,)
    layout: Layout
    place: Tensor  # (S,) where sequence s stands in the layout, which has shorter ones first
    parts: dict[str, tuple[int, int]]  # task -> (rows B, texts a row); its sequences follow one another: u, then v
    labels: dict[str, Tensor]  # task -> (B,)

    def split(self, sentences: Tensor) -> dict[str, tuple[Tensor, ...]]:
        """Sentence vectors (S, H) -> task -> (u,) or (u, v), each (B, H)."""
        sizes = [rows for rows, width in self.parts.values() for _ in range(width)]
        vectors = iter(sentences.split(sizes))
        return {task: tuple(next(vectors) for _ in range(width)) for task, (_, width) in self.parts.items()}


def pack(rows: Mapping[str, Rows], device: torch.device | str = "cpu") -> Batch:
    """Pack rows, task -> Rows, into one batch. Its cost is the real tokens: nothing is padded or tokenized."""
    texts = next(iter(rows.values())).texts
    sequences = np.concatenate([part.text.T.ravel() for part in rows.values()])
    index, positions, lengths, order = _gather(texts, sequences)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return Batch(
        ids=torch.from_numpy(texts.tokens[index].astype(np.int64)).to(device),
        positions=torch.from_numpy(positions).to(device),
        layout=Layout.of(lengths.tolist(), device),
        place=torch.from_numpy(place).to(device),
        parts={task: part.text.shape for task, part in rows.items()},
        labels={task: torch.from_numpy(part.labels).to(device) for task, part in rows.items()},
    )


def chunks(texts: Texts, which: np.ndarray, tokens: int = 4096,
           device: torch.device | str = "cpu") -> Iterator[tuple[np.ndarray, Tensor, Tensor, Layout]]:
    """Texts by length, in chunks of about so many tokens: (their numbers, ids (N,), positions (N,), layout)."""
    which = which[np.argsort(texts.lengths[which], kind="stable")]
    ends = texts.lengths[which].cumsum()
    for part in np.split(which, np.searchsorted(ends, np.arange(tokens, int(ends[-1]) if len(ends) else 0, tokens))):
        if len(part):
            index, positions, lengths, _ = _gather(texts, part)
            ids = torch.from_numpy(texts.tokens[index].astype(np.int64)).to(device)
            yield part, ids, torch.from_numpy(positions).to(device), Layout.of(lengths.tolist(), device)


def _gather(texts: Texts, which: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Texts, shorter ones first, in one row: places in texts.tokens (N,), positions (N,), lengths (S,), order (S,)."""
    lengths = texts.lengths[which]
    order = np.argsort(lengths, kind="stable")
    lengths = lengths[order]
    positions = np.arange(lengths.sum()) - np.repeat(lengths.cumsum() - lengths, lengths)
    return positions + np.repeat(texts.starts[which[order]], lengths), positions, lengths, order
