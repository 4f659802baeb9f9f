"""Resizing and center-cropping of single images, uint8 (C, H, W), on a loader worker."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F


def resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return an image of another size: bilinear, antialiased when downscaling."""
    if pixels.shape[1:] == (height, width):
        return pixels
    source = torch.tensor(pixels)[None]
    if width == 1:  # torch's uint8 kernel is wrong for a single column, its float kernel is not
        scaled = F.interpolate(source.float(), (height, width), mode="bilinear", antialias=True)
        return scaled[0].round().to(torch.uint8).numpy()
    return F.interpolate(source, (height, width), mode="bilinear", antialias=True)[0].numpy()


def center_crop_resize(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the largest centered crop of the aspect ratio of `size` = (height, width), resized to it."""
    height, width = pixels.shape[1:]
    # Cropping comes first: a strip of 20,000 x 10 pixels would be huge if it were resized first.
    scale = min(height / size[0], width / size[1])
    inner_height = min(max(round(size[0] * scale), 1), height)
    inner_width = min(max(round(size[1] * scale), 1), width)
    top, left = (height - inner_height) // 2, (width - inner_width) // 2
    return resize(pixels[:, top : top + inner_height, left : left + inner_width], *size)


def downscale(pixels: np.ndarray, shorter: int) -> np.ndarray:
    """Return the image with its shorter side reduced to `shorter`; a smaller image is not changed."""
    height, width = pixels.shape[1:]
    scale = min(shorter / min(height, width), 1.0)
    return resize(pixels, max(round(height * scale), 1), max(round(width * scale), 1))
