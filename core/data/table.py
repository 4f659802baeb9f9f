"""Tables as a source: CSV, TSV, JSON-lines and Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sensorium.contracts import OpenedAgain, RecordColumns
from sensorium.contracts.record_columns import numbered
from sensorium.data.cells import filled, is_text, without_structs
from sensorium.data.classes import named
from sensorium.data.fields import Columns, by_kind
from sensorium.data.key_column import RowsByKey
from sensorium.data.readers import Format, Table, TableReader
from sensorium.data.several import distinct, one_or_several, values_of
from sensorium.data.splits import part_name
from sensorium.errors import BadSample, DataError, Location, not_found
from sensorium.types import Record, Unreadable

LARGE = 2**30
"""Bytes of Parquet files beyond which a table says that another source reads them better."""


class TableSource(OpenedAgain):
    """One record for each row of a CSV, TSV, JSON-lines or Parquet file, or of several; or one for each `key`.

    A cell is text, a number, a list, bytes, or a struct of `bytes` and `path` as Hugging Face datasets write images and
    audio (its bytes, or else its path). For modalities that read files, text is a path relative to the table's folder.
    An empty cell is a missing value. A list of texts, or of files, is several values of one record, such as the
    captions of an image: one is drawn in each epoch, all are used in evaluation. Cells stay in Arrow's memory until a
    record is read. Class labels of a Hugging Face dataset are their names as labels, groups and splits, -1 is none.

    A cell whose text is not in the file's encoding, or holds NUL, is an unreadable value. A line that is no JSON
    object, a row with more or fewer cells than the heading, and a row whose id, split or group is unreadable are
    unreadable records, named "file:line". Whole numbers beyond 64 bits are text.

    Args:
        path: the file, or a list of files with the same columns.
        splits: instead of `path`, the file or files of each split: {train: a.parquet, test: b.parquet}.
        columns: field name to column name, or to a list of numeric columns, whose numbers in a row are one value (nan
            where a cell is empty), or to a mapping from name to column, whose cells of any type in a row are one value,
            a mapping from name to cell (None where it is empty); default every column that has no other use, under its
            own name. With `field`, field name to the word in that column.
        id: the column of unique names; default the row's number (after its split, when `splits` is given).
        key: instead of `id`, the column whose equal cells make rows one record, such as a product with a row for each
            of its images and descriptions. What differs between its rows are several values of a field; labels, split
            and group must not differ.
        field: the column that says which field a row has a value of, where all values stand in one column, `value`.
        value: the column of values, with `field`.
        labels: the columns that evaluators predict: a list, or label name to column name.
        split: the column that says train, val or test.
        group: the column whose equal cells keep records in one split.
        classes: label name to its class names, by index.
        format: the files' format; default by their extension. `.gz` on top of .csv, .tsv and .jsonl is understood.
        delimiter: the character between the cells of a CSV file, such as ";"; default ",".
        quote: the character around cells of a CSV or TSV file that contain delimiters or newlines; "" where none are.
        encoding: of a CSV, TSV or JSON-lines file without a byte-order mark, such as cp1252; default utf-8.
        header: the column names of a CSV or TSV file without a heading row.
        root: the folder that relative paths in cells start from; default the folder of the first file.
    """

    extensions = TableReader.EXTENSIONS

    def __init__(
        self,
        path: str | list[str] | None = None,
        splits: dict[str, str | list[str]] | None = None,
        columns: dict[str, str | list[str] | dict[str, str]] | None = None,
        id: str | None = None,
        key: str | None = None,
        field: str | None = None,
        value: str | None = None,
        labels: list[str] | dict[str, str] | None = None,
        split: str | None = None,
        group: str | None = None,
        classes: dict[str, list[str]] | None = None,
        format: Format | None = None,
        delimiter: str | None = None,
        quote: str = '"',
        encoding: str | None = None,
        header: list[str] | None = None,
        root: str | None = None,
    ) -> None:
        files = _files(path, splits)
        _check_uses(id, key, field, value)
        reader = TableReader(format, delimiter, header=header or None, na_values=("",), quote=quote, encoding=encoding)
        label_columns = dict(labels) if isinstance(labels, dict) else {name: name for name in labels or ()}
        uses = {"id": id, "key": key, "field": field, "split": split, "group": group}
        keys = {name: use for use, name in uses.items() if name is not None}
        if columns is None and field is None:
            used = {*keys, *label_columns.values()}
            columns = {name: name for name in reader.column_names(files[0][1]) if name not in used}
        single, joined, mapped = _by_kind(columns, value)
        typed = [name for names in (*joined.values(), *(of.values() for of in mapped.values())) for name in names]
        table = reader.read([file for _, file in files], [*single.values(), *keys], [*label_columns.values(), *typed])
        if not len(table):
            raise DataError(f"{table.title} has no rows.")
        self.root = str(files[0][1].parent) if root is None else root
        self._table = table
        self._unreadable_rows = _unreadable_rows(table, keys)
        self._cells = dict(single)
        self._columns = {name: table.arrow(column) for name, column in single.items()}
        if field is not None:
            self._columns = _by_field(table, field, value or "", columns)
            self._cells = dict.fromkeys(self._columns, value or "")
        self._joined = {name: _joined(table, name, names) for name, names in joined.items()}
        self._mapped = {name: _RowMappings(table, name, of) for name, of in mapped.items()}
        self._names = self._cells | {name: ", ".join(names) for name, names in joined.items()}
        self._names |= {name: ", ".join(of.values()) for name, of in mapped.items()}
        self._order = tuple(columns or ()) if field is None else tuple(self._columns)
        parts = None if splits is None else _repeated([part for part, _ in files], table.rows)
        of_split = parts if split is None else _splits(table, split)
        of_group = None if group is None else _texts(table, group, "group")
        of_label = {name: _label(table, column, name, classes or {}) for name, column in label_columns.items()}
        self._notes = _label_notes(table, label_columns) + _size_notes(table.title, [file for _, file in files])
        self._rows: RowsByKey | None = None
        ids = None
        if key is None:
            ids = _ids(table, id, parts, self._unreadable_rows)
        else:
            named = _with_places(_texts(table, key, "key"), self._unreadable_rows)
            self._rows = rows = RowsByKey(table, key, named)
            ids = rows.keys
            of_split = None if of_split is None else rows.shared(of_split, split or "splits")
            of_group = None if of_group is None else rows.shared(of_group, group or "group")
            of_label = {name: rows.shared(cells, label_columns[name]) for name, cells in of_label.items()}
        self._keys = RecordColumns(len(table) if ids is None else len(ids), ids, of_label, of_split, of_group)
        if id is not None:
            _refuse_duplicates(table, id, self._keys)

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of the columns of values."""
        return self._order

    def __len__(self) -> int:
        return len(self._keys)

    def notes(self) -> list[str]:
        """Return which labels could not be read, and what is read better by another source."""
        return list(self._notes)

    def columns(self) -> RecordColumns:
        """Return ids, labels, splits and groups of all records."""
        return self._keys

    def __getitem__(self, index: int) -> Record:
        key, rows = self.key(index), self._rows_of(index)
        if (fault := self._unreadable_rows.get(rows[0])) is not None:
            raise BadSample(fault.reason, fault.kind, fault.where)
        values = {name: self._values(name, rows) for name in self._columns}
        for name, x_NC in self._joined.items():
            found = distinct(x_NC[row] for row in rows if not np.isnan(x_NC[row]).all())
            values |= {name: one_or_several(found)} if found else {}
        for name, of_row in self._mapped.items():
            values[name] = one_or_several(distinct(cells for row in rows if (cells := of_row[row]) is not None))
        return Record(key.id, values, key.labels, key.split, key.group)

    def _rows_of(self, index: int) -> Sequence[int]:
        return [index] if self._rows is None else self._rows.rows(index)

    def _values(self, name: str, rows: Sequence[int]) -> Any:
        """Return what some rows have in a field: one value, several, or None."""
        found: list[Any] = []
        for row in rows:
            fault = self._table.unreadable.get((row, self._cells[name]))
            found += [fault] if fault is not None else values_of(without_structs(self._columns[name][row].as_py()))
        return one_or_several(distinct(found))

    def locate(self, index: int, field: str) -> Location:
        """Return the file, line and column of a value, of the first of several."""
        rows = self._rows_of(index)
        if field in self._mapped:
            filled = (row for row in rows if self._mapped[field][row] is not None)
        else:
            filled = (row for row in rows if field in self._joined or self._values(field, [row]) is not None)
        return self._table.where(next(filled, rows[0]), self._names[field])

    def present(self, field: str) -> np.ndarray:
        """Return which records have a value in `field`, readable or not: bool (N,)."""
        if field in self._joined:
            present_N = ~np.isnan(self._joined[field]).all(1)
        elif field in self._mapped:
            present_N = self._mapped[field].present()
        else:
            present_N = filled(self._columns[field]).to_numpy().copy()
            present_N[[row for row, column in self._table.unreadable if column == self._cells[field]]] = True
        present_N[list(self._unreadable_rows)] = True
        return present_N if self._rows is None else self._rows.any(present_N)


