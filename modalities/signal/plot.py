"""A signal as a small plot, with its axes, what is masked, and where it lies in the record that it was cut from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

from sensorium import draw_text, text_width

SIDE, EDGE = 256, 6
LINES = 12
"""Up to so many channels are line plots one below the other; more are the rows of a heat map."""
NAMED = 8
"""Of up to so many line plots, each has its name and its largest and smallest value."""
POINTS = 2048
"""A line is drawn through at most so many steps, evenly subsampled."""
AXIS, STRIP, LETTERS = 20, 12, 10
"""Heights of the time axis and of the strip that shows a crop, and the size of letters, in pixels."""
GAP, INK = (238, 238, 238), ((31, 119, 180), (214, 90, 30), (44, 140, 60), (150, 60, 160))
COLD, WARM = np.array([49, 84, 158]), np.array([198, 62, 40])
GRAY, MASK = (120, 120, 120), (170, 170, 170)


@dataclass(frozen=True)
class TimeAxis:
    """The time of a signal's steps.

    Args:
        period: time from one step to the next.
        unit: of `period`, such as "s"; "" writes numbers alone.
        crop: first step, number of steps and length of the record that the signal was cut from, in steps; None for a
            whole record.
        start: the first step of the record on the axis.
    """

    period: float = 1.0
    unit: str = ""
    crop: tuple[float, float, float] | None = None
    start: float = 0.0


def plot(
    values_CT: np.ndarray,
    names: Sequence[str] = (),
    time: TimeAxis | None = None,
    masked: np.ndarray | None = None,
    side: tuple[int, int] = (SIDE, SIDE),
) -> Image.Image:
    """Draw a signal as an RGB image of 256 x 256 pixels, gaps light gray.

    Args:
        values_CT: float (C, T), nan where a value is missing.
        names: of the channels.
        time: the time axis, drawn below, and above where a crop lies; None draws neither.
        masked: bool (T,), or (C, T) of each channel by itself, True where a step is masked: dark gray.
        side: width and height in pixels.
    """
    image = Image.new("RGB", side, "white")
    bottom = side[1] - (0 if time is None else AXIS)
    top = 0 if time is None or time.crop is None else STRIP
    every = max(1, values_CT.shape[1] // POINTS)
    box = (EDGE, top, side[0] - EDGE, bottom)
    if masked is not None:
        height = (bottom - top - EDGE) / len(values_CT)
        bands = [(top, bottom)] if masked.ndim == 1 else _bands(top + EDGE, height, len(values_CT))
        for masked_T, (low, high) in zip(np.atleast_2d(masked), bands, strict=True):
            draw_spans(image, masked_T, (EDGE, low, side[0] - EDGE, high))
    if len(values_CT) <= LINES:
        _line_plots(image, values_CT[:, ::every], names, box)
    else:
        heat = heat_map(values_CT[:, ::every], None if masked is None else masked[..., ::every])
        heat = heat.resize((box[2] - box[0], bottom - top - EDGE), Image.Resampling.NEAREST)
        image.paste(heat, (EDGE, top + EDGE // 2))
        draw_text(image, (EDGE + 2, top + EDGE), f"{len(values_CT)} channels", LETTERS)
    if time is not None:
        draw_time_axis(image, time, values_CT.shape[1], box)
    return image


def _bands(top: int, height: float, count: int) -> list[tuple[int, int]]:
    """Return top and bottom of each of `count` rows of one height below each other."""
    return [(round(top + row * height), round(top + (row + 1) * height)) for row in range(count)]


def draw_spans(image: Image.Image, masked_T: np.ndarray, box: tuple[int, int, int, int]) -> None:
    """Draw the masked steps of a signal as dark gray bands over the height of a box."""
    draw = ImageDraw.Draw(image)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], masked_T, [False]]).astype(np.int8))).reshape(-1, 2)
    for start, stop in (box[0] + (box[2] - box[0]) * edges / max(len(masked_T), 1)).tolist():
        draw.rectangle((start, box[1], max(stop - 1, start), box[3] - 1), fill=MASK)


def draw_time_axis(image: Image.Image, time: TimeAxis, steps: int, box: tuple[int, int, int, int]) -> None:
    """Draw the time of a signal of some steps below a box, and where a crop lies in its record above it."""
    left, top, right, bottom = box
    draw = ImageDraw.Draw(image)
    first, count = (0.0, float(steps)) if time.crop is None else time.crop[:2]
    draw.line((left, bottom, right, bottom), fill=GRAY)
    start, end = time.start + first * time.period, time.start + (first + count) * time.period
    for value, text in ticks(start, end, 4, time.unit):
        x = left + (right - left) * (value - start) / max(end - start, 1e-12)
        draw.line((x, bottom, x, bottom + 3), fill=GRAY)
        width = text_width(text, LETTERS)
        draw_text(image, (round(min(max(x - width / 2, 0), image.width - width)), bottom + 5), text, LETTERS)
    if time.crop is not None:
        scale = (right - left) / max(time.crop[2], 1e-12)
        draw.rectangle((left, top - STRIP + 3, right, top - 4), outline=GRAY, fill=GAP)
        start, end = (min(max(left + step * scale, left), right) for step in (first, first + count))
        draw.rectangle((start, top - STRIP + 3, max(end, start + 1), top - 4), fill=INK[0])


def ticks(start: float, end: float, most: int, unit: str = "") -> list[tuple[float, str]]:
    """Return about `most` round numbers between two ends, each with its text; the last has the unit."""
    if not end > start:
        return []
    step = 10.0 ** np.floor(np.log10((end - start) / most))
    step *= next(factor for factor in (1, 2, 5, 10) if (end - start) / (step * factor) <= most)
    values = np.arange(np.ceil(start / step - 1e-9), np.floor(end / step + 1e-9) + 1) * step
    made = [(float(value), f"{value:.6g}") for value in values + 0.0]  # without a negative zero
    if made and unit:
        made[-1] = (made[-1][0], f"{made[-1][1]} {unit}")
    return made


def _line_plots(
    image: Image.Image, values_CT: np.ndarray, names: Sequence[str], box: tuple[int, int, int, int]
) -> None:
    draw = ImageDraw.Draw(image)
    left, above, right, below = box
    height = (below - above - EDGE) / len(values_CT)
    is_named = len(values_CT) <= NAMED and bool(names)
    heading = min(LETTERS + 3, height / 2) if is_named else 0
    count = values_CT.shape[1]
    x_T = left + (right - left) * ((np.arange(count) + 0.5) / count)
    half = (right - left) / count / 2
    for row, values_T in enumerate(values_CT):
        top, ink = above + EDGE + row * height + heading, INK[row % len(INK)]
        bottom = above + EDGE + (row + 1) * height - EDGE
        missing_T = np.isnan(values_T)
        for x in x_T[missing_T]:
            draw.rectangle((x - half, top, x + half, bottom), fill=GAP)
        y_T = bottom - (bottom - top) * unit_scale(values_T[None])[0]
        points = [None if missing else (x, y) for x, y, missing in zip(x_T, y_T, missing_T, strict=True)]
        for a, b in pairwise(points):
            if a and b:
                draw.line((*a, *b), fill=ink)
        for before, point, after in zip([None, *points], points, [*points[1:], None], strict=False):
            if point and not (before or after):  # a value between two gaps has no line
                draw.circle(point, 1.5, fill=ink)
        if is_named:
            seen = values_T[~missing_T]
            bounds = f"{seen.min():.3g} to {seen.max():.3g}" if len(seen) else "missing"
            room = image.width - left - EDGE - text_width(bounds, LETTERS) - 6
            draw_text(image, (left, round(top - heading - 3)), fitted(names[row], room), LETTERS, ink)
            draw_text(
                image,
                (image.width - EDGE - text_width(bounds, LETTERS), round(top - heading - 3)),
                bounds,
                LETTERS,
                GRAY,
            )


def fitted(text: str, width: int) -> str:
    """Return a text cut to a width in pixels."""
    while len(text) > 1 and text_width(text, LETTERS) > width:
        text = text.rstrip("…")[:-1] + "…"
    return text


def heat_map(values_CT: np.ndarray, masked: np.ndarray | None = None) -> Image.Image:
    """Return one pixel for each value: each channel from cold to warm colors, gaps gray, what is masked dark gray.

    Args:
        values_CT: float (C, T), nan where a value is missing.
        masked: bool (T,) or (C, T).
    """
    unit_CT1 = np.nan_to_num(unit_scale(values_CT))[..., None]
    pixels_CT3 = np.where(np.isnan(values_CT)[..., None], GAP, (1 - unit_CT1) * COLD + unit_CT1 * WARM)
    if masked is not None:
        pixels_CT3 = np.where(np.broadcast_to(masked, values_CT.shape)[..., None], MASK, pixels_CT3)
    return Image.fromarray(pixels_CT3.astype(np.uint8))


def unit_scale(values_CT: np.ndarray) -> np.ndarray:
    """Return values between the smallest and the largest of each channel as 0 to 1; a constant channel is .5."""
    seen_CT = ~np.isnan(values_CT)
    values_CT = values_CT.astype(np.float64)
    low_C1 = np.min(values_CT, axis=1, keepdims=True, where=seen_CT, initial=np.inf)
    high_C1 = np.max(values_CT, axis=1, keepdims=True, where=seen_CT, initial=-np.inf)
    width_C1 = np.where(high_C1 > low_C1, high_C1 - low_C1, 1.0)
    return np.where(high_C1 > low_C1, (values_CT - np.where(seen_CT.any(1, keepdims=True), low_C1, 0)) / width_C1, 0.5)
