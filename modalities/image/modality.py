"""The image modality."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageColor

from sensorium import Modality, SensoriumError, check_range
from sensorium.modalities.image.batch import CropBatch, ImageBatch
from sensorium.modalities.image.decode import LUMA, MAX_PIXELS, PixelReader
from sensorium.modalities.image.descriptors import descriptor_names, descriptors
from sensorium.modalities.image.facts import image_facts
from sensorium.modalities.image.notes import image_notes
from sensorium.modalities.image.other_preparation import BETWEEN_PIXELS, pixel_difference
from sensorium.modalities.image.resize import Fit, downscale, fit_to, whole_canvas
from sensorium.modalities.image.tensors import check_axes, checked_pixels, downscale_batch, fit_batch

PREVIEW = 256
BASELINE = 16


class ImageModality(Modality):
    """Images: every format that Pillow reads, and arrays, as uint8 (C, H, W).

    A raw value is a path, the bytes of a file, a PIL image, an array (H, W), (H, W, C) or (C, H, W), or a mapping with
    "bytes" or "path" (Hugging Face datasets). EXIF orientation is applied; of several pages or frames, the first is
    read. Images are brought to `size` as `fit` says: by default, resized and center-cropped. With a `canvas`, view
    generators crop from the larger image, on the loader worker; evaluation and embedding still see the image of `size`.

    Images of more than 8 bits are scaled by one range for the whole source, never by their own values: 16 bits by
    0..65535, files of 32-bit integers likewise, floats by 0..1, or all by `range`. A training says in its first lines
    when the values of a source fill no more than a sixteenth of that range, and how images are brought to `size`.

    Args:
        size: side of the square images in pixels, or [height, width].
        channels: 1 (grayscale), 3 (RGB), or the number of channels of arrays.
        background: the color behind transparent pixels, and of the borders of `fit: pad`: a name or #rrggbb.
        canvas: shorter side, in pixels, of the images that view generators crop from; smaller images keep their size.
            None lets them crop from the image of `size`, which is much faster.
        fit: how an image of another aspect ratio is brought to `size`: "crop" takes its center, "pad" the whole image
            between borders of the background color, "stretch" the whole image, distorted.
        range: lowest and highest pixel value of the whole source, which become 0 and 255, such as [0, 4095] for 12
            bits in 16, or a window of X-ray units; values outside are clipped. None is the range of the number type.
            It leaves 8-bit images alone unless it ends at 255 or below.
        max_pixels: number of pixels, >= 1, of the largest file that is decoded: a guard against decompression bombs.
    """

    reads_files = True

    def __init__(
        self,
        size: int | list[int] = 224,
        channels: int = 3,
        background: str = "white",
        canvas: int | None = None,
        fit: Fit = "crop",
        range: tuple[float, float] | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.size: tuple[int, int] = (size, size) if isinstance(size, int) else tuple(size)  # type: ignore[assignment]
        if len(self.size) != 2 or min(self.size) < 1:
            raise SensoriumError(f"The size of the modality 'image' is one side or [height, width], not {size}.")
        check_range("modality 'image'", "[1, inf)", channels=channels)
        if canvas is not None and canvas < min(self.size):
            raise SensoriumError(f"The canvas of the modality 'image' ({canvas}) is smaller than its size {self.size}.")
        try:
            color = ImageColor.getrgb(background)[:3]
        except ValueError:
            raise SensoriumError(
                f"The background of the modality 'image' is a color such as white or #808080, not '{background}'."
            ) from None
        check_range("modality 'image'", "[1, inf)", max_pixels=max_pixels)
        if range is not None and not -np.inf < range[0] < range[1] < np.inf:
            raise SensoriumError(
                f"The range of the modality 'image' is [lowest, highest] pixel value, such as [0, 4095], not {range}."
            )
        self.channels, self.canvas, self.background = channels, canvas, color
        self._fit: Fit = fit
        self._range = range
        self._read = PixelReader(channels, color, canvas or max(self.size), range, max_pixels)
        gray = np.rint(LUMA @ np.array(color, np.float32))
        self._border_C = np.array(color if channels == 3 else [gray] * channels, np.uint8)

    @property
    def fit_to_size(self) -> Fit:
        """How an image of another aspect ratio is brought to `size`."""
        return self._fit

    @property
    def border(self) -> tuple[int, ...]:
        """The color of the borders of `fit: pad`, 0 to 255, by channel."""
        return tuple(self._border_C.tolist())

    @property
    def extensions(self) -> tuple[str, ...]:
        """The extensions of the formats that Pillow reads."""
        return tuple(sorted(e for e, kind in Image.registered_extensions().items() if kind in Image.OPEN))

    def decode(self, raw: Any) -> np.ndarray:
        """Return an image as uint8 (C, H, W): of `size`, or, with a `canvas`, of at most that shorter side.

        Raises:
            BadSample: with the reason, when the value is not an image.
        """
        pixels = self._read(raw)
        if self.canvas is None:
            return self._fitted(pixels, self.size)
        if self._fit == "crop":
            return downscale(pixels, self.canvas)
        return self._fitted(pixels, whole_canvas(pixels.shape[1:], self.size, self.canvas))

    def encode(self, example: np.ndarray, quality: int | None = None) -> Any:
        """Return an image as the bytes of a PNG file; or, with a quality of 1 to 100, of a JPEG file.

        Images of other than 1 or 3 channels are arrays, without loss.
        """
        if len(example) not in (1, 3):
            return example
        image = Image.fromarray(example[0] if len(example) == 1 else np.ascontiguousarray(example.transpose(1, 2, 0)))
        file = BytesIO()
        if quality is None:
            image.save(file, "PNG")
        else:
            image.save(file, "JPEG", quality=quality)
        return file.getvalue()

    def _fitted(self, pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        return fit_to(pixels, size, self._fit, self._border_C)

    def collate(self, examples: Sequence[Any]) -> ImageBatch | CropBatch:
        """Stack images, brought to `size`; crops of a `stage` are stacked as they are."""
        if isinstance(examples[0], CropBatch):
            return CropBatch.cat(examples)
        return ImageBatch(torch.from_numpy(np.stack([self._fitted(pixels, self.size) for pixels in examples])))

    def batch_of(self, x: torch.Tensor) -> ImageBatch | None:
        """Return images as a batch on their device; None for a tensor of one image.

        Views crop from the whole images, or, with a `canvas`, from images of at most that shorter side, and have
        `size`; `sized` brings the batch there. With a `fit` other than "crop", images are brought to it at once.

        Args:
            x: uint8 or float in [0, 1], (B, C, H, W); with a `range`, any number type, scaled by it. Floats become
                float32, and are cut off from the graph of gradients. Floats on a GPU are not checked to lie in [0, 1],
                as that would wait for it.

        Raises:
            DataError: when the channels, the number type or, on the CPU, the values are others.
        """
        check_axes(x, self.channels)
        if x.ndim != 4:
            return None
        batch = ImageBatch(checked_pixels(x, self._range))
        if self.canvas is not None and self._fit != "crop":
            return self._brought_to(batch, whole_canvas(tuple(x.shape[2:]), self.size, self.canvas))
        if self.canvas is not None:
            return ImageBatch(downscale_batch(batch.pixels, self.canvas))
        return batch if self._fit == "crop" else self.sized(batch)

    def sized(self, batch: ImageBatch) -> ImageBatch:
        """Return a batch of images brought to `size` as `fit` says, on its device."""
        return self._brought_to(batch, self.size)

    def _brought_to(self, batch: ImageBatch, size: tuple[int, int]) -> ImageBatch:
        return ImageBatch(fit_batch(batch.pixels, size, self._fit, torch.from_numpy(self._border_C)))

    def random_batch(self, count: int, is_long: bool, rng: torch.Generator) -> ImageBatch:
        """Return random pixels at `size`, uint8."""
        shape = (count, self.channels, *self.size)
        return ImageBatch(torch.randint(256, shape, generator=rng, dtype=torch.uint8))

    cropping_note = BETWEEN_PIXELS
    """What the card of an export says of another library's crops."""

    def compare(
        self, prepare: Callable[[Image.Image], torch.Tensor], mean: Sequence[float], std: Sequence[float]
    ) -> float:
        """Return how another library's preparation of images differs from this one: see `pixel_difference`."""
        return pixel_difference(self, prepare, mean, std)

    def notes(self, raws: Sequence[Any]) -> list[str]:
        """Say how images are brought to `size`, of which files one frame is read, and which pixels are nearly black."""
        return image_notes(raws, self._read, self.size, self._fit)

    def caption(self, raw: Any) -> str | None:
        """Return the path of a file, also where a mapping has it."""
        return super().caption(raw["path"] if isinstance(raw, Mapping) and raw.get("path") else raw)

    def describe(self, raw: Any, example: np.ndarray) -> dict[str, float | bool | str]:
        """Return width, height, channels, bits and format, and whether the image is cropped (or as `fit` says)."""
        return image_facts(raw, self._read, self.size, self._fit)

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
    def descriptor_names(self) -> tuple[str, ...]:
        """Means of each channel in 4 x 4 cells, its standard deviation, and orientations of edges in the cells."""
        return descriptor_names(self.channels)

    def descriptors(self, example: np.ndarray) -> np.ndarray:
        """Return the descriptors of an image at `size`, float32 (P,)."""
        return descriptors(self._fitted(example, self.size))

    @property
    def baseline_description(self) -> str:
        """The size of the averaged image."""
        return f"pixels averaged to at most {BASELINE} x {BASELINE}"

    def baseline_features(self, batch: ImageBatch) -> np.ndarray:
        """Return pixels, float32 in [0, 1], averaged to at most 16 rows and columns."""
        pixels = batch.unit_pixels().float()
        height, width = (min(side, BASELINE) for side in pixels.shape[-2:])
        return F.adaptive_avg_pool2d(pixels, (height, width)).flatten(1).cpu().numpy()
