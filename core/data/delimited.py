"""Delimited text: CSV and TSV files, through Arrow's reader."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from sensorium.data.cells import is_text
from sensorium.data.encodings import encoding_of, fault_of, open_bytes, open_text
from sensorium.data.rows import Rows
from sensorium.errors import DataError

BLOCKS = (2**20, 2**24, 2**27, 2**31 - 1)
"""Bytes that Arrow reads at a time; a row must fit into one such block."""
DELIMITERS = {";": "';'", "\t": "a tab", "|": "'|'", ",": "','"}
SAFE = 2.0**63
"""Numbers from here on have lost digits as float64 that a name needs."""

csv.field_size_limit(2**31 - 1)


@dataclass(frozen=True)
class DelimitedFile:
    """One file of delimited text.

    Args:
        path: the file.
        delimiter: the character between cells.
        quote: the character around cells that contain delimiters or newlines; "" for none.
        decimal: the decimal point.
        header: the column names of a file without a heading row.
        na_values: the cells that are missing numbers; None is the usual ones.
        skip_rows: lines before the heading row.
        encoding: where there is no byte-order mark; None is UTF-8.
        is_named: whether the delimiter was chosen for this file, so that it is not questioned.
    """

    path: Path
    delimiter: str = ","
    quote: str = '"'
    decimal: str = "."
    header: Sequence[str] | None = None
    na_values: Sequence[str] | None = None
    skip_rows: int = 0
    encoding: str | None = None
    is_named: bool = False

    @cached_property
    def column_names(self) -> list[str]:
        """The names of the columns.

        Raises:
            DataError: when the file is empty, its heading is no text, or another delimiter stands in it.
        """
        with self._open() as text:
            records = (cells for cells in self._reader(text) if cells)
            first = next(records, None)
            second = next(records, None) if first is not None and len(first) == 1 else None
        if first is None:
            raise DataError(f"'{self.path}' is empty: a table has a row of column names, and rows below it.")
        if reason := next(filter(None, map(fault_of, first)), None):
            raise DataError(f"The first line of '{self.path}' cannot be read: {reason}.")
        if not self.is_named and len(first) == 1:
            self._question_delimiter(first[0], second)
        return first if self.header is None else list(self.header)

    def _question_delimiter(self, heading: str, second: list[str] | None) -> None:
        """Refuse a table of one column whose heading and first row agree in the number of another delimiter."""
        for delimiter, name in DELIMITERS.items():
            cells = next(csv.reader([heading], delimiter=delimiter))
            below = next(csv.reader([self.delimiter.join(second)], delimiter=delimiter)) if second else cells
            if delimiter != self.delimiter and len(cells) == len(below) > 1:
                raise DataError(
                    f"'{self.path}' has one column, '{heading[:60]}', whose cells are separated by {name}, it seems: "
                    f"set data.source.delimiter: {json_quoted(delimiter)}."
                )

    def read(self, columns: Sequence[str], text: Sequence[str]) -> Rows:
        """Read columns; a row with more or fewer cells than the heading is unreadable.

        Args:
            columns: their names.
            text: those whose cells stay the text they are; the type of others is inferred.

        Raises:
            DataError: when a quote is not closed, so that no reader knows where rows end.
        """
        invalid: list[pa.csv.InvalidRow] = []
        cells = self._arrow(columns, text, invalid, use_threads=True)
        if invalid:
            cells = self._arrow(columns, text, invalid, use_threads=False)  # which numbers the rows
        cells = self._with_names(cells, [name for name in columns if name not in text and _lost_digits(cells[name])])
        if self.quote and (self._has_odd_quotes() or any(map(_has_newline, cells.columns))):
            self._check_quotes()
        return self._with_invalid(cells, invalid)

    def _arrow(
        self, columns: Sequence[str], text: Sequence[str], invalid: list[pa.csv.InvalidRow], use_threads: bool
    ) -> pa.Table:
        def skip(row: pa.csv.InvalidRow) -> str:
            invalid.append(row)
            return "skip"

        parse = pa.csv.ParseOptions(
            delimiter=self.delimiter,
            quote_char=self.quote or False,
            newlines_in_values=bool(self.quote),
            invalid_row_handler=skip,
        )
        convert = pa.csv.ConvertOptions(
            check_utf8=False,
            include_columns=list(columns),
            column_types=dict.fromkeys(text, pa.string()),
            null_values=self.na_values,
            decimal_point=self.decimal,
        )
        header = None if self.header is None else list(self.header)
        for block in BLOCKS:
            options = pa.csv.ReadOptions(
                use_threads=use_threads, block_size=block, column_names=header, skip_rows=self.skip_rows
            )
            invalid.clear()
            try:
                return pa.csv.read_csv(self._bytes(), options, parse, convert)
            except pa.ArrowInvalid as error:
                if "straddling object" not in str(error) or block == BLOCKS[-1]:
                    raise
        raise AssertionError("the last block size returns or raises")

    def _with_names(self, cells: pa.Table, wide: Sequence[str]) -> pa.Table:
        """Return the table with columns of whole numbers that float64 rounds as text: they are names."""
        if not wide:
            return cells
        texts = self._arrow(wide, wide, [], use_threads=True)
        for name in wide:
            filled = pc.if_else(pc.is_valid(cells[name]), pc.utf8_trim_whitespace(texts[name]), None)
            if pc.all(pc.match_substring_regex(filled, r"^[+-]?\d+$")).as_py():
                cells = cells.set_column(cells.column_names.index(name), name, filled)
        return cells

    def _bytes(self) -> Any:
        """Return what Arrow reads: the file itself, or its text in UTF-8 where it has another encoding."""
        if encoding_of(self.path, self.encoding)[0] == "utf-8":
            return str(self.path)  # Arrow takes off the compression and the byte-order mark
        with open_text(self.path, self.encoding, newline="") as text:
            return io.BytesIO(text.read().encode("utf-8", "surrogatepass"))

    def _with_invalid(self, cells: pa.Table, invalid: Sequence[pa.csv.InvalidRow]) -> Rows:
        """Return the rows with those between them that are unreadable, one for each line of such a row."""
        lines = {row.number: max(len(row.text.splitlines()), 1) for row in invalid}
        total = cells.num_rows + len(invalid)
        first = self.skip_rows + (1 if self.header is not None else 2)
        counts_R = np.array([lines.get(first + record, 1) for record in range(total)], np.int64)
        record_N = np.repeat(np.arange(total), counts_R)
        reasons = {row.number - first: self._reason(row, lines[row.number]) for row in invalid}
        is_invalid_R = np.isin(np.arange(total), list(reasons))
        starts_R = np.cumsum(counts_R) - counts_R
        line_of = partial(self.line, record_N, starts_R)
        if not invalid:
            return Rows(cells, {}, line_of)
        taken_R = np.where(is_invalid_R, 0, np.cumsum(~is_invalid_R) - 1)
        index_N = pa.array(taken_R[record_N], mask=is_invalid_R[record_N])
        rows = np.flatnonzero(is_invalid_R[record_N]).tolist()
        return Rows(cells.take(index_N), {(row, None): reasons[int(record_N[row])] for row in rows}, line_of)

    def line(self, record_N: np.ndarray, starts_R: np.ndarray, row: int) -> int:
        """Return the line of a row, from 1.

        Args:
            record_N: the record of the file that each row is, or is a line of.
            starts_R: the first row of each record.
            row: the row.
        """
        record = int(record_N[row])
        return self._lines[record] + row - int(starts_R[record])

    def _reason(self, row: pa.csv.InvalidRow, lines: int) -> str:
        counts = f"it has {row.actual_columns} cell{'s' * (row.actual_columns != 1)}, not {row.expected_columns}"
        return counts if lines == 1 else f"{counts}, in a row of {lines} lines: is a quote not closed?"

    @cached_property
    def _lines(self) -> list[int]:
        """The line on which each row begins, the heading aside."""
        with self._open() as text:
            reader, starts, start = self._reader(text), [], 1 + self.skip_rows
            for cells in reader:
                if cells:
                    starts.append(start)
                start = reader.line_num + 1 + self.skip_rows
        return starts if self.header is not None else starts[1:]

    @contextmanager
    def _open(self) -> Iterator[IO[str]]:
        """Open the text at its heading row."""
        with open_text(self.path, self.encoding, newline="") as text:
            for _ in range(self.skip_rows):
                next(text, None)
            yield text

    def _reader(self, text: Any, strict: bool = False) -> Any:
        if not self.quote:
            return csv.reader(text, delimiter=self.delimiter, quoting=csv.QUOTE_NONE)
        return csv.reader(text, delimiter=self.delimiter, quotechar=self.quote, strict=strict)

    def _has_odd_quotes(self) -> bool:
        quote, count = self.quote.encode(), 0
        with open_bytes(self.path) as file:
            while piece := file.read(2**24):
                count += piece.count(quote)
        return count % 2 == 1

    def _check_quotes(self) -> None:
        """Refuse a row of several lines that ends in no closed quote: rows have been joined to one."""
        with self._open() as text:
            reader = self._reader(text, strict=True)
            start = 1 + self.skip_rows
            while True:
                try:
                    if next(reader, None) is None:
                        return
                except csv.Error as error:
                    if (line := reader.line_num + self.skip_rows) > start:
                        raise DataError(
                            f"A quote that opens in line {start} of '{self.path}' is not closed before line "
                            f"{line}: close it, or set data.source.quote: '' where cells are never quoted."
                        ) from error
                start = reader.line_num + 1 + self.skip_rows


def json_quoted(delimiter: str) -> str:
    """Return a delimiter as it stands in a recipe: "\\t" is a tab."""
    return '"\\t"' if delimiter == "\t" else f'"{delimiter}"'


def _lost_digits(column: pa.ChunkedArray) -> bool:
    """Whether a column was read as floats that are too large for whole numbers."""
    return pa.types.is_floating(column.type) and pc.any(pc.greater_equal(pc.abs(column), SAFE)).as_py() is True


def _has_newline(column: pa.ChunkedArray) -> bool:
    return is_text(column.type) and bool(pc.any(pc.match_substring(column, "\n")).as_py())
