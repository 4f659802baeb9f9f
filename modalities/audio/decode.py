"""Decoding of raw values to samples: every audio format that libsndfile reads, and arrays with their sample rate.

Only the requested segment is read, so that a file of hours costs no more than one of seconds.
Letters: C channels, S samples.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from io import BytesIO
from typing import Any, Literal

import numpy as np
import soundfile
import torch
from torch import Tensor
from torchaudio.transforms import Resample

from sensorium import BadSample
from sensorium.modalities.audio.container import unknown_length_at, what_is_missing

Position = float | Literal["onset"]

MIN_RATE, MAX_RATE = 100, 1_000_000
"""Valid sample rates in Hz."""
MAX_DENOMINATOR = 640
"""The largest denominator of a ratio of sample rates; frequencies are exact to one part in 800,000."""
MP3_PREROLL = 2 * 1152
"""Frames of an MP3 that are decoded before a segment: the first frames after a seek lack their context."""
ONSET = 10 ** (-20 / 10)
"""Power of the first audible 10 ms, relative to the loudest."""
MOST_CHANNELS = 64
"""An array of more channels than these, and than samples, has its axes the other way round."""
MAX_AMPLITUDE = 1e4
"""Largest valid amplitude, relative to full scale; larger squares would overflow single precision."""


@dataclass(frozen=True)
class Segment:
    """A segment of one audio clip.

    Args:
        samples_CS: float32 (C, S), full scale is 1, finite.
        rate: sample rate in Hz.
        rest: seconds of the clip outside the segment.
        missing: what the file promises and does not hold, where it is damaged and read all the same; else None.
    """

    samples_CS: np.ndarray
    rate: int
    rest: float
    missing: str | None = None


def read_segment(
    raw: Any, rate: int, seconds: float | None, position: Position = 0.5, keeps_damaged: bool = False
) -> Segment:
    """Return a segment of a raw value.

    Args:
        raw: the path or the bytes of an audio file; an array, a tensor or a list, (S,) or (C, S), of floats whose full
            scale is 1 or of integers; a pair of such an array and its sample rate; a mapping with "array" and
            "sampling_rate", or with "bytes" or "path".
        rate: sample rate of arrays without one.
        seconds: largest length of the segment; None reads all.
        position: position of the segment in a longer clip, from 0 (its start) to 1 (its end), or "onset": 50 ms before
            the first 10 ms whose power is within 20 dB of that of the loudest 10 ms.
        keeps_damaged: read what is there of a file that is cut.

    Raises:
        BadSample: when the value is not audio, is empty or, unless kept, damaged, or when the segment has a sample
            that is not finite or far beyond full scale.
    """
    if isinstance(raw, Mapping):
        raw = unwrapped(raw)
    if isinstance(raw, str | os.PathLike | bytes | bytearray | memoryview):
        segment = _read_file(raw, seconds, position, keeps_damaged)
    else:
        segment = _read_array(raw, rate, seconds, position)
    samples_CS = segment.samples_CS
    invalid_CS = ~(np.abs(samples_CS) <= MAX_AMPLITUDE)
    if invalid_CS.any():
        channel, sample = np.argwhere(invalid_CS)[0]
        value = samples_CS[channel, sample]
        raise BadSample(
            f"sample {sample} of channel {channel} is {value}, not within {MAX_AMPLITUDE:g} times full scale, 1",
            "non-finite",
        )
    return segment


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


def _segment_bounds(
    frames: int, rate: int, seconds: float | None, position: Position, blocks: Callable[[], Iterable[np.ndarray]]
) -> tuple[int, int]:
    """Return the start of a segment and its number of frames; `blocks` are all samples (C, S), in order."""
    if not MIN_RATE <= rate <= MAX_RATE:
        raise BadSample(f"the sample rate of {rate} Hz is not between {MIN_RATE} and {MAX_RATE}", "unsupported")
    if not frames:
        raise BadSample("the audio has no samples", "empty")
    count = frames if seconds is None else min(frames, max(1, round(seconds * rate)))
    if position == "onset":
        return min(_onset(blocks(), rate), frames - count) if count < frames else 0, count
    return round(position * (frames - count)), count


def _onset(blocks: Iterable[np.ndarray], rate: int) -> int:
    """Return the frame 50 ms before the first 10 ms within 20 dB of the loudest."""
    step, powers = max(rate // 100, 1), [np.zeros(0)]
    for samples_CS in blocks:
        starts_N = np.arange(0, samples_CS.shape[1], step)
        powers.append(np.add.reduceat(np.square(samples_CS, dtype=np.float64).sum(0), starts_N))
    power_N = np.concatenate(powers)
    return max(int(np.argmax(power_N >= ONSET * power_N.max())) * step - rate // 20, 0)


def _read_file(raw: Any, seconds: float | None, position: Position, keeps_damaged: bool) -> Segment:
    """Return a segment of a file."""
    readable = openable(raw)
    missing = _missing(readable)
    try:
        with _sound(readable) as file:
            frames = file.frames
            if missing is None and file.format == "FLAC" and not _has_last_frame(file):
                missing = f"its header says {frames:,} frames, and its end cannot be decoded"
        if missing is not None and not keeps_damaged:
            raise BadSample(f"the file is damaged: {missing} (damaged: keep reads what is there)", "damaged")
        if missing is not None:
            frames = sum(block_CS.shape[1] for block_CS in _blocks(readable))
        with _sound(readable) as file:
            start, count = _segment_bounds(frames, file.samplerate, seconds, position, lambda: _blocks(readable))
            if missing is not None:  # a seek fails where the end is damaged
                whole_CS = np.concatenate(list(_blocks(readable, start + count)), axis=1)
                return Segment(whole_CS[:, start : start + count], file.samplerate, 0.0, missing)
            lead = min(start, MP3_PREROLL) if file.format == "MP3" else 0
            file.seek(start - lead)
            samples_SC = file.read(lead + count, dtype="float32", always_2d=True)[lead:]
            # The header of an MP3 only estimates the number of frames.
            if not len(samples_SC) or (len(samples_SC) < count and file.format != "MP3"):
                raise BadSample(f"the audio ends after {start + len(samples_SC)} of {frames} frames")
            samples_CS = np.ascontiguousarray(samples_SC.T)
            return Segment(samples_CS, file.samplerate, (frames - count) / file.samplerate)
    except (RuntimeError, TypeError, ValueError, OSError) as error:  # soundfile's own are RuntimeErrors
        reason = getattr(error, "error_string", None) or str(error)
        raise BadSample(f"not a readable audio file: {reason.rstrip('.')}") from error


def _missing(readable: str | BytesIO) -> str | None:
    """Return what a file's container promises and does not hold, or None."""
    if isinstance(readable, BytesIO):
        return what_is_missing(readable, readable.getbuffer().nbytes)
    with open(readable, "rb") as file:
        return what_is_missing(file, os.path.getsize(readable))


