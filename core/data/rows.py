"""What a reader of one format makes of a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pyarrow as pa


@dataclass
class Rows:
    """The rows of a file.

    Args:
        cells: the columns that were asked for, N rows.
        faults: row, and the column of an unreadable cell or None for a row that is unreadable as a whole -> the
            reason; the cell, or the cells of the row, are missing in `cells`.
        line_of: row -> its line in the file, from 1; None for a format without lines.
    """

    cells: pa.Table
    faults: dict[tuple[int, str | None], str] = field(default_factory=dict)
    line_of: Callable[[int], int] | None = None
