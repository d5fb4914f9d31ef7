"""Tokenize each text once, draw rows, and pack them into batches without padding.

Strings -> `Texts` (each distinct text tokenized once, in flat arrays) -> `Rows` (a task's rows, as indices into the
texts; `cross` makes a pair one text) -> `Stream` (endless shuffled batches; the position is one integer) -> `Batch`
(the N real tokens of all sequences in one array, without any [PAD]).

Shapes: S sequences of a batch, N their tokens, B rows of a task.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor

from lab.bert import Layout
from lab.data import FORMATS, TASKS, Data, Split
from lab.errors import LabError

SUBSET_SEED = 224  # chooses the rows that a smaller scale keeps; the same for every recipe and seed


@dataclass(frozen=True)
class Texts:
    """Token ids of distinct texts, or of pairs joined by `cross`, concatenated."""

    tokens: np.ndarray  # int32, the ids of all texts, each with [CLS] and [SEP]
    starts: np.ndarray  # int64, the offset of each text in `tokens`, and the total at the end
    whole: np.ndarray  # int64, the length of each text before truncation to the encoder's positions
    segments: np.ndarray | None = None  # int8, 1 from the second text of a pair on; None without joined pairs

    @property
    def lengths(self) -> np.ndarray:
        """Number of tokens of each text."""
        return np.diff(self.starts)

    @property
    def cut(self) -> int:
        """Number of texts that were truncated to the encoder's positions."""
        return int((self.whole > self.lengths).sum())

    @classmethod
    def encode(cls, texts: Sequence[str], tokenizer: object, longest: int = 512, cache: Path | None = None) -> Self:
        """Tokenize texts with a fast tokenizer of transformers, or read an earlier result from the folder `cache`.

        longest: texts are truncated to this number of tokens. A file of the folder says what its content hashes to; a
        damaged one is made again. Where it cannot be written, there is none.
        """
        backend = tokenizer.backend_tokenizer
        key = hashlib.sha256("\0".join([backend.to_str(), str(longest), *texts]).encode("utf-8", "replace")).hexdigest()
        file = cache / f"tokens-{key[:20]}.safetensors" if cache else None
        if file and file.is_file():
            try:
                with safe_open(file, "numpy") as stored:
                    made = cls(*(stored.get_tensor(name) for name in ("tokens", "starts", "whole")))
                    if (stored.metadata() or {}).get("sha256") == made.digest(key):
                        return made
            except (SafetensorError, OSError):
                pass  # incomplete, damaged, or written by an older version: tokenize again
        backend.no_truncation()  # an earlier call of the tokenizer may have switched both on
        backend.no_padding()
        last, rows, whole = tokenizer.sep_token_id, [], []
        for i in range(0, len(texts), 20_000):
            for encoding in backend.encode_batch_fast(list(texts[i : i + 20_000])):
                ids = encoding.ids
                whole.append(len(ids))
                kept = ids if len(ids) <= longest else [*ids[: longest - 1], last]
                rows.append(np.array(kept, dtype=np.int32))
        starts = np.cumsum([0, *map(len, rows)], dtype=np.int64)
        made = cls(np.concatenate(rows) if rows else np.zeros(0, np.int32), starts, np.array(whole, np.int64))
        with contextlib.suppress(OSError, SafetensorError):  # the file only saves time: a full disk is no fault here
            if file:
                file.parent.mkdir(parents=True, exist_ok=True)
                part = file.with_suffix(f".{os.getpid()}.part")
                save_file({"tokens": made.tokens, "starts": made.starts, "whole": made.whole}, part,
                          metadata={"sha256": made.digest(key)})
                part.chmod(file.parent.stat().st_mode & 0o666)  # safetensors makes it readable for its owner alone
                part.replace(file)
        return made

    def digest(self, key: str) -> str:
        """The sha256 of these token ids, as those of the texts and the tokenizer that `key` stands for."""
        digest = hashlib.sha256(key.encode())
        for array in (self.tokens, self.starts, self.whole):
            digest.update(array.tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Rows:
    """The rows of one split of a task, with their texts as indices into `texts`."""

    task: str
    ids: list[str]
    text: np.ndarray  # (rows, 1), or (rows, 2) for pairs that `cross` has not joined
    labels: np.ndarray  # (rows,) float32
    texts: Texts

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: np.ndarray) -> "Rows":
        """Only these rows, in this order."""
        return Rows(self.task, [self.ids[i] for i in rows], self.text[rows], self.labels[rows], self.texts)

    def some(self, limit: int | None, seed: int = SUBSET_SEED) -> "Rows":
        """A random subset of at most `limit` rows, in the order of the file; the same at every call."""
        if limit is None or limit >= len(self):
            return self
        drawn = np.random.default_rng([seed, TASKS.index(self.task)]).permutation(len(self))[:limit]
        return self.take(np.sort(drawn))


