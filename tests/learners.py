"""Answers as learners write them, for the tests of the checker: right ones in many forms, and wrong ones."""

import math
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F
from scipy import stats
from scipy.special import expit, log_expit, log_softmax, softmax

from lab import gradients, smart
from lab.teach import exercises as labs
from lab.teach.exercises import EXERCISES

# ---- right answers ---------------------------------------------------------------------------------------------------


def attention_loops(q, k, v, mask):
    rows = []
    for i in range(len(q)):
        scores = torch.stack([q[i] @ k[j] / math.sqrt(q.shape[1]) if mask[j] else torch.tensor(-1e9)
                              for j in range(len(k))])
        rows.append(scores.softmax(0) @ v)
    return rows


def attention_exponentials(q, k, v, mask):
    scores = q @ k.T / q.size(1) ** 0.5
    weights = torch.exp(scores) * mask
    return weights / weights.sum(1, keepdim=True) @ v


def attention_numpy(q, k, v, mask):
    q, k, v, mask = (of.numpy() for of in (q, k, v, mask))
    return softmax(np.where(mask, q @ k.T / np.sqrt(q.shape[1]), -np.inf), axis=-1) @ v


def attention_rows_too(q, k, v, mask):
    both = mask.unsqueeze(0) & mask.unsqueeze(1)
    return ((q @ k.T) / q.shape[-1] ** 0.5).masked_fill(~both, -1e9).softmax(-1) @ v


def attention_zeroed_rows(q, k, v, mask):
    return labs.attention(q, k, v, mask) * mask.unsqueeze(1)


def attention_in_place(q, k, v, mask):
    q /= q.shape[-1] ** 0.5
    scores = q @ k.T
    scores[:, ~mask] = float("-inf")
    return torch.softmax(scores, dim=1) @ v


def adamw_numpy(p, g, m, v, t, lr, betas, eps, weight_decay):
    p, g, m, v = (np.array(of, dtype=np.float64) for of in (p, g, m, v))
    m = betas[0] * m + (1 - betas[0]) * g
    v = betas[1] * v + (1 - betas[1]) * g * g
    p = p - lr * np.sqrt(1 - betas[1] ** t) / (1 - betas[0] ** t) * m / (np.sqrt(v) + eps)
    return [p * (1 - lr * weight_decay), m, v]


def adamw_in_place(p, g, m, v, t, lr, betas, eps, weight_decay):
    m.mul_(betas[0]).add_(g, alpha=1 - betas[0])
    v.mul_(betas[1]).addcmul_(g, g, value=1 - betas[1])
    p.addcdiv_(m, v.sqrt().add_(eps), value=-lr * math.sqrt(1 - betas[1] ** t) / (1 - betas[0] ** t))
    p.mul_(1 - lr * weight_decay)
    return p, m, v


def adamw_scaled_eps(p, g, m, v, t, lr, betas, eps, weight_decay):
    m, v = torch.lerp(g, m, betas[0]), torch.lerp(g * g, v, betas[1])
    correction = (1 - betas[1] ** t) ** 0.5
    p = p - lr * (m / (1 - betas[0] ** t)) / ((v / (1 - betas[1] ** t)).sqrt() + eps / correction)
    return p - lr * weight_decay * p, m, v


def pearson_scipy(x, y):
    x, y = x.double().numpy(), y.double().numpy()
    return None if np.ptp(x) == 0 or np.ptp(y) == 0 else stats.pearsonr(x, y).statistic


def pearson_sums(x, y):
    x, y, n = x.tolist(), y.tolist(), len(x)
    if len(set(x)) == 1 or len(set(y)) == 1:
        return None
    a, b = sum(x) / n, sum(y) / n
    top = sum((i - a) * (j - b) for i, j in zip(x, y, strict=True))
    return top / math.sqrt(sum((i - a) ** 2 for i in x) * sum((j - b) ** 2 for j in y))


def pearson_standardized(x, y):
    x, y = x.double(), y.double()
    if x.std() == 0 or y.std() == 0:
        return None
    return ((x - x.mean()) / x.std(unbiased=False) * ((y - y.mean()) / y.std(unbiased=False))).mean().item()


def pearson_corrcoef(x, y):
    r = torch.corrcoef(torch.stack([x.double(), y.double()]))[0, 1]
    return None if r.isnan() else r


