"""Where records come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from sensorium.contracts.record_columns import RecordColumns
from sensorium.errors import BadSample, Location, as_bad_sample
from sensorium.types import Record


class Source(ABC, Sequence[Record]):
    """Where records come from: a sequence of them, read lazily.

    `source[i]` may read a file. A value that cannot be read stands as `Unreadable` among the others; when none of a
    record can, it raises `BadSample`. A source defines `columns`, which says of all records what `key` says of one, or
    `key`, which must be cheap; one of millions of records defines `columns`.
    """

    root: str = "."
    """The folder that relative paths among the raw values start from."""
    fork_safe: bool = True
    """Whether a forked process may read it: the threads of some libraries are not in one. Otherwise loader workers are
    spawned, which takes some seconds."""
    extensions: tuple[str, ...] = ()
    """The endings of the files that its option `path` names, in lower case, `.gz` taken off; empty where any may be
    one, or none is."""
    license: str = ""
    """The license of the records, where all of the source's have one: it goes to model cards."""
    attribution: str = ""
    """Whom publications have to name, a sentence, likewise."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self):,} records; fields: {', '.join(self.fields)})"

    @property
    @abstractmethod
    def fields(self) -> tuple[str, ...]:
        """Names of the fields in which records may have raw values."""

    def columns(self) -> RecordColumns:
        """Return id, labels, split, group and time of every record, in order, without reading values.

        By default out of `key`, record by record.
        """
        if type(self).key is Source.key:
            raise NotImplementedError(f"{type(self).__name__} defines neither columns nor key: a source defines one.")
        return RecordColumns.of_keys(map(self.key, range(len(self))))

    def key(self, index: int) -> Record:
        """Return the record at `index` without its values: id, labels, split, group and time only.

        By default out of `columns`, which then are at hand, not made anew.
        """
        return self.columns().key(index)

    def read(self, positions: Sequence[int]) -> list[Record | BadSample]:
        """Return the records at positions, in their order, `BadSample` in place of one that cannot be read.

        By default record by record. A source whose storage answers for many records at once defines it: a batch is
        then one request. A position may occur twice.
        """
        return [self._read_one(position) for position in positions]

    def _read_one(self, position: int) -> Record | BadSample:
        try:
            return self[position]
        except (BadSample, FileNotFoundError, PermissionError) as error:
            return as_bad_sample(error)

    def present(self, field: str) -> np.ndarray | None:
        """Return which of the N records have a value in a field, bool (N,), or None when only decoding shows it."""
        return None

    def fragments(self) -> np.ndarray | None:
        """Return where the fragments of its storage that are read together begin, such as row groups, or tars.

        Returns:
            int64 (F + 1,), ascending, the first 0 and the last N; None where records are read one by one.
        """
        return None

    def locate(self, index: int, field: str) -> Location | None:
        """Return where the value of a record in a field is found again, such as a row of a table; None if unknown.

        For a value that is a path, the path itself is reported.
        """
        return None

    def notes(self) -> list[str]:
        """Return sentences that a user must read before a training: how the data are understood, and what is ignored.

        Such are the columns that became channels; by default, nothing is said.
        """
        return []
