"""Attention pooling and a linear map: several probes side by side, on tokens that are held on the host.

Letters: N records, B of a batch, T tokens, D their width, G probes, Q queries, A attention heads of width E = D / A, C
outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

CHUNK = 512
"""Records whose tokens are in fp32 at once."""


class TokenStatistics(NamedTuple):
    """Mean and standard deviation of each feature over the valid tokens of the train part, fp32 (D,)."""

    mean_D: Tensor
    std_D: Tensor


@dataclass
class CachedTokens:
    """Tokens on the host, standardized batch by batch on the device.

    Args:
        x: float16 or float32 (N, T, D), nan at padding.
        device: where batches go.
        statistics: of the train part.
    """

    x: np.ndarray
    device: torch.device
    statistics: TokenStatistics | None = None

    def batch(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return the standardized tokens of some records, fp32 (B, T, D), zero at padding, and their mask (B, T)."""
        x_BTD = torch.from_numpy(self.x[rows]).to(self.device, torch.float32)
        mask_BT = ~x_BTD.isnan().all(2)
        if self.statistics is not None:
            x_BTD = (x_BTD - self.statistics.mean_D) / self.statistics.std_D
        return x_BTD.masked_fill(~mask_BT[..., None], 0.0), mask_BT

    def measured(self) -> TokenStatistics:
        """Return the statistics of these tokens; a feature that is constant up to rounding keeps its scale."""
        total, count = self._sum(lambda x_BTD: x_BTD)
        mean_D = total / count
        squares_D, _ = self._sum(lambda x_BTD: (x_BTD - mean_D).square())
        std_D = (squares_D / count).sqrt()
        is_constant_D = std_D <= 1e-6 * std_D.max()
        return TokenStatistics(mean_D.float(), torch.where(is_constant_D, 1.0, std_D).float())

    def _sum(self, of: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Return the sum over all valid tokens, fp64 (D,), and how many these are."""
        total = torch.zeros(self.x.shape[2], dtype=torch.float64, device=self.device)
        count, raw = torch.zeros((), device=self.device), CachedTokens(self.x, self.device)
        for start in range(0, len(self.x), CHUNK):
            x_BTD, mask_BT = raw.batch(np.arange(start, min(start + CHUNK, len(self.x))))
            total += of(x_BTD.double()).masked_fill(~mask_BT[..., None], 0.0).sum((0, 1))
            count += mask_BT.sum()
        return total, count


class AttentionProbes:
    """G attention-pooling probes side by side: learned queries, key and value maps without bias, a linear map (AIM).

    The scores of a query are x (W_k^T q): keys are never computed, and values of pooled tokens only, which gives the
    same function, and the same gradients, for a fraction of the products.

    Args:
        width: D.
        outputs: C.
        heads: A, which divides D.
        queries: Q, over which what is pooled is averaged.
        count: G.
        rng: a generator on the CPU; all G probes start alike.
        device: where the weights are.
    """

    def __init__(
        self, width: int, outputs: int, heads: int, queries: int, count: int, rng: torch.Generator, device: torch.device
    ) -> None:
        self.heads, self.scale = heads, (width // heads) ** -0.5

        def drawn(*shape: int, std: float) -> Tensor:
            weight = std * torch.randn(shape, generator=rng)
            return weight.expand(count, *shape).clone().to(device).requires_grad_()

        split = heads, width // heads
        self.query_GQAE = drawn(queries, *split, std=0.02)
        self.key_GDAE = drawn(width, *split, std=width**-0.5)
        self.value_GDAE = drawn(width, *split, std=width**-0.5)
        self.linear_GDC = drawn(width, outputs, std=0.0)
        self.bias_GC = drawn(outputs, std=0.0)

    def weights(self) -> list[Tensor]:
        """Return the weights (G, ...)."""
        return [self.query_GQAE, self.key_GDAE, self.value_GDAE, self.linear_GDC, self.bias_GC]

    def select(self, probe: int) -> AttentionProbes:
        """Return a copy of one probe alone."""
        chosen = object.__new__(AttentionProbes)
        chosen.heads, chosen.scale = self.heads, self.scale
        names = ("query_GQAE", "key_GDAE", "value_GDAE", "linear_GDC", "bias_GC")
        for name, weight in zip(names, self.weights(), strict=True):
            setattr(chosen, name, weight[probe : probe + 1].detach().clone())
        return chosen

    def __call__(self, x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """Return the outputs of every probe, fp32 (B, G, C)."""
        probe_GQAD = torch.einsum("gqae,gdae->gqad", self.query_GQAE, self.key_GDAE) * self.scale
        count, queries, heads, width = probe_GQAD.shape
        scores_BMT = torch.einsum("md,btd->bmt", probe_GQAD.reshape(-1, width), x_BTD)
        attention_BMT = scores_BMT.masked_fill(~mask_BT[:, None], -torch.inf).softmax(2)
        pooled_BGQAD = (attention_BMT @ x_BTD).view(-1, count, queries, heads, width)
        value_BGAE = torch.einsum("bgad,gdae->bgae", pooled_BGQAD.mean(2), self.value_GDAE)
        return torch.einsum("bgd,gdc->bgc", value_BGAE.flatten(2), self.linear_GDC) + self.bias_GC


@torch.no_grad()
def outputs_of(probes: AttentionProbes, tokens: CachedTokens, rows: np.ndarray | None = None) -> Tensor:
    """Return the outputs of all records, or of those at `rows`: fp32 (N, G, C)."""
    rows = np.arange(len(tokens.x)) if rows is None else rows
    pieces = [probes(*tokens.batch(rows[start : start + CHUNK])) for start in range(0, len(rows), CHUNK)]
    return torch.cat(pieces)
