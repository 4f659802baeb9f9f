"""Gaussian blur of a batch, each row by its own width."""

from __future__ import annotations

import math

import torch
from torch import Tensor

BLOCK = 16
"""Lines that one product of matrices blurs: more of them multiply by more zeros, fewer read more lines twice."""


def gaussian_blur(x_BCHW: Tensor, sigmas_B: Tensor, widest: float) -> Tensor:
    """Blur each picture by its own sigma, with reflected borders.

    The kernel reaches three of the widest sigma to each side; with that kernel the result is torchvision's
    `gaussian_blur`, and smaller pictures than it takes are reflected again.

    Args:
        x_BCHW: float pixels.
        sigmas_B: float, in pixels, above 0, on the pixels' device.
        widest: upper bound of the sigmas, known without looking at them.
    """
    radius = math.ceil(3 * widest)
    near = torch.arange(-radius, BLOCK + radius, device=x_BCHW.device)
    steps = near - torch.arange(BLOCK, device=x_BCHW.device)[:, None]
    bells = (steps / sigmas_B.to(x_BCHW.dtype)[:, None, None]).square_().mul_(-0.5).exp_() * (steps.abs() <= radius)
    bands = bells / bells.sum(dim=2, keepdim=True)  # (B, BLOCK, BLOCK + 2 radius)
    blurred_BCWH = _blur_down(x_BCHW, bands, near).mT.contiguous()
    return _blur_down(blurred_BCWH, bands, near).mT


def _blur_down(x_BCHW: Tensor, bands: Tensor, near: Tensor) -> Tensor:
    """Blur along the height: a block of lines is a band matrix times the lines `near` its first."""
    side = x_BCHW.shape[2]
    lines = torch.arange(0, side, BLOCK, device=x_BCHW.device)[:, None] + near
    period = max(2 * (side - 1), 1)
    lines = lines.remainder_(period)
    lines = torch.minimum(lines, period - lines)
    blocks = x_BCHW.index_select(2, lines.flatten()).unflatten(2, lines.shape)
    return (bands[:, None, None] @ blocks).flatten(2, 3)[:, :, :side]
