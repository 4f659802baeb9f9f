"""Previews of records as small image files in the folder of an index."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

import pyarrow as pa
from PIL import Image

from sensorium.embeddings.drawing import RecordImages

FOLDER, QUALITY = "previews", 85


class Thumbnails:
    """Draws records into files `previews/MODALITY/xx/HASH.webp`, named by a hash of the id.

    Args:
        pictures: draws them.
        folder: that of the index.
    """

    def __init__(self, pictures: RecordImages, folder: Path) -> None:
        self.pictures, self.folder = pictures, folder
        self.modalities = pictures.modalities

    def __call__(self, rows: pa.Table) -> dict[str, list[str | None]]:
        """Draw some records; return modality -> the paths relative to the folder, None where there is nothing to draw.

        Args:
            rows: their ids and vectors.
        """
        ids = rows["id"].to_pylist()
        return {
            name: [
                None if picture is None else self._write(id, picture, name)
                for id, picture in zip(ids, self.pictures.of(rows, name), strict=True)
            ]
            for name in self.modalities
        }

    def _write(self, id: str, picture: Image.Image, modality: str) -> str:
        name = blake2b(id.encode(), digest_size=16).hexdigest()
        path = Path(FOLDER, modality, name[:2], f"{name}.webp")
        (self.folder / path.parent).mkdir(parents=True, exist_ok=True)
        picture.save(self.folder / path, format="WEBP", quality=QUALITY)
        return path.as_posix()
