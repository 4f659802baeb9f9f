"""Values taken away: what is hidden counts as missing.

Letters: B series, C channels, T steps.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sensorium.modalities.signal.batch import SignalBatch


def drop_channels(batch: SignalBatch, p: float, rng: torch.Generator) -> SignalBatch:
    """Hide each channel with probability `p`; a channel that is observed always stays."""
    lot_BC = torch.rand(batch.values.shape[:2], generator=rng, device=batch.device)
    lot_BC = lot_BC.masked_fill(~batch.observed.any(2), -1.0)
    away_BC = (lot_BC < p) & (lot_BC < lot_BC.amax(1, keepdim=True))
    return batch.masked(away_BC[..., None])


def hide_steps(batch: SignalBatch, share: float, run: float, rng: torch.Generator) -> SignalBatch:
    """Hide a share of the steps, in all channels; a step that is observed always stays.

    With a `run` of 1 each step is hidden by itself (a binomial mask, TS2Vec); with a larger one hidden runs have that
    mean length, and runs between them the one that the share asks for (a two-state Markov chain, Zerveas et al. 2021,
    section 3.2).
    """
    away_BT = hidden_steps(batch.valid, share, run, rng)
    seen_BT = batch.observed.any(1)
    lot_BT = torch.rand(seen_BT.shape, generator=rng, device=batch.device).masked_fill(~seen_BT, -1.0)
    spared_BT = lot_BT == lot_BT.amax(1, keepdim=True)
    bare_B1 = ~(seen_BT & ~away_BT).any(1, keepdim=True)
    return batch.masked((away_BT & ~(bare_B1 & spared_BT))[:, None])


def hidden_steps(steps_BT: Tensor, share: float, run: float, rng: torch.Generator) -> Tensor:
    """Draw which steps are hidden, bool like `steps_BT`: each by itself with a `run` of 1, or else in runs."""
    if run == 1:
        return torch.rand(steps_BT.shape, generator=rng, device=steps_BT.device) < share
    return _runs(steps_BT, share, run, rng)


def _runs(steps_BT: Tensor, share: float, run: float, rng: torch.Generator) -> Tensor:
    """Lay hidden and open runs of geometric lengths one after the other until the row is full."""
    (b, t), device = steps_BT.shape, steps_BT.device
    lot_BT = 1 - torch.rand(b, t, generator=rng, device=device, dtype=torch.float64)
    first_B1 = torch.rand(b, 1, generator=rng, device=device) < share
    hidden_BT = first_B1 ^ (torch.arange(t, device=device) % 2 == 1)
    # A geometric law of mean m is 1 + floor(log u / log(1 - 1/m)); a mean of at most 1 is always 1.
    on, off = (math.log(1 - 1 / mean) if mean > 1 else -math.inf for mean in (run, run * (1 - share) / share))
    lengths_BT = 1 + (lot_BT.log() / torch.where(hidden_BT, on, off)).floor()
    ends_BT = lengths_BT.cumsum(1)
    places_BT = torch.arange(t, device=device, dtype=torch.float64).expand(b, t).contiguous()
    return hidden_BT.gather(1, torch.searchsorted(ends_BT, places_BT, right=True).clamp(max=t - 1))
