"""Augmentations of log-mel spectrograms; every clip has its own draws, shared by its channels.

Letters: B clips, C channels, F bands, G = C x F, T frames.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.modalities.audio.batch import LogMelBatch

Range = tuple[float, float]


def mixup(batch: LogMelBatch, ratio: float, rng: torch.Generator) -> LogMelBatch:
    """Mix the power of another clip into each, with a weight up to `ratio` (log-mixup-exp, Niizumi et al. 2021).

    The paper draws the other clip from a memory bank of 2,048 past inputs. That would be state which no checkpoint has,
    and views would depend on more than (seed, step, rank); so the other clip is one of the same batch. A batch of one
    is not changed, nor are frames beyond the end of the other clip.
    """
    b = len(batch)
    offsets_B = torch.randint(1, max(b, 2), (b,), generator=rng, device=batch.device)
    other_B = (torch.arange(b, device=batch.device) + offsets_B) % b
    weight_B11 = ratio * torch.rand(b, 1, 1, generator=rng, device=batch.device)
    mixed_BGT = torch.logaddexp(batch.values + (-weight_B11).log1p(), batch.values[other_B] + weight_B11.log())
    return batch.with_values(torch.where(batch.observed[other_B], mixed_BGT, batch.values))


def random_resize_crop(
    batch: LogMelBatch,
    bands: int,
    virtual_crop_scale: Range,
    freq_scale: Range,
    time_scale: Range,
    rng: torch.Generator,
) -> tuple[LogMelBatch, Tensor, Tensor]:
    """Crop a random rectangle of each spectrogram and resize it to the full size (Niizumi et al. 2021).

    The spectrogram is centered in a virtual crop boundary; where the crop exceeds it, nothing is observed.
    Interpolation is bilinear (bicubic in the paper).

    Args:
        batch: the spectrograms.
        bands: F, bands of each channel.
        virtual_crop_scale: height and width of the virtual crop boundary, relative to the spectrogram, >= 1.
        freq_scale: range of the crop's height, relative to the spectrogram; at most that of the boundary.
        time_scale: range of the crop's width, likewise.
        rng: draws size and position of the crop.

    Returns:
        The spectrograms, and the first band and the number of bands, the first frame and the number of frames of each
        crop: float (B, 2) each, beyond the spectrogram where the crop is.
    """
    ones_B = torch.ones_like(batch.lengths)
    rows_BF, inside_BF, bands_B2 = _sample_positions(bands * ones_B, bands, virtual_crop_scale[0], freq_scale, rng)
    frames, width = batch.values.shape[2], virtual_crop_scale[1]
    columns_BT, inside_BT, times_B2 = _sample_positions(batch.lengths, frames, width, time_scale, rng)
    x_BCFT = batch.values.unflatten(1, (-1, bands))
    observed_BCFT = batch.observed.unflatten(1, (-1, bands))
    observed_BCFT = _nearest(_nearest(observed_BCFT, rows_BF, 2), columns_BT, 3)
    observed_BCFT = observed_BCFT & inside_BF[:, None, :, None] & (inside_BT & batch.valid)[:, None, None]
    x_BCFT = _linear(_linear(x_BCFT, rows_BF, 2), columns_BT, 3).masked_fill(~observed_BCFT, 0.0)
    return replace(batch, values=x_BCFT.flatten(1, 2), observed=observed_BCFT.flatten(1, 2)), bands_B2, times_B2


def _sample_positions(
    length_B: Tensor, steps: int, boundary: float, scale: Range, rng: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the input position of each output step along one axis, whether it is inside the input, and the crop.

    The crop is its first step and its number of steps, (B, 2). Positions are clamped to [0, length - 1].
    """
    draw_2B1 = torch.rand(2, len(length_B), 1, generator=rng, device=length_B.device)
    length_B1 = length_B[:, None].to(draw_2B1.dtype)
    width_B1 = (scale[0] + (scale[1] - scale[0]) * draw_2B1[0]).clamp(max=boundary) * length_B1
    start_B1 = (1 - boundary) / 2 * length_B1 + draw_2B1[1] * (boundary * length_B1 - width_B1)
    centers_T = torch.arange(steps, device=length_B.device) + 0.5
    position_BT = start_B1 + centers_T * (width_B1 / length_B1) - 0.5
    inside_BT = (position_BT >= -0.5) & (position_BT <= length_B1 - 0.5)
    crop_B2 = torch.cat([start_B1, width_B1], dim=1)
    return position_BT.clamp(min=0).minimum(length_B1 - 1), inside_BT, crop_B2


