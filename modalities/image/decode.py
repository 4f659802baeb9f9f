"""Decoding of raw values to arrays: every format that Pillow reads, and arrays of any common layout.

In two steps: `PixelReader.read` returns pixels in their own type and range, `PixelReader.scale` converts them to bytes.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageCms, ImageOps
from PIL.ImageFile import ImageFile

from sensorium import BadSample
from sensorium.modalities.image.sixteen_bits import has_sixteen_bits, sixteen_bits

Color = tuple[int, int, int]
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
MAX_PIXELS = 178_956_970
"""Number of pixels of the largest image file that is decoded unless the modality says otherwise: Pillow's own limit."""
_PILLOWS_LIMIT = threading.Lock()


class Pixels(NamedTuple):
    """The pixels of an image before they are scaled to bytes.

    Args:
        planes: (C, H, W), of any number type; C is 1, 3, 4 (with alpha) or the modality's channels.
        low: the value that becomes 0.
        high: the value that becomes 255.
        has_alpha: whether the last of four planes is alpha.
    """

    planes: np.ndarray
    low: float
    high: float
    has_alpha: bool = False

    @property
    def colors(self) -> np.ndarray:
        """The planes without alpha."""
        return self.planes[:3] if self.has_alpha else self.planes


@dataclass(frozen=True)
class PixelReader:
    """Reads image values of every kind as uint8 (C, H, W), in their own size.

    Args:
        channels: number of channels of the result.
        background: the color behind transparent pixels.
        min_side: a JPEG may be decoded at a reduced scale whose shorter side still has that many pixels.
        range: the pixel values that become 0 and 255, those outside clipped; None is the range of the number type.
        max_pixels: number of pixels of the largest file that is decoded.
    """

    channels: int
    background: Color
    min_side: int
    range: tuple[float, float] | None = None
    max_pixels: int = MAX_PIXELS

    def __call__(self, raw: Any) -> np.ndarray:
        """Return any raw value as uint8 (C, H, W).

        Args:
            raw: bytes of a file, a path, a mapping with "bytes" or "path" (a column of Hugging Face datasets), a PIL
                image, or an array (H, W), (H, W, C) or (C, H, W).

        Raises:
            BadSample: with the reason, when the value is not an image.
        """
        return self.scale(self.read(raw))

    def read(self, raw: Any) -> Pixels:
        """Return the pixels of a raw value, upright; alpha that is left is that of arrays and of 16 bits."""
        raw = file_of(raw)
        if isinstance(raw, Image.Image):
            return self._from_pillow(raw)
        if isinstance(raw, np.ndarray) or hasattr(raw, "__array__"):
            return self._from_array(np.asarray(raw))
        with opened(raw, self.max_pixels) as image:
            if has_sixteen_bits(image):
                with opened(raw, self.max_pixels) as again:
                    return self._from_array(_decoded(lambda: sixteen_bits(image, again)))
            return self._from_pillow(image)

    def scale(self, pixels: Pixels) -> np.ndarray:
        """Return pixels as uint8 (C, H, W), without alpha; raises BadSample where they are outside of their range."""
        planes = self._bytes(pixels)
        if pixels.has_alpha:
            alpha = planes[3:].astype(np.float32) / 255
            under = np.array(self.background, dtype=np.float32)[:, None, None]
            planes = _rounded(planes[:3] * alpha + under * (1 - alpha))
        if len(planes) == 3 != self.channels:
            planes = _rounded(np.tensordot(LUMA, planes, 1)[None])
        return np.repeat(planes, self.channels // len(planes), axis=0)

    def _from_pillow(self, image: Image.Image) -> Pixels:
        """Return the first frame of an image."""
        if self.channels not in (1, 3):
            raise BadSample(
                f"an image file has 1 or 3 channels, this modality reads {self.channels}: use arrays", "unsupported"
            )

        def decode() -> np.ndarray:
            image.draft(None, (self.min_side, self.min_side))
            upright = ImageOps.exif_transpose(image)
            if upright.mode[0] in "IF":  # more than 8 bits
                return np.asarray(upright)
            return np.asarray(_flatten(upright, self.background).convert("L" if self.channels == 1 else "RGB"))

        values = _decoded(decode)
        if values.dtype == np.int32:  # files of 32 bits, and what Pillow reads of 16-bit files in such
            return Pixels(_planes(values), *(self.range or (0, 65535)))
        return self._pixels(_planes(values))

    def _from_array(self, array: np.ndarray) -> Pixels:
        if array.size == 0:
            raise BadSample(f"the array is empty: its shape is {array.shape}", "empty")
        return self._pixels(_channels_first(array, self.channels))

    def _pixels(self, planes: np.ndarray) -> Pixels:
        """Return planes with the range of the modality, or that of their number type."""
        full, has_alpha = _range_of(planes.dtype), len(planes) == 4 != self.channels
        if self.range is None or (full == (0, 255) and planes.dtype.itemsize == 1 and self.range[1] > 255):
            return Pixels(planes, *full, has_alpha)  # 8-bit images among others of more bits keep their own range
        return Pixels(planes, *self.range, has_alpha)

    def _bytes(self, pixels: Pixels) -> np.ndarray:
        """Return pixels scaled to 0..255, alpha by its number type."""
        planes, low, high, _ = pixels
        if (low, high) == _range_of(planes.dtype) and planes.dtype == np.uint8:
            return np.ascontiguousarray(planes)
        if self.range is None:
            _check_range(planes, low, high)
            return _scaled(planes, low, high)
        if not np.isfinite(pixels.colors).all():
            raise BadSample("the image has pixels that are not finite numbers", "non-finite")
        colors = _scaled(pixels.colors, low, high)
        return np.concatenate([colors, _scaled(planes[len(colors) :], *_range_of(planes.dtype))])


def file_of(raw: Any) -> Any:
    """Return the bytes or the path of a mapping with "bytes" or "path"; any other value as it is."""
    if isinstance(raw, Mapping) and raw.keys() & {"bytes", "path"}:
        return raw.get("bytes") or raw.get("path")
    return raw


@contextmanager
def opened(raw: Any, max_pixels: int) -> Iterator[ImageFile]:
    """Open a path, or the bytes of a file, as an image whose pixels are not decoded yet.

    Raises:
        BadSample: with the reason, when it cannot be opened, or has more than `max_pixels` pixels.
    """
    if isinstance(raw, str | os.PathLike):
        path = Path(raw)
        if not os.path.isfile(path):  # False, too, for a text that is too long for a name
            raise BadSample(f"there is no file {path}", "missing")
        if path.stat().st_size == 0:
            raise BadSample(f"the file {path} is empty", "empty")
        file: BinaryIO = path.open("rb")
        what = f"the file {path}"
    elif isinstance(raw, bytes | bytearray | memoryview):
        if not len(raw):
            raise BadSample("the image is empty: it has no bytes", "empty")
        file, what = BytesIO(raw), "the bytes"
    else:
        raise BadSample(f"an image is a path, bytes, a PIL image or an array, not {type(raw).__name__}", "unsupported")
    with file:
        image = _open(file, what)
        if (count := image.width * image.height) > max_pixels:
            raise BadSample(
                f"{what} has {image.width} x {image.height} = {count:,} pixels, more than max_pixels = {max_pixels:,} "
                "of the image modality, which guards against decompression bombs: raise max_pixels if it is an image",
                "too-large",
            )
        yield image


def _open(file: BinaryIO, what: str) -> ImageFile:
    try:
        with _without_pillows_limit():
            return Image.open(file)
    except Image.UnidentifiedImageError as error:
        raise BadSample(f"{what} cannot be read as an image: no known format", "unsupported") from error
    except Exception as error:
        raise BadSample(f"{what} cannot be read as an image: {_sentence(error)}") from error


@contextmanager
def _without_pillows_limit() -> Iterator[None]:
    """Lift Pillow's own limit of pixels, which it keeps in a global, while a file is opened."""
    with _PILLOWS_LIMIT:
        kept, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = kept


def _decoded(decode: Any) -> np.ndarray:
    """Return what a function decodes; Pillow's readers raise nearly anything on a damaged file."""
    try:
        return decode()
    except Exception as error:
        raise BadSample(f"the image cannot be decoded: {_sentence(error)}") from error


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
        raise BadSample(
            f"an array of shape {array.shape} is not an image: use (H, W), (H, W, C) or (C, H, W)", "unsupported"
        )
    readable = {channels, 1, 3, 4} if channels in (1, 3) else {channels}
    for counts in (
        {channels},
        readable,
    ):  # an axis of the requested length takes precedence over one that could be converted
        first, last = array.shape[0] in counts, array.shape[-1] in counts
        if first != last:
            return array if first else array.transpose(2, 0, 1)
        if first and last:
            raise BadSample(
                f"an array of shape {array.shape} is ambiguous: its channels may be first or last", "unsupported"
            )
    raise BadSample(
        f"an array of shape {array.shape} has no channel axis: {', '.join(map(str, sorted(readable)))} are accepted",
        "unsupported",
    )


def _range_of(dtype: np.dtype) -> tuple[float, float]:
    """Return the pixel values of a number type that become 0 and 255."""
    if dtype == np.bool_ or np.issubdtype(dtype, np.floating):
        return 0, 1
    if not np.issubdtype(dtype, np.integer):
        raise BadSample(f"an array of {dtype} is not an image", "unsupported")
    # Wider integers are what Python and NumPy make of bytes: they have no range of their own.
    return 0, int(np.iinfo(dtype).max) if dtype.itemsize == 2 else 255


def _check_range(planes: np.ndarray, low: float, high: float) -> None:
    least, most = planes.min(), planes.max()
    if not (low <= least and most <= high):  # nan fails too
        raise BadSample(
            f"pixels of {planes.dtype} must lie in {low:g} to {high:g}, but range from {least:.10g} to {most:.10g}: "
            "set the image modality's range to the lowest and highest value of the whole source",
            "unsupported",
        )


def _scaled(planes: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return values of a range as 0..255, those outside clipped."""
    distance = np.subtract(planes, low, dtype=np.result_type(planes.dtype, np.float32))
    return _rounded((distance * np.float32(255 / (high - low))).clip(0, 255))


def _rounded(array: np.ndarray) -> np.ndarray:
    return np.rint(array).astype(np.uint8)


def _planes(array: np.ndarray) -> np.ndarray:
    """Transpose an image of Pillow, (H, W) or (H, W, C), to (C, H, W)."""
    return np.ascontiguousarray(array[None] if array.ndim == 2 else array.transpose(2, 0, 1))


def _sentence(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
