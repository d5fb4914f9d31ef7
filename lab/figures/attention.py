"""What a model sees of given sentences: their tokens and its attention, and figures of attention and of the answer.

Attention shows from which tokens the next vector of a token is computed (Vaswani et al. 2017, section 3.2). It does not
show on which tokens the answer depends (Jain and Wallace 2019).

Shapes: L tokens, A heads, H hidden size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from lab.data import CLASS_NAMES
from lab.figures.panels import escape
from lab.figures.styles import BLUE, ORANGE

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from lab.tasks import MultitaskModel

TILE = 24  # tokens in each square of the grid of all heads
SHOWN = 40  # tokens in the figure of a long text: the labels of more could not be read


@dataclass(frozen=True)
class Seen:
    """One input of the encoder: a sentence, or both sentences of a cross pair."""

    tokens: list[str]  # (L), WordPiece, with [CLS] and [SEP]
    ids: list[int]
    segments: list[int]
    cut: int  # tokens that were cut off, since the encoder has no positions for them
    attention: "np.ndarray"  # (layers, A, L, L): weight of token j for token i; each row i sums to 1

    def weights(self, layer: int, head: int | None = None) -> "np.ndarray":
        """The weights (L, L) of one layer and head, both counted from 1, or the mean over the heads of the layer."""
        heads = self.attention[layer - 1]
        return heads.mean(0) if head is None else heads[head - 1]


def see(model: "MultitaskModel", tokenizer: object, texts: Sequence[str]) -> list[Seen]:
    """What the model sees of one sentence or of a pair: an input for each sentence, or one for both in a cross model.

    All tokens of every layer are computed. In training the last layer computes only what the pooling reads.
    """
    import numpy as np
    import torch

    from lab.batches import chunks
    from lab.evaluate import as_rows

    joined = len(texts) == 2 and model.pair == "cross"
    rows = as_rows(model, tokenizer, "sts" if joined else "sst", [tuple(texts)] if joined else [(t,) for t in texts])
    part, seen = next(iter(rows.values())), []
    model.eval()
    for number in part.text[:, 0]:
        _, ids, segments, positions, layout = next(chunks(part.texts, np.array([number])))
        maps: list[list[torch.Tensor]] = []
        with torch.no_grad():
            model.bert.encode_packed(model.bert.embed(ids, segments, positions), layout, maps=maps)
        seen.append(Seen(
            tokens=tokenizer.convert_ids_to_tokens(ids.tolist()), ids=ids.tolist(),
            segments=[0] * len(ids) if segments is None else segments.tolist(),
            cut=int(part.texts.whole[number]) - len(ids),
            attention=torch.cat([groups[0] for groups in maps]).numpy()))
    return seen


def heatmap(seen: Seen, layer: int, head: int | None = None, most: float = 0) -> go.Figure:
    """Attention as a matrix: a row for each query token, a column for each key token.

    most: the colour scale ends at this weight or higher, so that figures beside each other can have one scale.
    """
    weights, words = seen.weights(layer, head)[:SHOWN, :SHOWN], [escape(token) for token in seen.tokens[:SHOWN]]
    heads, places = "mean of heads" if head is None else f"head {head}", list(range(len(words)))
    heat = go.Heatmap(
        z=weights.round(4).tolist(), x=places, y=places, zmin=0, zmax=max(0.01, most, float(weights.max())), xgap=1,
        ygap=1, colorscale="Cividis", customdata=[[f"{a} → {b}" for b in words] for a in words],
        hovertemplate="%{customdata}: %{z:.3f}<extra></extra>",
        colorbar={"thickness": 10, "tickformat": ".2f", "outlinewidth": 0})
    ticks = {"tickvals": places, "ticktext": words, "showgrid": False, "zeroline": False, "tickfont": {"size": 11}}
    return go.Figure(heat, dict(
        template="none", height=max(320, 130 + 20 * len(words)), margin={"t": 40, "l": 10, "r": 10, "b": 10},
        title={"text": f"Attention, layer {layer}, {heads}", "font": {"size": 14}},
        xaxis=ticks | {"tickangle": -60, "automargin": True, "title": {"text": "key token"}},
        yaxis=ticks | {"autorange": "reversed", "automargin": True, "title": {"text": "query token"}}))


def grid(seen: Seen, layer: int, head: int | None = None) -> go.Figure:
    """The attention of all layers (rows) and heads (columns), each a small square; the chosen one has a frame.

    Each square has a colour scale of its own, from 0 to its largest weight. A marker over each can be clicked; its
    customdata is (layer, head).
    """
    import numpy as np

    maps = seen.attention[:, :, :TILE, :TILE]
    layers, heads, n = maps.shape[:3]
    top = maps.max((2, 3), keepdims=True)
    tiles = np.full((layers, heads, n + 1, n + 1), np.nan)
    tiles[:, :, :n, :n] = maps / np.where(top > 0, top, 1)
    z = tiles.transpose(0, 2, 1, 3).reshape(layers * (n + 1), heads * (n + 1))
    middle = np.arange(max(layers, heads)) * (n + 1) + (n - 1) / 2
    cells = [(i, j) for i in range(layers) for j in range(heads)]
    frames = [(layer - 1, j) for j in (range(heads) if head is None else [head - 1])]
    shapes = [{"type": "rect", "x0": j * (n + 1) - 1, "x1": j * (n + 1) + n, "y0": i * (n + 1) - 1,
               "y1": i * (n + 1) + n, "line": {"color": ORANGE, "width": 2}} for i, j in frames]
    heat = go.Heatmap(z=z.round(3).tolist(), zmin=0, zmax=1, colorscale="Cividis", showscale=False, hoverinfo="skip")
    marks = go.Scatter(x=[middle[j] for _, j in cells], y=[middle[i] for i, _ in cells], mode="markers",
                       customdata=[(i + 1, j + 1) for i, j in cells], showlegend=False,
                       marker={"size": 22, "symbol": "square", "opacity": 0.01, "color": ORANGE},
                       selected={"marker": {"opacity": 0.01}}, unselected={"marker": {"opacity": 0.01}},
                       hovertemplate="layer %{customdata[0]}, head %{customdata[1]}<extra></extra>")
    axis = {"showgrid": False, "zeroline": False, "tickvals": [], "fixedrange": True}
    return go.Figure([heat, marks], dict(
        template="none", height=120 + 26 * layers, margin={"t": 40, "l": 30, "r": 10, "b": 30}, shapes=shapes,
        title={"text": "Attention, all layers and heads", "font": {"size": 14}},
        xaxis=axis | {"title": {"text": f"heads 1 to {heads}"}},
        yaxis=axis | {"title": {"text": f"layers 1 to {layers}"}, "autorange": "reversed"}))


def bars(answers: "pd.DataFrame") -> go.Figure:
    """The probabilities of the five classes of SST for one or two sentences. answers: as `lab.predict` gives them."""
    drawn = [go.Bar(
        y=list(CLASS_NAMES["sst"]), x=[float(row[f"p{c}"]) for c in range(5)], orientation="h",
        name=f"sentence {i + 1}",
        marker_color=(BLUE, ORANGE)[i % 2], texttemplate="%{x:.0%}", textposition="outside", cliponaxis=False,
        hovertemplate="%{y}: %{x:.1%}<extra></extra>") for i, (_, row) in enumerate(answers.iterrows())]
    return go.Figure(drawn, dict(
        template="none", barmode="group", height=150 + 70 * len(answers), showlegend=len(answers) > 1,
        margin={"t": 40, "l": 10, "r": 40, "b": 10}, title={"text": "SST: sentiment", "font": {"size": 14}},
        legend={"orientation": "h", "y": -0.15}, xaxis={"range": [0, 1], "tickformat": ".0%", "showgrid": False},
        yaxis={"automargin": True, "autorange": "reversed"}))
