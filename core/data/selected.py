"""Some of the records of a source: those that a file names, such as one of `sensorium curate`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sensorium.contracts import RecordColumns, Source
from sensorium.errors import BadSample, DataError, Location
from sensorium.types import Record


def selected(source: Source, path: str | None) -> Source:
    """Return the records of a source that a file names; the source itself without a file."""
    return source if path is None else Selected(source, positions_in(source, path))


def positions_in(source: Source, path: str) -> np.ndarray:
    """Return where a source has the records that a file names: int64 (M,), ascending.

    Args:
        source: the records.
        path: a Parquet file with a column `id`, whose rows with `keep` are taken where it has that column; or a text
            file with one id on each line.

    Raises:
        DataError: when the file cannot be read, names none, or a record that the source does not have.
    """
    ids = _ids(Path(path).expanduser(), path)
    found_M = source.columns().positions_of(ids)
    if (unknown := np.flatnonzero(found_M < 0)).size:
        raise DataError(
            f"data.select names the record '{ids[int(unknown[0])].as_py()}', which the source does not have "
            f"({len(unknown):,} such of {len(ids):,} in '{path}'): select among its records, or set data.select=null."
        )
    if not len(found_M):
        raise DataError(f"data.select: '{path}' selects no record.")
    return np.unique(found_M)


def _ids(path: Path, named: str) -> pa.Array:
    """Return the ids that a file selects, strings (M,)."""
    try:
        if path.suffix.lower() != ".parquet":
            lines = path.read_text(encoding="utf-8-sig").splitlines()
            return pa.array([line.strip() for line in lines if line.strip()], pa.string())
        names = pq.read_schema(path).names
        if "id" not in names:
            raise DataError(f"data.select: '{named}' has no column 'id'; its columns: {', '.join(names)}.")
        table = pq.read_table(path, columns=[name for name in ("id", "keep") if name in names])
        if "keep" in names:
            table = table.filter(pc.field("keep"))
        return table["id"].cast(pa.string()).combine_chunks()
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"data.select: '{named}' is no file of ids that can be read ({reason}).") from error


class Selected(Source):
    """Some of the records of another source, in its order.

    Args:
        source: the other.
        positions: where it has them, int64 (M,), ascending.
    """

    def __init__(self, source: Source, positions: np.ndarray) -> None:
        self.source, self.positions = source, positions
        self.fork_safe, self.license, self.attribution = source.fork_safe, source.license, source.attribution
        self.extensions = source.extensions

    @property
    def root(self) -> str:  # type: ignore[override]
        """The folder that relative paths start from."""
        return self.source.root

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of the other."""
        return self.source.fields

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int) -> Record:  # type: ignore[override]
        return self.source[int(self.positions[index])]

    def columns(self) -> RecordColumns:
        """Return ids, labels, splits, groups and times of the selected records."""
        return self._columns

    @cached_property
    def _columns(self) -> RecordColumns:
        return self.source.columns().take(self.positions)

    def read(self, positions: Sequence[int]) -> list[Record | BadSample]:
        """Return the records at positions, as the other reads them."""
        return self.source.read(self.positions[np.asarray(positions, np.int64)].tolist())

    def present(self, field: str) -> np.ndarray | None:
        """Return which records have a value in a field."""
        present_N = self.source.present(field)
        return None if present_N is None else present_N[self.positions]

    def fragments(self) -> np.ndarray | None:
        """Return where those fragments begin of which any record is selected."""
        starts = self.source.fragments()
        return None if starts is None else np.unique(np.searchsorted(self.positions, starts))

    def locate(self, index: int, field: str) -> Location | None:
        """Return where the other has a value."""
        return self.source.locate(int(self.positions[index]), field)

    def notes(self) -> list[str]:
        """Return the notes of the other, and how many records are selected."""
        chosen = f"{len(self):,} of {len(self.source):,} records are selected (data.select)"
        return [*self.source.notes(), chosen]


def whole_of(source: Source) -> tuple[Source, np.ndarray | None]:
    """Return the source that records are selected from, and where it has them, int64 (M,); one itself, and None."""
    return (source.source, source.positions) if isinstance(source, Selected) else (source, None)
