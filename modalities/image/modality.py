"""The image modality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageColor

from sensorium import Modality, SensoriumError
from sensorium.modalities.image.batch import CropBatch, ImageBatch
from sensorium.modalities.image.decode import decode
from sensorium.modalities.image.resize import fit, shrink

PREVIEW = 256
BASELINE = 32


class ImageModality(Modality):
    """Pictures: a path, the bytes of a file, a PIL picture or an array becomes uint8 (C, H, W).

    A picture is scaled until its shorter side fits and cut about its center, so that every example has one size.
    With `canvas` the whole of a large picture reaches the view generator, which cuts its crops on the loader worker;
    whatever no view generator cuts (evaluation, embedding) is still brought to `size` when a batch is made.

    Args:
        size: side of the square pictures in pixels, or [height, width].
        channels: 1 (gray), 3 (color), or any other number, for arrays that have so many.
        background: the color that shows through transparent places: a name or #rrggbb.
        canvas: shorter side, in pixels, of the pictures that view generators crop from; pictures that are smaller
            keep their size. None lets them crop from the picture of `size`, which is much faster.
    """

    reads_files = True

    def __init__(
        self,
        size: int | list[int] = 224,
        channels: int = 3,
        background: str = "white",
        canvas: int | None = None,
    ) -> None:
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        if len(self.size) != 2 or min(self.size) < 1:
            raise SensoriumError(f"The size of the modality 'image' is one side or [height, width], not {size}.")
        if channels < 1:
            raise SensoriumError(f"The modality 'image' needs at least one channel, not {channels}.")
        if canvas is not None and canvas < min(self.size):
            raise SensoriumError(f"The canvas of the modality 'image' ({canvas}) is smaller than its size {self.size}.")
        try:
            self.background = ImageColor.getrgb(background)[:3]
        except ValueError:
            raise SensoriumError(
                f"The background of the modality 'image' is a color such as white or #808080, not '{background}'."
            ) from None
        self.channels, self.canvas = channels, canvas

    def decode(self, raw: Any) -> np.ndarray:
        """Return a picture as uint8 (C, H, W): of `size`, or with a `canvas` of that shorter side or smaller."""
        pixels = decode(raw, self.channels, self.background, enough=self.canvas or max(self.size))
        return shrink(pixels, self.canvas) if self.canvas else fit(pixels, self.size)

    def collate(self, examples: Sequence[Any]) -> ImageBatch | CropBatch:
        """Stack pictures; those not of `size` are brought to it. Crops that a `stage` cut stay crops."""
        if isinstance(examples[0], CropBatch):
            return CropBatch.cat(examples)
        return ImageBatch(torch.from_numpy(np.stack([fit(pixels, self.size) for pixels in examples])))

    def preview(self, example: np.ndarray | torch.Tensor) -> Image.Image:
        """Draw a picture in RGB, at most 256 pixels a side; of channels other than 1 and 3 the mean is drawn."""
        pixels = np.asarray(example)
        if len(pixels) not in (1, 3):
            pixels = np.rint(pixels.mean(0, keepdims=True)).astype(np.uint8)
        picture = Image.fromarray(np.broadcast_to(pixels, (3, *pixels.shape[1:])).transpose(1, 2, 0).copy())
        picture.thumbnail((PREVIEW, PREVIEW))
        return picture

    def examples(self, batch: ImageBatch | CropBatch) -> list[np.ndarray]:
        """Take a batch apart into uint8 arrays (C, H, W); of crops made before collation, the first of each picture."""
        pixels = (batch.large[:, 0] if isinstance(batch, CropBatch) else batch.pixels).detach()
        if pixels.is_floating_point():
            pixels = pixels.float().clamp(0, 1).mul(255).round().to(torch.uint8)
        return list(pixels.cpu().numpy())

    def baseline_features(self, batch: ImageBatch) -> np.ndarray:
        """Return the pixels themselves, float32 in [0, 1], pictures scaled down to at most 32 pixels a side."""
        pixels = batch.unit_pixels().float()
        height, width = (min(side, BASELINE) for side in pixels.shape[-2:])
        return F.adaptive_avg_pool2d(pixels, (height, width)).flatten(1).cpu().numpy()
