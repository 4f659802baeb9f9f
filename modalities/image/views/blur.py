"""Gaussian blur of a batch, each row by its own width."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sensorium.modalities.image.views.resampling import Mix


def gaussian_blur(sigmas_B: Tensor, size: tuple[int, int], widest: float) -> Mix:
    """Return the blur of each picture by its own sigma, with reflected borders.

    The kernel reaches three of the widest sigma to each side; with that kernel the result is torchvision's
    `gaussian_blur`, and pictures too small for it are reflected again and again.

    Args:
        sigmas_B: float, in pixels, above 0, on the pixels' device.
        size: (height, width) of the pictures.
        widest: upper bound of the sigmas, known without looking at them.
    """
    reach = math.ceil(3 * widest)
    steps_K = torch.arange(-reach, reach + 1, device=sigmas_B.device)
    weights_B1K = (-0.5 * (steps_K / sigmas_B[:, None]) ** 2).softmax(dim=1)[:, None]

    def near(side: int) -> tuple[Tensor, Tensor]:
        lines_SK = _reflected(torch.arange(side, device=steps_K.device)[:, None] + steps_K, side)
        return lines_SK.expand(len(sigmas_B), -1, -1), weights_B1K.expand(-1, side, -1)

    return Mix(*near(size[0]), *near(size[1]))


def _reflected(lines: Tensor, side: int) -> Tensor:
    """Return the places inside [0, side) that a mirror at the first and the last line shows."""
    period = max(2 * (side - 1), 1)
    lines = lines % period
    return torch.minimum(lines, period - lines)
