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
        partner = (i + n) % (2 * n)
        others = [(cosine(z[i], z[k]) / temperature).exp() for k in range(2 * n) if k != i]
        total = total - cosine(z[i], z[partner]) / temperature + torch.stack(others).sum().log()
    return total / (2 * n)


def log_chance(n: int) -> float:
    """What CLIP's loss is when every similarity is the same."""
    return math.log(n)
