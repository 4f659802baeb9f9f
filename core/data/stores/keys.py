"""Ids, labels, splits and groups of a store's rows out of its columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sensorium.contracts import RecordColumns
from sensorium.contracts.record_columns import Column
from sensorium.data.cells import canonical, is_bytes, is_text, without_faults
from sensorium.data.classes import class_name
from sensorium.data.splits import part_name
from sensorium.errors import DataError


@dataclass(frozen=True)
class KeyUses:
    """What the columns of a store say of its records, besides their values.

    Args:
        labels: label name -> column.
        id: the column of unique names; None where the number of a row is its name.
        split: the column that says train, val or test.
        group: the column whose equal cells keep records in one split.
        classes: label name -> its class names, by index.
        time: the columns of first and last time stamps; None where there are none.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    id: str | None = None
    split: str | None = None
    group: str | None = None
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    time: tuple[str, str] | None = None

    @classmethod
    def of_options(
        cls,
        labels: Sequence[str] | Mapping[str, str] | None,
        id: str | None,
        split: str | None,
        group: str | None,
        classes: Mapping[str, Sequence[str]] | None,
    ) -> KeyUses:
        """Return them as the options of a recipe have them: labels may be a list of columns."""
        named = dict(labels) if isinstance(labels, Mapping) else {name: name for name in labels or ()}
        return cls(named, id, split, group, classes or {})

    def with_class_names(self, of_column: Mapping[str, Sequence[str]]) -> KeyUses:
        """Return them with the class names that a store itself has for its columns, where none are given."""
        known = {name: of_column[column] for name, column in self.labels.items() if column in of_column}
        return replace(self, classes={**known, **self.classes})

    @property
    def columns(self) -> list[str]:
        """The columns, each once."""
        named = [*self.labels.values(), self.id, self.split, self.group, *(self.time or ())]
        return list(dict.fromkeys(name for name in named if name is not None))


def record_columns(
    keys: pa.Table, uses: KeyUses, parts: Column | None, count: int, title: str
) -> tuple[RecordColumns, list[str]]:
    """Return what the columns of a store say of N records, and sentences about labels that are left out.

    Args:
        keys: the columns of `uses`, N rows.
        uses: which is what.
        parts: the split of each row as its file has it (N,); None where files say none.
        count: N.
        title: the store, for errors.

    Raises:
        DataError: when a column cannot be what it is used for: an id is missing, a split has another name.
    """
    ids = _default_ids(count, parts)
    if uses.id is not None:
        ids = _texts(keys, uses.id, "id", title)
        if ids.null_count:
            row = pc.index(pc.is_null(ids), True).as_py()
            raise DataError(f"Row {row + 1:,} of {title} has an empty id in column '{uses.id}'.")
    labels, notes = {}, []
    for name, column in uses.labels.items():
        labels[name], note = _label(keys, column, name, uses.classes.get(name), title)
        notes += note
    splits = parts if uses.split is None else _splits(keys, uses.split, title)
    groups = None if uses.group is None else _texts(keys, uses.group, "group", title)
    first, last = (None, None) if uses.time is None else (keys[column] for column in uses.time)
    return RecordColumns(count, ids, labels, splits, groups, first, last), notes


def _default_ids(count: int, parts: Column | None) -> Column | None:
    """Return the number of each row behind its split; None where there is none: the number alone is its id."""
    if parts is None:
        return None
    return pc.binary_join_element_wise(parts.cast(pa.string()), pa.array(np.arange(count)).cast(pa.string()), "/")


def _plain(keys: pa.Table, column: str, use: str, title: str) -> tuple[pa.ChunkedArray, dict[int, str]]:
    """Return a column of texts, numbers or dates, null where it is empty; and which rows cannot be read, and why."""
    cells = canonical(keys[column])
    if pa.types.is_nested(cells.type) or is_bytes(cells.type):
        raise DataError(
            f"The column '{column}' of {title} has the type {cells.type}, whose cells cannot be {use}s: name a column "
            "of text or numbers."
        )
    cells, faults = without_faults(cells, "")
    if pa.types.is_temporal(cells.type):
        return pa.chunked_array([[None if cell is None else str(cell) for cell in cells.to_pylist()]], pa.string()), {}
    if is_text(cells.type):
        cells = pc.if_else(pc.equal(cells, ""), pa.scalar(None, cells.type), cells)
    return cells, faults


def _texts(keys: pa.Table, column: str, use: str, title: str) -> pa.ChunkedArray:
    """Return a column of names as text.

    Raises:
        DataError: when one cannot be read.
    """
    cells, faults = _plain(keys, column, use, title)
    if faults:
        row = min(faults)
        raise DataError(f"The {use} in row {row + 1:,}, column '{column}', of {title} cannot be read: {faults[row]}.")
    return cells if is_text(cells.type) else cells.cast(pa.string())


def _splits(keys: pa.Table, column: str, title: str) -> Column:
    """Return the splits that a column says, under the names of parts."""
    coded = _texts(keys, column, "split", title).combine_chunks().dictionary_encode()
    words = coded.dictionary.to_pylist()
    if unknown := [word for word in words if part_name(word) is None]:
        raise DataError(
            f"The column '{column}' of {title} has the split '{unknown[0]}'; it must be train, val or test."
        )
    return pa.array([part_name(word) for word in words], pa.string()).take(coded.indices)


def _label(
    keys: pa.Table, column: str, name: str, classes: Sequence[str] | None, title: str
) -> tuple[Column, list[str]]:
    """Return a label of all rows, null where it is missing or no number; and a sentence if some are left out."""
    cells, faults = _plain(keys, column, "label", title)
    if pa.types.is_floating(cells.type):
        finite = pc.is_finite(cells)
        infinite = pc.and_(pc.invert(pc.is_nan(cells)), pc.invert(finite))
        rows = np.flatnonzero(pc.fill_null(infinite, False).to_numpy())
        faults |= dict.fromkeys(rows.tolist(), "it is infinite, or too large for a number")
        cells = pc.if_else(pc.fill_null(finite, False), cells, pa.scalar(None, cells.type))
    notes = []
    if faults:
        row = min(faults)
        notes.append(
            f"the label '{name}' is left out of {len(faults):,} records, where it cannot be read; the first is "
            f"{title}, row {row + 1:,}, column '{column}': {faults[row]}"
        )
    return (cells if classes is None else _named(cells, classes, name, title)), notes


def _named(cells: pa.ChunkedArray, classes: Sequence[str], name: str, title: str) -> Column:
    """Return class names in place of their indices, of which -1 is no class."""
    if not pa.types.is_integer(cells.type):
        value = next((cell for cell in cells.to_pylist() if cell is not None), None)
        if value is not None:
            class_name(list(classes), value, value, name, title)
    cells = cells.cast(pa.int64()).combine_chunks()
    cells = pc.if_else(pc.equal(cells, -1), pa.scalar(None, pa.int64()), cells)
    wrong = cells.filter(pc.or_(pc.less(cells, 0), pc.greater_equal(cells, len(classes))))
    if len(wrong):
        class_name(list(classes), wrong[0].as_py(), wrong[0].as_py(), name, title)
    return pa.array(list(classes), pa.string()).take(cells)
