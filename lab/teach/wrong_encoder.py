"""Common wrong answers to the exercises of notebooks 01 and 02: attention and AdamW."""

from lab.teach.exercises import adamw, attention
from lab.teach.mistakes import mistakes

_UNMASKED = ("scores = scores.masked", "scores.masked")  # what masked_fill returns is lost

ATTENTION = mistakes(attention, {
    "the scores are not divided by sqrt(D): with large D, the softmax then selects almost a single token":
        (" / q.shape[-1] ** 0.5", ""),
    "the scores are divided by D; equation 1 divides by its square root": (" ** 0.5", ""),
    "the softmax runs down the columns, over the queries; it must run along each row, over the keys: use dim=-1":
        ("softmax(-1)", "softmax(0)"),
    "a masked token still gets attention: set its column of scores to -inf before the softmax. masked_fill returns a "
    "new tensor, so assign what it returns": _UNMASKED,
    "a score of 0 does not mask a token, because exp(0) = 1: it must be -inf": ("-torch.inf", "0.0"),
    "the mask is applied after the softmax, so a row no longer sums to 1: mask the scores, before the softmax":
        (*_UNMASKED, "softmax(-1)", "softmax(-1) * mask"),
    "the product is transposed: row i must hold the scores of query i with all keys, which is q @ k.T":
        ("q @ k.T", "k @ q.T"),
    "q.T @ k sums over the tokens; a score is the product of one query and one key, so q @ k.T":
        ("q @ k.T", "q.T @ k"),
    "the mask is inverted: it is true at the real tokens, so -inf belongs where it is false (~mask)":
        ("~mask", "mask"),
    "the mask is applied to rows, the queries; it must hide keys, the columns: use masked_fill(~mask, -inf) without "
    "unsqueeze(1)": ("~mask", "~mask.unsqueeze(1)"),
    "the mask hides rows, the queries, but the keys that nobody may look at are columns: use masked_fill(~mask, -inf) "
    "without unsqueeze(1)": ("~mask, -torch.inf", "~mask.unsqueeze(1), -1e9"),
    "the scores are multiplied by sqrt(D); divide them": ("/ q.shape", "* q.shape"),
    "2 is sqrt(D) only in the cases that are shown, where D is 4: take it from the arguments, q.shape[-1] ** 0.5":
        ("q.shape[-1] ** 0.5", "2"),
    "8 is sqrt(D) only for BERT's heads, where D is 64: take it from the arguments, q.shape[-1] ** 0.5":
        ("q.shape[-1] ** 0.5", "8"),
    "the scores are divided by sqrt(L), the number of tokens; equation 1 divides by sqrt(D), the size of a vector":
        ("q.shape[-1]", "len(q)"),
    "these are the attention weights (L, L): multiply them by v": (" @ v", ""),
    "the softmax is missing: the scores are used as weights, which must be positive and sum to 1":
        ("-torch.inf", "0", ".softmax(-1)", ""),
    "the keys are averaged; the weights must average the values v": ("@ v", "@ k"),
    "the transpose is missing: a score is the product of a query and a key, q @ k.T": ("k.T", "k"),
    "the scores are neither divided by sqrt(D) nor masked: do both, before the softmax":
        (" / q.shape[-1] ** 0.5", "", *_UNMASKED),
    "adding a boolean mask adds 1 to the scores of real tokens; add -inf to the others":
        ("scores.masked_fill(~mask, -torch.inf)", "scores + mask"),
    "the weights are transposed: row i holds the weights of query i, so multiply them by v as they are":
        ("softmax(-1)", "softmax(-1).T"),
    "the rows of padding tokens are left out: return (L, D), whatever is in them": ("softmax(-1)", "softmax(-1)[mask]"),
    "it is NaN in every case: is -inf multiplied by 0, as in (~mask) * -inf? Use masked_fill(~mask, -inf)":
        ("scores.masked_fill(~mask, -torch.inf)", "scores + ~mask * -torch.inf"),
    "the division by sqrt(D) comes before the softmax: it makes the scores smaller, not the weights":
        (" / q.shape[-1] ** 0.5", "", "softmax(-1)", "softmax(-1) / q.shape[-1] ** 0.5"),
    "a token sees only itself and those before it, which is causal attention; here each sees all real tokens":
        ("~mask", "~mask | torch.ones(len(q), len(q), dtype=torch.bool).triu(1)"),
    "log_softmax gives the logarithms of the weights: use softmax": ("softmax", "log_softmax"),
    "the softmax runs over all scores together; each row must sum to 1: use dim=-1":
        ("softmax(-1)", "flatten().softmax(0).view(len(q), -1)"),
    "the exponentials are not divided by their sum over each row, so the weights do not sum to 1: use softmax(-1)":
        ("softmax(-1)", "exp()"),
    "each column is divided by the sum of a row: keep the dimension, sum(-1, keepdim=True), or use softmax(-1)":
        ("scores.softmax(-1)", "scores.exp() / scores.exp().sum(-1)"),
    "the weights are returned too: return the output alone, (L, D)": ("@ v", "@ v, scores.softmax(-1)"),
})


