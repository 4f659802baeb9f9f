"""What curation found: one row for each record, in a Parquet file that a recipe takes as `data.select`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sensorium.curation.records import ComparedRecords
from sensorium.data.splits import PARTS
from sensorium.runs.atomic import write_atomically

SHOWN = 12
"""Rows of a table that are printed."""


@dataclass(frozen=True, repr=False)
class Curation:
    """What was found in N records; `str` of it is a summary.

    Args:
        rows: a row for each record, in the order of the source: `id`, `split`, what was found, and `keep`, which is
            false for the records that a training should leave out. Cells of a record that was not compared are null.
        statistics: counts and means, by name.
        table: rows of what is worth a table, such as clusters, as plain values.
        about: how it was found, as plain values.
        files: what was written: the rows, and contact sheets where anything draws the records.
    """

    rows: pa.Table
    statistics: Mapping[str, float]
    table: list[dict[str, Any]] = field(default_factory=list)
    about: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[Path, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"<Curation of {len(self):,} records: {', '.join(self.rows.column_names)}>"

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def write(self, path: str | Path) -> None:
        """Write the rows to a Parquet file; the rest is its metadata, JSON under "sensorium"."""
        noted = json.dumps({"about": self.about, "statistics": self.statistics, "table": self.table})
        rows = self.rows.replace_schema_metadata({"sensorium": noted})
        write_atomically(Path(path), lambda part: pq.write_table(rows, part))

    def public(self) -> dict[str, Any]:
        """Return plain values for JSON: all but the rows."""
        files = [str(path) for path in self.files]
        return {"about": self.about, "statistics": self.statistics, "table": self.table, "files": files}

    def _lines(self) -> Iterator[str]:
        yield f"{'compared by':40} {self.about['compared by']}"
        for name, value in self.statistics.items():
            yield f"{name:40} {_cell(value)}"
        if not self.table:
            return
        cells = [list(self.table[0]), *([_cell(value) for value in row.values()] for row in self.table[:SHOWN])]
        widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
        yield ""
        for line in cells:
            yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        if len(self.table) > SHOWN:
            yield f"and {len(self.table) - SHOWN:,} more, which --json lists"


def rows_of(records: ComparedRecords, found: Mapping[str, np.ndarray | pa.Array], keep_M: np.ndarray) -> pa.Table:
    """Return a row for each record of the source.

    Args:
        records: the records.
        found: column -> what was found of each compared record (M,); nan, and None, are null.
        keep_M: bool, which of the compared records are kept; all others are.
    """
    count = len(records.columns)
    names = np.array([*PARTS, None], object)
    made: dict[str, Any] = {
        "id": records.columns.id_column(),
        "split": pa.array(names[records.part_N], pa.string()),
    }
    row_N = np.full(count, -1)
    row_N[records.at_M] = np.arange(len(records))
    taken = pa.array(row_N, mask=row_N < 0)
    for name, column in found.items():
        made[name] = (column if isinstance(column, pa.Array) else pa.array(column, from_pandas=True)).take(taken)
    keep_N = np.ones(count, bool)
    keep_N[records.at_M] = keep_M
    return pa.table({**made, "keep": keep_N})


def about(records: ComparedRecords, **options: Any) -> dict[str, Any]:
    """Return how something was found, as plain values."""
    return {"compared by": f"{records.compared_by} of {records.modality}", "modality": records.modality, **options}


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else " ".join(str(value).split())  # a label may have lines
