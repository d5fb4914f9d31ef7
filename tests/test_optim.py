"""lab/optim.py against the formula in plain floats, against torch.optim.AdamW, and for unusual shapes and scales."""

import copy
import math

import pytest
import torch

from lab.optim import AdamW, adamw_step, adamw_step_fused


def by_hand(p, gradients, lr=1e-3, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.0):
    """AdamW as in PAPER.md for one weight, in Python floats: a list of the weight after each step."""
    m = v = 0.0
    path = []
    for t, g in enumerate(gradients, start=1):
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        p = p - lr * math.sqrt(1 - betas[1] ** t) / (1 - betas[0] ** t) * m / (math.sqrt(v) + eps)
        p = p - lr * weight_decay * p
        path.append(p)
    return path


def parameter(*shape, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype))


def gradient(p, step):
    return torch.randn(p.shape, generator=torch.Generator().manual_seed(1000 + step), dtype=p.dtype)


def run(optimizer, params, steps):
    """Take the steps with the numbers `steps`; a gradient depends only on its shape and the number of the step."""
    for step in steps:
        for p in params:
            p.grad = gradient(p, step)
        optimizer.step()


def assert_follows_the_formula(p, steps=5, layout=lambda g: g, **hyper):
    """After `steps` steps of the optimizer, every element of p has the value of the scalar formula."""
    start = p.detach().clone()
    gradients = [gradient(p, step) for step in range(steps)]
    optimizer = AdamW([p], **hyper)
    for g in gradients:
        p.grad = layout(g)
        optimizer.step()
    columns = torch.stack([g.flatten() for g in gradients], dim=1).tolist()
    expected = [by_hand(x, gs, **hyper)[-1] for x, gs in zip(start.flatten().tolist(), columns, strict=True)]
    torch.testing.assert_close(p.detach().flatten(), torch.tensor(expected, dtype=p.dtype), rtol=1e-12, atol=1e-14)


HYPER = {"lr": 0.03, "betas": (0.8, 0.95), "eps": 1e-2, "weight_decay": 0.1}  # large, so that every term matters


def test_every_step_is_the_formula_term_by_term():
    p = torch.nn.Parameter(torch.tensor([0.7], dtype=torch.float64))
    gradients = [0.5, -2.0, 1e-3, 0.0, 3.0, 3.0]
    optimizer = AdamW([p], **HYPER)
    for g, expected in zip(gradients, by_hand(0.7, gradients, **HYPER), strict=True):
        p.grad = torch.tensor([g], dtype=torch.float64)
        optimizer.step()
        assert p.item() == pytest.approx(expected, rel=1e-13)


def test_defaults_are_the_course_s():
    assert AdamW([parameter(2)]).defaults == {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-6, "weight_decay": 0.0}
    assert_follows_the_formula(parameter(3))


def test_decay_acts_on_the_moved_weight():
    # m = .5, v = .25, both corrections cancel at t = 1: sqrt(.25)/.5 * .5/.5 = 1, so 2 -> 2 - .5 = 1.5,
    # then 1.5 - .5 * .2 * 1.5 = 1.35. Decay before the move would give 1.8 - .5 = 1.3.
    p = torch.nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
    p.grad = torch.tensor(1.0, dtype=torch.float64)
    AdamW([p], lr=0.5, betas=(0.5, 0.75), eps=0.0, weight_decay=0.2).step()
    assert p.item() == pytest.approx(1.35, rel=1e-14)


def test_eps_is_added_to_the_uncorrected_root():
    # sqrt(v) = .5 and eps = .5: the step halves to .25. Added to the corrected root, 1 + .5, it would be 1/3.
    p = torch.nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
    p.grad = torch.tensor(1.0, dtype=torch.float64)
    AdamW([p], lr=0.5, betas=(0.5, 0.75), eps=0.5).step()
    assert p.item() == pytest.approx(1.75, rel=1e-14)


def test_equals_torch_over_1000_steps_without_eps_and_decay():
    ours, theirs = [parameter(5, 3), parameter(4)], [parameter(5, 3), parameter(4)]
    run(AdamW(ours, lr=1e-2, eps=0.0), ours, range(1000))
    run(torch.optim.AdamW(theirs, lr=1e-2, eps=0.0, weight_decay=0.0), theirs, range(1000))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_without_a_gradient_no_step_and_t_is_each_parameter_s_own():
    always, sometimes, never = parameter(3), parameter(3), parameter(3)
    lone = parameter(3)
    optimizer = AdamW([always, sometimes, never], **HYPER)
    run(optimizer, [always, sometimes], [0])
    sometimes.grad = None
    before, state = sometimes.detach().clone(), copy.deepcopy(optimizer.state[sometimes])
    run(optimizer, [always], [7, 8, 9])
    assert torch.equal(sometimes, before)
    assert optimizer.state[sometimes]["step"] == state["step"] == 1 and optimizer.state[always]["step"] == 4
    assert all(torch.equal(optimizer.state[sometimes][name], state[name]) for name in ("exp_avg", "exp_avg_sq"))
    run(optimizer, [always, sometimes], [1, 2])
    run(AdamW([lone], **HYPER), [lone], [0, 1, 2])
    torch.testing.assert_close(sometimes, lone, rtol=1e-14, atol=0)
    assert torch.equal(never, parameter(3)) and never not in optimizer.state
    AdamW([never]).step()  # no parameter has a gradient


