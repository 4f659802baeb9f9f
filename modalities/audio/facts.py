"""Facts about one audio value, from the header of its file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import soundfile

from sensorium.modalities.audio.decode import openable, unwrapped


def audio_facts(raw: Any, rate: int, seconds: float | None, channels: int) -> dict[str, float | bool | str]:
    """Return length, sample rate, channels and format of audio that was decoded, and what is done to it.

    Args:
        raw: the raw value.
        rate: sample rate of the modality in Hz, and of arrays without one.
        seconds: largest length that is read, or None.
        channels: of the modality; 1 mixes all channels.
    """
    if isinstance(raw, Mapping):
        raw = unwrapped(raw)
    if isinstance(raw, str | os.PathLike | bytes | bytearray | memoryview):
        with soundfile.SoundFile(openable(raw)) as file:
            frames, found, tracks, kind = file.frames, file.samplerate, file.channels, file.format
    else:
        array, found = raw if isinstance(raw, tuple) and len(raw) == 2 and np.ndim(raw[1]) == 0 else (raw, rate)
        *above, frames = np.shape(array)
        tracks, kind = (above[0] if above else 1), "array"
    duration = frames / found
    return {
        "seconds": duration,
        "sample rate (Hz)": float(found),
        "channels": tracks,
        "format": kind,
        "resampled": found != rate,
        "mixed to one channel": tracks > channels == 1,
        "read in part": seconds is not None and duration > seconds,
    }
