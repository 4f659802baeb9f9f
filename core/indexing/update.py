"""Bringing an index up to a file of embeddings: new records are added, changed ones replaced, all others left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sensorium.embeddings.file import EmbeddingFile
from sensorium.embeddings.table import is_vector, with_columns
from sensorium.errors import RunError
from sensorium.indexing.records import PREVIEW, RecordIndex, is_index
from sensorium.indexing.thumbnails import Thumbnails

TOGETHER = 2048
"""Records that are compared with the index at once."""
ROUNDING = 1e-4
"""Part of a vector's largest number up to which a number of it is the same: batches round differently."""


@dataclass(frozen=True)
class IndexUpdate:
    """What an index gained.

    Args:
        folder: that of the index.
        added: number of records that it did not have.
        updated: number of those that it had otherwise: another vector, label, caption, path, part or preview.
        unchanged: number of those that it had just so.
        records: number of all that it has now.
        searched: modality -> how its vectors are searched, in words.
    """

    folder: str
    added: int
    updated: int
    unchanged: int
    records: int
    searched: Mapping[str, str]


def update_index(folder: Path, file: EmbeddingFile, draw: Thumbnails | None, kind: str) -> IndexUpdate:
    """Bring an index up to a file of embeddings, or make it.

    Args:
        folder: that of the index.
        file: the records, some at a time.
        draw: draws the previews of some records; None draws none.
        kind: "auto", "exact" or "ivf": how it is searched.

    Raises:
        RunError: when a column of the index has values of another type.
    """
    index, counts = _opened(folder, file), np.zeros(3, int)
    for rows in file.rows(TOGETHER):
        counts += _Batch(index, rows, draw).write()
    if not counts.any():
        raise RunError(f"'{file.path}' has no records: there is nothing to index.")
    index.finish(kind)
    lists = index.lists
    searched = {name: str(lists[name]) if name in lists else "exact search" for name in index.modalities}
    added, updated, unchanged = counts.tolist()
    return IndexUpdate(str(folder), added, updated, unchanged, len(index), searched)


def _opened(folder: Path, file: EmbeddingFile) -> RecordIndex:
    """Return the index of a folder with all columns of a file, made where there is none.

    A column without any value has no type yet: it waits for records that have one.
    """
    fields = [field for field in file.row_schema if not pa.types.is_null(field.type)]
    if not is_index(folder):
        return RecordIndex.create(folder, pa.schema(fields, file.row_schema.metadata))
    index = RecordIndex(folder)
    known = index.schema
    for field in fields:
        if field.name in known.names and not _fits(field.type, known.field(field.name).type):
            raise RunError(
                f"'{field.name}' is {field.type} in these records and {known.field(field.name).type} in '{folder}': "
                "index into another folder."
            )
    if missing := [field for field in fields if field.name not in known.names]:
        index.add_columns(missing)
    return index


def _fits(new: pa.DataType, known: pa.DataType) -> bool:
    """Whether cells of a type can stand among others: one file may have whole numbers where another has fractions."""
    return new == known or (pa.types.is_integer(new) and pa.types.is_floating(known))


class _Batch:
    """Some records beside what the index has of them."""

    def __init__(self, index: RecordIndex, rows: pa.Table, draw: Thumbnails | None) -> None:
        self.index, self.draw = index, draw
        types = {name: index.schema.field(name).type for name in rows.column_names if name in index.schema.names}
        rows = pa.table({name: rows[name].cast(types.get(name, rows[name].type)) for name in rows.column_names})
        self.rows = with_columns(rows, _without_previews(index.schema))
        self.known = index.rows(rows["id"].to_pylist())
        at_M = pc.index_in(rows["id"].combine_chunks(), value_set=self.known["id"].combine_chunks())
        self.is_known_M = np.asarray(at_M.is_valid())
        self.at_M = at_M.drop_null()

    def write(self) -> np.ndarray:
        """Write what differs; return how many were added, updated and left."""
        differs_M = self._differs()
        chosen = {True: differs_M & self.is_known_M, False: ~self.is_known_M}
        for replacing, chosen_M in chosen.items():
            if chosen_M.any():
                self.index.write(self._with_previews(self.rows.filter(pa.array(chosen_M))), replacing)
        return np.array([chosen[False].sum(), chosen[True].sum(), (~differs_M & self.is_known_M).sum()])

    def _differs(self) -> np.ndarray:
        """Return which records the index has otherwise, bool (M,)."""
        ours, theirs = self.rows.filter(pa.array(self.is_known_M)), self.known.take(self.at_M)
        differs = np.zeros(len(ours), bool)
        for name in ours.column_names:
            a, b = ours[name].combine_chunks(), theirs[name].combine_chunks()
            differs |= _other_vectors(a, b) if is_vector(a.type) else _other_cells(a, b)
        for name in self.draw.modalities if self.draw is not None else ():
            if name in ours.column_names:
                differs |= np.asarray(ours[name].is_valid()) & ~self._has_preview(name, theirs)
        whole = np.zeros(len(self.is_known_M), bool)
        whole[self.is_known_M] = differs
        return whole

    def _has_preview(self, name: str, theirs: pa.Table) -> np.ndarray:
        drawn = PREVIEW + name in theirs.column_names
        return np.asarray(theirs[PREVIEW + name].is_valid()) if drawn else np.zeros(len(theirs), bool)

    def _with_previews(self, rows: pa.Table) -> pa.Table:
        """Return rows with all columns of the index, drawn where previews are asked for."""
        drawn = {} if self.draw is None else self.draw(rows)
        columns = {PREVIEW + name: pa.array(paths, pa.string()) for name, paths in drawn.items()}
        missing = [pa.field(name, pa.string()) for name in columns if name not in self.index.stored]
        if missing:
            self.index.add_columns(missing)
        for name, paths in columns.items():
            rows = rows.append_column(name, paths)
        return with_columns(rows, self.index.schema)


def _without_previews(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field for field in schema if not field.name.startswith(PREVIEW)])


def _other_vectors(a: pa.Array, b: pa.Array) -> np.ndarray:
    """Return where vectors differ by more than rounding, bool (M,)."""
    has_a, has_b = np.asarray(a.is_valid()), np.asarray(b.is_valid())
    other = has_a != has_b
    both = np.flatnonzero(has_a & has_b)
    x_MD, y_MD = (_matrix(column.take(pa.array(both))) for column in (a, b))
    bound_M1 = ROUNDING * np.abs(y_MD).max(axis=1, keepdims=True, initial=0)
    other[both] = (np.abs(x_MD - y_MD) > bound_M1).any(axis=1)
    return other


def _matrix(column: pa.Array) -> np.ndarray:
    width = column.type.list_size
    return column.flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(-1, width)


def _other_cells(a: pa.Array, b: pa.Array) -> np.ndarray:
    """Return where cells differ, of which None is equal to None, bool (M,)."""
    same = pc.fill_null(pc.equal(a, b), False)
    return ~np.asarray(pc.or_(same, pc.and_(a.is_null(), b.is_null())))
