"""Tables as a source: CSV, TSV, JSON-lines and Parquet files."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sensorium.contracts import Source
from sensorium.data.classes import class_name
from sensorium.data.readers import Format, Table, TableReader
from sensorium.data.splits import first_duplicate, part_name
from sensorium.errors import DataError, Location
from sensorium.types import Record


class TableSource(Source):
    """One record for each row of a CSV, TSV, JSON-lines or Parquet file, or of several.

    A cell is text, a number, a list, bytes, or a struct of `bytes` and `path` as Hugging Face datasets write images and
    audio (its bytes, or else its path). For modalities that read files, text is a path relative to the table's folder.
    An empty cell is a missing value. Cells stay in Arrow's memory until a record is read.

    Args:
        path: the file, or a list of files with the same columns.
        splits: instead of `path`, the file or files of each split: {train: a.parquet, test: b.parquet}.
        columns: field name to column name, or to a list of numeric columns, whose numbers in a row are one value (nan
            where a cell is empty); default every column that has no other use, under its own name.
        id: the column of unique names; default the row's number (after its split, when `splits` is given).
        labels: the columns that evaluators predict: a list, or label name to column name.
        split: the column that says train, val or test.
        group: the column whose equal cells keep records in one split.
        classes: label name to its class names, by index.
        format: the files' format; default by their extension. `.gz` on top of .csv, .tsv and .jsonl is understood.
        delimiter: the character between the cells of a CSV file, such as ";"; default ",".
        header: the column names of a CSV or TSV file without a heading row.
        root: the folder that relative paths in cells start from; default the folder of the first file.
    """

    def __init__(
        self,
        path: str | list[str] | None = None,
        splits: dict[str, str | list[str]] | None = None,
        columns: dict[str, str | list[str]] | None = None,
        id: str | None = None,
        labels: list[str] | dict[str, str] | None = None,
        split: str | None = None,
        group: str | None = None,
        classes: dict[str, list[str]] | None = None,
        format: Format | None = None,
        delimiter: str | None = None,
        header: list[str] | None = None,
        root: str | None = None,
    ) -> None:
        files = _files(path, splits)
        reader = TableReader(format, delimiter, header=header or None, na_values=("",))
        label_columns = dict(labels) if isinstance(labels, dict) else {name: name for name in labels or ()}
        keys = [name for name in (id, split, group) if name is not None]
        if columns is None:
            used = {*keys, *label_columns.values()}
            columns = {name: name for name in reader.column_names(files[0][1]) if name not in used}
        self.root = str(files[0][1].parent) if root is None else root
        single = {field: column for field, column in columns.items() if isinstance(column, str)}
        joined = {field: column for field, column in columns.items() if not isinstance(column, str)}
        numeric = [name for names in joined.values() for name in names]
        table = reader.read([file for _, file in files], [*single.values(), *keys], [*label_columns.values(), *numeric])
        if not len(table):
            raise DataError(f"{table.title} has no rows.")
        parts = [part for (part, _), rows in zip(files, table.rows, strict=True) for _ in range(rows)]
        self._files, self._ends = [str(file) for _, file in files], list(accumulate(table.rows))
        self._names = {field: name if isinstance(name, str) else ", ".join(name) for field, name in columns.items()}
        self._order = tuple(columns)
        self._columns = {field: table.arrow(column) for field, column in single.items()}
        self._joined = {field: _joined(table, field, names) for field, names in joined.items()}
        self._ids = _ids(table, id, parts)
        self._splits = parts if split is None else _splits(table, split)
        self._groups = None if group is None else table.texts(group)
        self._labels = {name: _label(table, column, name, classes or {}) for name, column in label_columns.items()}

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of the columns of values."""
        return self._order

    def __len__(self) -> int:
        return len(self._ids)

    def key(self, index: int) -> Record:
        """Return the record at `index` without its values."""
        labels = {name: cells[index] for name, cells in self._labels.items() if cells[index] is not None}
        group = None if self._groups is None else self._groups[index]
        return Record(self._ids[index], {}, labels, self._splits[index], group)

    def __getitem__(self, index: int) -> Record:
        key = self.key(index)
        values = {field: _value(column[index].as_py()) for field, column in self._columns.items()}
        values |= {field: x_NC[index] for field, x_NC in self._joined.items() if not np.isnan(x_NC[index]).all()}
        return Record(key.id, values, key.labels, key.split, key.group)

    def locate(self, index: int, field: str) -> Location:
        """Return the file, row and column of a value."""
        file = bisect_right(self._ends, index)
        return Location(self._files[file], index - (self._ends[file - 1] if file else 0) + 1, self._names[field])

    def present(self, field: str) -> np.ndarray:
        """Return which records have a value in `field`: bool (N,)."""
        if field in self._joined:
            return ~np.isnan(self._joined[field]).all(1)
        column = self._columns[field]
        if pa.types.is_struct(column.type) and {"bytes", "path"} <= {f.name for f in column.type}:
            parts = [pc.struct_field(column, name) for name in ("bytes", "path")]
            filled = pc.and_(pc.is_valid(column), pc.or_(*(_filled(part) for part in parts)))
        else:
            filled = _filled(column)
        return filled.to_numpy()


