"""How the records of a page are chosen and drawn."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from sensorium.errors import RunError, not_found

Projection = Literal["pca", "umap"]


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


def require_projection(projection: str) -> None:
    """Raise an error for a projection that is none, or whose library is not installed.

    Raises:
        RunError: which says what there is, or how to install it.
    """
    if projection not in ("pca", "umap"):
        raise RunError(not_found(f"There is no map '{projection}'", projection, ["pca", "umap"], "known: pca, umap"))
    if projection == "umap" and find_spec("umap") is None:
        raise RunError("A map by UMAP needs umap-learn: run pip install 'sensorium[umap]', or take --map pca.")
