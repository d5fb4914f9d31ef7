"""BERT's encoder from scratch: embeddings, attention, add & norm, feed-forward, pooler.

Devlin et al. 2019 (BERT), section 3, with the encoder of Vaswani et al. 2017, section 3. It computes the same as
`transformers.BertModel`, but on real tokens only: a batch of sentences of different lengths is *packed* into one array
of N tokens, so that no matrix product includes a [PAD]. Only attention needs to know where each sentence begins and
ends, and it looks that up in a `Layout`.

Shapes: B sequences, L their padded length, N real tokens of all B together, H hidden size, A heads, D = H / A.
"""

import json
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lab.errors import LabError

ACTIVATIONS = {"gelu": F.gelu, "relu": F.relu}  # by the names of transformers, which has three for one formula:
ACTIVATIONS |= dict.fromkeys(("gelu_new", "gelu_fast", "gelu_pytorch_tanh"), lambda x: F.gelu(x, approximate="tanh"))
# Padding per real token up to which one larger group of sequences is faster than two groups (measured).
PADDING_ALLOWED = 0.4
MOST_BYTES = 1_000_000  # of a config.json


@dataclass(frozen=True)
class BertConfig:
    """The sizes of an encoder, named as in a Hugging Face `config.json`. The defaults are bert-base-uncased's."""

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    initializer_range: float = 0.02

    def __post_init__(self) -> None:
        if self.hidden_size % self.num_attention_heads:
            raise LabError(f"hidden_size {reprlib.repr(self.hidden_size)} is not a multiple of num_attention_heads "
                           f"{reprlib.repr(self.num_attention_heads)}")
        if self.hidden_act not in ACTIVATIONS:
            raise LabError(f"hidden_act {reprlib.repr(self.hidden_act)} is not one of {', '.join(ACTIVATIONS)}")

    @classmethod
    def from_json(cls, path: Path) -> Self:
        """Read a `config.json`. Fields that the encoder does not need are ignored. LabError: no BERT, a bad value."""
        try:
            if path.stat().st_size > MOST_BYTES:
                raise LabError(f"{path}: {path.stat().st_size:,} bytes; an encoder's configuration has a few hundred")
            entries = json.loads(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError) as error:
            raise LabError(f"{path}: cannot be read as JSON ({error})") from None
        if not isinstance(entries, dict):
            raise LabError(f"{path}: not the configuration of an encoder: an object of fields is expected")
        if (kind := entries.get("model_type", "bert")) != "bert":
            raise LabError(f"{path}: a model of the type {reprlib.repr(kind)}; the lab's encoder is BERT, of the type "
                           "'bert', without DistilBERT, RoBERTa and other relatives")
        for field, only in (("position_embedding_type", "absolute"), ("is_decoder", False)):
            if (entries.get(field) or only) != only:
                raise LabError(f"{path}: {field} must be {only!r}, not {reprlib.repr(entries[field])}")
        sizes = {f.name: entries[f.name] for f in fields(cls) if f.name in entries}
        for name, value in sizes.items():
            shown = reprlib.repr(value)  # which is short
            kind = type(getattr(cls, name))  # the type of the default
            if kind is int and not (type(value) is int and value > 0):
                raise LabError(f"{path}: {name} must be a whole number above 0, not {shown}")
            if kind is float and not (type(value) in (int, float) and 0 <= value <= 1):
                raise LabError(f"{path}: {name} must be a number from 0 to 1, not {shown}")
            if kind is str and type(value) is not str:
                raise LabError(f"{path}: {name} must be a string, not {shown}")
        try:
            return cls(**sizes)
        except LabError as error:
            raise LabError(f"{path}: {error}") from None


