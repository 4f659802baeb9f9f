"""A map beside the vectors of a file of embeddings: coordinates, neighbors and thumbnails of each record.

Columns as Embedding Atlas reads them (https://apple.github.io/embedding-atlas): `x` and `y`; `neighbors`, a struct of
"ids", numbers of rows, and "distances"; images as a struct of "bytes" and "path", as Hugging Face datasets have them.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from sensorium.embeddings.drawing import RecordImages
from sensorium.embeddings.file import EmbeddingFile
from sensorium.embeddings.parts import with_stored_names
from sensorium.embeddings.projection import project
from sensorium.embeddings.table import CAPTION, is_vector
from sensorium.neighbors.index import make_index
from sensorium.neighbors.search import IndexOptions
from sensorium.neighbors.similarity import l2_normalize
from sensorium.runs.atomic import write_atomically

NEIGHBORS, SIDE, QUALITY = 10, 128, 85
"""Of each record; largest side of a thumbnail in pixels; and the quality of its JPEG."""
PREVIEW = "preview."
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
NEAR = pa.struct([("ids", pa.list_(pa.int64())), ("distances", pa.list_(pa.float32()))])


def add_map(path: Path, images: RecordImages, projection: str) -> list[str]:
    """Add columns of a map to a file of embeddings, and take the dots out of the names of all.

    The first modality has `x`, `y` and `neighbors`, each other one `x_NAME` and so on; null where a record lacks it.
    Vectors are in memory for it.

    Args:
        path: the .parquet file, which is replaced.
        images: draws the thumbnails.
        projection: "pca" or "umap".

    Returns:
        Names of the columns that were added.
    """
    file, added = EmbeddingFile(path), dict[str, pa.Array]()
    for number, name in enumerate(file.modalities):
        ending = f"_{name}" if number else ""
        found = [*file.vectors(name)]
        rows_M = np.concatenate([rows for rows, _ in found])
        x_MD = np.concatenate([x for _, x in found])
        xy_M2, _ = project(x_MD, projection)
        for axis, column in zip("xy", xy_M2.T, strict=True):
            added[axis + ending] = _at(rows_M, len(file), pa.array(column))
        added["neighbors" + ending] = _at(rows_M, len(file), _neighbors(x_MD, rows_M))
    write_atomically(path, lambda made: _Copy(path, added, images).write(made))
    return [*added, *(f"preview_{name}" for name in images.modalities)]


def atlas_options(path: Path) -> str:
    """Return the options by which Embedding Atlas reads a file with a map."""
    columns = EmbeddingFile(path).stored
    found = {"x": "x", "y": "y", "neighbors": "neighbors"}
    for option, prefix in (("image", PREVIEW), ("text", CAPTION)):
        names = [at for name, at in columns.items() if name.startswith(prefix)]
        found |= {option: names[0]} if names else {}
    return " ".join(f"--{option} {name}" for option, name in found.items())


class _Copy:
    """A file of embeddings with more columns, written row group by row group."""

    def __init__(self, path: Path, added: dict[str, pa.Array], images: RecordImages) -> None:
        self.file, self.added, self.images = pq.ParquetFile(path), added, images
        before: pa.Schema = self.file.schema_arrow
        drawn = [PREVIEW + name for name in images.modalities]
        fields = [*before, *(pa.field(name, x.type) for name, x in added.items())]
        fields += [pa.field(name, IMAGE) for name in drawn]
        self.schema = with_stored_names(pa.schema(fields, before.metadata))

    def write(self, path: Path) -> None:
        """Write the file."""
        repeated = [field.name for field in self.schema if not is_vector(field.type)]
        with pq.ParquetWriter(path, self.schema, use_dictionary=repeated) as writer:
            for rows in self._groups():
                writer.write_table(pa.table(rows.columns, schema=self.schema), row_group_size=max(len(rows), 1))

    def _groups(self) -> Iterator[pa.Table]:
        start = 0
        for number in range(self.file.num_row_groups):
            rows = self.file.read_row_group(number)
            drawn = {name: _stored(self.images.of(rows, name)) for name in self.images.modalities}
            for name, column in self.added.items():
                rows = rows.append_column(name, column.slice(start, len(rows)))
            for name, images in drawn.items():
                rows = rows.append_column(PREVIEW + name, images)
            start += len(rows)
            yield rows


def _neighbors(x_MD: np.ndarray, rows_M: np.ndarray) -> pa.Array:
    """Return of each vector the nearest others: numbers of rows, and distances, 1 less the cosine."""
    y_MD = l2_normalize(x_MD, "cpu")
    index, near = make_index(y_MD, y_MD, NEIGHBORS + 1, IndexOptions()), list[dict[str, object]]()
    for block in index.blocks(len(y_MD)):
        scores_BK, found_BK = index.search(y_MD[block], NEIGHBORS + 1)
        own_B1 = torch.arange(block.start, block.stop).numpy()[:, None]
        kept_BK = (found_BK != own_B1) & np.isfinite(scores_BK)
        for scores_K, found_K, kept_K in zip(scores_BK, found_BK, kept_BK, strict=True):
            chosen = np.flatnonzero(kept_K)[:NEIGHBORS]
            near.append({"ids": rows_M[found_K[chosen]].tolist(), "distances": (1 - scores_K[chosen]).tolist()})
    return pa.array(near, NEAR)


def _at(rows_M: np.ndarray, count: int, values: pa.Array) -> pa.Array:
    """Return values at their rows among so many, null elsewhere."""
    place_N = np.full(count, -1)
    place_N[rows_M] = np.arange(len(rows_M))
    return values.take(pa.array(place_N, mask=place_N < 0))


def _stored(images: Iterator[Image.Image | None]) -> pa.Array:
    return pa.array([None if image is None else {"bytes": _jpeg(image), "path": None} for image in images], IMAGE)


def _jpeg(image: Image.Image) -> bytes:
    small, stored = image.convert("RGB"), BytesIO()
    small.thumbnail((SIDE, SIDE))
    small.save(stored, format="JPEG", quality=QUALITY)
    return stored.getvalue()
