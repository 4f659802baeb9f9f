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
        images: draws them.
        folder: that of the index.
    """

    def __init__(self, images: RecordImages, folder: Path) -> None:
        self.images, self.folder = images, folder
        self.modalities = images.modalities

    def __call__(self, rows: pa.Table) -> dict[str, list[str | None]]:
        """Draw some records; return modality -> the paths relative to the folder, None where there is nothing to draw.

        Args:
            rows: their ids and vectors.
        """
        ids = rows["id"].to_pylist()
        return {
            name: [
                None if image is None else self._write(id, image, name)
                for id, image in zip(ids, self.images.of(rows, name), strict=True)
            ]
            for name in self.modalities
        }

    def _write(self, id: str, image: Image.Image, modality: str) -> str:
        name = blake2b(id.encode(), digest_size=16).hexdigest()
        path = Path(FOLDER, modality, name[:2], f"{name}.webp")
        (self.folder / path.parent).mkdir(parents=True, exist_ok=True)
        image.save(self.folder / path, format="WEBP", quality=QUALITY)
        return path.as_posix()
