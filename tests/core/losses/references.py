"""The contrastive losses by plain loops, written from the papers, in double precision."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum() / (a.norm() * b.norm())


def clip(x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
    """Radford et al. 2021, figure 3: the mean of both directions' cross-entropies."""
    n, total = len(x), x.new_zeros(())
    for i in range(n):
        rows = [scale * cosine(x[i], y[j]) for j in range(n)]
        columns = [scale * cosine(x[j], y[i]) for j in range(n)]
        total = total - rows[i] + torch.stack(rows).exp().sum().log()
        total = total - columns[i] + torch.stack(columns).exp().sum().log()
    return total / (2 * n)


def nt_xent(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """Chen et al. 2020, equation 1, over the 2N rows of both views."""
    z, n, total = torch.cat([z1, z2]), len(z1), z1.new_zeros(())
    for i in range(2 * n):
        positive = (i + n) % (2 * n)
        others = [(cosine(z[i], z[k]) / temperature).exp() for k in range(2 * n) if k != i]
        total = total - cosine(z[i], z[positive]) / temperature + torch.stack(others).sum().log()
    return total / (2 * n)


def log_chance(n: int) -> float:
    """What CLIP's loss is when every similarity is the same."""
    return math.log(n)


def siglip(x: Tensor, y: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Zhai et al. 2023, algorithm 1: a logistic loss of every pair, over the number of records."""
    total = x.new_zeros(())
    for i in range(len(x)):
        for j in range(len(y)):
            logit = scale * cosine(x[i], y[j]) + bias
            total = total + (1 + (-logit if i == j else logit).exp()).log()
    return total / len(x)


def supervised(z: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Khosla et al. 2020, equation 2, over the rows that have a positive."""
    each = []
    for i in range(len(z)):
        logits = [cosine(z[i], z[a]) / temperature for a in range(len(z))]
        below = torch.stack([logits[a].exp() for a in range(len(z)) if a != i]).sum()
        positives = [p for p in range(len(z)) if p != i and labels[p] == labels[i]]
        if positives:
            each.append(-torch.stack([(logits[p].exp() / below).log() for p in positives]).mean())
    return torch.stack(each).mean()


def hcl(z1: Tensor, z2: Tensor, temperature: float, beta: float, prior: float) -> Tensor:
    """Robinson et al. 2021, equation 4, with Chuang et al. 2020's estimator of the prior and its floor."""
    z, n, each = torch.cat([z1, z2]), len(z1), []
    count = 2 * n - 2
    for i in range(2 * n):
        positive = (i + n) % (2 * n)
        s = torch.stack([cosine(z[i], z[k]) / temperature for k in range(2 * n) if k not in (i, positive)])
        weights = (beta * s).exp()
        reweighted = (weights * s.exp()).sum() / weights.mean()
        own = (cosine(z[i], z[positive]) / temperature).exp()
        pushed = (reweighted - prior * count * own) / (1 - prior)
        pushed = torch.clamp(pushed, min=count * math.exp(-1 / temperature))
        each.append(-(own / (own + pushed)).log())
    return torch.stack(each).mean()


def hard_weights(logits: Tensor, beta: float) -> Tensor:
    """Radenovic et al. 2023, equation 6: weights of a row's negatives, which sum to their number."""
    return len(logits) * (beta * logits).exp() / (beta * logits).exp().sum()


def hn_nce(x: Tensor, y: Tensor, scale: Tensor, alpha: float, beta: float, negative: Tensor | None = None) -> Tensor:
    """Radenovic et al. 2023, equation 5, both directions; `negative` (2, N, N) says which pairs are negatives."""
    n, each = len(x), []
    negative = ~torch.eye(n, dtype=torch.bool).expand(2, n, n) if negative is None else negative
    for direction, (a, b) in enumerate(((x, y), (y, x))):
        for i in range(n):
            logits = torch.stack([scale * cosine(a[i], b[j]) for j in range(n)])
            hard = logits[negative[direction, i]]
            below = alpha * logits[i].exp() + (hard_weights(hard, beta) * hard.exp()).sum()
            each.append(below.log() - logits[i])
    return torch.stack(each).mean()
