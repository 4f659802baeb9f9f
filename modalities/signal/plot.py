"""A signal as a small picture."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

SIDE, EDGE = 256, 6
LANES = 12
"""Up to so many channels have a lane of their own; more become rows of a color map."""
POINTS = 2048
"""A curve is drawn through at most so many steps, evenly thinned."""
GAP, INK = (238, 238, 238), ((31, 119, 180), (214, 90, 30), (44, 140, 60), (150, 60, 160))
COLD, WARM = np.array([49, 84, 158]), np.array([198, 62, 40])


def plot(values_CT: np.ndarray) -> Image.Image:
    """Draw float (C, T), nan where a value is missing, as an RGB picture of 256 x 256 pixels; gaps are gray."""
    thin_CT = values_CT[:, :: max(1, values_CT.shape[1] // POINTS)]
    return _lanes(thin_CT) if len(thin_CT) <= LANES else _map(thin_CT)


def _lanes(values_CT: np.ndarray) -> Image.Image:
    picture = Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(picture)
    height = (SIDE - EDGE) / len(values_CT)
    count = values_CT.shape[1]
    places_T = EDGE + (SIDE - 2 * EDGE) * ((np.arange(count) + 0.5) / count)
    half = (SIDE - 2 * EDGE) / count / 2
    for lane, x_T in enumerate(values_CT):
        top, ink = EDGE + lane * height, INK[lane % len(INK)]
        bottom = top + height - EDGE
        missing_T = np.isnan(x_T)
        for place in places_T[missing_T]:
            draw.rectangle((place - half, top, place + half, bottom), fill=GAP)
        y_T = bottom - (bottom - top) * _unit(x_T[None])[0]
        points = [None if gone else (x, y) for x, y, gone in zip(places_T, y_T, missing_T, strict=True)]
        for a, b in pairwise(points):
            if a and b:
                draw.line((*a, *b), fill=ink)
        for before, point, after in zip([None, *points], points, [*points[1:], None], strict=False):
            if point and not (before or after):  # a value between two gaps has no line
                draw.circle(point, 1.5, fill=ink)
    return picture


def _map(values_CT: np.ndarray) -> Image.Image:
    share_CT1 = np.nan_to_num(_unit(values_CT))[..., None]
    pixels_CT3 = np.where(np.isnan(values_CT)[..., None], GAP, (1 - share_CT1) * COLD + share_CT1 * WARM)
    return Image.fromarray(pixels_CT3.astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.NEAREST)


def _unit(values_CT: np.ndarray) -> np.ndarray:
    """Return values between the smallest and the largest of each channel as 0 to 1; a constant channel is .5."""
    seen_CT = ~np.isnan(values_CT)
    values_CT = values_CT.astype(np.float64)
    low_C1 = np.min(values_CT, axis=1, keepdims=True, where=seen_CT, initial=np.inf)
    high_C1 = np.max(values_CT, axis=1, keepdims=True, where=seen_CT, initial=-np.inf)
    width_C1 = np.where(high_C1 > low_C1, high_C1 - low_C1, 1.0)
    return np.where(high_C1 > low_C1, (values_CT - np.where(seen_CT.any(1, keepdims=True), low_C1, 0)) / width_C1, 0.5)
