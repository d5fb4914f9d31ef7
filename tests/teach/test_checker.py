"""lab/teach/checker.py: it tells right from wrong and says what is wrong; solutions are collapsed."""

import html
import math
import sys
from math import inf

import pytest
import torch
from learners import (
    mcnemar_folded,
    mcnemar_large,
    pcgrad_without_test,
    pearson_centred_in_float32,
    pearson_unless,
)
from scipy import stats

import lab
from lab import teach
from lab.teach.exercises import EXERCISES, adamw
from lab.teach.scale import SCALE
from lab.teach.wrong_answers import WRONG_ANSWERS


@pytest.mark.parametrize("name", EXERCISES)
def test_an_empty_function_an_exception_and_a_wrong_kind_are_named(name):
    def unwritten(*given):
        ...

    def raises(*given):
        raise ZeroDivisionError("oh")

    assert "returns None: is a `return` missing?" in teach.check(name, unwritten)
    assert "it raises ZeroDivisionError: oh" in teach.check(name, raises)
    assert "expected" in teach.check(name, lambda *given: "a text")
    assert "takes 0 positional arguments" in teach.check(name, lambda: 0)


def test_a_wrong_shape_and_a_changed_argument_are_named():
    right = EXERCISES["mean_pool"].right
    found = teach.check("mean_pool", lambda hidden, mask: right(hidden, mask).T)
    assert "it is the transpose of the right result" in found
    found = teach.check("mean_pool", lambda hidden, mask: right(hidden, mask)[:, :1])
    assert "its result has shape (1, 1); expected (1, 2)" in found

    def spoils(hidden, mask):
        answer = right(hidden, mask)
        hidden.zero_()
        return answer.clone()

    found = teach.check("mean_pool", spoils)
    assert found and "✗" not in found and "It changes its argument `hidden` in place" in found


def test_an_unknown_wrong_answer_gets_the_case_and_both_numbers():
    found = teach.check("overall_score", lambda sst, qqp, sts: sst / 2)
    assert "it returns 0.256; expected 0.6412" in found and "sst = 0.512, qqp = 0.731, sts = 0.361" in found


def test_an_exception_of_no_common_wrong_answer_is_reported_as_it_is():
    found = teach.check("last_pool", lambda hidden, lengths: [][9])
    assert "it raises IndexError: list index out of range" in found and "cumsum" not in found


def test_the_line_that_raised_an_exception_is_shown_also_of_a_helper():
    def helper(sizes):
        return sizes ** 0.5  # a list has no powers

    def outer(sizes, epoch, epochs):
        return [helper(of) for of in sizes] + [sizes ** epoch]

    assert "It happens in the line: return [helper(of)" in teach.check("annealed", outer)
    nowhere = {}
    exec("def f(*given): return 1 / 0", nowhere)  # its source is in no file
    assert "it raises ZeroDivisionError: division by zero\n(the case" in teach.check("annealed", nowhere["f"])


def test_a_wrong_answer_that_changes_its_arguments_is_told_so():
    def projects_in_place(G, orders):
        w = torch.ones_like(G[0])
        for i, order in enumerate(orders):
            for j in order:
                if j != i and G[i, j] < 0:
                    w[j] -= G[i, j] / G[j, j]
                    G[i] -= G[i, j] / G[j, j] * G[j]
        return w / len(G)

    assert "It also changes `G` in place: work on a copy." in teach.check("pcgrad", projects_in_place)
    assert "in place" not in teach.check("pcgrad", lambda G, orders: G[0])


def test_no_mistake_is_named_that_the_learner_has_not_made():
    found = teach.check("pearson", pearson_centred_in_float32, seed=1)
    assert "float32 is too small or too coarse" in found and "eps" not in found
    right = EXERCISES["pearson"].right
    assert "y can be constant" not in teach.check("pearson", lambda x, y: right(x, y) or "None")
    assert "is missing from the tail" not in teach.check("mcnemar", mcnemar_folded)
    assert "p is 1 for b = c, not 0" in teach.check(
        "mcnemar", lambda b, c: 0 if b == c else EXERCISES["mcnemar"].right(b, c))


