"""Changes of log-mel spectrograms; every sound has its own draws, shared by its channels.

Letters: B sounds, C channels, F bands, G = C x F, T frames.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.modalities.audio.batch import LogMels

Range = tuple[float, float]


def mix(batch: LogMels, ratio: float, rng: torch.Generator) -> LogMels:
    """Mix the power of another sound into each, with a weight up to `ratio` (log-mixup-exp, Niizumi et al. 2021).

    The paper draws the other sound from a memory of the last 2,048 inputs. That memory would be state of the views,
    which no checkpoint sees, and views would depend on more than (seed, step, rank); so the other sound is one of the
    same batch. A batch of one stays as it is, and so do frames where the other sound has ended.
    """
    b = len(batch)
    offsets_B = torch.randint(1, max(b, 2), (b,), generator=rng, device=batch.device)
    other_B = (torch.arange(b, device=batch.device) + offsets_B) % b
    weight_B11 = ratio * torch.rand(b, 1, 1, generator=rng, device=batch.device)
    both_BGT = torch.logaddexp(batch.values + (-weight_B11).log1p(), batch.values[other_B] + weight_B11.log())
    return batch.with_values(torch.where(batch.observed[other_B], both_BGT, batch.values))


def resized_crop(
    batch: LogMels, bands: int, canvas: Range, frequency: Range, time: Range, rng: torch.Generator
) -> LogMels:
    """Cut a rectangle out of each spectrogram and stretch it to the size of the whole (Niizumi et al. 2021).

    The spectrogram lies in the middle of a canvas; where the rectangle reaches beyond it, nothing is observed. Between
    points it is interpolated linearly (the paper has it cubic).

    Args:
        batch: the spectrograms.
        bands: F, bands of each channel.
        canvas: height and width of the canvas, in those of the spectrogram; at least 1.
        frequency: height of the rectangle, from and to; at most that of the canvas.
        time: its width, likewise.
        rng: draws both, and where the rectangle lies.
    """
    ones_B = torch.ones_like(batch.lengths)
    rows_BF, low_BF = _places(bands * ones_B, bands, canvas[0], frequency, rng)
    columns_BT, early_BT = _places(batch.lengths, batch.values.shape[2], canvas[1], time, rng)
    x_BCFT = batch.values.unflatten(1, (-1, bands))
    seen_BCFT = batch.observed.unflatten(1, (-1, bands))
    seen_BCFT = _nearest(_nearest(seen_BCFT, rows_BF, 2), columns_BT, 3)
    seen_BCFT = seen_BCFT & low_BF[:, None, :, None] & (early_BT & batch.valid)[:, None, None]
    x_BCFT = _linear(_linear(x_BCFT, rows_BF, 2), columns_BT, 3).masked_fill(~seen_BCFT, 0.0)
    return LogMels(x_BCFT.flatten(1, 2), batch.lengths, seen_BCFT.flatten(1, 2))


def _places(length_B: Tensor, steps: int, canvas: float, share: Range, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return where, along one axis, each step of a view lies in what it is cut from, and whether that is there.

    Places are within 0 and length - 1.
    """
    luck_2B1 = torch.rand(2, len(length_B), 1, generator=rng, device=length_B.device)
    length_B1 = length_B[:, None].to(luck_2B1.dtype)
    width_B1 = (share[0] + (share[1] - share[0]) * luck_2B1[0]).clamp(max=canvas) * length_B1
    start_B1 = (1 - canvas) / 2 * length_B1 + luck_2B1[1] * (canvas * length_B1 - width_B1)
    middles_T = torch.arange(steps, device=length_B.device) + 0.5
    places_BT = start_B1 + middles_T * (width_B1 / length_B1) - 0.5
    there_BT = (places_BT >= -0.5) & (places_BT <= length_B1 - 0.5)
    return places_BT.clamp(min=0).minimum(length_B1 - 1), there_BT


def _along(x_BCFT: Tensor, index_BN: Tensor, axis: int) -> Tensor:
    """Return the rows (axis 2) or columns (axis 3) of each spectrogram at its own places."""
    shape = [len(index_BN), 1, 1, 1]
    shape[axis] = index_BN.shape[1]
    return torch.take_along_dim(x_BCFT, index_BN.view(shape), dim=axis)


def _nearest(x_BCFT: Tensor, places_BN: Tensor, axis: int) -> Tensor:
    return _along(x_BCFT, places_BN.round().long(), axis)


def _linear(x_BCFT: Tensor, places_BN: Tensor, axis: int) -> Tensor:
    below_BN = places_BN.floor().long()
    above_BN = places_BN.ceil().long()
    shape = [len(places_BN), 1, 1, 1]
    shape[axis] = places_BN.shape[1]
    share = (places_BN - below_BN).view(shape)
    return torch.lerp(_along(x_BCFT, below_BN, axis), _along(x_BCFT, above_BN, axis), share)


def fader(batch: LogMels, most: float, rng: torch.Generator) -> LogMels:
    """Change the level along a line whose ends lie up to `most` above or below (Niizumi et al. 2022)."""
    start_B1, end_B1 = most * (2 * torch.rand(2, len(batch), 1, generator=rng, device=batch.device) - 1)
    steps_T = torch.arange(batch.values.shape[2], device=batch.device)
    line_BT = torch.lerp(start_B1, end_B1, steps_T / (batch.lengths - 1).clamp(min=1)[:, None])
    return batch.with_values(batch.values + line_BT[:, None])


def equalize(batch: LogMels, bands: int, sigma: float, knots: int, rng: torch.Generator) -> LogMels:
    """Change the level along frequency by a line through `knots` values from N(0, sigma), as another room would."""
    knots_B1K = sigma * torch.randn(len(batch), 1, knots, generator=rng, device=batch.device)
    curve_B1F = F.interpolate(knots_B1K, bands, mode="linear", align_corners=True)
    curve_BG1 = curve_B1F.expand(-1, batch.values.shape[1] // bands, -1).flatten(1)[..., None]
    return batch.with_values(batch.values + curve_BG1)


def mask_bands(batch: LogMels, bands: int, share: float, rng: torch.Generator) -> LogMels:
    """Hide neighboring bands, up to `share` of all of them (SpecAugment, Park et al. 2019)."""
    whole_B1 = torch.full_like(batch.lengths, bands)[:, None]
    away_BF = _stripe(whole_B1, bands, share, rng)
    return batch.masked(away_BF.repeat(1, batch.values.shape[1] // bands)[..., None])


def mask_frames(batch: LogMels, share: float, rng: torch.Generator) -> LogMels:
    """Hide neighboring frames, up to `share` of a sound's (SpecAugment, Park et al. 2019)."""
    return batch.masked(_stripe(batch.lengths[:, None], batch.values.shape[2], share, rng)[:, None])


def _stripe(length_B1: Tensor, steps: int, share: float, rng: torch.Generator) -> Tensor:
    """Return a run of steps of each row, bool (B, N): of 0 to `share` of its length, anywhere in it."""
    luck_2B1 = torch.rand(2, len(length_B1), 1, generator=rng, device=length_B1.device)
    width_B1 = (luck_2B1[0] * (share * length_B1 + 1)).floor().minimum((share * length_B1).floor())
    start_B1 = (luck_2B1[1] * (length_B1 - width_B1 + 1)).floor()
    steps_N = torch.arange(steps, device=length_B1.device)
    return (steps_N >= start_B1) & (steps_N < start_B1 + width_B1)
