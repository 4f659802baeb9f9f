"""Files of molecules as a source."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sensorium import BadSample, OpenedAgain, Record, RecordColumns, TableReader
from sensorium.contracts.record_columns import Column, label_column
from sensorium.errors import DataError, Location
from sensorium.modalities.molecule.scaffolds import murcko_scaffold, scaffold_split
from sensorium.modalities.molecule.sources.formats import SDF, SMILES, MoleculeFile, open_molecules

SCAFFOLD = "scaffold"


class MoleculeFiles(OpenedAgain):
    """Molecules out of .smi, .csv, .tsv, .jsonl, .parquet and .sdf files; `.gz` on top of text formats is understood.

    A record's value is a SMILES, or a mol block. Lines of .smi files and blocks of .sdf files have a "name"; the
    properties of .sdf blocks are columns like those of a table. A file is never turned into Python objects as a whole,
    so millions of molecules take little more memory than their text.

    Args:
        path: the file, or a list of files.
        column: the column of SMILES; None takes the one that is called so, in small or capital letters.
        labels: the columns that evaluators predict: a list, or label name to column name.
        id: the column of unique names; default the record's number (after its file, when there are several).
        split: the column that says train, val or test; or "scaffold" for MoleculeNet's deterministic scaffold split:
            molecules of one Bemis-Murcko scaffold share a part, the most frequent scaffolds are the train part.
        fractions: the fractions of val and test in a scaffold split.
        header: the column names of a .csv or .tsv file without a heading row.
        delimiter: the character between the cells of a .csv file, such as ";"; default ",".
        encoding: of a table of text without a byte-order mark, such as cp1252; default utf-8.
        field: the field of the molecules.
    """

    extensions = (*SMILES, *SDF, *TableReader.EXTENSIONS)

    def __init__(
        self,
        path: str | list[str],
        column: str | None = None,
        labels: list[str] | dict[str, str] | None = None,
        id: str | None = None,
        split: str | None = None,
        fractions: tuple[float, float] = (0.1, 0.1),
        header: list[str] | None = None,
        delimiter: str | None = None,
        encoding: str | None = None,
        field: str = "molecule",
    ) -> None:
        files = [Path(one).expanduser() for one in ([path] if isinstance(path, str) else path)]
        if not files:
            raise DataError("The source 'molecules' got an empty list of files.")
        self._labels = dict(labels) if isinstance(labels, dict) else {name: name for name in labels or ()}
        self._id, self._field = id, field
        self._split = None if split == SCAFFOLD else split
        others = list(dict.fromkeys([*self._labels.values(), *(c for c in (id, self._split) if c is not None)]))
        reader = TableReader(None, delimiter, header=header, na_values=("",), encoding=encoding)
        self._files = [open_molecules(file, column, others, reader) for file in files]
        self._names = [file.name for file in files]
        self._ends = list(accumulate(len(file) for file in self._files))
        if not len(self):
            raise DataError(f"'{files[0]}'{' and the others contain' if len(files) > 1 else ' contains'} no molecules.")
        self._scaffolds: Sequence[str | None] | None = None
        if split == SCAFFOLD:
            self._scaffolds = [murcko_scaffold(self._value(index)) for index in range(len(self))]
            self._parts = scaffold_split(self._scaffolds, fractions)

    @property
    def fields(self) -> tuple[str, ...]:
        """The molecule."""
        return (self._field,)

    def __len__(self) -> int:
        return self._ends[-1]

    def _at(self, index: int) -> tuple[int, MoleculeFile, int]:
        """Return which file a record is in, and where."""
        file = bisect_right(self._ends, index)
        return file, self._files[file], index - (self._ends[file - 1] if file else 0)

    def _value(self, index: int) -> str | None:
        _, molecules, row = self._at(index)
        try:
            return molecules.molecule(row)
        except BadSample:
            return None

    def columns(self) -> RecordColumns:
        """Return ids, labels, splits and groups of all molecules."""
        return self._columns

    @cached_property
    def _columns(self) -> RecordColumns:
        several = len(self._files) > 1
        ids = [self._ids(name, file, several) for name, file in zip(self._names, self._files, strict=True)]
        labels = {label: self._cells(column) for label, column in self._labels.items()}
        splits, groups = None, None
        if self._scaffolds is not None:
            splits, groups = pa.array(self._parts, pa.string()), pa.array(self._scaffolds, pa.string())
        elif self._split is not None:
            splits = self._cells(self._split).cast(pa.string())
        named = self._id is not None or several
        return RecordColumns(len(self), pa.chunked_array(ids) if named else None, labels, splits, groups)

    def _cells(self, column: str) -> Column:
        """Return a column of all files."""
        parts = [file.cells(column) for file in self._files]
        kinds = {part.type for part in parts} - {pa.null()}
        if len(kinds) > 1:
            return label_column(column, [cell for part in parts for cell in part.to_pylist()])
        return pa.chunked_array(
            [chunk.cast(kinds.copy().pop()) if kinds else chunk for part in parts for chunk in part.chunks]
        )

    def _ids(self, name: str, file: MoleculeFile, several: bool) -> pa.Array:
        """Return the ids of a file's records: those of a column, or their numbers, behind its name among several."""
        if self._id is None:
            rows = pa.array(np.arange(len(file))).cast(pa.string())
            return pc.binary_join_element_wise(name, rows, "/") if several else rows
        cells = file.cells(self._id)
        if cells.null_count:
            row = pc.index(pc.is_null(cells), True).as_py()
            raise DataError(f"Record {row} of '{name}' has an empty id in column '{self._id}'.")
        return pa.array([str(cell) for cell in cells.to_pylist()], pa.string())

    def locate(self, index: int, field: str) -> Location:
        """Return the file and the line of a molecule, and its column in a table."""
        _, molecules, row = self._at(index)
        return molecules.where(row)

    def __getitem__(self, index: int) -> Record:
        key = self.key(index)
        _, molecules, row = self._at(index)
        return Record(key.id, {self._field: molecules.molecule(row)}, key.labels, key.split, key.group)
