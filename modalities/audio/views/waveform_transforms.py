"""Augmentations of waveforms; every clip has its own draws, shared by its channels except for noise.

Letters: B clips, C channels, T samples.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.signal.time_axis import crop, crop_place, gather_steps


def random_crop(batch: SignalBatch, steps: int, rng: torch.Generator) -> tuple[SignalBatch, Tensor]:
    """Crop at most `steps` steps of each signal at a random position; shorter signals are not changed.

    Returns the batch, and where the crops lie: float (B, 3), as `crop_place` gives it.
    """
    width = min(steps, batch.values.shape[2])
    lengths_B = batch.lengths.clamp(max=width)
    draw_B = torch.rand(len(batch), generator=rng, device=batch.device, dtype=torch.float64)
    starts_B = (draw_B * (batch.lengths - lengths_B + 1)).floor().long()
    host_lengths = None if batch.host_lengths is None else batch.host_lengths.clip(max=width)
    return crop(batch, starts_B, lengths_B, host_lengths, width), crop_place(starts_B, lengths_B, batch.lengths)


def time_shift(batch: SignalBatch, fraction: float, rng: torch.Generator) -> SignalBatch:
    """Shift each clip circularly by up to a fraction of its length, in either direction."""
    draw_B = 2 * torch.rand(len(batch), generator=rng, device=batch.device, dtype=torch.float64) - 1
    offsets_B = (draw_B * fraction * batch.lengths).round().long()
    steps_T = torch.arange(batch.values.shape[2], device=batch.device)
    return gather_steps(
        batch, (steps_T - offsets_B[:, None]) % batch.lengths[:, None], batch.lengths, batch.host_lengths
    )


def random_gain(batch: SignalBatch, decibels: float, rng: torch.Generator) -> SignalBatch:
    """Change the level of each clip by up to `decibels`, in either direction."""
    draw_B11 = 2 * torch.rand(len(batch), 1, 1, generator=rng, device=batch.device) - 1
    return batch.with_values(batch.values * 10 ** (decibels * draw_B11 / 20))


def add_noise(batch: SignalBatch, low: float, high: float, rng: torch.Generator) -> SignalBatch:
    """Add white noise with a signal-to-noise ratio uniform in `low` to `high` dB, independent for each channel.

    The ratio is that of mean powers over the whole clip; silence stays silent.
    """
    draw_B11 = torch.rand(len(batch), 1, 1, generator=rng, device=batch.device)
    white_BCT = torch.randn(batch.values.shape, generator=rng, device=batch.device)
    count_B11 = batch.observed.sum((1, 2), keepdim=True).clamp(min=1)
    power_B11 = batch.values.square().sum((1, 2), keepdim=True) / count_B11
    ratio_B11 = 10 ** ((low + (high - low) * draw_B11) / 10)
    return batch.with_values(batch.values + (power_B11 / ratio_B11).sqrt() * white_BCT)


def invert_polarity(batch: SignalBatch, p: float, rng: torch.Generator) -> SignalBatch:
    """Invert the polarity of each clip with probability `p`."""
    inverted_B11 = torch.rand(len(batch), 1, 1, generator=rng, device=batch.device) < p
    return batch.with_values(torch.where(inverted_B11, -batch.values, batch.values))
