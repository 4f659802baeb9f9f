"""Tables: CSV, TSV, JSON lines and Parquet files, read as Arrow columns."""

from __future__ import annotations

import gzip
import json
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from sensorium.errors import DataError, did_you_mean

Format = Literal["csv", "tsv", "jsonl", "parquet"]
FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}


class Table:
    """Columns of one or several files, in Arrow's memory; cells become Python objects when they are asked for.

    Empty text is a missing value, as null is. Errors number rows from 1 in their own file, the heading aside.

    Args:
        files: where the rows come from.
        tables: the rows of each file, with the same columns.

    Attributes:
        title: the files, as errors name them.
        rows: how many rows each file has.
    """

    def __init__(self, files: Sequence[Path], tables: Sequence[pa.Table]) -> None:
        self._files = list(files)
        self.title = f"'{files[0]}'" + (f" and {len(files) - 1} more" if len(files) > 1 else "")
        self.rows = [table.num_rows for table in tables]
        self._ends = list(accumulate(self.rows))
        try:
            joined = pa.concat_tables(tables, promote_options="permissive")
        except pa.ArrowException as error:
            raise DataError(f"The files {self.title} have columns of different types: {_first_line(error)}.") from error
        self._columns = dict(zip(joined.column_names, joined.columns, strict=True))

    def __len__(self) -> int:
        return self._ends[-1]

    def position(self, row: int) -> str:
        """Return where a row is, for errors: "2 of 'a.csv'"."""
        file = bisect_right(self._ends, row)
        return f"{row - (self._ends[file - 1] if file else 0) + 1} of '{self._files[file]}'"

    def arrow(self, name: str) -> pa.ChunkedArray:
        """Return a column as Arrow holds it."""
        return self._columns[name]

    def cell(self, name: str, row: int) -> Any:
        """Return one cell, None when it is missing."""
        found = self._columns[name][row].as_py()
        return None if found == "" else found

    def cells(self, name: str) -> list[Any]:
        """Return the cells of a column, None where one is missing."""
        return [None if cell == "" else cell for cell in self._columns[name].to_pylist()]

    def texts(self, name: str) -> list[str | None]:
        """Return the cells of a column as text, None where one is missing."""
        return [None if cell is None else str(cell) for cell in self.cells(name)]

    def identifiers(self, name: str, kind: str = "id") -> list[str]:
        """Return a column of names as text.

        Args:
            name: the column.
            kind: what it names, for the error.

        Raises:
            DataError: when a cell is missing; the message names its row.
        """
        texts = self.texts(name)
        if None in texts:
            raise DataError(f"Row {self.position(texts.index(None))} has an empty {kind} in column '{name}'.")
        return texts  # type: ignore[return-value]

    def numbers(self, name: str, advice: str = "") -> np.ndarray:
        """Return a column as float64 (N,), nan where a cell is missing.

        Args:
            name: the column.
            advice: what else to do about a cell that is no number, for the error.

        Raises:
            DataError: when the column holds anything else; the message names the first such cell and its row.
        """
        column = self._columns[name]
        types = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal, pa.types.is_null)
        if not any(is_type(column.type) for is_type in types):
            fault = self.first_invalid(name, float)
            raise DataError(f"The column '{name}' holds {fault}, which is no number{advice}.")
        return pc.cast(column, pa.float64()).to_numpy()

    def first_invalid(self, name: str, parse: Callable[[Any], object]) -> str:
        """Return the first cell of a column that `parse` refuses, with its position, for errors."""
        column = self._columns[name]
        for row, cell in enumerate(column.to_pylist()):
            try:
                parse(cell)
            except (TypeError, ValueError):
                if cell is not None:
                    return f"'{cell}' (row {self.position(row)})"
        return f"cells of type {column.type} in {self.title}"


