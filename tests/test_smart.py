"""SMART against smart-pytorch, by finite differences and by its traps; the Bregman term's average."""

import copy
import weakref
from dataclasses import replace

import numpy as np
import pytest
import smart_pytorch
import torch
import torch.nn.functional as F

from lab.batches import Rows, Texts, pack
from lab.encoders.sources import load_encoder
from lab.errors import LabError
from lab.smart import DIVERGENCES, Average, Smart, ball, bernoulli, categorical, penalties, squared
from lab.tasks import POOLINGS, MultitaskModel

WORDS = ["one", "two words", "three little words here", "and a much longer sentence than all of the others", "five"]
TASKS = ("sst", "qqp", "sts")


class Pass:
    """A real model in float64 on a packed batch: QQP's first pair is one sentence twice. Dropout is off."""

    def __init__(self, encoder):
        bert, tokenizer = load_encoder(encoder)
        torch.manual_seed(0)
        self.model = MultitaskModel(bert).double().eval()
        with torch.no_grad():  # fresh weights answer every sentence alike: make them larger
            for name, p in self.model.named_parameters():
                p.mul_(1 if "norm" in name else 4)
        texts = Texts.encode(WORDS, tokenizer)

        def rows(task, numbers, labels):
            return Rows(task, [""] * len(labels), np.array(numbers), np.array(labels, np.float32), texts)

        self.batch = pack({"sst": rows("sst", [[0], [3], [1]], [1, 4, 2]), "qqp": rows("qqp", [[1, 1], [3, 4]], [1, 0]),
                           "sts": rows("sts", [[4, 0], [2, 3]], [2.5, 0.2])})
        self.parameters = [*self.model.bert.parameters(), *self.model.heads.parameters()]

    def embed(self):
        return self.model.bert.embed(self.batch.ids, positions=self.batch.positions)

    def heads(self, pooled):
        vectors = self.batch.split(pooled.index_select(0, self.batch.place))
        return {task: self.model.heads[task](*uv) for task, uv in vectors.items()}

    def pool(self, embeddings):
        layout = self.batch.layout
        return POOLINGS["cls"](self.model.bert, self.model.bert.encode_packed(embeddings, layout), layout)

    def forward(self, embeddings):
        return self.heads(self.pool(embeddings))

    def penalties(self, smart, seed=3):
        embeddings = self.embed()
        return penalties(smart, self.forward, embeddings, self.forward(embeddings), torch.Generator().manual_seed(seed))

    def gradients(self, value):
        found = torch.autograd.grad(value, self.parameters, allow_unused=True)
        return [torch.zeros_like(p) if g is None else g for p, g in zip(self.parameters, found, strict=True)]


@pytest.fixture
def one(tiny_encoder):
    return Pass(tiny_encoder)


def two_classes(z):
    return torch.stack([torch.zeros_like(z), z], -1)


def kl(input, target, reduction="batchmean"):
    return smart_pytorch.sym_kl_loss(input, target, reduction=reduction)


THEIRS = {"sst": kl, "qqp": lambda a, b: kl(two_classes(a), two_classes(b)), "sts": F.mse_loss}


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("task", TASKS)
def test_library_reading_equals_smart_pytorch(one, monkeypatch, task, steps):
    # A larger step than the paper's, or the gradient would hardly turn the noise and a wrong one would go unseen.
    smart = Smart(step_size=1.0, sigma=1e-2, steps=steps)
    ours = one.penalties(smart).values[task]
    drawn = torch.Generator().manual_seed(3)
    monkeypatch.setattr(torch, "randn_like", lambda like, requires_grad: torch.randn(
        like.shape, generator=drawn).to(like).requires_grad_(requires_grad))
    embeddings = one.embed()
    loss = smart_pytorch.SMARTLoss(lambda e: one.forward(e)[task], THEIRS[task], num_steps=steps, step_size=1.0,
                                   epsilon=smart.epsilon, noise_var=smart.sigma)
    theirs = loss(embeddings, one.forward(embeddings)[task])
    assert theirs > 1e-9
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)  # the first noise is float32 before it is scaled
    for a, b in zip(one.gradients(ours), one.gradients(theirs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6 * theirs.item())
    if steps:  # this case sees the ascent
        assert abs(one.penalties(replace(smart, step_size=0.0)).values[task] - theirs) > 1e-4 * theirs


def test_divergences_by_hand():
    q, p = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, 0.2, 0.6])
    expected = sum(a * np.log(a / b) + b * np.log(b / a) for a, b in zip(q.tolist(), p.tolist(), strict=True))
    logits = [torch.stack([x.log() + 7, torch.zeros(3)]) for x in (q, p)]  # the second row: no divergence
    assert categorical(*logits).item() == pytest.approx(expected / 2, rel=1e-5)
    z, w = torch.tensor([0.3, -2.0]), torch.tensor([-1.1, 4.0])
    a, b = torch.sigmoid(z), torch.sigmoid(w)
    expected = (a - b) * (z - w)  # symmetrized KL of Bernoulli distributions
    torch.testing.assert_close(bernoulli(z, w), expected.mean())
    assert squared(z, w).item() == pytest.approx((1.4**2 + 6**2) / 2)


