"""Poolings, heads, losses: from hidden states to one loss per task, and the multitask model that combines them.

docs/recipes.md lists the paper's recipes and their heads. The two sentences of a pair are encoded separately into
vectors u and v, which the head combines (siamese, Reimers and Gurevych 2019). As an extension of the paper, they can be
encoded together as one input with one vector u (cross, Devlin et al. 2019).

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
    """The mean over all tokens of a sentence, including [CLS] and [SEP]: (N, H) -> (S, H)."""
    return torch.segment_reduce(hidden.float(), "mean", lengths=layout.lengths, axis=0, unsafe=True)


def max_(bert: Bert, hidden: Tensor, layout: Layout) -> Tensor:
    """The elementwise maximum over all tokens of a sentence: (N, H) -> (S, H)."""
    return torch.segment_reduce(hidden.float(), "max", lengths=layout.lengths, axis=0, unsafe=True)


POOLINGS: dict[str, Callable[[Bert, Tensor, Layout], Tensor]] = {"cls": cls, "mean": mean, "max": max_}
FIRST_ONLY = {"cls"}  # poolings that read only the first token, so that the last layer can skip the others


class Sentiment(nn.Module):
    """SST: Linear(H, 5) on u, trained with cross entropy; the prediction is the argmax."""

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
    """Base of the QQP heads: binary cross entropy on the logit; the prediction is the rounded probability."""

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean binary cross entropy, in nats."""
        return F.binary_cross_entropy_with_logits(logits, labels)

    def predict(self, logits: Tensor) -> Tensor:
        """(B,) -> 0. or 1. (B,)"""
        return logits.sigmoid().round()


class LinearParaphrase(Paraphrase):
    """QQP `linear`, the paper's: Linear(2H, 1) on dropout([u; v]), or Linear(H, 1) on dropout(u) for cross pairs."""

    def __init__(self, H: int, vectors: int = 2) -> None:
        super().__init__()
        self.dropout, self.linear = nn.Dropout(0.3), nn.Linear(vectors * H, 1)

    def forward(self, *vectors: Tensor) -> Tensor:
        """One or two (B, H) -> logits (B,)"""
        return self.linear(self.dropout(torch.cat(vectors, -1))).squeeze(-1)


class DifferenceParaphrase(Paraphrase):
    """QQP `uv_abs`, beyond the paper: Linear(3H, 1) on dropout([u; v; |u - v|]) (Reimers and Gurevych 2019, section 3).
    """

    def __init__(self, H: int) -> None:
        super().__init__()
        self.dropout, self.linear = nn.Dropout(0.3), nn.Linear(3 * H, 1)

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        """(B, H), (B, H) -> logits (B,)"""
        return self.linear(self.dropout(torch.cat([u, v, (u - v).abs()], -1))).squeeze(-1)


class CosineParaphrase(Paraphrase):
    """QQP `cosine`, beyond the paper: a cos(u, v) + b, from a = 10 and b = -7: paraphrases have a cosine above 0.7."""

    def __init__(self, H: int) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.tensor(10.0)), nn.Parameter(torch.tensor(-7.0))

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        """(B, H), (B, H) -> logits (B,)"""
        return self.scale * F.cosine_similarity(u, v) + self.shift


class Similarity(nn.Module):
    """Base of the STS heads: squared error on the score from 0 to 5; the logit itself is the prediction."""

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean squared error, in squared points of the score."""
        return F.mse_loss(logits, labels)

    def predict(self, logits: Tensor) -> Tensor:
        """(B,) -> (B,)"""
        return logits


class LinearSimilarity(Similarity):
    """STS `linear`: Linear(2H, 1) on [u; v], or Linear(H, 1) on u for cross pairs."""

    def __init__(self, H: int, vectors: int = 2) -> None:
        super().__init__()
        self.linear = nn.Linear(vectors * H, 1)

    def forward(self, *vectors: Tensor) -> Tensor:
        """One or two (B, H) -> predicted score (B,)"""
        return self.linear(torch.cat(vectors, -1)).squeeze(-1)


class CosineEmbedding(Similarity):
    """STS `cosine_embedding` (2a): no weights; CosineEmbeddingLoss, margin 0. Pairs with a score >= 2.5 are similar."""

    def __init__(self, H: int) -> None:
        super().__init__()

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        """(B, H), (B, H) -> cos(u, v) (B,), which is also the prediction"""
        return F.cosine_similarity(u, v)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean over all pairs of 1 - cos for similar ones and max(0, cos) for others."""
        return torch.where(labels >= 2.5, 1 - logits, logits.clamp(min=0)).mean()


