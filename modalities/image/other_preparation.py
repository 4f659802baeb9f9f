"""What another library makes of images of other shapes than the encoder's, beside what the modality makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sensorium import largest_difference

if TYPE_CHECKING:
    from sensorium.modalities.image.modality import ImageModality

BETWEEN_PIXELS = (
    "Images whose crop begins between two pixels differ a little: the run crops, then resizes; this library resizes, "
    "then crops."
)
"""What a card says of what is not compared."""
LEVELS = 3 / 255
"""Largest difference of pixels in [0, 1]: libraries resize smooth images a little differently."""


def pixel_difference(
    modality: ImageModality, prepare: Callable[[Image.Image], Tensor], mean: Sequence[float], std: Sequence[float]
) -> float:
    """Return the largest difference of pixels in [0, 1], over images that are wide, tall, large, and small.

    Args:
        modality: of RGB images.
        prepare: image to normalized pixels (3, H, W), by the other library.
        mean: per channel, that it subtracts.
        std: per channel, that it divides by.

    Raises:
        SensoriumError: when it crops, stretches, pads or normalizes them in another way.
    """
    mean_C11, std_C11 = (torch.tensor(numbers)[:, None, None] for numbers in (mean, std))
    images = [_ramps(*shape) for shape in _shapes(*modality.size)]
    batches = [modality.sized(modality.collate([modality.decode(one)])) for one in images]
    ours = torch.cat([batch.pixels for batch in batches])
    theirs = torch.stack([prepare(one) * std_C11 + mean_C11 for one in images])
    return largest_difference(ours / 255, theirs, "pixels of images of other shapes", LEVELS)


def _shapes(height: int, width: int) -> list[tuple[int, int]]:
    """Return shapes whose crop at the center begins at a whole pixel, which libraries round differently."""
    shapes = [(height, 3 * width), (3 * height, width), (2 * height, 2 * width)]
    return shapes if height % 2 or width % 2 else [*shapes, (height // 2, width // 2)]


def _ramps(height: int, width: int) -> Image.Image:
    """Return a smooth image that differs wherever it is cut: one channel by row, one by column, one by both."""
    rows, columns = np.meshgrid(np.linspace(0, 255, height), np.linspace(0, 255, width), indexing="ij")
    return Image.fromarray(np.stack([rows, columns, 255 - (rows + columns) / 2], 2).round().astype(np.uint8))
