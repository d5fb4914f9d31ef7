"""Poolings, heads, losses: from hidden states to one loss a task, and the multitask model that holds them.

Which head and which loss the paper has for each task stands in PAPER.md's table. The sentences of a pair are encoded
one at a time, u and v, and meet in the head (siamese, Reimers and Gurevych 2019); or beyond the paper both are one
input, u, and meet in every layer (cross, Devlin et al. 2019).

Shapes: N packed tokens, S sequences, B rows of a task, H hidden size, C classes.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lab.batches import Batch
from lab.bert import Bert, Layout
from lab.errors import LabError


def cls(bert: Bert, hidden: Tensor, layout: Layout) -> Tensor:
    """BERT's pooler, tanh(W h + b) on [CLS]: (N, H) -> (S, H)."""
    return bert.pooler(hidden.index_select(0, layout.starts))


def mean(bert: Bert, hidden: Tensor, layout: Layout) -> Tensor:
    """The mean over a sentence's real tokens, [CLS] and [SEP] included: (N, H) -> (S, H)."""
    return torch.segment_reduce(hidden.float(), "mean", lengths=layout.lengths, axis=0, unsafe=True)


def max_(bert: Bert, hidden: Tensor, layout: Layout) -> Tensor:
    """The maximum over a sentence's real tokens, entry by entry: (N, H) -> (S, H)."""
    return torch.segment_reduce(hidden.float(), "max", lengths=layout.lengths, axis=0, unsafe=True)


POOLINGS: dict[str, Callable[[Bert, Tensor, Layout], Tensor]] = {"cls": cls, "mean": mean, "max": max_}
FIRST_ONLY = {"cls"}  # poolings that read a sentence's first token alone: the last layer then makes no other


class Sentiment(nn.Module):
    """SST: Linear(H, 5) on u, cross entropy, argmax."""

    def __init__(self, H: int) -> None:
        super().__init__()
        self.dropout, self.linear = nn.Dropout(0.3), nn.Linear(H, 5)

    def forward(self, u: Tensor) -> Tensor:
        """(B, H) -> logits (B, 5)"""
        return self.linear(self.dropout(u))

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross entropy, in nats."""
        return F.cross_entropy(logits, labels.long())

    def predict(self, logits: Tensor) -> Tensor:
        """(B, 5) -> the class of the largest logit (B,)"""
        return logits.argmax(-1)


class Paraphrase(nn.Module):
    """QQP: Linear(2H, 1) on [u; v], or Linear(H, 1) on a cross pair's u, binary cross entropy, rounded probability."""

    def __init__(self, H: int, vectors: int = 2) -> None:
        super().__init__()
        self.dropout, self.linear = nn.Dropout(0.3), nn.Linear(vectors * H, 1)

    def forward(self, *vectors: Tensor) -> Tensor:
        """One or two (B, H) -> logits (B,)"""
        return self.linear(self.dropout(torch.cat(vectors, -1))).squeeze(-1)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean binary cross entropy, in nats."""
        return F.binary_cross_entropy_with_logits(logits, labels)

    def predict(self, logits: Tensor) -> Tensor:
        """(B,) -> 0. or 1. (B,)"""
        return logits.sigmoid().round()


class Similarity(nn.Module):
    """What the STS heads share: squared error on the raw score 0-5, and a logit that is itself the prediction."""

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean squared error, in squared score points."""
        return F.mse_loss(logits, labels)

    def predict(self, logits: Tensor) -> Tensor:
        """(B,) -> (B,)"""
        return logits


class LinearSimilarity(Similarity):
    """STS `linear`: Linear(2H, 1) on [u; v], or Linear(H, 1) on a cross pair's u."""

    def __init__(self, H: int, vectors: int = 2) -> None:
        super().__init__()
        self.linear = nn.Linear(vectors * H, 1)

    def forward(self, *vectors: Tensor) -> Tensor:
        """One or two (B, H) -> predicted score (B,)"""
        return self.linear(torch.cat(vectors, -1)).squeeze(-1)


