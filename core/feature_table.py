"""Feature tables: what evaluators receive of one part of the records."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from sensorium.types import Span


class Layer(NamedTuple):
    """One layer of an encoder as it is probed.

    Args:
        number: of the block whose output it is, counted from 1.
        is_normed: whether the encoder's final norm was applied to it.
        pooling: "mean" of the valid tokens, or the "class token".
    """

    number: int
    is_normed: bool = False
    pooling: str = "mean"

    def __str__(self) -> str:
        return f"{self.number}" + f", {self.read}" * bool(self.read)

    @property
    def read(self) -> str:
        """What of the block's output it is, as tables say it; empty for the mean of its tokens as they are."""
        return ", ".join([self.pooling] * (self.pooling != "mean") + ["final norm"] * self.is_normed)


class ValueFeatures(NamedTuple):
    """Features of M values of one modality, of which records may have several.

    Args:
        rows: int64 (M,), the row of each value's record.
        x: float32 (M, D), or as `FeatureTable.features` in the spaces "layers" and "tokens".
    """

    rows: np.ndarray
    x: np.ndarray

    def join(self, other: ValueFeatures) -> ValueFeatures:
        """Return the values of both, of the same records."""
        return ValueFeatures(np.concatenate([self.rows, other.rows]), joined([self.x, other.x]))

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
        features: modality name -> float32 array (N, D); rows of absent values are nan. In the space "layers" (N, L, D),
            nan behind the width of a narrower layer; in "tokens" float16 (N, T, D), or float32 where they need its
            range, nan at padding.
        present: modality name -> bool array (N,).
        labels: label name -> object array (N,) of numbers or strings, None or nan where a record has none.
        groups: N group names; records of one group are each other's positives and never straddle two parts.
        positions: int64 (N,), where the source has the records; None for records of no source.
        times: the time stamps of each record's first and last step (`Record.time`), or None; an empty list when no
            record is a part of a recording.
        further: modality name -> the values beyond the first of records that have several, such as captions.
        contents: modality name -> for each record a key of each of its raw values, equal for equal values; None unless
            an evaluator needs them.
        layers: modality name -> what the L layers of its features are, in the space "layers".
        sampled_of: number of records of the part that these were sampled of; None when they are all.
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
    layers: dict[str, tuple[Layer, ...]] = field(default_factory=dict)
    sampled_of: int | None = None

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
            self.layers,
            self.sampled_of,
        )

    def join(self, other: FeatureTable) -> FeatureTable:
        """Return the records of both, this table's first; what one of them lacks is missing in its records."""

        def both(column: str, absent: object, dtype: type) -> dict[str, np.ndarray]:
            def rows(table: FeatureTable, name: str, like: np.ndarray) -> np.ndarray:
                x = getattr(table, column).get(name)
                kind = like.dtype if like.ndim > 1 else dtype
                return np.full((len(table), *like.shape[1:]), absent, kind) if x is None or not x.size else x

            found = {n: x for t in (self, other) for n, x in getattr(t, column).items() if x.size}
            return {n: joined([rows(t, n, like) for t in (self, other)]) for n, like in found.items()}

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
            self.layers | other.layers,
            _sum_of_known(self.sampled_of, other.sampled_of, len(self), len(other)),
        )

    def _join_further(self, other: FeatureTable) -> dict[str, ValueFeatures]:
        moved = {name: ValueFeatures(len(self) + values.rows, values.x) for name, values in other.further.items()}
        both = {name: self.further[name].join(values) for name, values in moved.items() if name in self.further}
        return self.further | moved | both


def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return arrays one behind the other; of different numbers of tokens (N, T, D), with nan behind the fewer."""
    if parts[0].ndim < 3 or len({x_NTD.shape[1] for x_NTD in parts}) == 1:
        return np.concatenate(parts)
    shape = sum(map(len, parts)), max(x_NTD.shape[1] for x_NTD in parts), parts[0].shape[2]
    whole_NTD, start = np.full(shape, np.nan, np.result_type(*parts)), 0
    for x_NTD in parts:
        whole_NTD[start : start + len(x_NTD), : x_NTD.shape[1]] = x_NTD
        start += len(x_NTD)
    return whole_NTD


def _sum_of_known(one: int | None, other: int | None, one_count: int, other_count: int) -> int | None:
    """Return of how many records both parts were sampled together; None when neither was."""
    if one is None and other is None:
        return None
    return (one_count if one is None else one) + (other_count if other is None else other)


Parts = tuple[FeatureTable, FeatureTable]
"""The train and the test part that an evaluator is fitted and measured on."""