class _RowMappings:
    """One field of a table whose value is a mapping: the cells of several columns of a row, by name.

    Args:
        table: the table.
        field: the field, for the error.
        columns: name to column.
    """

    def __init__(self, table: Table, field: str, columns: dict[str, str]) -> None:
        if not columns:
            raise DataError(f"data.source.columns gives the field '{field}' an empty mapping of columns.")
        self._table, self._columns = table, columns

    def __getitem__(self, row: int) -> dict[str, Any] | Unreadable | None:
        """Return the cells of a row, None where one is empty; None for a row without any."""
        for column in self._columns.values():
            if (fault := self._table.unreadable.get((row, column))) is not None:
                return fault
        cells = {name: self._table.cell(column, row) for name, column in self._columns.items()}
        return None if all(cell is None for cell in cells.values()) else cells

    def present(self) -> np.ndarray:
        """Return which rows have a cell, readable or not: bool (N,)."""
        present_N = np.zeros(len(self._table), dtype=bool)
        for column in self._columns.values():
            present_N |= filled(self._table.arrow(column)).to_numpy()
        present_N[[row for row, column in self._table.unreadable if column in self._columns.values()]] = True
        return present_N


def _check_uses(id: str | None, key: str | None, field: str | None, value: str | None) -> None:
    if id is not None and key is not None:
        raise DataError("data.source.id names one row each, data.source.key joins rows to one record: set one of them.")
    if (field is None) != (value is None) or (field is not None and key is None):
        raise DataError("A table with all values in one column needs data.source.key, field and value.")


