"""Combiners: golden cases, trusted references, the paper's traps, and properties at awkward scales."""

import copy
import dataclasses
import itertools
import weakref

import pytest
import torch
from helpers import batch_of, first_quick, resumed, same_weights, without_dropout

import lab
from lab.batches import pack
from lab.gradients import COMBINERS, combine, gradvac, gramian, pcgrad
from lab.optim import AdamW
from lab.train import fit

OURS = ("sum", "mean", "pcgrad", "gradvac")
METHODS = ("cagrad", "upgrad", "dualproj")  # of the extra `methods`, which the extra `test` brings too
BORROWED = ("aligned_mtl", "imtl_g", "mgda", "fairgrad", *METHODS)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def orders(T, seed):
    """The random orders that a combiner with this seed will see."""
    g = generator(seed)
    return [torch.randperm(T, generator=g).tolist() for _ in range(T)]


def plain_pcgrad(J, order):
    """PCGrad on the vectors themselves, as a mean; `order[i]` is the order of task i."""
    projected = []
    for i, g in enumerate(J):
        g = g.clone()
        for j in order[i]:
            if j != i and g @ J[j] < 0:
                g = g - (g @ J[j]) / (J[j] @ J[j]) * J[j]
        projected.append(g)
    return torch.stack(projected).mean(0)


def plain_gradvac(J, order, targets):
    """Gradient Vaccine on the vectors themselves, as a mean; moves the targets (T, T)."""
    projected = []
    for i, g in enumerate(J):
        g = g.clone()
        for j in order[i]:
            if j != i:
                cosine, target = g @ J[j] / (g.norm() * J[j].norm()), targets[i, j].clone()
                if cosine < target:
                    s, t = (1 - cosine**2).sqrt(), (1 - target**2).sqrt()
                    g = g + g.norm() * (target * s - cosine * t) / (J[j].norm() * t) * J[j]
                targets[i, j] = 0.99 * target + 0.01 * cosine
        projected.append(g)
    return torch.stack(projected).mean(0)


@pytest.mark.parametrize("combiner", [pcgrad, gradvac])
def test_the_golden_case(combiner):
    J = torch.tensor([[-4.0, 1, 1], [6, 1, 1]], dtype=torch.float64)
    update = combiner(J @ J.T, generator(), {}) @ J
    golden = torch.tensor([0.5848, 3.8012, 3.8012], dtype=torch.float64) / 2
    torch.testing.assert_close(update, golden, atol=5e-5, rtol=0)


@pytest.mark.parametrize("name", ["PCGrad", "GradVac"])
def test_two_tasks_equal_torchjds(name):
    import torchjd.aggregation

    theirs = getattr(torchjd.aggregation, f"{name}Weighting")
    torch.manual_seed(0)
    for _ in range(1000):
        J = torch.randn(2, 4, dtype=torch.float64) * 10.0 ** torch.randint(-3, 4, (2, 1))
        G = J @ J.T
        options = {"beta": 0.01, "eps": 0.0} if name == "GradVac" else {}
        torch.testing.assert_close(COMBINERS[name.lower()](G, generator(), {}), theirs(**options)(G) / 2)


def test_gradvacs_averages_move_as_torchjds():
    from torchjd.aggregation import GradVacWeighting

    theirs, state = GradVacWeighting(beta=0.01, eps=0.0), {}
    torch.manual_seed(1)
    for _ in range(50):
        J = torch.randn(2, 3, dtype=torch.float64) + 0.5
        torch.testing.assert_close(gradvac(J @ J.T, generator(), state), theirs(J @ J.T) / 2)
    assert state["targets"].abs().sum() > 0


@pytest.mark.parametrize("T", [3, 4, 5, 6])
def test_pcgrad_equals_its_plain_vector_form_in_the_same_order(T):
    torch.manual_seed(T)
    for seed in range(100):
        J = torch.randn(T, 5, dtype=torch.float64)
        torch.testing.assert_close(pcgrad(J @ J.T, generator(seed), {}) @ J, plain_pcgrad(J, orders(T, seed)))


