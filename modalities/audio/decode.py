"""Decoding of raw values to samples: every audio format that libsndfile reads, and arrays with their sample rate.

Only the requested segment is read, so that a file of hours costs no more than one of seconds.
Letters: C channels, S samples.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor
from torchaudio.transforms import Resample

from sensorium import BadSample

MIN_RATE, MAX_RATE = 100, 1_000_000
"""Valid sample rates in Hz."""
MAX_DENOMINATOR = 640
"""The largest denominator of a ratio of sample rates; frequencies are exact to one part in 800,000."""
MP3_PREROLL = 2 * 1152
"""Frames of an MP3 that are decoded before a segment: the first frames after a seek lack their context."""
MAX_AMPLITUDE = 1e4
"""Largest valid amplitude, relative to full scale; larger squares would overflow single precision."""


@dataclass(frozen=True)
class Segment:
    """A segment of one audio clip.

    Args:
        samples_CS: float32 (C, S), full scale is 1, finite.
        rate: sample rate in Hz.
        rest: seconds of the clip outside the segment.
    """

    samples_CS: np.ndarray
    rate: int
    rest: float


def read_segment(raw: Any, rate: int, seconds: float | None, position: float = 0.5) -> Segment:
    """Return a segment of a raw value.

    Args:
        raw: the path or the bytes of an audio file; an array, a tensor or a list, (S,) or (C, S), of floats whose full
            scale is 1 or of integers; a pair of such an array and its sample rate; a mapping with "array" and
            "sampling_rate", or with "bytes" or "path".
        rate: sample rate of arrays without one.
        seconds: largest length of the segment; None reads all.
        position: position of the segment in a longer clip, from 0 (its start) to 1 (its end).

    Raises:
        BadSample: when the value is not audio, is empty or truncated, or when the segment has a sample that is not
            finite or far beyond full scale.
    """
    if isinstance(raw, Mapping):
        raw = unwrapped(raw)
    if isinstance(raw, str | os.PathLike | bytes | bytearray | memoryview):
        samples_CS, rate, left = _read_file(raw, seconds, position)
    else:
        samples_CS, rate, left = _read_array(raw, rate, seconds, position)
    invalid_CS = ~(np.abs(samples_CS) <= MAX_AMPLITUDE)
    if invalid_CS.any():
        channel, sample = np.argwhere(invalid_CS)[0]
        value = samples_CS[channel, sample]
        raise BadSample(
            f"sample {sample} of channel {channel} is {value}, not within {MAX_AMPLITUDE:g} times full scale, 1"
        )
    return Segment(samples_CS, rate, left / rate)


def resample(samples_CS: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Return samples at another sample rate, float32 (C, round(S x new_rate / rate)), at least one per channel."""
    if rate == new_rate:
        return samples_CS
    ratio = Fraction(rate, new_rate).limit_denominator(MAX_DENOMINATOR)
    count = max(1, round(samples_CS.shape[1] * new_rate / rate))
    resampled_CS = _resampler(ratio.numerator, ratio.denominator)(torch.from_numpy(samples_CS)).numpy()
    short = max(0, count - resampled_CS.shape[1])
    return np.pad(resampled_CS, ((0, 0), (0, short)))[:, :count]


@lru_cache(maxsize=32)
def _resampler(rate: int, new_rate: int) -> Resample:
    """Return a resampler, whose filter is expensive to compute."""
    return Resample(rate, new_rate)


def _segment_bounds(frames: int, rate: int, seconds: float | None, position: float) -> tuple[int, int]:
    """Return the start of a segment and its number of frames."""
    if not MIN_RATE <= rate <= MAX_RATE:
        raise BadSample(f"the sample rate of {rate} Hz is not between {MIN_RATE} and {MAX_RATE}")
    if not frames:
        raise BadSample("the audio has no samples")
    count = frames if seconds is None else min(frames, max(1, round(seconds * rate)))
    return round(position * (frames - count)), count


