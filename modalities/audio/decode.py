"""From a raw value to samples: sound files of any kind that libsndfile reads, and arrays with their rate.

Only the piece that is asked for is read, so that a file of hours costs no more than one of seconds.
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

SLOWEST, FASTEST = 100, 1_000_000
"""Rates in Hz between which a file is believed."""
FINEST = 640
"""The largest denominator of a ratio of rates; with it a tone is off by less than one part in 800,000."""
LEAD = 2 * 1152
"""Frames that an MP3 is read ahead of a piece: the first ones after a leap lack what came before, and are wrong."""
LOUDEST = 1e4
"""Samples beyond so many times full scale are no sound; their squares would leave single precision."""


@dataclass(frozen=True)
class Piece:
    """Samples of one sound.

    Args:
        samples_CS: float32 (C, S), full scale is 1, finite.
        rate: samples a second.
        rest: seconds of the sound that the piece leaves out.
    """

    samples_CS: np.ndarray
    rate: int
    rest: float


def read_piece(raw: Any, rate: int, seconds: float | None, place: float = 0.5) -> Piece:
    """Return a piece of a raw value.

    Args:
        raw: the path or the bytes of a sound file; an array, a tensor or a list, (S,) or (C, S), of floats whose full
            scale is 1 or of integers; a pair of such an array and its rate; a mapping of "array" and "sampling_rate",
            or of "bytes" or "path".
        rate: of arrays that come without one.
        seconds: how long the piece is at most; None reads all.
        place: where it lies in what a longer sound has more, from 0 (its start) to 1 (its end).

    Raises:
        BadSample: when the value is no sound, is empty, or ends before its header says so, or when the piece holds a
            sample that is no number or far beyond full scale.
    """
    if isinstance(raw, Mapping):
        raw = _of_mapping(raw)
    if isinstance(raw, str | os.PathLike | bytes | bytearray | memoryview):
        samples_CS, rate, left = _of_file(raw, seconds, place)
    else:
        samples_CS, rate, left = _of_array(raw, rate, seconds, place)
    wrong_CS = ~(np.abs(samples_CS) <= LOUDEST)
    if wrong_CS.any():
        channel, sample = np.argwhere(wrong_CS)[0]
        value = samples_CS[channel, sample]
        raise BadSample(f"sample {sample} of channel {channel} is {value}: full scale is 1, and {LOUDEST:g} no sound")
    return Piece(samples_CS, rate, left / rate)


def resample(samples_CS: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Return samples at another rate, float32 (C, round(S x wanted / rate)), at least one of each channel."""
    if rate == wanted:
        return samples_CS
    ratio = Fraction(rate, wanted).limit_denominator(FINEST)
    count = max(1, round(samples_CS.shape[1] * wanted / rate))
    made_CS = _resampler(ratio.numerator, ratio.denominator)(torch.from_numpy(samples_CS)).numpy()
    short = max(0, count - made_CS.shape[1])
    return np.pad(made_CS, ((0, 0), (0, short)))[:, :count]


@lru_cache(maxsize=32)
def _resampler(rate: int, wanted: int) -> Resample:
    """Return a resampler with its filter, which is costly to make."""
    return Resample(rate, wanted)


def _cut(frames: int, rate: int, seconds: float | None, place: float) -> tuple[int, int]:
    """Return where a piece starts and how many frames it has."""
    if not SLOWEST <= rate <= FASTEST:
        raise BadSample(f"its rate of {rate} Hz does not lie between {SLOWEST} and {FASTEST}")
    if not frames:
        raise BadSample("the sound has no samples")
    count = frames if seconds is None else min(frames, max(1, round(seconds * rate)))
    return round(place * (frames - count)), count


