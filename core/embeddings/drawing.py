"""Small images of the records of a table of embeddings."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from sensorium.evaluation.previews import Previews


class RecordImages:
    """Draws records that are named by their ids.

    Args:
        previews: draws the records of a source.
    """

    def __init__(self, previews: Previews) -> None:
        self.previews = previews
        ids = previews.source.columns().id_column()
        self._ids = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
        parts = previews.plan.modalities.items()
        self.modalities = [name for name, part in parts if part.has_preview and not part.preview_is_caption]
        """Those that are drawn: not those whose previews are words, which captions hold."""

    def of(self, rows: pa.Table, modality: str) -> Iterator[Image.Image | None]:
        """Yield the image of each of some records; None of one that lacks the modality, or is none of the source's.

        Args:
            rows: their ids, and vectors, by which it is known what they have.
            modality: what is drawn of them.
        """
        if modality not in rows.column_names:
            yield from [None] * len(rows)
            return
        found = pc.index_in(rows["id"].combine_chunks().cast(self._ids.type), value_set=self._ids)
        has_M = np.asarray(rows[modality].is_valid())
        for position, has in zip(found.to_pylist(), has_M.tolist(), strict=True):
            yield self.previews(position, modality) if has and position is not None else None
