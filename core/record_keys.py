"""What objectives recognize records by: hashes of ids, groups and labels, packed into one tensor.

Letters: B records, K keys of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b

import torch
from torch import Tensor

from sensorium.errors import RecipeError


class RecordKeys:
    """Keys of records by name, int64 (B,) each: read like a mapping, moved and cut as the one tensor that they are.

    Args:
        names: of the K keys: "record", "group" or "label:NAME".
        packed: int64 (B, K).
    """

    def __init__(self, names: Sequence[str], packed: Tensor) -> None:
        self.names, self.packed = tuple(names), packed

    def __repr__(self) -> str:
        return f"RecordKeys({', '.join(self.names)}; {len(self.packed)} records)"

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.names:
            raise KeyError(name)
        return self.packed[:, self.names.index(name)]

    def get(self, name: str, default: Tensor | None = None) -> Tensor | None:
        """Return the keys of a name, or the default where there are none."""
        return self[name] if name in self.names else default

    def keys(self) -> tuple[str, ...]:
        """Return the names."""
        return self.names

    def values(self) -> list[Tensor]:
        """Return the keys of each name."""
        return [self[name] for name in self.names]

    def items(self) -> list[tuple[str, Tensor]]:
        """Return each name with its keys."""
        return [(name, self[name]) for name in self.names]

    def changed(self, change: Callable[[Tensor], Tensor]) -> RecordKeys:
        """Return the keys with their tensor (B, K) moved, or its rows picked."""
        return RecordKeys(self.names, change(self.packed)) if self.names else self


NO_KEYS = RecordKeys((), torch.zeros(0, 0, dtype=torch.int64))
"""Keys of records that are recognized by nothing."""

Keys = RecordKeys | Mapping[str, Tensor]
"""Keys of records by name, int64 (B,): those that a training packs, or those that a loop of one's own gives."""


def changed(keys: Keys, change: Callable[[Tensor], Tensor]) -> Keys:
    """Return keys whose tensors, with the B records along the first axis, are moved, or their rows picked."""
    if isinstance(keys, RecordKeys):
        return keys.changed(change)
    return {name: change(ids_B) for name, ids_B in keys.items()}


def key_of(keys: Keys, name: str) -> Tensor:
    """Return what records are recognized by, int64 (B,), by the name of the key.

    Args:
        keys: of the rows of a view, or of pairs (see `record_keys`).
        name: "record", "group" or "label:NAME".

    Raises:
        RecipeError: when the rows have no such key.
    """
    if name not in keys:
        raise RecipeError(
            f"The objective asks for the key '{name}' of each record, and its views have "
            f"{'the keys ' + ', '.join(keys) if keys else 'no keys'}: a training gives those that "
            "`Objective.record_keys` names, a loop of your own says "
            f"transform.views(batch, keys={{'{name}': ids}}), ids int64 with one for each row."
        )
    return keys[name]


def record_key(id: str) -> int:
    """Return the key of a record (see `record_keys`)."""
    return hashed("record", id)


def hashed(*parts: object) -> int:
    """Return a hash of 63 bits, never negative, the same in every process."""
    text = "\0".join(map(str, parts)).encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big") >> 1
