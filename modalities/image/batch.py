"""The batches of the image modality."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sensorium import Batch


@dataclass
class ImageBatch(Batch):
    """Images of one size.

    Args:
        pixels: (B, C, H, W), uint8 in the canonical form, float in [0, 1] after augmentation.
    """

    pixels: Tensor

    def unit_pixels(self) -> Tensor:
        """Return the pixels as float in [0, 1], of either form."""
        return unit_pixels(self.pixels)

    def as_tensor(self) -> Tensor:
        """Return the pixels as float in [0, 1], as plain modules and augmentations take them."""
        return self.unit_pixels()


@dataclass
class CropBatch(Batch):
    """Crops that a view generator's `stage` cut out of large images on the loader worker, for that generator alone.

    Args:
        global_crops: uint8 (B, V, C, H, W), the crops of the first V views.
        local_crops: uint8 (B, L, C, h, w), the smaller crops of the L local views, or None.
    """

    global_crops: Tensor
    local_crops: Tensor | None = None


def unit_pixels(pixels: Tensor) -> Tensor:
    """Return uint8 or float pixels as float in [0, 1]; the result may be the input itself."""
    return pixels if pixels.is_floating_point() else pixels.to(torch.float32).div_(255)
