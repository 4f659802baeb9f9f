"""What a sample of images says about a source before a training: aspect ratios, frames, ranges of pixel values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from PIL import Image

from sensorium import BadSample
from sensorium.modalities.image.decode import PixelReader, Pixels, file_of, opened
from sensorium.modalities.image.facts import upright_shape
from sensorium.modalities.image.resize import Fit, center_crop

FITTED = {
    "crop": "cut at the centre, which takes away {lost:.0f} % of the pixels (fit: crop; pad and stretch keep all)",
    "pad": "padded with the background color (fit: pad)",
    "stretch": "stretched (fit: stretch)",
}
DECODED, BUDGET = 64, 2**26
"""At most how many images, and about how many pixels of them, are decoded to see the range of their values."""


def image_notes(raws: Sequence[Any], reader: PixelReader, size: tuple[int, int], fit: Fit) -> list[str]:
    """Return the notes of an image modality; values that cannot be read are passed over.

    Args:
        raws: a sample of raw values.
        reader: of the modality.
        size: (height, width) of the modality.
        fit: how images of another aspect ratio are brought to it.
    """
    shapes: list[tuple[int, ...]] = []
    several = 0
    for raw in map(file_of, raws):
        with suppress(BadSample, OSError):
            shape, frames = _shape_and_frames(raw, reader)
            shapes.append(shape)
            several += frames > 1
    said = [*_on_fit(shapes, size, fit), *_on_range(list(_decoded(raws, reader)), reader.range)]
    if several:
        said.append(f"{_count(several, shapes)} files have several pages or frames: the first of each is read")
    return said


def _shape_and_frames(raw: Any, reader: PixelReader) -> tuple[tuple[int, ...], int]:
    """Return (height, width) of an upright image, and its number of frames, without decoding a file."""
    if isinstance(raw, Image.Image):
        return upright_shape(raw), getattr(raw, "n_frames", 1)
    if hasattr(raw, "__array__"):
        return reader.read(raw).planes.shape[1:], 1
    with opened(raw, reader.max_pixels) as image:
        try:
            return upright_shape(image), getattr(image, "n_frames", 1)
        except Exception as error:  # Pillow's readers raise nearly anything on a damaged file
            raise BadSample(str(error)) from error


def _on_fit(shapes: Sequence[tuple[int, ...]], size: tuple[int, int], fit: Fit) -> list[str]:
    """Say how many images have another aspect ratio than `size`, and what becomes of them."""
    kept = [(center_crop(shape, size)[2:], shape) for shape in shapes]
    lost = [1 - np.prod(inner) / np.prod(shape) for inner, shape in kept if inner != tuple(shape)]
    if not lost:
        return []
    what = "are not square" if size[0] == size[1] else f"do not have the aspect ratio of {size[0]} x {size[1]}"
    return [f"{_count(len(lost), shapes)} images {what}: {FITTED[fit].format(lost=100 * np.mean(lost))}"]


def _decoded(raws: Sequence[Any], reader: PixelReader) -> Iterator[Pixels]:
    """Yield the pixels of some images, spread over the sample."""
    decoded = 0
    for raw in raws[:: max(len(raws) // DECODED, 1)][:DECODED]:
        with suppress(BadSample, OSError):
            pixels = reader.read(raw)
            yield pixels
            decoded += pixels.planes[0].size
        if decoded > BUDGET:
            return


def _on_range(images: Sequence[Pixels], chosen: tuple[float, float] | None) -> list[str]:
    """Say when the values of all images fill a sixteenth of the range that is scaled to 0..255, or less."""
    if not images:
        return []
    least, most = min(image.colors.min() for image in images), max(image.colors.max() for image in images)
    low, high = min(image.low for image in images), max(image.high for image in images)
    if not (float(most) - float(least)) * 16 <= high - low + (high > 1):  # 12 bits in 16, just
        return []
    whole = all(np.issubdtype(image.planes.dtype, np.integer) for image in images)
    fitting = f"[0, {2 ** max(int(most).bit_length(), 1) - 1}]" if whole and least >= 0 else f"[{least:g}, {most:g}]"
    return [
        f"the pixels of {len(images)} images lie between {least:g} and {most:g}, at most a sixteenth of the range "
        f"{low:g} to {high:g}, so that images have hardly any contrast: set range: {fitting}"
        + (" (the lowest and highest value of the whole source)" if chosen is None else f" instead of {list(chosen)}")
    ]


def _count(some: int, of: Sequence[Any]) -> str:
    return f"{some} of {len(of)}" if some < len(of) else f"all {some}"
