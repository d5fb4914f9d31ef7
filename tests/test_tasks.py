"""Poolings on real tokens, heads as in PAPER.md's table, one pass for all tasks."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import lab
from lab.batches import Rows, Texts, pack
from lab.bert import Layout
from lab.tasks import MultitaskModel, Paraphrase, Sentiment
from lab.weights import load_encoder


@pytest.fixture(scope="module")
def opened(tiny_encoder):
    return load_encoder(tiny_encoder)


@pytest.mark.parametrize("pooling", list(lab.POOLINGS))
def test_pooling_is_over_a_sentences_own_tokens(opened, pooling):
    bert = opened[0].eval()
    lengths = [2, 3, 3, 7]
    hidden = torch.randn(sum(lengths), 32, requires_grad=True)
    pooled = lab.POOLINGS[pooling](bert, hidden, Layout.of(lengths))
    parts = hidden.split(lengths)
    expected = {"cls": lambda h: torch.tanh(bert.pooler[0](h[0])), "mean": lambda h: h.mean(0),
                "max": lambda h: h.max(0).values}[pooling]
    expected = torch.stack([expected(h) for h in parts])
    torch.testing.assert_close(pooled, expected)
    weights = torch.randn_like(pooled)
    ours, theirs = (torch.autograd.grad((side * weights).sum(), hidden)[0] for side in (pooled, expected))
    torch.testing.assert_close(ours, theirs)


def test_heads_start_from_torchs_linear_and_have_the_papers_shapes(opened):
    model = MultitaskModel(opened[0])
    shapes = {name: tuple(p.shape) for name, p in model.heads.named_parameters()}
    assert shapes == {"sst.linear.weight": (5, 32), "sst.linear.bias": (5,), "qqp.linear.weight": (1, 64),
                      "qqp.linear.bias": (1,), "sts.linear.weight": (1, 64), "sts.linear.bias": (1,)}
    assert model.heads["sst"].dropout.p == model.heads["qqp"].dropout.p == 0.3
    assert not any(isinstance(m, torch.nn.Dropout) for m in model.heads["sts"].modules())
    for head in model.heads.values():  # torch's default: uniform within 1 / sqrt(inputs)
        bound = head.linear.in_features ** -0.5
        assert 0.5 * bound < head.linear.weight.abs().max() <= bound


def test_losses_are_means_over_the_batch():
    logits, labels = torch.randn(4, 5), torch.tensor([0.0, 4.0, 2.0, 2.0])
    expected = -torch.stack([logits[i].log_softmax(-1)[int(c)] for i, c in enumerate(labels)]).mean()
    torch.testing.assert_close(Sentiment(8).loss(logits, labels), expected)
    assert Sentiment(8).predict(logits).tolist() == logits.argmax(1).tolist()
    logits, labels = torch.tensor([2.0, -1.0, 0.3]), torch.tensor([1.0, 0.0, 0.0])
    p = torch.sigmoid(logits)
    expected = -(labels * p.log() + (1 - labels) * (1 - p).log()).mean()
    torch.testing.assert_close(Paraphrase(8).loss(logits, labels), expected)
    assert Paraphrase(8).predict(logits).tolist() == [1, 0, 1]
    head = lab.STS_HEADS["linear"](8)
    loss = head.loss(torch.tensor([2.0, 3.0]), torch.tensor([2.8, 5.0]))
    torch.testing.assert_close(loss, torch.tensor((0.64 + 4) / 2))


def test_one_pass_for_all_tasks_equals_a_padded_pass_a_sentence_list(opened):
    bert, tokenizer = opened
    model = MultitaskModel(bert).eval()
    words = ["one", "two words", "three little words here", "and a much longer sentence than all of the others", "five"]
    texts = Texts.encode(words, tokenizer)

    def rows(task, numbers, labels):
        return Rows(task, [""] * len(labels), np.array(numbers), np.array(labels, np.float32), texts)

    drawn = {"sst": rows("sst", [[0], [3]], [1, 4]), "qqp": rows("qqp", [[1, 2], [3, 4]], [1, 0]),
             "sts": rows("sts", [[4, 0], [2, 3]], [2.5, 0.2])}
    losses = model.losses(pack(drawn))

    def padded(numbers):
        batch = tokenizer([words[n] for n in numbers], padding=True, return_tensors="pt")
        return bert.pooler(bert.encode(bert.embed(batch["input_ids"]), batch["attention_mask"])[:, 0])

    for task, part in drawn.items():
        vectors = [padded(column) for column in part.text.T]
        logits = model.heads[task].linear(torch.cat(vectors, -1))
        labels = torch.from_numpy(part.labels)
        expected = {"sst": lambda z, y: F.cross_entropy(z, y.long()),
                    "qqp": lambda z, y: F.binary_cross_entropy_with_logits(z.squeeze(-1), y),
                    "sts": lambda z, y: F.mse_loss(z.squeeze(-1), y)}[task](logits, labels)
        torch.testing.assert_close(losses[task], expected)
    alone = model.losses(pack({"sts": drawn["sts"]}))
    torch.testing.assert_close(alone["sts"], losses["sts"])


def test_the_last_layer_makes_only_what_cls_pooling_reads(opened):
    bert = opened[0].eval()
    lengths = [2, 3, 3, 7, 20]
    layout = Layout.of(lengths)
    x = torch.randn(sum(lengths), 32, requires_grad=True)
    whole = bert.encode_packed(x, layout).index_select(0, layout.starts)
    first = bert.encode_packed(x, layout, first_only=True)
    torch.testing.assert_close(first, whole)
    ours, theirs = (torch.autograd.grad(side.square().sum(), [x, *bert.layers.parameters()]) for side in (first, whole))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)
    assert layout.first_tokens().starts.tolist() == [0, 1, 2, 3, 4]
