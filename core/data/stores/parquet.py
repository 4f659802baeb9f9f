"""Parquet and Arrow files of any size as a source, read a row group at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from sensorium.data.patience import is_transient
from sensorium.data.stores.column_files import ARROW, PARQUET, ColumnFile, one_line, open_columns
from sensorium.data.stores.features import as_packed, class_names
from sensorium.data.stores.files import StoredFile, folder_of, stored_files, title_of
from sensorium.data.stores.keys import KeyUses, joined_keys
from sensorium.data.stores.per_process import PerProcess, Recent
from sensorium.data.stores.row_source import RowSource
from sensorium.data.stores.row_values import require_columns
from sensorium.errors import BadSample, Location

AT_ONCE = 16
"""Files that are opened at a time."""
OPEN = 256
"""Files that a process keeps open."""
LARGE = 8 * 2**20
"""Bytes of a row group beyond which records in a random order cost too much."""


class ParquetSource(RowSource):
    """One record for each row of Parquet or Arrow files, of which no more is in memory than is asked for.

    A row group of Parquet is read and decoded whole; each process keeps those that it used last. Arrow files on this
    machine (`.arrow`, `.feather`) are memory-mapped. Cells are understood as the source `table` does: text, numbers,
    lists, bytes, or structs of `bytes` and `path` as Hugging Face datasets write images and audio. Class labels of such
    a dataset are their names as labels, groups and splits, -1 is none.

    Args:
        path: a file, a folder, a glob (`data/*.parquet`), files in braces (`part-{00..15}.parquet`), an address
            (`s3://bucket/data/`), or a list of these. A folder named `year=2024` is a column "year" of its rows.
        splits: instead of `path`, the files of each split: {train: train/, test: test/}.
        columns: field name to column name, or to a list of numeric columns, whose numbers in a row are one value, or to
            a mapping from name to column, whose cells in a row are one value; default every column that has no other
            use.
        id: the column of unique names; default the row's number (after its split, when `splits` is given).
        labels: the columns that evaluators predict: a list, or label name to column name.
        split: the column that says train, val or test.
        group: the column whose equal cells keep records in one split.
        classes: label name to its class names, by index.
        root: the folder that relative paths in cells start from; default the folder of the first file.
        cache_mb: megabytes of decoded row groups that each process keeps, one row group in any case.
        options: of the file system behind an address: its `storage_options` in fsspec, such as {anon: true}.
    """

    extensions = (*PARQUET, *ARROW)

    def __init__(
        self,
        path: str | list[str] | None = None,
        splits: dict[str, str | list[str]] | None = None,
        columns: dict[str, str | list[str] | dict[str, str]] | None = None,
        id: str | None = None,
        labels: list[str] | dict[str, str] | None = None,
        split: str | None = None,
        group: str | None = None,
        classes: dict[str, list[str]] | None = None,
        root: str | None = None,
        cache_mb: int = 256,
        options: dict[str, Any] | None = None,
    ) -> None:
        self._storage = options or {}
        self._files = stored_files("parquet", path, splits, (*PARQUET, *ARROW), self._storage)
        self.root = folder_of(self._files) if root is None else root
        schema = self._open(0).schema
        columns, uses = as_packed(schema, columns, KeyUses.of_options(labels, id, split, group, classes))
        uses = uses.with_class_names(class_names(schema))
        self._use(title_of(self._files), _with_folders(schema, self._files[0]), columns, uses)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            surveys = list(pool.map(self._survey, range(len(self._files))))
        counts = [sum(survey.rows) for survey in surveys]
        self._file_of_F = np.repeat(np.arange(len(surveys)), [len(survey.rows) for survey in surveys])
        self._number_of_F = np.concatenate([np.array(survey.numbers, np.int64) for survey in surveys])
        self._starts = np.cumsum([0, *(rows for survey in surveys for rows in survey.rows)])
        self._first_of_file = np.cumsum([0, *counts])
        parts = [pa.repeat(pa.scalar(f.part, pa.string()), n) for f, n in zip(self._files, counts, strict=True)]
        keys = joined_keys([survey.keys for survey in surveys], [f"'{file.url}'" for file in self._files])
        self._take_keys(keys, None if splits is None else pa.chunked_array(parts), sum(counts))
        self._full = set.intersection(*(survey.full for survey in surveys))
        self._notes += _advice(surveys, self._title, cache_mb)
        self._recent = PerProcess(partial(Recent, cache_mb * 2**20))
        self._opened = PerProcess(partial(_OpenFiles, self._files, self._storage))

    def _open(self, number: int) -> ColumnFile:
        return open_columns(self._files[number].url, self._storage)

    def _survey(self, number: int) -> _Survey:
        """Read what is known of a file once; it is not kept open."""
        stored, file = self._files[number], self._open(number)
        values, keys = ([name for name in names if name not in stored.folders] for names in self._asked)
        require_columns([*values, *keys], file.schema.names, f"'{stored.url}'")
        numbers = [number for number, rows in enumerate(file.rows) if rows]
        rows = [file.rows[number] for number in numbers]
        read = file.read_all(keys) if keys else pa.table({})
        full = {field for field in self.fields if self._is_full(field, file)}
        return _Survey(
            rows, numbers, _add_folders(read, stored, self._uses.columns, sum(rows)), file.nbytes(values), full
        )

    @property
    def _asked(self) -> tuple[list[str], list[str]]:
        """The columns of values, and of all else."""
        return self._values.columns, self._uses.columns

    def _is_full(self, field: str, file: ColumnFile) -> bool:
        column = self._values.column_of(field)
        return column is not None and column in file.schema.names and file.is_full(column)

    def fragments(self) -> np.ndarray:
        """Return where row groups begin, or record batches of Arrow."""
        return self._starts

    def present(self, field: str) -> np.ndarray | None:
        """Return that every record has a value, where the statistics of all row groups say so."""
        return np.ones(len(self), bool) if field in self._full else None

    def _place(self, position: int, column: str) -> Location:
        file = int(np.searchsorted(self._first_of_file, position, "right")) - 1
        return Location(self._files[file].url, position - int(self._first_of_file[file]) + 1, column)

    def _rows(self, positions: np.ndarray, columns: list[str]) -> Iterator[tuple[np.ndarray, pa.Table | BadSample]]:
        fragment_M = np.searchsorted(self._starts, positions, "right") - 1
        for fragment in np.unique(fragment_M):
            which = np.flatnonzero(fragment_M == fragment)
            within = pa.array(positions[which] - self._starts[fragment])
            try:
                table = self._recent.get().get(int(fragment), partial(self._fragment, int(fragment), columns))
                yield which, table.take(within)
            except (pa.ArrowException, OSError) as error:
                if getattr(error, "errno", None) is not None or is_transient(error):
                    raise  # of the store, not of what the file holds
                number, url = self._number_of_F[fragment], self._files[self._file_of_F[fragment]].url
                where = self._place(int(positions[which[0]]), ", ".join(columns))
                yield which, BadSample(f"row group {number} of '{url}' is damaged: {one_line(error)}", where=where)

    def _fragment(self, fragment: int, columns: list[str]) -> pa.Table:
        number = int(self._file_of_F[fragment])
        stored, file = self._files[number], self._opened.get().file(number)
        held = [name for name in columns if name not in stored.folders]
        read = file.read(int(self._number_of_F[fragment]), held)
        return _add_folders(read, stored, columns, int(self._starts[fragment + 1] - self._starts[fragment]))


@dataclass(frozen=True)
class _Survey:
    """What is known of a file: of its fragments with rows, how many and which they are; columns of keys; sizes.

    Args:
        rows: of each fragment.
        numbers: of each fragment in the file.
        keys: the columns that are no values.
        nbytes: of the columns of values, decoded; None where they are mapped.
        full: the fields in which every row has a value.
    """

    rows: list[int]
    numbers: list[int]
    keys: pa.Table
    nbytes: int | None
    full: set[str]


class _OpenFiles:
    """The files that a process has open, the last used ones."""

    def __init__(self, files: list[StoredFile], storage: Mapping[str, Any]) -> None:
        self._files, self._storage = files, storage
        self._open: dict[int, ColumnFile] = {}

    def file(self, number: int) -> ColumnFile:
        """Return a file by its number, open."""
        file = self._open.pop(number, None) or open_columns(self._files[number].url, self._storage)
        self._open[number] = file
        if len(self._open) > OPEN:
            del self._open[next(iter(self._open))]
        return file


def _with_folders(schema: pa.Schema, file: StoredFile) -> pa.Schema:
    """Return the columns of a file and of the folders that it lies in."""
    for name in file.folders:
        schema = schema if name in schema.names else schema.append(pa.field(name, pa.string()))
    return schema


def _add_folders(table: pa.Table, file: StoredFile, names: list[str], rows: int) -> pa.Table:
    """Return some columns, those of folders among them."""

    def column(name: str) -> Any:
        return (
            table[name] if name in table.column_names else pa.repeat(pa.scalar(file.folders[name], pa.string()), rows)
        )

    return pa.table({name: column(name) for name in names})


def _advice(surveys: list[_Survey], title: str, cache_mb: int) -> list[str]:
    """Return a sentence about row groups that are too large to read records of in a random order."""
    groups = sum(len(survey.rows) for survey in surveys)
    total = sum(survey.nbytes or 0 for survey in surveys)
    if not groups or total / groups <= LARGE or total <= cache_mb * 2**20:
        return []
    records = sum(sum(survey.rows) for survey in surveys) / groups
    return [
        f"the row groups of {title} hold {records:,.0f} records and {total / groups / 2**20:,.0f} MB each, and to read "
        "one record is to decode one of them: read them in order with data.order={name: blocks}, or rewrite the "
        "records once with `sensorium pack`"
    ]
