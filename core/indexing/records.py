"""An index of records: a folder with a table of LanceDB, a row for each record, found by id, filter and cosine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from torch import Tensor

from sensorium.data.summary import RecordSummary
from sensorium.embeddings.parts import STORED
from sensorium.embeddings.table import CAPTION, LABEL, PATH, is_vector, stored_names
from sensorium.errors import RunError, not_found
from sensorium.indexing.approximate import Lists, build_lists, is_approximate, sample_of
from sensorium.indexing.filters import all_of, equal, literal, names_of_columns, reason_of, with_stored_names
from sensorium.neighbors.index import SMALL
from sensorium.runs.atomic import write_json

TABLE, LISTS, ABOUT = "records", "index.json", "about.json"
PREVIEW = "preview."
"""Columns of the paths of previews, relative to the folder."""


@dataclass(frozen=True)
class IndexedRecord:
    """A record of an index.

    Args:
        id: of the record.
        part: "train", "val" or "test"; empty where the index has no parts.
        summary: captions, paths and labels.
        previews: modality -> the path of the preview that was drawn of it.
        score: cosine of the query and the record, of one that a search found.
    """

    id: str
    part: str
    summary: RecordSummary
    previews: Mapping[str, str]
    score: float = float("nan")


@dataclass
class IndexIdentity:
    """What the vectors of an index were made of.

    Args:
        path: the folder.
        about: as a file of embeddings says it.
    """

    path: Path
    about: dict[str, Any]


class RecordIndex:
    """An index of records, as `sensorium index` writes it.

    The table `records` has the columns of a file of embeddings (`sensorium.EmbeddingFile`), without dots in names.

    Args:
        path: the folder.

    Raises:
        RunError: when it holds no index, or LanceDB is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        require_lancedb()
        self.path = Path(path)
        require_index(path)
        self._open()

    def _open(self) -> None:
        import lancedb

        self.table: Any = lancedb.connect(str(self.path)).open_table(TABLE)
        schema: pa.Schema = self.table.schema
        metadata = schema.metadata or {}
        plain = json.loads(metadata.get(STORED.encode(), b"{}"))
        self.stored = {plain.get(name, name): name for name in schema.names}
        """Name of a column -> the name that it is stored under."""
        self.about: dict[str, Any] = json.loads(metadata.get(b"sensorium", b"{}"))
        self._types = {name: schema.field(at).type for name, at in self.stored.items()}
        self.modalities = tuple(name for name, kind in self._types.items() if is_vector(kind))
        self._names = names_of_columns(self.stored)

    @classmethod
    def create(cls, path: Path, schema: pa.Schema) -> RecordIndex:
        """Make an empty index of the columns of a file of embeddings."""
        require_lancedb()
        import lancedb

        stored = stored_names(schema.names)
        fields = [field.with_name(at) for field, at in zip(schema, stored.values(), strict=True)]
        plain = json.dumps({at: name for name, at in stored.items()})
        metadata = {**(schema.metadata or {}), STORED: plain}
        path.mkdir(parents=True, exist_ok=True)
        lancedb.connect(str(path)).create_table(TABLE, schema=pa.schema(fields, metadata))
        return cls(path)

    def __len__(self) -> int:
        return self.table.count_rows()

    def width(self, modality: str) -> int:
        """Return how many numbers the vectors of a modality have."""
        return self._types[modality].list_size

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels."""
        return tuple(name.removeprefix(LABEL) for name in self.stored if name.startswith(LABEL))

    @property
    def schema(self) -> pa.Schema:
        """The columns by their own names."""
        return pa.schema([(name, kind) for name, kind in self._types.items()])

    @property
    def lists(self) -> dict[str, Lists]:
        """The inverted lists of each modality that is searched by them."""
        noted = self.path / LISTS
        found = json.loads(noted.read_text(encoding="utf-8")) if noted.exists() else {}
        return {name: Lists(**of_modality) for name, of_modality in found.items()}

    def condition(
        self, part: str = "all", where: str | None = None, labels: Mapping[str, Any] | None = None
    ) -> str | None:
        """Return what records are asked for, as LanceDB reads it; None for all of them.

        Args:
            part: "train", "val", "test" or "all".
            where: a condition of SQL over columns: "category = 'cat' AND split = 'train'".
            labels: label -> the value that records must have.
        """
        asked = [] if part == "all" else [equal(self._column("split"), part)]
        asked += [equal(self._column(LABEL + name), value) for name, value in (labels or {}).items()]
        return all_of([*asked, with_stored_names(where or "", self._names)])

    def count(self, modality: str, condition: str | None = None) -> int:
        """Return how many records that fulfill a condition have a modality.

        Raises:
            RunError: for a condition that cannot be read.
        """
        has = f"`{self.stored[modality]}` IS NOT NULL"
        try:
            return self.table.count_rows(all_of([has, condition or ""]))
        except (ValueError, RuntimeError) as error:
            raise RunError(self._refused(error)) from error

    def nearest(
        self, modality: str, query_1D: Tensor, count: int, condition: str | None = None
    ) -> tuple[list[IndexedRecord], int]:
        """Return the records nearest to a query by cosine, and how many were searched.

        Args:
            modality: whose vectors are searched.
            query_1D: the query.
            count: number of records; all if there are fewer.
            condition: as `condition` returns it; only records that fulfill it are searched.

        Raises:
            RunError: when no record is left, the condition cannot be read, or the width is not that of the query.
        """
        if modality not in self.modalities:
            known = ", ".join(self.modalities)
            problem = f"'{self.path}' has no vectors of '{modality}'"
            raise RunError(not_found(problem, modality, self.modalities, f"it has {known}"))
        if (width := self.width(modality)) != query_1D.shape[1]:
            raise RunError(
                f"'{modality}' in '{self.path}' has {width} numbers, the query {query_1D.shape[1]}: there is no joint "
                "space."
            )
        searched = self.count(modality, condition)
        if not searched:
            asked = "" if condition is None else f" that fulfills {condition}"
            raise RunError(f"No record of '{self.path}'{asked} has '{modality}': there is nothing to search.")
        query = self.table.search(query_1D[0].float().cpu().numpy(), vector_column_name=self.stored[modality])
        query = query.distance_type("cosine").limit(min(count, searched)).select([*self._shown, "_distance"])
        if condition is not None:
            query = query.where(condition, prefilter=True)
        lists = self.lists.get(modality)
        if lists is None or (condition is not None and searched <= SMALL):
            query = query.bypass_vector_index()
        else:  # under a condition as many lists more as it takes to find so many records
            query = query.minimum_nprobes(lists.nprobe).maximum_nprobes(0)
        return [self._record(row) for row in query.to_arrow().to_pylist()], searched

    def records(self, ids: Sequence[str]) -> list[IndexedRecord]:
        """Return records by their ids, in this order; those that there are not are left out."""
        found = {row["id"]: self._record(row) for row in self._rows(ids, self._shown).to_pylist()}
        return [found[id] for id in ids if id in found]

    def vectors(self, id: str) -> dict[str, np.ndarray]:
        """Return the vectors of a record, float32 (1, D), of the modalities that it has."""
        (row,) = self._rows([id], [self.stored[name] for name in self.modalities]).to_pylist() or [{}]
        of_row = {name: row.get(self.stored[name]) for name in self.modalities}
        return {name: np.asarray([x], np.float32) for name, x in of_row.items() if x is not None}

    def first(self, count: int, condition: str | None = None) -> list[IndexedRecord]:
        """Return some records that fulfill a condition, as they are stored.

        Raises:
            RunError: for a condition that cannot be read.
        """
        query = self.table.search().select(self._shown).limit(count)
        try:
            return [
                self._record(row) for row in (query.where(condition) if condition else query).to_arrow().to_pylist()
            ]
        except (ValueError, RuntimeError) as error:
            raise RunError(self._refused(error)) from error

    def values_of(self, label: str, most: int = 100) -> list[Any] | None:
        """Return the values of a label, sorted; None where there are more than `most`."""
        column, found = self.stored[LABEL + label], set[Any]()
        for batch in self.table.search().select([column]).to_batches():
            found |= set(batch[column].unique().drop_null().to_pylist())
            if len(found) > most:
                return None
        return sorted(found)

    def rows(self, ids: Sequence[str]) -> pa.Table:
        """Return all columns, by their own names, of those of some records that there are."""
        names = list(self.stored)
        return self._rows(ids, list(self.stored.values())).rename_columns(names)

    def add_columns(self, fields: Sequence[pa.Field]) -> None:
        """Add columns, null in every record that there is."""
        taken = dict(self.stored)
        stored = stored_names([*taken, *(field.name for field in fields)])
        self.table.add_columns(pa.schema([field.with_name(stored[field.name]).with_nullable(True) for field in fields]))
        metadata = json.dumps({at: name for name, at in stored.items()})
        self.table.to_lance().update_schema_metadata({STORED: metadata})
        self._open()

    def write(self, rows: pa.Table, replacing: bool) -> None:
        """Write rows of the index's columns, by their own names: new records, or in place of those of the same id."""
        schema = self.table.schema
        stored = pa.table([rows[name].cast(self._types[name]) for name in self.stored], schema=schema)
        if replacing:
            merge = self.table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            merge.execute(stored, on_bad_vectors="null")
        else:
            self.table.add(stored, on_bad_vectors="null")

    def finish(self, kind: str) -> None:
        """Order what was written: by id, and the vectors of each modality that is searched approximately in lists.

        Args:
            kind: "auto", "exact" or "ivf".
        """
        from lancedb.index import BTree

        self.table.create_index("id", config=BTree(), replace=True)
        self.table.optimize()
        found = {}
        for name in self.modalities:
            column, vectors = self.stored[name], self.count(name)
            if is_approximate(kind, vectors):
                found[name] = build_lists(self.table, column, vectors, self._queries_for(name))
            elif name in self.lists:
                self.table.drop_index(next(one.name for one in self.table.list_indices() if one.columns == [column]))
        write_json(self.path / ABOUT, self.about)
        write_json(self.path / LISTS, {name: asdict(lists) for name, lists in found.items()})

    def _queries_for(self, name: str) -> np.ndarray:
        """Return queries as a search has them: vectors of another modality in the same space, or of the same one."""
        width = self.width(name)
        others = (other for other in self.modalities if other != name and self.width(other) == width)
        for other in (*others, name):
            if len(x_QD := sample_of(self.table, self.stored[other], width)):
                return x_QD
        raise AssertionError("a modality that is searched has vectors")

    @property
    def _shown(self) -> list[str]:
        """Stored names of the columns that tell of a record."""
        told = (LABEL, CAPTION, PATH, PREVIEW)
        return [at for name, at in self.stored.items() if name in ("id", "split") or name.startswith(told)]

    def _rows(self, ids: Sequence[str], columns: list[str]) -> pa.Table:
        wanted = ", ".join(map(literal, ids)) or "''"
        return self.table.search().where(f"id IN ({wanted})").select(columns).limit(max(len(ids), 1)).to_arrow()

    def _record(self, row: Mapping[str, Any]) -> IndexedRecord:
        def of(prefix: str) -> Iterator[tuple[str, Any]]:
            for name, at in self.stored.items():
                if name.startswith(prefix) and row.get(at) is not None:
                    yield name.removeprefix(prefix), row[at]

        previews = {name: str(self.path / path) for name, path in of(PREVIEW)}
        summary = RecordSummary(dict(of(CAPTION)), dict(of(PATH)), dict(of(LABEL)))
        score = 1 - row["_distance"] if "_distance" in row else float("nan")
        return IndexedRecord(row["id"], row.get("split") or "", summary, previews, score)

    def _column(self, name: str) -> str:
        if name not in self.stored:
            problem, known = f"'{self.path}' has no column '{name}'", ", ".join(self.stored)
            raise RunError(not_found(problem, name, list(self.stored), f"its columns: {known}"))
        return self.stored[name]

    def _refused(self, error: Exception) -> str:
        known = ", ".join(name for name in self.stored if name not in self.modalities)
        return f"The filter cannot be read ({reason_of(error)}): it is a condition of SQL over {known}."


