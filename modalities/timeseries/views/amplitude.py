"""Augmentations of the values; time steps stay where they are.

The draws of a series or time step are shared by all of its channels, except those of jitter. Letters: B series,
C channels, T time steps, F frequencies.
"""

from __future__ import annotations

from typing import Literal

import torch

from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.timeseries.views.curves import random_curves


def jitter(batch: SignalBatch, sigma: float, rng: torch.Generator) -> SignalBatch:
    """Jitter: add noise from N(0, sigma) to every value (Um et al. 2017)."""
    noise_BCT = torch.randn(batch.values.shape, generator=rng, device=batch.device)
    return batch.with_values(batch.values + sigma * noise_BCT)


def scaling(
    batch: SignalBatch, mean: float, sigma: float, per: Literal["series", "step"], rng: torch.Generator
) -> SignalBatch:
    """Scaling: multiply by N(mean, sigma), one draw for each series (Um et al. 2017) or time step (TS-TCC)."""
    size = (len(batch), 1, batch.values.shape[2] if per == "step" else 1)
    factors = mean + sigma * torch.randn(size, generator=rng, device=batch.device)
    return batch.with_values(batch.values * factors)


def magnitude_warp(batch: SignalBatch, sigma: float, knots: int, rng: torch.Generator) -> SignalBatch:
    """Magnitude warping: multiply by a smooth curve through knots from N(1, sigma) (Um et al. 2017)."""
    return batch.with_values(batch.values * random_curves(batch, sigma, knots, rng)[:, None])


def mask_frequencies(batch: SignalBatch, ratio: float, rng: torch.Generator) -> SignalBatch:
    """Frequency masking: zero a band of the spectrum, of a random width up to `ratio` of it; the mean always stays."""
    spectrum_BCF = torch.fft.rfft(batch.values)
    bands = spectrum_BCF.shape[2] - 1
    width_B1, start_B1 = torch.rand(2, len(batch), 1, generator=rng, device=batch.device)
    width_B1 = width_B1 * ratio * bands
    start_B1 = 1 + start_B1 * (bands - width_B1)
    frequency_F = torch.arange(bands + 1, device=batch.device)
    masked_BF = (frequency_F >= start_B1) & (frequency_F < start_B1 + width_B1)
    values_BCT = torch.fft.irfft(spectrum_BCF.masked_fill(masked_BF[:, None], 0), n=batch.values.shape[2])
    return batch.with_values(values_BCT)


def mixup(batch: SignalBatch, weight: float, rng: torch.Generator) -> SignalBatch:
    """Mixup: blend in another series of the batch, with a weight from U(0, weight) (Zhang et al. 2018).

    Lengths and gaps stay. A value stays as it is where the other series has none.
    """
    count = len(batch)
    offset_B = torch.rand(count, generator=rng, device=batch.device).mul(count - 1).long() + 1
    other = batch.select((torch.arange(count, device=batch.device) + offset_B) % count)
    weight_B11 = weight * torch.rand(count, 1, 1, generator=rng, device=batch.device)
    blended_BCT = torch.lerp(batch.values, other.values, weight_B11)
    return batch.with_values(torch.where(other.observed, blended_BCT, batch.values))