@pytest.mark.parametrize("size", [0, 1e-30, 1.0, 1e4])
def test_divergences_are_finite_at_any_logit(size):
    for moved, clean in ((size, -size), (-size, size), (size, 0), (0, size)):
        for task, shape in (("sst", (2, 5)), ("qqp", (2,)), ("sts", (2,))):
            logits = [torch.zeros(shape).index_fill(-1, torch.tensor([0]), v).requires_grad_() for v in (moved, clean)]
            value = DIVERGENCES[task](*logits)
            assert value.isfinite() and value >= 0
            assert all(g.isfinite().all() for g in torch.autograd.grad(value, logits))
    assert bernoulli(torch.tensor([1e4]), torch.tensor([-1e4])).item() == pytest.approx(2e4)


@pytest.mark.parametrize("reading", ["library", "ball"])
def test_gradient_is_that_of_the_surrogate_with_frozen_targets(one, reading):
    # stop gradients and a moved noise make a gradient of no function; freeze both, and it is one
    smart = Smart(reading=reading, sigma=0.1, step_size=1.0, epsilon=1e-5 if reading == "library" else 0.5)
    perturbed = []
    embeddings = one.embed()
    clean = one.forward(embeddings)

    def recording(x):
        perturbed.append(x.detach())
        return one.forward(x)

    value = sum(penalties(smart, recording, embeddings, clean, torch.Generator().manual_seed(3)).values.values())
    noise = perturbed[-1] - embeddings.detach()

    def both():
        x = one.embed()
        return one.forward(x + noise), one.forward(x)

    def kl(target, other):  # KL(target | other) summed over classes, mean over rows
        target, other = target.log_softmax(-1), other.log_softmax(-1)
        return (target.exp() * (target - other)).sum(-1).mean()

    def classes(logits, task):
        return two_classes(logits[task]) if task == "qqp" else logits[task]

    with torch.no_grad():
        q0, p0 = both()

    def surrogate():
        q, p = both()
        total = (q["sts"] - p["sts"]).square().mean()
        for task in ("sst", "qqp"):
            total += kl(classes(p0, task), classes(q, task)) + kl(classes(q0, task), classes(p, task))
        return total.item()

    assert surrogate() == pytest.approx(value.item(), rel=1e-9)
    gradients = one.gradients(value)
    torch.manual_seed(5)
    with torch.no_grad():
        for group in (one.model.bert.word, one.model.bert.layers, one.model.heads):
            inside = {id(p) for p in group.parameters()}
            direction = [torch.randn_like(p) * (id(p) in inside) for p in one.parameters]
            ends = []
            for h in (1e-6, -2e-6, 1e-6):  # there, to the other side, and back
                torch._foreach_add_(one.parameters, direction, alpha=h)
                ends.append(surrogate())
            slope = sum((g * d).sum() for g, d in zip(gradients, direction, strict=True)).item()
            assert slope == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4, abs=1e-9)


def test_size_of_the_noise_in_both_readings(one):
    norm = one.penalties(Smart()).noise_norm.item()
    assert 0.5 < norm < 1  # eps is only a guard here: typical embedding entries are .5
    linear = torch.randn(768, 5, generator=torch.Generator().manual_seed(0))
    x = torch.randn(200, 768, generator=torch.Generator().manual_seed(1))
    found = penalties(Smart(), lambda e: {"sst": e @ linear}, x, {"sst": x @ linear}, torch.Generator().manual_seed(2))
    assert found.noise_norm.item() == pytest.approx(0.76, abs=0.01)  # of 768 normal numbers the largest is about 3.2
    small = Smart(reading="ball", steps=2)
    result = one.penalties(small)
    assert 0 < result.noise_norm <= small.epsilon
    assert all(0 <= v < 1e-6 for v in result.values.values())
    noise, gradient = torch.randn(6, 8) * 1e-5, torch.randn(6, 8) * torch.logspace(-38, 38, 6)[:, None]
    gradient[0] = 0
    moved = ball(noise, gradient, 1e-6, 1e-5)
    assert moved.isfinite().all() and moved.abs().max() <= 1e-5
    torch.testing.assert_close(moved[0], noise[0].clamp(-1e-5, 1e-5))  # no gradient, no direction
    step = (ball(torch.zeros(6, 8), gradient, 1e-6, 1e-5)).abs().amax(-1)
    torch.testing.assert_close(step[1:], torch.full((5,), 1e-6))