def test_a_zero_gradient_is_a_step():
    p = parameter(3)
    optimizer = AdamW([p], lr=0.1)
    run(optimizer, [p], [0])
    before = p.detach().clone()
    p.grad = torch.zeros_like(p)
    optimizer.step()
    assert optimizer.state[p]["step"] == 2 and (p != before).all()


@pytest.mark.parametrize("as_tensor", [False, True])
def test_state_dict_round_trip_continues_bit_identically(tmp_path, as_tensor):
    def fresh():
        params = [parameter(6, 5, dtype=torch.float32), parameter(7, dtype=torch.float32)]
        return params, AdamW([{"params": params[:1], "lr": 0.01}, {"params": params[1:], **HYPER}])

    params, optimizer = fresh()
    run(optimizer, params, range(4))
    torch.save({"params": params, "optimizer": optimizer.state_dict()}, tmp_path / "half.pt")
    run(optimizer, params, range(4, 9))

    resumed, second = fresh()
    saved = torch.load(tmp_path / "half.pt")
    if as_tensor:
        for state in saved["optimizer"]["state"].values():
            state["step"] = torch.tensor(state["step"])
    with torch.no_grad():
        for p, kept in zip(resumed, saved["params"], strict=True):
            p.copy_(kept)
    second.load_state_dict(saved["optimizer"])
    run(second, resumed, range(4, 9))

    for a, b in zip(params, resumed, strict=True):
        assert torch.equal(a, b)
        assert optimizer.state[a]["step"] == second.state[b]["step"] == 9
        for name in ("exp_avg", "exp_avg_sq"):
            assert torch.equal(optimizer.state[a][name], second.state[b][name])
    assert [group["lr"] for group in second.param_groups] == [0.01, HYPER["lr"]]


@pytest.mark.parametrize("shape", [(), (1,), (0,), (8,), (9,), (20,), (5, 3), (3, 20), (2, 3, 4), (1, 30)])
def test_any_shape(shape):
    assert_follows_the_formula(parameter(*shape), **HYPER)


def test_parameters_of_different_sizes_do_not_disturb_each_other():
    shapes = [(3,), (20,), (2, 2), (), (5, 4), (1,)]
    together = [parameter(*shape, seed=i) for i, shape in enumerate(shapes)]
    alone = [parameter(*shape, seed=i) for i, shape in enumerate(shapes)]
    run(AdamW(together, **HYPER), together, range(3))
    for a, b in zip(together, alone, strict=True):
        run(AdamW([b], **HYPER), [b], range(3))
        torch.testing.assert_close(a, b, rtol=1e-14, atol=0)


@pytest.mark.parametrize("t", [1, 2, 1000])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_the_fused_step_is_the_step(t, weight_decay):
    group = {**HYPER, "weight_decay": weight_decay}
    sides = [[[parameter(*shape, seed=i).detach() for i, shape in enumerate([(20, 3), (7,), ()])] for _ in range(3)]
             for _ in range(2)]
    gradients = [gradient(p, 5) for p in sides[0][0]]
    for (p, m, v), step in zip(sides, (adamw_step, adamw_step_fused), strict=True):
        v = [x.abs_() for x in v]
        step(p, gradients, m, v, t, group)
    for ours, fused in zip(*sides, strict=True):
        for a, b in zip(ours, fused, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-15)


def test_gradient_not_contiguous():
    def transposed(g):
        return g.t().contiguous().t()

    assert not transposed(torch.zeros(6, 5)).is_contiguous()
    assert_follows_the_formula(parameter(6, 5), layout=transposed, **HYPER)


def test_gradient_expanded():
    # As after sum().backward(): one number in memory, 30 elements with stride 0.
    p = parameter(6, 5)
    start = p.detach().clone()
    p.grad = torch.tensor(2.0, dtype=torch.float64).expand(6, 5)
    AdamW([p], **HYPER).step()
    expected = [by_hand(x, [2.0], **HYPER)[0] for x in start.flatten().tolist()]
    assert p.flatten().tolist() == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("view", [lambda x: x.t(), lambda x: x[:, ::2], lambda x: x[1:, 1:]])
def test_parameter_not_contiguous(view):
    p = torch.nn.Parameter(view(parameter(6, 10).detach()))
    assert not p.is_contiguous()
    assert_follows_the_formula(p, **HYPER)


