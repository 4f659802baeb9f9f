"""Changes of time: steps move, and all channels of a series move with them.

Letters: B series, C channels, T steps, S segments.
"""

from __future__ import annotations

import torch

from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.signal.time_axis import permute_segments, resample
from sensorium.modalities.timeseries.views.curves import random_curves

SLOWEST = 0.1
"""The least speed of a warped clock, so that it never stands still or runs backwards."""


def time_warp(batch: SignalBatch, sigma: float, knots: int, rng: torch.Generator) -> SignalBatch:
    """Let time run by a smooth speed through knots from N(1, sigma) (Um et al. 2017); both ends stay where they are."""
    speed_BT = random_curves(batch, sigma, knots, rng).clamp(min=SLOWEST).double()
    inner_BT = torch.arange(speed_BT.shape[1], device=batch.device) < (batch.lengths - 1)[:, None]
    passed_BT = (speed_BT * inner_BT).cumsum(1)
    clock_BT = torch.cat([torch.zeros_like(passed_BT[:, :1]), passed_BT[:, :-1]], dim=1)
    whole_B1 = passed_BT[:, -1:].clamp(min=SLOWEST)
    return resample(batch, clock_BT / whole_B1 * (batch.lengths - 1)[:, None], batch.lengths)


def slice_window(batch: SignalBatch, share: float, rng: torch.Generator) -> SignalBatch:
    """Cut a window of at least `share` of a series, anywhere, and stretch it to its length (Le Guennec 2016)."""
    width_B1, place_B1 = torch.rand(2, len(batch), 1, generator=rng, device=batch.device, dtype=torch.float64)
    last_B1 = (batch.lengths - 1)[:, None]
    width_B1 = share + (1 - share) * width_B1
    steps_T = torch.arange(batch.values.shape[2], device=batch.device)
    places_BT = place_B1 * (1 - width_B1) * last_B1 + steps_T * width_B1
    return resample(batch, places_BT, batch.lengths)


def permute(batch: SignalBatch, segments: int, rng: torch.Generator) -> SignalBatch:
    """Cut a series into 1 to `segments` pieces at random steps, and shuffle the pieces (TS-TCC, Eldele et al. 2021)."""
    (b, t), device = batch.valid.shape, batch.device
    count_B1 = torch.randint(1, segments + 1, (b, 1), generator=rng, device=device)
    lot_BT = torch.rand(b, t, generator=rng, device=device)
    cuttable_BT = batch.valid & (torch.arange(t, device=device) > 0)
    rank_BT = lot_BT.masked_fill(~cuttable_BT, torch.inf).argsort(dim=1).argsort(dim=1)
    cuts_BT = cuttable_BT & (rank_BT < count_B1 - 1)
    order_BS = torch.rand(b, segments, generator=rng, device=device)
    return permute_segments(batch, cuts_BT.cumsum(1), order_BS)
