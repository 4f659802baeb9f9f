"""Files of molecules, read one record at a time: lines of SMILES, columns of tables, blocks of SDF.

What is held of a file is its bytes (mapped from the disk, where they are not compressed) and where each record
starts, or Arrow's columns; never a Python object for each record.
"""

from __future__ import annotations

import gzip
import re
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from sensorium import BadSample
from sensorium.errors import DataError, did_you_mean


class Cells(ABC):
    """The records of one file."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def value(self, row: int) -> str | None:
        """Return the SMILES or mol block of a record, None when it is empty."""

    @abstractmethod
    def cell(self, row: int, column: str) -> Any:
        """Return what a record says in another column, None when it says nothing."""

    @abstractmethod
    def require(self, column: str) -> None:
        """Refuse a column that the file does not have.

        Raises:
            DataError: with the nearest of those it has.
        """


class Lines(Cells):
    """A .smi file: a SMILES, a blank and whatever names it, line after line. The name is the column "name".

    Blank lines and those that start with "#" are no records, nor is a first line whose first word is "smiles".
    """

    def __init__(self, path: Path) -> None:
        self._path, self._bytes = path, _bytes_of(path)
        ends_N = np.flatnonzero(self._bytes == ord("\n")) + 1
        edges_N = np.unique(np.concatenate([[0], ends_N, [len(self._bytes)]]))
        self._starts, self._ends = edges_N[:-1], edges_N[1:]
        first = self._bytes[self._starts]
        kept_N = (first != ord("\n")) & (first != ord("\r")) & (first != ord("#"))
        self._starts, self._ends = self._starts[kept_N], self._ends[kept_N]
        if len(self) and (self.value(0) or "").lower() == "smiles":
            self._starts, self._ends = self._starts[1:], self._ends[1:]

    def __len__(self) -> int:
        return len(self._starts)

    def _words(self, row: int) -> list[str]:
        return _text(self._bytes[self._starts[row] : self._ends[row]].tobytes()).split(maxsplit=1)

    def value(self, row: int) -> str | None:
        """Return the first word of a line."""
        words = self._words(row)
        return words[0] if words else None

    def cell(self, row: int, column: str) -> str | None:
        """Return what follows the first word of a line."""
        return (self._words(row)[1:] or [""])[0].strip() or None

    def require(self, column: str) -> None:
        """Refuse any column but the name."""
        if column != "name":
            raise DataError(f"'{self._path}' has no column '{column}': lines of SMILES have a 'name' and no other.")


class Columns(Cells):
    """A CSV, TSV or Parquet file.

    Args:
        path: the file.
        column: the column of SMILES; None takes the one that is called so, in small or capital letters.
        others: further columns to read.
        header: the names of the columns of a CSV or TSV file without a heading row.
    """

    def __init__(self, path: Path, column: str | None, others: list[str], header: list[str] | None = None) -> None:
        self._path = path
        names = self._guarded(path, self._names, header)
        if column is None:
            called = [name for name in names if name.lower() == "smiles"]
            if len(called) != 1:
                raise DataError(
                    f"'{path}' has {len(called) or 'no'} column{'s' * (len(called) > 1)} called 'smiles'; its columns "
                    f"are: {', '.join(names)}; name one by data.source.column, or all by data.source.header."
                )
            column = called[0]
        self._known = names
        for name in (column, *others):
            self.require(name)
        wanted = list(dict.fromkeys([column, *others]))
        table = self._guarded(path, self._read, header, wanted, column)
        self._values = table[column].combine_chunks()
        self._others = {name: table[name].combine_chunks() for name in others}

    def __len__(self) -> int:
        return len(self._values)

    def value(self, row: int) -> str | None:
        """Return the SMILES of a row."""
        return self._values[row].as_py() or None

    def cell(self, row: int, column: str) -> Any:
        """Return a cell of another column."""
        found = self._others[column][row].as_py()
        return None if found == "" else found

    def require(self, column: str) -> None:
        """Refuse a column that is not there."""
        if column not in self._known:
            raise DataError(
                f"'{self._path}' has no column '{column}'{did_you_mean(column, self._known)}; its columns are: "
                f"{', '.join(self._known)}."
            )

    @staticmethod
    def _guarded(path: Path, read: Any, *arguments: Any) -> Any:
        try:
            return read(path, *arguments)
        except (pa.ArrowException, OSError, UnicodeDecodeError, EOFError) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise DataError(f"'{path}' cannot be read as {_kind(path)[1:].upper()}: {reason}.") from error

    @staticmethod
    def _options(path: Path, header: list[str] | None) -> dict[str, Any]:
        return {
            "read_options": pa.csv.ReadOptions(column_names=header),
            "parse_options": pa.csv.ParseOptions(delimiter="\t" if _kind(path) == ".tsv" else ","),
        }

    def _names(self, path: Path, header: list[str] | None) -> list[str]:
        if _kind(path) == ".parquet":
            return pa.parquet.read_schema(path).names
        with pa.csv.open_csv(path, **self._options(path, header)) as stream:
            return stream.schema.names

    def _read(self, path: Path, header: list[str] | None, wanted: list[str], column: str) -> pa.Table:
        if _kind(path) == ".parquet":
            return pa.parquet.read_table(path, columns=wanted, memory_map=True)
        convert = pa.csv.ConvertOptions(
            include_columns=wanted, column_types={column: pa.string()}, null_values=[""], strings_can_be_null=True
        )
        return pa.csv.read_csv(path, convert_options=convert, **self._options(path, header))


class Blocks(Cells):
    """An SDF file: mol blocks with properties, each ended by "$$$$". The first line of a block is the column "name"."""

    def __init__(self, path: Path) -> None:
        self._path, self._bytes = path, _bytes_of(path)
        ends = [match.end() for match in re.finditer(rb"^\$\$\$\$[^\n]*\n?", self._bytes, re.MULTILINE)]  # type: ignore[call-overload]
        tail = self._bytes[ends[-1] if ends else 0 :].tobytes()
        if tail.strip():
            ends.append(len(self._bytes))
        self._ends = np.array(ends, np.int64)
        self._starts = np.concatenate([[0], self._ends[:-1]]) if ends else self._ends

    def __len__(self) -> int:
        return len(self._ends)

    def _block(self, row: int) -> str:
        return _text(self._bytes[self._starts[row] : self._ends[row]].tobytes())

    def value(self, row: int) -> str | None:
        """Return the mol block, without properties."""
        block, end, _ = self._block(row).partition("M  END")
        return block + end + "\n"

    def cell(self, row: int, column: str) -> str | float | int | None:
        """Return a property, as a number where it is one, or the name."""
        block = self._block(row)
        if column == "name":
            return block.partition("\n")[0].strip() or None
        found = re.search(rf"^> .*<{re.escape(column)}>.*\n(.*)", block, re.MULTILINE)
        return _number(found[1].strip()) if found else None

    def require(self, column: str) -> None:
        """Refuse a property that none of the first hundred blocks has."""
        if column != "name" and all(self.cell(row, column) is None for row in range(min(len(self), 100))):
            raise DataError(f"None of the first blocks of '{self._path}' has a property '{column}'.")


FORMATS = (".smi", ".ism", ".smiles", ".csv", ".tsv", ".parquet", ".sdf", ".sd")


def open_cells(path: Path, column: str | None, others: list[str], header: list[str] | None) -> Cells:
    """Return the records of a file, by its ending.

    Raises:
        DataError: when there is no such file, it cannot be read, or lacks a column.
    """
    if not path.exists():
        raise DataError(f"The file '{path}' does not exist; check data.source.path.")
    kind = _kind(path)
    if kind not in FORMATS:
        raise DataError(f"'{path}' ends in none of {', '.join(FORMATS)}, with or without .gz on top.")
    if kind in (".csv", ".tsv", ".parquet"):
        return Columns(path, column, others, header)
    cells = Blocks(path) if kind in (".sdf", ".sd") else Lines(path)
    for name in others:
        cells.require(name)
    return cells


def _kind(path: Path) -> str:
    """Return the ending of a file, .gz on top of it taken off."""
    return Path(path.stem if path.suffix.lower() == ".gz" else path.name).suffix.lower()


def _bytes_of(path: Path) -> np.ndarray:
    """Return the bytes of a file, uint8: mapped from the disk, or in memory when they are compressed.

    Raises:
        DataError: when they cannot be read.
    """
    try:
        if path.suffix.lower() == ".gz":
            with gzip.open(path) as file:
                return np.frombuffer(file.read(), np.uint8)
        return np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)
    except (OSError, EOFError) as error:
        raise DataError(f"'{path}' cannot be read: {error}.") from error


def _text(found: bytes) -> str:
    try:
        return found.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise BadSample("it is not UTF-8 text") from error


def _number(text: str) -> str | int | float | None:
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text or None
