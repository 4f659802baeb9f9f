"""The random split: by a hash of group or id, beside the parts that the source names."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sensorium.contracts import RecordColumns, Split
from sensorium.contracts.record_columns import numbered
from sensorium.data.splits.parts import PARTS, TEST, TRAIN, VAL, Groups, text
from sensorium.errors import DataError
from sensorium.seeding import uniforms_of


class RandomSplit(Split):
    """The parts that the source names, and a random split of the other records, with groups kept together.

    A part that no record names is drawn from the train part by a hash of the group's name, so that a record keeps its
    part when records are added or removed.
    """

    def assign(self, source, fractions, seed):
        """Return the named part of a record's group, or the one that its group draws, as numbers, int8 (N,)."""
        columns = source.columns()
        groups, named_N = Groups(columns), self.named_parts(columns)
        rows = np.flatnonzero(named_N >= 0)
        known_G = groups.refuse_torn(named_N[rows], rows, columns)
        part_G = np.where(known_G < 0, np.int8(TRAIN), known_G)
        drawn = {part: fractions.get(PARTS[part], 0.0) for part in (TEST, VAL) if not (known_G == part).any()}
        if any(drawn.values()):
            drawing = np.flatnonzero(part_G == TRAIN)
            names = groups.names if len(drawing) == len(groups) else groups.names.take(pa.array(drawing))
            part_G[drawing] = _drawn(uniforms_of(seed, "split", texts=names), drawn)
        return part_G[groups.number_N]

    def named_parts(self, columns: RecordColumns) -> np.ndarray:
        """Return the number of the part that each record names, int8 (N,), -1 where it names none.

        Raises:
            DataError: when one names no part.
        """
        if columns.splits is None:
            return np.full(len(columns), -1, np.int8)
        words = text(columns.splits)
        found = pc.index_in(words, value_set=pa.array(PARTS, pa.large_string()))
        unknown_N = pc.and_(pc.is_valid(words), pc.is_null(found)).to_numpy(zero_copy_only=False)
        if unknown_N.any():
            key = columns.key(int(unknown_N.argmax()))
            raise DataError(f"The record '{key.id}' has the split '{key.split}'; it must be train, val or test.")
        return pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int8)


class HoldOut(RandomSplit):
    """One value of a label as the test part, whatever the source says; the rest is train and, drawn from it, val.

    Args:
        by: the label column, such as the device or the speaker.
        value: its value; compared as text, so that 9 and "9" are the same.
    """

    def __init__(self, by: str, value: str | int | float | bool) -> None:
        self.by, self.value = by, str(value)

    def named_parts(self, columns: RecordColumns) -> np.ndarray:
        """Return "test" for a record that is held out, and for all others the source's val part, or "train"."""
        named_N = np.where(super().named_parts(columns) == VAL, np.int8(VAL), np.int8(TRAIN))
        if self.by in columns.labels:
            values, number_N = numbered(columns.labels[self.by])
            held_K = np.array([str(value) == self.value for value in values.to_pylist()], bool)
            named_N[np.isin(number_N, np.flatnonzero(held_K))] = TEST
        return named_N

    def assign(self, source, fractions, seed):
        """Return the parts; some record must have the value."""
        parts_N = super().assign(source, dict(fractions) | {"test": 0.0}, seed)
        if not (parts_N == TEST).any():
            raise DataError(
                f"No record has the value '{self.value}' of the label '{self.by}', which the split 'hold-out' names: "
                "correct data.split.by and data.split.value."
            )
        return parts_N


def _drawn(uniform_M: np.ndarray, fractions: Mapping[int, float]) -> np.ndarray:
    """Return the parts that numbers in [0, 1) fall into, int8 (M,)."""
    part_M = np.full(len(uniform_M), TRAIN, np.int8)
    left_M, is_open_M = uniform_M.copy(), np.ones(len(uniform_M), bool)
    for part, fraction in fractions.items():
        part_M[is_open_M & (left_M < fraction)] = part
        is_open_M &= left_M >= fraction
        left_M -= fraction
    return part_M
