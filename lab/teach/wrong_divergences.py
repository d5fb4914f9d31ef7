"""Common wrong answers to the exercises of notebook 06: SMART's divergences and its step."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lab import smart
from lab.teach.exercises import bernoulli_kl, smart_step, symmetric_kl
from lab.teach.mistakes import mistakes


def _one_way(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q), mean over rows."""
    return F.kl_div(q.log_softmax(-1), p.log_softmax(-1), reduction="batchmean", log_target=True)


def _entropies(p: Tensor, q: Tensor) -> Tensor:
    """The sum of both cross-entropies."""
    return -(p.softmax(-1) * q.log_softmax(-1) + q.softmax(-1) * p.log_softmax(-1)).sum(-1).mean()


def _from_the_mean(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || m) + KL(q || m), of the mean m of both."""
    mean = ((p.softmax(-1) + q.softmax(-1)) / 2).log()
    return sum((of.softmax(-1) * (of.log_softmax(-1) - mean)).sum(-1) for of in (p, q)).mean()


def _kl_div(first: Callable, target: Callable, log_target: bool = False) -> Callable:
    """Both directions by F.kl_div, with these functions of the logits as its arguments."""
    return lambda p, q: sum(F.kl_div(first(a, -1), target(b, -1), reduction="batchmean", log_target=log_target)
                            for a, b in ((p, q), (q, p)))


_LOGS, _DIFFERENCE, _MEANS = "p.log_softmax(-1), q.log_softmax(-1)", "(p.exp() - q.exp())", ".sum(-1).mean()"

SYMMETRIC_KL = mistakes(symmetric_kl, {
    "this is only one direction: KL(p || q) differs from KL(q || p), and SMART adds both": _one_way,
    "this is also a mean over classes (reduction='mean'); a KL is a sum over classes, so use 'batchmean'":
        (_MEANS, ".mean()"),
    "this is the sum over rows; with the mean, the penalty does not depend on the batch size (trap 11 of notebook 09)":
        (_MEANS, ".sum()"),
    "this is half the sum of both directions (half of Jeffreys' divergence); SMART uses the whole sum":
        (_MEANS, f"{_MEANS} / 2"),
    "this is the divergence of Jensen and Shannon, a sum of both halves; SMART compares p and q directly":
        _from_the_mean,
    "the logits are used directly: convert them to log-probabilities with log_softmax first": (_LOGS, "p, q"),
    "this is the squared difference of the logits; adding a constant to all logits changes it, but no prediction":
        F.mse_loss,
    "this is only one direction, KL(q || p); SMART adds KL(p || q)": lambda p, q: _one_way(q, p),
    "the softmax runs over the rows; it must run over the classes, dim=-1": ("softmax(-1)", "softmax(0)"),
    "one direction is subtracted from the other: add the two": lambda p, q: _one_way(p, q) - _one_way(q, p),
    "this is the sum of two cross-entropies; a KL also subtracts the entropy: p (log p - log q)": _entropies,
    "it is NaN in every case, from the logarithm of a negative number. Logits are no probabilities: convert them "
    "first, with softmax or log_softmax. And F.kl_div with log-probabilities as its target needs log_target=True":
        _kl_div(torch.log_softmax, torch.log_softmax),
    "F.kl_div takes log-probabilities as its first argument: pass log_softmax(-1), not softmax(-1)":
        _kl_div(torch.softmax, torch.softmax),
    "this equals the squared difference of the probabilities; use their logarithms, as a KL does, and take log_softmax "
    "of the logits, not of probabilities": ("(p - q)", _DIFFERENCE),
    "the sum runs over the rows and the mean over the classes; it is the other way round: sum(-1).mean()":
        (_MEANS, ".sum(0).mean()"),
    "this is the divergence of Jensen and Shannon, from the mean of the two; SMART compares p and q directly":
        lambda p, q: _from_the_mean(p, q) / 2,
    "one direction counts twice; the other, KL(q || p), is missing": lambda p, q: 2 * _one_way(p, q),
    "one direction counts twice; the other, KL(p || q), is missing": lambda p, q: 2 * _one_way(q, p),
    "the two directions are returned: add them": lambda p, q: (_one_way(p, q), _one_way(q, p)),
    "this is the mean squared difference of the probabilities; use their logarithms, as a KL does":
        lambda p, q: F.mse_loss(p.softmax(-1), q.softmax(-1)),
    "log_target=True takes log-probabilities as the target: pass log_softmax(-1), or leave it out":
        _kl_div(torch.log_softmax, torch.softmax, log_target=True),
    "sigmoid makes of each logit a distribution of its own; C classes have one, a softmax":
        (_LOGS, "p, q", "exp()", "sigmoid()"),
    "sigmoid makes of each logit a probability of its own; the probabilities of C classes are a softmax":
        (_LOGS, "F.logsigmoid(p), F.logsigmoid(q)"),
    "the softmax is applied twice: log_softmax takes the logits themselves":
        ("log_softmax(-1)", "softmax(-1).log_softmax(-1)"),
    "this is the first row alone: take the mean over the rows": (_MEANS, ".sum(-1)[0]"),
    "this is one value for each row and class: sum over the classes, and take the mean over the rows": (_MEANS, ""),
    "this is one value for each row: take their mean": (_MEANS, ".sum(-1)"),
    "F.kl_div takes log-probabilities as its first argument: pass log_softmax(-1), not logits":
        _kl_div(lambda logits, dim: logits, torch.softmax),
})


def _two(z: Tensor) -> Tensor:
    """The logits (B, 2) of the two classes of a Bernoulli distribution."""
    return torch.stack([torch.zeros_like(z), z], -1)


def _one_class(z: Tensor, w: Tensor) -> Tensor:
    """p log(p / q) + q log(q / p) for the positive class only."""
    return ((z.sigmoid() - w.sigmoid()) * (F.logsigmoid(z) - F.logsigmoid(w))).mean()


def _clamped(z: Tensor, w: Tensor) -> Tensor:
    """Both classes, of probabilities that are cut off."""
    p, q = (of.sigmoid().clamp(1e-6, 1 - 1e-6) for of in (z, w))
    return ((p - q) * (p.log() - q.log() - (1 - p).log() + (1 - q).log())).mean()


BERNOULLI_KL = mistakes(bernoulli_kl, {
    "this is always 0: the softmax over a single logit is 1 for any logit (trap 1 of notebook 09). A Bernoulli has two "
    "classes": lambda z, w: symmetric_kl(z.unsqueeze(-1), w.unsqueeze(-1)),
    "the softmax runs over the rows of the batch, which are independent of each other":
        lambda z, w: symmetric_kl(z.unsqueeze(0), w.unsqueeze(0)),
    "only the positive class is counted; add the other class, with the probabilities 1 - p and 1 - q": _one_class,
    "only the negative class is counted; add the positive one, with the probabilities p and q":
        lambda z, w: _one_class(-z, -w),
    "this is only one direction: SMART adds KL(p || q) and KL(q || p)": lambda z, w: _one_way(_two(z), _two(w)),
    "the probabilities are kept away from 0 and 1, which cuts off the divergence of large logits; use "
    "F.logsigmoid(-z), or log_softmax": _clamped,
    "this is NaN or inf for large logits, where 1 - sigmoid(z) is 0 and its logarithm -inf; use F.logsigmoid(-z), or "
    "log_softmax":
        lambda z, w: sum((a - b) * (a.log() - b.log())
                         for a, b in ((z.sigmoid(), w.sigmoid()), (1 - z.sigmoid(), 1 - w.sigmoid()))).mean(),
    "this is the sum over rows: take their mean": lambda z, w: bernoulli_kl(z, w) * len(z),
    "one direction counts twice; the other, KL(q || p), is missing": lambda z, w: 2 * _one_way(_two(z), _two(w)),
    "one direction counts twice; the other, KL(p || q), is missing": lambda z, w: 2 * _one_way(_two(w), _two(z)),
    "this is the sum of two cross-entropies; a KL also subtracts the entropy: p (log p - log q)":
        lambda z, w: _entropies(_two(z), _two(w)),
    "stack([0, z]) puts the two classes into rows; they must be the last dimension, so stack with dim=-1":
        ("], -1)", "])"),
    "this is only one direction, KL(q || p): add KL(p || q)": lambda z, w: _one_way(_two(w), _two(z)),
    "(B, 1) against (B,) makes (B, B), every row with every other: give both the same shape":
        lambda z, w: torch.stack([bernoulli_kl(z, one.expand(len(z))) for one in w]).mean(),
    "this is also a mean over the two classes; a KL is a sum over classes": lambda z, w: bernoulli_kl(z, w) / 2,
    "the two classes have the logits 0 and z, not -z and z, which doubles the logit":
        ("torch.zeros_like(z)", "-z", "torch.zeros_like(w)", "-w"),
    "the two classes have the logits 0 and z, not 1 and z, which shifts the logit by 1": ("zeros_like", "ones_like"),
    "the two classes have the logits 0 and z; 1 - z belongs to probabilities":
        ("torch.zeros_like(z)", "1 - z", "torch.zeros_like(w)", "1 - w"),
    "1 - p and p are probabilities already; a softmax of them is wrong. The logits of the two classes are 0 and z":
        lambda z, w: bernoulli_kl(2 * z.sigmoid() - 1, 2 * w.sigmoid() - 1),
    "the sigmoid is applied twice: z and w are logits, and a function of logits must not be fed probabilities":
        lambda z, w: bernoulli_kl(z.sigmoid(), w.sigmoid()),
    "this is the squared difference of the probabilities; use their logarithms, as a KL does":
        lambda z, w: F.mse_loss(z.sigmoid(), w.sigmoid()),
    "this is the squared difference of the logits; convert them to probabilities": F.mse_loss,
    "this is one value for each row: take their mean": lambda z, w: (z.sigmoid() - w.sigmoid()) * (z - w),
})

_NORM = "step.abs().amax(-1, keepdim=True)"
_NORMS = {
    "this norm is over all tokens together; compute one per token (row): amax(-1, keepdim=True)": "step.abs().max()",
    "this is the Euclidean norm; SMART uses the infinity norm, the largest absolute value":
        "step.norm(dim=-1, keepdim=True)",
    "this is the Euclidean norm over all tokens together; take the largest absolute value of each token (row)":
        "step.norm()",
    "abs comes too late: take the absolute values first, and then the largest of them":
        "step.amax(-1, keepdim=True).abs()",
    "these are the places of the largest values: max(-1) returns (values, indices); take the values, or use amax(-1)":
        "step.abs().argmax(-1, keepdim=True)",
    "abs is missing: the infinity norm is the largest absolute value, so abs() comes before amax":
        "step.amax(-1, keepdim=True)",
    "the norm runs over the tokens; it must run over the numbers of each token, dim=-1":
        "step.abs().amax(0, keepdim=True)",
    "this divides by the sum of absolute values; the infinity norm is the largest of them":
        "step.abs().sum(-1, keepdim=True)",
}

SMART_STEP = mistakes(smart_step, {
    "the noise moves down the gradient; it must move up, to where the prediction changes most": ("noise +", "noise -"),
    "eta and eps are exchanged: eta is the size of the step, and eps is added to the norm":
        lambda noise, gradient, eta, eps: smart_step(noise, gradient, eps, eta),
    "torch.linalg.norm(s, inf) of a matrix is its largest sum over a row; take the largest number of each row":
        (_NORM, "torch.linalg.norm(step, torch.inf)"),
    "this is the update for reading='ball'; here eps only prevents a division by 0, it is not a radius": smart.ball,
    "this is half of the reading 'ball', a step that is cut off at eps; here the step is divided by its norm":
        (f"step / ({_NORM} + eps)", "step.clamp(-eps, eps)"),
    **{feedback: (_NORM, norm) for feedback, norm in _NORMS.items()},
    **{f"{feedback}. Besides, eps must be added to the norm": (f"{_NORM} + eps", norm)
       for feedback, norm in _NORMS.items()},
    "the gradient is normalized before it is added; normalize the sum of noise and step, as the libraries do":
        (f"step / ({_NORM} + eps)", "step", "* gradient", "* gradient / (gradient.abs().amax(-1, keepdim=True) + eps)"),
    "the step is not normalized": (f" / ({_NORM} + eps)", ""),
    "eps is missing in the denominator: without noise and gradient the result is 0 / 0": (" + eps", ""),
    "keepdim is missing: the norms must be (N, 1) to divide each token's row, amax(-1, keepdim=True)":
        (", keepdim=True", ""),
    "the old noise is missing: normalize noise + eta * gradient": ("noise + ", ""),
    "eta is missing: it is the size of the step along the gradient": ("eta * ", ""),
    "eps belongs to the denominator: put the norm and eps into parentheses": (f"({_NORM} + eps)", f"{_NORM} + eps"),
    "the noise is scaled to the length eps; in this reading eps only prevents a division by 0":
        ("return ", "return eps * "),
    "the step is normalized by the norm of the gradient; normalize by the norm of noise + eta * gradient":
        ("step.abs", "gradient.abs"),
    "the step is normalized by the norm of the old noise; normalize by the norm of noise + eta * gradient":
        ("step.abs", "noise.abs"),
    "the old noise is missing: normalize noise + eta * gradient. Besides, eps must be added to the norm":
        ("noise + ", "", " + eps", ""),
    "eta is missing: it is the size of the step along the gradient. Besides, eps must be added to the norm":
        ("eta * ", "", " + eps", ""),
    "the noise is scaled to the length eps; in this reading eps is only added to the norm, against a division by 0":
        ("return ", "return eps * ", " + eps", ""),
    "the normalized step is added to the noise again; noise + eta * gradient has it already":
        ("return ", "return noise + "),
    "only the sign of the gradient is used: the step is noise + eta * gradient": ("* gradient", "* gradient.sign()"),
    "the norm is multiplied by eps: add eps to it": ("+ eps", "* eps"),
    "eta also multiplies the noise: step = noise + eta * gradient":
        ("noise + eta * gradient", "eta * (noise + gradient)"),
    "the argument eps does not enlarge the norm: add it, norm + eps, in place of a constant or a lower limit":
        (" + eps", ".clamp_min(eps)"),
})
