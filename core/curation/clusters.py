"""Clusters of records, and names for them. Letters: M records, K clusters, P prompts, D numbers of a vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from sensorium.contracts.record_columns import Column, numbered
from sensorium.curation.k_means import k_means
from sensorium.curation.records import ComparedRecords
from sensorium.errors import SensoriumError, check_range, not_found
from sensorium.neighbors.similarity import best_of, l2_normalize

METHODS = ("kmeans", "hdbscan")
Method = Literal["kmeans", "hdbscan"]
MOST = 1000
"""Clusters that k-means looks for, at most, unless it is told how many."""
SAMPLE, WIDTH = 20_000, 50
"""HDBSCAN compares each pair: of more records it clusters a sample, in so many principal components."""
NOISE = -1


@dataclass(frozen=True)
class ClusterOptions:
    """How records are clustered.

    Args:
        method: "kmeans", or "hdbscan" (Campello et al. 2013), which finds the number of clusters and leaves records
            outside any as noise.
        count: of clusters of "kmeans", >= 2; None for sqrt(M / 2), at most 1,000.
        least: records of a cluster of "hdbscan", at least, >= 2.
        seed: of "kmeans", and of the sample of "hdbscan".
    """

    method: Method = "kmeans"
    count: int | None = None
    least: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            problem = f"There is no method '{self.method}' that finds clusters"
            raise SensoriumError(not_found(problem, self.method, METHODS, f"known: {', '.join(METHODS)}"))
        check_range("curation", "[2, inf)", least=self.least)
        if self.count is not None:
            check_range("curation", "[2, inf)", count=self.count)


@dataclass(frozen=True)
class Clusters:
    """Records in clusters, the largest first.

    Args:
        of_M: the cluster of each record, int64, -1 for noise.
        centres_KD: L2-normalized.
        cosine_M: of each record with its centre, float32; nan for noise.
    """

    of_M: np.ndarray
    centres_KD: Tensor
    cosine_M: np.ndarray

    def members(self, cluster: int) -> np.ndarray:
        """Return the rows of a cluster's records, int64, the nearest to its centre first."""
        rows = np.flatnonzero(self.of_M == cluster)
        return rows[np.argsort(-self.cosine_M[rows], kind="stable")]


@dataclass(frozen=True)
class ClusterNames:
    """What clusters are called, and how well that fits.

    Args:
        by: what names them, in words.
        measure: what the fit is: "purity", the fraction of a cluster's labeled records that have the label, or "cosine"
            of a prompt with the centre.
        names: of each cluster, None where nothing names it.
        fits: of each cluster, nan where nothing names it.
    """

    by: str
    measure: str
    names: list[str | None]
    fits: list[float]


def find_clusters(records: ComparedRecords, options: ClusterOptions) -> Clusters:
    """Return clusters of the records.

    Args:
        records: the records.
        options: how they are clustered.

    Raises:
        SensoriumError: when more clusters are asked for than there are records.
    """
    if options.method == "kmeans":
        count = options.count or max(2, min(round((len(records) / 2) ** 0.5), MOST))
        if count > len(records):
            raise SensoriumError(f"{len(records):,} records make no {count:,} clusters: ask for fewer.")
        centres_KD, of_M = k_means(records.x_MD, count, options.seed)
    else:
        of_M = _hdbscan(records.x_MD, options)
        centres_KD = _centres(records.x_MD, of_M)
    cosine_M = np.full(len(records), np.nan, np.float32)
    for cluster, centre_D in enumerate(centres_KD):
        rows = np.flatnonzero(of_M == cluster)
        cosine_M[rows] = (records.vectors(rows) @ centre_D).cpu().numpy()
    return Clusters(of_M, centres_KD, cosine_M)


def _hdbscan(x_MD: Tensor, options: ClusterOptions) -> np.ndarray:
    """Return the cluster of each record, int64 (M,), the largest first, -1 for noise."""
    from sklearn.cluster import HDBSCAN
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(options.seed)
    sample = np.sort(rng.choice(len(x_MD), min(len(x_MD), SAMPLE), replace=False))
    x_SD = x_MD[torch.from_numpy(sample).to(x_MD.device)]
    points = x_SD.cpu().numpy()
    if (width := min(WIDTH, len(sample))) < points.shape[1]:
        points = PCA(width, random_state=options.seed % 2**32).fit_transform(points)
    of_S = HDBSCAN(min_cluster_size=min(options.least, len(sample)), copy=True).fit_predict(points)
    of_M = of_S if len(sample) == len(x_MD) else of_S[best_of(x_MD, x_SD, 1)[1][:, 0].cpu().numpy()]
    sizes_K = np.bincount(of_M[of_M >= 0])
    order = np.argsort(-sizes_K, kind="stable")
    number_K = np.full(len(sizes_K) + 1, NOISE)
    number_K[order] = np.arange(len(order))
    return number_K[of_M]


def _centres(x_MD: Tensor, of_M: np.ndarray) -> Tensor:
    """Return the normalized mean of each cluster's vectors, (K, D)."""
    sums_KD = x_MD.new_zeros(int(of_M.max(initial=-1)) + 1, x_MD.shape[1])
    rows = torch.from_numpy(np.flatnonzero(of_M >= 0)).to(x_MD.device)
    sums_KD.index_add_(0, torch.from_numpy(of_M[of_M >= 0]).to(x_MD.device), x_MD[rows])
    return l2_normalize(sums_KD, x_MD.device)


def names_by_label(clusters: Clusters, label: str, label_M: Column) -> ClusterNames:
    """Return the commonest value of a label in each cluster.

    Args:
        clusters: the clusters.
        label: its name.
        label_M: of each record, null where it has none.
    """
    values, number_M = numbered(label_M)
    names: list[str | None] = []
    fits = []
    for cluster in range(len(clusters.centres_KD)):
        counts = np.bincount(number_M[(clusters.of_M == cluster) & (number_M >= 0)])
        names.append(str(values[int(counts.argmax())].as_py()) if len(counts) else None)
        fits.append(float(counts.max() / counts.sum()) if len(counts) else float("nan"))
    return ClusterNames(f"label {label}", "purity", names, fits)


def names_by_prompts(
    clusters: Clusters, mean_D: Tensor, prompts: Sequence[str], prompts_PD: np.ndarray
) -> ClusterNames:
    """Return the prompt of the largest cosine with the centre of each cluster, as in zero-shot classification.

    Centres are compared without what all records have in common, and prompts without what all prompts have, so that no
    gap between two modalities decides.

    Args:
        clusters: the clusters, of embeddings in a joint space.
        mean_D: the mean of all records.
        prompts: two or more.
        prompts_PD: their embeddings.

    Raises:
        SensoriumError: for fewer than two prompts, or another width.
    """
    width = clusters.centres_KD.shape[1]
    if len(prompts) < 2:
        raise SensoriumError("Clusters are named by the nearest of two prompts or more: give more of them.")
    if prompts_PD.shape[1] != width:
        raise SensoriumError(
            f"Prompts have {prompts_PD.shape[1]} numbers and records {width}: they are in no joint space."
        )
    device = clusters.centres_KD.device
    p_PD = l2_normalize(prompts_PD, device)
    centred_KD = l2_normalize(clusters.centres_KD - mean_D, device)
    score_K1, best_K1 = best_of(centred_KD, l2_normalize(p_PD - p_PD.mean(dim=0), device), 1)
    names: list[str | None] = [prompts[best] for best in best_K1[:, 0].tolist()]
    return ClusterNames("prompts", "cosine", names, score_K1[:, 0].tolist())
