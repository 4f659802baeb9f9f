"""Tables: CSV, TSV, JSON lines and Parquet files, read as Arrow columns."""

from __future__ import annotations

import csv
import zlib
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from sensorium.contracts.record_columns import Column
from sensorium.data import json_lines
from sensorium.data.cells import canonical, is_bytes, is_text, without_faults, without_structs
from sensorium.data.classes import named
from sensorium.data.delimited import DelimitedFile
from sensorium.data.encodings import ADVICE
from sensorium.data.rows import Rows
from sensorium.data.stores.features import class_names
from sensorium.errors import BadSample, DataError, Location, did_you_mean
from sensorium.types import Unreadable

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

    Empty text is a missing value, as null is; so is an unreadable cell, in `arrow` and `readable`. Errors number rows
    from 1 in their own file, the heading aside.

    Args:
        files: where the rows come from.
        rows: what was read of each file, with the same columns.

    Attributes:
        title: the files, as errors name them.
        rows: how many rows each file has.
        unreadable: (row, column) -> the unreadable cell, or (row, None) -> the row that is unreadable as a whole.
    """

    def __init__(self, files: Sequence[Path], rows: Sequence[Rows]) -> None:
        self._files = list(files)
        self.title = f"'{files[0]}'" + (f" and {len(files) - 1} more" if len(files) > 1 else "")
        self.rows = [of_file.cells.num_rows for of_file in rows]
        self._ends = list(accumulate(self.rows))
        self._lines = [of_file.line_of for of_file in rows]
        self._classes = class_names(rows[0].cells.schema)
        try:
            joined = pa.concat_tables([_canonical(of_file.cells) for of_file in rows], promote_options="permissive")
        except pa.ArrowException as error:
            raise DataError(f"The files {self.title} have columns of different types: {_first_line(error)}.") from error
        reasons: dict[tuple[int, str | None], str] = {}
        for of_file, end in zip(rows, self._ends, strict=True):
            start = end - of_file.cells.num_rows
            reasons |= {(start + row, name): reason for (row, name), reason in of_file.faults.items()}
        self._columns: dict[str, pa.ChunkedArray] = {}
        for name, column in zip(joined.column_names, joined.columns, strict=True):
            self._columns[name], found = without_faults(column, ADVICE if any(self._lines) else "")
            reasons |= {(row, name): reason for row, reason in found.items()}
        self.unreadable = {at: self._unreadable(*at, reason) for at, reason in reasons.items()}
        if len(self) and sum(name is None for _, name in self.unreadable) == len(self):
            raise DataError(f"No row of {self.title} can be read; {self.fault(next(iter(self.unreadable)))}.")

    def __len__(self) -> int:
        return self._ends[-1]

    def _file(self, row: int) -> tuple[int, int]:
        """Return the number of the file that a row is in, and its row there, from 0."""
        file = bisect_right(self._ends, row)
        return file, row - (self._ends[file - 1] if file else 0)

    def position(self, row: int) -> str:
        """Return where a row is, for errors: "2 of 'a.csv'"."""
        file, within = self._file(row)
        return f"{within + 1} of '{self._files[file]}'"

    def where(self, row: int, column: str | None = None) -> Location:
        """Return where a cell is, or a row."""
        file, within = self._file(row)
        line_of = self._lines[file]
        return Location(str(self._files[file]), within + 1 if line_of is None else line_of(within), column)

    def _unreadable(self, row: int, column: str | None, reason: str) -> Unreadable:
        return Unreadable(reason, kind="encoding" if column is not None else "damaged", where=self.where(row, column))

    def arrow(self, name: str) -> pa.ChunkedArray:
        """Return a column as Arrow holds it."""
        return self._columns[name]

    def cell(self, name: str, row: int) -> Any:
        """Return one cell, None when it is missing."""
        return without_structs(self._columns[name][row].as_py())

    def plain(self, name: str, use: str = "label", named_classes: bool = True) -> Column:
        """Return a column of text, numbers or booleans, null where a cell is missing or unreadable; dates are text.

        Args:
            name: the column.
            use: what its cells are, for the error.
            named_classes: whether class labels of a Hugging Face dataset are their names, and null where they are none.

        Raises:
            DataError: when the cells are neither text, numbers nor dates.
        """
        column = self._columns[name]
        kind = column.type
        if pa.types.is_nested(kind) or is_bytes(kind):
            raise DataError(
                f"The column '{name}' of {self.title} has the type {kind}, whose cells cannot be {use}s: name a "
                "column of text or numbers."
            )
        if pa.types.is_temporal(kind):
            cells = column.to_pylist()
            return pa.chunked_array([[None if cell is None else str(cell) for cell in cells]], pa.string())
        if named_classes and name in self._classes and pa.types.is_integer(kind):
            return named(column, self._classes[name], name, self.title)
        if not is_text(kind) and not pa.types.is_floating(kind):
            return column
        is_missing = pc.equal(column, "") if is_text(kind) else pc.is_nan(column)
        return pc.if_else(is_missing, pa.scalar(None, kind), column) if pc.any(is_missing).as_py() else column

    def readable(self, name: str, use: str = "label") -> list[Any]:
        """Return the cells of a column, None where one is missing or unreadable; errors as those of `plain`."""
        return self.plain(name, use).to_pylist()

    def cells(self, name: str, use: str = "label") -> list[Any]:
        """Return the cells of a column, None where one is missing; as `readable`, but no cell may be unreadable."""
        self.check_readable(name)
        return self.readable(name, use)

    def texts(self, name: str, use: str = "name") -> list[str | None]:
        """Return the cells of a column as text, None where one is missing; errors as those of `cells`."""
        return [None if cell is None else str(cell) for cell in self.cells(name, use)]

    def check(self, row: int, name: str) -> None:
        """Raise `BadSample` for a cell that is unreadable, or in an unreadable row."""
        fault = self.unreadable.get((row, None)) or self.unreadable.get((row, name))
        if fault is not None:
            raise BadSample(fault.reason, fault.kind, fault.where)

    def check_readable(self, name: str, rows: bool = True) -> None:
        """Raise `DataError` for the first unreadable cell of a column, and, with `rows`, for an unreadable row."""
        for row, column in self.unreadable:
            if column == name or (rows and column is None):
                raise DataError(f"{self.fault((row, column))}.")

    def fault(self, at: tuple[int, str | None]) -> str:
        """Return what is wrong with a row or a cell, as a sentence without its full stop."""
        unreadable = self.unreadable[at]
        return f"{unreadable.where} cannot be read: {unreadable.reason}"

    def identifiers(self, name: str, kind: str = "id") -> list[str]:
        """Return a column of names as text.

        Args:
            name: the column.
            kind: what it names, for the error.

        Raises:
            DataError: when a cell is missing; the message names its row.
        """
        texts = self.texts(name, kind)
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
        self.check_readable(name)
        column = self._columns[name]
        types = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal, pa.types.is_null)
        if not any(is_type(column.type) for is_type in types):
            fault = self.first_invalid(name, float)
            raise DataError(f"The column '{name}' holds {fault}, which is no number{advice}.")
        return pc.cast(column, pa.float64(), safe=False).to_numpy()  # integers beyond 2^53 are rounded

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


def _canonical(cells: pa.Table) -> pa.Table:
    return pa.table([canonical(column) for column in cells.columns], names=cells.column_names)


@dataclass(frozen=True)
class TableReader:
    """How files of rows are read.

    A row that cannot be read (a line that is no JSON object; more or fewer cells than the heading names) is an
    unreadable row of the table, and text that is not in the file's encoding, or holds NUL, an unreadable cell.

    Args:
        format: None goes by the file's extension; `.gz` on top of .csv, .tsv and .jsonl is understood.
        delimiter: the character between the cells of a CSV file; None is "," (a tab for TSV).
        decimal: the decimal point of a CSV or TSV file.
        header: the column names of a CSV or TSV file without a heading row.
        na_values: the cells of a CSV or TSV file that are missing numbers; None is the usual ones: empty cells, "nan",
            "NA", "null" and their spellings. In a column of text only an empty cell is missing.
        quote: the character around cells of a CSV or TSV file that contain delimiters or newlines; "" for none.
        skip_rows: lines of a CSV or TSV file before its heading row.
        encoding: of a CSV, TSV or JSON-lines file without a byte-order mark; None is UTF-8.
    """

    format: Format | None = None
    delimiter: str | None = None
    decimal: str = "."
    header: Sequence[str] | None = None
    na_values: Sequence[str] | None = None
    quote: str = '"'
    skip_rows: int = 0
    encoding: str | None = None

    def __post_init__(self) -> None:
        for option in ("delimiter", "decimal", "quote"):
            given = getattr(self, option)
            if given is None or (option == "quote" and given == ""):
                continue
            if len(given) != 1 or not given.isascii() or given in "\r\n\0":
                hint = '; in YAML, a tab is "\\t"' if option == "delimiter" else ""
                raise DataError(f"data.source.{option} is {given!r}, and must be one character of ASCII{hint}.")
        if self.quote and self.quote == self.delimiter:
            raise DataError(f"data.source.delimiter and quote are both {self.quote!r}; set one of them otherwise.")

    _names_of: dict[Path, list[str]] = field(default_factory=dict, init=False, repr=False, compare=False)

    EXTENSIONS: ClassVar = tuple(FORMATS)
    """Of the files that are tables."""

    @staticmethod
    def extension(path: Path) -> str:
        """Return the extension of a file in lower case, `.gz` on top of it taken off."""
        return Path(path.stem if path.suffix.lower() == ".gz" else path.name).suffix.lower()

    def column_names(self, path: Path) -> list[str]:
        """Return the names of the columns of a file."""
        if path not in self._names_of:
            self._names_of[path] = self._guarded(path, self._names)
        return self._names_of[path]

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
        for file in files:
            self._check_columns(file, columns)
        return Table(files, [self._guarded(file, self._rows, columns, list(text)) for file in files])

    def _check_columns(self, path: Path, columns: list[str]) -> None:
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

    def _guarded(self, path: Path, read: Callable[..., Any], *arguments: Any) -> Any:
        """Read a file; every failure becomes one sentence."""
        if path.is_dir():
            raise DataError(f"'{path}' is a folder, not a file; for a folder of files use the source 'folder'.")
        if not path.exists():
            raise DataError(f"The file '{path}' does not exist; check data.source.")
        try:
            return read(path, *arguments)
        except (pa.ArrowException, OSError, EOFError, zlib.error, csv.Error) as error:
            raise DataError(
                f"'{path}' cannot be read as {self._format(path).upper()}: {_first_line(error)}; is it damaged, or cut "
                "short, or of another format (data.source.format)?"
            ) from error

    def _format(self, path: Path) -> Format:
        if self.format is not None:
            return self.format
        if self.extension(path) not in FORMATS:
            raise DataError(f"'{path}' ends in none of {', '.join(FORMATS)}; name its format with data.source.format.")
        return FORMATS[self.extension(path)]

    def _names(self, path: Path) -> list[str]:
        match self._format(path):
            case "jsonl":
                return json_lines.column_names(path, self.encoding)
            case "parquet":
                return pa.parquet.read_schema(path).names
        return self._delimited(path).column_names

    def _rows(self, path: Path, columns: list[str], text: list[str]) -> Rows:
        match self._format(path):
            case "jsonl":
                return json_lines.read(path, self.encoding, columns)
            case "parquet":
                return Rows(pa.parquet.read_table(path, columns=columns, memory_map=True))
        return self._delimited(path).read(columns, text)

    def _delimited(self, path: Path) -> DelimitedFile:
        delimiter = self.delimiter or ("\t" if self._format(path) == "tsv" else ",")
        return DelimitedFile(
            path,
            delimiter,
            self.quote,
            self.decimal,
            self.header,
            self.na_values,
            self.skip_rows,
            self.encoding,
            is_named=self.delimiter is not None,
        )


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
