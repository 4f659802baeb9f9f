"""A stream of records, which has no positions, read into memory once."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from torch.utils.data import IterableDataset

from sensorium.data.memory import memory
from sensorium.errors import DataError

log = logging.getLogger("sensorium")
LOOK, TELL = 1_000, 100_000
"""Items between two looks at the free memory, and between two lines of the log."""


def is_stream(given: Any) -> bool:
    """Whether an object gives its items one after the other alone: a generator, an `IterableDataset`."""
    has_positions = hasattr(given, "__len__") and hasattr(given, "__getitem__")
    return isinstance(given, IterableDataset) or (hasattr(given, "__iter__") and not has_positions)


def read_whole(given: Iterable[Any]) -> list[Any]:
    """Return the items of a stream; a split, an order of its own for each epoch and a resume need all of them.

    Raises:
        DataError: when they take more than half of the memory that is free.
    """
    kind, items, free = type(given).__name__, [], memory().free
    for item in given:
        items.append(item)
        if len(items) % LOOK == 0 and memory().free < free / 2:
            raise DataError(
                f"source is a {kind}, whose first {len(items):,} items take half of the free memory: write the items "
                "to files, or hand in a dataset with a length and positions, which is read as it is needed."
            )
        if len(items) % TELL == 0:
            log.info("read %s items of a %s into memory so far", f"{len(items):,}", kind)
    taken = f", {(free - memory().free) / 2**20:,.0f} MiB" if len(items) >= LOOK else ""
    log.info("%s items of a %s are read into memory%s", f"{len(items):,}", kind, taken)
    return items
