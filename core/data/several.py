"""Several values of one field of a record: the captions of an image, the photographs of a product."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from sensorium.types import Several

FILE = {"bytes", "path"}
"""Keys of a struct that is a file, as Hugging Face datasets write images and audio."""


def raw_of(cell: Any) -> Any:
    """Return the value that a cell stands for.

    A struct of bytes and path is its bytes or else its path; empty text, bytes and lists of them are None; a list of
    texts, bytes or such structs is `Several` values. Any other cell, such as a list of numbers, is one value.
    """
    if isinstance(cell, dict) and cell.keys() >= FILE:
        cell = cell["bytes"] or cell["path"]
    if isinstance(cell, str | bytes):
        return cell or None
    if isinstance(cell, np.ndarray) and cell.dtype.kind in "OUS" and cell.ndim == 1:
        cell = cell.tolist()
    if isinstance(cell, list | tuple) and all(_is_one(inner) for inner in cell):
        return several(map(raw_of, cell))
    return cell


def _is_one(cell: Any) -> bool:
    return cell is None or isinstance(cell, str | bytes) or (isinstance(cell, dict) and cell.keys() >= FILE)


def several(values: Iterable[Any]) -> Any:
    """Return values of one field as one: None for none, `Several` for two or more; missing ones and repeats go."""
    kept: list[Any] = []
    for value in values:
        if value is not None and not any(_is_same(value, other) for other in kept):
            kept.append(value)
    return Several(kept) if len(kept) > 1 else kept[0] if kept else None


def _is_same(first: Any, second: Any) -> bool:
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return np.array_equal(first, second, equal_nan=True)
    return type(first) is type(second) and bool(first == second)