@pytest.mark.parametrize("reading", ["library", "ball"])
@pytest.mark.parametrize("zero", [{"steps": 0}, {"step_size": 0.0}])
def test_no_noise_no_penalty_unless_there_is_dropout(one, reading, zero):
    smart = Smart(sigma=0.0, reading=reading, **zero)
    values, norm = one.penalties(smart)
    assert norm == 0 and [v.item() for v in values.values()] == [0, 0, 0]
    one.model.train()
    assert all(v > 1e-4 for v in one.penalties(smart).values.values())


def test_one_ascent_for_all_tasks_equals_one_each(one):
    smart = Smart(step_size=1.0, sigma=1e-2, steps=2)
    joint = one.penalties(smart).values
    embeddings = one.embed()
    clean = one.forward(embeddings)
    for task in TASKS:
        alone = penalties(smart, one.forward, embeddings, {task: clean[task]}, torch.Generator().manual_seed(3)).values
        assert list(alone) == [task]
        torch.testing.assert_close(alone[task], joint[task], rtol=1e-9, atol=0)


def test_noise_is_on_real_tokens_and_independent_for_u_and_v(one):
    seen = []

    def recording(x):
        seen.append(x.detach())
        return one.forward(x)

    embeddings = one.embed()
    clean = one.forward(embeddings)
    generator = torch.Generator().manual_seed(3)
    penalties(Smart(), recording, embeddings, clean, generator)
    N, layout, batch = int(one.batch.layout.lengths.sum()), one.batch.layout, one.batch
    assert [x.shape for x in seen] == [(N, 32)] * 2
    first, last = (x - embeddings.detach() for x in seen)
    same = torch.Generator().manual_seed(3)
    torch.testing.assert_close(first, (torch.randn(N, 32, generator=same) * 1e-5).double(), rtol=1e-4, atol=1e-12)
    assert torch.equal(same.get_state(), generator.get_state())  # a number an entry, whatever the dtype, and no more
    # sequences: three of SST, then u, u of QQP, then v, v; the first pair is one sentence twice
    u, v = (layout.starts[batch.place[s]] for s in (3, 5))
    length = layout.lengths[batch.place[3]]
    span = torch.arange(int(length))
    assert torch.equal(embeddings[u + span], embeddings[v + span])
    for noise in (first, last):
        a, b = noise[u + span].flatten(), noise[v + span].flatten()
        assert abs(torch.corrcoef(torch.stack([a, b]))[0, 1]) < 0.4


def test_the_ascent_takes_the_noises_gradient_alone(one):
    before = copy.deepcopy(one.model.state_dict())
    saved, alive, reached, sources = [], [], [], []

    class Saved:
        def __init__(self, tensor):
            self.tensor = tensor

    def keep(tensor):
        box = Saved(tensor)
        saved[-1].append(weakref.ref(box))
        return box

    def watched(x):
        alive.append(sum(box() is not None for boxes in saved for box in boxes))
        saved.append([])
        sources.append(sum(source is not None for source, _ in x.grad_fn.next_functions))
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda box: box.tensor):
            return one.forward(x)

    for p in one.parameters:
        p.register_hook(reached.append)
    embeddings = one.embed()
    clean = one.forward(embeddings)
    with torch.no_grad():  # as diagnostics may
        quiet = penalties(Smart(), one.forward, embeddings, clean, torch.Generator().manual_seed(3))
    result = penalties(Smart(steps=2), watched, embeddings, clean, torch.Generator())
    assert not any(v.requires_grad for v in quiet.values.values()) and not result.noise_norm.requires_grad
    assert len(saved) == 3 and all(saved) and alive == [0, 0, 0]  # a step's graph is gone before the next pass
    assert sources == [1, 1, 1]  # in the ascent the noise alone has a graph, in the penalty the embeddings alone
    assert not reached and all(p.grad is None for p in one.parameters)
    assert all(torch.equal(t, before[name]) for name, t in one.model.state_dict().items())
    sum(result.values.values()).backward()
    assert one.model.bert.word.weight.grad.abs().sum() > 0  # the penalty itself goes through the embeddings


def test_trap_1_kl_over_a_single_logit_is_zero():
    z, w = torch.tensor([[0.3], [-2.0]], requires_grad=True), torch.tensor([[-1.1], [4.0]])
    wrong = smart_pytorch.sym_kl_loss(z, w, reduction="batchmean")
    assert wrong == 0 and not torch.autograd.grad(wrong, z)[0].any()
    for ours in (bernoulli, squared):
        value = ours(z[:, 0], w[:, 0])
        assert value > 1 and torch.autograd.grad(value, z)[0].all()


