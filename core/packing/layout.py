"""How packed records lie: which column has the id, the labels, the values; the same in every form."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sensorium.contracts import RecordColumns
from sensorium.packing.cells import Cell, File

FILE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""A file as Hugging Face datasets have it."""
METADATA = b"sensorium"
"""The key under which the schema of a packed file tells its layout."""


@dataclass(frozen=True)
class ValueColumn:
    """The column of a field.

    Args:
        name: of the column.
        kind: whether its cells are texts or files.
        is_list: whether a cell is a list of them: some record has several.
    """

    name: str
    kind: Literal["text", "file"] = "text"
    is_list: bool = False

    @property
    def type(self) -> pa.DataType:
        """The Arrow type of its cells."""
        one = pa.string() if self.kind == "text" else FILE_TYPE
        return pa.list_(one) if self.is_list else one

    def widened(self, cells: Sequence[Cell]) -> ValueColumn:
        """Return the column that takes the cells of one more record, too."""
        is_file = self.kind == "file" or any(isinstance(cell, File) for cell in cells)
        return replace(self, kind="file" if is_file else "text", is_list=self.is_list or len(cells) > 1)

    def cell(self, cells: Sequence[Cell]) -> Any:
        """Return the values of a record as Arrow takes them."""
        made = [self._one(cell) for cell in cells]
        return (made or None) if self.is_list else (made[0] if made else None)

    def _one(self, cell: Cell) -> Any:
        if self.kind == "text":
            return cell
        return cell._asdict() if isinstance(cell, File) else File(cell.encode(), None)._asdict()


@dataclass(frozen=True)
class Layout:
    """The columns of packed records.

    Args:
        values: field -> its column.
        labels: label -> its column.
        id: the column of ids.
        split: that of splits; None where the source has none.
        group: that of groups; None where the source has none.
        time: those of first and last time stamps; None where the source has none.
    """

    values: Mapping[str, ValueColumn]
    labels: Mapping[str, str]
    id: str
    split: str | None = None
    group: str | None = None
    time: tuple[str, str] | None = None

    @classmethod
    def of(cls, fields: Sequence[str], keys: RecordColumns, of_values: Callable[[str], str] | None = None) -> Layout:
        """Return the layout of the records of a source, whose fields hold texts as far as is known.

        Args:
            fields: of the source.
            keys: of its records.
            of_values: makes a name that may be a column of values out of any; None for `column_name`.
        """
        taken: set[str] = {"json"}  # in tars what is said of a record

        def named(name: str, kind: str, allowed: Callable[[str], str] = column_name) -> str:
            plain = allowed(name) or kind
            free = plain if plain.lower() not in taken else f"{plain}_{kind}"
            while free.lower() in taken:  # names in tars differ in more than capitals
                free += "_"
            taken.add(free.lower())
            return free

        values = {field: ValueColumn(named(field, "value", of_values or column_name)) for field in fields}
        labels = {label: named(label, "label") for label in keys.labels}
        split = None if keys.splits is None else named("split", "part")
        group = None if keys.groups is None else named("group", "key")
        time = None if keys.first is None else (named("first", "time"), named("last", "time"))
        return cls(values, labels, named("id", "key"), split, group, time)

    def widened(self, cells: Mapping[str, Sequence[Cell]]) -> Layout:
        """Return the layout that takes one more record, too; itself if it does."""
        values = {name: column.widened(cells.get(name, [])) for name, column in self.values.items()}
        return self if values == self.values else replace(self, values=values)

    def table(
        self, positions: np.ndarray, keys: RecordColumns, cells: Sequence[Mapping[str, Sequence[Cell]]]
    ) -> pa.Table:
        """Return records as a table.

        Args:
            positions: of the n records in the source, int64 (n,).
            keys: of all its records.
            cells: of the n records, by field.
        """
        own = keys.take(positions)
        columns: dict[str, Any] = {self.id: own.ids}
        for field, column in self.values.items():
            columns[column.name] = pa.array([column.cell(row.get(field, [])) for row in cells], column.type)
        columns |= {self.labels[label]: of_label for label, of_label in own.labels.items()}
        columns |= {
            name: cell for name, cell in ((self.split, own.splits), (self.group, own.groups)) if name is not None
        }
        if self.time is not None:
            columns |= dict(zip(self.time, (own.first, own.last), strict=True))
        plain = {name: _plain(column) for name, column in columns.items()}
        return pa.table(plain).replace_schema_metadata({METADATA: json.dumps(self.described())})

    def described(self) -> dict[str, Any]:
        """Return the layout as plain values."""
        return asdict(self)

    @classmethod
    def of_description(cls, described: Mapping[str, Any]) -> Layout:
        """Return the layout that `described` tells."""
        values = {field: ValueColumn(**column) for field, column in described["values"].items()}
        time = tuple(described["time"]) if described["time"] else None
        return cls(**{**described, "values": values, "time": time})  # type: ignore[arg-type]


def column_name(name: str) -> str:
    """Return a name with nothing that Lance, or a recipe, takes for more than a part of a name."""
    return re.sub(r"[.`*\x00-\x1f]", "_", re.sub(r"^_+(?=row)", "", name))


def _plain(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return a column whose type is the same whatever rows it has."""
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
