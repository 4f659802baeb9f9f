"""The rows of a file of embeddings: ids, parts, groups, labels, captions and paths beside lists of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sensorium.contracts import RecordColumns
from sensorium.contracts.record_columns import is_mixed
from sensorium.data.summary import summarize
from sensorium.errors import RunError, not_found
from sensorium.evaluation.run_evaluation import RunEvaluation
from sensorium.feature_table import FeatureTable

LABEL, CAPTION, PATH = "label.", "caption.", "path."
ABOUT = ("id", "split", "group")
LARGEST_HALF = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class EmbeddingOptions:
    """What is written of each record.

    Args:
        part: "train", "val", "test" or "all".
        space: "embedding" for the space that the objective compares in, "features" for pooled features.
        labels: names of the label columns; None for all.
        half: numbers as float16, half the size of float32.
        captions: captions and paths of the values too, for which every record is read once more.
    """

    part: str = "all"
    space: str = "embedding"
    labels: tuple[str, ...] | None = None
    half: bool = False
    captions: bool = True


class RowMaker:
    """Makes rows of the records of a run's source.

    Args:
        evaluation: the records and their parts.
        options: what is written.

    Raises:
        RunError: for a label that the records do not have.
    """

    def __init__(self, evaluation: RunEvaluation, options: EmbeddingOptions) -> None:
        self.source, self.plan, self.options = evaluation.source, evaluation.plan, options
        self.columns = self.source.columns()
        self.labels = tuple(self.columns.labels) if options.labels is None else options.labels
        for name in self.labels:
            if name not in self.columns.labels:
                known = ", ".join(self.columns.labels) or "none"
                raise RunError(
                    not_found(f"The records have no label '{name}'", name, self.columns.labels, f"they have: {known}")
                )
        self._names = list(evaluation.parts)
        self._part_N = np.zeros(len(self.source), np.int8)
        for number, positions in enumerate(evaluation.parts.values()):
            self._part_N[positions] = number

    def __call__(self, table: FeatureTable) -> pa.Table:
        """Return the rows of some records, M of them; a column that would be empty is left out.

        Args:
            table: their embeddings; the first value of a modality of which a record has several.

        Raises:
            RunError: when a number is beyond the range of float16, and half precision is asked for.
        """
        assert table.positions is not None, "batches of a source have positions"
        parts = pa.array([self._names[number] for number in self._part_N[table.positions]], pa.string())
        made = {"id": pa.array(table.ids, pa.string()), "split": parts}
        of_records = _without_ids(self.columns, self.labels).take(table.positions)
        if of_records.groups is not None:
            made["group"] = _plain(of_records.groups)
        made |= {LABEL + name: _plain(of_records.labels[name]) for name in self.labels}
        if self.options.captions:
            made |= self._told(table.positions.tolist())
        for name, x_MD in table.features.items():
            if table.present[name].any():
                made[name] = self._vectors(name, x_MD, table)
        return pa.table(made)

    def _told(self, positions: Sequence[int]) -> dict[str, pa.Array]:
        """Return the columns of captions and paths."""
        told = [summarize(self.source, position, self.plan.fields, self.plan.modalities) for position in positions]
        made = {}
        for prefix in (CAPTION, PATH):
            of_records: list[Mapping[str, str]] = [getattr(one, f"{prefix[:-1]}s") for one in told]
            for name in dict.fromkeys(name for values in of_records for name in values):
                made[prefix + name] = pa.array([values.get(name) for values in of_records], pa.string())
        return made

    def _vectors(self, name: str, x_MD: np.ndarray, table: FeatureTable) -> pa.Array:
        """Return embeddings as lists of one size, null where a record lacks the modality."""
        if self.options.half:
            largest_M = np.where(table.present[name], np.abs(x_MD).max(axis=1), 0)
            if largest_M.max() > LARGEST_HALF:
                row = int((largest_M > LARGEST_HALF).argmax())
                raise RunError(
                    f"The {self.options.space} of '{name}' of record '{table.ids[row]}' has {largest_M[row]:.6g}, "
                    f"beyond the largest float16, {LARGEST_HALF:,.0f}: embed in float32, without --half."
                )
        numbers = x_MD.astype(np.float16 if self.options.half else np.float32)
        absent_M = pa.array(~table.present[name])
        return pa.FixedSizeListArray.from_arrays(pa.array(numbers.ravel()), x_MD.shape[1], mask=absent_M)


def joint_schema(schemas: Sequence[pa.Schema], labels: Sequence[str], modalities: Sequence[str]) -> pa.Schema:
    """Return the columns of a file of several tables of rows, of which each may lack some, in one order.

    Args:
        schemas: of the tables.
        labels: names of the labels.
        modalities: names of the modalities.
    """
    names = [*ABOUT, *(LABEL + name for name in labels)]
    names += [*(CAPTION + name for name in modalities), *(PATH + name for name in modalities), *modalities]
    found: dict[str, pa.Field] = {}
    for schema in schemas:
        found = {field.name: field for field in schema} | found
    return pa.schema([found[name] for name in names if name in found])


def with_columns(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return rows with the columns of a schema, null where they lack one."""
    columns = [
        rows[field.name] if field.name in rows.column_names else pa.nulls(len(rows), field.type) for field in schema
    ]
    return pa.table(columns, schema=schema)


def is_vector(kind: pa.DataType) -> bool:
    """Return whether a column holds embeddings."""
    return pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type)


def _without_ids(columns: RecordColumns, labels: Sequence[str]) -> RecordColumns:
    """Return the columns that rows are made of, so that no other is picked from."""
    return RecordColumns(len(columns), labels={name: columns.labels[name] for name in labels}, groups=columns.groups)


def _plain(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column as one array, not dictionary-encoded, null where a number is nan."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if is_mixed(whole.type):  # numbers here, words there: a column of files has one type
        return pa.array([None if cell is None else str(cell) for cell in whole.to_pylist()], pa.string())
    if pa.types.is_dictionary(whole.type):
        whole = whole.dictionary_decode()
    if pa.types.is_floating(whole.type):
        whole = pc.if_else(pc.is_nan(whole), pa.scalar(None, whole.type), whole)
    return whole


def stored_names(names: Sequence[str]) -> dict[str, str]:
    """Return name -> the name without dots that it is stored under, as Lance demands; no two are the same."""
    stored: dict[str, str] = {}
    for name in names:
        other = name.replace(".", "_")
        while other in stored.values():
            other += "_"
        stored[name] = other
    return stored
