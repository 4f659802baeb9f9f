"""Outliers: records that lie far from all others. Letters: M records that are compared, k neighbors of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from PIL import Image
from scipy.sparse import csr_array
from torch import Tensor

from sensorium.curation.neighborhood import nearest_others
from sensorium.curation.records import ComparedRecords
from sensorium.curation.result import Curation, about, rows_of
from sensorium.data.splits import PARTS
from sensorium.errors import SensoriumError, check_range, not_found
from sensorium.evaluation.contact_sheet import Headings, RetrievedImage, contact_sheet
from sensorium.neighbors.search import IndexOptions

METHODS = ("knn", "lof", "isolation-forest")
Method = Literal["knn", "lof", "isolation-forest"]
SHOWN, BESIDE = 12, 4
"""Outliers on the sheet, and neighbors beside each."""


@dataclass(frozen=True)
class OutlierOptions:
    """How outliers are told.

    Args:
        method: "knn", the mean distance 1 - cosine to the k nearest others (Angiulli and Pizzuti 2002); "lof", the
            local outlier factor (Breunig et al. 2000), for clusters of different densities; or "isolation-forest"
            (Liu et al. 2008).
        share: fraction of the records that are flagged, those with the largest scores, in (0, 1).
        k: neighbors of "knn" and "lof", >= 1.
        seed: of "isolation-forest".
    """

    method: Method = "knn"
    share: float = 0.01
    k: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            problem = f"There is no method '{self.method}' that finds outliers"
            raise SensoriumError(not_found(problem, self.method, METHODS, f"known: {', '.join(METHODS)}"))
        check_range("curation", "(0, 1)", share=self.share)
        check_range("curation", "[1, inf)", k=self.k)


@dataclass(frozen=True)
class Outliers:
    """How far records lie from others.

    Args:
        score_M: float64, larger for stranger records; each method has a scale of its own.
        is_outlier_M: bool.
        neighbors_MK: int64 (M, k), the nearest others, nearest first.
        searched: what found them, in a clause.
    """

    score_M: np.ndarray
    is_outlier_M: np.ndarray
    neighbors_MK: np.ndarray
    searched: str


def find_outliers(records: ComparedRecords, options: OutlierOptions, index: IndexOptions | None = None) -> Outliers:
    """Score every record, and flag the share with the largest scores; of equal ones the first of the source.

    Args:
        records: the records.
        options: how they are scored.
        index: how neighbors are searched.
    """
    scores_MK, rows_MK, searched = nearest_others(records.x_MD, options.k, index or IndexOptions())
    if options.method == "knn":
        found_MK = np.isfinite(scores_MK)
        score_M = np.where(found_MK, 1 - scores_MK.astype(np.float64), 0).sum(1) / np.maximum(found_MK.sum(1), 1)
    elif options.method == "lof":
        score_M = _local_outlier_factor(scores_MK, rows_MK)
    else:
        score_M = _isolation(records.x_MD, options.seed)
    flagged = np.argsort(-score_M, kind="stable")[: max(1, round(options.share * len(records)))]
    is_outlier_M = np.zeros(len(records), bool)
    is_outlier_M[flagged] = True
    return Outliers(score_M, is_outlier_M, rows_MK, searched)


def _local_outlier_factor(scores_MK: np.ndarray, rows_MK: np.ndarray) -> np.ndarray:
    """Return local outlier factors by Euclidean distances of normalized vectors, float64 (M,)."""
    from sklearn.neighbors import LocalOutlierFactor

    count, k = scores_MK.shape
    distance_MK = np.sqrt(np.clip(2 - 2 * np.where(np.isfinite(scores_MK), scores_MK, -1), 0, None))
    own_M1 = np.arange(count)[:, None]
    columns = np.concatenate([own_M1, rows_MK], 1)  # scikit-learn finds each record among its own neighbors
    distances = np.concatenate([np.zeros((count, 1)), np.sort(distance_MK, axis=1)], 1)
    starts = np.arange(0, columns.size + 1, k + 1)
    graph = csr_array((distances.ravel(), columns.ravel(), starts), (count, count))
    return -LocalOutlierFactor(n_neighbors=k, metric="precomputed").fit(graph).negative_outlier_factor_


def _isolation(x_MD: Tensor, seed: int) -> np.ndarray:
    """Return anomaly scores, float64 (M,), in (0, 1)."""
    from sklearn.ensemble import IsolationForest

    points = x_MD.cpu().numpy()
    return -IsolationForest(random_state=seed % 2**32).fit(points).score_samples(points)


def outlier_report(records: ComparedRecords, found: Outliers, options: OutlierOptions) -> Curation:
    """Return outliers as rows with `score`, `rank` (1 is the strangest) and `outlier`; these are not kept."""
    order = np.argsort(-found.score_M, kind="stable")
    rank_M = np.empty(len(order), np.int64)
    rank_M[order] = np.arange(1, len(order) + 1)
    columns = {"score": found.score_M, "rank": pa.array(rank_M), "outlier": found.is_outlier_M}
    rows = rows_of(records, columns, ~found.is_outlier_M)
    statistics: dict[str, float] = {
        "records compared": len(records),
        "outliers": int(found.is_outlier_M.sum()),
        "least score of an outlier": float(found.score_M[found.is_outlier_M].min()),
        "median score": float(np.median(found.score_M)),
    }
    for number, part in enumerate(PARTS):
        if (of_part_M := records.part_M == number).any():
            statistics[f"outliers in {part}"] = int((found.is_outlier_M & of_part_M).sum())
    table = [
        {"rank": rank, "score": float(found.score_M[row]), "id": records.id(int(row))}
        for rank, row in enumerate(order[: int(found.is_outlier_M.sum())], start=1)
    ]
    noted = about(
        records,
        method=options.method,
        share=options.share,
        k=found.neighbors_MK.shape[1],
        seed=options.seed,
        index=found.searched,
    )
    return Curation(rows, statistics, table, noted)


def draw_outliers(records: ComparedRecords, found: Outliers) -> Image.Image | None:
    """Draw the strangest records, each with its nearest others."""
    draw = records.previews
    if draw is None:
        return None
    shown = np.argsort(-found.score_M, kind="stable")[: min(SHOWN, int(found.is_outlier_M.sum()))].tolist()
    queries = [draw(int(records.at_M[row]), records.modality) for row in shown]
    captions = [f"{found.score_M[row]:.3f} {records.told(row)}" for row in shown]
    beside = [
        [
            RetrievedImage(draw(int(records.at_M[other]), records.modality), records.told(other), False)
            for other in found.neighbors_MK[row, :BESIDE].tolist()
        ]
        for row in shown
    ]
    title = f"outliers, {len(shown)} of {int(found.is_outlier_M.sum()):,}"
    return contact_sheet(queries, beside, title, captions, Headings("outlier", "nearest others"))