def prepare(data: Data, tokenizer: object, *, share: float = 1.0, longest: int = 512,
            cache: Path | None = None, pair: str = "siamese") -> dict[tuple[str, str], Rows]:
    """Tokenize all splits: {(task, split): Rows}.

    share: share of the training rows to keep. longest: maximum number of tokens. pair: "siamese" or "cross".
    """
    kept = {key: kept_examples(split, share) for key, split in data.splits.items()}
    number: dict[str, int] = {}
    text = {key: np.array([[number.setdefault(t, len(number)) for t in e.texts] for e in kept[key]]) for key in kept}
    texts = Texts.encode(list(number), tokenizer, longest, cache)
    rows = {key: Rows(key[0], [e.id for e in kept[key]], text[key].reshape(-1, len(FORMATS[key[0]].texts)),
                      np.array([e.label for e in kept[key]], dtype=np.float32), texts) for key in kept}
    return cross(rows, longest) if pair == "cross" else rows


def kept_examples(split: Split, share: float) -> list:
    """The examples of a split; of the training split a random share, the same at every call, in the file's order."""
    if split.name != "train" or share >= 1:
        return split.examples
    order = np.random.default_rng([SUBSET_SEED, TASKS.index(split.task)]).permutation(len(split.examples))
    return [split.examples[i] for i in np.sort(order[: round(share * len(order))])]


def cross(rows: Mapping[Any, Rows], longest: int) -> dict[Any, Rows]:
    """Join each pair into one text, [CLS] a [SEP] b [SEP], with segment 1 from b on (Devlin et al. 2019).

    Each distinct pair is assembled once, from the token ids that the texts already have. A pair of more than `longest`
    tokens is truncated as by transformers' truncation="longest_first": the longer text first, then both.
    """
    texts = next(iter(rows.values())).texts
    nothing = len(texts.whole)  # index that stands for the missing second text of an SST row
    pairs = [np.pad(part.text, [(0, 0), (0, 2 - part.text.shape[1])], constant_values=nothing)
             for part in rows.values()]
    distinct, number = np.unique(np.concatenate(pairs), axis=0, return_inverse=True)
    numbers = np.split(number.reshape(-1, 1), np.cumsum([len(part) for part in pairs[:-1]]))
    joined = _join(texts, *distinct.T, longest)
    return {key: replace(part, text=text, texts=joined)
            for (key, part), text in zip(rows.items(), numbers, strict=True)}


