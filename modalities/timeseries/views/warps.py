"""Augmentations of the time axis: time steps move, the same for all channels of a series.

Letters: B series, C channels, T time steps, S segments.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.signal.time_axis import crop_place, permute_segments, resample
from sensorium.modalities.timeseries.views.curves import random_curves

MIN_SPEED = 0.1
"""The minimum speed of warped time, so that it never stops or runs backwards."""


def time_warp(batch: SignalBatch, sigma: float, knots: int, rng: torch.Generator) -> SignalBatch:
    """Time warping: resample at a smooth speed through knots from N(1, sigma) (Um et al. 2017); both ends stay."""
    speed_BT = random_curves(batch, sigma, knots, rng).clamp(min=MIN_SPEED).double()
    inner_BT = torch.arange(speed_BT.shape[1], device=batch.device) < (batch.lengths - 1)[:, None]
    elapsed_BT = (speed_BT * inner_BT).cumsum(1)
    time_BT = torch.cat([torch.zeros_like(elapsed_BT[:, :1]), elapsed_BT[:, :-1]], dim=1)
    total_B1 = elapsed_BT[:, -1:].clamp(min=MIN_SPEED)
    return resample(batch, time_BT / total_B1 * (batch.lengths - 1)[:, None], batch.lengths, batch.host_lengths)


def slice_window(batch: SignalBatch, fraction: float, rng: torch.Generator) -> tuple[SignalBatch, Tensor]:
    """Window slicing: crop at least `fraction` of a series and stretch it to its length (Le Guennec et al. 2016).

    Returns the batch, and where the windows lie: float (B, 3), as `crop_place` gives it.
    """
    width_B1, start_B1 = torch.rand(2, len(batch), 1, generator=rng, device=batch.device, dtype=torch.float64)
    last_B1 = (batch.lengths - 1)[:, None]
    width_B1 = fraction + (1 - fraction) * width_B1
    steps_T = torch.arange(batch.values.shape[2], device=batch.device)
    times_BT = start_B1 * (1 - width_B1) * last_B1 + steps_T * width_B1
    starts_B1 = start_B1 * (1 - width_B1) * last_B1
    place_B3 = crop_place(starts_B1[:, 0], width_B1[:, 0] * batch.lengths, batch.lengths)
    return resample(batch, times_BT, batch.lengths, batch.host_lengths), place_B3


def permute(batch: SignalBatch, segments: int, rng: torch.Generator) -> SignalBatch:
    """Permutation: cut a series at random steps into 1 to `segments` segments and shuffle them (Um et al. 2017)."""
    (b, t), device = batch.valid.shape, batch.device
    count_B1 = torch.randint(1, segments + 1, (b, 1), generator=rng, device=device)
    draw_BT = torch.rand(b, t, generator=rng, device=device)
    candidate_BT = batch.valid & (torch.arange(t, device=device) > 0)
    rank_BT = draw_BT.masked_fill(~candidate_BT, torch.inf).argsort(dim=1).argsort(dim=1)
    cut_BT = candidate_BT & (rank_BT < count_B1 - 1)
    order_BS = torch.rand(b, segments, generator=rng, device=device)
    return permute_segments(batch, cut_BT.cumsum(1), order_BS)
