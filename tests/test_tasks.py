"""lab/tasks.py: poolings over real tokens, heads as in the table of PAPER.md, one forward pass for all tasks."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers

import lab
from lab.batches import Rows, Texts, cross, pack
from lab.bert import Layout
from lab.encoders.sources import load_encoder, minilm_folder
from lab.tasks import QQP_HEADS, LinearParaphrase, MultitaskModel, Sentiment


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


def test_heads_of_cross_pairs_read_one_vector(opened):
    model = MultitaskModel(opened[0], pair="cross").eval()
    shapes = {name: tuple(p.shape) for name, p in model.heads.named_parameters() if "weight" in name}
    assert shapes == {"sst.linear.weight": (5, 32), "qqp.linear.weight": (1, 32), "sts.linear.weight": (1, 32)}
    assert model.heads["qqp"].dropout.p == 0.3
    u = torch.randn(4, 32)
    for task in ("qqp", "sts"):
        torch.testing.assert_close(model.heads[task](u), model.heads[task].linear(u)[:, 0])
    one = lab.BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=4, type_vocab_size=1)
    with pytest.raises(lab.LabError, match="this encoder has one"):
        MultitaskModel(lab.Bert(one), pair="cross")


def test_losses_are_means_over_the_batch():
    logits, labels = torch.randn(4, 5), torch.tensor([0.0, 4.0, 2.0, 2.0])
    expected = -torch.stack([logits[i].log_softmax(-1)[int(c)] for i, c in enumerate(labels)]).mean()
    torch.testing.assert_close(Sentiment(8).loss(logits, labels), expected)
    assert Sentiment(8).predict(logits).tolist() == logits.argmax(1).tolist()
    logits, labels = torch.tensor([2.0, -1.0, 0.3]), torch.tensor([1.0, 0.0, 0.0])
    p = torch.sigmoid(logits)
    expected = -(labels * p.log() + (1 - labels) * (1 - p).log()).mean()
    torch.testing.assert_close(LinearParaphrase(8).loss(logits, labels), expected)
    assert LinearParaphrase(8).predict(logits).tolist() == [1, 0, 1]
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


def test_trap_8_a_cross_pair_is_no_two_padded_halves():
    bert, tokenizer = load_encoder("minilm-raw")
    theirs = transformers.BertModel.from_pretrained(minilm_folder()).eval()
    pairs = [("A man plays a guitar.", "Someone is making music on a stringed instrument."), ("Is it far?", "No."),
             ("Nobody is singing in the large hall tonight.", "Yes.")]

    @torch.no_grad()
    def right(pairs):
        return theirs(**tokenizer(*map(list, zip(*pairs, strict=True)), padding=True,
                                  return_tensors="pt")).pooler_output

    @torch.no_grad()
    def wrong(pairs):  # [CLS] a [SEP] [PAD] ... [CLS] b [SEP] [PAD] ..., all in segment 0
        halves = [tokenizer(list(side), padding=True, return_tensors="pt") for side in zip(*pairs, strict=True)]
        ids, mask = (torch.cat([half[key] for half in halves], 1) for key in ("input_ids", "attention_mask"))
        return theirs(input_ids=ids, attention_mask=mask).pooler_output

    @torch.no_grad()
    def ours(pairs):
        model = MultitaskModel(bert, pair="cross").eval()
        texts = Texts.encode([text for pair in pairs for text in pair], tokenizer)
        numbers = np.arange(2 * len(pairs)).reshape(-1, 2)
        batch = pack(cross({"sts": Rows("sts", [""] * len(pairs), numbers, np.zeros(len(pairs), np.float32), texts)},
                           bert.config.max_position_embeddings))
        return model.pool(model.embed(batch), batch.layout)[batch.place]

    torch.testing.assert_close(ours(pairs), right(pairs), rtol=0, atol=1e-5)
    assert (wrong(pairs) - right(pairs)).abs().amax(1).min() > 1e-3
    # Padding between the halves shifts b, so that a pair's vector depends on the other pairs in the batch.
    assert (wrong(pairs)[1] - wrong(pairs[1:2])[0]).abs().max() > 1e-3
    torch.testing.assert_close(ours(pairs)[1], ours(pairs[1:2])[0], rtol=0, atol=1e-5)
    swapped = [(b, a) for a, b in pairs]
    assert (ours(swapped) - ours(pairs)).abs().amax(1).min() > 1e-3  # the order of the sentences matters


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


def test_sts_heads_are_as_in_papers_table():
    torch.manual_seed(0)
    u, v, scores = torch.randn(6, 8), torch.randn(6, 8), torch.tensor([0.0, 1.2, 2.4, 2.5, 3.8, 5.0])
    cosine = F.cosine_similarity(u, v)

    head = lab.STS_HEADS["cosine_embedding"](8)
    assert not list(head.parameters())
    target = torch.where(scores >= 2.5, 1.0, -1.0)
    torch.testing.assert_close(head.loss(head(u, v), scores), F.cosine_embedding_loss(u, v, target))
    torch.testing.assert_close(head.predict(head(u, v)), cosine)

    head = lab.STS_HEADS["cosine_d"](8)
    W, b = head.linear.weight, head.linear.bias
    torch.testing.assert_close(head(u, v), 5 * torch.sigmoid(20 * F.cosine_similarity(u @ W.T + b, v @ W.T + b)))

    head = lab.STS_HEADS["cosine_2d1"](8).eval()
    x = torch.cat([u, v, cosine[:, None]], 1)
    torch.testing.assert_close(head(u, v), (x @ head.linear.weight.T + head.linear.bias)[:, 0])
    assert head.linear.weight.shape == (1, 17) and head.dropout.p == 0.3

    head = lab.STS_HEADS["uv_abs"](8)
    x = torch.cat([u, v, (u - v).abs()], 1)
    torch.testing.assert_close(head(u, v), (x @ head.linear.weight.T + head.linear.bias)[:, 0])

    torch.testing.assert_close(lab.STS_HEADS["cosine"](8)(u, v), 5 * cosine)
    for name, make in lab.STS_HEADS.items():
        head = make(8)
        assert head(u, v).shape == head.predict(head(u, v)).shape == (6,)
        if name != "cosine_embedding":
            torch.testing.assert_close(head.loss(head.predict(u[:, 0]), scores), F.mse_loss(u[:, 0], scores))


def test_qqp_heads_are_the_formulas_beside_them():
    torch.manual_seed(0)
    u, v, labels = torch.randn(6, 8), torch.randn(6, 8), torch.tensor([0.0, 1, 1, 0, 1, 0])

    head = QQP_HEADS["linear"](8).eval()
    torch.testing.assert_close(head(u, v), torch.cat([u, v], 1) @ head.linear.weight[0] + head.linear.bias)

    head = QQP_HEADS["uv_abs"](8).eval()
    assert head.linear.weight.shape == (1, 24) and head.dropout.p == 0.3
    x = torch.cat([u, v, (u - v).abs()], 1)
    torch.testing.assert_close(head(u, v), x @ head.linear.weight[0] + head.linear.bias)

    head = QQP_HEADS["cosine"](8)
    cosine = (u * v).sum(1) / (u.norm(dim=1) * v.norm(dim=1))
    torch.testing.assert_close(head(u, v), 10 * cosine - 7)
    head.scale.data.fill_(2.0), head.shift.data.fill_(0.5)
    torch.testing.assert_close(head(u, v), 2 * cosine + 0.5)

    for name, make in QQP_HEADS.items():
        head = make(8).eval()
        logits = head(u, v)
        assert logits.shape == (6,) and head.predict(logits).tolist() == (logits > 0).float().tolist()
        torch.testing.assert_close(head.loss(logits, labels), F.binary_cross_entropy_with_logits(logits, labels))
        logits.sum().backward()
        assert all(p.grad.abs().sum() > 0 for p in head.parameters()), name


@pytest.mark.parametrize("name", list(QQP_HEADS))
def test_a_model_has_the_qqp_head_that_is_asked_for(name, opened):
    usual, other = MultitaskModel(opened[0]), MultitaskModel(opened[0], qqp_head=name)
    assert type(other.heads["qqp"]) is QQP_HEADS[name] and type(usual.heads["qqp"]) is LinearParaphrase


def test_trap_7_five_sigmoid_twenty_cosine_saturates():
    head = lab.STS_HEADS["cosine_d"](2)
    with torch.no_grad():
        head.linear.weight.copy_(torch.eye(2)), head.linear.bias.zero_()
    u = torch.tensor([[1.0, 0.0]])
    for cos, prediction, gradient in [(0.8, 4.9999995, 1.2e-5), (0.86, 5.0, 0.0)]:
        v = torch.tensor([[cos, (1 - cos**2) ** 0.5]], requires_grad=True)
        score = head(u, v)
        assert score.item() == pytest.approx(prediction, abs=1e-7)
        assert torch.autograd.grad(score.sum(), v)[0].norm().item() <= gradient
    v = torch.tensor([[0.86, (1 - 0.86**2) ** 0.5]], requires_grad=True)
    assert torch.autograd.grad(lab.STS_HEADS["cosine"](2)(u, v).sum(), v)[0].norm() > 1
