"""Ids, labels, splits and groups of a store's rows out of its columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sensorium.contracts import RecordColumns
from sensorium.contracts.record_columns import Column, numbered
from sensorium.data.cells import canonical, is_bytes, is_text, without_faults, without_views
from sensorium.data.classes import named
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
        names: column -> the class names that the store itself has for it, by index.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    id: str | None = None
    split: str | None = None
    group: str | None = None
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    time: tuple[str, str] | None = None
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)

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
        """Return them with the class names that a store itself has for its columns, by index."""
        return replace(self, names=of_column)

    def names_of(self, label: str) -> Sequence[str] | None:
        """Return the class names of a label: those that a recipe gives, or else those of its column."""
        return self.classes.get(label, self.names.get(self.labels[label]))

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
        ids = _texts(keys, uses.id, "id", uses, title)
        if ids.null_count:
            row = pc.index(pc.is_null(ids), True).as_py()
            raise DataError(f"Row {row + 1:,} of {title} has an empty id in column '{uses.id}'.")
    labels, notes = {}, []
    for name, column in uses.labels.items():
        labels[name], note = _label(keys, column, name, uses.names_of(name), title)
        notes += note
    splits = parts if uses.split is None else _splits(keys, uses.split, uses, title)
    groups = None if uses.group is None else _texts(keys, uses.group, "group", uses, title)
    first, last = (None, None) if uses.time is None else (keys[column] for column in uses.time)
    return RecordColumns(count, ids, labels, splits, groups, first, last), notes


def joined_keys(tables: Sequence[pa.Table], titles: Sequence[str]) -> pa.Table:
    """Return the rows of tables with the same columns, one below the other; text is text, however it is stored.

    Args:
        tables: the columns that are no values, of each file.
        titles: the files, for errors.

    Raises:
        DataError: when a column is of types in two files that no one type holds.
    """
    plain = [pa.table({name: _undivided(table[name]) for name in table.column_names}) for table in tables]
    try:
        return pa.concat_tables(plain, promote_options="permissive")
    except pa.ArrowException as error:
        names = ", ".join(plain[0].column_names)
        unclear = f"The columns {names} do not go together in {titles[0]} and {len(titles) - 1} more: {error}."
        raise DataError(_difference([table.schema for table in plain], titles) or unclear) from error


def _undivided(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column in which categories are their values."""
    column = without_views(column)
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _difference(schemas: Sequence[pa.Schema], titles: Sequence[str]) -> str | None:
    """Return which column is of types in two files that do not go together; None where no two of them are at odds."""
    for name in schemas[0].names:
        first_of: dict[pa.DataType, str] = {}
        for schema, title in zip(schemas, titles, strict=True):
            first_of.setdefault(schema.field(name).type, title)
        for (one, title), (other, another) in combinations(first_of.items(), 2):
            if not _go_together(one, other):
                return (
                    f"The column '{name}' is of the type {one} in {title}, but of the type {other} in {another}: write "
                    "it in one type."
                )
    return None


def _go_together(*kinds: pa.DataType) -> bool:
    try:
        pa.unify_schemas([pa.schema([("", kind)]) for kind in kinds], promote_options="permissive")
    except pa.ArrowException:
        return False
    return True


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


def _texts(keys: pa.Table, column: str, use: str, uses: KeyUses, title: str) -> Column:
    """Return a column of names as text, those of class indices by their class.

    Raises:
        DataError: when one cannot be read.
    """
    cells, faults = _plain(keys, column, use, title)
    if faults:
        row = min(faults)
        raise DataError(f"The {use} in row {row + 1:,}, column '{column}', of {title} cannot be read: {faults[row]}.")
    if column in uses.names and not is_text(cells.type):
        return named(cells, uses.names[column], column, title)
    return cells if is_text(cells.type) else cells.cast(pa.string())


def _splits(keys: pa.Table, column: str, uses: KeyUses, title: str) -> Column:
    """Return the splits that a column says, under the names of parts."""
    words, number_N = numbered(_texts(keys, column, "split", uses, title))
    words = words.to_pylist()
    if unknown := [word for word in words if part_name(word) is None]:
        raise DataError(
            f"The column '{column}' of {title} has the split '{unknown[0]}'; it must be train, val or test."
        )
    return pa.array([part_name(word) for word in words], pa.string()).take(pa.array(number_N, mask=number_N < 0))


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
    return (cells if classes is None else named(cells, classes, name, title)), notes