def _join(texts: Texts, a: np.ndarray, b: np.ndarray, longest: int) -> Texts:
    """Join the texts a (S,) and b (S,), indices into `texts`. The index one past the last stands for no second text."""
    # x, y: lengths without [CLS] and [SEP]. y = -1 where there is no second text, which then adds no [SEP] either.
    x, y, room = texts.whole[a] - 2, np.append(texts.whole, 1)[b] - 2, longest - 3
    # short = min(x, y, floor(room / 2));   long = min(max(x, y), room - short)
    short = np.minimum(np.minimum(x, y), room // 2)
    long = np.minimum(np.maximum(x, y), room - short)
    first, second = np.where(x > y, long, short) + 2, np.where(x > y, short, long) + 1  # [CLS] a [SEP], b [SEP]
    lengths = np.column_stack([first, second]).ravel()
    sources = np.column_stack([texts.starts[a], texts.starts[b] + 1]).ravel()  # b without its [CLS]
    ends = lengths.cumsum()
    tokens = texts.tokens[np.repeat(sources, lengths) + _count(lengths)]
    tokens[ends - 1] = texts.tokens[-1]  # [SEP], also at the end of a truncated text
    segments = np.repeat(np.tile(np.array([0, 1], np.int8), len(a)), lengths)
    return Texts(tokens, np.append(0, ends[1::2]), x + y + 3, segments)


class Stream:
    """Endless batches of one task: shuffle all rows, split them into full batches, shuffle again after each pass.

    Batch k depends only on (rows, batch size, seed, k). So the position in a stream is one integer, and the length of
    an epoch does not affect it (docs/limits.md).
    """

    def __init__(self, rows: int, batch_size: int, seed: Sequence[int]) -> None:
        if rows < batch_size:
            raise LabError(f"a batch of {batch_size} cannot be drawn from {rows} training rows; lower batch_size")
        self.rows, self.batch_size, self.seed = rows, batch_size, list(seed)
        self._pass, self._order = -1, np.zeros(0, dtype=np.int64)

    def batch(self, k: int) -> np.ndarray:
        """Row indices (batch_size,) of batch k = 0, 1, ..."""
        number, place = divmod(k, self.rows // self.batch_size)
        if number != self._pass:
            self._pass, self._order = number, np.random.default_rng([*self.seed, number]).permutation(self.rows)
        return self._order[place * self.batch_size : (place + 1) * self.batch_size]


# A sampler chooses the task of each batch of an iteration: (training rows per task, epoch e = 1 ... E, E, generator).
Sampler = Callable[[Mapping[str, int], int, int, np.random.Generator], list[str]]


def parallel(sizes: Mapping[str, int], epoch: int, epochs: int, generator: np.random.Generator) -> list[str]:
    """The paper's sampler: one batch of every task. With updates=("separate",) this is known as round robin."""
    return list(sizes)


def proportional(sizes: Mapping[str, int], epoch: int, epochs: int, generator: np.random.Generator) -> list[str]:
    """Draw each batch's task with probability p ~ N, the task's number of training rows."""
    return draw_by_size(sizes, 1.0, generator)


def square_root(sizes: Mapping[str, int], epoch: int, epochs: int, generator: np.random.Generator) -> list[str]:
    """Draw each batch's task with probability p ~ N^0.5."""
    return draw_by_size(sizes, 0.5, generator)


def annealed(sizes: Mapping[str, int], epoch: int, epochs: int, generator: np.random.Generator) -> list[str]:
    """Draw with p ~ N^alpha; alpha falls from 1 to 0.2 over the epochs (Stickland and Murray 2019, section 4.3)."""
    # alpha = 1 - 0.8 (e - 1) / (E - 1)
    return draw_by_size(sizes, 1 - 0.8 * (epoch - 1) / (epochs - 1) if epochs > 1 else 1.0, generator)


def draw_by_size(sizes: Mapping[str, int], alpha: float, generator: np.random.Generator) -> list[str]:
    """Draw as many tasks as there are, with replacement and probability p ~ N^alpha, N the task's training rows."""
    p = np.array(list(sizes.values()), dtype=np.float64) ** alpha
    return generator.choice(list(sizes), size=len(sizes), p=p / p.sum()).tolist()


SAMPLERS: dict[str, Sampler] = {"parallel": parallel, "proportional": proportional, "square_root": square_root,
                                "annealed": annealed}


@dataclass(frozen=True)
class Batch:
    """Rows of one or more tasks, packed: the N tokens of all their sequences in one array."""

    ids: Tensor  # (N,)
    segments: Tensor | None  # (N,); None if all are 0
    positions: Tensor  # (N,)
    layout: Layout
    place: Tensor  # (S,) the position of sequence s in the layout, which is sorted by length
    parts: dict[str, tuple[int, int]]  # task -> (rows B, texts per row); its sequences are consecutive: u, then v
    labels: dict[str, Tensor]  # task -> (B,)
    texts: np.ndarray  # (S,) the text of each sequence, in the order of the parts
    # Where several processes share a batch, each has some of its rows:
    share: dict[str, float]  # task -> the share of the whole batch's rows that is here
    lengths: np.ndarray  # of all sequences of the whole batch, in the order of the parts
    mine: np.ndarray  # (S,) the numbers of these sequences among them, in the order of the layout

    @property
    def tokens(self) -> int:
        """The tokens of the whole batch."""
        return int(self.lengths.sum())

    @cached_property
    def places(self) -> Tensor | None:
        """(N,) where these tokens stand among those of the whole batch, shortest sequence first; None: all are here."""
        if len(self.mine) == len(self.lengths):
            return None
        shortest, starts = np.argsort(self.lengths, kind="stable"), np.empty_like(self.lengths)
        starts[shortest] = self.lengths[shortest].cumsum() - self.lengths[shortest]
        here = self.lengths[self.mine]
        return torch.from_numpy(np.repeat(starts[self.mine], here) + _count(here))

    def split(self, sentences: Tensor) -> dict[str, tuple[Tensor, ...]]:
        """Sentence vectors (S, H) -> {task: (u,) or (u, v)}, each (B, H)."""
        sizes = [rows for rows, width in self.parts.values() for _ in range(width)]
        vectors = iter(sentences.split(sizes))
        return {task: tuple(next(vectors) for _ in range(width)) for task, (_, width) in self.parts.items()}


def pack(rows: Mapping[str, Rows], device: torch.device | str = "cpu", rank: int = 0, ranks: int = 1) -> Batch:
    """Pack rows, {task: Rows}, into one batch. It has no padding, and nothing is tokenized here.

    ranks: the processes that share the batch. This one, number `rank`, takes every ranks-th row of each task.
    """
    texts = next(iter(rows.values())).texts
    mine = {task: part.take(np.arange(rank, len(part), ranks)) for task, part in rows.items()}
    sequences = np.concatenate([part.text.T.ravel() for part in mine.values()])
    ids, segments, positions, layout, order = _gather(texts, sequences, device)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    ends = np.cumsum([part.text.size for part in rows.values()])
    here = [np.arange(end - part.text.size, end).reshape(part.text.T.shape)[:, rank::ranks].ravel()
            for end, part in zip(ends, rows.values(), strict=True)]
    return Batch(
        ids=ids, segments=segments, positions=positions, layout=layout,
        place=torch.from_numpy(place).to(device),
        parts={task: part.text.shape for task, part in mine.items()},
        labels={task: torch.from_numpy(part.labels).to(device) for task, part in mine.items()},
        texts=sequences, share={task: len(part) / len(rows[task]) for task, part in mine.items()},
        lengths=np.concatenate([texts.lengths[part.text.T.ravel()] for part in rows.values()]),
        mine=np.concatenate(here)[order],
    )


def chunks(texts: Texts, which: np.ndarray, tokens: int = 4096,
           device: torch.device | str = "cpu") -> Iterator[tuple[np.ndarray, Tensor, Tensor | None, Tensor, Layout]]:
    """Yield texts sorted by length, in chunks of about `tokens` tokens.

    Each chunk is (indices of its texts, ids (N,), segments (N,), positions (N,), layout).
    """
    which = which[np.argsort(texts.lengths[which], kind="stable")]
    ends = texts.lengths[which].cumsum()
    for part in np.split(which, np.searchsorted(ends, np.arange(tokens, int(ends[-1]) if len(ends) else 0, tokens))):
        if len(part):
            *packed, _ = _gather(texts, part, device)
            yield part, *packed


def _gather(texts: Texts, which: np.ndarray,
            device: torch.device | str) -> tuple[Tensor, Tensor | None, Tensor, Layout, np.ndarray]:
    """Concatenate texts, shortest first: ids, segments and positions (N,), the layout, the order of the texts (S,)."""
    lengths = texts.lengths[which]
    order = np.argsort(lengths, kind="stable")
    lengths = lengths[order]
    positions = _count(lengths)
    index = positions + np.repeat(texts.starts[which[order]], lengths)
    ids, segments = (None if of is None else torch.from_numpy(of[index].astype(np.int64)).to(device)
                     for of in (texts.tokens, texts.segments))
    return ids, segments, torch.from_numpy(positions).to(device), Layout.of(lengths.tolist(), device), order


def _count(lengths: np.ndarray) -> np.ndarray:
    """0, 1, ..., n - 1 for each length n, concatenated."""
    return np.arange(lengths.sum()) - np.repeat(lengths.cumsum() - lengths, lengths)