@dataclass(frozen=True)
class Group:
    """Sequences of similar length, which attention processes as one padded (B, L) block."""

    tokens: int  # the number of their packed tokens, which are consecutive
    B: int
    L: int
    slots: Tensor | None  # (tokens,) index of each token among the B * L slots; None without padding
    bias: Tensor | None  # (B, 1, 1, L), 0 at tokens and -inf at padding; None without padding

    def pad(self, x: Tensor) -> Tensor:
        """(tokens, H) -> (B, L, H)"""
        if self.slots is not None:
            x = x.new_zeros(self.B * self.L, x.shape[-1]).index_copy(0, self.slots, x)
        return x.view(self.B, self.L, -1)

    def unpad(self, x: Tensor) -> Tensor:
        """(B, L, H) -> (tokens, H)"""
        x = x.reshape(self.B * self.L, -1)
        return x if self.slots is None else x.index_select(0, self.slots)


@dataclass(frozen=True)
class Layout:
    """The position of each sequence in a packed array of N tokens, and the groups in which attention processes them."""

    lengths: Tensor  # (B,)
    starts: Tensor  # (B,) the index of each sequence's first token
    groups: tuple[Group, ...]

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device | str = "cpu") -> Self:
        """The layout of sequences of these lengths. Sorting by length gives the fewest groups and the least padding."""
        cuts, real = [0], 0
        for i, length in enumerate(lengths):
            longest = max(lengths[cuts[-1] : i + 1])
            real += length
            if (i + 1 - cuts[-1]) * longest > (1 + PADDING_ALLOWED) * real:
                cuts.append(i)
                real = length
        groups = []
        for start, stop in zip(cuts, [*cuts[1:], len(lengths)], strict=True):
            part = np.asarray(lengths[start:stop])
            B, L = len(part), int(part.max())
            slots = bias = None
            if (part != L).any():
                here = np.arange(L) < part[:, None]  # (B, L), True at tokens
                slots = torch.from_numpy(here.ravel().nonzero()[0]).to(device)
                bias = torch.from_numpy(np.where(here, 0.0, -np.inf).astype(np.float32)).view(B, 1, 1, L).to(device)
            groups.append(Group(int(part.sum()), B, L, slots, bias))
        counts = torch.tensor(lengths, dtype=torch.long)
        return cls(counts.to(device), (counts.cumsum(0) - counts).to(device), tuple(groups))

    def first_tokens(self) -> Self:
        """The layout if each sequence is reduced to its first token."""
        ones = torch.ones_like(self.lengths)
        return type(self)(ones, ones.cumsum(0) - 1, ())


