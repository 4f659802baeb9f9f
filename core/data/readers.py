"""Files of rows as Arrow tables: CSV, TSV, JSON lines and Parquet, with errors that say what to do."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from sensorium.errors import DataError, did_you_mean

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}


@dataclass(frozen=True)
class Reader:
    """Reads one file of rows.

    Args:
        format: "csv", "tsv", "jsonl" or "parquet"; None goes by the file's ending (.gz on top of it is fine).
        delimiter: what separates the cells of a CSV file.
        header: the names of the columns of a CSV or TSV file that has no heading row.
    """

    format: str | None = None
    delimiter: str | None = None
    header: tuple[str, ...] | None = None

    def names(self, path: Path) -> list[str]:
        """Return the names of the columns of a file."""
        return self._guard(path, "names")

    def read(self, path: Path, texts: Sequence[str], others: Sequence[str]) -> pa.Table:
        """Read columns of a file.

        Args:
            path: the file.
            texts: columns whose cells, in a format without types, stay the text they are.
            others: columns whose type is guessed there.

        Raises:
            DataError: when the file cannot be read, or lacks one of the columns.
        """
        wanted = list(dict.fromkeys([*texts, *others]))
        there = self.names(path)
        for column in wanted:
            if column not in there:
                raise DataError(
                    f"'{path}' has no column '{column}'{did_you_mean(column, there)}; "
                    f"its columns are: {', '.join(there)}."
                )
            if there.count(column) > 1:
                raise DataError(f"'{path}' has {there.count(column)} columns named '{column}'; rename all but one.")
        return self._guard(path, "read", wanted, list(texts))

    def _guard(self, path: Path, verb: str, *arguments):
        """Call the reader of the file's format; every way to fail becomes one sentence."""
        if not path.exists():
            raise DataError(f"The file '{path}' does not exist; check data.source.path.")
        if path.is_dir():
            raise DataError(f"'{path}' is a folder, not a file; for a folder of files use the source 'folder'.")
        format = self._format(path)
        kind = {"csv": "delimited", "tsv": "delimited"}.get(format, format)
        try:
            return getattr(self, f"_{kind}_{verb}")(path, *arguments)
        except (pa.ArrowException, OSError, UnicodeDecodeError, EOFError) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise DataError(f"'{path}' cannot be read as {format.upper()}: {reason}.") from error

    def _format(self, path: Path) -> str:
        if self.format is not None:
            return self.format
        ending = Path(path.stem if path.suffix.lower() == ".gz" else path.name).suffix.lower()
        if ending not in FORMATS:
            raise DataError(f"'{path}' ends in none of {', '.join(FORMATS)}; name its format with data.source.format.")
        return FORMATS[ending]

    def _delimited_options(self, path: Path) -> dict:
        tab = self._format(path) == "tsv"
        return {
            "read_options": pa.csv.ReadOptions(column_names=self.header),
            "parse_options": pa.csv.ParseOptions(
                delimiter=self.delimiter or ("\t" if tab else ","), newlines_in_values=True
            ),
        }

    def _delimited_names(self, path: Path) -> list[str]:
        with pa.csv.open_csv(path, **self._delimited_options(path)) as stream:
            return stream.schema.names

    def _delimited_read(self, path: Path, wanted: list[str], texts: list[str]) -> pa.Table:
        # Only an empty cell is missing: "NA" and "null" are words like others.
        convert = pa.csv.ConvertOptions(
            include_columns=wanted,
            column_types=dict.fromkeys(texts, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
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

    def _jsonl_read(self, path: Path, wanted: list[str], texts: list[str]) -> pa.Table:
        # Not pyarrow's own JSON reader: it turns text that looks like a date into one.
        rows = self._jsonl_rows(path)
        return pa.table({name: pa.array([row.get(name) for row in rows]) for name in wanted})

    def _parquet_names(self, path: Path) -> list[str]:
        return pa.parquet.read_schema(path).names

    def _parquet_read(self, path: Path, wanted: list[str], texts: list[str]) -> pa.Table:
        return pa.parquet.read_table(path, columns=wanted, memory_map=True)
