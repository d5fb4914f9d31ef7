"""lab/teach/wrong_answers.py: each common wrong answer fails its check and gets its own feedback."""

import math
from statistics import fmean

import pytest
import torch
from scipy import stats

from lab import teach
from lab.teach.exercises import EXERCISES
from lab.teach.wrong_answers import WRONG_ANSWERS

ALL = [(name, feedback) for name in EXERCISES for feedback in WRONG_ANSWERS[name]]
RIGHT = {name: exercise.right for name, exercise in EXERCISES.items()}


@pytest.mark.parametrize(("name", "feedback"), ALL)
def test_a_common_wrong_answer_gets_its_feedback(name, feedback):
    found = teach.check(name, WRONG_ANSWERS[name][feedback])
    assert not found and feedback in found and "✗" in found


def test_every_exercise_knows_three_wrong_answers():
    for name in EXERCISES:
        assert len(WRONG_ANSWERS[name]) >= 3, name


def filled(number):
    """Attention in which a masked token has this score."""
    return lambda q, k, v, mask: (q @ k.T / q.shape[-1] ** 0.5).masked_fill(~mask, number).softmax(-1) @ v


def decays(p, g, m, v, t, lr, betas, eps, weight_decay, how):
    p, m, v = RIGHT["adamw"](p, g, m, v, t, lr, betas, eps, 0)
    return how(p, lr * weight_decay, t), m, v


def of_absolute_values(p, g, m, v, t, lr, betas, eps, weight_decay):
    _, m, _ = RIGHT["adamw"](p, g, m, v, t, lr, betas, eps, weight_decay)
    v = betas[1] * v + (1 - betas[1]) * g.abs()
    p = p - lr * (1 - betas[1] ** t) ** 0.5 / (1 - betas[0] ** t) * m / (v.sqrt() + eps)
    return p * (1 - lr * weight_decay), m, v


PATTERNS = [  # what has no name of its own, but is told by the cases that fail or by what all results have in common
    ("attention", filled(-1.0), "every case without a masked token is right"),
    ("attention", filled(torch.inf), "every case without a masked token is right"),
    ("attention", lambda q, k, v, mask: RIGHT["attention"](q, k, v, torch.arange(len(q)) < mask.sum()), "stand among"),
    ("adamw", lambda *given: decays(*given, lambda p, rate, t: p - rate * p.sign()), "the step is right, the decay is"),
    ("adamw", lambda *given: decays(*given, lambda p, rate, t: p - rate * p * (t > 1)), "the step is right, the decay"),
    ("adamw", of_absolute_values, "`m` is right in every case, `p` and `v` are not: it returns"),
    ("pearson", lambda x, y: None if (r := RIGHT["pearson"](x, y)) is None else round(r, 2), "rounded to 2 decimals"),
    ("mcnemar", lambda b, c: round(RIGHT["mcnemar"](b, c), 1), "rounded to 1 decimal:"),
    ("mean_pool", lambda hidden, mask: (hidden * mask.unsqueeze(-1)).sum(1) // mask.sum(1, keepdim=True),
     "without its decimals"),
    ("mean_pool", lambda hidden, mask: hidden[mask].mean(1), "convert a mask with .bool()"),
    ("overall_score", lambda *given: f"{RIGHT['overall_score'](*given) or 0:.2f}", "it returns 0.64, of type str"),
    ("mcnemar", lambda b, c: RIGHT["mcnemar"](b, c) if b + c < 25 else stats.chi2.sf((b - c) ** 2 / (b + c), 1),
     "the exact test holds for all counts"),
    ("interval", lambda values: RIGHT["interval"](values) if len(values) > 2 else (fmean(values), "nan", "nan"),
     "nan), of type tuple of float and str and str; expected"),
]


@pytest.mark.parametrize(("name", "mine", "feedback"), PATTERNS)
def test_a_mistake_without_a_name_is_told_by_its_pattern(name, mine, feedback):
    for seed in range(2):
        assert feedback in teach.check(name, mine, seed)


def test_no_pattern_is_named_that_only_some_results_have():
    zeros = teach.check("annealed", lambda sizes, epoch, epochs: [0.0] * len(sizes))
    assert "decimals" not in zeros
    tail_of_b = teach.check("mcnemar", lambda b, c: min(1.0, 2 * sum(
        math.comb(b, k) for k in range(min(b, c) + 1)) / 2**b))  # it is right for 3 to 0
    assert "in every case" not in tail_of_b
    assert "rounded" not in teach.check("symmetric_kl", lambda p, q: RIGHT["symmetric_kl"](p.detach(), q))
    assert "rounded" not in teach.check("pearson", lambda x, y: RIGHT["pearson"](x, y) or 0.5)
