"""A spectrogram and its waveform as a small image."""

from __future__ import annotations

import numpy as np
from PIL import Image

from sensorium.modalities.signal.plot import SIDE, plot

WAVE = 64
"""Height of the waveform above the spectrogram, in pixels."""
FRAMES = 1024
"""Largest number of frames drawn; longer spectrograms are subsampled."""
DARK, LIGHT, MASKED = np.array([24, 16, 60]), np.array([255, 226, 160]), (150, 150, 150)


def spectrogram_image(samples_CS: np.ndarray | None, mels_GT: np.ndarray) -> Image.Image:
    """Draw log-mels (C x F, T), low bands at the bottom, masked ones gray, and samples (C, S) above if there are any.

    Returns an RGB image of 256 x 256 pixels.
    """
    top = 0 if samples_CS is None else WAVE
    canvas = Image.new("RGB", (SIDE, SIDE), "white")
    canvas.paste(_map(mels_GT).resize((SIDE, SIDE - top), Image.Resampling.NEAREST), (0, top))
    if samples_CS is not None:
        canvas.paste(plot(samples_CS).resize((SIDE, WAVE), Image.Resampling.LANCZOS), (0, 0))
    return canvas


def _map(mels_GT: np.ndarray) -> Image.Image:
    sampled_GT = mels_GT[::-1, :: max(1, mels_GT.shape[1] // FRAMES)].astype(np.float64)
    masked_GT1 = np.isnan(sampled_GT)[..., None]
    seen = sampled_GT[~masked_GT1[..., 0]]
    low, high = (seen.min(), seen.max()) if seen.size else (0.0, 0.0)
    level_GT1 = np.nan_to_num((sampled_GT - low) / (high - low if high > low else 1.0))[..., None]
    pixels_GT3 = np.where(masked_GT1, MASKED, (1 - level_GT1) * DARK + level_GT1 * LIGHT)
    return Image.fromarray(pixels_GT3.astype(np.uint8))
