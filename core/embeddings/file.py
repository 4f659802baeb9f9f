"""Reading files of embeddings in batches, those of `embed` and those that others wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from sensorium.contracts import RecordColumns
from sensorium.data.splits import require_part
from sensorium.data.summary import RecordSummary
from sensorium.embeddings.parts import STORED, require_lance
from sensorium.embeddings.table import ABOUT, CAPTION, LABEL, PATH
from sensorium.errors import RunError, not_found
from sensorium.evaluation.labels import choose_column
from sensorium.feature_table import FeatureTable

BATCH = 2**14
"""Rows that are read at once."""


class EmbeddingFile:
    """A .parquet or .lance file with a row for each record, read in batches: it may be larger than memory.

    A column of lists of numbers, all of one length, is the embedding of a modality; `id`, `split`, `group`,
    `label.NAME`, `caption.MODALITY` and `path.MODALITY` are as `embed` writes them. A file without ids has row numbers.

    Args:
        path: the file.

    Raises:
        RunError: when it cannot be read, or holds no embeddings.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise RunError(f"There is no file of embeddings '{path}'; `sensorium embed RUN {path}` makes one.")
        self._data = _open(self.path)
        schema: pa.Schema = self._data.schema
        metadata = schema.metadata or {}
        names = json.loads(metadata.get(STORED.encode(), b"{}"))
        self.stored = {names.get(name, name): name for name in schema.names}
        """Name of a column -> the name that it is stored under, where names have no dots."""
        self._columns = {names.get(field.name, field.name): field.type for field in schema}
        self._metadata = {key: value for key, value in metadata.items() if key == b"sensorium"}
        noted = metadata.get(b"sensorium")
        self.about: dict[str, Any] = json.loads(noted) if noted else {}
        """What it was made of and how; empty for a file that `embed` did not write."""
        self.modalities = tuple(name for name, kind in self._columns.items() if _is_list_of_numbers(kind))
        """Names of the columns of embeddings."""
        if not self.modalities:
            raise RunError(f"'{path}' has no column of embeddings, lists of numbers; its columns: {self._named()}.")

    def __len__(self) -> int:
        return self._data.count_rows()

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels."""
        return tuple(name.removeprefix(LABEL) for name in self._columns if name.startswith(LABEL))

    def columns(self) -> RecordColumns:
        """Return ids, labels, splits and groups of all rows; without ids, a row's number is its id."""
        names = [name for name in self._columns if name in ABOUT or name.startswith(LABEL)]
        if not names:
            return RecordColumns(len(self))
        read = self._data.to_table(columns=[self.stored[name] for name in names])
        cells = dict(zip(names, read.columns, strict=True))
        labels = {name.removeprefix(LABEL): column for name, column in cells.items() if name.startswith(LABEL)}
        return RecordColumns(
            len(read),
            cells["id"].cast(pa.string()) if "id" in cells else None,
            labels,
            cells.get("split"),
            cells.get("group"),
        )

    def vectors(self, modality: str, part: str = "all") -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the embeddings of a modality, batch by batch.

        Args:
            modality: name of the column.
            part: "train", "val", "test" or "all".

        Yields:
            Rows of the file, int64 (M,), and float32 (M, D) of the records that have it.

        Raises:
            RunError: for a modality, or a part, that there is not, or when lists differ in length.
        """
        self._require(modality)
        split = self._split_for(part)
        for rows, batch in self._of_part([modality, *split], part):
            column = batch[modality]
            if len(found := rows[np.asarray(column.is_valid())]):
                yield found, self._matrix(modality, column)

    def table(
        self, modalities: Sequence[str] | None = None, part: str = "all", labels: Sequence[str] | None = None
    ) -> FeatureTable:
        """Return embeddings in memory, float32, of the records of a part of the split.

        Args:
            modalities: names of the columns; None for all.
            part: "train", "val", "test" or "all".
            labels: names of the labels; None for all.

        Raises:
            RunError: for a part, a label or a modality that there is not.
        """
        names = list(self.modalities if modalities is None else modalities)
        for name in names:
            self._require(name)
        of_labels = list(self.labels if labels is None else labels)
        asked = [LABEL + name for name in of_labels]
        for column in asked:
            self._require_column(column)
        ids, groups = list[str](), list[str]()
        pieces: dict[str, list[np.ndarray]] = {name: [] for name in names}
        present: dict[str, list[np.ndarray]] = {name: [] for name in names}
        cells: dict[str, list[Any]] = {name: [] for name in of_labels}
        about = [name for name in ("id", "group") if name in self._columns]
        for rows, batch in self._of_part([*about, *asked, *names, *self._split_for(part)], part):
            ids += batch["id"].to_pylist() if "id" in about else map(str, rows.tolist())
            of_group = batch["group"].to_pylist() if "group" in about else [None] * len(batch)
            groups += map(_group, ids[len(groups) :], of_group)
            for name in of_labels:
                cells[name] += batch[LABEL + name].to_pylist()
            for name in names:
                pieces[name].append(self._matrix(name, batch[name]))
                present[name].append(np.asarray(batch[name].is_valid()))
        masks = {name: np.concatenate([np.zeros(0, bool), *found]) for name, found in present.items()}
        features = {name: _spread(pieces.pop(name), masks[name]) for name in names}
        return FeatureTable(ids, features, masks, {name: _objects(found) for name, found in cells.items()}, groups)

    def arrays(
        self, part: str = "all", modality: str | None = None, label: str | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return embeddings and labels of the records of a part that have both, as `evaluate_features` takes them.

        Args:
            part: "train", "val", "test" or "all".
            modality: name of the column; None takes the only one.
            label: name of the label; None takes the only one, or none if there is none.

        Returns:
            float32 (N, D), and the labels (N,), or None.
        """
        name = choose_column("modality", modality, list(self.modalities))
        of = [] if label is None and not self.labels else [choose_column("label", label, list(self.labels))]
        table = self.table([name], part, of)
        rows = np.flatnonzero(table.present[name])
        if not of:
            return table.features[name][rows], None
        y_N = table.labels[of[0]]
        rows = rows[[y_N[row] is not None for row in rows]]
        return table.features[name][rows], y_N[rows]

    @property
    def row_schema(self) -> pa.Schema:
        """The columns of `rows`, with the metadata of the file."""
        return pa.schema([self._row_field(name) for name in self._row_names], self._metadata)

    def rows(self, size: int = BATCH) -> Iterator[pa.Table]:
        """Yield what the columns hold that `embed` writes, `size` records at a time; without ids, of row numbers.

        Vectors are lists of one size, float32 unless the file holds smaller ones.
        """
        start, schema = 0, self.row_schema.remove_metadata()
        for batch in self._batches([name for name in self._row_names if name in self._columns], size):
            ids = pa.array(map(str, range(start, start + len(batch))), pa.string())
            start += len(batch)
            columns = [self._row_column(name, batch) if name in self._columns else ids for name in self._row_names]
            yield pa.table(columns, schema=schema)

    @property
    def _row_names(self) -> list[str]:
        told = (LABEL, CAPTION, PATH)
        names = [name for name in self._columns if name in ABOUT[1:] or name.startswith(told)]
        return ["id", *names, *self.modalities]

    def _row_field(self, name: str) -> pa.Field:
        kind = self._columns.get(name, pa.string())
        if name not in self.modalities or pa.types.is_fixed_size_list(kind):
            return pa.field(name, pa.string() if name == "id" else kind)
        return pa.field(name, pa.list_(pa.float32(), self._width(name)))

    def _row_column(self, name: str, batch: pa.RecordBatch) -> pa.Array:
        column, kind = batch[name], self._row_field(name).type
        if name not in self.modalities or pa.types.is_fixed_size_list(column.type):
            return column.cast(kind)
        numbers = np.zeros((len(column), kind.list_size), np.float32)
        numbers[np.asarray(column.is_valid())] = self._matrix(name, column)
        return pa.FixedSizeListArray.from_arrays(pa.array(numbers.ravel()), kind.list_size, mask=column.is_null())

    def _width(self, name: str) -> int:
        """Return how many numbers the vectors of a modality have."""
        return next((x_MD.shape[1] for _, x_MD in self.vectors(name)), 0)

    def summaries(self, rows: Sequence[int]) -> list[tuple[str, RecordSummary]]:
        """Return of some rows the id, and captions, paths and labels of the record."""
        named = [name for name in self._columns if name == "id" or name.startswith((LABEL, CAPTION, PATH))]
        if not named:
            return [(str(row), RecordSummary()) for row in rows]
        stored = [self.stored[name] for name in named]
        found = self._data.take(pa.array(rows, pa.int64()), columns=stored).rename_columns(named).to_pylist()

        def of(record: dict[str, Any], prefix: str) -> dict[str, Any]:
            return {
                name.removeprefix(prefix): cell
                for name, cell in record.items()
                if name.startswith(prefix) and cell is not None
            }

        return [
            (record.get("id", str(row)), RecordSummary(of(record, CAPTION), of(record, PATH), of(record, LABEL)))
            for row, record in zip(rows, found, strict=True)
        ]

    def _split_for(self, part: str) -> list[str]:
        """Return the column that is needed to tell a part, if any is."""
        if part == "all":
            return []
        self._require_column("split")
        require_part(part)
        return ["split"]

    def _of_part(self, columns: list[str], part: str) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
        """Yield the numbers of the rows of a part, int64 (M,), and these rows."""
        start = 0
        for batch in self._batches(columns):
            rows, start = np.arange(start, start + len(batch)), start + len(batch)
            if part != "all":
                chosen = np.flatnonzero(np.asarray(pc.equal(batch["split"], part).fill_null(False)))
                rows, batch = rows[chosen], batch.take(pa.array(chosen))
            yield rows, batch

    def _batches(self, columns: list[str], size: int = BATCH) -> Iterator[pa.RecordBatch]:
        ahead = {"fragment_readahead": 1} if isinstance(self._data, ds.Dataset) else {}
        stored = [self.stored[name] for name in columns]
        for batch in self._data.to_batches(columns=stored, batch_size=size, batch_readahead=1, **ahead):
            yield batch.rename_columns(columns)

    def _matrix(self, name: str, column: pa.Array) -> np.ndarray:
        """Return the lists that are there as float32 (M, D)."""
        there = column.drop_null()
        numbers = there.flatten().to_numpy(zero_copy_only=False)
        if pa.types.is_fixed_size_list(column.type):
            return numbers.astype(np.float32).reshape(len(there), column.type.list_size)
        width = len(numbers) // max(len(there), 1)
        if (np.diff(there.offsets.to_numpy()) != width).any():
            raise RunError(f"The lists of '{name}' in '{self.path}' differ in length: an embedding has one width.")
        return numbers.astype(np.float32).reshape(len(there), width)

    def _require(self, modality: str) -> None:
        if modality not in self.modalities:
            known = ", ".join(self.modalities)
            problem = f"'{self.path}' has no embeddings of '{modality}'"
            raise RunError(not_found(problem, modality, self.modalities, f"it has {known}"))

    def _require_column(self, name: str) -> None:
        if name not in self._columns:
            problem = f"'{self.path}' has no column '{name}'"
            raise RunError(not_found(problem, name, list(self._columns), f"its columns: {self._named()}"))

    def _named(self) -> str:
        return ", ".join(self._columns)