@pytest.mark.filterwarnings("ignore:reduction")
def test_trap_11_the_default_reduction_is_a_sum():
    moved, clean = torch.randn(2, 8, 5, generator=torch.Generator().manual_seed(0))
    ours = categorical(moved, clean)
    torch.testing.assert_close(smart_pytorch.sym_kl_loss(moved, clean), 8 * ours)
    torch.testing.assert_close(smart_pytorch.sym_kl_loss(moved, clean, reduction="mean"), ours / 5)


def test_trap_11_embeddings_embedded_twice_are_another_input(one):
    bert, generator = one.model.bert, torch.Generator()
    embeddings = one.embed()
    clean = one.forward(embeddings)

    def again(x):  # what transformers does with `inputs_embeds`: positions, segment and norm once more
        return one.forward(bert.norm(x + bert.position(one.batch.positions) + bert.segment.weight[0]))

    silent = Smart(sigma=0.0, steps=0)
    assert all(v > 1e-6 for v in penalties(silent, again, embeddings, clean, generator).values.values())
    assert all(v == 0 for v in penalties(silent, one.forward, embeddings, clean, generator).values.values())


def test_trap_11_noise_on_the_pooled_vector_does_not_smooth_the_encoder(one):
    pooled = one.pool(one.embed())
    wrong = penalties(Smart(), one.heads, pooled, one.heads(pooled), torch.Generator()).values["sts"]
    ours = one.penalties(Smart()).values["sts"]
    encoder = len(list(one.model.bert.parameters()))
    # through a linear head alone, f(u + noise) - f(u) = w . noise whatever the encoder says
    assert wrong > 1e-3 and max(g.abs().max() for g in one.gradients(wrong)[:encoder]) < 1e-12
    assert max(g.abs().max() for g in one.gradients(ours)[:encoder]) > 1e-6


@pytest.mark.parametrize(("field", "value"), [
    ("weight", -1), ("weight", None), ("weight", float("nan")), ("step_size", float("inf")), ("epsilon", 0),
    ("sigma", "much"), ("sigma", 1e40), ("weight", 1e20), ("bregman", 1e20), ("steps", 1.5), ("steps", -1),
    ("steps", True), ("bregman", -0.1), ("dropout", 1), ("reading", "norm"), ("reading", ["ball"])])
def test_a_value_that_cannot_be_is_named(field, value):
    with pytest.raises(LabError, match=field):
        Smart(**{field: value})


def test_values_that_can_be():
    assert Smart(weight=5, steps=2) == Smart(weight=5.0, steps=2) and isinstance(Smart(weight=5).weight, float)
    assert Smart(bregman=1).bregman == 1.0 and Smart().bregman is None
    with pytest.raises(LabError, match="library, ball"):
        Smart(reading="sphere")


def test_average_follows_its_formula():
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    average = Average(model, decay=0.9)
    expected = copy.deepcopy(model.state_dict())
    for _ in range(3):
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn_like(p))
        live = copy.deepcopy(model.state_dict())
        average.update(model)
        expected = {name: 0.9 * expected[name] + 0.1 * live[name] for name in expected}
        torch.testing.assert_close(dict(average.model.state_dict()), expected)
        assert all(torch.equal(t, live[name]) for name, t in model.state_dict().items())
    assert Average(model).decay == 0.99


def test_bregman_is_zero_at_equal_weights_and_moves_the_live_model_alone(one):
    average = Average(one.model)
    live, one_average = one, copy.copy(one)
    one_average.model = average.model

    def terms():
        with torch.no_grad():
            reference = one_average.forward(one_average.embed())
        logits = live.forward(live.embed())
        return {task: DIVERGENCES[task](logits[task], reference[task]) for task in TASKS}, logits, reference

    assert all(v == 0 for v in terms()[0].values())
    with torch.no_grad():
        for p in live.parameters:
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
    values, logits, reference = terms()
    assert all(v > 1e-6 for v in values.values())
    # d KL(sg p | q) / d logits of q = q - p, mean over rows; for squared error 2 (z - w)
    slopes = torch.autograd.grad(sum(values.values()), [logits[task] for task in TASKS], retain_graph=True)
    expected = [(logits["sst"].softmax(-1) - reference["sst"].softmax(-1)) / 3,
                (logits["qqp"].sigmoid() - reference["qqp"].sigmoid()) / 2, logits["sts"] - reference["sts"]]
    for a, b in zip(slopes, expected, strict=True):
        torch.testing.assert_close(a, b)
    sum(values.values()).backward()
    assert live.model.bert.word.weight.grad.any()
    assert all(p.grad is None and not p.requires_grad for p in average.model.parameters())
