"""Dropout whose masks belong to the rows of a batch, however many processes share it.

torch's dropout draws as many numbers as its input has, so that two processes with half of a batch each would draw other
masks than one process with all of it. Here each process draws the masks of the whole batch, from a generator that all
of them seed alike, and takes those of its own rows. The masks of one process are other numbers than torch's own.

Shapes: N packed tokens, S sequences, H hidden size, A heads, L tokens of a sequence, B rows of a task; all of them of
this process's share of the batch.
"""

import contextlib
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from lab.batches import Batch, Rows
from lab.tasks import MultitaskModel


class Masks:
    """Draws the masks of whole batches, and gives this process its part. rank, size: as in `lab.runs.ranks.Ranks`."""

    def __init__(self, seed: int, rank: int, size: int) -> None:
        self.seed, self.rank, self.size = seed, rank, size
        self.step = self.passes = 0
        self.batch: Batch | None = None  # what is passed through the model; None: torch's own dropout

    @contextlib.contextmanager
    def of(self, rows: Mapping[str, Rows], batch: Batch, step: int) -> Iterator[None]:
        """While a batch of an iteration passes through the model, as often as it does. rows: of the whole batch."""
        self.step, self.passes = step, self.passes + 1 if step == self.step else 0
        seed = np.random.SeedSequence([self.seed, step, self.passes]).generate_state(1, np.uint64)
        self.generator = torch.Generator(batch.ids.device).manual_seed(int(seed[0] >> np.uint64(1)))
        self.rows, self.batch = {task: len(part) for task, part in rows.items()}, batch
        try:
            yield
        finally:
            self.batch = None

    def kept(self, *shape: int, p: float) -> Tensor:
        """Which numbers of an array of this shape are kept, each with probability 1 - p."""
        device = self.generator.device
        return torch.rand(shape, generator=self.generator, device=device) >= p

    def hidden(self, x: Tensor, p: float) -> Tensor:
        """For x (N, H), or for the first tokens (S, H)."""
        batch = self.batch
        if len(x) == len(batch.mine):
            return self.kept(len(batch.lengths), x.shape[-1], p=p)[torch.from_numpy(batch.mine)]
        kept, places = self.kept(batch.tokens, x.shape[-1], p=p), batch.places
        return kept if places is None else kept[places]

    def attention(self, x: Tensor, p: float, group: int) -> Tensor:
        """For the attention x (S of a group, A, L, L) of queries on keys, or of the first tokens alone (S, A, 1, L)."""
        batch = self.batch
        _, A, queries, _ = x.shape
        first_only = queries != batch.layout.groups[group].L
        if group == 0:  # a layer's groups follow each other, and share what is drawn for all sequences
            sizes = A * batch.lengths * (1 if first_only else batch.lengths)
            self.ends, self.drawn = sizes.cumsum(), self.kept(int(sizes.sum()), p=p)
        kept = torch.ones(x.shape, dtype=torch.bool, device=x.device)  # padding is masked anyway
        before = sum(of.B for of in batch.layout.groups[:group])
        for place, number in enumerate(batch.mine[before : before + len(x)]):
            length, end = int(batch.lengths[number]), int(self.ends[number])
            of = (A, 1 if first_only else length, length)
            kept[place, :, : of[1], :length] = self.drawn[end - of[0] * of[1] * of[2] : end].view(of)
        return kept

    def head(self, x: Tensor, p: float, task: str) -> Tensor:
        """For a head's input (B, width)."""
        return self.kept(self.rows[task], x.shape[-1], p=p)[self.rank :: self.size]


class RowDropout(nn.Module):
    """Stands in the place of an nn.Dropout. place: "hidden", "attention", or the task of a head."""

    def __init__(self, p: float, masks: Masks, place: str) -> None:
        super().__init__()
        self.p, self.masks, self.place, self.group = p, masks, place, 0

    def forward(self, x: Tensor) -> Tensor:
        """x with a share p of its numbers set to 0, and the others divided by 1 - p; x itself outside of training."""
        masks = self.masks
        if masks.batch is None:
            return nn.functional.dropout(x, self.p, self.training)
        if not self.training or not self.p:
            return x
        if self.place == "hidden":
            kept = masks.hidden(x, self.p)
        elif self.place == "attention":
            kept = masks.attention(x, self.p, self.group)
            self.group = (self.group + 1) % len(masks.batch.layout.groups)
        else:
            kept = masks.head(x, self.p, self.place)
        return x * kept / (1 - self.p)


def by_rows(model: MultitaskModel, masks: Masks) -> None:
    """Put a `RowDropout` in the place of each dropout of a model."""
    for path, module in list(model.named_modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Dropout):
                place = (path.split(".")[1] if path.startswith("heads.") else
                         "attention" if name == "attention_dropout" else "hidden")
                setattr(module, name, RowDropout(child.p, masks, place))
