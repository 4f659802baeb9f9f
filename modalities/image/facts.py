"""Facts about one image value, from the header of its file."""

from __future__ import annotations

from typing import Any

from PIL import Image

from sensorium.modalities.image.decode import PixelReader, file_of, opened
from sensorium.modalities.image.resize import Fit, center_crop
from sensorium.modalities.image.sixteen_bits import has_sixteen_bits

FITTED = {"crop": "cropped", "pad": "padded", "stretch": "stretched"}
ORIENTATION = 0x0112
"""The EXIF tag whose values from 5 say that an image lies on its side."""
BITS = {"1": 1, "I": 32, "F": 32}
"""Bits of a channel by Pillow's mode, where they are not 8, or 16 ("I;16")."""


def image_facts(raw: Any, reader: PixelReader, size: tuple[int, int], fit: Fit) -> dict[str, float | bool | str]:
    """Return size, channels, bits and format of an image that was decoded, and what is done to bring it to `size`.

    Args:
        raw: the raw value.
        reader: of the modality.
        size: (height, width) of the modality.
        fit: how images of another aspect ratio are brought to it.
    """
    raw = file_of(raw)
    if isinstance(raw, Image.Image):
        facts, shape = _of_pillow(raw), upright_shape(raw)
    elif hasattr(raw, "__array__"):
        planes = reader.read(raw).planes
        facts, shape = {"channels": len(planes), "bits": 8 * planes.dtype.itemsize, "format": "array"}, planes.shape[1:]
    else:
        with opened(raw, reader.max_pixels) as image:
            sixteen = {"bits": 16} if has_sixteen_bits(image) else {}
            facts, shape = _of_pillow(image) | sixteen, upright_shape(image)
    height, width = shape
    changed = center_crop(shape, size)[2:] != tuple(shape)
    smaller = height < size[0] or width < size[1]
    return {"width": width, "height": height, **facts, FITTED[fit]: changed, "enlarged": smaller}


def upright_shape(image: Image.Image) -> tuple[int, int]:
    """Return height and width of an image of Pillow, upright."""
    lies = image.getexif().get(ORIENTATION, 1) >= 5
    return (image.width, image.height) if lies else (image.height, image.width)


def _of_pillow(image: Image.Image) -> dict[str, float | bool | str]:
    bits = 16 if image.mode.startswith("I;16") else BITS.get(image.mode, 8)
    return {"channels": len(image.getbands()), "bits": bits, "format": image.format or "pixels"}
