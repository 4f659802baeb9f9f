"""How many records of each part have each label."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensorium.contracts import Source


@dataclass(frozen=True)
class LabelCounts:
    """One label over the parts of the split.

    Args:
        classes: value -> part -> how many records have it, in sorted order.
        missing: part -> how many records lack it.
    """

    classes: dict[Any, dict[str, int]]
    missing: dict[str, int]


def count_labels(source: Source, parts: Mapping[str, np.ndarray]) -> dict[str, LabelCounts]:
    """Return label name -> its counts; the keys of all records are read."""
    counted: dict[str, dict[str, Counter[Any]]] = {}
    for part, positions in parts.items():
        for position in positions.tolist():
            for name, value in source.key(position).labels.items():
                if not _is_absent(value):
                    counted.setdefault(name, {}).setdefault(part, Counter())[_plain(value)] += 1
    return {
        name: _counts(of_parts, {part: len(rows) for part, rows in parts.items()}) for name, of_parts in counted.items()
    }


def _counts(of_parts: Mapping[str, Counter[Any]], sizes: Mapping[str, int]) -> LabelCounts:
    values = {value for counter in of_parts.values() for value in counter}
    order = sorted(
        values, key=lambda value: (isinstance(value, str), value if not isinstance(value, str) else 0, str(value))
    )
    part_counts = {part: of_parts.get(part, Counter()) for part in sizes}
    return LabelCounts(
        {value: {part: counter[value] for part, counter in part_counts.items()} for value in order},
        {part: size - part_counts[part].total() for part, size in sizes.items()},
    )


def _is_absent(value: Any) -> bool:
    return value is None or (isinstance(value, float | np.floating) and math.isnan(value))


def _plain(value: Any) -> Any:
    """Return a number or a word as it is, anything else as text, so that it can be counted and sorted."""
    value = value.item() if isinstance(value, np.generic) else value
    return value if isinstance(value, int | float | str) else str(value)
