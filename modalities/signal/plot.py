"""A signal as a small plot."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

SIDE, EDGE = 256, 6
LINES = 12
"""Up to so many channels are line plots one below the other; more are the rows of a heat map."""
POINTS = 2048
"""A line is drawn through at most so many steps, evenly subsampled."""
GAP, INK = (238, 238, 238), ((31, 119, 180), (214, 90, 30), (44, 140, 60), (150, 60, 160))
COLD, WARM = np.array([49, 84, 158]), np.array([198, 62, 40])


def plot(values_CT: np.ndarray) -> Image.Image:
    """Draw float (C, T), nan where a value is missing, as an RGB image of 256 x 256 pixels; gaps are gray."""
    thin_CT = values_CT[:, :: max(1, values_CT.shape[1] // POINTS)]
    return _line_plots(thin_CT) if len(thin_CT) <= LINES else _heat_map(thin_CT)


def _line_plots(values_CT: np.ndarray) -> Image.Image:
    image = Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(image)
    height = (SIDE - EDGE) / len(values_CT)
    count = values_CT.shape[1]
    x_T = EDGE + (SIDE - 2 * EDGE) * ((np.arange(count) + 0.5) / count)
    half = (SIDE - 2 * EDGE) / count / 2
    for row, values_T in enumerate(values_CT):
        top, ink = EDGE + row * height, INK[row % len(INK)]
        bottom = top + height - EDGE
        missing_T = np.isnan(values_T)
        for x in x_T[missing_T]:
            draw.rectangle((x - half, top, x + half, bottom), fill=GAP)
        y_T = bottom - (bottom - top) * _unit(values_T[None])[0]
        points = [None if missing else (x, y) for x, y, missing in zip(x_T, y_T, missing_T, strict=True)]
        for a, b in pairwise(points):
            if a and b:
                draw.line((*a, *b), fill=ink)
        for before, point, after in zip([None, *points], points, [*points[1:], None], strict=False):
            if point and not (before or after):  # a value between two gaps has no line
                draw.circle(point, 1.5, fill=ink)
    return image


def _heat_map(values_CT: np.ndarray) -> Image.Image:
    unit_CT1 = np.nan_to_num(_unit(values_CT))[..., None]
    pixels_CT3 = np.where(np.isnan(values_CT)[..., None], GAP, (1 - unit_CT1) * COLD + unit_CT1 * WARM)
    return Image.fromarray(pixels_CT3.astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.NEAREST)


def _unit(values_CT: np.ndarray) -> np.ndarray:
    """Return values between the smallest and the largest of each channel as 0 to 1; a constant channel is .5."""
    seen_CT = ~np.isnan(values_CT)
    values_CT = values_CT.astype(np.float64)
    low_C1 = np.min(values_CT, axis=1, keepdims=True, where=seen_CT, initial=np.inf)
    high_C1 = np.max(values_CT, axis=1, keepdims=True, where=seen_CT, initial=-np.inf)
    width_C1 = np.where(high_C1 > low_C1, high_C1 - low_C1, 1.0)
    return np.where(high_C1 > low_C1, (values_CT - np.where(seen_CT.any(1, keepdims=True), low_C1, 0)) / width_C1, 0.5)
