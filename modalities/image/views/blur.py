"""Gaussian blur of a batch, each image with its own standard deviation."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sensorium.modalities.image.views.resampling import Resampling, RowFilter


def gaussian_blur(sigmas_B: Tensor, size: tuple[int, int], max_sigma: float) -> Resampling:
    """Return the Gaussian blur of each image by its own sigma, with reflection padding.

    The kernel extends three `max_sigma` to each side; with that kernel the result is torchvision's `gaussian_blur`.
    Images smaller than the kernel are reflected repeatedly.

    Args:
        sigmas_B: float, in pixels, above 0, on the pixels' device.
        size: (height, width) of the images.
        max_sigma: upper bound of the sigmas, known without reading them.
    """
    radius = math.ceil(3 * max_sigma)
    offsets_K = torch.arange(-radius, radius + 1, device=sigmas_B.device)
    # Weights below exp(-50) count for nothing, but denormal ones would make products fifteen times as slow.
    weights_B1K = (-0.5 * (offsets_K / sigmas_B[:, None]) ** 2).clamp(min=-50).softmax(dim=1)[:, None]

    def along(side: int) -> RowFilter:
        index_SK = _reflect(torch.arange(side, device=offsets_K.device)[:, None] + offsets_K, side)
        return RowFilter(index_SK.expand(len(sigmas_B), -1, -1), weights_B1K.expand(-1, side, -1))

    return Resampling(along(size[0]), along(size[1]))


def _reflect(index: Tensor, side: int) -> Tensor:
    """Return the indices in [0, side) after reflection at the first and the last row."""
    period = max(2 * (side - 1), 1)
    index = index % period
    return torch.minimum(index, period - index)
