"""The batches of log-mel spectrograms."""

from __future__ import annotations

from dataclasses import dataclass

from sensorium.modalities.signal.batch import SignalBatch


@dataclass
class LogMelBatch(SignalBatch):
    """Log-mel spectrograms of B clips: values are (B, C x F, T), the F bands of each channel together.

    Args:
        values: float32, normalized by mean and standard deviation of the train part; zero where not observed.
        lengths: int64 (B,), number of valid frames of each row; padding is on the right.
        observed: bool, False where a band or frame is masked, and on padding.
    """
