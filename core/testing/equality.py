"""Equality of anything that a plugin may return: tensors, arrays, images, batches, and containers of them."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def same(one: Any, other: Any) -> bool:
    """Return whether two values are equal in type, shape and every entry; nan equals nan."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        return one.shape == other.shape and one.dtype == other.dtype and torch.equal(*map(_without_nan, (one, other)))
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and bool(np.array_equal(one, other, _has_nan(one)))
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return one == other or (one != one and other != other)
    parts = _parts(one)
    return same(parts, _parts(other)) if parts is not None else bool(one == other)


def close(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors of one shape are equal up to the rounding of single precision."""
    return torch.allclose(one.float(), other.float(), rtol=1e-3, atol=1e-4)


def _parts(value: Any) -> dict[str, Any] | None:
    """Return the parts of an object by name, or None for one with its own equality."""
    if hasattr(value, "to_dict"):  # graph data, data frames
        return dict(value.to_dict())
    if hasattr(value, "tobytes"):  # images
        return {"bytes": value.tobytes(), "size": getattr(value, "size", None)}
    if dataclasses.is_dataclass(value):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if type(value).__eq__ is object.__eq__ and hasattr(value, "__dict__"):
        return vars(value)
    return None


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Iterate over the tensors in a value."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from tensors_in(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from tensors_in(part)
    elif (parts := _parts(value)) is not None:
        yield from tensors_in(parts)


def global_random_state() -> tuple[Any, ...]:
    """Return the state of the global generators of torch, numpy and Python, as `same` compares it."""
    return torch.get_rng_state(), np.random.get_state(), random.getstate()


def _has_nan(array: np.ndarray) -> bool:
    return array.dtype.kind in "fc"


def _without_nan(tensor: Tensor) -> Tensor:
    return torch.nan_to_num(tensor, nan=12345.678) if tensor.is_floating_point() else tensor