@pytest.mark.parametrize("T", [3, 4, 5, 6])
def test_gradvac_equals_its_plain_vector_form_in_the_same_order(T):
    torch.manual_seed(T)
    for seed in range(100):
        J, targets = torch.randn(T, 5, dtype=torch.float64), 0.9 * torch.rand(T, T, dtype=torch.float64)
        state = {"targets": targets.clone()}
        ours = gradvac(J @ J.T, generator(seed), state) @ J
        torch.testing.assert_close(ours, plain_gradvac(J, orders(T, seed), targets))
        torch.testing.assert_close(state["targets"], targets)


def test_trap_3_a_gradient_is_never_projected_on_itself():
    J = torch.tensor([[1.0, 0], [-1, 0.1], [-0.7, -0.7]], dtype=torch.float64)
    wrong = 0
    for seed in range(60):
        order = orders(3, seed)
        torch.testing.assert_close(pcgrad(J @ J.T, generator(seed), {}) @ J, plain_pcgrad(J, order))
        if order[0][-1] == 0:  # the first gradient would meet itself last
            g = J[0].clone()
            for j in order[0]:
                if g @ J[j] < 0:
                    g = g - (g @ J[j]) / (J[j] @ J[j]) * J[j]
            right = J[0].clone()
            for j in order[0][:-1]:
                if right @ J[j] < 0:
                    right = right - (right @ J[j]) / (J[j] @ J[j]) * J[j]
            wrong += not torch.allclose(g, right)
    assert wrong > 5  # the wrong way shows here


def test_trap_4_if_reduction_where_a_string_is_meant():
    J = torch.tensor([[-4.0, 1, 1], [6, 1, 1]], dtype=torch.float64)

    def wrong(reduction):
        mean = plain_pcgrad(J, [[1, 0], [1, 0]])
        if reduction:  # any string that is not empty
            return mean
        return len(J) * mean

    assert torch.equal(wrong("sum"), wrong("mean"))
    G, w = J @ J.T, {}
    for name in ("sum", "mean", "pcgrad"):
        w[name] = COMBINERS[name](G, generator(), {})
    assert w["sum"].tolist() == [1, 1] and w["mean"].tolist() == [0.5, 0.5]
    torch.testing.assert_close(w["pcgrad"] @ J, wrong("mean"))  # PAPER.md's word

    def end(*gradients):
        p = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
        optimizer = AdamW([p], lr=1.0, eps=0.0)
        for g in gradients:
            p.grad = torch.tensor([g], dtype=torch.float64)
            optimizer.step()
        return p.item()

    # Alone, a third of each gradient is the same to Adam; before a `sum` step, which shares its moments, it isn't.
    assert end(1 / 3, -2 / 3) == pytest.approx(end(1, -2)) and abs(end(1 / 3, -2) - end(1, -2)) > 0.1