def is_index(path: str | Path) -> bool:
    """Return whether a folder holds an index of records."""
    return (Path(path) / f"{TABLE}.lance").is_dir()


def names_index(path: str | Path) -> bool:
    """Return whether a path is that of an index, there or not, and of no file of embeddings."""
    suffix = Path(path).suffix.lower()
    return suffix != ".lance" and (not suffix or Path(path).is_dir())


def require_index(path: str | Path) -> None:
    """Raise an error for a folder that holds no index.

    Raises:
        RunError: which says how to make one.
    """
    if not is_index(path):
        raise RunError(f"'{path}' holds no index of records; `sensorium index RUN {path}` makes one.")


def require_room(folder: Path, begun: str) -> None:
    """Raise an error for a folder in which an index would stand among other files.

    Args:
        folder: that of the index, there or not.
        begun: the name of what an interrupted call leaves in it.

    Raises:
        RunError: which says to name another one.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"'{folder}' is a file, and an index is a folder: name a new folder.")
    if not folder.is_dir() or is_index(folder):
        return
    if any(not path.name.startswith((begun, f".{begun}")) for path in folder.iterdir()):
        raise RunError(f"'{folder}' holds other files and no index: name a new folder.")


def identity_of(folder: Path) -> IndexIdentity | RecordIndex:
    """Return what the vectors of an index were made of; of a finished one without LanceDB.

    Processes that are forked after LanceDB was imported are not safe, so that records are embedded before.
    """
    noted = folder / ABOUT
    if not noted.is_file():
        return RecordIndex(folder)
    return IndexIdentity(folder, json.loads(noted.read_text(encoding="utf-8")))


def require_lancedb() -> None:
    """Raise an error where LanceDB is not installed.

    Raises:
        RunError: which says how to install it.
    """
    if find_spec("lancedb") is None:
        raise RunError("An index of records needs LanceDB: run pip install 'sensorium[index]'.")
