"""What packed records are written to: Parquet files, tars, or the fragments of a Lance dataset."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sensorium.errors import RecipeError
from sensorium.packing.layout import Layout, column_name
from sensorium.packing.tar_members import member_name, members_of
from sensorium.runs.atomic import write_atomically

ROW_GROUP = 8 << 20
"""About how many bytes of rows are read together: a page of a Parquet file that is read at random."""


class Shards(ABC):
    """Shards of packed records in a folder; what is written of one is whole or not there.

    Args:
        folder: of the shards.
        layout: of the records.
        extensions: field -> the extensions of its members so far, where shards have such.
    """

    source: ClassVar[str]
    """The source that reads them."""
    column_name = staticmethod(column_name)
    """Makes a name that a column of values may have out of that of a field."""

    def __init__(self, folder: Path, layout: Layout, extensions: Mapping[str, Sequence[str]]) -> None:
        self.folder, self.layout = folder, layout
        self.extensions = {field: dict.fromkeys(endings) for field, endings in extensions.items()}

    @abstractmethod
    def write(self, number: int, rows: pa.Table, positions: np.ndarray) -> list[str]:
        """Write one shard, and return its files, relative to the folder.

        Args:
            number: of the shard, from 0.
            rows: n records.
            positions: int64 (n,), where the source had them.
        """

    def keep(self, count: int, records: int) -> None:
        """Leave nothing but the first shards, as many as `count`, with so many records, of a pack that was stopped."""
        for file in self.folder.iterdir():
            if file.suffix == self.suffix and file.stem.isdigit() and int(file.stem) >= count:
                file.unlink()

    suffix: ClassVar[str] = ""

    def options(self) -> dict[str, Any]:
        """Return the options of the source that reads them; their schema says what their columns are."""
        return {"path": str(self.folder)}

    def _write_file(self, number: int, write: Any) -> list[str]:
        name = f"{number:06d}{self.suffix}"
        write_atomically(self.folder / name, write)
        return [name]


class ParquetShards(Shards):
    """Parquet files, with a checksum of every page; media are not compressed again."""

    source = "parquet"
    suffix = ".parquet"

    def write(self, number: int, rows: pa.Table, positions: np.ndarray) -> list[str]:
        """Write one file."""
        files = {column.name for column in self.layout.values.values() if column.kind == "file"}
        kinds = {name: "NONE" if name.split(".")[0] in files else "ZSTD" for name in _leaves(rows.schema)}
        count = max(int(len(rows) * ROW_GROUP / max(rows.nbytes, 1)), 1)
        settings: dict[str, Any] = {"row_group_size": count, "compression": kinds, "use_dictionary": False}
        settings |= {"write_page_index": True, "write_page_checksum": True, "store_schema": True}
        return self._write_file(number, lambda path: pq.write_table(rows, path, **settings))


class TarShards(Shards):
    """Tars in the layout of webdataset: the members of a record have one name but for their ends."""

    source = "webdataset"
    suffix = ".tar"
    column_name = staticmethod(member_name)

    def write(self, number: int, rows: pa.Table, positions: np.ndarray) -> list[str]:
        """Write one tar."""

        def write(path: Path) -> None:
            with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
                for position, row in zip(positions.tolist(), _rows(rows), strict=True):
                    for field, ending, content in members_of(self.layout, row):
                        if field is not None:
                            extension = re.sub(r"^\d+\.", "", ending)
                            self.extensions.setdefault(field, {})[extension] = None
                        member = tarfile.TarInfo(f"{position:012d}.{ending}")
                        member.size = len(content)
                        tar.addfile(member, io.BytesIO(content))

        return self._write_file(number, write)

    def options(self) -> dict[str, Any]:
        """Return the options of the source that reads them: keys are entries of a record's JSON."""
        columns = {field: ";".join(endings) for field, endings in self.extensions.items()}
        uses = {"id": self.layout.id, "split": self.layout.split, "group": self.layout.group}
        said = {name: f"json.{column}" for name, column in uses.items() if column is not None}
        labels = {label: f"json.{column}" for label, column in self.layout.labels.items()}
        return {"path": str(self.folder), "columns": columns} | said | ({"labels": labels} if labels else {})


class LanceShards(Shards):
    """Fragments of one Lance dataset."""

    source = "lance"

    def write(self, number: int, rows: pa.Table, positions: np.ndarray) -> list[str]:
        """Append one fragment."""
        before = {file.name for file in (self.folder / "data").glob("*")}
        mode = "append" if before else "create"
        settings = {"max_rows_per_file": len(rows), "max_bytes_per_file": 1 << 62}
        _lance().write_dataset(rows, str(self.folder), mode=mode, **settings)
        return sorted(f"data/{file.name}" for file in (self.folder / "data").glob("*") if file.name not in before)

    def keep(self, count: int, records: int) -> None:
        """Go back to the version that had so many records."""
        if not (self.folder / "_versions").exists():
            return
        dataset = _lance().dataset(str(self.folder))
        for version in sorted((one["version"] for one in dataset.versions()), reverse=True):
            if count and _lance().dataset(str(self.folder), version=version).count_rows() == records:
                if version != dataset.version:
                    _lance().dataset(str(self.folder), version=version).restore()
                return
        for file in sorted(self.folder.rglob("*"), reverse=True):
            if file.name not in KEPT:
                file.unlink() if file.is_file() else file.rmdir()


KEPT = ("pack.json", "unreadable.csv")
"""Files beside the shards."""
FORMS: dict[str, type[Shards]] = {"parquet": ParquetShards, "webdataset": TarShards, "lance": LanceShards}
"""Name of a form, which is that of the source that reads it -> what writes it."""


def checksum(file: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _lance() -> Any:
    try:
        import lance
    except ImportError as error:
        raise RecipeError("A Lance dataset needs the package 'pylance': run pip install 'sensorium[lance]'.") from error
    return lance


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=256):
        yield from batch.to_pylist()


def _leaves(schema: pa.Schema) -> list[str]:
    """Return the names of columns as Parquet has them, those within structs and lists included."""

    def of(field: pa.Field, name: str) -> list[str]:
        if pa.types.is_struct(field.type):
            return [leaf for inner in field.type for leaf in of(inner, f"{name}.{inner.name}")]
        if pa.types.is_list(field.type):
            return of(field.type.value_field, f"{name}.list.element")
        return [name]

    return [leaf for field in schema for leaf in of(field, field.name)]
