"""Digests of the content of values, by which duplicates are found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from torch import Tensor


def digest(content: Any) -> int:
    """Return a number of 64 bits that is equal for equal content, in every process.

    Args:
        content: a tensor, an array, a text, bytes or a number; a mapping, sequence or dataclass of such, or another
            object, whose attributes count.
    """
    found = blake2b(digest_size=8)
    _update(found, content)
    return int.from_bytes(found.digest(), "big")


def _update(found: blake2b, content: Any) -> None:
    """Add content to a hash, with its type and size before it, so that no two sequences of parts run together."""
    if isinstance(content, Tensor):
        content = content.detach().cpu().numpy()
    if isinstance(content, np.ndarray) and content.dtype != object:
        found.update(f"{content.dtype.str} {content.shape} ".encode())
        found.update(np.ascontiguousarray(content).data)
    elif isinstance(content, bytes | bytearray | memoryview):
        found.update(f"bytes {len(content)} ".encode())
        found.update(content)
    elif isinstance(content, str):
        _update(found, content.encode("utf-8", "surrogatepass"))
    elif content is None or isinstance(content, bool | int | float | complex | np.generic):
        found.update(f"{content!r} ".encode())
    elif isinstance(content, Mapping):
        found.update(f"mapping {len(content)} ".encode())
        for name in sorted(content, key=str):
            _update(found, str(name))
            _update(found, content[name])
    elif isinstance(content, list | tuple | np.ndarray):
        found.update(f"sequence {len(content)} ".encode())
        for part in content:
            _update(found, part)
    elif is_dataclass(content):
        _update(found, {field.name: getattr(content, field.name) for field in fields(content)})
    elif hasattr(content, "__dict__"):
        _update(found, vars(content))
    else:
        _update(found, repr(content))