class CosineD(Similarity):
    """STS `cosine_d` (2bi): one Linear(H, H) for u and v, then 5 sigmoid(20 cos), which saturates above cos = 0.8."""

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
    """STS `cosine`, beyond the paper: a cos(u, v) + b, from a = 5 and b = 0; its gradient does not vanish."""

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
QQP_HEADS: dict[str, Callable[[int], nn.Module]] = {
    "linear": LinearParaphrase, "uv_abs": DifferenceParaphrase, "cosine": CosineParaphrase}
FROM_ONE = {"linear"}  # heads of pairs that also work with the one vector of a cross pair: __init__(H, vectors)


class MultitaskModel(nn.Module):
    """One shared encoder and one head per task. LabError: pair "cross" with an encoder that has only one segment."""

    step: int | None = None  # iteration after which the weights were saved, if they come from a run

    def __init__(self, bert: Bert, pooling: str = "cls", sts_head: str = "linear", pair: str = "siamese",
                 qqp_head: str = "linear") -> None:
        super().__init__()
        H = bert.config.hidden_size
        vectors = 1 if pair == "cross" else 2  # per pair
        self.bert, self.pooling, self.pair = bert, pooling, pair
        if pair == "cross" and bert.config.type_vocab_size < 2:
            raise LabError("pair 'cross' needs an encoder with two segments, and this encoder has one "
                           "(type_vocab_size 1); use pair 'siamese'")
        self.heads = nn.ModuleDict({"sst": Sentiment(H), **{
            task: heads[name](H, vectors) if name in FROM_ONE else heads[name](H)
            for task, heads, name in (("qqp", QQP_HEADS, qqp_head), ("sts", STS_HEADS, sts_head))}})

    def sentences(self, ids: Tensor, segments: Tensor | None, positions: Tensor, layout: Layout) -> Tensor:
        """Packed tokens (N,) -> one vector per sentence or cross pair (S, H), in the order of the layout."""
        return self.pool(self.bert.embed(ids, segments, positions), layout)

    def pool(self, embeddings: Tensor, layout: Layout) -> Tensor:
        """The encoder layers, then the pooling: (N, H) -> (S, H), in the order of the layout."""
        first_only = self.pooling in FIRST_ONLY
        hidden = self.bert.encode_packed(embeddings, layout, first_only)
        layout = layout.first_tokens() if first_only else layout
        return POOLINGS[self.pooling](self.bert, hidden, layout).float()

    def embed(self, batch: Batch) -> Tensor:
        """The embedding layer: a batch -> (N, H). SMART adds its noise to the result."""
        return self.bert.embed(batch.ids, batch.segments, batch.positions)

    def logits(self, embeddings: Tensor, batch: Batch) -> dict[str, Tensor]:
        """From the output of `embed` (N, H) to the logits of each task, in one pass over all sentences of the batch."""
        return self.answers(self.pool(embeddings, batch.layout).index_select(0, batch.place), batch)

    def answers(self, sentences: Tensor, batch: Batch) -> dict[str, Tensor]:
        """From the vectors of a batch's sentences (S, H), in the order of its rows, to the logits of each task."""
        return {task: self.heads[task](*vectors).float() for task, vectors in batch.split(sentences).items()}

    def losses(self, batch: Batch, logits: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
        """The mean loss of each task in the batch."""
        logits = self.logits(self.embed(batch), batch) if logits is None else logits
        return {task: self.heads[task].loss(logits[task], batch.labels[task]) for task in logits}
