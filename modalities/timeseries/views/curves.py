"""Smooth random curves over the length of each series."""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium.modalities.signal.batch import SignalBatch


def relative_time(batch: SignalBatch) -> Tensor:
    """Return the time of each step, from 0 at the first to 1 at the last of its row and on padding: float (B, T)."""
    steps_T = torch.arange(batch.values.shape[2], device=batch.device)
    return (steps_T / (batch.lengths - 1).clamp(min=1)[:, None]).clamp(max=1)


def random_curves(batch: SignalBatch, sigma: float, knots: int, rng: torch.Generator) -> Tensor:
    """Return a smooth curve around 1 for each row, float (B, T).

    It goes through `knots` values from N(1, sigma), the first at the first step and the last at the last.
    """
    knots_BK = 1 + sigma * torch.randn(len(batch), knots, generator=rng, device=batch.device)
    return catmull_rom(knots_BK, relative_time(batch))


def catmull_rom(knots_BK: Tensor, time_BT: Tensor) -> Tensor:
    """Return the Catmull-Rom spline through evenly spaced knots (1974) at times from 0 to 1: (B, T)."""
    spans = knots_BK.shape[1] - 1
    start_B1, end_B1 = 2 * knots_BK[:, :1] - knots_BK[:, 1:2], 2 * knots_BK[:, -1:] - knots_BK[:, -2:-1]
    points_BK = torch.cat([start_B1, knots_BK, end_B1], dim=1)  # the outermost slopes are extrapolated
    position_BT = time_BT * spans
    span_BT = position_BT.floor().long().clamp(max=spans - 1)
    a, b, c, d = (points_BK.gather(1, span_BT + i) for i in range(4))
    x = position_BT - span_BT
    return b + x / 2 * (c - a + x * (2 * a - 5 * b + 4 * c - d + x * (3 * (b - c) + d - a)))
