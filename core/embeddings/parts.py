"""The row groups of a file of embeddings while it is made: a folder beside it, out of which it is joined at the end."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sensorium.embeddings.table import is_vector, stored_names, with_columns
from sensorium.errors import RunError
from sensorium.runs.atomic import not_written, sweep, write_atomically, write_json

log = logging.getLogger("sensorium")
IDENTITY, JOINED, FIRST = "embedding.json", "joined", "first"
ENDING = ".parts"
STORED = "sensorium.columns"
"""Metadata of a schema: name of a column as it is stored -> what it stands for, where they differ."""


class PartsFolder:
    """The folder `OUT.parts` of the file `OUT`; each row group is in one file, whole or not there.

    Args:
        out: the file that becomes of it.
        identity: what is embedded and how, by name; parts of another embedding are not continued.
        count: number of row groups.
    """

    def __init__(self, out: Path, identity: Mapping[str, Any], count: int) -> None:
        self.out, self.identity, self.count = out, dict(identity), count
        self.folder = out.with_name(out.name + ENDING)

    def open(self) -> list[int]:
        """Continue with what is there, if anything; return the numbers of the row groups that are missing.

        Raises:
            RunError: when it holds parts of another embedding.
        """
        noted = self.folder / IDENTITY
        if noted.exists():
            before = json.loads(noted.read_text(encoding="utf-8"))
            different = [name for name in self.identity if before.get(name) != self.identity[name]]
            if different:
                raise RunError(
                    f"{self.folder} holds parts of another embedding, with other {', '.join(different)}: delete it to "
                    "begin anew, or name another file."
                )
            sweep(self.folder)
        if self.out.exists():
            log.warning("%s is there already: it is replaced.", self.out)
        return [number for number in range(self.count) if not self._path(number).exists()]

    def write(self, number: int, rows: pa.Table) -> None:
        """Write one row group; with the first, what is embedded."""
        if not (self.folder / IDENTITY).exists():
            write_json(self.folder / IDENTITY, self.identity)
        write_atomically(self._path(number), lambda path: _write_arrow(path, rows))

    def join(self, schema_of: Callable[[Sequence[pa.Schema]], pa.Schema]) -> int:
        """Join the row groups, in order, to the file, and delete the folder; return the number of rows.

        Args:
            schema_of: returns the columns of the file, of those of its row groups.

        Raises:
            RunError: when row groups are missing, or the file cannot be written.
        """
        missing = [number for number in range(self.count) if not self._path(number).exists()]
        if missing:
            raise RunError(
                f"{len(missing)} of {self.count} row groups are not in {self.folder}: ranks on several machines need "
                "a folder that all of them see."
            )
        schema = schema_of([_schema(self._path(number)) for number in range(self.count)])
        schema = schema.with_metadata({"sensorium": json.dumps(self.identity, sort_keys=True)})
        joined, rows = self.folder / JOINED, 0

        def groups() -> Iterator[pa.Table]:
            nonlocal rows
            for number in range(self.count):
                group = with_columns(_read_arrow(self._path(number)), schema)
                rows += len(group)
                yield group

        try:
            _remove(joined)
            WRITERS[self.out.suffix.lower()](joined, schema, groups())
            if self.out.is_dir():  # a Lance file of before is a folder, which nothing replaces in one move
                os.replace(self.out, self.folder / FIRST)
            os.replace(joined, self.out)
        except OSError as error:
            raise RunError(not_written(self.out, error)) from error
        shutil.rmtree(self.folder)
        return rows

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:08d}.arrow"


def require_lance(path: Path) -> None:
    """Raise an error for a Lance dataset where the library is not installed.

    Raises:
        RunError: which says how to install it.
    """
    if path.suffix.lower() == ".lance" and find_spec("lance") is None:
        raise RunError(f"'{path}' is a Lance dataset: run pip install 'sensorium[lance]', or take a .parquet file.")


def _write_arrow(path: Path, rows: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, rows.schema) as writer:
        writer.write_table(rows)


def _read_arrow(path: Path) -> pa.Table:
    with pa.OSFile(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


def _schema(path: Path) -> pa.Schema:
    with pa.OSFile(str(path)) as file:
        return pa.ipc.open_file(file).schema


def _write_parquet(path: Path, schema: pa.Schema, groups: Iterator[pa.Table]) -> None:
    """Write one row group for each of the tables; numbers of embeddings, of which none repeat, without a dictionary."""
    repeated = [field.name for field in schema if not is_vector(field.type)]
    with pq.ParquetWriter(path, schema, use_dictionary=repeated) as writer:
        for rows in groups:
            writer.write_table(rows, row_group_size=max(len(rows), 1))
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def with_stored_names(schema: pa.Schema) -> pa.Schema:
    """Return a schema whose columns have no dots in their names, and metadata that say what they stand for."""
    stored = stored_names(schema.names)
    metadata = {**(schema.metadata or {}), STORED: json.dumps({at: name for name, at in stored.items()})}
    return pa.schema([field.with_name(stored[field.name]) for field in schema], metadata)


def _write_lance(path: Path, schema: pa.Schema, groups: Iterator[pa.Table]) -> None:
    """Write a dataset whose columns have no dots in their names, as Lance demands; what they stand for is noted."""
    import lance

    renamed = with_stored_names(schema)
    batches = (batch for rows in groups for batch in pa.Table.from_arrays(rows.columns, schema=renamed).to_batches())
    lance.write_dataset(pa.RecordBatchReader.from_batches(renamed, batches), str(path), schema=renamed)


def _remove(path: Path) -> None:
    """Remove what an earlier process left, a file or a folder."""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


WRITERS: dict[str, Callable[[Path, pa.Schema, Iterator[pa.Table]], None]] = {
    ".parquet": _write_parquet,
    ".lance": _write_lance,
}
"""What joins row groups, by the ending of the file."""