class CosineEmbedding(Similarity):
    """STS `cosine_embedding` (2a): no weights, CosineEmbeddingLoss with margin 0; from 2.5 on a score is similar."""

    def __init__(self, H: int) -> None:
        super().__init__()

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        """(B, H), (B, H) -> cos(u, v) (B,), which is the prediction too"""
        return F.cosine_similarity(u, v)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean of 1 - cos over the similar and of max(0, cos) over the others."""
        return torch.where(labels >= 2.5, 1 - logits, logits.clamp(min=0)).mean()


class CosineD(Similarity):
    """STS `cosine_d` (2bi): one Linear(H, H) for u and v, then 5 sigmoid(20 cos), which saturates from cos = .8."""

    def __init__(self, H: int) -> None:
        super().__init__()
        self.linear = nn.Linear(H, H)

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        """(B, H), (B, H) -> predicted score (B,)"""
        return 5 * torch.sigmoid(20 * F.cosine_similarity(self.linear(u), self.linear(v)))


class Cosine2d1(Similarity):
    """STS `cosine_2d1` (2bii): Linear(2H + 1, 1) on dropout([u; v; cos(u, v)])."""

    def __init__(self, H: int) -> None:
        super().__init__()
        self.dropout, self.linear = nn.Dropout(0.3), nn.Linear(2 * H + 1, 1)

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        """(B, H), (B, H) -> predicted score (B,)"""
        cosine = F.cosine_similarity(u, v).unsqueeze(-1)
        return self.linear(self.dropout(torch.cat([u, v, cosine], -1))).squeeze(-1)


class Cosine(Similarity):
    """STS `cosine`, beyond the paper: a cos(u, v) + b with a = 5 and b = 0 at first; its gradient never vanishes."""

    def __init__(self, H: int) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.tensor(5.0)), nn.Parameter(torch.tensor(0.0))

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        """(B, H), (B, H) -> predicted score (B,)"""
        return self.scale * F.cosine_similarity(u, v) + self.shift


class Difference(Similarity):
    """STS `uv_abs`, beyond the paper: Linear(3H, 1) on [u; v; |u - v|] (Reimers and Gurevych 2019, section 3)."""

    def __init__(self, H: int) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * H, 1)

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        """(B, H), (B, H) -> predicted score (B,)"""
        return self.linear(torch.cat([u, v, (u - v).abs()], -1)).squeeze(-1)


STS_HEADS: dict[str, Callable[[int], nn.Module]] = {
    "linear": LinearSimilarity, "cosine_embedding": CosineEmbedding, "cosine_d": CosineD, "cosine_2d1": Cosine2d1,
    "cosine": Cosine, "uv_abs": Difference}
FROM_ONE = {"linear"}  # STS heads that can do with a cross pair's one vector: __init__(H, vectors)


class MultitaskModel(nn.Module):
    """One shared encoder, and a head a task. LabError: pair "cross" with an encoder that knows one segment alone."""

    step: int | None = None  # the iteration after which the weights were saved, where they come from a run

    def __init__(self, bert: Bert, pooling: str = "cls", sts_head: str = "linear", pair: str = "siamese") -> None:
        super().__init__()
        H, similarity = bert.config.hidden_size, STS_HEADS[sts_head]
        vectors = 1 if pair == "cross" else 2  # of a pair
        self.bert, self.pooling, self.pair = bert, pooling, pair
        if pair == "cross" and bert.config.type_vocab_size < 2:
            raise LabError("pair 'cross' tells a pair's sentences apart by two segments, and this encoder has one "
                           "(type_vocab_size 1); use pair 'siamese'")
        self.heads = nn.ModuleDict({
            "sst": Sentiment(H), "qqp": Paraphrase(H, vectors),
            "sts": similarity(H, vectors) if sts_head in FROM_ONE else similarity(H)})

    def sentences(self, ids: Tensor, segments: Tensor | None, positions: Tensor, layout: Layout) -> Tensor:
        """Packed tokens (N,) -> one vector a sentence, or cross pair, (S, H), in the layout's order."""
        return self.pool(self.bert.embed(ids, segments, positions), layout)

    def pool(self, embeddings: Tensor, layout: Layout) -> Tensor:
        """The encoder's layers, then the pooling: (N, H) -> (S, H), in the layout's order."""
        first_only = self.pooling in FIRST_ONLY
        hidden = self.bert.encode_packed(embeddings, layout, first_only)
        layout = layout.first_tokens() if first_only else layout
        return POOLINGS[self.pooling](self.bert, hidden, layout).float()

    def embed(self, batch: Batch) -> Tensor:
        """The embedding layer alone: a batch -> (N, H), where SMART adds its noise."""
        return self.bert.embed(batch.ids, batch.segments, batch.positions)

    def logits(self, embeddings: Tensor, batch: Batch) -> dict[str, Tensor]:
        """From `embed`'s output (N, H) to each task's logits, in one pass over all of the batch's sentences."""
        sentences = self.pool(embeddings, batch.layout).index_select(0, batch.place)
        return {task: self.heads[task](*vectors).float() for task, vectors in batch.split(sentences).items()}

    def losses(self, batch: Batch, logits: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
        """The mean loss of each task in the batch."""
        logits = self.logits(self.embed(batch), batch) if logits is None else logits
        return {task: self.heads[task].loss(logits[task], batch.labels[task]) for task in logits}
