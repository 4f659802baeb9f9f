"""Vectors, metadata and sprites for the embedding projector of TensorBoard, by its own writer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image

from sensorium.embeddings.drawing import RecordImages
from sensorium.embeddings.file import EmbeddingFile
from sensorium.embeddings.table import CAPTION, LABEL
from sensorium.errors import RunError
from sensorium.seeding import uniform_of

MOST, SIDE = 10_000, 64
"""Records that the projector shows at once, and pixels of a side of their images: a sprite of 6,400 x 6,400."""


def write_projector(folder: Path, file: EmbeddingFile, images: RecordImages) -> int:
    """Write the vectors of each modality with ids, labels, captions and images; return of how many records.

    Of more than 10,000 records it is those whose ids come first by a hash.

    Args:
        folder: a log folder of TensorBoard, which is made.
        file: the embeddings.
        images: draws the records.

    Raises:
        RunError: when the folder has something in it.
    """
    from torch.utils.tensorboard import SummaryWriter

    require_empty(folder)
    rows, kept = pa.concat_tables([_without_vectors(rows, file) for rows in file.rows()]), _kept(file)
    with SummaryWriter(str(folder)) as writer:
        for name in file.modalities:
            found = {
                int(row): x
                for part, x_MD in file.vectors(name)
                for row, x in zip(part, x_MD, strict=True)
                if row in kept
            }
            if not found:
                continue
            chosen = rows.take(pa.array(list(found), pa.int64()))
            header, cells = _metadata(chosen)
            sprites = None
            if name in images.modalities:
                has = pa.array(np.ones(len(chosen), bool))
                sprites = torch.stack([_square(one) for one in images.of(chosen.append_column(name, has), name)])
            x_MD = torch.from_numpy(np.stack(list(found.values())))
            writer.add_embedding(x_MD, metadata=cells, metadata_header=header, label_img=sprites, tag=name)
    return len(kept)


def require_empty(folder: Path) -> None:
    """Raise an error for a folder that has something in it.

    Raises:
        RunError: which names it.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(f"The projector's folder '{folder}' has something in it: name another one.")


def _kept(file: EmbeddingFile) -> set[int]:
    """Return the rows of the records that are written."""
    ids = [id for rows in file.rows() for id in rows["id"].to_pylist()]
    order = sorted(range(len(ids)), key=lambda row: uniform_of("projector", ids[row]))
    return set(order[:MOST])


def _without_vectors(rows: pa.Table, file: EmbeddingFile) -> pa.Table:
    return rows.drop_columns(list(file.modalities))


def _metadata(rows: pa.Table) -> tuple[list[str], list[list[str]]]:
    """Return the names and cells of what is told of records, without tabs and line breaks."""
    names = [name for name in rows.column_names if name in ("id", "split") or name.startswith((LABEL, CAPTION))]
    header = [name.removeprefix(LABEL) if name.startswith(LABEL) else name for name in names]
    columns = [rows[name].to_pylist() for name in names]
    return header + ["row"] * (len(header) == 1), [
        [_plain(cell) for cell in cells] + [str(number)] * (len(header) == 1)
        for number, cells in enumerate(zip(*columns, strict=True))
    ]


def _plain(cell: Any) -> str:
    return "" if cell is None else " ".join(str(cell).split())


def _square(image: Image.Image | None) -> torch.Tensor:
    """Return an image in the middle of a white square, float32 (3, 64, 64) from 0 to 1."""
    square = Image.new("RGB", (SIDE, SIDE), "white")
    if image is not None:
        small = image.convert("RGB")
        small.thumbnail((SIDE, SIDE))
        square.paste(small, ((SIDE - small.width) // 2, (SIDE - small.height) // 2))
    return torch.from_numpy(np.asarray(square).transpose(2, 0, 1) / np.float32(255))
