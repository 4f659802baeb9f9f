"""Feature tables: what evaluators receive of one part of the records."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from sensorium.types import Span


class ValueFeatures(NamedTuple):
    """Features of M values of one modality, of which records may have several.

    Args:
        rows: int64 (M,), the row of each value's record.
        x: float32 (M, D).
    """

    rows: np.ndarray
    x: np.ndarray

    def join(self, other: ValueFeatures) -> ValueFeatures:
        """Return the values of both, of the same records."""
        return ValueFeatures(np.concatenate([self.rows, other.rows]), np.concatenate([self.x, other.x]))

    def select(self, rows: np.ndarray, count: int) -> ValueFeatures:
        """Return the values of the records at `rows`, of `count` records, by their position there."""
        new_N = np.full(count, -1, np.int64)
        new_N[rows] = np.arange(len(rows))
        kept = new_N[self.rows] >= 0
        return ValueFeatures(new_N[self.rows][kept], self.x[kept])


@dataclass
class FeatureTable:
    """Frozen features of one part of the records, as evaluators receive them.

    Args:
        ids: N record ids, each once.
        features: modality name -> float32 array (N, D); rows of absent values are nan.
        present: modality name -> bool array (N,).
        labels: label name -> object array (N,) of numbers or strings, None or nan where a record has none.
        groups: N group names; records of one group are each other's positives and never straddle two parts.
        positions: int64 (N,), where the source has the records; None for records of no source.
        times: the time stamps of each record's first and last step (`Record.time`), or None; an empty list when no
            record is a part of a recording.
        further: modality name -> the values beyond the first of records that have several, such as captions.
        contents: modality name -> for each record a key of each of its raw values, equal for equal values; None unless
            an evaluator needs them.
    """

    ids: list[str]
    features: dict[str, np.ndarray]
    present: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    groups: list[str]
    positions: np.ndarray | None = None
    times: list[Span | None] = field(default_factory=list)
    further: dict[str, ValueFeatures] = field(default_factory=dict)
    contents: dict[str, list[tuple[Hashable, ...]]] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def values(self, modality: str) -> ValueFeatures:
        """Return all values of a modality: the first of each record that has one, then the further ones."""
        rows = np.flatnonzero(self.present[modality])
        first = ValueFeatures(rows, self.features[modality][rows])
        return first.join(self.further[modality]) if modality in self.further else first

    def select(self, rows: np.ndarray) -> FeatureTable:
        """Return the records at `rows`: int64 positions (M,), in that order."""
        return FeatureTable(
            [self.ids[row] for row in rows],
            {name: x_ND[rows] for name, x_ND in self.features.items()},
            {name: mask_N[rows] for name, mask_N in self.present.items()},
            {name: y_N[rows] for name, y_N in self.labels.items()},
            [self.groups[row] for row in rows],
            None if self.positions is None else self.positions[rows],
            [self.times[row] for row in rows] if self.times else [],
            {name: further.select(rows, len(self)) for name, further in self.further.items()},
            None if self.contents is None else {n: [keys[row] for row in rows] for n, keys in self.contents.items()},
        )

    def join(self, other: FeatureTable) -> FeatureTable:
        """Return the records of both, this table's first; what one of them lacks is missing in its records."""

        def both(column: str, absent: object, dtype: type) -> dict[str, np.ndarray]:
            def rows(table: FeatureTable, name: str, width: tuple[int, ...]) -> np.ndarray:
                x = getattr(table, column).get(name)
                return np.full((len(table), *width), absent, dtype) if x is None or not x.size else x

            shapes = {n: x.shape[1:] for t in (self, other) for n, x in getattr(t, column).items() if x.size}
            return {n: np.concatenate([rows(t, n, shape) for t in (self, other)]) for n, shape in shapes.items()}

        positions = None
        if self.positions is not None and other.positions is not None:
            positions = np.concatenate([self.positions, other.positions])
        return FeatureTable(
            self.ids + other.ids,
            both("features", np.nan, np.float32),
            both("present", False, bool),
            both("labels", None, object),
            self.groups + other.groups,
            positions,
            self.times + other.times if self.times and other.times else [],
            self._join_further(other),
            None
            if self.contents is None or other.contents is None
            else {name: keys + other.contents[name] for name, keys in self.contents.items()},
        )

    def _join_further(self, other: FeatureTable) -> dict[str, ValueFeatures]:
        moved = {name: ValueFeatures(len(self) + values.rows, values.x) for name, values in other.further.items()}
        both = {name: self.further[name].join(values) for name, values in moved.items() if name in self.further}
        return self.further | moved | both


Parts = tuple[FeatureTable, FeatureTable]
"""The train and the test part that an evaluator is fitted and measured on."""
