"""How pictures are cut into patches, for the encoder and the views that speak of the same ones."""

from __future__ import annotations

from typing import Literal

from sensorium import SensoriumError


def patch_grid(size: tuple[int, int], patch: int | Literal["auto"]) -> tuple[int, int, int]:
    """Return the side of a patch and how many fit down and across.

    Args:
        size: (height, width) of the pictures.
        patch: the side in pixels; "auto" is an eighth of the shorter side.

    Raises:
        SensoriumError: when the patches do not tile the picture.
    """
    side = max(min(size) // 8, 1) if patch == "auto" else patch
    if side < 1 or size[0] % side or size[1] % side:
        raise SensoriumError(
            f"Patches of {side} pixels do not tile pictures of {size[0]}x{size[1]}; set 'patch' or 'size'."
        )
    return side, size[0] // side, size[1] // side
