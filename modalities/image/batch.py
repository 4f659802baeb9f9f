"""The batches of the image modality."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sensorium import Batch


@dataclass
class ImageBatch(Batch):
    """Pictures of one size.

    Args:
        pixels: (B, C, H, W), uint8 in the canonical form, float in [0, 1] after views that change pixels.
    """

    pixels: Tensor

    def unit_pixels(self) -> Tensor:
        """Return the pixels as float in [0, 1], whichever form they have."""
        return unit_pixels(self.pixels)


@dataclass
class CropBatch(Batch):
    """Crops that a view generator's `stage` took out of large pictures on the loader worker; it alone reads them.

    Args:
        large: uint8 (B, V, C, H, W), the crops of the first V views.
        small: uint8 (B, L, C, h, w), the crops of the L views that are smaller, or None.
    """

    large: Tensor
    small: Tensor | None = None


def unit_pixels(pixels: Tensor) -> Tensor:
    """Return uint8 or float pixels as float in [0, 1]; the result may be the input itself."""
    return pixels if pixels.is_floating_point() else pixels.to(torch.float32).div_(255)
