"""Descriptors of images: means of color in cells, its spread, and orientations of edges (Dalal and Triggs 2005).

Letters: C channels, H and W height and width, G cells a side.
"""

from __future__ import annotations

import numpy as np

CELLS, ORIENTATIONS = 4, 8
"""Cells a side, and bins of edge orientation in each, over half a turn."""


def descriptor_names(channels: int) -> tuple[str, ...]:
    """Return the names of the descriptors, in order."""
    cells = [(row, column) for row in range(CELLS) for column in range(CELLS)]
    means = [f"mean of channel {c} in cell {row},{column}" for c in range(channels) for row, column in cells]
    stds = [f"standard deviation of channel {c}" for c in range(channels)]
    angles = [180 / ORIENTATIONS * orientation for orientation in range(ORIENTATIONS)]
    edges = [f"edges at {angle:g} degrees in cell {row},{column}" for angle in angles for row, column in cells]
    return (*means, *stds, *edges)


def descriptors(pixels_CHW: np.ndarray) -> np.ndarray:
    """Return the descriptors of an image, float32 (P,).

    Args:
        pixels_CHW: uint8.
    """
    x_CHW = pixels_CHW.astype(np.float32) / 255
    gray_HW = x_CHW.mean(0)
    down_HW, right_HW = (_slopes(gray_HW, axis) for axis in (0, 1))
    bin_HW = np.floor(np.arctan2(down_HW, right_HW) % np.pi / np.pi * ORIENTATIONS).astype(int) % ORIENTATIONS
    strength_HW = np.hypot(down_HW, right_HW)
    edges_OHW = np.where(bin_HW == np.arange(ORIENTATIONS)[:, None, None], strength_HW, 0.0)
    parts = [_cell_means(x_CHW), x_CHW.std((1, 2)), _cell_means(edges_OHW)]
    return np.concatenate([part.ravel() for part in parts]).astype(np.float32)


def _slopes(gray_HW: np.ndarray, axis: int) -> np.ndarray:
    """Return differences of neighboring pixels along an axis; zero where there is one pixel alone."""
    return np.gradient(gray_HW, axis=axis) if gray_HW.shape[axis] > 1 else np.zeros_like(gray_HW)


def _cell_means(x_CHW: np.ndarray) -> np.ndarray:
    """Return means in cells of about equal size, which share pixels where there are fewer than cells: (C, G, G)."""
    for axis in (1, 2):
        size = x_CHW.shape[axis]
        cells = [(size * i // CELLS, max(-(-size * (i + 1) // CELLS), 1)) for i in range(CELLS)]
        x_CHW = np.stack([x_CHW.take(range(*cell), axis).mean(axis) for cell in cells], axis)
    return x_CHW