def _of_file(raw: Any, seconds: float | None, place: float) -> tuple[np.ndarray, int, int]:
    """Return a piece of a file (C, S), its rate and how many frames it leaves out."""
    try:
        with soundfile.SoundFile(_readable(raw)) as file:
            start, count = _cut(file.frames, file.samplerate, seconds, place)
            lead = min(start, LEAD) if file.format == "MP3" else 0
            file.seek(start - lead)
            samples_SC = file.read(lead + count, dtype="float32", always_2d=True)[lead:]
            # The header of an MP3 only estimates how many frames there are.
            if not len(samples_SC) or (len(samples_SC) < count and file.format != "MP3"):
                raise BadSample(f"the sound ends after {start + len(samples_SC)} of {file.frames} frames")
            return np.ascontiguousarray(samples_SC.T), file.samplerate, file.frames - count
    except (RuntimeError, TypeError, ValueError, OSError) as error:  # soundfile's own are RuntimeErrors
        reason = getattr(error, "error_string", None) or str(error)
        raise BadSample(f"it is no sound file that can be read: {reason.rstrip('.')}") from error


def _readable(raw: Any) -> Any:
    """Return what soundfile opens: the path of a file that is not empty, or a file in memory."""
    readable: Any
    if isinstance(raw, bytes | bytearray | memoryview):
        size, readable = memoryview(raw).nbytes, BytesIO(raw)
    else:
        readable = os.fspath(raw)
        if not os.path.isfile(readable):
            raise BadSample(f"{readable!r} is no file")
        size = os.path.getsize(readable)
    if not size:
        raise BadSample("it is no sound file: it is empty")
    return readable


def _of_array(raw: Any, rate: int, seconds: float | None, place: float) -> tuple[np.ndarray, int, int]:
    """Return a piece of an array (C, S), its rate and how many samples it leaves out."""
    if isinstance(raw, tuple) and len(raw) == 2 and np.ndim(raw[1]) == 0 and np.ndim(raw[0]) > 0:
        raw, rate = raw
    if isinstance(raw, Tensor):
        raw = raw.detach().cpu().numpy()
    try:
        array, rate = np.asarray(raw), int(rate)
    except (TypeError, ValueError) as error:
        raise BadSample(f"a sound is a file, an array or an array with its rate, not {repr(raw)[:40]}") from error
    if array.dtype.kind not in "iuf" or array.ndim not in (1, 2):
        raise BadSample(f"a sound is numbers along one axis, or channels and time, not {array.dtype} {array.shape}")
    array = np.atleast_2d(array)
    if not len(array):
        raise BadSample("the sound has no channels")
    start, count = _cut(array.shape[1], rate, seconds, place)
    piece = array[:, start : start + count]
    if array.dtype.kind in "iu":  # unsigned samples rest at the middle of their range
        half = 2.0 ** (8 * array.dtype.itemsize - 1)
        piece = (piece - (half if array.dtype.kind == "u" else 0.0)) / half
    with np.errstate(over="ignore"):
        return piece.astype(np.float32), rate, array.shape[1] - count


def _of_mapping(raw: Mapping[str, Any]) -> Any:
    """Return what a mapping as Hugging Face writes it stands for."""
    if raw.get("array") is not None and raw.get("sampling_rate") is not None:
        return raw["array"], raw["sampling_rate"]
    found = raw.get("bytes") or raw.get("path")
    if not found:
        raise BadSample('a mapping that stands for a sound has "array" and "sampling_rate", or "bytes", or "path"')
    return found


def trimmed(samples_CS: np.ndarray, rate: int, decibels: float) -> np.ndarray:
    """Return a sound from the first to the last hundredth of a second that is not silence; of silence all.

    Args:
        samples_CS: float32 (C, S).
        rate: samples a second.
        decibels: how far below the loudest hundredth the power of silence lies.
    """
    step = max(rate // 100, 1)
    starts_N = np.arange(0, samples_CS.shape[1], step)
    lengths_N = np.diff(starts_N, append=samples_CS.shape[1])
    power_N = np.add.reduceat(np.square(samples_CS, dtype=np.float64).sum(0), starts_N) / lengths_N
    loud_N = np.flatnonzero(power_N > power_N.max() * 10 ** (-decibels / 10))
    if not len(loud_N):
        return samples_CS
    return samples_CS[:, starts_N[loud_N[0]] : starts_N[loud_N[-1]] + step]