def _open(path: Path) -> Any:
    """Return the dataset of a file, of pyarrow or, of the same methods, of Lance."""
    if path.suffix.lower() == ".lance":
        require_lance(path)
        import lance

        return lance.dataset(str(path))
    try:
        return ds.dataset(path, format="parquet")
    except (pa.ArrowException, OSError) as error:
        raise RunError(f"'{path}' cannot be read as Parquet ({str(error).splitlines()[0]}).") from error


def _is_list_of_numbers(kind: pa.DataType) -> bool:
    is_list = pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return is_list and pa.types.is_floating(kind.value_type)


def _spread(pieces: list[np.ndarray], present_N: np.ndarray) -> np.ndarray:
    """Return the rows of the records that have one at their places, nan elsewhere."""
    width = max((piece.shape[1] for piece in pieces), default=0)
    x_ND = np.full((len(present_N), width), np.nan, np.float32)
    rows = np.flatnonzero(present_N)
    for piece in filter(len, pieces):
        x_ND[rows[: len(piece)]] = piece
        rows = rows[len(piece) :]
    return x_ND


def _objects(cells: list[Any]) -> np.ndarray:
    y_N = np.empty(len(cells), object)
    y_N[:] = cells
    return y_N


def _group(id: str, group: str | None) -> str:
    return f"record {id}" if group is None else f"group {group}"
