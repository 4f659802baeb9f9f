"""Previews of records as small image files in the folder of an index."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sensorium.evaluation.previews import Previews

FOLDER, QUALITY = "previews", 85


class Thumbnails:
    """Draws records into files `previews/MODALITY/xx/HASH.webp`, named by a hash of the id.

    Args:
        previews: draws the records of a source.
        folder: that of the index.
    """

    def __init__(self, previews: Previews, folder: Path) -> None:
        self.previews, self.folder = previews, folder
        ids = previews.source.columns().id_column()
        self._ids = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
        parts = previews.plan.modalities.items()
        self.modalities = [name for name, part in parts if part.has_preview and not part.preview_is_caption]
        """Those that are drawn: not those whose previews are words, which captions hold."""

    def __call__(self, rows: pa.Table) -> dict[str, list[str | None]]:
        """Draw some records; return modality -> the paths relative to the folder, None where there is nothing to draw.

        Args:
            rows: their ids and vectors, by which it is known what they have.
        """
        found = pc.index_in(rows["id"].combine_chunks().cast(self._ids.type), value_set=self._ids)
        positions, ids = found.to_pylist(), rows["id"].to_pylist()
        drawn: dict[str, list[str | None]] = {}
        for name in self.modalities:
            has = np.asarray(rows[name].is_valid()) if name in rows.column_names else np.zeros(len(rows), bool)
            drawn[name] = [
                self._draw(id, position, name) if there and position is not None else None
                for id, position, there in zip(ids, positions, has.tolist(), strict=True)
            ]
        return drawn

    def _draw(self, id: str, position: int, modality: str) -> str:
        name = blake2b(id.encode(), digest_size=16).hexdigest()
        path = Path(FOLDER, modality, name[:2], f"{name}.webp")
        (self.folder / path.parent).mkdir(parents=True, exist_ok=True)
        self.previews(position, modality).save(self.folder / path, format="WEBP", quality=QUALITY)
        return path.as_posix()
