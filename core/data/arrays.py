"""Arrays and lists in memory as a source."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from torch import Tensor

from sensorium.contracts import RecordColumns, Source
from sensorium.contracts.record_columns import label_column
from sensorium.data.splits import part_name
from sensorium.errors import BadSample, DataError
from sensorium.types import Record

log = logging.getLogger("sensorium")


class ArraysSource(Source):
    """Records out of arrays, tensors or lists, for `sensorium.fit(..., source=ArraysSource(...))`.

    Args:
        values: field name to one raw value per record (along the first axis of an array); None is missing.
        labels: label name to one number or string per record; None is missing.
        ids: one unique name per record; default its index.
        splits: "train", "val", "test" or None per record.
        groups: group name, or None, per record.
        root: the folder that relative paths among the values start from.
    """

    def __init__(
        self,
        values: Mapping[str, Sequence[Any]],
        labels: Mapping[str, Sequence[Any]] | None = None,
        ids: Sequence[str] | None = None,
        splits: Sequence[str | None] | None = None,
        groups: Sequence[str | None] | None = None,
        root: str = ".",
    ) -> None:
        self.root = root
        self._values = dict(values)
        if not self._values:
            raise DataError("The arrays source got no values; give at least one field.")
        self._count = len(next(iter(self._values.values())))
        of_labels = {f"the label '{name}'": cells for name, cells in (labels or {}).items()}
        self._check_lengths({**of_labels, "ids": ids, "splits": splits, "groups": groups})
        self._columns = RecordColumns(
            self._count,
            None if ids is None else pa.array([str(id) for id in ids], pa.string()),
            {name: label_column(name, _host(cells)) for name, cells in (labels or {}).items()},
            None if splits is None else _parts(splits),
            None if groups is None else pa.array([None if g is None else str(g) for g in groups], pa.string()),
        )
        if (twice := self._columns.duplicate_id) is not None:
            raise DataError(f"Two records of the arrays have the id '{twice}'; ids must be unique.")

    def _check_lengths(self, others: Mapping[str, Sequence[Any] | None]) -> None:
        columns = {f"the field '{name}'": cells for name, cells in self._values.items()} | dict(others)
        for name, column in columns.items():
            if column is not None and len(column) != self._count:
                first = next(iter(self._values))
                raise DataError(
                    f"The arrays disagree: the field '{first}' has {self._count} entries, {name} {len(column)}."
                )
        if not self._count:
            raise DataError("The arrays are empty: there are no records.")

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the arrays."""
        return tuple(self._values)

    def __len__(self) -> int:
        return self._count

    def columns(self) -> RecordColumns:
        """Return ids, labels, splits and groups of all records."""
        return self._columns

    def __getitem__(self, index: int) -> Record:
        key = self.key(index)
        return Record(key.id, {n: v[index] for n, v in self._values.items()}, key.labels, key.split, key.group)

    @classmethod
    def of_records(cls, records: Sequence[Record], fields: Sequence[str], root: str = ".") -> ArraysSource:
        """Return records as a source, with the given fields."""
        labels = dict.fromkeys(label for record in records for label in record.labels)
        return cls(
            {field: [record.values.get(field) for record in records] for field in fields},
            {label: [record.labels.get(label) for record in records] for label in labels},
            [record.id for record in records],
            [record.split for record in records],
            [record.group for record in records],
            root=root,
        )


def _host(cells: Sequence[Any]) -> Sequence[Any]:
    """Return a tensor as an array, anything else as it is."""
    return cells.cpu().numpy() if isinstance(cells, Tensor) else cells


def _parts(splits: Sequence[str | None]) -> pa.Array:
    """Return splits as a column; an unknown one stays as it is: `assign_parts` names the record in its error."""
    parts = {word: part_name(word) or word for word in set(splits) if word is not None}
    return pa.array([None if word is None else parts[word] for word in splits], pa.string())


def in_memory(source: Source, fields: Sequence[str]) -> ArraysSource:
    """Return the records of a source, read once; unreadable records are skipped."""
    records = []
    for index in range(len(source)):
        try:
            records.append(source[index])
        except BadSample as reason:
            log.warning("%s is skipped: %s", source.key(index).id, reason)
    return ArraysSource.of_records(records, fields, source.root)