@pytest.mark.parametrize(("given", "what"), [(None, "None"), (torch.zeros(2), "a value of type Tensor")])
def test_a_result_in_place_of_the_function_is_said_and_nothing_else(given, what):
    found = teach.check("mean_pool", given)
    assert not found and found.state == "not yet" and found.splitlines()[1:] == [
        f"You passed {what}; pass the function itself, its name without parentheses"]


def test_counts_that_a_float_cannot_hold_are_a_case_of_mcnemar():
    def floats(b, c):
        return min(1, 2 * sum(math.comb(b + c, k) * .5 ** (b + c) for k in range(min(b, c) + 1)))

    assert "divide once, sum(...) / 2**n" in teach.check("mcnemar", floats)


def test_a_constant_of_math_is_no_value_from_the_notebook():
    def tail(b, c):
        return -min(inf, -EXERCISES["mcnemar"].right(b, c))

    assert "`inf`" not in teach.check("mcnemar", tail)


def test_an_unknown_name_is_an_error_that_names_the_nearest():
    with pytest.raises(lab.LabError, match="did you mean 'pcgrad'"):
        teach.check("pcgradd", max)
    with pytest.raises(lab.LabError, match="did you mean"):
        teach.solution("attentoin")


def test_a_solution_is_collapsed_and_escaped():
    page = teach.solution("pearson")._repr_mimebundle_()["text/html"]
    assert page.startswith("<details><summary>") and "-&gt; float | None" in page
    assert "&lt;" not in teach.check("pearson", lambda x, y: None) and "<pre" in teach.check("pearson", max).page


def test_the_message_of_an_exception_is_escaped():
    def raises(*given):
        raise ValueError("<script>")

    assert "&lt;script&gt;" in teach.check("interval", raises).page


@pytest.mark.parametrize("name", EXERCISES)
def test_a_check_keeps_the_cases(name):
    before = repr(EXERCISES[name].cases)
    teach.check(name, EXERCISES[name].right)
    assert repr(EXERCISES[name].cases) == before


class Hostile:
    """An object that fails in every way in which it is looked at."""

    def __eq__(self, other):
        raise OSError("eq")

    def __repr__(self):
        raise OSError("repr")

    __hash__ = None


class HostileError(BaseException):
    def __str__(self):
        raise OSError("str")


def raising(error):
    def raises(*given):
        raise error
    return raises


def endless(*given):
    return endless(*given)


def holding_itself(kind):
    inner = []
    inner.append(kind([inner]))
    return inner[0]


BAD = {
    "it raises SystemExit: 3": lambda *given: sys.exit(3),
    "it raises GeneratorExit": raising(GeneratorExit()),
    "it raises HostileError: an object of type HostileError that cannot be shown": raising(HostileError()),
    "it raises RecursionError": endless,
    "it raises ValueError: \N{REPLACEMENT CHARACTER}[2J": raising(ValueError("\x1b[2J")),
    "an object of type int that cannot be shown": lambda *given: 10**5000,
    "an object of type list that cannot be shown": lambda *given: holding_itself(list),
    "an object of type tuple that cannot be shown": lambda *given: holding_itself(tuple),
    "an object of type Hostile that cannot be shown": lambda *given: Hostile(),
    "it returns [9, 9, ": lambda *given: [9] * 10**6,
    "it returns a generator, which has no numbers yet": lambda *given: (x for x in given),
    "it returns nan": lambda *given: float("nan"),
    "it returns 1j": lambda *given: 1j,
    "it returns (0.616": lambda *given: torch.tensor(0.6164 + 0j),
    "layout torch.sparse_coo": lambda *given: torch.eye(2).to_sparse(),
    "device meta, with 2 numbers": lambda *given: torch.empty(2, device="meta"),
    "with 4,000,000,000,000 numbers": lambda *given: torch.zeros(1).expand(4 * 10**12),
    "it returns \N{REPLACEMENT CHARACTER}": lambda *given: "\ud800",
}


