"""The names of the parts of a split, how others write them, and the groups whose records share one.

Letters: N records, G groups of them.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sensorium.contracts import RecordColumns
from sensorium.contracts.record_columns import Column, numbered
from sensorium.errors import DataError, RunError, not_found

PARTS = ("train", "val", "test")
ALIASES = {"training": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test"}
TRAIN, VAL, TEST = range(3)
"""Numbers of the parts."""


def part_name(word: str) -> str | None:
    """Return the part that a folder or cell names ("validation" is "val"), or None when it names none."""
    word = word.strip().lower()
    word = ALIASES.get(word, word)
    return word if word in PARTS else None


class Groups:
    """The groups of records that share a part: a record's own, or, without one, the record itself, called by its id.

    Args:
        columns: of N records.

    Attributes:
        names: of the G groups, strings (G,), in the order in which they first come.
        number_N: the number of each record's group.
    """

    def __init__(self, columns: RecordColumns) -> None:
        if columns.groups is None or columns.groups.null_count == 0:
            self.names, self.number_N = columns.numbered_groups
            return
        self.names, self.number_N = numbered(pc.coalesce(text(columns.groups), text(columns.id_column())))

    def __len__(self) -> int:
        return len(self.names)

    def of_first(self, values_M: np.ndarray, rows_M: np.ndarray, without: int = -1) -> np.ndarray:
        """Return for each group the value of the first of its records among some, (G,), `without` where it has none.

        Args:
            values_M: of M records.
            rows_M: which records they are, ascending.
            without: of groups without such a record.
        """
        value_G = np.full(len(self), without, values_M.dtype)
        value_G[self.number_N[rows_M[::-1]]] = values_M[::-1]
        return value_G

    def refuse_torn(self, parts_M: np.ndarray, rows_M: np.ndarray, columns: RecordColumns) -> np.ndarray:
        """Return the part of each group, int8 (G,), -1 where none of some records is in it.

        Args:
            parts_M: numbers of the parts of M records, int8.
            rows_M: which records they are, ascending.
            columns: of all records, for the error.

        Raises:
            DataError: when two of these records are of one group and in two parts.
        """
        part_G = self.of_first(parts_M, rows_M)
        torn_M = part_G[self.number_N[rows_M]] != parts_M
        if torn_M.any():
            at = int(torn_M.argmax())
            row = int(rows_M[at])
            group = self.number_N[row]
            raise DataError(
                f"The group '{self.names[int(group)].as_py()}' has records in {PARTS[part_G[group]]} and in "
                f"{PARTS[parts_M[at]]} (one is '{columns.key(row).id}'); records of one group must share a split."
            )
        return part_G


def text(column: Column) -> Column:
    """Return a column of strings as plain strings, of any total length, not as a dictionary."""
    return column.cast(pa.large_string())


def require_part(part: str) -> None:
    """Raise an error for a word that names neither a part nor "all".

    Raises:
        RunError: with what is known.
    """
    if part not in (known := [*PARTS, "all"]):
        raise RunError(not_found(f"There is no part '{part}'", part, known, f"known: {', '.join(known)}"))
