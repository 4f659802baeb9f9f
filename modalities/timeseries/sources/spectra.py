"""Tables of spectra as a source: a row for each spectrum, a column for each wavelength."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sensorium import Table, TableReader
from sensorium.errors import DataError
from sensorium.modalities.timeseries.precision import narrowed
from sensorium.modalities.timeseries.series import Axes
from sensorium.modalities.timeseries.sources.recordings import PARTS, Recording, RecordingSource, SlidingWindow

WAVELENGTH = re.compile(r"\s*[A-Za-z_]{0,12}\s*(\d+(?:[.,]\d+)?)\s*(?:nm|um|cm-1|cm\^-1|1/cm)?\s*")
"""The name of a column of a wavelength or wavenumber: "1100", "X1100", "1100.5 nm", "428 cm-1"."""
FEWEST = 8
"""Number of such columns below which a table has no spectra."""


class SpectraTable(RecordingSource):
    """Spectra out of CSV, TSV, JSON-lines or Parquet files: a row for each spectrum, a column for each wavelength.

    The columns of wavelengths, or wavenumbers, are those with a number for a name ("1100", "X1100", "1100.5 nm"), in
    ascending order. Spectra are time series whose steps are wavelengths. An empty cell is a missing value.

    Args:
        path: the file, or a list of files with the same columns.
        range: smallest and largest wavelength that are used; None uses all.
        id: the column of unique names; default the row's number.
        labels: the columns that evaluators predict, such as a concentration.
        split: the column that says train, val or test.
        group: the column whose equal cells, such as of replicates of one sample, keep records in one split.
        format: the files' format; default by their extension.
        delimiter: the character between the cells of a CSV file; default ",".
        decimal: the decimal point of a CSV or TSV file.
        skip_rows: lines of a CSV or TSV file before the row of column names.
        field: the field of the spectra.
    """

    extensions = TableReader.EXTENSIONS

    def __init__(
        self,
        path: str | list[str],
        range: tuple[float, float] | None = None,
        id: str | None = None,
        labels: list[str] | None = None,
        split: str | None = None,
        group: str | None = None,
        format: Literal["csv", "tsv", "jsonl", "parquet"] | None = None,
        delimiter: str | None = None,
        decimal: str = ".",
        skip_rows: int = 0,
        field: str = "timeseries",
    ) -> None:
        files = [Path(one).expanduser() for one in ([path] if isinstance(path, str) else path)]
        if not files:
            raise DataError("The source 'spectra' got an empty list of files.")
        reader = TableReader(format, delimiter, decimal, skip_rows=skip_rows)
        names = reader.column_names(files[0])
        keys = [name for name in (id, split, group) if name is not None]
        columns = _wavelengths(names, {*keys, *(labels or ())}, range)
        if len(columns) < FEWEST:
            raise DataError(
                f"'{files[0]}' has {len(columns)} columns whose name is a wavelength"
                f"{f' within {list(range)}' if range else ''}, such as 1100 or '1100 nm'; its columns are: "
                f"{', '.join(names[:12])}{', ...' if len(names) > 12 else ''}. "
                "Set data.source.skip_rows or data.source.delimiter where these are not its heading; series that stand "
                "in other forms are read by the sources 'series-table' and 'series'."
            )
        table = reader.read(files, keys, [*(labels or ()), *columns])
        if not len(table):
            raise DataError(f"{table.title} has no rows.")
        advice = ": a column with a number for a name is a wavelength; limit them with data.source.range"
        x_NT = np.stack([table.numbers(name, advice) for name in columns], axis=1)
        ids = list(map(str, np.arange(len(table)))) if id is None else table.identifiers(id)
        splits, groups = _texts(table, split), _texts(table, group)
        cells: dict[str, list[Any]] = {name: table.cells(name) for name in labels or ()}
        recordings = [
            Recording(
                name,
                narrowed(x_NT[row, None]),
                {label: column[row] for label, column in cells.items()},
                splits[row],
                groups[row],
            )
            for row, name in enumerate(ids)
        ]
        for recording in recordings:
            if recording.split not in (None, *PARTS):
                raise DataError(
                    f"The spectrum '{recording.id}' of {table.title} has the split '{recording.split}'; it must be "
                    "train, val or test."
                )
        lengths_T = np.array(list(columns.values()))
        axes = Axes(("intensity",), float(np.median(np.diff(lengths_T))), "", float(lengths_T[0]))
        super().__init__(recordings, field, SlidingWindow(), table.title, axes)
        self._said = f"spectra of {len(columns):,} wavelengths, {lengths_T[0]:g} to {lengths_T[-1]:g}"
        if labels:
            self._said += f"; labels, which no training reads: {', '.join(labels)}"
        if unused := [name for name in names if name not in {*keys, *(labels or ()), *columns}]:
            self._said += f"; not used: {', '.join(unused[:20])}{', ...' if len(unused) > 20 else ''}"

    def notes(self) -> list[str]:
        """Return which wavelengths the spectra have, and which columns are not used."""
        return [self._said]


def _wavelengths(names: list[str], used: set[str], range: tuple[float, float] | None) -> dict[str, float]:
    """Return the columns of wavelengths that are used, and each one's number, ascending."""
    low, high = range or (0.0, np.inf)
    written = {name: WAVELENGTH.fullmatch(name) for name in names if name not in used}
    found = {name: float(match[1].replace(",", ".")) for name, match in written.items() if match}
    return {name: number for name, number in sorted(found.items(), key=lambda pair: pair[1]) if low <= number <= high}


def _texts(table: Table, column: str | None) -> list[str | None]:
    return [None] * len(table) if column is None else table.texts(column)