@dataclass(frozen=True)
class TableReader:
    """How files of rows are read.

    Args:
        format: None goes by the file's extension; `.gz` on top of .csv, .tsv and .jsonl is understood.
        delimiter: the character between the cells of a CSV file; None is "," (a tab for TSV).
        decimal: the decimal point of a CSV or TSV file.
        header: the column names of a CSV or TSV file without a heading row.
        na_values: the cells of a CSV or TSV file that are missing numbers; None is the usual ones: empty cells, "nan",
            "NA", "null" and their spellings. In a column of text only an empty cell is missing.
        skip_rows: lines of a CSV or TSV file before its heading row.
    """

    format: Format | None = None
    delimiter: str | None = None
    decimal: str = "."
    header: Sequence[str] | None = None
    na_values: Sequence[str] | None = None
    skip_rows: int = 0

    EXTENSIONS: ClassVar = tuple(FORMATS)
    """Of the files that are tables."""

    @staticmethod
    def extension(path: Path) -> str:
        """Return the extension of a file in lower case, `.gz` on top of it taken off."""
        return Path(path.stem if path.suffix.lower() == ".gz" else path.name).suffix.lower()

    def column_names(self, path: Path) -> list[str]:
        """Return the names of the columns of a file."""
        return self._guard(path, "names")

    def read(self, files: Sequence[Path], text: Sequence[str] = (), typed: Sequence[str] = ()) -> Table:
        """Read columns of files.

        Args:
            files: one at least, with the same columns.
            text: columns whose cells stay the text they are, in a format without types.
            typed: columns whose type is inferred there.

        Raises:
            DataError: when a file cannot be read, or lacks one of the columns.
        """
        columns = list(dict.fromkeys([*text, *typed]))
        return Table(files, [self._read(file, columns, list(text)) for file in files])

    def _read(self, path: Path, columns: list[str], text: list[str]) -> pa.Table:
        names = self.column_names(path)
        for column in columns:
            if column not in names:
                suggestion = did_you_mean(column, names)
                raise DataError(
                    f"'{path}' has no column '{column}'{suggestion}{' Its' if suggestion else '; its'} columns are: "
                    f"{', '.join(names)}."
                )
            if names.count(column) > 1:
                raise DataError(f"'{path}' has {names.count(column)} columns named '{column}'; rename all but one.")
        return self._guard(path, "read", columns, text)

    def _guard(self, path: Path, verb: str, *arguments):
        """Call the reader of the file's format; every failure becomes one sentence."""
        if not path.exists():
            raise DataError(f"The file '{path}' does not exist; check data.source.")
        if path.is_dir():
            raise DataError(f"'{path}' is a folder, not a file; for a folder of files use the source 'folder'.")
        format = self._format(path)
        kind = {"csv": "delimited", "tsv": "delimited"}.get(format, format)
        try:
            return getattr(self, f"_{kind}_{verb}")(path, *arguments)
        except (pa.ArrowException, OSError, UnicodeDecodeError, EOFError) as error:
            raise DataError(f"'{path}' cannot be read as {format.upper()}: {_first_line(error)}.") from error

    def _format(self, path: Path) -> Format:
        if self.format is not None:
            return self.format
        if self.extension(path) not in FORMATS:
            raise DataError(f"'{path}' ends in none of {', '.join(FORMATS)}; name its format with data.source.format.")
        return FORMATS[self.extension(path)]

    def _delimited_options(self, path: Path) -> dict:
        tab = self._format(path) == "tsv"
        return {
            "read_options": pa.csv.ReadOptions(
                column_names=None if self.header is None else list(self.header), skip_rows=self.skip_rows
            ),
            "parse_options": pa.csv.ParseOptions(
                delimiter=self.delimiter or ("\t" if tab else ","), newlines_in_values=True
            ),
        }

    def _delimited_names(self, path: Path) -> list[str]:
        with pa.csv.open_csv(path, **self._delimited_options(path)) as stream:
            return stream.schema.names

    def _delimited_read(self, path: Path, columns: list[str], text: list[str]) -> pa.Table:
        convert = pa.csv.ConvertOptions(
            include_columns=columns,
            column_types=dict.fromkeys(text, pa.string()),
            null_values=self.na_values,
            decimal_point=self.decimal,
        )
        return pa.csv.read_csv(path, convert_options=convert, **self._delimited_options(path))

    def _jsonl_rows(self, path: Path) -> list[dict]:
        rows = []
        with (gzip.open if path.suffix.lower() == ".gz" else open)(path, "rt", encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    raise DataError(f"Line {number} of '{path}' is not JSON: {error}.") from error
                if not isinstance(row, dict):
                    raise DataError(f"Line {number} of '{path}' is not a JSON object of column names and cells.")
                rows.append(row)
        return rows

    def _jsonl_names(self, path: Path) -> list[str]:
        return list(dict.fromkeys(name for row in self._jsonl_rows(path) for name in row))

    def _jsonl_read(self, path: Path, columns: list[str], text: list[str]) -> pa.Table:
        # Not pyarrow's own JSON reader: it turns text that looks like a date into one.
        rows = self._jsonl_rows(path)
        return pa.table({name: pa.array([row.get(name) for row in rows]) for name in columns})

    def _parquet_names(self, path: Path) -> list[str]:
        return pa.parquet.read_schema(path).names

    def _parquet_read(self, path: Path, columns: list[str], text: list[str]) -> pa.Table:
        return pa.parquet.read_table(path, columns=columns, memory_map=True)


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0].rstrip(".")
