"""A Lance dataset as a source: columns, and blobs, read by position."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from re import sub
from typing import Any

import lance
import numpy as np
import pyarrow as pa

from sensorium.data.patience import is_transient
from sensorium.data.stores.column_files import one_line
from sensorium.data.stores.features import as_packed, class_names
from sensorium.data.stores.files import is_local
from sensorium.data.stores.keys import KeyUses
from sensorium.data.stores.per_process import PerProcess
from sensorium.data.stores.row_source import RowSource
from sensorium.errors import BadSample, DataError, Location

DAMAGE = (OSError, ValueError, pa.ArrowException)
"""Raised by Lance for files that are not what it wrote."""


class LanceSource(RowSource):
    """One record for each row of a Lance dataset; a batch of records is one request.

    All processes read the version that was the newest when the run opened it.

    Args:
        path: the dataset: a folder, or an address (`s3://bucket/data.lance`, `gs://`).
        columns: field name to column name, or to a list of numeric columns, whose numbers in a row are one value, or to
            a mapping from name to column, whose cells in a row are one value; default every column that has no other
            use. A column of blobs is the bytes of each.
        id: the column of unique names; default the row's number.
        labels: the columns that evaluators predict: a list, or label name to column name.
        split: the column that says train, val or test.
        group: the column whose equal cells keep records in one split.
        classes: label name to its class names, by index.
        root: the folder that relative paths in cells start from; default the current one.
        version: of the dataset, or a tag; default the newest.
        options: of the object store behind an address, as Lance has them in `storage_options`; default those of the
            environment.
    """

    fork_safe = False

    def __init__(
        self,
        path: str,
        columns: dict[str, str | list[str] | dict[str, str]] | None = None,
        id: str | None = None,
        labels: list[str] | dict[str, str] | None = None,
        split: str | None = None,
        group: str | None = None,
        classes: dict[str, list[str]] | None = None,
        root: str | None = None,
        version: int | str | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        dataset = _open(path, version, options)
        self._options["version"] = dataset.version  # what workers open
        self._opened = PerProcess(partial(_open, path, dataset.version, options))
        self._path, self.root = path, root or "."
        schema = _with_blobs(dataset.schema)
        columns, uses = as_packed(schema, columns, KeyUses.of_options(labels, id, split, group, classes))
        uses = uses.with_class_names(class_names(schema))
        self._use(f"'{path}'", schema, columns, uses)
        self._blobs = {name for name in self._values.columns if _is_blob(dataset.schema.field(name))}
        rows = {fragment.fragment_id: fragment.count_rows() for fragment in dataset.get_fragments()}
        self._fragments = [number for number, count in rows.items() if count]
        self._starts = np.cumsum([0, *(rows[number] for number in self._fragments)])
        keys = _keys(dataset, uses.columns, path) if uses.columns else pa.table({})
        self._take_keys(keys, None, sum(rows.values()))

    def fragments(self) -> np.ndarray:
        """Return where the fragments of the dataset begin."""
        return self._starts

    def _place(self, position: int, column: str) -> Location:
        return Location(self._path, position + 1, column)

    def _rows(self, positions: np.ndarray, columns: list[str]) -> Iterator[tuple[np.ndarray, pa.Table | BadSample]]:
        yield from self._readable(np.arange(len(positions)), positions, columns)

    def _readable(
        self, which: np.ndarray, positions: np.ndarray, columns: list[str]
    ) -> Iterator[tuple[np.ndarray, pa.Table | BadSample]]:
        """Read rows in one request; of one that fails each half, until what is damaged stands alone."""
        try:
            rows: pa.Table | BadSample = self._table(positions[which], columns)
        except DAMAGE as error:
            if is_transient(error):
                raise
            if len(which) > 1:
                for half in np.array_split(which, 2):
                    yield from self._readable(half, positions, columns)
                return
            rows = self._damaged(int(positions[which[0]]), columns, error)
        yield which, rows

    def _table(self, positions: np.ndarray, columns: list[str]) -> pa.Table:
        dataset = self._opened.get()
        plain = [name for name in columns if name not in self._blobs]
        cells = dict(zip(plain, dataset.take(positions.tolist(), columns=plain).columns, strict=True)) if plain else {}
        return pa.table(cells | {name: _blobs(dataset, name, positions) for name in self._blobs})

    def _damaged(self, position: int, columns: list[str], error: Exception) -> BadSample:
        fragment = self._fragments[int(np.searchsorted(self._starts, position, "right")) - 1]
        reason = f"fragment {fragment} of '{self._path}' is damaged, or missing: {_said(error)}"
        return BadSample(reason, where=self._place(position, ", ".join(columns)))


def _keys(dataset: Any, columns: list[str], path: str) -> pa.Table:
    """Return columns of all rows.

    Raises:
        DataError: when a fragment is damaged.
    """
    try:
        return dataset.to_table(columns=columns)
    except DAMAGE as error:
        if is_transient(error):
            raise
        raise DataError(
            f"The columns {', '.join(columns)} of '{path}' cannot be read: {_said(error)}; a fragment is damaged, or "
            "missing: write the dataset again, or name no column of it as id, label, split or group."
        ) from error


def _blobs(dataset: Any, name: str, positions: np.ndarray) -> pa.Array:
    """Return the bytes of a column of blobs at positions."""
    blobs = dataset.take_blobs(name, indices=positions.tolist())
    return pa.array([None if blob is None else blob.read() for blob in blobs], pa.large_binary())


def _open(path: str, version: int | str | None, options: dict[str, Any] | None) -> Any:
    try:
        return lance.dataset(path, version=version, storage_options=options)
    except (ValueError, OSError) as error:
        if is_local(path) or "not found" in str(error).lower():
            raise DataError(
                f"'{path}' cannot be read as a Lance dataset: {_said(error)}; check data.source."
            ) from error
        raise


def _said(error: Exception) -> str:
    """Return what an error of Lance says, without its own words for its kind, and where in its code it arose."""
    return sub(r"^(External error: |LanceError\(\w+\): |Invalid user input: )*|, \S+\.rs:\d+:\d+", "", one_line(error))


def _is_blob(field: pa.Field) -> bool:
    name = getattr(field.type, "extension_name", "")
    return name.startswith("lance.blob") or (field.metadata or {}).get(b"lance-encoding:blob") == b"true"


def _with_blobs(schema: pa.Schema) -> pa.Schema:
    """Return the columns as they are read: blobs are bytes."""
    return pa.schema(
        [pa.field(field.name, pa.large_binary()) if _is_blob(field) else field for field in schema], schema.metadata
    )