def _by_kind(
    columns: Columns | None, value: str | None
) -> tuple[dict[str, str], dict[str, list[str]], dict[str, dict[str, str]]]:
    """Return the fields of one column each, those of several numeric columns, and those of a mapping of columns."""
    return ({value: value}, {}, {}) if value is not None else by_kind(columns or {})


def _by_field(table: Table, field: str, value: str, columns: Columns | None) -> dict[str, pa.ChunkedArray]:
    """Return the column of values once for each field, with a missing value in the rows of other fields."""
    words = _texts(table, field, "field")
    known = sorted(words.unique().drop_null().to_pylist())
    asked = {word: word for word in known} if columns is None else columns
    for word in asked.values():
        if word not in known:
            problem = f"The column '{field}' of {table.title} names no field '{word}'"
            raise DataError(not_found(problem, str(word), known, f"its fields are: {', '.join(known)}"))
    of_field = words.combine_chunks()
    column = table.arrow(value).combine_chunks()
    return {
        name: pa.chunked_array([pc.if_else(pc.equal(of_field, word), column, pa.nulls(len(column), column.type))])
        for name, word in asked.items()
    }


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


def _unreadable_rows(table: Table, keys: dict[str, str]) -> dict[int, Unreadable]:
    """Return the rows that are unreadable, or whose id, key, field, split or group is, and why."""
    found: dict[int, Unreadable] = {}
    for (row, column), fault in table.unreadable.items():
        if column is None:
            found[row] = fault
        elif column in keys:
            found[row] = Unreadable(f"its {keys[column]} is unreadable: {fault.reason}", fault.kind, fault.where)
    return found


def _place_name(fault: Unreadable) -> str:
    """Return the id of a record that has no readable one: its file and line."""
    assert isinstance(fault.where, Location), "a table says where"
    return f"{Path(fault.where.path).name}:{fault.where.line}"


def _texts(table: Table, column: str, use: str) -> pa.ChunkedArray:
    """Return a column of names, as Python writes them, null where one is missing or unreadable."""
    cells = table.plain(column, use)
    if is_text(cells.type) or pa.types.is_integer(cells.type):
        return cells.cast(pa.string())
    return pa.chunked_array([[None if cell is None else str(cell) for cell in cells.to_pylist()]], pa.string())


