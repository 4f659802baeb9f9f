"""The patch grid of an image, for encoders and for views whose masks and targets refer to the same patches."""

from __future__ import annotations

from typing import Literal

from sensorium import SensoriumError


def patch_grid(size: tuple[int, int], patch: int | Literal["auto"]) -> tuple[int, int, int]:
    """Return the side of a patch, and the numbers of rows and columns of patches.

    Args:
        size: (height, width) of the images.
        patch: the side in pixels; "auto" is an eighth of the shorter side.

    Raises:
        SensoriumError: when the patches do not tile the image.
    """
    side = max(min(size) // 8, 1) if patch == "auto" else patch
    if side < 1 or size[0] % side or size[1] % side:
        raise SensoriumError(
            f"Patches of {side} pixels do not tile images of {size[0]}x{size[1]}; set 'patch' or 'size'."
        )
    return side, size[0] // side, size[1] // side
