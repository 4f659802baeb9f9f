"""Decoding of raw values: arrays, lists and numpy files to numbers (C, T), nan where a value is missing."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from sensorium import BadSample
from sensorium.modalities.timeseries.series import Series
from sensorium.modalities.timeseries.tables import is_table, read_table

Layout = Literal["channels-first", "time-first"]
NPY, ZIP = b"\x93NUMPY", b"PK"
"""The first bytes of numpy files."""


NAMED = {"values", "channels"}
"""The parts of a value with channel names."""
LARGE = 2**40
"""Integers from here on are read relative to the first one of their channel: beyond 2^53 they have no exact double."""


def decode(raw: Any, layout: Layout) -> np.ndarray:
    """Decode a raw value to a series (C, T), without the names of its channels (see `decode_named`)."""
    return decode_named(raw, layout)[0]


def decode_named(raw: Any, layout: Layout) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Decode a raw value to a series (C, T): float64 with nan where a value is missing, or integers as they are.

    Returns the series, and the names of its channels; None where the value has none.

    Integers beyond 2^53 beside missing values are Python's, in an array of objects; `relative` makes floats of both.

    Args:
        raw: an array, a tensor or a list, (T,), (C, T) or by `layout` (T, C); the bytes of, or the path to, a `.npy`
            file or an `.npz` file with one array; the path to a `.csv` or `.tsv` table with a row for each step. nan,
            None and masked entries are missing values. With channel names: a table with names in its first row; a
            mapping of "values", one of these, and "channels", its names; or an `.npz` file with these two arrays.
        layout: which axis of a two-dimensional array comes first.

    Raises:
        BadSample: when the value is no series, has no steps, holds an infinite value, or only missing ones, or when its
            channel names are not one for each channel.
    """
    if is_table(raw):
        values_CT, names = read_table(raw)
        raw, layout = values_CT if names is None else {"values": values_CT, "channels": names}, "channels-first"
    if isinstance(raw, str | os.PathLike):
        raw = _bytes_of(raw)
    if isinstance(raw, bytes | bytearray | memoryview):
        raw = _load(bytes(raw))
    names = raw.axes.channels if isinstance(raw, Series) else None
    if isinstance(raw, Mapping):
        if raw.keys() != NAMED:
            raise BadSample(f"a mapping has 'values' and 'channels', not {_glimpse(raw)}", "unsupported")
        raw, names = raw["values"], raw["channels"]
    array = _numbers(raw)
    if array.ndim not in (1, 2):
        raise BadSample(f"a series has one axis (time) or two (channels and time), not {array.ndim}", "unsupported")
    if array.ndim == 1:
        array = array[None]
    elif layout == "time-first":
        array = array.T
    if not array.shape[1]:
        raise BadSample("the series has no steps", "empty")
    if not array.shape[0]:
        raise BadSample("the series has no channels", "empty")
    values = array.astype(np.float64, copy=False)
    if np.isinf(values).any():
        channel, step = np.argwhere(np.isinf(values))[0]
        raise BadSample(f"the value at step {step} of channel {channel} is infinite", "non-finite")
    if np.isnan(values).all():
        raise BadSample("every value of the series is missing", "empty")
    return array, checked_names(names, len(array))


def checked_names(names: Sequence[Any] | None, count: int) -> tuple[str, ...] | None:
    """Return the names of a record's channels as strings; None without names.

    Raises:
        BadSample: when they are not one for each of `count` channels, or two are the same.
    """
    if names is None:
        return None
    try:
        channels = tuple(map(str, names))
    except TypeError as error:
        raise BadSample(f"channel names are a list of names, not {_glimpse(names)}", "unsupported") from error
    if len(channels) != count:
        raise BadSample(f"the series has {count} channels and {len(channels)} channel names", "unsupported")
    if len(set(channels)) != count:
        twice = Counter(channels).most_common(1)[0][0]
        raise BadSample(f"two channels of the series are named '{twice}'", "unsupported")
    return channels


def origins(array_CT: np.ndarray) -> list[int | None]:
    """Return what values of each channel are read relative to: its first integer if that is large, or else 0.

    None stands for a channel without a value.
    """
    found: list[int | None] = []
    for values_T in array_CT:
        values_T = values_T[values_T == values_T]
        large = len(values_T) and isinstance(first := values_T[0], int | np.integer) and abs(int(first)) >= LARGE
        found.append(None if not len(values_T) else int(first) if large else 0)
    return found


def relative(array_CT: np.ndarray, origin_C: Sequence[int | None] | None) -> np.ndarray:
    """Return the values of `decode` relative to the origin of their channel, float64 (C, T), rounded once."""
    if origin_C is None or not any(origin_C):
        return array_CT.astype(np.float64)
    origin_C1 = np.array([[origin or 0] for origin in origin_C], object)
    return (array_CT.astype(object) - origin_C1).astype(np.float64)  # of Python's integers, which have any size


def _numbers(raw: Any) -> np.ndarray:
    """Return numbers as an array: float64, or integers; of objects where integers have no exact double."""
    if isinstance(raw, Tensor):
        raw = (raw.double() if raw.is_floating_point() else raw).detach().cpu().numpy()
    try:
        missing = np.ma.getmaskarray(raw) if isinstance(raw, np.ma.MaskedArray) else None
        array = np.asarray(raw)
        if array.dtype.kind not in "biufO":
            raise TypeError
        values = array.astype(np.float64)
        if missing is not None:
            values[missing] = np.nan
        if array.dtype.kind in "bf" or not (np.abs(values) >= LARGE).any():
            return values
        if missing is None and array.dtype.kind in "iu":
            return array
        absent = np.isnan(values)
        exact = array.astype(object)
        exact[absent] = np.nan
        return exact
    except (TypeError, ValueError, OverflowError) as error:
        raise BadSample(
            f"a series is an array, a list of numbers or a numpy file, not {_glimpse(raw)}", "unsupported"
        ) from error


def _glimpse(raw: Any) -> str:
    return f"an array of {raw.dtype}" if isinstance(raw, np.ndarray) else f"the {type(raw).__name__} {repr(raw)[:40]}"


def _bytes_of(path: str | os.PathLike) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise BadSample(f"'{path}' cannot be read: {error.strerror}", "missing") from error
    except ValueError as error:  # a zero byte
        raise BadSample(f"{str(path)!r} is no path", "missing") from error


def _load(data: bytes) -> np.ndarray | dict[str, np.ndarray]:
    if not data.startswith((NPY, ZIP)):
        raise BadSample("the bytes are no .npy or .npz file", "unsupported")
    try:
        loaded = np.load(BytesIO(data), allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        if set(loaded.files) == NAMED:
            return {name: loaded[name] for name in loaded.files}
        if len(loaded.files) != 1:
            listed = ", ".join(loaded.files)
            raise BadSample(
                f"the .npz file holds {len(loaded.files)} arrays ({listed}), not one, nor 'values' and 'channels'",
                "unsupported",
            )
        return loaded[loaded.files[0]]
    except BadSample:
        raise
    except Exception as error:  # numpy, zip and zlib raise nearly anything on a damaged file
        raise BadSample(f"the numpy file cannot be read: {error}") from error
