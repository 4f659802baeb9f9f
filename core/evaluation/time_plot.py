"""Plots over time: lines, a threshold, shaded spans and marked points, one panel below the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw

from sensorium.text_drawing import draw_text, text_width

WIDTH, PANEL, LEFT, TOP, GAP = 1200, 220, 90, 34, 46
"""Pixels: of the image and of a panel, its margin at the left and above, and the gap below it."""
SIZE = 14
"""Of the text, in pixels."""
PAPER, INK, FAINT, SHADE, MARK = (255, 255, 255), (32, 33, 36), (128, 132, 138), (253, 226, 213), (217, 72, 15)
LINES = ((40, 96, 144), (217, 119, 6), (24, 150, 84))


@dataclass
class Panel:
    """One panel.

    Args:
        title: what it shows, with its unit.
        lines: name -> N values; nan leaves a gap.
        threshold: a horizontal line, or None.
        shaded: bool (N,), where the background is shaded.
        marked: bool (N,), where the first line has a dot.
        starts: bool (N,), where a new recording begins and lines are interrupted.
    """

    title: str
    lines: Mapping[str, np.ndarray]
    threshold: float | None = None
    shaded: np.ndarray | None = None
    marked: np.ndarray | None = None
    starts: np.ndarray | None = field(default=None)


def time_plot(panels: Sequence[Panel], first: str, last: str) -> Image.Image:
    """Draw panels with a common time axis.

    Args:
        panels: one or more, all of N points, in temporal order.
        first: the time stamp of the first point.
        last: that of the last point.
    """
    image = Image.new("RGB", (WIDTH, len(panels) * (TOP + PANEL + GAP)), PAPER)
    pen = ImageDraw.Draw(image)
    for number, panel in enumerate(panels):
        top = number * (TOP + PANEL + GAP) + TOP
        _draw(image, pen, panel, top)
        draw_text(image, (LEFT, top - 26), panel.title, SIZE, INK)
        at = LEFT + 520
        for line, (name, _) in enumerate(panel.lines.items()):
            pen.line((at, top - 16, at + 22, top - 16), LINES[line % len(LINES)], 3)
            draw_text(image, (at + 28, top - 26), name, SIZE, INK)
            at += 60 + int(text_width(name, SIZE))
        draw_text(image, (LEFT, top + PANEL + 6), first, SIZE, FAINT)
        draw_text(image, (WIDTH - 20 - text_width(last, SIZE), top + PANEL + 6), last, SIZE, FAINT)
    return image


def _draw(image: Image.Image, pen: ImageDraw.ImageDraw, panel: Panel, top: int) -> None:
    """Draw the axes, background and lines of a panel."""
    values = np.concatenate([np.asarray(line, float) for line in panel.lines.values()])
    values = np.append(values[np.isfinite(values)], [] if panel.threshold is None else [panel.threshold])
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    span = (high - low) or 1.0
    count = len(next(iter(panel.lines.values())))
    x_N = LEFT + np.arange(count) * ((WIDTH - 20 - LEFT) / max(count - 1, 1))

    def y_of(value: np.ndarray | float) -> np.ndarray:
        return top + PANEL - (np.asarray(value) - low) / span * PANEL

    if panel.shaded is not None:
        for row in np.flatnonzero(panel.shaded).tolist():
            half = max((WIDTH - 20 - LEFT) / max(count - 1, 1) / 2, 0.5)
            pen.rectangle((x_N[row] - half, top, x_N[row] + half, top + PANEL), SHADE)
    pen.rectangle((LEFT, top, WIDTH - 20, top + PANEL), outline=FAINT)
    for value in (low, high):
        text = f"{value:.4g}"
        draw_text(image, (LEFT - 8 - text_width(text, SIZE), float(y_of(value)) - 8), text, SIZE, FAINT)
    if panel.threshold is not None:
        y = float(y_of(panel.threshold))
        pen.line((LEFT, y, WIDTH - 20, y), MARK, 1)
    starts_N = np.zeros(count, bool) if panel.starts is None else panel.starts
    for number, line in enumerate(panel.lines.values()):
        y_N = y_of(line)
        breaks = np.flatnonzero(starts_N | ~np.isfinite(y_N))
        for rows in np.split(np.arange(count), breaks):
            points = [(float(x_N[row]), float(y_N[row])) for row in rows if np.isfinite(y_N[row])]
            if len(points) > 1:
                pen.line(points, LINES[number % len(LINES)], 2)
    if panel.marked is not None:
        y_N = y_of(next(iter(panel.lines.values())))
        for row in np.flatnonzero(panel.marked).tolist():
            pen.ellipse((x_N[row] - 3, y_N[row] - 3, x_N[row] + 3, y_N[row] + 3), MARK)
