"""Decoding of raw values: arrays, lists and numpy files to float64 (C, T), nan where a value is missing."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from sensorium import BadSample

Layout = Literal["channels-first", "time-first"]
NPY, ZIP = b"\x93NUMPY", b"PK"
"""The first bytes of numpy files."""


def decode(raw: Any, layout: Layout) -> np.ndarray:
    """Decode a raw value to a series.

    Args:
        raw: an array, a tensor or a list, (T,), (C, T) or by `layout` (T, C); the bytes of, or the path to, a `.npy`
            file or an `.npz` file with one array. nan, None and masked entries are missing values.
        layout: which axis of a two-dimensional array comes first.

    Raises:
        BadSample: when the value is no series, has no steps, holds an infinite value, or only missing ones.
    """
    if isinstance(raw, str | os.PathLike):
        raw = _bytes_of(raw)
    if isinstance(raw, bytes | bytearray | memoryview):
        raw = _load(bytes(raw))
    array = _numbers(raw)
    if array.ndim not in (1, 2):
        raise BadSample(f"a series has one axis (time) or two (channels and time), not {array.ndim}")
    if array.ndim == 1:
        array = array[None]
    elif layout == "time-first":
        array = array.T
    if not array.shape[1]:
        raise BadSample("the series has no steps")
    if not array.shape[0]:
        raise BadSample("the series has no channels")
    if np.isinf(array).any():
        channel, step = np.argwhere(np.isinf(array))[0]
        raise BadSample(f"the value at step {step} of channel {channel} is infinite")
    if np.isnan(array).all():
        raise BadSample("every value of the series is missing")
    return array


def _numbers(raw: Any) -> np.ndarray:
    if isinstance(raw, Tensor):
        raw = raw.detach().cpu().double().numpy()
    if isinstance(raw, np.ma.MaskedArray):
        raw = np.ma.filled(raw.astype(np.float64), np.nan)
    try:
        array = np.asarray(raw)
        if array.dtype.kind not in "biufO":
            raise TypeError
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise BadSample(f"a series is an array, a list of numbers or a numpy file, not {_glimpse(raw)}") from error


def _glimpse(raw: Any) -> str:
    return f"an array of {raw.dtype}" if isinstance(raw, np.ndarray) else f"the {type(raw).__name__} {repr(raw)[:40]}"


def _bytes_of(path: str | os.PathLike) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise BadSample(f"'{path}' cannot be read: {error.strerror}") from error
    except ValueError as error:  # a zero byte
        raise BadSample(f"{str(path)!r} is no path") from error


def _load(data: bytes) -> np.ndarray:
    if not data.startswith((NPY, ZIP)):
        raise BadSample("the bytes are no .npy or .npz file")
    try:
        loaded = np.load(BytesIO(data), allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        if len(loaded.files) != 1:
            raise BadSample(f"the .npz file holds {len(loaded.files)} arrays ({', '.join(loaded.files)}), not one")
        return loaded[loaded.files[0]]
    except BadSample:
        raise
    except Exception as error:  # numpy, zip and zlib raise nearly anything on a damaged file
        raise BadSample(f"the numpy file cannot be read: {error}") from error