def half_guarded(x, y):
    """The covariance, but None where it should be."""
    return None if EXERCISES["pearson"].right(x, y) is None else float(torch.cov(torch.stack([x, y]).double())[0, 1])


def clamped(z, w, least=1e-9):
    """Right but for large logits."""
    p, q = (of.double().sigmoid().clamp(least, 1 - least) for of in (z, w))
    return ((p - q) * (p.log() - q.log() - (1 - p).log() + (1 - q).log())).mean()


@pytest.mark.parametrize(("name", "mine", "feedback"), [
    ("pearson", half_guarded, "this is the covariance"),  # cases that are right do not hide the mistake of the others
    ("bernoulli_kl", clamped, "the divergence of large logits is cut off"),  # the cases that fail tell it
    ("pearson", pearson_unless(lambda x: x.double().std() < .1), "a series is constant only if all its values"),
    ("pearson", lambda x, y: .3 if (r := EXERCISES["pearson"].right(x, y)) is None else r,  # .3: what rounding leaves
     "a constant series has no r"),
    ("attention", lambda q, k, v, mask: (q @ k.T / q.shape[-1] ** .5).masked_fill(~mask, -50.).softmax(-1) @ v,
     "a masked token must have the score -inf"),
    ("mean_pool", lambda hidden, mask: torch.stack([of[:int(real.sum())].mean(0) for of, real in zip(
        hidden, mask, strict=True)]), "padding may stand first"),
    ("mean_pool", lambda hidden, mask: (hidden * mask.unsqueeze(-1)).sum(1) / (hidden * mask.unsqueeze(-1) != 0).sum(1),
     "a real token may contain a 0"),
    ("pcgrad", pcgrad_without_test, "a gradient of length 0 conflicts with none"),
    ("mcnemar", mcnemar_large, "the exact test holds for all counts"),
    ("attention", lambda q, k, v, mask: (EXERCISES["attention"].right(q, k, v, mask),), "is there a comma"),
    ("mcnemar", lambda b, c: EXERCISES["mcnemar"].right(b, c) < .05, "it returns True or False"),
    ("mcnemar", lambda b, c: str(EXERCISES["mcnemar"].right(b, c)), "of type str"),
    ("cosine_features", lambda u, v: torch.cat([u, v, (u * v).sum(-1, keepdim=True) / u.square().sum(
        -1, keepdim=True)], -1), "the dot product is divided by |u|^2"),  # right values of a case hide no wrong ones
    ("smart_step", lambda noise, gradient, eta, eps: noise / (noise.abs().max(-1, keepdim=True) + eps), "use amax()"),
    ("cross_input", lambda a, b: (a, list(b.remove(101))), "such as remove()"),
])
def test_the_feedback_names_the_mistake_itself(name, mine, feedback):
    assert feedback in teach.check(name, mine)


def test_an_answer_in_place_without_return_counts_as_an_attempt():
    def in_place(noise, gradient, eta, eps):
        noise += eta * gradient

    assert teach.check("smart_step", in_place).state == "not yet"


@pytest.mark.parametrize("feedback", BAD)
def test_whatever_a_function_does_there_is_feedback(feedback):
    found = teach.check("pearson", BAD[feedback])
    assert not found and feedback in found and len(found) < 3000
    assert found.page.encode()  # a notebook sends it as UTF-8


def test_an_argument_that_cannot_be_compared_any_more_is_a_changed_one():
    def spoils(values):
        answer = EXERCISES["interval"].right(values)
        values[:] = [Hostile()]
        return answer

    assert "changes its argument `values` in place" in teach.check("interval", spoils)


def test_ctrl_c_still_interrupts():
    with pytest.raises(KeyboardInterrupt):
        teach.check("pearson", raising(KeyboardInterrupt()))