def _first(line: str) -> tuple[str, str]:
    """A line before the averages."""
    return "b1, b2 = betas", f"b1, b2 = betas; {line}"


_CORRECTION = "(1 - b2**t) ** 0.5 / (1 - b1**t)"
_TORCHS = (f"{_CORRECTION} * m / (v.sqrt()", "1 / (1 - b1**t) * m / ((v / (1 - b2**t)).sqrt()")
_TOO = ". Besides, eps must be added to the uncorrected sqrt(v), not to the corrected one as in torch"
_RAW = "return the averages themselves, since the next step starts from them"

_STEPS: dict[str, tuple[str, ...]] = {  # which are made in torch's form, too
    "the step is divided by v; it must be divided by sqrt(v), which has the units of the gradient": (".sqrt()", ""),
    "v is an average of g; it must be an average of g^2": ("g**2", "g"),
    "the decay is added to the gradient. That is L2 regularization: Adam then divides it by sqrt(v), so weights with "
    "large gradients decay less. AdamW subtracts lr * wd * p from the weights directly":
        (*_first("g = g + weight_decay * p"), "return p - lr * weight_decay * p", "return p"),
    "the decay takes p as it was before the step, as torch.optim.AdamW does; in the course's form it follows the step, "
    "so take the moved p":
        ("= p - lr", "= p - lr * weight_decay * p - lr", "return p - lr * weight_decay * p", "return p"),
    "the weight decay is missing: after the step, subtract lr * weight_decay * p":
        ("p - lr * weight_decay * p", "p"),
    "the decay is not multiplied by lr: subtract lr * weight_decay * p": ("lr * weight_decay", "weight_decay"),
    "the decay has the wrong sign, so the weights grow: subtract it": ("return p - lr", "return p + lr"),
    "eps is inside the square root; it is added to sqrt(v)": (".sqrt() + eps", ".add(eps).sqrt()"),
    "t is off by one: t counts from 1, so b1 ** t is right and b1 ** (t - 1) divides by 0 at the first step":
        _first("t = t - 1"),
    "t is off by one: t is already 1 at the first step, so do not add 1": _first("t = t + 1"),
    "the step goes up the gradient: subtract it from p": ("= p - lr", "= p + lr"),
    "the two betas are swapped: the first is of m, the second of v": ("b1, b2 = betas", "b2, b1 = betas"),
    "only v is corrected: divide the step by 1 - b1^t too": ("/ (1 - b1**t) ", ""),
    "the gradient enters m whole: m = b1 * m + (1 - b1) * g": ("(1 - b1) * g", "g"),
    "the step goes along g; it goes along m, the average of the gradients": ("* m /", "* g /"),
    "the step takes m from before it: update m and v first": (*_first("old = m"), "* m /", "* old /"),
}
ADAMW = mistakes(adamw, {
    "no bias correction: m and v start at 0 and are too small at first; the step needs sqrt(1 - b2^t) / (1 - b1^t)":
        (f"{_CORRECTION} * ", ""),
    **_STEPS,
    "only m is corrected: multiply the step by sqrt(1 - b2^t) too": ("(1 - b2**t) ** 0.5", "1"),
    "eps is missing: it is added to sqrt(v)": (" + eps", ""),
    "the step does not use the argument eps, but a constant": ("+ eps", "+ 1e-8"),
    "eps is added to the corrected sqrt(v), as in torch; in the course's form it is added to the uncorrected one":
        _TORCHS,
    **{feedback + _TOO: (*_TORCHS, *texts) for feedback, texts in _STEPS.items()},
    "the correction is upside down: the step needs sqrt(1 - b2^t) / (1 - b1^t)":
        (_CORRECTION, "(1 - b1**t) / (1 - b2**t) ** 0.5"),
    "v is corrected by 1 - b2^t, the step by its root: sqrt(1 - b2^t) / (1 - b1^t)": (" ** 0.5", ""),
    "1 - b2^t divides v, so its root multiplies the step: sqrt(1 - b2^t) / (1 - b1^t)": ("** 0.5", "** -0.5"),
    "the two betas are swapped in the correction alone: it is sqrt(1 - b2^t) / (1 - b1^t)":
        (_CORRECTION, "(1 - b1**t) ** 0.5 / (1 - b2**t)"),
    "(1 - b1) ** t is another number than 1 - b1 ** t, which the correction needs; of b2 alike":
        ("1 - b2**t", "(1 - b2) ** t", "1 - b1**t", "(1 - b1) ** t"),
    "v is averaged with b1; the second of the betas is of v": ("b2 * v + (1 - b2)", "b1 * v + (1 - b1)"),
    "m is averaged with b2; the first of the betas is of m": ("b1 * m + (1 - b1)", "b2 * m + (1 - b2)"),
    "in m, the old average gets 1 - b1 and the gradient b1; it is the other way round":
        ("b1 * m + (1 - b1)", "(1 - b1) * m + b1"),
    "in v, the old average gets 1 - b2 and the square b2; it is the other way round":
        ("b2 * v + (1 - b2)", "(1 - b2) * v + b2"),
    "the root is of 1 - b2^t alone: sqrt(1 - b2^t) / (1 - b1^t)":
        (_CORRECTION, "((1 - b2**t) / (1 - b1**t)) ** 0.5"),
    "eps belongs to the divisor: put it and sqrt(v) into parentheses": ("(v.sqrt() + eps)", "v.sqrt() + eps"),
    "the old average gets 1 - b and the gradient b; it is the other way round: m = b1 * m + (1 - b1) * g, v alike":
        ("b1 * m + (1 - b1)", "(1 - b1) * m + b1", "b2 * v + (1 - b2)", "(1 - b2) * v + b2"),
    "the step takes m and v from before it: update both first":
        (*_first("old = m, v"), "* m / (v", "* old[0] / (old[1]"),
    "b1 * t is a product; the correction takes a power, b1 ** t":
        ("1 - b2**t", "1 - b2 * t if b2 * t < 1 else math.nan", "b1**t", "b1 * t"),
    "the decay is multiplied by the corrected step size; it takes lr itself: p - lr * weight_decay * p":
        ("lr * weight_decay", f"lr * {_CORRECTION} * weight_decay"),
    "the decay does not depend on p: subtract lr * weight_decay * p": ("weight_decay * p", "weight_decay"),
    "the weights decay twice, through the gradient (L2) and by themselves: AdamW has the second alone":
        _first("g = g + weight_decay * p"),
    "m is returned corrected; return the average itself, since the next step starts from it":
        ("p, m, v", "p, m / (1 - b1**t), v"),
    "v is returned corrected; return the average itself, since the next step starts from it":
        ("p, m, v", "p, m, v / (1 - b2**t)"),
    "sqrt(v) is divided by 1 - b2^t; v is, before the root is taken":
        (f"{_CORRECTION} * m / (v.sqrt()", "1 / (1 - b1**t) * m / (v.sqrt() / (1 - b2**t)"),
    f"m and v are returned corrected; {_RAW}{_TOO}": (*_TORCHS, "p, m, v", "p, m / (1 - b1**t), v / (1 - b2**t)"),
    f"m and v are returned corrected; {_RAW}": ("p, m, v", "p, m / (1 - b1**t), v / (1 - b2**t)"),
    "the old m and v are returned: return the new ones": (*_first("old = m, v"), "p, m, v", "p, *old"),
    "the old p is returned: return p after the step":
        (*_first("old = p"), "return p - lr * weight_decay * p", "return old"),
    "only p is returned: return (p, m, v)": (" * p, m, v", " * p"),
})
