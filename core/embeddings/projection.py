"""Maps of vectors: two coordinates for each, by PCA or UMAP."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal, get_args

import numpy as np

from sensorium.errors import RunError, not_found
from sensorium.neighbors.similarity import l2_normalize

Projection = Literal["pca", "umap"]
FEW = 15
"""Neighbors of a point that UMAP keeps together, as it does by default."""


def require_projection(name: str) -> None:
    """Raise an error for a projection that there is not, or that is not installed.

    Raises:
        RunError: which says how to install it.
    """
    if name not in (known := get_args(Projection)):
        raise RunError(not_found(f"There is no projection '{name}'", name, known, f"known: {', '.join(known)}"))
    if name == "umap" and find_spec("umap") is None:
        raise RunError("UMAP is not installed: run pip install 'sensorium[umap]', or take the projection 'pca'.")


def project(x_ND: np.ndarray, name: str, seed: int = 0) -> tuple[np.ndarray, str]:
    """Return two coordinates of each vector, float32 (N, 2), and how they were found, as a sentence.

    Vectors are compared by direction, as cosines compare them.

    Args:
        x_ND: vectors.
        name: "pca"; or "umap" (McInnes et al. 2018), which keeps neighbors together rather than distances.
        seed: of UMAP.
    """
    x_ND = l2_normalize(x_ND, "cpu").numpy()
    if len(x_ND) < 4 or x_ND.shape[1] < 2:  # too few for either
        padded_N2 = np.pad(x_ND[:, :2], ((0, 0), (0, max(0, 2 - x_ND.shape[1]))))
        return padded_N2, "The first numbers of the normalized embeddings."
    if name == "umap":
        from umap import UMAP

        neighbors = min(FEW, len(x_ND) - 1)
        way = UMAP(n_neighbors=neighbors, metric="cosine", random_state=seed, n_jobs=1, init="pca")
        said = f"UMAP of {neighbors} neighbors by cosine: distances far apart say little."
        return np.asarray(way.fit_transform(x_ND), np.float32), said
    from sklearn.decomposition import PCA

    pca = PCA(2, svd_solver="covariance_eigh").fit(x_ND)
    held = float(np.nan_to_num(pca.explained_variance_ratio_).sum())
    said = f"The first two principal components of normalized embeddings, {held:.0%} of their variance."
    return pca.transform(x_ND).astype(np.float32), said
