"""Values that are neither text nor a file, as bytes that are read without running code: arrays, and what holds them.

They are a safetensors file, whose metadata say how the arrays hang together. Whatever source the bytes come from, the
value is back before its modality decodes it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.numpy
from torch import Tensor

from sensorium.errors import BadSample

MARK = b'{"__metadata__":{"sensorium":'
"""How the header of such bytes begins, behind its length of 8 bytes."""
ARRAY, TUPLE = "$array", "$tuple"
"""Keys that stand for an array by its number, and for a tuple."""


class Unstorable(Exception):
    """A value that only code could make again."""


def packed(value: Any) -> bytes:
    """Return an array, tensor, number, image, or mapping, list or dataclass of such as bytes that `unpacked` reads.

    A tensor comes back as an array, a dataclass (and what has `to_dict`) as a mapping, an image as its array.

    Raises:
        Unstorable: for anything else.
    """
    arrays: dict[str, np.ndarray] = {}
    structure = json.dumps(_taken_apart(value, arrays))
    return safetensors.numpy.save(arrays, metadata={"sensorium": structure})


def is_packed(raw: Any) -> bool:
    """Return whether a raw value is what `packed` made."""
    return isinstance(raw, bytes) and raw[8 : 8 + len(MARK)] == MARK


def unpacked(raw: bytes) -> Any:
    """Return the value that `packed` was given.

    Raises:
        BadSample: when the bytes are damaged.
    """
    try:
        length = int.from_bytes(raw[:8], "little")
        structure = json.loads(raw[8 : 8 + length])["__metadata__"]["sensorium"]
        return _put_together(json.loads(structure), safetensors.numpy.load(raw))
    except (ValueError, KeyError, safetensors.SafetensorError) as error:
        raise BadSample(f"the packed value is damaged: {str(error).splitlines()[0]}") from error


def _taken_apart(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Return a value as plain JSON, its arrays put among `arrays`."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.generic):
        value = np.asarray(value)
    if hasattr(value, "to_dict"):
        value = value.to_dict()
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _taken_apart(inner, arrays) for name, inner in value.items()}
    if isinstance(value, tuple):
        return {TUPLE: [_taken_apart(inner, arrays) for inner in value]}
    if isinstance(value, list):
        return [_taken_apart(inner, arrays) for inner in value]
    if type(value).__module__.startswith("PIL."):
        value = np.asarray(value)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
        kind = f"{type(value).__name__} of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
        raise Unstorable(f"a value of type {kind} cannot be stored without code that makes it again")
    number = str(len(arrays))
    arrays[number] = np.ascontiguousarray(value).reshape(value.shape)
    return {ARRAY: number}


def _put_together(structure: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(structure, list):
        return [_put_together(inner, arrays) for inner in structure]
    if not isinstance(structure, dict):
        return structure
    if structure.keys() == {ARRAY}:
        return arrays[structure[ARRAY]]
    if structure.keys() == {TUPLE}:
        return tuple(_put_together(inner, arrays) for inner in structure[TUPLE])
    return {name: _put_together(inner, arrays) for name, inner in structure.items()}