def _read_file(raw: Any, seconds: float | None, position: float) -> tuple[np.ndarray, int, int]:
    """Return a segment of a file (C, S), its sample rate and the number of frames outside it."""
    try:
        with soundfile.SoundFile(openable(raw)) as file:
            start, count = _segment_bounds(file.frames, file.samplerate, seconds, position)
            lead = min(start, MP3_PREROLL) if file.format == "MP3" else 0
            file.seek(start - lead)
            samples_SC = file.read(lead + count, dtype="float32", always_2d=True)[lead:]
            # The header of an MP3 only estimates the number of frames.
            if not len(samples_SC) or (len(samples_SC) < count and file.format != "MP3"):
                raise BadSample(f"the audio ends after {start + len(samples_SC)} of {file.frames} frames")
            return np.ascontiguousarray(samples_SC.T), file.samplerate, file.frames - count
    except (RuntimeError, TypeError, ValueError, OSError) as error:  # soundfile's own are RuntimeErrors
        reason = getattr(error, "error_string", None) or str(error)
        raise BadSample(f"not a readable audio file: {reason.rstrip('.')}") from error


def openable(raw: Any) -> Any:
    """Return what soundfile can open: the path of a non-empty file, or a file in memory."""
    readable: Any
    if isinstance(raw, bytes | bytearray | memoryview):
        size, readable = memoryview(raw).nbytes, BytesIO(raw)
    else:
        readable = os.fspath(raw)
        if not os.path.isfile(readable):
            raise BadSample(f"{readable!r} is not a file")
        size = os.path.getsize(readable)
    if not size:
        raise BadSample("not an audio file: it is empty")
    return readable


def _read_array(raw: Any, rate: int, seconds: float | None, position: float) -> tuple[np.ndarray, int, int]:
    """Return a segment of an array (C, S), its sample rate and the number of samples outside it."""
    if isinstance(raw, tuple) and len(raw) == 2 and np.ndim(raw[1]) == 0 and np.ndim(raw[0]) > 0:
        raw, rate = raw
    if isinstance(raw, Tensor):
        raw = raw.detach().cpu().numpy()
    try:
        array, rate = np.asarray(raw), int(rate)
    except (TypeError, ValueError) as error:
        raise BadSample(f"audio is a file, an array or an array with its sample rate, not {repr(raw)[:40]}") from error
    if array.dtype.kind not in "iuf" or array.ndim not in (1, 2):
        raise BadSample(f"audio is numbers of shape (S,) or (C, S), not {array.dtype} {array.shape}")
    array = np.atleast_2d(array)
    if not len(array):
        raise BadSample("the audio has no channels")
    start, count = _segment_bounds(array.shape[1], rate, seconds, position)
    segment = array[:, start : start + count]
    if array.dtype.kind in "iu":  # unsigned samples have zero at the middle of their range
        half = 2.0 ** (8 * array.dtype.itemsize - 1)
        segment = (segment - (half if array.dtype.kind == "u" else 0.0)) / half
    with np.errstate(over="ignore"):
        return segment.astype(np.float32), rate, array.shape[1] - count


def unwrapped(raw: Mapping[str, Any]) -> Any:
    """Return the array or the file of a mapping as Hugging Face datasets write it."""
    if raw.get("array") is not None and raw.get("sampling_rate") is not None:
        return raw["array"], raw["sampling_rate"]
    found = raw.get("bytes") or raw.get("path")
    if not found:
        raise BadSample('an audio mapping has "array" and "sampling_rate", or "bytes", or "path"')
    return found


def trim_silence(samples_CS: np.ndarray, rate: int, decibels: float) -> np.ndarray:
    """Trim silence at both ends, in frames of 10 ms; a clip that is all silence is not changed.

    Args:
        samples_CS: float32 (C, S).
        rate: sample rate in Hz.
        decibels: power below that of the loudest frame, in dB, at which a frame is silent.
    """
    step = max(rate // 100, 1)
    starts_N = np.arange(0, samples_CS.shape[1], step)
    lengths_N = np.diff(starts_N, append=samples_CS.shape[1])
    power_N = np.add.reduceat(np.square(samples_CS, dtype=np.float64).sum(0), starts_N) / lengths_N
    audible_N = np.flatnonzero(power_N > power_N.max() * 10 ** (-decibels / 10))
    if not len(audible_N):
        return samples_CS
    return samples_CS[:, starts_N[audible_N[0]] : starts_N[audible_N[-1]] + step]
