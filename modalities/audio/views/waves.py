"""Changes of waveforms; every sound has its own draws, shared by its channels but for noise.

Letters: B sounds, C channels, T samples.
"""

from __future__ import annotations

import torch

from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.signal.time_axis import crop, gather_steps


def random_crop(batch: SignalBatch, steps: int, rng: torch.Generator) -> SignalBatch:
    """Cut at most `steps` steps out of each signal, anywhere; shorter ones stay whole."""
    lengths_B = batch.lengths.clamp(max=steps)
    luck_B = torch.rand(len(batch), generator=rng, device=batch.device, dtype=torch.float64)
    starts_B = (luck_B * (batch.lengths - lengths_B + 1)).floor().long()
    return crop(batch, starts_B, lengths_B)


def time_shift(batch: SignalBatch, share: float, rng: torch.Generator) -> SignalBatch:
    """Move each sound by up to `share` of its length, to either side; what leaves at one end enters at the other."""
    luck_B = 2 * torch.rand(len(batch), generator=rng, device=batch.device, dtype=torch.float64) - 1
    offsets_B = (luck_B * share * batch.lengths).round().long()
    steps_T = torch.arange(batch.values.shape[2], device=batch.device)
    return gather_steps(batch, (steps_T - offsets_B[:, None]) % batch.lengths[:, None], batch.lengths)


def gain(batch: SignalBatch, decibels: float, rng: torch.Generator) -> SignalBatch:
    """Make each sound louder or softer by up to `decibels`."""
    luck_B11 = 2 * torch.rand(len(batch), 1, 1, generator=rng, device=batch.device) - 1
    return batch.with_values(batch.values * 10 ** (decibels * luck_B11 / 20))


def noise(batch: SignalBatch, low: float, high: float, rng: torch.Generator) -> SignalBatch:
    """Add white noise at a ratio of signal to noise of `low` to `high` dB, each channel's noise its own.

    The ratio is that of mean powers over the whole sound; silence stays silent.
    """
    luck_B11 = torch.rand(len(batch), 1, 1, generator=rng, device=batch.device)
    white_BCT = torch.randn(batch.values.shape, generator=rng, device=batch.device)
    count_B11 = batch.observed.sum((1, 2), keepdim=True).clamp(min=1)
    power_B11 = batch.values.square().sum((1, 2), keepdim=True) / count_B11
    ratio_B11 = 10 ** ((low + (high - low) * luck_B11) / 10)
    return batch.with_values(batch.values + (power_B11 / ratio_B11).sqrt() * white_BCT)


def polarity(batch: SignalBatch, p: float, rng: torch.Generator) -> SignalBatch:
    """Turn each sound upside down with probability `p`."""
    turned_B11 = torch.rand(len(batch), 1, 1, generator=rng, device=batch.device) < p
    return batch.with_values(torch.where(turned_B11, -batch.values, batch.values))
