"""The image modality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageColor

from sensorium import Modality, SensoriumError, check_range
from sensorium.modalities.image.batch import CropBatch, ImageBatch
from sensorium.modalities.image.decode import decode
from sensorium.modalities.image.resize import center_crop_resize, downscale

PREVIEW = 256
BASELINE = 16


class ImageModality(Modality):
    """Images: every format that Pillow reads, and arrays, as uint8 (C, H, W).

    A raw value is a path, the bytes of a file, a PIL image, an array (H, W), (H, W, C) or (C, H, W), or a mapping with
    "bytes" or "path" (Hugging Face datasets). EXIF orientation is applied. Images are resized and center-cropped to
    `size`. With a `canvas`, view generators crop from the larger image, on the loader worker; evaluation and embedding
    still see the center crop of `size`.

    Args:
        size: side of the square images in pixels, or [height, width].
        channels: 1 (grayscale), 3 (RGB), or the number of channels of arrays.
        background: the color behind transparent pixels: a name or #rrggbb.
        canvas: shorter side, in pixels, of the images that view generators crop from; smaller images keep their size.
            None lets them crop from the image of `size`, which is much faster.
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
        check_range("modality 'image'", "[1, inf)", channels=channels)
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
        """Return an image as uint8 (C, H, W): of `size`, or, with a `canvas`, of at most that shorter side.

        Raises:
            BadSample: with the reason, when the value is not an image.
        """
        pixels = decode(raw, self.channels, self.background, min_side=self.canvas or max(self.size))
        return downscale(pixels, self.canvas) if self.canvas else center_crop_resize(pixels, self.size)

    def collate(self, examples: Sequence[Any]) -> ImageBatch | CropBatch:
        """Stack images, center-cropped and resized to `size`; crops of a `stage` are stacked as they are."""
        if isinstance(examples[0], CropBatch):
            return CropBatch.cat(examples)
        return ImageBatch(torch.from_numpy(np.stack([center_crop_resize(pixels, self.size) for pixels in examples])))

    def preview(self, example: np.ndarray | torch.Tensor) -> Image.Image:
        """Return an RGB image of at most 256 pixels a side; other than 1 or 3 channels are averaged."""
        pixels = np.asarray(example)
        if len(pixels) not in (1, 3):
            pixels = np.rint(pixels.mean(0, keepdims=True)).astype(np.uint8)
        image = Image.fromarray(np.broadcast_to(pixels, (3, *pixels.shape[1:])).transpose(1, 2, 0).copy())
        image.thumbnail((PREVIEW, PREVIEW))
        return image

    def examples(self, batch: ImageBatch | CropBatch) -> list[np.ndarray]:
        """Return the images of a batch as uint8 arrays (C, H, W); of staged crops the first of each image."""
        pixels = (batch.global_crops[:, 0] if isinstance(batch, CropBatch) else batch.pixels).detach()
        if pixels.is_floating_point():
            pixels = pixels.float().clamp(0, 1).mul(255).round().to(torch.uint8)
        return list(pixels.cpu().numpy())

    @property
    def baseline_description(self) -> str:
        """The size of the averaged image."""
        return f"pixels averaged to at most {BASELINE} x {BASELINE}"

    def baseline_features(self, batch: ImageBatch) -> np.ndarray:
        """Return pixels, float32 in [0, 1], averaged to at most 16 rows and columns."""
        pixels = batch.unit_pixels().float()
        height, width = (min(side, BASELINE) for side in pixels.shape[-2:])
        return F.adaptive_avg_pool2d(pixels, (height, width)).flatten(1).cpu().numpy()