def pcgrad_removes(G, orders):
    """The list that it gets is emptied by it."""
    W = torch.eye(len(G), dtype=torch.float64)
    for i in range(len(G)):
        orders[i].remove(i)
        for j in orders[i]:
            dot = (W[i] * G[j]).sum()
            if dot < 0:
                W[i, j] = W[i, j] - dot / G[j, j]
    return W.sum(0) / len(G)


def pcgrad_vectors(G, orders):
    """On vectors with this Gramian; the weights of the update come from least squares."""
    s, V = torch.linalg.eigh(G)
    g = V * s.clamp_min(0).sqrt()
    projected = []
    for i, order in enumerate(orders):
        mine = g[i].clone()
        for j in order:
            if j != i and mine @ g[j] < -1e-12:
                mine -= mine @ g[j] / (g[j] @ g[j]) * g[j]
        projected.append(mine)
    return torch.linalg.pinv(g.T, rtol=1e-6) @ torch.stack(projected).mean(0)


def pcgrad_numpy(G, orders):
    G = G.numpy()
    W = np.eye(len(G))
    for i, order in enumerate(orders):
        for j in [j for j in order if j != i]:
            W[i, j] -= min(W[i] @ G[:, j], 0) / (G[j, j] or 1)
    return W.mean(axis=0)


def pcgrad_lists(G, orders):
    G, T = G.tolist(), len(G)
    total = [0.0] * T
    for i in range(T):
        w = [float(k == i) for k in range(T)]
        for j in orders[i]:
            dot = sum(w[k] * G[k][j] for k in range(T))
            if j == i or dot >= 0:
                continue
            w[j] -= dot / G[j][j]
        total = [a + b / T for a, b in zip(total, w, strict=True)]
    return total


def pcgrad_float32(G, orders):
    return labs.pcgrad(G.float(), orders)


def gse_in_place(p, gradients, surgery, lr):
    p -= lr * surgery(gradients(p))
    p -= lr * gradients(p).sum(dim=0)
    return p


def gse_loop(p, gradients, surgery, lr):
    for update in (surgery, sum):
        p = p - lr * update(gradients(p))
    return p


def gse_numpy(p, gradients, surgery, lr):
    p = p.numpy().astype(np.float64)
    p = p - lr * surgery(gradients(p)).numpy()
    return p - lr * gradients(p).numpy().sum(axis=0)


def gse_lists(p, gradients, surgery, lr):
    for update in (lambda g: surgery(g).tolist(), lambda g: [sum(column) for column in zip(*g.tolist(), strict=True)]):
        p = [a - lr * b for a, b in zip(p, update(gradients(torch.as_tensor([float(a) for a in p]))), strict=True)]
    return p


def mean_pool_loop(hidden, mask):
    return [rows[real.bool()].mean(0) for rows, real in zip(hidden, mask, strict=True)]


def mean_pool_einsum(hidden, mask):
    return torch.einsum("blh,bl->bh", hidden, mask.float()) / mask.sum(1)[:, None]


def mean_pool_in_place(hidden, mask):
    hidden[mask == 0] = 0
    return hidden.sum(dim=1) / mask.sum(dim=1, keepdim=True)


def mean_pool_numpy(hidden, mask):
    hidden, mask = np.asarray(hidden), np.asarray(mask)[..., None]
    return (hidden * mask).sum(1) / mask.sum(1)


def mean_pool_nan(hidden, mask):
    return hidden.masked_fill(mask.unsqueeze(-1) == 0, torch.nan).nanmean(1)


def cosine_features_by_hand(u, v):
    cosine = (u * v).sum(1, keepdim=True) / (u.norm(dim=1, keepdim=True) * v.norm(dim=1, keepdim=True))
    return torch.hstack((u, v, cosine))


def cosine_features_normalized(u, v):
    a, b = F.normalize(u), F.normalize(v)
    return torch.cat((u, v, torch.diagonal(a @ b.T).view(-1, 1)), 1)


def cosine_features_rows(u, v):
    return [torch.cat([a, b, F.cosine_similarity(a, b, dim=0)[None]]) for a, b in zip(u, v, strict=True)]


