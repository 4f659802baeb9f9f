"""Files of molecules, read one record at a time: lines of SMILES, tables, and structure-data files (SDF).

What is kept of a file is its bytes (memory-mapped where they are not compressed) and where each record starts, or
Arrow's columns; never a Python object for each record.
"""

from __future__ import annotations

import gzip
import re
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sensorium import BadSample, TableReader
from sensorium.contracts.record_columns import label_column
from sensorium.errors import DataError, Location

SMILES, SDF = (".smi", ".ism", ".smiles"), (".sdf", ".sd")


class MoleculeFile(ABC):
    """The records of one file."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def molecule(self, row: int) -> str | None:
        """Return the SMILES or mol block of a record, None when it is empty."""

    @abstractmethod
    def cell(self, row: int, column: str) -> Any:
        """Return the cell of a record in another column, None when it is missing."""

    def cells(self, column: str) -> pa.ChunkedArray:
        """Return the cells of all records in another column, null where one is missing."""
        cells = label_column(column, [self.cell(row, column) for row in range(len(self))])
        return pa.chunked_array([cells])

    @abstractmethod
    def where(self, row: int) -> Location:
        """Return the line on which a record begins, or its row in a Parquet file, and its column in a table."""


class SmilesLines(MoleculeFile):
    """A .smi file: on each line a SMILES, a blank and the molecule's name, which is the column "name".

    Blank lines and those that start with "#" are no records, nor is a first line whose first word is "smiles".
    """

    def __init__(self, path: Path, others: list[str]) -> None:
        for column in others:
            if column != "name":
                raise DataError(f"'{path}' has no column '{column}': lines of SMILES have a 'name' and no other.")
        self._path, self._bytes = path, _bytes_of(path)
        ends_N = np.flatnonzero(self._bytes == ord("\n")) + 1
        edges_N = np.unique(np.concatenate([[0], ends_N, [len(self._bytes)]]))
        self._starts, self._ends = edges_N[:-1], edges_N[1:]
        first = self._bytes[self._starts]
        kept_N = (first != ord("\n")) & (first != ord("\r")) & (first != ord("#"))
        self._starts, self._ends = self._starts[kept_N], self._ends[kept_N]
        if len(self) and (self.molecule(0) or "").lower() == "smiles":
            self._starts, self._ends = self._starts[1:], self._ends[1:]

    def __len__(self) -> int:
        return len(self._starts)

    def _words(self, row: int) -> list[str]:
        return _text(self._bytes[self._starts[row] : self._ends[row]].tobytes()).split(maxsplit=1)

    def molecule(self, row: int) -> str | None:
        """Return the first word of a line."""
        words = self._words(row)
        return words[0] if words else None

    def cell(self, row: int, column: str) -> str | None:
        """Return what follows the first word of a line."""
        return (self._words(row)[1:] or [""])[0].strip() or None

    def where(self, row: int) -> Location:
        """Return the line."""
        return Location(str(self._path), _line(self._bytes, self._starts[row]))


class SmilesTable(MoleculeFile):
    """A CSV, TSV, JSON-lines or Parquet file.

    Args:
        path: the file.
        column: the column of SMILES; None takes the one that is called so, in small or capital letters.
        others: further columns to read.
        reader: how a table is read.
    """

    def __init__(self, path: Path, column: str | None, others: list[str], reader: TableReader) -> None:
        if column is None:
            names = reader.column_names(path)
            called = [name for name in names if name.lower() == "smiles"]
            if len(called) != 1:
                raise DataError(
                    f"'{path}' has {len(called) or 'no'} column{'s' * (len(called) > 1)} called 'smiles'; its columns "
                    f"are: {', '.join(names)}; name one by data.source.column, or all by data.source.header."
                )
            column = called[0]
        self._column, self._table = column, reader.read([path], [column], others)
        for name in others:
            self._table.check_readable(name, rows=False)

    def __len__(self) -> int:
        return len(self._table)

    def molecule(self, row: int) -> str | None:
        """Return the SMILES of a row."""
        self._table.check(row, self._column)
        return self._table.cell(self._column, row)

    def cell(self, row: int, column: str) -> Any:
        """Return a cell of another column."""
        return self._table.cell(column, row)

    def cells(self, column: str) -> pa.ChunkedArray:
        """Return another column."""
        return self._table.plain(column)

    def where(self, row: int) -> Location:
        """Return the line, or the row, and the column of SMILES."""
        return self._table.where(row, self._column)


class SDFile(MoleculeFile):
    """A structure-data file: mol blocks with properties, each ended by "$$$$".

    The properties are columns, and so is the first line of a block, "name".
    """

    def __init__(self, path: Path, others: list[str]) -> None:
        self._path, self._bytes = path, _bytes_of(path)
        ends = [match.end() for match in re.finditer(rb"^\$\$\$\$[^\n]*\n?", self._bytes, re.MULTILINE)]  # type: ignore[call-overload]
        tail = self._bytes[ends[-1] if ends else 0 :].tobytes()
        if tail.strip():
            ends.append(len(self._bytes))
        self._ends = np.array(ends, np.int64)
        self._starts = np.concatenate([[0], self._ends[:-1]]) if ends else self._ends
        for column in others:
            if column != "name" and all(self.cell(row, column) is None for row in range(min(len(self), 100))):
                raise DataError(f"None of the first blocks of '{path}' has a property '{column}'.")

    def __len__(self) -> int:
        return len(self._ends)

    def _block(self, row: int) -> str:
        return _text(self._bytes[self._starts[row] : self._ends[row]].tobytes())

    def molecule(self, row: int) -> str | None:
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

    def where(self, row: int) -> Location:
        """Return the line on which the block begins."""
        return Location(str(self._path), _line(self._bytes, self._starts[row]))


def open_molecules(path: Path, column: str | None, others: list[str], reader: TableReader) -> MoleculeFile:
    """Return the records of a file, by its extension.

    Raises:
        DataError: when there is no such file, it cannot be read, or lacks a column.
    """
    if not path.exists():
        raise DataError(f"The file '{path}' does not exist; check data.source.path.")
    extension = TableReader.extension(path)
    if extension in TableReader.EXTENSIONS:
        return SmilesTable(path, column, others, reader)
    if extension in SMILES:
        return SmilesLines(path, others)
    if extension in SDF:
        return SDFile(path, others)
    known = ", ".join((*SMILES, *TableReader.EXTENSIONS, *SDF))
    raise DataError(f"'{path}' ends in none of {known}, with or without .gz on top.")


def _bytes_of(path: Path) -> np.ndarray:
    """Return the bytes of a file, uint8: memory-mapped, or in memory when they are compressed.

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


def _line(bytes_N: np.ndarray, start: int) -> int:
    return int(np.count_nonzero(bytes_N[:start] == ord("\n"))) + 1


def _text(found: bytes) -> str:
    try:
        return found.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise BadSample("the molecule is not UTF-8 text", "encoding") from error


def _number(text: str) -> str | int | float | None:
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text or None
