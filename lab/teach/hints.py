"""Hints to the exercises in three steps: the idea, the formula, and nearly the code.

    teach.hint("pcgrad")                    # the next hint at each call
    teach.hint("pcgrad", 1)                 # the first one again
"""

import html
from typing import NamedTuple

from lab.errors import LabError, nearest
from lab.teach.source import Text


class Help(NamedTuple):
    """How hard an exercise is, and its three hints."""

    notebook: str
    level: str  # easy, medium or hard
    minutes: int  # an estimate, for a learner who has read the notebook up to it
    hints: tuple[str, str, str]


HELP = {
    "attention": Help("01", "medium", 15, (
        "Work in three lines: the scores of every query with every key, weights that sum to 1, and a weighted mean of "
        "the values. Write the shape beside each.",
        "The scores are q kᵀ / √D, a matrix (L, L): row = query, column = key. A masked key must get the score -inf "
        "before the softmax, in every row.",
        "scores = q @ k.T / D ** 0.5, then scores.masked_fill(~mask, -torch.inf); the softmax runs over the last "
        "dimension.")),
    "adamw": Help("02", "medium", 15, (
        "Do it in this order: new m, new v, the step, the decay. Only the step uses the bias correction; m and v are "
        "returned as they are.",
        "m = β₁m + (1 - β₁)g and v = β₂v + (1 - β₂)g². The step is lr · √(1 - β₂ᵗ) / (1 - β₁ᵗ) · m / (√v + eps).",
        "After p = p - lr * (1 - b2**t) ** 0.5 / (1 - b1**t) * m / (v.sqrt() + eps), subtract lr * weight_decay * p of "
        "this new p.")),
    "pearson": Help("03", "easy", 10, (
        "Subtract from each series its own mean. What is left is the cosine of two vectors.",
        "First answer the case without an r: if x or y has only one value, return None. Convert both to float64 "
        "before anything else.",
        "With x and y centred: float(x @ y / (x.norm() * y.norm())). A series is constant where x.min() == x.max().")),
    "overall_score": Help("03", "easy", 5, (
        "Each of the three scores must range from 0 to 1 before you take their mean.",
        "r ranges from -1 to 1, so (r + 1) / 2 ranges from 0 to 1. If there is no r, there is no overall score.",
        "Ask `if sts is None`, because `if not sts` is also true for r = 0.")),
    "pcgrad": Help("04", "hard", 30, (
        "Keep for each task i a row of weights that says what its gradient is made of. At first row i is 1 at i and 0 "
        "elsewhere, so all rows together are torch.eye(T).",
        "For each j in orders[i], except i itself, compute the product of the current gradient i with the original "
        "g_j: W[i] @ G[j]. Only if it is negative, remove the part along g_j.",
        "Removing it is W[i, j] -= dot / G[j, j]. The answer is the mean over the rows, W.mean(0).")),
    "gse": Help("04", "medium", 10, (
        "Two steps, one after the other. Each is p minus lr times an update.",
        "The first update is surgery(gradients(p)). Then the weights have moved, so ask for the gradients again; the "
        "second update is their plain sum over the tasks.",
        "p = p - lr * surgery(gradients(p)), and then p - lr * gradients(p).sum(0), which calls gradients at the new "
        "p.")),
    "cosine_features": Help("05", "easy", 5, (
        "Compute one cosine for each row, and join three tensors along the last dimension.",
        "F.cosine_similarity(u, v, dim=-1) has shape (B,). To join it to (B, H) it needs shape (B, 1).",
        "torch.cat([u, v, cosine.unsqueeze(-1)], dim=-1).")),
    "mean_pool": Help("05", "easy", 10, (
        "Padding must count neither in the sum nor in the number by which you divide.",
        "Multiply hidden (B, L, H) by the mask, which needs the shape (B, L, 1), and sum over the tokens.",
        "Divide (hidden * mask).sum(1) by mask.sum(1), both with mask = mask.unsqueeze(-1).")),
    "symmetric_kl": Help("06", "medium", 10, (
        "p and q are logits, so make log-probabilities of them first, over the classes.",
        "With log-probabilities a and b, KL(p‖q) is the sum over classes of exp(a) (a - b). Add the other direction, "
        "then take the mean over rows.",
        "Both directions together are ((a.exp() - b.exp()) * (a - b)).sum(-1).mean(), where a = p.log_softmax(-1).")),
    "bernoulli_kl": Help("06", "medium", 10, (
        "A Bernoulli distribution has two classes. Give each its logit, and use the function that you have.",
        "The logits of the two classes are 0 and z. log(1 - sigmoid(z)) is -inf for large z; log_softmax "
        "and F.logsigmoid(-z) are not.",
        "torch.stack([torch.zeros_like(z), z], -1) has shape (B, 2). Make the same of w, and take the symmetric KL.")),
    "smart_step": Help("06", "easy", 10, (
        "Take a step up the gradient, then divide each token's row by its own largest absolute value.",
        "The infinity norm of a row is step.abs().amax(-1). To divide (N, H) by it, it needs the shape (N, 1).",
        "step = noise + eta * gradient, divided by step.abs().amax(-1, keepdim=True) + eps.")),
    "annealed": Help("07", "medium", 10, (
        "Compute the exponent first. It is 1 in the first epoch and 0.2 in the last, and falls in a straight line.",
        "alpha = 1 - 0.8 (epoch - 1) / (epochs - 1). What is it if epochs is 1?",
        "Raise each size to alpha, then divide by the sum of these powers. A single epoch has alpha = 1.")),
    "interval": Help("08", "medium", 15, (
        "The interval is the mean plus and minus t times the standard error, the standard deviation divided by √n.",
        "The standard deviation divides by n - 1, and t has n - 1 degrees of freedom. A 95 % interval leaves 2.5 % on "
        "each side.",
        "half = stats.t.ppf(0.975, n - 1) * s / n ** 0.5. Below 3 values return (mean, math.nan, math.nan).")),
    "mcnemar": Help("08", "medium", 15, (
        "If neither run is better, each of the b + c examples is a fair coin. How probable is a result as uneven?",
        "P(X ≤ min(b, c)) is the sum over k from 0 to min(b, c) of the binomial coefficients, divided by 2 to the "
        "power b + c.",
        "2 * sum(math.comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c), but never more than 1.")),
    "cross_input": Help("09", "easy", 10, (
        "Remove the padding (0) from both lists first, then what must not stand in the middle.",
        "The second sentence loses its [CLS], which is its first id. Both keep their [SEP].",
        "With a and b cleaned, return a + b and [0] * len(a) + [1] * len(b).")),
    "last_pool": Help("10", "easy", 5, (
        "The sentences lie one after the other. Where does each of them end?",
        "lengths.cumsum(0) is the place just behind each sentence.",
        "The last tokens are at lengths.cumsum(0) - 1. Index hidden with these places.")),
}

_given: dict[str, int] = {}  # exercise -> hints that were shown in this kernel


def hint(name: str, step: int | None = None) -> Text:
    """The next hint of an exercise, or hint number `step` of 1 to 3. LabError: no such exercise or step."""
    if not isinstance(name, str) or name not in HELP:
        raise nearest(name, HELP, "exercise")
    hints = HELP[name].hints
    if step is not None and (type(step) is not int or not 1 <= step <= len(hints)):
        raise LabError(f"{name} has the hints 1 to {len(hints)}, not {step!r}")
    if step is None:
        step = _given[name] = min(_given.get(name, 0) + 1, len(hints))
    more = f' (more: teach.hint("{name}", {step + 1}))' if step < len(hints) else f' (then: teach.solution("{name}"))'
    text = Text(f"{about(name)}\nHint {step} of {len(hints)}: {hints[step - 1]}{more}")
    text.page = f'<pre style="white-space: pre-wrap">{html.escape(text)}</pre>'
    return text


def about(name: str) -> str:
    """An exercise in one line: "pcgrad: hard, about 30 minutes"."""
    return f"{name}: {HELP[name].level}, about {HELP[name].minutes} minutes"
