"""The patches of an image, to which encoders, masks and targets refer: their grid, and their pixels."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

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


def pixel_targets(pixels_BCHW: Tensor, patch: tuple[int, int], normalize: bool) -> Tensor:
    """Return the pixels of each patch, float (B, T, C x height x width), row by row; a rest at the border is left out.

    Args:
        pixels_BCHW: float.
        patch: its height and width.
        normalize: normalize the pixels of each patch to mean 0, variance 1 (He et al. 2022, section 3).
    """
    height, width = patch
    patches_BCHWpp = pixels_BCHW.unfold(2, height, height).unfold(3, width, width)
    targets_BTP = patches_BCHWpp.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
    if not normalize:
        return targets_BTP
    var, mean = torch.var_mean(targets_BTP, dim=-1, keepdim=True)
    return (targets_BTP - mean) / (var + 1e-6).sqrt()