SCALES = (0, 1e-30, 1e-3, 1, 1e15)  # of the gradients: the Gramian has their squares


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("scale", SCALES)
def test_ours_are_scale_free_and_exact(name, scale):
    torch.manual_seed(2)
    for T in (1, 2, 3, 6):
        J = torch.randn(T, 6, dtype=torch.float64)
        ours = COMBINERS[name]((J * scale) @ (J * scale).T, generator(3), {})
        if scale == 0:  # nothing conflicts
            expected = COMBINERS["sum" if name == "sum" else "mean"](J @ J.T, generator(3), {})
        else:
            expected = COMBINERS[name](J @ J.T, generator(3), {})
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("name", BORROWED)
@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e15])
def test_borrowed_ones_follow_the_scale_as_their_method_says(name, scale):
    torch.manual_seed(2)
    J = torch.randn(3, 6, dtype=torch.float64)
    ours, plain = (COMBINERS[name]((J * s) @ (J * s).T, generator(3), {}) for s in (scale, 1.0))
    torch.testing.assert_close(ours * (scale if name == "fairgrad" else 1), plain, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", [*OURS, *BORROWED])
@pytest.mark.parametrize("scale", SCALES)
def test_every_combiner_is_finite_and_leaves_the_gramian(name, scale):
    torch.manual_seed(4)
    for rank in (6, 2, 1):  # at rank 1 every cosine is 1 or -1
        J = torch.randn(3, rank, dtype=torch.float64) @ torch.randn(rank, 6, dtype=torch.float64) * scale
        G = J @ J.T
        before = G.clone()
        w = COMBINERS[name](G, generator(), {})
        assert w.shape == (3,) and w.dtype == torch.float64 and w.isfinite().all() and torch.equal(G, before)


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("scale", SCALES)
def test_tasks_that_agree_are_only_summed_or_averaged(name, scale):
    J = torch.tensor([[1.0, 0, 0], [1, 1, 0], [1, 0, 2]], dtype=torch.float64) * scale
    expected = torch.ones(3) if name == "sum" else torch.full((3,), 1 / 3)
    torch.testing.assert_close(COMBINERS[name](J @ J.T, generator(), {}), expected.double())


def test_fairgrad_follows_its_scale():
    torch.manual_seed(5)
    J = torch.randn(3, 6, dtype=torch.float64).abs()
    near, far = (COMBINERS["fairgrad"](s * s * J @ J.T, generator(), {}) for s in (1.0, 100.0))
    torch.testing.assert_close(far, near * 100.0 ** -1, rtol=1e-3, atol=0)  # w_i = (G w)_i^(-1 / alpha)


@pytest.mark.parametrize("name", METHODS)
def test_a_missing_extra_is_one_line(name, monkeypatch):
    import torchjd.aggregation

    def missing(*_, **__):
        raise ImportError("requires ['quadprog']\nand more")

    for weighting in ("CAGradWeighting", "UPGradWeighting", "DualProjWeighting"):
        monkeypatch.setattr(torchjd.aggregation, weighting, missing)
    with pytest.raises(lab.LabError, match=r"^[^\n]*pip install -e '\.\[methods\]'[^\n]*$"):
        COMBINERS[name](torch.eye(2, dtype=torch.float64), generator(), {})


def test_the_gramian_is_of_one_vector_in_float64():
    torch.manual_seed(6)
    gradients = [[torch.randn(700, 900), torch.randn(5), torch.randn(3, 3).T] for _ in range(3)]
    gradients[1][1] = None  # a parameter that this task does not reach
    whole = torch.stack([torch.cat([(torch.zeros(5) if g is None else g).reshape(-1) for g in of]) for of in gradients])
    torch.testing.assert_close(gramian(gradients), whole.double() @ whole.double().T, rtol=1e-12, atol=0)
    assert gramian(gradients).dtype == torch.float64
    weights = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    combined = combine(gradients, weights)
    torch.testing.assert_close(torch.cat([g.reshape(-1) for g in combined]), weights.float() @ whole)
    assert combine([[None], [None]], torch.ones(2)) == [None]


# ---- in the loop


def by_hand(training, updates, steps):
    """The same training written out: whole vectors, one task after the other, every gradient from scratch."""
    model, e = training.model, training.recorder.settings
    optimizer = AdamW(model.parameters(), lr=e.lr)
    encoder, order = list(model.bert.parameters()), torch.Generator().manual_seed(e.seed)
    for k in range(steps):
        for update in updates:
            gradients = {}
            for task, part in batch_of(training, k).items():
                model.zero_grad()
                model.losses(pack({task: part}))[task].backward()
                gradients[task] = {p: p.grad.clone() for p in model.parameters() if p.grad is not None}
            J = torch.stack([torch.cat([g.get(p, torch.zeros_like(p)).reshape(-1) for p in encoder])
                             for g in gradients.values()]).double()
            if update == "sum":
                vector = J.sum(0)
            else:
                vector = plain_pcgrad(J, [torch.randperm(3, generator=order).tolist() for _ in range(3)])
            model.zero_grad()
            for p, g in zip(encoder, vector.split([p.numel() for p in encoder]), strict=True):
                p.grad = g.view_as(p).float()
            for head, task in itertools.product(model.heads.parameters(), gradients):
                if head in gradients[task]:
                    head.grad = gradients[task][head]
            optimizer.step()
    return model


@pytest.mark.parametrize("updates", [("pcgrad",), ("pcgrad", "sum"), ("sum", "sum")])
def test_updates_equal_ones_from_scratch_at_the_moved_weights(tiny, tiny_data, updates):
    """Every gradient at the weights just moved (trap 6); PCGrad on whole vectors, without the heads (trap 5)."""
    experiment = dataclasses.replace(tiny, updates=updates, epochs=1, iterations=3, dropout=0.0)
    training = without_dropout(fit(experiment, data=tiny_data, run="a", progress=False))
    other = without_dropout(fit(experiment, data=tiny_data, run="b", progress=False))
    expected = by_hand(other, updates, 3)
    list(training)
    for (name, ours), theirs in zip(training.model.named_parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=5e-5, msg=name)


def test_trap_5_parameter_by_parameter_after_one_summed_backward_or_with_the_heads():
    """Two tasks, two encoder parameters, a head each. In the encoder g_1 . g_2 = -1, |g_1|^2 = 2, |g_2|^2 = 7."""
    one, two = ([torch.tensor(x, dtype=torch.float64) for x in g] for g in ([[1, 0], [1, 0]], [[-2, 1], [1, 1]]))
    heads = [torch.tensor([3, 0], dtype=torch.float64), torch.tensor([0, 4], dtype=torch.float64)]
    J = torch.stack([torch.cat(one), torch.cat(two)])

    def weights(*gradients):
        return COMBINERS["pcgrad"](gramian(gradients), generator(), {})

    # g_1 + g_2 / 7 and g_2 + g_1 / 2, in the mean
    ours = weights(one, two)
    torch.testing.assert_close(ours, torch.tensor([1 + 1 / 2, 1 + 1 / 7], dtype=torch.float64) / 2)
    vector = plain_pcgrad(J, [[0, 1], [0, 1]])
    torch.testing.assert_close(torch.cat(combine([[g.clone() for g in one], [g.clone() for g in two]], ours)), vector)

    by_parameter = [weights([one[k]], [two[k]]) for k in range(2)]  # in the second alone there is no conflict
    wrong = torch.cat([w[0] * one[k] + w[1] * two[k] for k, w in enumerate(by_parameter)])
    summed = weights([a + b for a, b in zip(one, two, strict=True)]) @ J.sum(0, keepdim=True)  # nothing to project
    with_heads = weights([*one, heads[0]], [*two, heads[1]])
    torch.testing.assert_close(summed, J.sum(0))
    torch.testing.assert_close(with_heads, torch.tensor([1 + 1 / 11, 1 + 1 / 23], dtype=torch.float64) / 2)
    for other in (wrong, summed / 2, with_heads @ J):
        assert (other - vector).norm() > 0.1 * vector.norm()


def test_trap_6_gses_second_update_from_a_stale_graph(tiny, tiny_data, monkeypatch):
    experiment = dataclasses.replace(tiny, updates=("pcgrad", "sum"), epochs=1, iterations=1, lr=1e-2, dropout=0.0)
    training = without_dropout(fit(experiment, data=tiny_data, progress=False))
    optimizer = training.recorder.parts.optimizer
    model, take_step, seen = training.model, optimizer.step, []

    def watched():
        seen.append((copy.deepcopy(model.state_dict()), [p.grad.to_dense() for p in model.parameters()]))
        take_step()

    monkeypatch.setattr(optimizer, "step", watched)
    list(training)
    (before, _), (moved, ours) = seen

    def gradient(weights):
        model.load_state_dict(weights)
        model.zero_grad()
        sum(model.losses(pack(batch_of(training))).values()).backward()
        return [p.grad for p in model.parameters()]

    def distance(a, b):
        return (torch.stack([(x - y).norm() for x, y in zip(a, b, strict=True)]).norm()
                / torch.stack([y.norm() for y in b]).norm())

    right, old = gradient(moved), gradient(before)
    assert distance(ours, right) < 1e-5 and distance(old, right) > 0.1

    def again(step):
        """Two updates from one graph, as `retain_graph=True` lets one write them."""
        model.load_state_dict(before)
        model.zero_grad()
        total = sum(model.losses(pack(batch_of(training))).values())
        total.backward(retain_graph=True)
        step()
        model.zero_grad()
        total.backward()
        return [p.grad for p in model.parameters()]

    def through_data():
        for name, p in model.named_parameters():
            p.data.copy_(moved[name])

    stale = again(through_data)  # nothing complains
    assert distance(stale, right) > 0.1
    for optimizer in (AdamW(model.parameters()), torch.optim.AdamW(model.parameters())):
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            again(optimizer.step)


class Saved:
    def __init__(self, tensor):
        self.tensor = tensor


def most_saved(step):
    """The most tensors that graphs hold at once for their backward passes."""
    alive, most = weakref.WeakSet(), 0

    def keep(tensor):
        nonlocal most
        box = Saved(tensor)
        alive.add(box)
        most = max(most, len(alive))
        return box

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda box: box.tensor):
        step()
    return most


