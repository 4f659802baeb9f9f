"""Crops, flips and quarter turns of a batch, each row by its own parameters.

Pixels are float (B, C, H, W); a box is (top, left, height, width) in whole pixels.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.modalities.image.views.chance import uniform

TRIES = 10


def random_boxes(
    n: int,
    height: int,
    width: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    rng: torch.Generator,
) -> Tensor:
    """Draw n boxes by the law of torchvision's `RandomResizedCrop` (Szegedy et al. 2015).

    Area is uniform over `scale`, aspect log-uniform over `ratio`; of ten tries the first that fits is taken, and the
    largest central box of an allowed aspect when none fits.

    Returns:
        int64 (n, 4) on the CPU.
    """
    area = height * width * uniform(n * TRIES, *scale, rng)
    aspect = uniform(n * TRIES, math.log(ratio[0]), math.log(ratio[1]), rng).exp()
    w = (area * aspect).sqrt().round().view(n, TRIES)
    h = (area / aspect).sqrt().round().view(n, TRIES)
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    first = fits.int().argmax(dim=1, keepdim=True)
    h, w = h.gather(1, first)[:, 0], w.gather(1, first)[:, 0]
    top = (uniform(n, 0, 1, rng) * (height - h + 1)).floor()
    left = (uniform(n, 0, 1, rng) * (width - w + 1)).floor()
    drawn = torch.stack([top, left, h, w], dim=1).long()
    central = torch.tensor(central_box(height, width, ratio))
    return torch.where(fits.any(dim=1, keepdim=True), drawn, central)


def central_box(height: int, width: int, ratio: tuple[float, float]) -> tuple[int, int, int, int]:
    """Return the largest central box whose aspect lies in `ratio`; the whole picture where its own does."""
    h, w = height, width
    if width / height < ratio[0]:
        h = round(width / ratio[0])
    elif width / height > ratio[1]:
        w = round(height * ratio[1])
    return (height - h) // 2, (width - w) // 2, h, w


def resample(pixels_BCHW: Tensor, boxes_B4: Tensor, flips_B: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut a box out of each picture, scale it to `size` and mirror it where `flips_B` says so.

    Bilinear and antialiased, as torchvision's `resized_crop(antialias=True)`: nothing outside the box is seen.

    Args:
        pixels_BCHW: float pixels.
        boxes_B4: int64, one box a row, on the pixels' device.
        flips_B: bool, left and right exchanged, on the pixels' device.
        size: (height, width) of the result.
    """
    height, width = pixels_BCHW.shape[-2:]
    top, left, h, w = boxes_B4.to(pixels_BCHW.dtype)[:, :, None].unbind(1)
    ys_BH, xs_BW = _centres(top, h, size[0]), _centres(left, w, size[1])
    xs_BW = torch.where(flips_B[:, None], xs_BW.flip(1), xs_BW)
    if size[0] >= height and size[1] >= width:  # no box is larger than the result, so nothing is to be averaged
        y = (2 * torch.clamp(ys_BH, top, top + h - 1) + 1) / height - 1
        x = (2 * torch.clamp(xs_BW, left, left + w - 1) + 1) / width - 1
        grid_BHW2 = torch.stack(torch.broadcast_tensors(x[:, None, :], y[:, :, None]), dim=-1)
        return F.grid_sample(pixels_BCHW, grid_BHW2, mode="bilinear", padding_mode="border", align_corners=False)
    rows = _triangles(ys_BH, top, h, height, size[0])
    columns = _triangles(xs_BW, left, w, width, size[1])
    return rows[:, None] @ pixels_BCHW @ columns[:, None].mT


def _centres(start_B1: Tensor, length_B1: Tensor, out: int) -> Tensor:
    """Return where the centres of `out` pixels lie that share [start, start + length): (B, out) source positions."""
    steps = torch.arange(out, device=start_B1.device, dtype=start_B1.dtype) + 0.5
    return start_B1 + steps * (length_B1 / out) - 0.5


def _triangles(centres_BO: Tensor, start_B1: Tensor, length_B1: Tensor, side: int, out: int) -> Tensor:
    """Return the weights (B, out, side) by which source pixels make a result pixel: triangles, cut at the box."""
    support = (length_B1 / out).clamp(min=1)[:, :, None]
    places = torch.arange(side, device=start_B1.device, dtype=start_B1.dtype)
    weights = (1 - (places - centres_BO[:, :, None]).abs() / support).clamp(min=0)
    inside = (places >= start_B1) & (places < start_B1 + length_B1)
    weights = weights * inside[:, None, :]
    return weights / weights.sum(dim=-1, keepdim=True)


def flip(pixels_BCHW: Tensor, flips_B: Tensor) -> Tensor:
    """Exchange left and right of the pictures that `flips_B` marks."""
    return torch.where(flips_B[:, None, None, None], pixels_BCHW.flip(-1), pixels_BCHW)


def quarter_turns(pixels_BCHH: Tensor, turns_B: Tensor) -> Tensor:
    """Turn each square picture counter-clockwise by 0, 1, 2 or 3 quarters."""
    turns = turns_B[:, None, None, None]
    half = torch.where(turns >= 2, pixels_BCHH.rot90(2, (-2, -1)), pixels_BCHH)
    return torch.where(turns % 2 == 1, half.rot90(1, (-2, -1)), half)
