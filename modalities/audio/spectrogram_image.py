"""A log-mel spectrogram and its waveform as a small image, with seconds and Hz."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from sensorium import draw_text, text_width
from sensorium.modalities.signal.plot import AXIS, EDGE, GRAY, LETTERS, SIDE, STRIP, TimeAxis, draw_time_axis, plot

WAVE, HERTZ = 56, 34
"""Height of the waveform above the spectrogram, and width of the frequency axis, in pixels."""
FRAMES = 1024
"""Largest number of frames drawn; longer spectrograms are subsampled."""
FREQUENCIES = (125, 250, 500, 1000, 2000, 4000, 8000, 16000)
"""Frequencies of the axis in Hz, as many as have room."""
DARK, LIGHT, MASKED = np.array([24, 16, 60]), np.array([255, 226, 160]), (150, 150, 150)


@dataclass(frozen=True)
class MelAxes:
    """The axes of a log-mel spectrogram.

    Args:
        hertz_F: the center frequency of each band in Hz, ascending.
        time: time of its frames.
        bands: first band and number of bands that the rows stand for, where they are a crop; None for all.
    """

    hertz_F: np.ndarray
    time: TimeAxis
    bands: tuple[float, float] | None = None


def spectrogram_image(samples_CS: np.ndarray | None, mels_GT: np.ndarray, axes: MelAxes) -> Image.Image:
    """Draw log-mels (C x F, T), low bands at the bottom, masked ones gray, and samples (C, S) above if there are any.

    Returns an RGB image of 256 x 256 pixels.
    """
    top, bottom = STRIP if axes.time.crop is not None else EDGE // 2, SIDE - AXIS
    canvas = Image.new("RGB", (SIDE, SIDE), "white")
    box = (HERTZ, top, SIDE - EDGE, bottom)
    if samples_CS is not None:
        wave = plot(samples_CS, side=(SIDE - HERTZ - EDGE + 2 * EDGE, WAVE))
        canvas.paste(wave.crop((EDGE, 0, wave.width - EDGE, WAVE)), (HERTZ, top))
        top += WAVE
    canvas.paste(_map(mels_GT).resize((box[2] - box[0], bottom - top), Image.Resampling.NEAREST), (HERTZ, top))
    channels = max(len(mels_GT) // len(axes.hertz_F), 1)
    for channel in range(channels):
        height = (bottom - top) / channels
        _draw_frequencies(canvas, axes, bottom - channel * height, height)
    draw_time_axis(canvas, axes.time, mels_GT.shape[1], box)
    return canvas


def _draw_frequencies(canvas: Image.Image, axes: MelAxes, bottom: float, height: float) -> None:
    """Draw the frequencies of the bands of one channel, whose rows end at `bottom`."""
    draw, bands = ImageDraw.Draw(canvas), len(axes.hertz_F)
    first, count = axes.bands or (0.0, float(bands))
    free = bottom + LETTERS
    for hertz in FREQUENCIES:
        if not axes.hertz_F[0] <= hertz <= axes.hertz_F[-1]:
            continue
        band = float(np.interp(hertz, axes.hertz_F, np.arange(bands))) + 0.5
        y = bottom - height * (band - first) / count
        if not bottom - height <= y <= bottom or free - y < LETTERS + 2:
            continue
        free = y
        text = f"{hertz // 1000}k" if hertz >= 1000 else str(hertz)
        draw.line((HERTZ - 4, y, HERTZ - 1, y), fill=GRAY)
        draw_text(canvas, (HERTZ - 6 - text_width(text, LETTERS), round(y - LETTERS * 0.65)), text, LETTERS)
    draw_text(canvas, (2, round(bottom + 5)), "Hz", LETTERS, GRAY)


def _map(mels_GT: np.ndarray) -> Image.Image:
    sampled_GT = mels_GT[::-1, :: max(1, mels_GT.shape[1] // FRAMES)].astype(np.float64)
    masked_GT1 = np.isnan(sampled_GT)[..., None]
    seen = sampled_GT[~masked_GT1[..., 0]]
    low, high = (seen.min(), seen.max()) if seen.size else (0.0, 0.0)
    level_GT1 = np.nan_to_num((sampled_GT - low) / (high - low if high > low else 1.0))[..., None]
    pixels_GT3 = np.where(masked_GT1, MASKED, (1 - level_GT1) * DARK + level_GT1 * LIGHT)
    return Image.fromarray(pixels_GT3.astype(np.uint8))