def test_a_right_answer_that_empties_its_arguments_stays_right_and_corrupts_nothing():
    before = repr(EXERCISES["pcgrad"].cases)

    def empties(G, orders):
        for i in range(len(G)):
            orders[i].remove(i)
        return EXERCISES["pcgrad"].right(G, orders)

    def on_itself(G, orders):
        return WRONG_ANSWERS["pcgrad"][next(iter(WRONG_ANSWERS["pcgrad"]))](G, orders)

    for _ in range(2):
        found = teach.check("pcgrad", empties)
        assert found.passed and "changes its argument `orders` in place" in found
    assert not teach.check("pcgrad", on_itself) and repr(EXERCISES["pcgrad"].cases) == before


def test_drawn_cases_differ_from_check_to_check_and_can_be_repeated(monkeypatch):
    seen = []

    def spy(b, c):
        seen.append((b, c))
        return EXERCISES["mcnemar"].right(b, c)

    monkeypatch.delenv(SCALE, raising=False)
    seeds = {teach.check("mcnemar", spy).seed for _ in range(20)}
    assert len(seeds) > 10 and len(set(seen)) > 20
    seen.clear()
    found = teach.check("mcnemar", spy, seed=7)
    assert "(seed 7)" in found and teach.check("mcnemar", spy, 7) == found
    assert len(seen) % 2 == 0 and seen[: len(seen) // 2] == seen[len(seen) // 2 :]
    monkeypatch.setenv(SCALE, "full")  # committed outputs stay as they are
    assert teach.check("mcnemar", spy).seed == teach.check("mcnemar", spy).seed == 0


def test_a_check_leaves_the_learners_random_numbers_alone():
    torch.manual_seed(3)
    wanted = torch.rand(3)
    torch.manual_seed(3)
    teach.check("attention", EXERCISES["attention"].right)
    assert torch.equal(torch.rand(3), wanted)


lr, betas, helper_constant = 0.1, (0.9, 0.999), 2


def test_names_from_the_notebook_are_reported_and_cannot_stand_in_for_arguments():
    def forgets(p, g, m, v, t, rate, both, eps, weight_decay):
        return adamw(p, g, m, v, t, lr, betas, eps, weight_decay)

    found = teach.check("adamw", forgets)
    assert not found and "It reads `lr`, `betas` from the notebook: use its arguments alone" in found

    def harmless(b, c):
        return helper(b, c) * helper_constant / 2

    found = teach.check("mcnemar", harmless)
    assert found.passed and "It reads `helper_constant` from the notebook" in found and "`helper`" not in found


def helper(b, c):
    return min(1.0, 2 * sum(math.comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c))


CUT = "no gradient flows through it"


def test_a_missing_gradient_is_named_where_training_needs_it():
    right = {name: EXERCISES[name].right for name in EXERCISES}
    assert CUT in teach.check("symmetric_kl", lambda p, q: right["symmetric_kl"](p.detach(), q.detach()))
    assert CUT in teach.check("bernoulli_kl", lambda z, w: right["bernoulli_kl"](z, w).item())
    found = teach.check("attention", lambda q, k, v, mask: right["attention"](q, k.detach(), v, mask))
    assert not found and "the gradient with respect to k is not" in found

    def rows_of_nan(q, k, v, mask):
        both = mask.unsqueeze(0) & mask.unsqueeze(1)
        return (q @ k.T / q.shape[-1] ** 0.5).masked_fill(~both, -torch.inf).softmax(-1) @ v

    assert "the gradient with respect to v is NaN" in teach.check("attention", rows_of_nan)
    found = teach.check("mean_pool", lambda hidden, mask: right["mean_pool"](hidden, mask).numpy())
    assert found.passed and "No gradient flows through numpy" in found


PATTERNS = {
    "wrong sign in every case": ("symmetric_kl", lambda p, q: -EXERCISES["symmetric_kl"].right(p, q)),
    "3 times the right result": ("annealed", lambda *given: 3 * EXERCISES["annealed"].right(*given)),
    "it returns 0.5 in every case": ("mcnemar", lambda b, c: 0.5),
    "parts are right, but in another order": ("interval", lambda v: EXERCISES["interval"].right(v)[::-1]),
    "float32 is too small or too coarse": ("pearson", lambda x, y: None if len(x.unique()) == 1 or len(y.unique()) == 1
                                           else torch.corrcoef(torch.stack([x, y]))[0, 1]),
    "transpose": ("last_pool", lambda hidden, lengths: EXERCISES["last_pool"].right(hidden, lengths).T),
    "remove the dimension of size 1": ("symmetric_kl", lambda p, q: EXERCISES["symmetric_kl"].right(p, q)[None]),
    "same dtype": ("pcgrad", lambda G, orders: torch.eye(len(G)) @ G),
    "pass the function itself": ("pcgrad", torch.ones(2)),
}


@pytest.mark.parametrize("words", PATTERNS)
def test_a_pattern_in_all_results_is_named(words):
    name, mine = PATTERNS[words]
    found = teach.check(name, mine)
    assert not found.passed and words in found


def attention_that_hides_real_tokens(q, k, v, mask):
    scores = q @ k.T / q.shape[1] ** 0.5
    scores[:, mask] = -1e9  # the lab's own form of this mistake has -inf, and is NaN where all are real
    return scores.softmax(-1) @ v


def torchs_step_with_a_late_t(p, g, m, v, t, lr, betas, eps, weight_decay):
    m, v, t = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g * g, t + 1
    p = p - lr * (m / (1 - betas[0] ** t)) / ((v / (1 - betas[1] ** t)).sqrt() + eps)
    return [p * (1 - lr * weight_decay), m, v]


def bernoulli_kl_of_matrices(z, w):
    p, q = z.sigmoid().unsqueeze(1), w.sigmoid()
    return ((p - q) * (z.unsqueeze(1) - w)).mean()


OTHERWISE = {
    "the mask is inverted": ("attention", attention_that_hides_real_tokens),
    "do not add 1. Besides, eps must be added to the uncorrected sqrt(v)": ("adamw", torchs_step_with_a_late_t),
    "(B, 1) against (B,) makes (B, B)": ("bernoulli_kl", bernoulli_kl_of_matrices),
    "the product is transposed": ("attention", lambda q, k, v, mask: torch.softmax(
        k @ q.T / math.sqrt(q.shape[1]) + torch.where(mask, 0, -1e9), 1) @ v),
    "the softmax runs down the columns": ("attention", lambda q, k, v, mask: torch.softmax(
        q @ k.T / math.sqrt(q.shape[1]) + torch.where(mask, 0, -1e9), 0) @ v),
    "eps belongs to the denominator": ("smart_step", lambda noise, gradient, eta, eps: (noise + eta * gradient)
                                       / (noise + eta * gradient).abs().amax(1, keepdim=True) + eps),
    "the degrees of freedom are n - 1, not n": ("interval", lambda values: (
        sum(values) / len(values), *(stats.t.interval(0.95, len(values), sum(values) / len(values), stats.sem(values))
                                     if len(values) > 2 else [math.nan] * 2))),
    "cumsum is the start of the next sentence": ("last_pool", lambda hidden, lengths: hidden[torch.cumsum(lengths, 0)]),
}


@pytest.mark.parametrize("words", OTHERWISE)
def test_a_mistake_is_named_however_it_is_written(words):
    name, mine = OTHERWISE[words]
    assert words in teach.check(name, mine)


def test_an_empty_function_is_not_attempted_and_each_state_has_its_box():
    pages = [teach.check("mcnemar", mine) for mine in (lambda b, c: None, lambda b, c: 0, EXERCISES["mcnemar"].right)]
    assert [found.state for found in pages] == ["not attempted", "not yet", "the lab's own answer"]
    assert all('role="status"' in found.page and found.state in html.unescape(found.page) for found in pages)