def test_trap_10_retain_graph_keeps_every_tasks_graph(tiny, tiny_data):
    e = dataclasses.replace(tiny, updates=("pcgrad",), iterations=1, epochs=1)
    training = fit(e, data=tiny_data, progress=False)
    model, rows = training.model.train(), batch_of(training)
    encoder = list(model.bert.parameters())
    alone = [most_saved(lambda one={task: part}: sum(model.losses(pack(one)).values()).backward())
             for task, part in rows.items()]

    def wrong():
        losses = [model.losses(pack({task: part}))[task] for task, part in rows.items()]
        for loss in losses:
            torch.autograd.grad(loss, encoder, retain_graph=True, allow_unused=True)

    assert most_saved(wrong) == sum(alone)
    assert most_saved(lambda: list(training)) == max(alone)
    training.close()


@pytest.mark.parametrize("update", first_quick("pcgrad", *(m for m in (*OURS, *BORROWED) if m != "pcgrad")))
def test_every_method_trains_records_conflicts_and_resumes(tiny, tiny_data, update):
    experiment = dataclasses.replace(tiny, updates=(update, "sum"), epochs=2, iterations=2)
    whole = fit(experiment, data=tiny_data, run="whole", progress=False)
    rows = list(whole)
    if update != "sum":
        for metric in ("cosine", "conflict"):
            found = {r["task"]: r["value"] for r in rows if r["metric"] == metric}
            assert set(found) == {"sst-qqp", "sst-sts", "qqp-sts"} and all(-1 <= v <= 1 for v in found.values())
    assert same_weights(whole.model, resumed(experiment, tiny_data).model)