def _take(x_BCFT: Tensor, index_BN: Tensor, axis: int) -> Tensor:
    """Return the rows (axis 2) or columns (axis 3) of each spectrogram at its own indices."""
    shape = [len(index_BN), 1, 1, 1]
    shape[axis] = index_BN.shape[1]
    return torch.take_along_dim(x_BCFT, index_BN.view(shape), dim=axis)


def _nearest(x_BCFT: Tensor, position_BN: Tensor, axis: int) -> Tensor:
    return _take(x_BCFT, position_BN.round().long(), axis)


def _linear(x_BCFT: Tensor, position_BN: Tensor, axis: int) -> Tensor:
    below_BN = position_BN.floor().long()
    above_BN = position_BN.ceil().long()
    shape = [len(position_BN), 1, 1, 1]
    shape[axis] = position_BN.shape[1]
    fraction = (position_BN - below_BN).view(shape)
    return torch.lerp(_take(x_BCFT, below_BN, axis), _take(x_BCFT, above_BN, axis), fraction)


def random_linear_fader(batch: LogMelBatch, gain: float, rng: torch.Generator) -> LogMelBatch:
    """Add a linear gain over time, its ends uniform in [-gain, gain] (Niizumi et al. 2022)."""
    start_B1, end_B1 = gain * (2 * torch.rand(2, len(batch), 1, generator=rng, device=batch.device) - 1)
    steps_T = torch.arange(batch.values.shape[2], device=batch.device)
    line_BT = torch.lerp(start_B1, end_B1, steps_T / (batch.lengths - 1).clamp(min=1)[:, None])
    return batch.with_values(batch.values + line_BT[:, None])


def random_equalizer(batch: LogMelBatch, bands: int, sigma: float, knots: int, rng: torch.Generator) -> LogMelBatch:
    """Add a gain over frequency, piecewise linear through `knots` values of N(0, sigma^2), as of another room."""
    knots_B1K = sigma * torch.randn(len(batch), 1, knots, generator=rng, device=batch.device)
    curve_B1F = F.interpolate(knots_B1K, bands, mode="linear", align_corners=True)
    curve_BG1 = curve_B1F.expand(-1, batch.values.shape[1] // bands, -1).flatten(1)[..., None]
    return batch.with_values(batch.values + curve_BG1)


def frequency_mask(batch: LogMelBatch, bands: int, ratio: float, rng: torch.Generator) -> LogMelBatch:
    """Mask adjacent bands, up to a fraction `ratio` of them (SpecAugment, Park et al. 2019)."""
    whole_B1 = torch.full_like(batch.lengths, bands)[:, None]
    masked_BF = _span(whole_B1, bands, ratio, rng)
    return batch.masked(masked_BF.repeat(1, batch.values.shape[1] // bands)[..., None])


def time_mask(batch: LogMelBatch, ratio: float, rng: torch.Generator) -> LogMelBatch:
    """Mask adjacent frames, up to a fraction `ratio` of a clip's (SpecAugment, Park et al. 2019)."""
    return batch.masked(_span(batch.lengths[:, None], batch.values.shape[2], ratio, rng)[:, None])


def _span(length_B1: Tensor, steps: int, ratio: float, rng: torch.Generator) -> Tensor:
    """Draw a span of each row, bool (B, N): of 0 to `ratio` of its length, at a random position."""
    draw_2B1 = torch.rand(2, len(length_B1), 1, generator=rng, device=length_B1.device)
    width_B1 = (draw_2B1[0] * (ratio * length_B1 + 1)).floor().minimum((ratio * length_B1).floor())
    start_B1 = (draw_2B1[1] * (length_B1 - width_B1 + 1)).floor()
    steps_N = torch.arange(steps, device=length_B1.device)
    return (steps_N >= start_B1) & (steps_N < start_B1 + width_B1)
