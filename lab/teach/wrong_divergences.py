"""Common wrong answers to the exercises of notebook 06: SMART's divergences and its step."""


from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lab import smart
from lab.teach.exercises import (
    bernoulli_kl,
    smart_step,
    symmetric_kl,
)

# ---- 06: SMART -------------------------------------------------------------------------------------------------------


def _one_way(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q), mean over rows."""
    return F.kl_div(q.log_softmax(-1), p.log_softmax(-1), reduction="batchmean", log_target=True)


def _two(z: Tensor) -> Tensor:
    """The logits (B, 2) of the two classes of a Bernoulli distribution."""
    return torch.stack([torch.zeros_like(z), z], -1)


SYMMETRIC_KL = {
    "this is only one direction: KL(p || q) differs from KL(q || p), and SMART adds both":
        lambda p, q: F.kl_div(q.log_softmax(-1), p.log_softmax(-1), reduction="batchmean", log_target=True),
    "this is also a mean over classes (reduction='mean'); a KL is a sum over classes, so use 'batchmean'":
        lambda p, q: symmetric_kl(p, q) / p.shape[-1],
    "this is the sum over rows; with the mean, the penalty does not depend on the batch size (trap 11 of notebook 09)":
        lambda p, q: symmetric_kl(p, q) * len(p),
    "this is half the sum of both directions (half of Jeffreys' divergence); SMART uses the whole sum":
        lambda p, q: symmetric_kl(p, q) / 2,
    "this is the divergence of Jensen and Shannon, a sum of both halves; SMART compares p and q directly": lambda p, q:
        sum((a.softmax(-1) * (a.log_softmax(-1) - ((p.softmax(-1) + q.softmax(-1)) / 2).log())).sum(-1)
            for a in (p, q)).mean(),
    "the logits are used directly: convert them to log-probabilities with log_softmax first":
        lambda p, q: ((p.exp() - q.exp()) * (p - q)).sum(-1).mean(),
    "this is the squared difference of the logits; adding a constant to all logits changes it, but no prediction":
        lambda p, q: ((p - q) ** 2).mean(),
    "this is only one direction, KL(q || p); SMART adds KL(p || q)":
        lambda p, q: F.kl_div(p.log_softmax(-1), q.log_softmax(-1), reduction="batchmean", log_target=True),
    "the softmax runs over the rows; it must run over the classes, dim=-1": lambda p, q: ((p.softmax(0) - q.softmax(0))
        * (p.log_softmax(0) - q.log_softmax(0))).sum(-1).mean(),
    "one direction is subtracted from the other: add the two":
        lambda p, q: symmetric_kl(p, q) - 2 * F.kl_div(p.log_softmax(-1), q.log_softmax(-1), reduction="batchmean",
                                                       log_target=True),
    "this is the sum of two cross-entropies; a KL also subtracts the entropy: p (log p - log q)":
        lambda p, q: -(p.softmax(-1) * q.log_softmax(-1) + q.softmax(-1) * p.log_softmax(-1)).sum(-1).mean(),
    "it is NaN in every case, from the logarithm of a negative number. Logits are no probabilities: convert them "
    "first, with softmax or log_softmax. And F.kl_div with log-probabilities as its target needs log_target=True":
        lambda p, q: sum(
        F.kl_div(a.log_softmax(-1), b.log_softmax(-1), reduction="batchmean") for a, b in ((p, q), (q, p))),
    "F.kl_div takes log-probabilities as its first argument: pass log_softmax(-1), not softmax(-1)":
        lambda p, q: sum(F.kl_div(a.softmax(-1), b.softmax(-1), reduction="batchmean") for a, b in ((p, q), (q, p))),
    "this equals the squared difference of the probabilities; use their logarithms, as a KL does, and take log_softmax "
    "of the logits, not of probabilities":
        lambda p, q: ((p.softmax(-1) - q.softmax(-1)) ** 2).sum(-1).mean(),
    "the sum runs over the rows and the mean over the classes; it is the other way round: sum(-1).mean()":
        lambda p, q: symmetric_kl(p, q) * len(p) / p.shape[-1],
    "this is the divergence of Jensen and Shannon, from the mean of the two; SMART compares p and q directly":
        lambda p, q: sum((a.softmax(-1) * (a.log_softmax(-1) - ((p.softmax(-1) + q.softmax(-1)) / 2).log())).sum(-1)
                         for a in (p, q)).mean() / 2,
    "one direction counts twice; the other, KL(q || p), is missing": lambda p, q: 2 * _one_way(p, q),
    "one direction counts twice; the other, KL(p || q), is missing": lambda p, q: 2 * _one_way(q, p),
    "the two directions are returned: add them": lambda p, q: (_one_way(p, q), _one_way(q, p)),
    "this is the mean squared difference of the probabilities; use their logarithms, as a KL does":
        lambda p, q: F.mse_loss(p.softmax(-1), q.softmax(-1)),
    "log_target=True takes log-probabilities as the target: pass log_softmax(-1), or leave it out":
        lambda p, q: sum(F.kl_div(a.log_softmax(-1), b.softmax(-1), reduction="batchmean", log_target=True)
                         for a, b in ((p, q), (q, p))),
    "sigmoid makes of each logit a distribution of its own; C classes have one, a softmax":
        lambda p, q: ((p.sigmoid() - q.sigmoid()) * (p - q)).sum(-1).mean(),
    "sigmoid makes of each logit a probability of its own; the probabilities of C classes are a softmax":
        lambda p, q: ((p.sigmoid() - q.sigmoid()) * (F.logsigmoid(p) - F.logsigmoid(q))).sum(-1).mean(),
    "the softmax is applied twice: log_softmax takes the logits themselves":
        lambda p, q: symmetric_kl(p.softmax(-1), q.softmax(-1)),
    "this is the first row alone: take the mean over the rows": lambda p, q: symmetric_kl(p[:1], q[:1]),
    "this is one value for each row and class: sum over the classes, and take the mean over the rows": lambda p, q:
        (p.softmax(-1) - q.softmax(-1)) * (p.log_softmax(-1) - q.log_softmax(-1)),
    "this is one value for each row: take their mean": lambda p, q: torch.stack(
        [symmetric_kl(a, b) for a, b in zip(p.split(1), q.split(1), strict=True)]),
    "F.kl_div takes log-probabilities as its first argument: pass log_softmax(-1), not logits": lambda p, q:
        sum(F.kl_div(a, b.softmax(-1), reduction="batchmean") for a, b in ((p, q), (q, p))),
}


def _one_class(z: Tensor, w: Tensor) -> Tensor:
    """p log(p / q) + q log(q / p) for the positive class only."""
    return ((z.sigmoid() - w.sigmoid()) * (F.logsigmoid(z) - F.logsigmoid(w))).mean()


def _clamped(z: Tensor, w: Tensor) -> Tensor:
    """Both classes, of probabilities that are cut off."""
    p, q = (of.sigmoid().clamp(1e-6, 1 - 1e-6) for of in (z, w))
    return ((p - q) * (p.log() - q.log() - (1 - p).log() + (1 - q).log())).mean()


BERNOULLI_KL = {
    "this is always 0: the softmax over a single logit is 1 for any logit (trap 1 of notebook 09). A Bernoulli has two "
    "classes":
        lambda z, w: symmetric_kl(z.unsqueeze(-1), w.unsqueeze(-1)),
    "the softmax runs over the rows of the batch, which are independent of each other":
        lambda z, w: symmetric_kl(z.unsqueeze(0), w.unsqueeze(0)),
    "only the positive class is counted; add the other class, with the probabilities 1 - p and 1 - q":
        _one_class,
    "only the negative class is counted; add the positive one, with the probabilities p and q":
        lambda z, w: _one_class(-z, -w),
    "this is only one direction: SMART adds KL(p || q) and KL(q || p)":
        lambda z, w: (z.sigmoid() * (F.logsigmoid(z) - F.logsigmoid(w))
                      + (-z).sigmoid() * (F.logsigmoid(-z) - F.logsigmoid(-w))).mean(),
    "the probabilities are kept away from 0 and 1, which cuts off the divergence of large logits; use "
    "F.logsigmoid(-z), or log_softmax": _clamped,
    "this is NaN or inf for large logits, where 1 - sigmoid(z) is 0 and its logarithm -inf; use F.logsigmoid(-z), or "
    "log_softmax":
        lambda z, w: sum((a - b) * (a.log() - b.log())
                         for a, b in ((z.sigmoid(), w.sigmoid()), (1 - z.sigmoid(), 1 - w.sigmoid()))).mean(),
    "this is the sum over rows: take their mean": lambda z, w: bernoulli_kl(z, w) * len(z),
    "one direction counts twice; the other, KL(q || p), is missing": lambda z, w: 2 * _one_way(_two(z), _two(w)),
    "one direction counts twice; the other, KL(p || q), is missing": lambda z, w: 2 * _one_way(_two(w), _two(z)),
    "this is the sum of two cross-entropies; a KL also subtracts the entropy: p (log p - log q)": lambda z, w:
        -(_two(z).softmax(-1) * _two(w).log_softmax(-1) + _two(w).softmax(-1) * _two(z).log_softmax(-1)).sum(-1).mean(),
    "stack([0, z]) puts the two classes into rows; they must be the last dimension, so stack with dim=-1": lambda z, w:
        symmetric_kl(_two(z).T, _two(w).T),
    "this is only one direction, KL(q || p): add KL(p || q)":
        lambda z, w: (w.sigmoid() * (F.logsigmoid(w) - F.logsigmoid(z))
                      + (-w).sigmoid() * (F.logsigmoid(-w) - F.logsigmoid(-z))).mean(),
    "(B, 1) against (B,) makes (B, B), every row with every other: give both the same shape":
        lambda z, w: torch.stack([bernoulli_kl(z, one.expand(len(z))) for one in w]).mean(),
    "this is also a mean over the two classes; a KL is a sum over classes": lambda z, w: bernoulli_kl(z, w) / 2,
    "the two classes have the logits 0 and z, not -z and z, which doubles the logit":
        lambda z, w: bernoulli_kl(2 * z, 2 * w),
    "the two classes have the logits 0 and z, not 1 and z, which shifts the logit by 1":
        lambda z, w: bernoulli_kl(z - 1, w - 1),
    "the two classes have the logits 0 and z; 1 - z belongs to probabilities":
        lambda z, w: bernoulli_kl(2 * z - 1, 2 * w - 1),
    "1 - p and p are probabilities already; a softmax of them is wrong. The logits of the two classes are 0 and z":
        lambda z, w: bernoulli_kl(2 * z.sigmoid() - 1, 2 * w.sigmoid() - 1),
    "the sigmoid is applied twice: z and w are logits, and a function of logits must not be fed probabilities":
        lambda z, w: bernoulli_kl(z.sigmoid(), w.sigmoid()),
    "this is the squared difference of the probabilities; use their logarithms, as a KL does":
        lambda z, w: ((z.sigmoid() - w.sigmoid()) ** 2).mean(),
    "this is the squared difference of the logits; convert them to probabilities":
        lambda z, w: ((z - w) ** 2).mean(),
    "this is one value for each row: take their mean":
        lambda z, w: (z.sigmoid() - w.sigmoid()) * (z - w),
}
def _step(norm: Callable, old: bool = True, eta: bool = True, guard: bool = True, times: bool = False) -> Callable:
    """The step divided by another norm, without the old noise, eta or eps, or times eps."""
    def wrong(noise: Tensor, gradient: Tensor, size: float, eps: float) -> Tensor:
        step = noise * old + (size if eta else 1) * gradient
        return step * (eps if times else 1) / (norm(step) + eps * guard)

    return wrong


_NORMS: dict[str, Callable] = {
    "this norm is over all tokens together; compute one per token (row): amax(-1, keepdim=True)":
        lambda step: step.abs().max(),
    "this is the Euclidean norm; SMART uses the infinity norm, the largest absolute value":
        lambda step: step.norm(dim=-1, keepdim=True),
    "this is the Euclidean norm over all tokens together; take the largest absolute value of each token (row)":
        lambda step: step.norm(),
    "abs comes too late: take the absolute values first, and then the largest of them":
        lambda step: step.amax(-1, keepdim=True).abs(),
    "these are the places of the largest values: max(-1) returns (values, indices); take the values, or use amax(-1)":
        lambda step: step.abs().argmax(-1, keepdim=True),
    "abs is missing: the infinity norm is the largest absolute value, so abs() comes before amax":
        lambda step: step.amax(-1, keepdim=True),
    "the norm runs over the tokens; it must run over the numbers of each token, dim=-1":
        lambda step: step.abs().amax(0, keepdim=True),
    "this divides by the sum of absolute values; the infinity norm is the largest of them":
        lambda step: step.abs().sum(-1, keepdim=True),
}


def _largest(step: Tensor) -> Tensor:
    return step.abs().amax(-1, keepdim=True)


SMART_STEP = {
    "the noise moves down the gradient; it must move up, to where the prediction changes most":
        lambda noise, gradient, eta, eps: smart_step(noise, -gradient, eta, eps),
    "eta and eps are exchanged: eta is the size of the step, and eps is added to the norm":
        lambda noise, gradient, eta, eps: smart_step(noise, gradient, eps, eta),
    "torch.linalg.norm(s, inf) of a matrix is its largest sum over a row; take the largest number of each row":
        lambda noise, gradient, eta, eps: (s := noise + eta * gradient) / (torch.linalg.norm(s, torch.inf) + eps),
    "this is the update for reading='ball'; here eps only prevents a division by 0, it is not a radius": smart.ball,
    "this is half of the reading 'ball', a step that is cut off at eps; here the step is divided by its norm":
        lambda noise, gradient, eta, eps: (noise + eta * gradient).clamp(-eps, eps),
    **{feedback: _step(norm) for feedback, norm in _NORMS.items()},
    **{f"{feedback}. Besides, eps must be added to the norm": _step(norm, guard=False)
       for feedback, norm in _NORMS.items()},
    "the gradient is normalized before it is added; normalize the sum of noise and step, as the libraries do":
        lambda noise, gradient, eta, eps: noise + eta * gradient / (gradient.abs().amax(-1, keepdim=True) + eps),
    "the step is not normalized": lambda noise, gradient, eta, eps: noise + eta * gradient,
    "eps is missing in the denominator: without noise and gradient the result is 0 / 0":
        lambda noise, gradient, eta, eps: smart_step(noise, gradient, eta, 0.0),
    "keepdim is missing: the norms must be (N, 1) to divide each token's row, amax(-1, keepdim=True)":
        lambda noise, gradient, eta, eps: (noise + eta * gradient) / ((noise + eta * gradient).abs().amax(-1) + eps),
    "the old noise is missing: normalize noise + eta * gradient":
        lambda noise, gradient, eta, eps: smart_step(torch.zeros_like(noise), gradient, eta, eps),
    "eta is missing: it is the size of the step along the gradient":
        lambda noise, gradient, eta, eps: smart_step(noise, gradient, 1.0, eps),
    "eps belongs to the denominator: put the norm and eps into parentheses":
        lambda noise, gradient, eta, eps: smart_step(noise, gradient, eta, 0.0) + eps,
    "the noise is scaled to the length eps; in this reading eps only prevents a division by 0":
        lambda noise, gradient, eta, eps: eps * smart_step(noise, gradient, eta, eps),
    "the step is normalized by the norm of the gradient; normalize by the norm of noise + eta * gradient":
        lambda noise, gradient, eta, eps: (noise + eta * gradient) / (gradient.abs().amax(-1, keepdim=True) + eps),
    "the step is normalized by the norm of the old noise; normalize by the norm of noise + eta * gradient":
        lambda noise, gradient, eta, eps: (noise + eta * gradient) / (noise.abs().amax(-1, keepdim=True) + eps),
    "the old noise is missing: normalize noise + eta * gradient. Besides, eps must be added to the norm":
        _step(_largest, old=False, guard=False),
    "eta is missing: it is the size of the step along the gradient. Besides, eps must be added to the norm":
        _step(_largest, eta=False, guard=False),
    "the noise is scaled to the length eps; in this reading eps is only added to the norm, against a division by 0":
        _step(_largest, guard=False, times=True),
    "the normalized step is added to the noise again; noise + eta * gradient has it already":
        lambda noise, gradient, eta, eps: noise + smart_step(noise, gradient, eta, eps),
    "only the sign of the gradient is used: the step is noise + eta * gradient":
        lambda noise, gradient, eta, eps: smart_step(noise, gradient.sign(), eta, eps),
    "the norm is multiplied by eps: add eps to it": lambda noise, gradient, eta, eps:
        (noise + eta * gradient) / (_largest(noise + eta * gradient) * eps),
    "eta also multiplies the noise: step = noise + eta * gradient":
        lambda noise, gradient, eta, eps: smart_step(eta * noise, gradient, eta, eps),
    "the argument eps does not enlarge the norm: add it, norm + eps, in place of a constant or a lower limit":
        lambda noise, gradient, eta, eps: (noise + eta * gradient) / _largest(noise + eta * gradient).clamp_min(eps),
}
