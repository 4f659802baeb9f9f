"""Random resized crops, flips and rotations of a batch, each image with its own parameters.

Pixels are float (B, C, H, W); a box is (top, left, height, width) in whole pixels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sensorium.modalities.image.views.random_draws import uniform
from sensorium.modalities.image.views.resampling import Resampling, RowFilter

TRIES = 10


def draw_boxes(
    n: int,
    height: int,
    width: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    rng: torch.Generator,
) -> Tensor:
    """Draw n boxes from the distribution of torchvision's `RandomResizedCrop` (Szegedy et al. 2015).

    The area is uniform over `scale`, the aspect ratio log-uniform over `ratio`. The first of ten tries that fits is
    taken; when none fits, the largest centered box of an allowed aspect ratio.

    Returns:
        int64 (n, 4) on the CPU.
    """
    area = height * width * uniform((n, TRIES), *scale, rng)
    aspect = uniform((n, TRIES), math.log(ratio[0]), math.log(ratio[1]), rng).exp()
    w = (area * aspect).sqrt().round()
    h = (area / aspect).sqrt().round()
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    first = fits.int().argmax(dim=1, keepdim=True)
    h, w = h.gather(1, first)[:, 0], w.gather(1, first)[:, 0]
    top = (uniform(n, 0, 1, rng) * (height - h + 1)).floor()
    left = (uniform(n, 0, 1, rng) * (width - w + 1)).floor()
    drawn = torch.stack([top, left, h, w], dim=1).long()
    centered = torch.tensor(center_box(height, width, ratio))
    return torch.where(fits.any(dim=1, keepdim=True), drawn, centered)


def center_box(height: int, width: int, ratio: tuple[float, float]) -> tuple[int, int, int, int]:
    """Return the largest centered box whose aspect ratio lies in `ratio`; the whole image where its own does."""
    h, w = height, width
    if width / height < ratio[0]:
        h = round(width / ratio[0])
    elif width / height > ratio[1]:
        w = round(height * ratio[1])
    return (height - h) // 2, (width - w) // 2, h, w


def resized_crop(boxes_B4: Tensor, flips_B: Tensor, full: tuple[int, int], size: tuple[int, int]) -> Resampling:
    """Return the resampling that crops a box out of each image, resizes it to `size` and flips it where `flips_B`.

    Bilinear and antialiased, as torchvision's `resized_crop(antialias=True)`: no pixel outside the box is read.

    Args:
        boxes_B4: int64, one box a row, on the pixels' device.
        flips_B: bool, True for a horizontal flip, on the pixels' device.
        full: (height, width) of the images.
        size: (height, width) of the result.
    """
    top, left, height, width = boxes_B4.float()[:, :, None, None].unbind(1)
    columns = _triangle_filter(left, width, full[1], size[1])
    flipped = RowFilter(*(torch.where(flips_B[:, None, None], x.flip(1), x) for x in columns))
    return Resampling(_triangle_filter(top, height, full[0], size[0]), flipped)


def _triangle_filter(start_B11: Tensor, length_B11: Tensor, side: int, out: int) -> RowFilter:
    """Return the filter that makes `out` rows of the rows of a box: triangles, cut at the box.

    It has as many taps as the longest possible box needs.
    """
    scale = length_B11 / out
    support = scale.clamp(min=1)
    centers = start_B11 + (torch.arange(out, device=scale.device)[:, None] + 0.5) * scale - 0.5
    longest = math.ceil(2 * max(1.0, side / out))
    rows = (centers - support).floor() + torch.arange(1, longest + 1, device=scale.device)
    taps = rows.clamp(start_B11, start_B11 + length_B11 - 1)
    weights = (1 - (rows - centers).abs() / support).clamp_(min=0) * (rows == taps)
    return RowFilter(taps.long(), weights / weights.sum(dim=2, keepdim=True))


def rotate_quarters(pixels_BCHH: Tensor, turns_B: Tensor) -> Tensor:
    """Rotate each square image counter-clockwise by 0, 1, 2 or 3 quarter turns."""
    turns = turns_B[:, None, None, None]
    half = torch.where(turns >= 2, pixels_BCHH.rot90(2, (-2, -1)), pixels_BCHH)
    return torch.where(turns % 2 == 1, half.rot90(1, (-2, -1)), half)