def test_gse_3x_passes_through_the_end_of_gse(tiny, tiny_data):
    small = {field: getattr(tiny, field) for field in ("encoder", "lr", "device", "eval_train", "eval_qqp")}
    gse, gse_3x = (dataclasses.replace(lab.RECIPES[name], **small) for name in ("gse", "gse_3x"))
    three_epochs = fit(dataclasses.replace(gse, epochs=3, iterations=3), data=tiny_data, progress=False)
    one_epoch = fit(dataclasses.replace(gse_3x, epochs=1, iterations=9), data=tiny_data, progress=False)
    list(three_epochs), list(one_epoch)
    assert same_weights(three_epochs.model, one_epoch.model)


@pytest.mark.parametrize("sampling", first_quick("proportional", "square_root", "annealed"))
def test_updates_act_on_the_tasks_present(tiny, tiny_data, sampling):
    training = fit(dataclasses.replace(tiny, sampling=sampling, updates=("pcgrad", "sum"), epochs=2, iterations=6),
                   data=tiny_data, progress=False)
    list(training)
    drawn = training.recorder.state["drawn"]
    assert sum(drawn.values()) == 36 and training.run.status["state"] == "done"


@pytest.mark.parametrize("sampling", ["parallel", "proportional", "annealed"])
def test_separate_takes_a_step_a_batch_whatever_is_drawn(tiny, tiny_data, sampling, monkeypatch):
    """So lines by updates may be compared: `figures.curves(x="updates")` counts three an iteration."""
    e = dataclasses.replace(tiny, sampling=sampling, updates=("separate",), epochs=1, iterations=6, samples=0)
    training = fit(e, data=tiny_data, progress=False)
    taken = []
    monkeypatch.setattr("lab.train.pack", lambda rows, *of: taken.extend(rows.values()) or pack(rows, *of))
    list(training)
    assert [len(rows) for rows in taken] == [8] * 18
    for one, two in itertools.pairwise(taken):
        assert one.task != two.task or set(one.ids) != set(two.ids), "a batch was taken twice"
    assert max(state["step"] for state in training.recorder.parts.optimizer.state.values()) == 18