def _sound(readable: str | BytesIO) -> soundfile.SoundFile:
    if isinstance(readable, BytesIO):
        readable.seek(0)
    return soundfile.SoundFile(readable)


def _has_last_frame(file: soundfile.SoundFile) -> bool:
    """Whether the last frame that the header promises can be decoded; the position is then at the end."""
    try:
        file.seek(max(file.frames - 1, 0))
        return len(file.read(1)) == min(file.frames, 1)
    except RuntimeError:
        return False


def _blocks(readable: str | BytesIO, frames: int | None = None) -> Iterator[np.ndarray]:
    """Yield the samples of a file, float32 (C, S), until its end, a frame that cannot be decoded, or some frames."""
    with _sound(readable) as file:
        size, done = max(file.samplerate // 100, 1) * 40, 0  # of whole frames of 10 ms
        while frames is None or done < frames:
            try:
                block_SC = file.read(size, dtype="float32", always_2d=True)
            except RuntimeError:
                return
            if not len(block_SC):
                return
            done += len(block_SC)
            yield block_SC.T


def openable(raw: Any) -> str | BytesIO:
    """Return what soundfile can open: the path of a non-empty file, or a file in memory."""
    readable: str | BytesIO
    if isinstance(raw, bytes | bytearray | memoryview):
        size, readable = memoryview(raw).nbytes, BytesIO(raw)
    else:
        readable = path = os.fspath(raw)
        if not os.path.isfile(path):
            raise BadSample(f"{path!r} is not a file", "missing")
        size = os.path.getsize(path)
    if not size:
        raise BadSample("not an audio file: it is empty", "empty")
    with BytesIO(raw) if isinstance(readable, BytesIO) else open(readable, "rb") as file:
        at = unknown_length_at(file, size)
        if at is None:
            return readable
        file.seek(0)
        whole = bytearray(file.read())
    whole[at : at + 4] = b"\xff" * 4  # which libsndfile takes for a length that is not known
    return BytesIO(whole)


def _read_array(raw: Any, rate: int, seconds: float | None, position: Position) -> Segment:
    """Return a segment of an array (C, S)."""
    if isinstance(raw, tuple) and len(raw) == 2 and np.ndim(raw[1]) == 0 and np.ndim(raw[0]) > 0:
        raw, rate = raw
    if isinstance(raw, Tensor):
        raw = raw.detach().cpu().numpy()
    try:
        array, rate = np.asarray(raw), int(rate)
    except (TypeError, ValueError) as error:
        raise BadSample(
            f"audio is a file, an array or an array with its sample rate, not {repr(raw)[:40]}", "unsupported"
        ) from error
    if array.dtype.kind not in "iuf" or array.ndim not in (1, 2):
        raise BadSample(f"audio is numbers of shape (S,) or (C, S), not {array.dtype} {array.shape}", "unsupported")
    array = np.atleast_2d(array)
    if array.shape[0] > max(array.shape[1], MOST_CHANNELS):
        raise BadSample(
            f"audio of {array.shape[0]} channels of {array.shape[1]} samples has its axes the other way round: "
            "arrays are (channels, samples), so transpose it",
            "unsupported",
        )
    if not len(array):
        raise BadSample("the audio has no channels", "empty")
    start, count = _segment_bounds(array.shape[1], rate, seconds, position, lambda: [_full_scale(array)])
    samples_CS = _full_scale(array[:, start : start + count])
    return Segment(samples_CS, rate, (array.shape[1] - count) / rate)


def _full_scale(array: np.ndarray) -> np.ndarray:
    """Return samples as float32 whose full scale is 1."""
    if array.dtype.kind in "iu":  # unsigned samples have zero at the middle of their range
        half = 2.0 ** (8 * array.dtype.itemsize - 1)
        array = (array - (half if array.dtype.kind == "u" else 0.0)) / half
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def unwrapped(raw: Mapping[str, Any]) -> Any:
    """Return the array or the file of a mapping as Hugging Face datasets write it."""
    if raw.get("array") is not None and raw.get("sampling_rate") is not None:
        return raw["array"], raw["sampling_rate"]
    found = raw.get("bytes") or raw.get("path")
    if not found:
        raise BadSample('an audio mapping has "array" and "sampling_rate", or "bytes", or "path"', "unsupported")
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
