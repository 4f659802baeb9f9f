"""Files of molecules as a source."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from sensorium import BadSample, Record, Source, TableReader
from sensorium.errors import DataError, Location
from sensorium.modalities.molecule.scaffolds import murcko_scaffold, scaffold_split
from sensorium.modalities.molecule.sources.formats import MoleculeFile, open_molecules

SCAFFOLD = "scaffold"


class MoleculeFiles(Source):
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

    def key(self, index: int) -> Record:
        """Return the record at `index` without its molecule."""
        file, molecules, row = self._at(index)
        name = molecules.cell(row, self._id) if self._id is not None else None
        if self._id is not None and name is None:
            raise DataError(f"Record {row} of '{self._names[file]}' has an empty id in column '{self._id}'.")
        labels = {label: molecules.cell(row, column) for label, column in self._labels.items()}
        split, group = None, None
        if self._scaffolds is not None:
            split, group = self._parts[index], self._scaffolds[index]
        elif self._split is not None:
            split = molecules.cell(row, self._split)
        return Record(
            str(name) if name is not None else f"{self._names[file]}/{row}" if len(self._files) > 1 else str(row),
            {},
            {label: value for label, value in labels.items() if value is not None},
            split,
            group,
        )

    def locate(self, index: int, field: str) -> Location:
        """Return the file and the line of a molecule, and its column in a table."""
        _, molecules, row = self._at(index)
        return molecules.where(row)

    def __getitem__(self, index: int) -> Record:
        key = self.key(index)
        _, molecules, row = self._at(index)
        return Record(key.id, {self._field: molecules.molecule(row)}, key.labels, key.split, key.group)