def test_gradvac_keeps_its_targets_by_pair_of_tasks():
    """A sampler may leave tasks out: T changes, and the rows of G are other tasks each time."""
    torch.manual_seed(0)
    J = torch.randn(3, 5, dtype=torch.float64)
    state, by_pair = {}, {}
    for seed, tasks in enumerate([(0, 1), (0, 2), (0, 1, 2), (1, 2), (0,), (0, 2)]):
        present = J[list(tasks)] + 0.3 * torch.randn(len(tasks), 5, dtype=torch.float64)
        targets = torch.tensor([[by_pair.get((a, b), 0.0) for b in tasks] for a in tasks], dtype=torch.float64)
        state["tasks"] = torch.tensor(tasks)
        ours = gradvac(present @ present.T, generator(seed), state) @ present
        torch.testing.assert_close(ours, plain_gradvac(present, orders(len(tasks), seed), targets))
        by_pair |= {(a, b): targets[i, j] for i, a in enumerate(tasks) for j, b in enumerate(tasks)}
    for (a, b), target in by_pair.items():
        torch.testing.assert_close(state["targets"][a, b], torch.as_tensor(target, dtype=torch.float64))


@pytest.mark.parametrize("sampling", first_quick("proportional", "annealed"))
def test_gradvac_trains_and_resumes_with_random_samplers(tiny, tiny_data, sampling):
    e = dataclasses.replace(tiny, updates=("gradvac",), sampling=sampling, epochs=2, iterations=8)
    whole = fit(e, data=tiny_data, run="whole", progress=False)
    list(whole)
    assert same_weights(whole.model, resumed(e, tiny_data).model)


@pytest.mark.parametrize("name", BORROWED)
def test_a_gramian_that_is_not_finite_is_an_error_of_the_lab(name):
    for bad in (float("nan"), float("inf")):
        with pytest.raises(lab.LabError, match="NaN or infinite"):
            COMBINERS[name](torch.full((3, 3), bad, dtype=torch.float64), generator(), {})


def test_sparse_gradients_are_combined_as_the_dense_ones_they_stand_for():
    """Tasks that touch other rows, the same row twice, or no row of the embedding at all."""
    torch.manual_seed(0)
    start, other, drawn = torch.randn(6, 4), torch.randn(4), [[0, 3, 3], [3, 5], None]
    found = {}
    for sparse in (False, True):
        gradients = []
        for ids in drawn:
            embedding, weight = torch.nn.Embedding(6, 4, sparse=sparse, _weight=start.clone()), other.clone()
            vectors = weight.requires_grad_() if ids is None else embedding(torch.tensor(ids)).tanh() * weight
            (vectors.sum() ** 2).backward()
            gradients.append([embedding.weight.grad, weight.grad])
        G = gramian(gradients)
        found[sparse] = G, [g.to_dense() for g in combine(gradients, pcgrad(G, torch.Generator().manual_seed(1), {}))]
    assert torch.allclose(found[False][0], found[True][0], rtol=1e-12)
    assert all(map(torch.equal, found[False][1], found[True][1]))
