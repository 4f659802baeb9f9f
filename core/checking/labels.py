"""How many records of each part have each label."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensorium.contracts import RecordColumns
from sensorium.contracts.record_columns import numbered


@dataclass(frozen=True)
class LabelCounts:
    """One label over the parts of the split.

    Args:
        classes: value -> part -> how many records have it, in sorted order.
        missing: part -> how many records lack it.
    """

    classes: dict[Any, dict[str, int]]
    missing: dict[str, int]


def count_labels(columns: RecordColumns, parts: Mapping[str, np.ndarray]) -> dict[str, LabelCounts]:
    """Return label name -> its counts, of the labels that any record has."""
    counted: dict[str, dict[str, Counter[Any]]] = {}
    for name, column in columns.labels.items():
        values, number_N = numbered(column)
        plain = [None if _is_absent(value) else _plain(value) for value in values.to_pylist()]
        for part, positions in parts.items():
            count_K = np.bincount(number_N[positions] + 1, minlength=len(values) + 1)[1:].tolist()
            counts = Counter({v: n for v, n in zip(plain, count_K, strict=True) if v is not None and n})
            if counts:
                counted.setdefault(name, {})[part] = counts
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
    return value is None or (isinstance(value, float) and math.isnan(value))


def _plain(value: Any) -> Any:
    """Return a number or a word as it is, anything else as text, so that it can be counted and sorted."""
    return value if isinstance(value, int | float | str) else str(value)
