"""Common wrong answers to the exercises and their feedback: {feedback: the wrong function}.

`lab.teach.check` compares a learner's results with these on all cases of the exercise, in this order. Where none of
them fits, the cases that fail may tell the mistake by themselves: WHERE_IT_FAILS.
"""

from collections.abc import Callable

from lab.teach import wrong_divergences, wrong_encoder, wrong_gradients, wrong_scores, wrong_vectors

WRONG_ANSWERS: dict[str, dict[str, Callable]] = {
    "attention": wrong_encoder.ATTENTION, "adamw": wrong_encoder.ADAMW, "pearson": wrong_scores.PEARSON,
    "overall_score": wrong_scores.OVERALL, "pcgrad": wrong_gradients.PCGRAD, "gse": wrong_gradients.GSE,
    "mean_pool": wrong_vectors.MEAN_POOL, "cosine_features": wrong_vectors.COSINE_FEATURES,
    "symmetric_kl": wrong_divergences.SYMMETRIC_KL, "bernoulli_kl": wrong_divergences.BERNOULLI_KL,
    "smart_step": wrong_divergences.SMART_STEP, "annealed": wrong_scores.ANNEALED, "interval": wrong_scores.INTERVAL,
    "mcnemar": wrong_scores.MCNEMAR, "cross_input": wrong_vectors.CROSS_INPUT, "last_pool": wrong_vectors.LAST_POOL,
}

# Where an answer is right but in cases whose descriptions contain one of these words, they tell the mistake.
WHERE_IT_FAILS: dict[str, dict[tuple[str, ...], str]] = {
    "attention": {("scores far below 0",): "a masked token must have the score -inf: any number, such as -50, is too "
                                           "large where the other scores are lower still",
                  ("among",): "the mask says which tokens are real, not only how many: padding may stand among them",
                  ("padd", "scores far below 0"): "every case without a masked token is right: before the softmax, set "
                                                  "the scores of the masked tokens, columns, to -inf, and no others"},
    "adamw": {("weight decay", "with decay", "without a gradient"):
              "the step is right, the decay is not: from the moved p subtract lr * weight_decay * p, in every step"},
    "pearson": {
        ("constant",): "a constant series has no r: return None, for x and for y. Ask whether its values are all "
                       "equal, min() == max(), since a mean or a spread of them is not always exact",
        ("around 1000000", "hardly differ", "very small", "of 0 and 1", "first and last"):
            "a series is constant only if all its values are equal, min() == max(), not if its spread is small or some "
            "of them are equal; and r needs no eps, which changes it where the numbers are small"},
    "pcgrad": {("length 0",): "a gradient of length 0 conflicts with none: project only where the product is below 0, "
                              "since 0 / 0 is NaN"},
    "mean_pool": {("stands first",): "the mask says which tokens are real, not only how many: padding may stand first",
                  ("contain 0",): "a real token may contain a 0: count by the mask"},
    "symmetric_kl": {("sure of two",): "the divergence of large logits is cut off: leave out eps and clamp, and take "
                                       "log_softmax"},
    "bernoulli_kl": {("large logits",): "the divergence of large logits is cut off, or not finite: leave out eps and "
                                        "clamp, and use F.logsigmoid(z) and F.logsigmoid(-z), or log_softmax"},
    "interval": {("three",): "three seeds are enough: low and high are NaN below 3, n < 3",
                 tuple(f"{n} values" for n in range(11, 41)):
                 "take Student's t for every number of seeds, and neither a table nor 1.96"},
    "mcnemar": {("larger counts",):
                "it must hold for large counts too: take no approximation, and since no float holds 2 ** 1100, keep "
                "the whole numbers whole and divide once, sum(...) / 2**n",
                ("60 to 40", "no approximation", "larger counts"):
                "the exact test holds for all counts: take no approximation where they are large",
                tuple(f"{n} to {n}" for n in range(4, 10)): "if b = c, nothing speaks for either run: p is 1",
                ("no example",): "without any example on which the runs differ, p is 1"},
}
