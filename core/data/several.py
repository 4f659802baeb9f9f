"""Several values of one field of a record: the captions of an image, the photographs of a product."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from sensorium.seeding import mix_bits, seed_of
from sensorium.types import Several, Unreadable

FILE = frozenset({"bytes", "path"})
"""Keys of a struct that is a file, as Hugging Face datasets write images and audio."""


def values_of(raw: Any) -> list[Any]:
    """Return the values that stand in a field: none for None, one, or several.

    `Several`, and any list or tuple of texts, bytes or structs of bytes and path, are several values, empty ones left
    out; any other list, such as one of numbers, is one value.
    """
    if raw is None:
        return []
    if isinstance(raw, Several):
        return list(raw)
    if isinstance(raw, np.ndarray) and raw.dtype.kind in "OUS" and raw.ndim == 1:
        raw = raw.tolist()
    if isinstance(raw, list | tuple) and all(isinstance(one, str | bytes | None) or _is_file(one) for one in raw):
        return distinct(one for one in raw if one not in (None, "", b""))
    return [raw]


def drawn(counts_B: np.ndarray, keys_B: np.ndarray, *names: object) -> np.ndarray:
    """Return which of its values is drawn for each of B records: int64 (B,), from 0 to below its count.

    A function of the record's key and of names, such as seed and epoch.

    Args:
        counts_B: how many values each record has, >= 1.
        keys_B: the keys of the records, int64 (see `record_keys`).
        names: what else the draw depends on.
    """
    bits_B = mix_bits(keys_B.astype(np.uint64) + np.uint64(seed_of(*names)))
    uniform_B = (bits_B >> np.uint64(11)) * 2.0**-53
    return (uniform_B * counts_B).astype(np.int64)


def _is_file(raw: Any) -> bool:
    return isinstance(raw, dict) and raw.keys() >= FILE


def distinct(values: Iterable[Any]) -> list[Any]:
    """Return values without repeats, in their order."""
    kept: list[Any] = []
    for value in values:
        if not any(_is_same(value, other) for other in kept):
            kept.append(value)
    return kept


def _is_same(first: Any, second: Any) -> bool:
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return np.array_equal(first, second, equal_nan=True)
    return type(first) is type(second) and not isinstance(first, Unreadable) and bool(first == second)


def one_or_several(values: list[Any]) -> Any:
    """Return values as they stand in a field: None for none, one as it is."""
    return Several(values) if len(values) > 1 else values[0] if values else None