def _repeated(parts: Sequence[str | None], rows: Sequence[int]) -> pa.Array:
    """Return the split of each row, out of those of files of so many rows."""
    return pa.array(parts, pa.string()).take(pa.array(np.repeat(np.arange(len(parts)), rows)))


def _with_places(names: pa.ChunkedArray, unreadable: dict[int, Unreadable]) -> pa.ChunkedArray:
    """Return names of rows, with file and line in place of those of unreadable ones."""
    if not unreadable:
        return names
    cells = names.to_pylist()
    for row, fault in unreadable.items():
        cells[row] = _place_name(fault)
    return pa.chunked_array([cells], pa.string())


def _ids(
    table: Table, column: str | None, parts: pa.Array | None, unreadable: dict[int, Unreadable]
) -> pa.Array | pa.ChunkedArray | None:
    """Return the ids of rows: those of a column, or their numbers behind their splits; None for numbers alone."""
    if column is None:
        rows = pa.array(np.arange(len(table))).cast(pa.string())
        return None if parts is None else pc.binary_join_element_wise(parts, rows, "/")
    ids = _with_places(_texts(table, column, "id"), unreadable)
    if ids.null_count:
        row = pc.index(pc.is_null(ids), True).as_py()
        raise DataError(f"Row {table.position(row)} has an empty id in column '{column}'.")
    return ids


def _refuse_duplicates(table: Table, column: str, keys: RecordColumns) -> None:
    """Refuse an id that two rows have, and say where they are."""
    if (twice := keys.duplicate_id) is None:
        return
    rows = np.flatnonzero(pc.equal(keys.id_column(), twice).to_numpy())[:2].tolist()
    raise DataError(
        f"The id '{twice}' occurs twice in column '{column}' of {table.title}, rows {table.position(rows[0])} and "
        f"{table.position(rows[1])}; ids must be unique: where rows of one id are one record, set "
        f"data.source.key={column} in place of id."
    )


def _splits(table: Table, column: str) -> pa.Array:
    """Return the splits that a column says, under the names of parts."""
    words, number_N = numbered(_texts(table, column, "split"))
    parts = [part_name(word) for word in words.to_pylist()]
    if None in parts:
        raise DataError(
            f"The column '{column}' of {table.title} has the split '{words[parts.index(None)].as_py()}'; it must be "
            "train, val or test."
        )
    return pa.array(parts, pa.string()).take(pa.array(number_N, mask=number_N < 0))


def _label(table: Table, column: str, name: str, classes: dict[str, list[str]]) -> pa.Array | pa.ChunkedArray:
    """Return the labels of all rows; one that is missing, unreadable or infinite is null."""
    cells = table.plain(column, named_classes=name not in classes)
    if pa.types.is_floating(cells.type):
        cells = pc.if_else(pc.is_inf(cells), pa.scalar(None, cells.type), cells)
    return named(cells, classes[name], name, table.title) if name in classes else cells


def _size_notes(title: str, files: Sequence[Path]) -> list[str]:
    """Return a sentence about Parquet files that are better left where they are."""
    size = sum(file.stat().st_size for file in files if file.suffix in (".parquet", ".pq"))
    if size < LARGE:
        return []
    return [
        f"{title}: {size / 2**30:.1f} GB, which the source 'table' reads into memory; data.source.name=parquet takes "
        "the same columns and reads a row group at a time"
    ]


def _label_notes(table: Table, columns: dict[str, str]) -> list[str]:
    """Return a sentence for each label with cells that no class or number can be read from."""
    said = []
    for name, column in columns.items():
        faults = {row: fault.reason for (row, at), fault in table.unreadable.items() if at == column}
        if pa.types.is_floating(table.arrow(column).type):
            infinite = np.flatnonzero(np.isinf(table.arrow(column).to_numpy()))
            faults |= dict.fromkeys(infinite.tolist(), "it is infinite, or too large for a number")
        if faults:
            row = min(faults)
            said.append(
                f"the label '{name}' is left out of {len(faults)} records, where it cannot be read; the first is "
                f"{table.where(row, column)}: {faults[row]}"
            )
    return said