def test_groups_keep_their_own_hyperparameters():
    settings = [{"lr": 0.1}, {"betas": (0.5, 0.6)}, {"eps": 0.3}, {"weight_decay": 0.5}, {}]
    params = [parameter(4, 3, seed=i) for i in range(len(settings))]
    starts = [p.detach().flatten().tolist() for p in params]
    optimizer = AdamW([{"params": [p], **own} for p, own in zip(params, settings, strict=True)], **HYPER)
    run(optimizer, params, range(3))
    for p, start, own in zip(params, starts, settings, strict=True):
        columns = torch.stack([gradient(p, step).flatten() for step in range(3)], dim=1).tolist()
        expected = [by_hand(x, gs, **{**HYPER, **own})[-1] for x, gs in zip(start, columns, strict=True)]
        assert p.flatten().tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("bad", [
    {"lr": -1e-3}, {"lr": math.nan}, {"lr": math.inf}, {"eps": -1e-6}, {"eps": math.nan}, {"weight_decay": -0.1},
    {"weight_decay": math.inf}, {"betas": (1.0, 0.999)}, {"betas": (0.9, 1.0)}, {"betas": (-0.1, 0.9)},
    {"betas": (0.9, math.nan)}, {"betas": (0.9,)}, {"betas": (0.9, 0.99, 0.999)},
])
def test_bad_hyperparameters_are_named_in_one_line(bad):
    (name,) = bad
    for make in (lambda: AdamW([parameter(2)], **bad), lambda: AdamW([{"params": [parameter(2)], **bad}])):
        with pytest.raises(ValueError, match=f"^AdamW: {name} must be [^\n]*$"):
            make()


def test_a_sparse_gradient_counts_as_the_dense_one_to_the_bit():
    """Words drawn twice, words drawn once and never again, weight decay: as nn.Embedding(sparse=False)."""
    torch.manual_seed(0)
    start, batches = torch.randn(7, 3), [torch.tensor([1, 2, 1]), torch.tensor([4]), torch.tensor([1, 6, 6, 6])]
    found = []
    for sparse in (False, True):
        embedding = torch.nn.Embedding(7, 3, sparse=sparse, _weight=start.clone())
        optimizer = AdamW([embedding.weight], lr=0.1, weight_decay=0.01)
        for ids in batches:
            optimizer.zero_grad()
            embedding(ids).pow(2).mul(torch.arange(1.0, 4.0)).sum().backward()
            optimizer.step()
        found.append(embedding.weight.detach())
    assert torch.equal(*found) and not torch.equal(found[0], start)


def test_closure_is_called_once_with_gradients_on_and_its_loss_returned():
    p = parameter(3)
    optimizer = AdamW([p], lr=0.1)
    calls = []

    def closure():
        calls.append(torch.is_grad_enabled())
        optimizer.zero_grad()
        loss = (p**2).sum()
        loss.backward()
        return loss

    first = optimizer.step(closure)
    assert calls == [True] and first.item() == pytest.approx((parameter(3) ** 2).sum().item())
    assert optimizer.step(closure) < first
    assert optimizer.step() is None


def test_learning_rate_scheduler():
    p = torch.nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    optimizer = AdamW([p], lr=0.1, eps=0.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: [0.0, 0.5, 1.0, 0.25][step])
    moved = []
    for step in range(4):
        before = p.item()
        p.grad = torch.ones_like(p)
        optimizer.step()
        moved.append(before - p.item())
        if step < 3:
            scheduler.step()
    # With a constant gradient m / sqrt(v), corrected, is 1: each step moves by its learning rate.
    assert moved == pytest.approx([0.0, 0.05, 0.1, 0.025], abs=1e-12)


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e15])
def test_awkward_scales_stay_finite_in_float32(scale):
    p = parameter(10, dtype=torch.float32)
    start = p.detach().clone()
    optimizer = AdamW([p], lr=1e-3)
    for step in range(20):
        p.grad = gradient(p, step) * scale
        optimizer.step()
    assert p.isfinite().all() and all(optimizer.state[p][k].isfinite().all() for k in ("exp_avg", "exp_avg_sq"))
    # Kingma & Ba, section 2.1: a step is at most lr (1 - b1) / sqrt(1 - b2), 3.2 lr here.
    assert (p - start).abs().max() <= 20 * 3.2e-3
    assert (p != start).any() == (scale == 1e15)  # gradients far below eps change nothing


def test_float32_and_float64_parameters_together():
    params = [parameter(4, dtype=torch.float32), parameter(4)]
    run(AdamW(params, **HYPER), params, range(3))
    alone = parameter(4)
    run(AdamW([alone], **HYPER), [alone], range(3))
    assert torch.equal(params[1], alone) and params[0].dtype == torch.float32
