"""Parquet and Arrow files, read a fragment at a time: a row group, or a record batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sensorium.data.cells import without_views
from sensorium.data.stores.files import filesystem, is_local, no_ranges
from sensorium.errors import DataError

ARROW = (".arrow", ".feather", ".ipc")
PARQUET = (".parquet", ".pq")


class ColumnFile(ABC):
    """A file of columns, cut into fragments.

    Attributes:
        schema: its columns.
        rows: how many rows each of its fragments has.
    """

    schema: pa.Schema
    rows: list[int]

    @abstractmethod
    def read(self, fragment: int, columns: Sequence[str]) -> pa.Table:
        """Return some columns of a fragment, in an order of its own."""

    @abstractmethod
    def read_all(self, columns: Sequence[str]) -> pa.Table:
        """Return some columns of all rows."""

    def nbytes(self, columns: Sequence[str]) -> int | None:
        """Return how many bytes some columns take once they are decoded; None where they are not (memory-mapped)."""
        return None

    def is_full(self, column: str) -> bool | None:
        """Return True if every row has a value in a column, as far as the file itself says; else None."""
        return None


class ParquetColumns(ColumnFile):
    """A Parquet file: a row group is the least that is decoded, as `pyarrow` reads no single page."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self._file = pq.ParquetFile(_opened(url, options), page_checksum_verification=True)
        self.schema = self._file.schema_arrow
        metadata = self._file.metadata
        self.rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        # Not by the paths of leaves: "a.b" is one of the struct "a", or a column of that name.
        self._column_of_leaf = [field.name for field in self.schema for _ in range(_leaf_count(field.type))]

    def read(self, fragment: int, columns: Sequence[str]) -> pa.Table:
        """Return some columns of a row group."""
        return _readable(self._file.read_row_group(fragment, columns=list(columns), use_threads=False), columns)

    def read_all(self, columns: Sequence[str]) -> pa.Table:
        """Return some columns of all rows."""
        return _readable(self._file.read(columns=list(columns), use_threads=False), columns)

    def nbytes(self, columns: Sequence[str]) -> int:
        """Return the size of some columns without compression."""
        return sum(leaf.total_uncompressed_size for leaf in self._leaves(columns))

    def is_full(self, column: str) -> bool | None:
        """Return True if the statistics count no null, and name no empty text."""
        if pa.types.is_nested(self.schema.field(column).type):
            return None
        leaves = [leaf.statistics for leaf in self._leaves([column])]
        if not leaves:  # of no rows
            return True
        sure = all(s is not None and s.has_null_count and s.null_count == 0 for s in leaves)
        if sure and self._leaves([column])[0].physical_type == "BYTE_ARRAY":
            sure = all(s.has_min_max and s.min not in ("", b"") for s in leaves)
        return sure or None

    def _leaves(self, columns: Sequence[str]) -> list[pq.ColumnChunkMetaData]:
        metadata = self._file.metadata
        wanted = [leaf for leaf, column in enumerate(self._column_of_leaf) if column in set(columns)]
        return [metadata.row_group(g).column(leaf) for g in range(metadata.num_row_groups) for leaf in wanted]


class ArrowColumns(ColumnFile):
    """An Arrow (Feather) file, or a stream of record batches in a file; on this machine it is memory-mapped."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        file = _opened(url, options)
        source = pa.memory_map(file) if isinstance(file, str) else pa.PythonFile(file)
        if _is_stream(source):
            if not isinstance(file, str):
                raise DataError(
                    f"'{url}' is a stream of Arrow, which can be read from its start only: copy it to this machine, "
                    "or write Parquet."
                )
            reader = pa.ipc.open_stream(source)
            self._batches: list[pa.RecordBatch] | None = list(reader)  # of mapped memory: nothing is copied
            self.rows = [batch.num_rows for batch in self._batches]
        else:
            reader = self._reader = pa.ipc.open_file(source)
            self._batches = None
            narrow = pa.ipc.open_file(source, options=pa.ipc.IpcReadOptions(included_fields=[0]))
            self.rows = [narrow.get_batch(at).num_rows for at in range(narrow.num_record_batches)]
        self.schema = reader.schema

    def read(self, fragment: int, columns: Sequence[str]) -> pa.Table:
        """Return some columns of a record batch."""
        batch = self._reader.get_batch(fragment) if self._batches is None else self._batches[fragment]
        return _readable(pa.Table.from_batches([batch]), columns)

    def read_all(self, columns: Sequence[str]) -> pa.Table:
        """Return some columns of all rows."""
        empty = _readable(self.schema.empty_table(), columns)
        return pa.concat_tables([empty, *(self.read(at, columns) for at in range(len(self.rows)))])


def open_columns(url: str, options: Mapping[str, Any]) -> ColumnFile:
    """Return a file of columns.

    Args:
        url: its path or address.
        options: of the file system.

    Raises:
        DataError: when it is neither Parquet nor Arrow, or damaged, or its server knows no ranges of bytes.
    """
    kind = ArrowColumns if url.lower().endswith(ARROW) else ParquetColumns
    try:
        return kind(url, options)
    except FileNotFoundError as error:
        raise DataError(f"The file '{url}' does not exist; check data.source.") from error
    except (pa.ArrowException, OSError) as error:
        if getattr(error, "errno", None) is not None:  # of the system, not of what the file holds
            raise
        name = "Arrow" if kind is ArrowColumns else "Parquet"
        raise DataError(f"'{url}' cannot be read as {name}: {one_line(error)}; is it damaged, or cut short?") from error
    except ValueError as error:
        if is_local(url):
            raise
        raise no_ranges(url, one_line(error)) from error


def one_line(error: Exception) -> str:
    """Return the first line of an error of Arrow."""
    return str(error).partition("\n")[0].rstrip(". ") or type(error).__name__


def _opened(url: str, options: Mapping[str, Any]) -> Any:
    """Return a path, or an open file of a file system elsewhere."""
    if is_local(url):
        return url
    fs, path = filesystem(url, options)
    return fs.open(path, "rb")


def _readable(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Return some columns, in types of which Arrow takes rows."""
    return pa.table({name: without_views(table[name]) for name in columns})


def _leaf_count(kind: pa.DataType) -> int:
    """Return how many columns of Parquet hold an Arrow type."""
    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    return sum(_leaf_count(kind.field(i).type) for i in range(kind.num_fields)) if pa.types.is_nested(kind) else 1


def _is_stream(source: pa.NativeFile) -> bool:
    start = source.read(6)
    source.seek(0)
    return bytes(start) != b"ARROW1"
