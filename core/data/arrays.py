"""Arrays and lists in memory as a source."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from sensorium.contracts import Source
from sensorium.data.splits import first_duplicate, part_name
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
        self._values, self._labels = dict(values), dict(labels or {})
        if not self._values:
            raise DataError("The arrays source got no values; give at least one field.")
        self._count = len(next(iter(self._values.values())))
        self._ids = [str(i) for i in (range(self._count) if ids is None else ids)]
        self._splits, self._groups = splits, groups
        self._check()

    def _check(self) -> None:
        columns: dict[str, Sequence[Any] | None] = {f"the field '{n}'": v for n, v in self._values.items()}
        columns |= {f"the label '{n}'": v for n, v in self._labels.items()}
        columns |= {"ids": self._ids, "splits": self._splits, "groups": self._groups}
        for name, column in columns.items():
            if column is not None and len(column) != self._count:
                first = next(iter(self._values))
                raise DataError(
                    f"The arrays disagree: the field '{first}' has {self._count} entries, {name} {len(column)}."
                )
        if not self._count:
            raise DataError("The arrays are empty: there are no records.")
        if (twice := first_duplicate(self._ids)) is not None:
            raise DataError(f"Two records of the arrays have the id '{twice}'; ids must be unique.")

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the arrays."""
        return tuple(self._values)

    def __len__(self) -> int:
        return self._count

    def key(self, index: int) -> Record:
        """Return the record at `index` without its values."""
        split = None if self._splits is None else self._splits[index]
        group = None if self._groups is None else self._groups[index]
        return Record(
            self._ids[index],
            {},
            {name: column[index] for name, column in self._labels.items() if column[index] is not None},
            # An unknown split stays as it is: `assign_parts` raises an error that names the record.
            None if split is None else part_name(split) or split,
            None if group is None else str(group),
        )

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


def in_memory(source: Source, fields: Sequence[str]) -> ArraysSource:
    """Return the records of a source, read once; unreadable records are skipped."""
    records = []
    for index in range(len(source)):
        try:
            records.append(source[index])
        except BadSample as reason:
            log.warning("%s is skipped: %s", source.key(index).id, reason)
    return ArraysSource.of_records(records, fields, source.root)
