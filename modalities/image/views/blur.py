"""Gaussian blur of a batch, each row by its own width."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sensorium.modalities.image.views.lines import mix_lines


def gaussian_blur(x_BCHW: Tensor, sigmas_B: Tensor, widest: float) -> Tensor:
    """Blur each picture by its own sigma, with reflected borders.

    The kernel reaches three of the widest sigma to each side; with that kernel the result is torchvision's
    `gaussian_blur`, and smaller pictures than it takes are reflected again.

    Args:
        x_BCHW: float pixels.
        sigmas_B: float, in pixels, above 0, on the pixels' device.
        widest: upper bound of the sigmas, known without looking at them.
    """
    reach = math.ceil(3 * widest)
    steps_K = torch.arange(-reach, reach + 1, device=x_BCHW.device)
    weights_BK = (-0.5 * (steps_K / sigmas_B.to(x_BCHW.dtype)[:, None]) ** 2).softmax(dim=1)
    blurred = _mix_near(x_BCHW, steps_K, weights_BK)
    return _mix_near(blurred.mT, steps_K, weights_BK).mT


def _mix_near(x_BCHW: Tensor, steps_K: Tensor, weights_BK: Tensor) -> Tensor:
    """Mix each line with those some steps away, reflected at the first and the last."""
    b, _, h, _ = x_BCHW.shape
    period = max(2 * (h - 1), 1)
    lines_HK = (torch.arange(h, device=x_BCHW.device)[:, None] + steps_K) % period
    lines_HK = torch.minimum(lines_HK, period - lines_HK)
    return mix_lines(x_BCHW, lines_HK.expand(b, -1, -1), weights_BK[:, None].expand(-1, h, -1))
