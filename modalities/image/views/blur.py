"""Gaussian blur of a batch, each row by its own width."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def gaussian_blur(x_BCHW: Tensor, sigmas_B: Tensor, widest: float) -> Tensor:
    """Blur each picture by its own sigma, with reflected borders.

    The kernel reaches three of the widest sigma to each side, or as far as the picture reflects; with that kernel the
    result is torchvision's `gaussian_blur`.

    Args:
        x_BCHW: float pixels.
        sigmas_B: float, in pixels, above 0, on the pixels' device.
        widest: upper bound of the sigmas, known without looking at them.
    """
    for dim in (-2, -1):
        x_BCHW = _blur_along(x_BCHW, dim, sigmas_B, math.ceil(3 * widest))
    return x_BCHW


def _blur_along(x_BCHW: Tensor, dim: int, sigmas_B: Tensor, radius: int) -> Tensor:
    """Add shifted copies: for short kernels of many pictures faster than a grouped convolution."""
    side = x_BCHW.shape[dim]
    radius = min(radius, side - 1)
    steps = torch.arange(radius + 1, device=x_BCHW.device, dtype=x_BCHW.dtype)
    half_BK = (-0.5 * (steps / sigmas_B.to(x_BCHW.dtype)[:, None]) ** 2).exp()
    half_BK = half_BK / (2 * half_BK.sum(dim=1, keepdim=True) - 1)  # the centre, 1, counts once
    weights = half_BK[:, :, None, None, None].unbind(1)
    padding = (0, 0, radius, radius) if dim == -2 else (radius, radius, 0, 0)
    padded = F.pad(x_BCHW, padding, mode="reflect")
    blurred = x_BCHW * weights[0]
    for k in range(1, radius + 1):
        both = padded.narrow(dim, radius - k, side) + padded.narrow(dim, radius + k, side)
        blurred.addcmul_(both, weights[k])
    return blurred