def _joined(table: Table, field: str, names: list[str]) -> np.ndarray:
    """Return numeric columns side by side, float64 (N, C)."""
    if not names:
        raise DataError(f"data.source.columns gives the field '{field}' an empty list of columns.")
    return np.stack([table.numbers(name) for name in names], axis=1)


def _files(path: str | list[str] | None, splits: dict[str, str | list[str]] | None) -> list[tuple[str | None, Path]]:
    """Return the files to read, each with its split, or None."""
    if (path is None) == (splits is None):
        raise DataError("The source 'table' takes either path (one file or a list) or splits (split name to files).")
    named: dict[str | None, str | list[str]] = {} if path is None else {None: path}
    for word, given in (splits or {}).items():
        if (part := part_name(word)) is None:
            raise DataError(f"data.source.splits names '{word}'; a split is train, val or test.")
        named[part] = given
    files = [
        (part, Path(file).expanduser())
        for part, given in named.items()
        for file in ([given] if isinstance(given, str) else given)
    ]
    if not files:
        raise DataError("The source 'table' got an empty list of files.")
    return files


def _ids(table: Table, column: str | None, parts: list[str | None]) -> list[str]:
    if column is None:
        return [str(row) if part is None else f"{part}/{row}" for row, part in enumerate(parts)]
    ids = table.identifiers(column)
    if (twice := first_duplicate(ids)) is not None:
        raise DataError(f"The id '{twice}' occurs twice in column '{column}' of {table.title}; ids must be unique.")
    return ids


def _splits(table: Table, column: str) -> list[str | None]:
    words = table.texts(column)
    parts = {word: part_name(word) for word in dict.fromkeys(words) if word is not None}
    for word, part in parts.items():
        if part is None:
            raise DataError(
                f"The column '{column}' of {table.title} has the split '{word}'; it must be train, val or test."
            )
    return [None if word is None else parts[word] for word in words]


def _label(table: Table, column: str, name: str, classes: dict[str, list[str]]) -> list[Any]:
    cells = table.cells(column)
    if name not in classes:
        return cells
    return [None if cell is None else class_name(classes[name], cell, cell, name, table.title) for cell in cells]


def _value(cell: Any) -> Any:
    """Return the value of a cell: for a struct its bytes or else its path, None when it is empty."""
    if isinstance(cell, dict) and {"bytes", "path"} <= cell.keys():
        cell = cell["bytes"] or cell["path"]
    return None if isinstance(cell, str | bytes) and not cell else cell


def _filled(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return which cells are neither null nor empty text or bytes."""
    valid = pc.is_valid(column)
    sized = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    if not any(is_type(column.type) for is_type in sized):
        return valid
    return pc.and_(valid, pc.fill_null(pc.greater(pc.binary_length(column), 0), False))
