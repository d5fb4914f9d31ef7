"""Combiners: golden cases, trusted references, the paper's traps, and properties at awkward scales."""

import dataclasses
import itertools

import pytest
import torch
from helpers import resumed, same_weights

import lab
from lab.batches import Stream, pack
from lab.gradients import COMBINERS, combine, gradvac, gramian, pcgrad
from lab.optim import AdamW
from lab.train import fit

OURS = ("sum", "mean", "pcgrad", "gradvac")
BORROWED = ("aligned_mtl", "imtl_g", "mgda", "fairgrad")


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


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e15])
def test_ours_are_scale_free_and_exact(name, scale):
    torch.manual_seed(2)
    J = torch.randn(3, 6, dtype=torch.float64)
    ours = COMBINERS[name]((J * scale) @ (J * scale).T, generator(3), {})
    torch.testing.assert_close(ours, COMBINERS[name](J @ J.T, generator(3), {}))


@pytest.mark.parametrize("name", [*OURS, *BORROWED])
@pytest.mark.parametrize("scale", [0, 1e-30, 1, 1e15])
def test_every_combiner_is_finite_and_leaves_the_gramian(name, scale):
    torch.manual_seed(4)
    for rank in (6, 1):
        J = torch.randn(3, rank, dtype=torch.float64) @ torch.randn(rank, 6, dtype=torch.float64) * scale
        G = J @ J.T
        before = G.clone()
        w = COMBINERS[name](G, generator(), {})
        assert w.shape == (3,) and w.dtype == torch.float64 and w.isfinite().all() and torch.equal(G, before)


@pytest.mark.parametrize("name", OURS)
def test_tasks_that_agree_are_only_summed_or_averaged(name):
    J = torch.tensor([[1.0, 0, 0], [1, 1, 0], [1, 0, 2]], dtype=torch.float64)
    expected = torch.ones(3) if name == "sum" else torch.full((3,), 1 / 3)
    torch.testing.assert_close(COMBINERS[name](J @ J.T, generator(), {}), expected.double())


def test_fairgrad_follows_its_scale():
    torch.manual_seed(5)
    J = torch.randn(3, 6, dtype=torch.float64).abs()
    near, far = (COMBINERS["fairgrad"](s * s * J @ J.T, generator(), {}) for s in (1.0, 100.0))
    torch.testing.assert_close(far, near * 100.0 ** -1, rtol=1e-3, atol=0)  # w_i = (G w)_i^(-1 / alpha)


@pytest.mark.parametrize("name", ["cagrad", "upgrad", "dualproj"])
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


def without_dropout(training):
    for module in training.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return training


def by_hand(training, updates, steps):
    """The same training written out: whole vectors, one task after the other, every gradient from scratch."""
    model, e = training.model, training.experiment
    optimizer = AdamW(model.parameters(), lr=e.lr)
    encoder, order = list(model.bert.parameters()), torch.Generator().manual_seed(e.seed)
    streams = {t: Stream(len(training.rows[t, "train"]), 8, [e.seed, i]) for i, t in enumerate(("sst", "qqp", "sts"))}
    for k in range(steps):
        for update in updates:
            gradients = {}
            for task, stream in streams.items():
                model.zero_grad()
                part = training.rows[task, "train"].take(stream.batch(k))
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
    """GSE's second gradient is taken at the moved weights (trap 6); heads stay outside the vector (trap 5)."""
    experiment = dataclasses.replace(tiny, updates=updates, epochs=1, iterations=3, dropout=0.0)
    training = without_dropout(fit(experiment, data=tiny_data, run="a", progress=False))
    other = without_dropout(fit(experiment, data=tiny_data, run="b", progress=False))
    expected = by_hand(other, updates, 3)
    list(training)
    for (name, ours), theirs in zip(training.model.named_parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=5e-5, msg=name)


def test_trap_5_parameter_by_parameter_is_something_else():
    torch.manual_seed(7)
    gradients = [[torch.randn(4), torch.randn(4)] for _ in range(2)]
    gradients[1][0] = -gradients[0][0] * 0.5  # a conflict in the first parameter, outweighed in the second
    gradients[1][1] = gradients[0][1] * 3
    whole = COMBINERS["pcgrad"](gramian(gradients), generator(), {})
    parts = [COMBINERS["pcgrad"](gramian([[g[k]] for g in gradients]), generator(), {}) for k in range(2)]
    torch.testing.assert_close(whole, torch.full((2,), 0.5).double())  # as one vector there is no conflict
    assert not torch.allclose(parts[0], whole)


@pytest.mark.parametrize("update", [*OURS, *BORROWED])
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
    gse = dataclasses.replace(tiny, updates=("pcgrad", "sum"))
    three_epochs = fit(dataclasses.replace(gse, epochs=3, iterations=3), data=tiny_data, progress=False)
    one_epoch = fit(dataclasses.replace(gse, epochs=1, iterations=9), data=tiny_data, progress=False)
    list(three_epochs), list(one_epoch)
    assert same_weights(three_epochs.model, one_epoch.model)


@pytest.mark.parametrize("sampling", ["proportional", "square_root", "annealed"])
def test_updates_act_on_the_tasks_present(tiny, tiny_data, sampling):
    training = fit(dataclasses.replace(tiny, sampling=sampling, updates=("pcgrad", "sum"), epochs=2, iterations=6),
                   data=tiny_data, progress=False)
    list(training)
    drawn = training.state["drawn"]
    assert sum(drawn.values()) == 36 and training.run.status["state"] == "done"