def cosine_features_numpy(u, v):
    u, v = u.numpy(), v.numpy()
    cosine = (u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
    return np.column_stack([u, v, cosine])


def symmetric_kl_torch(p, q):
    p, q = p.log_softmax(1), q.log_softmax(1)
    return (F.kl_div(q, p, log_target=True, reduction="batchmean")
            + F.kl_div(p, q, log_target=True, reduction="batchmean"))


def symmetric_kl_usual(p, q):
    p, q = torch.softmax(p, -1), torch.softmax(q, -1)
    return (p * torch.log(p / q) + q * torch.log(q / p)).sum() / len(p)


def symmetric_kl_distributions(p, q):
    p, q = (torch.distributions.Categorical(logits=of) for of in (p, q))
    return (torch.distributions.kl_divergence(p, q) + torch.distributions.kl_divergence(q, p)).mean()


def symmetric_kl_wide(p, q):
    return symmetric_kl_torch(p.double(), q.double())


def bernoulli_kl_logsigmoid(z, w):
    p, q = z.sigmoid(), w.sigmoid()
    one = p * (F.logsigmoid(z) - F.logsigmoid(w)) + q * (F.logsigmoid(w) - F.logsigmoid(z))
    p, q = (-z).sigmoid(), (-w).sigmoid()
    none = p * (F.logsigmoid(-z) - F.logsigmoid(-w)) + q * (F.logsigmoid(-w) - F.logsigmoid(-z))
    return (one + none).mean()


def bernoulli_kl_short(z, w):
    return ((torch.sigmoid(z) - torch.sigmoid(w)) * (z - w)).mean()


def bernoulli_kl_distributions(z, w):
    """Infinite at 60, where torch's probabilities are 0 and 1."""
    p, q = (torch.distributions.Bernoulli(logits=of) for of in (z, w))
    return torch.distributions.kl_divergence(p, q).mean() + torch.distributions.kl_divergence(q, p).mean()


def smart_step_max(noise, gradient, eta, eps):
    step = noise + eta * gradient
    return step / (step.abs().max(dim=1, keepdim=True).values + eps)


def smart_step_norm(noise, gradient, eta, eps):
    step = torch.add(noise, gradient, alpha=eta)
    return step / (torch.linalg.vector_norm(step, ord=torch.inf, dim=-1)[:, None] + eps)


def smart_step_in_place(noise, gradient, eta, eps):
    noise += eta * gradient
    noise /= noise.abs().amax(1, keepdim=True) + eps
    return noise


def smart_step_rows(noise, gradient, eta, eps):
    steps = [(n + eta * g) for n, g in zip(noise, gradient, strict=True)]
    return [s / (max(abs(x) for x in s.tolist()) + eps) for s in steps]


def smart_step_numpy(noise, gradient, eta, eps):
    step = noise.numpy() + eta * gradient.numpy()
    return step / (np.abs(step).max(1, keepdims=True) + eps)


def annealed_list(sizes, epoch, epochs):
    alpha = 1.0
    if epochs > 1:
        alpha = 1 - 0.8 * (epoch - 1) / (epochs - 1)
    powers = [n**alpha for n in sizes]
    return [p / sum(powers) for p in powers]


def annealed_numpy(sizes, epoch, epochs):
    p = np.array(sizes) ** np.linspace(1, 0.2, epochs)[epoch - 1]
    return p / p.sum()


def annealed_softmax(sizes, epoch, epochs):
    return (torch.tensor(sizes).log() * (1 - 0.8 * (epoch - 1) / max(epochs - 1, 1))).softmax(0)


def interval_numpy(values):
    mean, n = np.mean(values), len(values)
    if n < 3:
        return np.array([mean, np.nan, np.nan])
    half = stats.t.ppf(0.975, df=n - 1) * stats.sem(values)
    return np.array([mean, mean - half, mean + half])


def interval_scipy(values):
    mean = sum(values) / len(values)
    if len(values) < 3:
        return [mean, float("nan"), float("nan")]
    s = np.std(values, ddof=1) / math.sqrt(len(values))
    return [mean, *stats.t.interval(0.95, len(values) - 1, loc=mean, scale=s)]


def interval_stacked(values):
    return torch.tensor(labs.interval(values))


def mcnemar_scipy(b, c):
    return stats.binomtest(min(b, c), b + c, 0.5).pvalue if b + c else 1


def mcnemar_binom(b, c):
    return np.minimum(1, 2 * stats.binom.cdf(min(b, c), b + c, 0.5))


def mcnemar_loop(b, c):
    n, smaller, p = b + c, min(b, c), 0
    for k in range(smaller + 1):
        p += math.factorial(n) // math.factorial(k) // math.factorial(n - k) / 2**n
    return 2 * p if b != c else 1.0


def cross_input_lists(a, b):
    first = [i for i in a if i != 0]
    second = [i for i in b if i not in (0, 101)]
    return [first + second, [0] * len(first) + [1] * len(second)]


def cross_input_in_place(a, b):
    while a[-1] == 0:
        a.pop()
    while b[-1] == 0:
        b.pop()
    del b[0]
    segments = [0 for _ in a] + [1 for _ in b]
    a.extend(b)
    return a, segments


def cross_input_stacked(a, b):
    a, b = torch.tensor(a), torch.tensor(b)
    a, b = a[a != 0], b[b != 0][1:]
    return torch.stack([torch.cat([a, b]), torch.cat([torch.zeros_like(a), torch.ones_like(b)])])


def cross_input_numpy(a, b):
    a, b = np.trim_zeros(a, "b"), np.trim_zeros(b, "b")[1:]
    return np.concatenate([a, b]), np.repeat([0, 1], [len(a), len(b)])


def cross_input_index(a, b):
    a, b = a[: a.index(102) + 1], b[1 : b.index(102) + 1]
    return tuple(a + b), tuple([0] * len(a) + [1] * len(b))


def last_pool_split(hidden, lengths):
    return torch.stack([part[-1] for part in torch.split(hidden, lengths.tolist())])


def last_pool_loop(hidden, lengths):
    found, end = [], 0
    for n in lengths:
        end += n
        found.append(hidden[end - 1])
    return found


def last_pool_numpy(hidden, lengths):
    return hidden.numpy()[np.cumsum(lengths.numpy()) - 1]


def last_pool_product(hidden, lengths):
    return F.one_hot(lengths.cumsum(0) - 1, len(hidden)).to(hidden.dtype) @ hidden


RIGHT = {
    "attention": [
        attention_loops, attention_exponentials, attention_numpy, attention_rows_too, attention_zeroed_rows,
        attention_in_place, lambda q, k, v, mask: F.scaled_dot_product_attention(q, k, v, attn_mask=mask[None, :]),
        lambda q, k, v, mask: labs.attention(q.double(), k.double(), v.double(), mask),
        lambda q, k, v, mask: (q @ k.T / q.shape[1] ** 0.5 + mask.float().log()).softmax(1) @ v,
        lambda q, k, v, mask: torch.softmax(q.matmul(k.transpose(0, 1)) / math.sqrt(q.shape[-1])
                                            + (1 - mask.float()) * -1e9, dim=-1).matmul(v),
    ],
    "adamw": [adamw_numpy, adamw_in_place, adamw_scaled_eps, lambda *given: list(labs.adamw(*given)),
              lambda *given: torch.stack(labs.adamw(*given)),
              lambda *given: labs.adamw(*[of.double() if torch.is_tensor(of) else of for of in given])],
    "pearson": [pearson_scipy, pearson_sums, pearson_standardized, pearson_corrcoef,
                lambda x, y: None if x.unique().numel() == 1 or y.unique().numel() == 1
                else np.corrcoef(x.numpy(), y.numpy())[0, 1]],
    "overall_score": [lambda sst, qqp, sts: None if sts is None else np.mean([sst, qqp, (sts + 1) / 2]),
                      lambda sst, qqp, sts: sts if sts is None else (2 * sst + 2 * qqp + sts + 1) / 6,
                      lambda a, b, r: torch.tensor([a, b, 0.5 + r / 2]).mean() if r is not None else None],
    "pcgrad": [pcgrad_removes, pcgrad_vectors, pcgrad_numpy, pcgrad_lists, pcgrad_float32,
               lambda G, orders: labs.pcgrad(G, [[j for j in order if j != i] for i, order in enumerate(orders)])],
    "gse": [gse_in_place, gse_loop, gse_numpy, gse_lists,
            lambda p, gradients, surgery, lr: labs.gse(p.double(), gradients, surgery, lr).numpy()],
    "mean_pool": [mean_pool_loop, mean_pool_einsum, mean_pool_in_place, mean_pool_numpy, mean_pool_nan,
                  lambda hidden, mask: (mask.unsqueeze(1).double() @ hidden.double()).squeeze(1)
                  / mask.sum(1, keepdim=True)],
    "cosine_features": [cosine_features_by_hand, cosine_features_normalized, cosine_features_rows,
                        cosine_features_numpy,
                        lambda u, v: torch.cat([u, v, torch.cosine_similarity(u, v)[:, None]], 1),
                        lambda u, v: labs.cosine_features(u.double(), v.double())],
    "symmetric_kl": [symmetric_kl_torch, symmetric_kl_usual, symmetric_kl_distributions, symmetric_kl_wide,
                     smart.categorical],
    "bernoulli_kl": [bernoulli_kl_logsigmoid, bernoulli_kl_short, smart.bernoulli,
                     lambda z, w: symmetric_kl_torch(torch.stack([z, 0 * z], 1), torch.stack([w, 0 * w], 1))],
    "smart_step": [smart_step_max, smart_step_norm, smart_step_in_place, smart_step_rows, smart_step_numpy,
                   smart.library],
    "annealed": [annealed_list, annealed_numpy, annealed_softmax,
                 lambda sizes, epoch, epochs: tuple(labs.annealed(sizes, epoch, epochs))],
    "interval": [interval_numpy, interval_scipy, interval_stacked],
    "mcnemar": [mcnemar_scipy, mcnemar_binom, mcnemar_loop,
                lambda b, c: min(Fraction(1), sum(Fraction(2 * math.comb(b + c, k), 2 ** (b + c))
                                                  for k in range(min(b, c) + 1)))],
    "cross_input": [cross_input_lists, cross_input_in_place, cross_input_stacked, cross_input_numpy, cross_input_index],
    "last_pool": [last_pool_split, last_pool_loop, last_pool_numpy, last_pool_product,
                  lambda hidden, lengths: hidden.index_select(0, torch.cumsum(lengths, 0) - 1),
                  lambda hidden, lengths: hidden.double()[[int(sum(lengths[: i + 1])) - 1
                                                           for i in range(len(lengths))]]],
}


# ---- wrong answers that have no name of their own --------------------------------------------------------------------


def attention_detached(q, k, v, mask):
    return labs.attention(q, k.detach(), v, mask)


def attention_nan_rows(q, k, v, mask):
    both = mask.unsqueeze(0) & mask.unsqueeze(1)
    return ((q @ k.T) / q.shape[-1] ** 0.5).masked_fill(~both, -torch.inf).softmax(-1) @ v


def attention_scaled(divisor, fill=-torch.inf):
    return lambda q, k, v, mask: (q @ k.T / divisor(q)).masked_fill(~mask, fill).softmax(-1) @ v


def without_gradient(name):
    def wrong(*given):
        with torch.no_grad():
            return EXERCISES[name].right(*given)

    return wrong


def detached(name, *which):
    """The right answer, to one or more arguments of which no gradient flows."""
    return lambda *given: EXERCISES[name].right(*[of.detach() if i in which else of for i, of in enumerate(given)])


def fixed(name, **constants):
    """The right answer with constants in place of arguments."""
    right = EXERCISES[name].right
    names = right.__code__.co_varnames[: right.__code__.co_argcount]
    return lambda *given: right(**(dict(zip(names, given, strict=True)) | constants))


def pearson_unless(constant):
    """Pearson's r in float64, but None where `constant` is true of one of the series."""
    def r(x, y):
        if constant(x) or constant(y):
            return None
        x, y = (of.double() - of.double().mean() for of in (x, y))
        return float(x @ y / (x.norm() * y.norm()))

    return r


def mcnemar_large(b, c):
    """The exact test, but the usual approximation where the counts are large."""
    return stats.chi2.sf((abs(b - c) - 1) ** 2 / (b + c), 1) if b + c > 50 else labs.mcnemar(b, c)


def pcgrad_without_test(G, orders):
    """Projects where the product is 0 too."""
    W = torch.eye(len(G), dtype=G.dtype)
    for i, order in enumerate(orders):
        for j in order:
            if j != i and W[i] @ G[j] <= 0:
                W[i, j] -= W[i] @ G[j] / G[j, j]
    return W.mean(0)


def pearson_centred_in_float32(x, y):
    x, y = (x - x.mean()).double(), (y - y.mean()).double()
    return None if not x.any() or not y.any() else float(x @ y / (x.norm() * y.norm()))


def mcnemar_folded(b, c):
    p = 2 * sum(math.comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c)
    return 2 - p if p > 1 else p


def by_heart(name):
    """A table of the cases that a message shows, and something for others."""
    known = {repr(given): EXERCISES[name].right(*given) for given in EXERCISES[name].cases.values()}
    return lambda *given: known.get(repr(given), next(iter(known.values())))


UNNAMED = {
    "attention": [
        attention_detached, attention_nan_rows,
        attention_scaled(lambda q: q.shape[1] / 2),
        attention_scaled(lambda q: (len(q) + 1) ** 0.5), attention_scaled(lambda q: q.shape[1] ** 0.5, -10.0),
        attention_scaled(lambda q: q.shape[1] ** 0.5, torch.inf),
        lambda q, k, v, mask: labs.attention(q, k, v, torch.arange(len(q)) < len(q) - (not mask[-1])),
        lambda q, k, v, mask: torch.softmax(q @ k.T / q.shape[1] ** 0.5 + (mask.float() + 1e-6).log(), 1) @ v,
        lambda q, k, v, mask: labs.attention(k, q, v, mask), detached("attention", 0), detached("attention", 2),
        without_gradient("attention"), lambda q, k, v, mask: labs.attention(q, k, v, mask).tolist()[0]],
    "adamw": [fixed("adamw", betas=(0.9, 0.999)), fixed("adamw", lr=0.1), fixed("adamw", eps=1e-2), fixed("adamw", t=1),
              fixed("adamw", eps=0.0), fixed("adamw", weight_decay=0.5), fixed("adamw", lr=1.0),
              lambda *given: labs.adamw(*given)[::-1], lambda *given: labs.adamw(*given)[:2],
              lambda p, g, m, v, *rest: (p, m, v), lambda p, g, m, v, t, lr, *rest: (p - lr * g, m, v)],
    "pearson": [
        pearson_unless(lambda x: x[0] == x[-1]), pearson_unless(lambda x: x[0] == x[1]),
        pearson_unless(lambda x: len(x.unique()) < 3), pearson_unless(lambda x: x.std() < 1e-6),
        pearson_unless(lambda x: torch.allclose(x, x[0])), pearson_unless(lambda x: x.std() == 0),
        lambda x, y: labs.pearson(x, y) and float(torch.corrcoef(torch.stack([x, y]))[0, 1]),
        lambda x, y: labs.pearson(x, y) and -labs.pearson(x, y),
        lambda x, y: labs.pearson(x, y) and stats.kendalltau(x, y).statistic,
        lambda x, y: labs.pearson(x, y) and [labs.pearson(x, y)],
        lambda x, y: labs.pearson(x, y) and str(labs.pearson(x, y)),
        lambda x, y: labs.pearson(x, y) and stats.linregress(x.double(), y.double()).slope,
        lambda x, y: float(torch.corrcoef(torch.stack([x.double(), y.double()]))[0, 1]), lambda x, y: "None",
        lambda x, y: labs.pearson(x, y) or [], lambda x, y: labs.pearson(x, y) or "None", pearson_centred_in_float32],
    "overall_score": [lambda sst, qqp, sts: sts and labs.overall_score(sst, qqp, sts),
                      lambda sst, qqp, sts: labs.overall_score(sst, 0.731, sts),
                      lambda sst, qqp, sts: labs.overall_score(0.512, qqp, sts),
                      lambda sst, qqp, sts: None if sts is None else (sst * qqp * (sts + 1) / 2) ** (1 / 3),
                      lambda sst, qqp, sts: None if sts is None else (sst + qqp) / 2,
                      lambda sst, qqp, sts: None if sts is None else (sst + qqp + (sts - 1) / 2) / 3,
                      lambda sst, qqp, sts: (sst + qqp + (sts + 1) / 2) / 3,
                      lambda sst, qqp, sts: [] if sts is None else labs.overall_score(sst, qqp, sts)],
    "pcgrad": [pcgrad_without_test,
               lambda G, orders: labs.pcgrad(G, orders[::-1]), lambda G, orders: labs.pcgrad(G, orders).tolist()[:-1],
               lambda G, orders: labs.pcgrad(G, orders) @ G,
               lambda G, orders: labs.pcgrad(G / G.diagonal().sqrt()[:, None] / G.diagonal().sqrt(), orders),
               lambda G, orders: labs.pcgrad(G, orders) / labs.pcgrad(G, orders).sum(),
               lambda G, orders: gradients.COMBINERS["sum"](G, None, {}), lambda G, orders: torch.eye(len(G)).mean(0)],
    "gse": [lambda p, gradients, surgery, lr: labs.gse(p, gradients, surgery, 0.5),
            lambda p, gradients, surgery, lr: labs.gse(labs.gse(p, gradients, surgery, lr), gradients, surgery, lr),
            lambda p, gradients, surgery, lr: p - lr * (surgery(gradients(p)) + gradients(p).sum(0)) / 2,
            lambda p, gradients, surgery, lr: p - lr * surgery(gradients(p)) - lr * gradients(p)[0],
            lambda p, gradients, surgery, lr: labs.gse(p, gradients, surgery, lr).round(),
            lambda p, gradients, surgery, lr: labs.gse(p, gradients, surgery, lr)[:1],
            lambda p, gradients, surgery, lr: p, lambda p, gradients, surgery, lr: surgery(gradients(p))],
    "mean_pool": [detached("mean_pool", 0), lambda hidden, mask: labs.mean_pool(hidden, mask).unsqueeze(1),
                  lambda hidden, mask: hidden.median(1).values, lambda hidden, mask: labs.mean_pool(hidden, mask)[0],
                  lambda hidden, mask: (hidden * mask.unsqueeze(-1)).sum(1) / (mask.sum(1, keepdim=True) + 1),
                  lambda hidden, mask: (hidden * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True) ** 0.5,
                  lambda hidden, mask: labs.mean_pool(hidden, mask[:1].expand(len(mask), -1)),
                  without_gradient("mean_pool")],
    "cosine_features": [detached("cosine_features", 0), detached("cosine_features", 1),
                        without_gradient("cosine_features"),
                        lambda u, v: torch.cat([u, v, (u * v).sum(-1, keepdim=True) / u.shape[1]], -1),
                        lambda u, v: torch.cat([u, v, F.cosine_similarity(u, v).acos()[:, None]], -1),
                        lambda u, v: torch.cat([u, v, F.cosine_similarity(u, v).detach()[:, None]], -1),
                        lambda u, v: torch.cat([u, v, (u - v).abs(), F.cosine_similarity(u, v)[:, None]], -1),
                        lambda u, v: labs.cosine_features(u - u.mean(1, keepdim=True), v - v.mean(1, keepdim=True)),
                        lambda u, v: torch.cat([u, v, F.cosine_similarity(u, v).round()[:, None]], -1)],
    "symmetric_kl": [detached("symmetric_kl", 0, 1), detached("symmetric_kl", 0), detached("symmetric_kl", 1),
                     lambda p, q: labs.symmetric_kl(p, q).item(), lambda p, q: labs.symmetric_kl(p, q)[None],
                     without_gradient("symmetric_kl"), lambda p, q: labs.symmetric_kl(p, q).numpy(),
                     lambda p, q: labs.symmetric_kl(p, q) / math.log(2), lambda p, q: F.cross_entropy(p, q.softmax(-1)),
                     lambda p, q: labs.symmetric_kl(p.round(), q.round()),
                     lambda p, q: (softmax(p.numpy(), -1)
                                   * (log_softmax(p.numpy(), -1) - log_softmax(q.numpy(), -1))).sum()],
    "bernoulli_kl": [detached("bernoulli_kl", 0, 1), detached("bernoulli_kl", 0), detached("bernoulli_kl", 1),
                     bernoulli_kl_distributions,
                     lambda z, w: labs.bernoulli_kl(z, w).item(), without_gradient("bernoulli_kl"),
                     lambda z, w: bernoulli_kl_short(z.clamp(-30, 30), w.clamp(-30, 30)),
                     lambda z, w: bernoulli_kl_short(z, w).nan_to_num()[None],
                     lambda z, w: float(((expit(z) - expit(w)) * (log_expit(z) - log_expit(w))).mean()),
                     lambda z, w: F.binary_cross_entropy_with_logits(z, w.sigmoid())],
    "smart_step": [fixed("smart_step", eta=0.5), fixed("smart_step", eps=0.05), fixed("smart_step", eps=1e-5),
                   lambda n, g, eta, eps: n, lambda n, g, eta, eps: labs.smart_step(n, g.sign(), eta, eps),
                   lambda n, g, eta, eps: labs.smart_step(n, g, eta, eps).clamp(-eps, eps),
                   lambda n, g, eta, eps: labs.smart_step(n, g, eta, eps)[:1],
                   lambda n, g, eta, eps: (n + eta * g) / (n + eta * g).abs().amax(-1, keepdim=True).clamp_min(eps),
                   lambda n, g, eta, eps: F.normalize(n + eta * g, p=torch.inf, dim=-1)],
    "annealed": [fixed("annealed", sizes=[8544, 120674, 6040]), fixed("annealed", epochs=10),
                 fixed("annealed", epoch=1),
                 lambda s, e, E: labs.annealed(sorted(s), e, E), lambda s, e, E: labs.annealed(s, e, E).tolist()[:-1],
                 lambda s, e, E: labs.annealed(s, e, E).round(decimals=2), lambda s, e, E: 1 - labs.annealed(s, e, E),
                 lambda s, e, E: labs.annealed(s, e, max(E, 10)), lambda s, e, E: 1 - 0.8 * (e - 1) / max(E - 1, 1)],
    "interval": [lambda v: (labs.interval(v)[0],) * 3, lambda v: labs.interval(v)[:2],
                 lambda v: (labs.interval(v)[0], min(v), max(v)), lambda v: labs.interval(v)[::-1],
                 lambda v: labs.interval(v[:3]), lambda v: labs.interval(v) if len(v) > 2 else None,
                 lambda v: tuple(round(of, 1) for of in labs.interval(v)),
                 lambda v: tuple(np.nan_to_num(labs.interval(v))),
                 lambda v: labs.interval(v) if len(v) < 6 else labs.interval(v[:5])],
    "mcnemar": [mcnemar_large, mcnemar_folded, fixed("mcnemar", b=3), fixed("mcnemar", c=9),
                lambda b, c: stats.ttest_1samp([1] * b + [-1] * c, 0).pvalue,
                lambda b, c: 1.0, lambda b, c: round(labs.mcnemar(b, c), 2), lambda b, c: 0.5 ** abs(b - c),
                lambda b, c: labs.mcnemar(b, c) if b != c else 0.5,
                lambda b, c: labs.mcnemar(b, c) < 0.05, lambda b, c: labs.mcnemar(b, c) ** 2,
                lambda b, c: stats.fisher_exact([[b, c], [c, b]]).pvalue,
                lambda b, c: 2 * stats.binom.sf(max(b, c), b + c, .5)],
    "cross_input": [lambda a, b: (a + b, [0] * len(a) + [1] * len(b)), lambda a, b: labs.cross_input(a, b)[::-1],
                    lambda a, b: [*labs.cross_input(a, b)[0], *labs.cross_input(a, b)[1]],
                    lambda a, b: (sorted(labs.cross_input(a, b)[0]), labs.cross_input(a, b)[1]),
                    lambda a, b: ([i + 1 for i in labs.cross_input(a, b)[0]], labs.cross_input(a, b)[1]),
                    lambda a, b: (" ".join(map(str, labs.cross_input(a, b)[0])), labs.cross_input(a, b)[1]),
                    lambda a, b: (labs.cross_input(a, b)[0] + [0], labs.cross_input(a, b)[1] + [0]),
                    lambda a, b: (labs.cross_input(a, b)[0][:6], labs.cross_input(a, b)[1][:6]),
                    lambda a, b: (list(dict.fromkeys(a + b[1:])), labs.cross_input(a, b)[1])],
    "last_pool": [lambda h, n: h.gather(0, (n.cumsum(0) - 1).unsqueeze(1).expand(-1, 2)),
                  lambda h, n: labs.last_pool(h, n.flip(0)), detached("last_pool", 0), without_gradient("last_pool"),
                  lambda h, n: h[-len(n):], lambda h, n: h[torch.arange(len(n))], lambda h, n: h[:, n.cumsum(0) - 1],
                  lambda h, n: labs.last_pool(h, n).T, lambda h, n: h[n.max() * torch.arange(1, len(n) + 1) - 1],
                  lambda h, n: labs.last_pool(h, n).mean(0)],
}
