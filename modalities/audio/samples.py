"""Sample audio clips, on which the conformance kit checks every part of the modality."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import soundfile

FORMATS = (
    ("WAV", "PCM_16", 16000, 1, 0.5),
    ("FLAC", "PCM_24", 44100, 2, 0.31),
    ("OGG", "VORBIS", 22050, 1, 0.42),
    ("MP3", "MPEG_LAYER_III", 48000, 2, 0.4),
    ("WAV", "PCM_U8", 8000, 1, 0.01),
    ("WAV", "FLOAT", 11025, 3, 0.2),
)
"""Format, subtype, rate, channels and seconds."""


def sample_audio() -> list[bytes]:
    """Return six short files of several formats, rates, channels and lengths: a gliding tone and its overtones."""
    return [_tone(number, *kind) for number, kind in enumerate(FORMATS)]


def _tone(number: int, format: str, subtype: str, rate: int, channels: int, seconds: float) -> bytes:
    time_S = np.arange(round(rate * seconds)) / rate
    phase_S = 2 * np.pi * (180 + 60 * number) * (time_S + time_S**2)
    wave_S = 0.3 * np.sin(phase_S) + 0.1 * np.sin(2 * phase_S) + 0.05 * np.sin(5 * phase_S)
    file = BytesIO()
    soundfile.write(file, np.stack([wave_S * (1 - 0.2 * c) for c in range(channels)], 1), rate, subtype, format=format)
    return file.getvalue()
