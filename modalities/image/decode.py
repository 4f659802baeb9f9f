"""Decoding of raw values to arrays: every format that Pillow reads, and arrays of any common layout.

Arrays in this module are uint8 (C, H, W).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageOps

from sensorium import BadSample

Color = tuple[int, int, int]
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def decode(raw: Any, channels: int, background: Color, min_side: int) -> np.ndarray:
    """Return any raw value as an array of `channels` channels, in its own size.

    Args:
        raw: bytes of a file, a path, a mapping with "bytes" or "path" (a column of Hugging Face datasets), a PIL
            image, or an array (H, W), (H, W, C) or (C, H, W).
        channels: number of channels of the result.
        background: the color behind transparent pixels.
        min_side: a JPEG may be decoded at a reduced scale whose shorter side still has that many pixels.

    Raises:
        BadSample: with the reason, when the value is not an image.
    """
    if isinstance(raw, Mapping) and raw.keys() & {"bytes", "path"}:
        raw = raw.get("bytes") or raw.get("path")
    if isinstance(raw, str | os.PathLike):
        return from_pillow(_open_path(Path(raw)), channels, background, min_side)
    if isinstance(raw, bytes | bytearray | memoryview):
        if not len(raw):
            raise BadSample("the image is empty: it has no bytes")
        return from_pillow(_open(BytesIO(raw), "the bytes"), channels, background, min_side)
    if isinstance(raw, Image.Image):
        return from_pillow(raw, channels, background, min_side)
    if isinstance(raw, np.ndarray) or hasattr(raw, "__array__"):
        return from_array(np.asarray(raw), channels, background)
    raise BadSample(f"an image is a path, bytes, a PIL image or an array, not {type(raw).__name__}")


def from_pillow(image: Image.Image, channels: int, background: Color, min_side: int) -> np.ndarray:
    """Return the first frame of an image, upright, without alpha; raises BadSample when it is corrupt or truncated."""
    if channels not in (1, 3):
        raise BadSample(f"an image file has 1 or 3 channels, this modality reads {channels}: use arrays")
    try:
        image.draft(None, (min_side, min_side))
        image = ImageOps.exif_transpose(image)
        if image.mode[0] in "IF":  # more than 8 bits
            return from_array(np.asarray(image), channels, background)
        flat = _flatten(image, background).convert("L" if channels == 1 else "RGB")
        return _planes(np.asarray(flat))
    except BadSample:
        raise
    except Exception as error:  # Pillow's readers raise nearly anything on a damaged file
        raise BadSample(f"the image cannot be decoded: {_sentence(error)}") from error


def from_array(array: np.ndarray, channels: int, background: Color) -> np.ndarray:
    """Return an array of any layout as uint8 (channels, H, W); raises BadSample when it is not an image."""
    if array.size == 0:
        raise BadSample(f"the array is empty: its shape is {array.shape}")
    planes = _bytes(_channels_first(array, channels))
    if len(planes) == channels:
        return planes
    if len(planes) == 4:
        alpha = planes[3:].astype(np.float32) / 255
        under = np.array(background, dtype=np.float32)[:, None, None]
        planes = _rounded(planes[:3] * alpha + under * (1 - alpha))
    if len(planes) == 3 and channels == 1:
        planes = _rounded(np.tensordot(LUMA, planes, 1)[None])
    return np.repeat(planes, channels // len(planes), axis=0)


def _open_path(path: Path) -> Image.Image:
    if not path.is_file():
        raise BadSample(f"there is no file {path}")
    if path.stat().st_size == 0:
        raise BadSample(f"the file {path} is empty")
    # Read whole, so that no file stays open however the decoding ends.
    return _open(BytesIO(path.read_bytes()), f"the file {path}")


def _open(file: BytesIO, what: str) -> Image.Image:
    try:
        return Image.open(file)
    except Image.UnidentifiedImageError as error:
        raise BadSample(f"{what} cannot be read as an image: no known format") from error
    except Exception as error:
        raise BadSample(f"{what} cannot be read as an image: {_sentence(error)}") from error


def _flatten(image: Image.Image, background: Color) -> Image.Image:
    """Composite a transparent image over the background; convert color spaces that Pillow does not."""
    if image.has_transparency_data:
        under = Image.new("RGBA", image.size, background)
        return Image.alpha_composite(under, image.convert("RGBA"))
    if image.mode == "LAB":
        to_rgb = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
        return to_rgb.apply(image)
    return image


def _channels_first(array: np.ndarray, channels: int) -> np.ndarray:
    if array.ndim == 2:
        return array[None]
    if array.ndim != 3:
        raise BadSample(f"an array of shape {array.shape} is not an image: use (H, W), (H, W, C) or (C, H, W)")
    readable = {channels, 1, 3, 4} if channels in (1, 3) else {channels}
    for counts in (
        {channels},
        readable,
    ):  # an axis of the requested length takes precedence over one that could be converted
        first, last = array.shape[0] in counts, array.shape[-1] in counts
        if first != last:
            return array if first else array.transpose(2, 0, 1)
        if first and last:
            raise BadSample(f"an array of shape {array.shape} is ambiguous: its channels may be first or last")
    raise BadSample(
        f"an array of shape {array.shape} has no channel axis: {', '.join(map(str, sorted(readable)))} are accepted"
    )


def _bytes(array: np.ndarray) -> np.ndarray:
    """Convert values to 0..255: floats from [0, 1], uint16 from its whole range, other integers unchanged."""
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * 255
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise BadSample(f"an array of {array.dtype} is not an image")
    low, high = array.min(), array.max()
    if np.issubdtype(array.dtype, np.floating):
        if not (low >= 0 and high <= 1):  # nan fails too
            raise BadSample(f"float pixels must lie in [0, 1], but range from {low:g} to {high:g}")
        return _rounded(array * np.float32(255))
    # Pillow returns some 16-bit files as int32, so wide integers within 16 bits are read as such.
    sixteen = array.dtype.itemsize == 2 or (array.dtype == np.int32 and high > 255)
    if low < 0 or high > (65535 if sixteen else 255):
        raise BadSample(
            f"pixels of {array.dtype} must lie in 0..{65535 if sixteen else 255}, but range from {low} to {high}"
        )
    return _rounded(array / np.float32(257)) if sixteen else array.astype(np.uint8)


def _rounded(array: np.ndarray) -> np.ndarray:
    return np.rint(array).astype(np.uint8)


def _planes(array: np.ndarray) -> np.ndarray:
    """Transpose an image of Pillow, (H, W) or (H, W, C), to (C, H, W)."""
    return np.ascontiguousarray(array[None] if array.ndim == 2 else array.transpose(2, 0, 1))


def _sentence(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
