"""How the records of a page are chosen and drawn."""

from __future__ import annotations

from dataclasses import dataclass

from sensorium.data.splits import require_part
from sensorium.embeddings.projection import Projection


@dataclass(frozen=True)
class MapOptions:
    """How records are chosen and drawn.

    Args:
        part: "train", "val", "test" or "all".
        records: the largest number of records, chosen by their ids.
        projection: how the plane of the map is found.
        label: the label that colors the map; None for the first, or for none of records without labels.
    """

    part: str = "test"
    records: int = 500
    projection: Projection = "pca"
    label: str | None = None

    def __post_init__(self) -> None:
        require_part(self.part)
