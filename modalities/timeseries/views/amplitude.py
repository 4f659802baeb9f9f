"""Changes of values; steps stay where they are.

What is drawn for a step or a series holds for all of its channels, except noise. Letters: B series, C channels,
T steps, F frequencies.
"""

from __future__ import annotations

from typing import Literal

import torch

from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.timeseries.views.curves import random_curves


def jitter(batch: SignalBatch, sigma: float, rng: torch.Generator) -> SignalBatch:
    """Add noise from N(0, sigma) to every value (Um et al. 2017)."""
    noise_BCT = torch.randn(batch.values.shape, generator=rng, device=batch.device)
    return batch.with_values(batch.values + sigma * noise_BCT)


def scaling(
    batch: SignalBatch, mean: float, sigma: float, per: Literal["series", "step"], rng: torch.Generator
) -> SignalBatch:
    """Multiply by factors from N(mean, sigma), one for each series (Um et al. 2017) or each of its steps (TS-TCC)."""
    size = (len(batch), 1, batch.values.shape[2] if per == "step" else 1)
    factors = mean + sigma * torch.randn(size, generator=rng, device=batch.device)
    return batch.with_values(batch.values * factors)


def magnitude_warp(batch: SignalBatch, sigma: float, knots: int, rng: torch.Generator) -> SignalBatch:
    """Multiply by a smooth curve through knots from N(1, sigma) (Um et al. 2017)."""
    return batch.with_values(batch.values * random_curves(batch, sigma, knots, rng)[:, None])


def mask_frequencies(batch: SignalBatch, share: float, rng: torch.Generator) -> SignalBatch:
    """Take a band out of the spectrum, of a random width up to `share` of all frequencies; the mean always stays."""
    spectrum_BCF = torch.fft.rfft(batch.values)
    bands = spectrum_BCF.shape[2] - 1
    width_B1, place_B1 = torch.rand(2, len(batch), 1, generator=rng, device=batch.device)
    width_B1 = width_B1 * share * bands
    start_B1 = 1 + place_B1 * (bands - width_B1)
    number_F = torch.arange(bands + 1, device=batch.device)
    away_BF = (number_F >= start_B1) & (number_F < start_B1 + width_B1)
    values_BCT = torch.fft.irfft(spectrum_BCF.masked_fill(away_BF[:, None], 0), n=batch.values.shape[2])
    return batch.with_values(values_BCT)


def mix(batch: SignalBatch, share: float, rng: torch.Generator) -> SignalBatch:
    """Blend every series with another one of the batch, which has a weight from U(0, share) (Zhang et al. 2018).

    Series keep their steps. A value stays observed where it was; where the other has none, it stays as it is.
    """
    count = len(batch)
    away_B = torch.rand(count, generator=rng, device=batch.device).mul(count - 1).long() + 1
    other = batch.select((torch.arange(count, device=batch.device) + away_B) % count)
    weight_B11 = share * torch.rand(count, 1, 1, generator=rng, device=batch.device)
    blended_BCT = torch.lerp(batch.values, other.values, weight_B11)
    return batch.with_values(torch.where(other.observed, blended_BCT, batch.values))
