"""What a sound looks like to most encoders."""

from __future__ import annotations

from dataclasses import dataclass

from sensorium.modalities.signal.batch import SignalBatch


@dataclass
class LogMels(SignalBatch):
    """Log-mel spectrograms of B sounds: values are (B, C x F, T), the F bands of each channel together.

    Args:
        values: float32, in deviations from the mean of the train part; zero where nothing was observed.
        lengths: int64 (B,), how many frames of a row are real; they stand first.
        observed: bool, False where a band is hidden, and on padding.
    """
