"""Batches and files of audio clips, for tests."""

from io import BytesIO

import numpy as np
import soundfile
import torch

from sensorium.modalities.audio.modality import AudioModality
from sensorium.modalities.signal.batch import SignalBatch

RATE = 8000


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def modality(**options) -> AudioModality:
    """A small modality at 8 kHz whose log-mels are scaled by fixed numbers."""
    made = AudioModality(**{"sample_rate": RATE, "n_mels": 16, "window": 16.0, "hop": 8.0, "seconds": None, **options})
    made.load_state({"mean": -5.0, "std": 3.0})
    return made


def wave(seconds: float, rate: int = RATE, channels: int = 1, tone: float = 440.0, seed: int = 0) -> np.ndarray:
    """A tone with a little noise, float32 (C, S)."""
    time = np.arange(max(1, round(seconds * rate))) / rate
    noise = np.random.default_rng(seed).standard_normal((channels, len(time)))
    return (0.5 * np.sin(2 * np.pi * tone * time) + 0.02 * noise).astype(np.float32)


def file(samples: np.ndarray, rate: int = RATE, format: str = "WAV", subtype: str | None = None) -> bytes:
    """The bytes of a file of samples (C, S)."""
    target = BytesIO()
    soundfile.write(target, samples.T, rate, subtype, format=format)
    return target.getvalue()


def batch_of(samples, channels=1, seed=0) -> SignalBatch:
    """Noise clips of these numbers of samples."""
    draw = np.random.default_rng(seed)
    return SignalBatch.join([(0.1 * draw.standard_normal((channels, n))).astype(np.float32) for n in samples])


def check_batch(batch: SignalBatch) -> None:
    """Check the invariants of a batch of signals."""
    assert batch.values.isfinite().all()
    assert (batch.values[~batch.observed] == 0).all()
    assert not (batch.observed & ~batch.valid[:, None]).any()
    assert (batch.lengths >= 1).all()
    assert batch.values.shape == batch.observed.shape
    assert batch.values.dtype == torch.float32
