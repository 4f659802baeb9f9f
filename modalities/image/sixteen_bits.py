"""Color files of 16 bits a channel, of which Pillow keeps the upper eight bits alone: PNG and TIFF."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from PIL import ImageOps
from PIL.ImageFile import ImageFile

_SWAPPED = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
"""Byte orders of Pillow's raw modes: the other order has the lower byte where the upper one was."""


def has_sixteen_bits(image: ImageFile) -> bool:
    """Return whether an opened file, not yet decoded, has color channels of 16 bits."""
    return image.mode in ("RGB", "RGBA") and bool(image.tile) and all(";16" in _raw_mode(tile) for tile in image.tile)


def sixteen_bits(image: ImageFile, again: ImageFile) -> np.ndarray:
    """Return all bits of a color file, uint16 (H, W, C), upright.

    Args:
        image: the file opened, not yet decoded.
        again: the same file opened once more.
    """
    if _raw_mode(image.tile[0]) == "LA;16B":
        again.tile = [_with_raw_mode(tile, "RGBA") for tile in again.tile]  # the four bytes of a pixel as they are
        upper_gray, lower_gray, upper_alpha, lower_alpha = np.moveaxis(_upright(again), -1, 0)
        gray, alpha = _joined(upper_gray, lower_gray), _joined(upper_alpha, lower_alpha)
        return np.stack([gray, gray, gray, alpha], axis=-1)
    swapped = [_with_raw_mode(tile, (mode := _raw_mode(tile))[:-1] + _SWAPPED[mode[-1]]) for tile in again.tile]
    again.tile = swapped
    return _joined(_upright(image), _upright(again))


def _upright(image: ImageFile) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(image))


def _joined(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    return upper.astype(np.uint16) << 8 | lower


def _raw_mode(tile: Any) -> str:
    return tile.args if isinstance(tile.args, str) else str(tile.args[0])


def _with_raw_mode(tile: Any, mode: str) -> Any:
    return tile._replace(args=mode if isinstance(tile.args, str) else (mode, *tile.args[1:]))
