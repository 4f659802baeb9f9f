"""Bringing single images, uint8 (C, H, W), to one size, on a loader worker: crop, pad or stretch."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F

Fit = Literal["crop", "pad", "stretch"]
"""How an image of another aspect ratio is brought to a size: its center alone, between borders, or distorted."""


def resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return an image of another size: bilinear, antialiased when downscaling."""
    if pixels.shape[1:] == (height, width):
        return pixels
    source = torch.tensor(pixels)[None]
    if width == 1:  # torch's uint8 kernel is wrong for a single column, its float kernel is not
        scaled = F.interpolate(source.float(), (height, width), mode="bilinear", antialias=True)
        return scaled[0].round().to(torch.uint8).numpy()
    return F.interpolate(source, (height, width), mode="bilinear", antialias=True)[0].numpy()


def fit_to(pixels: np.ndarray, size: tuple[int, int], fit: Fit, border: np.ndarray) -> np.ndarray:
    """Return an image brought to `size` = (height, width).

    Args:
        pixels: (C, H, W).
        size: of the result.
        fit: "crop" takes the largest centered crop of that aspect ratio, "pad" the whole image between borders,
            "stretch" the whole image in another aspect ratio.
        border: uint8 (C,), the color of the borders.
    """
    if fit == "crop":
        top, left, height, width = center_crop(pixels.shape[1:], size)
        # Cropping comes first: a strip of 20,000 x 10 pixels would be huge if it were resized first.
        return resize(pixels[:, top : top + height, left : left + width], *size)
    if fit == "stretch":
        return resize(pixels, *size)
    height, width = inner_size(pixels.shape[1:], size)
    if (height, width) == size:
        return resize(pixels, *size)
    padded = np.empty((len(pixels), *size), np.uint8)
    padded[:] = border[:, None, None]
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    padded[:, top : top + height, left : left + width] = resize(pixels, height, width)
    return padded


def inner_size(shape: tuple[int, ...], size: tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) of the largest image of the aspect ratio of `shape` within `size`."""
    scale = min(size[0] / shape[0], size[1] / shape[1])
    height, width = (min(max(round(side * scale), 1), whole) for side, whole in zip(shape, size, strict=True))
    return height, width


def center_crop(shape: tuple[int, ...], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return (top, left, height, width) of the largest centered crop of the aspect ratio of `size`."""
    height, width = shape
    scale = min(height / size[0], width / size[1])
    inner_height = min(max(round(size[0] * scale), 1), height)
    inner_width = min(max(round(size[1] * scale), 1), width)
    return (height - inner_height) // 2, (width - inner_width) // 2, inner_height, inner_width


def downscale(pixels: np.ndarray, shorter: int) -> np.ndarray:
    """Return the image with its shorter side reduced to `shorter`; a smaller image is not changed."""
    height, width = pixels.shape[1:]
    scale = min(shorter / min(height, width), 1.0)
    return resize(pixels, max(round(height * scale), 1), max(round(width * scale), 1))


def whole_canvas(shape: tuple[int, ...], size: tuple[int, int], shorter: int) -> tuple[int, int]:
    """Return the size of the smallest canvas of the aspect ratio of `size` around a whole image.

    A canvas whose shorter side is above `shorter` is reduced to it.
    """
    height, width = shape
    around = max(height, width * size[0] / size[1]), max(width, height * size[1] / size[0])
    scale = min(shorter / min(around), 1.0)
    return max(round(around[0] * scale), 1), max(round(around[1] * scale), 1)