class Layer(nn.Module):
    """One encoder layer: multi-head attention, then feed-forward, each followed by dropout, add & norm."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        H = config.hidden_size
        self.heads, self.activation = config.num_attention_heads, ACTIVATIONS[config.hidden_act]
        self.query, self.key, self.value = nn.Linear(H, H), nn.Linear(H, H), nn.Linear(H, H)
        self.attention_dropout = nn.Dropout(config.attention_probs_dropout_prob)
        self.attention_out = nn.Linear(H, H)
        self.attention_norm = nn.LayerNorm(H, eps=config.layer_norm_eps)
        self.up = nn.Linear(H, config.intermediate_size)
        self.down = nn.Linear(config.intermediate_size, H)
        self.out_norm = nn.LayerNorm(H, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, layout: Layout, first_only: bool = False, maps: list[Tensor] | None = None) -> Tensor:
        """(N, H) -> (N, H); with first_only only the first token of each sequence is computed: (N, H) -> (B, H).

        maps: a list to which the attention (B, A, L, L) of each group is appended, for display.
        """
        queried = x.index_select(0, layout.starts) if first_only else x
        x = self.attention_norm(queried + self.dropout(self.attention_out(self.attend(x, queried, layout, maps))))
        return self.out_norm(x + self.dropout(self.down(self.activation(self.up(x)))))

    def attend(self, x: Tensor, queried: Tensor, layout: Layout, maps: list[Tensor] | None = None) -> Tensor:
        """Multi-head attention, (N, H) -> (N, H): each query attends to all tokens of its own sequence.

        queried: the tokens that make queries; x itself, or the first token of each sequence (B, H).
        """
        sizes, outputs = [group.tokens for group in layout.groups], []
        first_only = queried is not x
        queries = self.query(queried).split([group.B for group in layout.groups] if first_only else sizes)
        parts = (projection(x).split(sizes) for projection in (self.key, self.value))
        for group, q, *kv in zip(layout.groups, queries, *parts, strict=True):
            q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, A, L, D); for q, L is 1 with first_only
                       for t in (q.unsqueeze(1) if first_only else group.pad(q), *map(group.pad, kv)))
            # softmax(q k' / sqrt(D)) v                                       Vaswani et al. 2017, equation 1
            scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5  # (B, A, L, L)
            if group.bias is not None:
                scores = scores + group.bias.to(scores.dtype)
            attention = scores.softmax(-1)
            if maps is not None:
                maps.append(attention.detach())
            context = self.attention_dropout(attention) @ v  # (B, A, L, D)
            context = context.transpose(1, 2)
            outputs.append(context.flatten(1) if first_only else group.unpad(context))
        return torch.cat(outputs)


class Bert(nn.Module):
    """The encoder: `embed`, then `encode`. Inputs and outputs are padded, the computation between is packed.

    `encode_packed` takes packed tokens directly, for callers that already have them (`lab.batches`).
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        H = config.hidden_size
        self.word = nn.Embedding(config.vocab_size, H)
        self.position = nn.Embedding(config.max_position_embeddings, H)
        self.segment = nn.Embedding(config.type_vocab_size, H)
        self.norm = nn.LayerNorm(H, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.pooler = nn.Sequential(nn.Linear(H, H), nn.Tanh())  # tanh(W h + b) on the hidden state of [CLS]
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=config.initializer_range)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def embed(self, ids: Tensor, segments: Tensor | None = None, positions: Tensor | None = None) -> Tensor:
        """The embedding layer: word + position + segment embeddings, layer norm, dropout.

        ids (B, L) -> (B, L, H); or packed: ids (N,) and positions (N,) -> (N, H). Segments are 0 by default.
        """
        if positions is None:
            if ids.shape[-1] > self.config.max_position_embeddings:
                raise LabError(f"{ids.shape[-1]} tokens, but this encoder has {self.config.max_position_embeddings} "
                               "positions; truncate the text")
            positions = torch.arange(ids.shape[-1], device=ids.device).expand_as(ids)
        segment = self.segment.weight[0] if segments is None else self.segment(segments)
        return self.dropout(self.norm(self.word(ids) + self.position(positions) + segment))

    def encode(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        """The encoder layers: embeddings (B, L, H), mask (B, L) with 1 at tokens -> hidden (B, L, H), 0 at padding."""
        B, L, H = embeddings.shape
        lengths = mask.ne(0).sum(1)
        lengths, order = lengths.sort()
        real = mask.ne(0)[order].nonzero()  # (N, 2): sequence (shortest first) and position
        index = order[real[:, 0]] * L + real[:, 1]
        layout = Layout.of([length for length in lengths.tolist() if length], embeddings.device)
        hidden = self.encode_packed(embeddings.reshape(B * L, H).index_select(0, index), layout)
        return hidden.new_zeros(B * L, H).index_copy(0, index, hidden).view(B, L, H)

    def encode_packed(self, x: Tensor, layout: Layout, first_only: bool = False,
                      maps: list[list[Tensor]] | None = None) -> Tensor:
        """The encoder layers on packed tokens: (N, H) -> (N, H).

        first_only: return the hidden state of each sequence's [CLS] only, (N, H) -> (B, H). The last layer then does
        not compute the other tokens. maps: a list to which each layer appends its attention, a list over the groups.
        """
        for layer in self.layers:
            attention = None if maps is None else []
            x = layer(x, layout, first_only and layer is self.layers[-1], attention)
            if maps is not None:
                maps.append(attention)
        return x

    @classmethod
    def from_pretrained(cls, name: str | Path) -> Self:
        """Load a pretrained encoder: "minilm", a folder in the Hugging Face layout, or a hub id."""
        from lab.encoders.sources import load_encoder

        return load_encoder(name)[0]

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors in the layout that `transformers.BertModel.from_pretrained` reads."""
        from lab.encoders.formats import save_encoder

        save_encoder(self, Path(folder))
