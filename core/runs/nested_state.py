"""Nested states in two parts: tensors by name, which safetensors files hold, and the rest as JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from sensorium.errors import RunError

TENSOR, TUPLE, NUMBER, ITEMS = "$tensor", "$tuple", "$number", "$items"
"""What stands in JSON for a tensor (its name), a tuple, a number that is not finite, a mapping with other keys."""


def take_apart(state: Any) -> tuple[Any, dict[str, Tensor]]:
    """Return a nested state as JSON takes it, and its tensors by name, the path to them with / between.

    Raises:
        RunError: when it holds something other than tensors, numbers, strings, None, lists, tuples and mappings.
    """
    tensors: dict[str, Tensor] = {}

    def plain(value: Any, path: str) -> Any:
        if isinstance(value, Tensor):
            tensors[path] = value
            return {TENSOR: path}
        if isinstance(value, float) and not math.isfinite(value):
            return {NUMBER: repr(value)}
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, tuple):
            return {TUPLE: plain(list(value), path)}
        if isinstance(value, list):
            return [plain(each, _below(path, i)) for i, each in enumerate(value)]
        if isinstance(value, Mapping):
            if all(isinstance(key, str) and not key.startswith("$") for key in value):
                return {key: plain(each, _below(path, key)) for key, each in value.items()}
            return {ITEMS: [[plain(key, path), plain(each, _below(path, key))] for key, each in value.items()]}
        raise RunError(f"A checkpoint cannot keep {path} ({type(value).__name__}): make it a tensor or a number.")

    return plain(state, ""), tensors


def put_together(plain: Any, tensor: Callable[[str], Tensor]) -> Any:
    """Return the nested state that `take_apart` took apart.

    Args:
        plain: its JSON.
        tensor: returns a tensor by name.
    """
    if isinstance(plain, list):
        return [put_together(each, tensor) for each in plain]
    if not isinstance(plain, dict):
        return plain
    if TENSOR in plain:
        return tensor(plain[TENSOR])
    if NUMBER in plain:
        return float(plain[NUMBER])
    if TUPLE in plain:
        return tuple(put_together(plain[TUPLE], tensor))
    if ITEMS in plain:
        return {put_together(key, tensor): put_together(value, tensor) for key, value in plain[ITEMS]}
    return {key: put_together(value, tensor) for key, value in plain.items()}


def tensor_names(plain: Any) -> list[str]:
    """Return the names of the tensors of a state that was taken apart."""
    names: list[str] = []
    put_together(plain, names.append)  # type: ignore[arg-type]
    return names


def _below(path: str, key: Any) -> str:
    return f"{path}/{key}" if path else str(key)
