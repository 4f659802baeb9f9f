"""Gaussian blur of a batch, each row by its own width."""

from __future__ import annotations

import math

import torch
from torch import Tensor

BLOCK = 16
"""Lines that one product of matrices blurs: more of them multiply by more zeros, fewer read more lines twice."""


def gaussian_blur(x_BCHW: Tensor, sigmas_B: Tensor, widest: float) -> Tensor:
    """Blur each picture by its own sigma, with reflected borders.

    The kernel reaches three of the widest sigma to each side, or as far as the picture reflects; with that kernel the
    result is torchvision's `gaussian_blur`.

    Args:
        x_BCHW: float pixels.
        sigmas_B: float, in pixels, above 0, on the pixels' device.
        widest: upper bound of the sigmas, known without looking at them.
    """
    radius = math.ceil(3 * widest)
    blurred_BCWH = _blur_down(x_BCHW, sigmas_B, radius).mT.contiguous()
    return _blur_down(blurred_BCWH, sigmas_B, radius).mT


def _blur_down(x_BCHW: Tensor, sigmas_B: Tensor, radius: int) -> Tensor:
    """Blur along the height: a block of lines is a band matrix times the lines within the radius of it."""
    side = x_BCHW.shape[2]
    radius = min(radius, side - 1)
    blocks, reach = math.ceil(side / BLOCK), BLOCK + 2 * radius
    near = torch.arange(reach, device=x_BCHW.device) - radius
    steps = near - torch.arange(BLOCK, device=x_BCHW.device)[:, None]
    bells = (-0.5 * (steps / sigmas_B.to(x_BCHW.dtype)[:, None, None]) ** 2).exp().where(steps.abs() <= radius, 0)
    bands = bells / bells.sum(dim=2, keepdim=True)  # (B, BLOCK, reach)

    lines = torch.arange(0, blocks * BLOCK, BLOCK, device=x_BCHW.device)[:, None] + near
    lines = (side - 1 - (side - 1 - lines.abs()).abs()).clamp(min=0)  # reflected; past that, lines of no result
    gathered = x_BCHW.index_select(2, lines.flatten()).unflatten(2, (blocks, reach))
    return (bands[:, None, None] @ gathered).flatten(2, 3)[:, :, :side]
