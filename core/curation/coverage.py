"""Samples that cover all records: k-centre greedy, and balanced sampling by hierarchical k-means.

Letters: M records that are compared, n of them that are chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from sensorium.curation.k_means import k_means
from sensorium.curation.records import ComparedRecords
from sensorium.errors import SensoriumError, check_range, not_found
from sensorium.neighbors.similarity import best_of

METHODS = ("k-center", "balanced")
Method = Literal["k-center", "balanced"]


@dataclass(frozen=True)
class CoverageOptions:
    """How records are chosen.

    Args:
        count: n, how many, >= 1.
        method: "k-center", each time the record that is farthest from all chosen ones (Gonzalez 1985; Sener and
            Savarese 2018), or "balanced", equally from clusters of clusters (hierarchical k-means, Vo et al. 2024),
            which follows dense regions less than a random sample, and outliers less than k-centre.
        seed: of the first record, and of k-means and the draws within clusters.
    """

    count: int
    method: Method = "k-center"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            problem = f"There is no method '{self.method}' that covers records"
            raise SensoriumError(not_found(problem, self.method, METHODS, f"known: {', '.join(METHODS)}"))
        check_range("curation", "[1, inf)", count=self.count)


@dataclass(frozen=True)
class Coverage:
    """Records that stand for all.

    Args:
        chosen_n: their rows, int64, in the order in which they were chosen.
        by_M: the chosen record that is nearest to each record, its place in `chosen_n`, int64.
        distance_M: 1 - cosine to it, float32.
        random_M: the same for a random sample of n records.
    """

    chosen_n: np.ndarray
    by_M: np.ndarray
    distance_M: np.ndarray
    random_M: np.ndarray


def cover(records: ComparedRecords, options: CoverageOptions) -> Coverage:
    """Choose records that cover all.

    Args:
        records: the records.
        options: how many, and how.

    Raises:
        SensoriumError: when more are asked for than there are.
    """
    if options.count > len(records):
        raise SensoriumError(f"{options.count:,} of {len(records):,} records cannot be chosen: ask for fewer.")
    x_MD, count = records.x_MD, options.count
    choose = k_center if options.method == "k-center" else balanced
    chosen_n = choose(x_MD, count, options.seed)
    random_n = np.random.default_rng(options.seed).choice(len(x_MD), count, replace=False)
    by_M, distance_M = _nearest(x_MD, chosen_n)
    return Coverage(chosen_n, by_M, distance_M, _nearest(x_MD, random_n)[1])


def k_center(x_MD: Tensor, count: int, seed: int) -> np.ndarray:
    """Return records each of which is farthest from those before it, int64 (n,); n passes over all records.

    The largest distance of a record to its nearest chosen one is at most twice the smallest that is possible.

    Args:
        x_MD: L2-normalized vectors.
        count: n.
        seed: chooses the first.
    """
    first = int(np.random.default_rng(seed).integers(len(x_MD)))
    nearest_M, chosen = x_MD @ x_MD[first], [first]
    nearest_M[first] = torch.inf
    for _ in range(count - 1):
        farthest = int(nearest_M.argmin())
        chosen.append(farthest)
        nearest_M = torch.maximum(nearest_M, x_MD @ x_MD[farthest])
        nearest_M[farthest] = torch.inf
    return np.array(chosen)


def balanced(x_MD: Tensor, count: int, seed: int) -> np.ndarray:
    """Return records drawn equally from clusters, and equally from clusters of clusters, int64 (n,), ascending.

    Args:
        x_MD: L2-normalized vectors.
        count: n.
        seed: of k-means and of the draws within the lowest clusters.
    """
    lower = max(2, min(round(2 * len(x_MD) ** 0.5), len(x_MD) // 5))
    centres_KD, of_M = k_means(x_MD, lower, seed)
    above_K = k_means(centres_KD, max(2, round(len(centres_KD) ** 0.5)), seed)[1]
    sizes_K = np.bincount(of_M, minlength=len(centres_KD))
    rng, chosen = np.random.default_rng(seed), []
    for above, of_above in enumerate(shares(count, np.bincount(above_K, sizes_K).astype(np.int64))):
        lower_clusters = np.flatnonzero(above_K == above)
        for cluster, some in zip(lower_clusters, shares(int(of_above), sizes_K[lower_clusters]), strict=True):
            chosen.append(rng.choice(np.flatnonzero(of_M == cluster), some, replace=False))
    return np.sort(np.concatenate(chosen))


def shares(count: int, sizes_K: np.ndarray) -> np.ndarray:
    """Return how many of `count` records each cluster gives, int64 (K,): as equally as their sizes allow.

    Args:
        count: at most as many as there are.
        sizes_K: the records of each cluster.
    """
    order = np.argsort(sizes_K, kind="stable")
    given_K, left = np.zeros(len(sizes_K), np.int64), count
    for place, cluster in enumerate(order):
        given_K[cluster] = min(sizes_K[cluster], left // (len(order) - place))
        left -= int(given_K[cluster])
    return given_K


def _nearest(x_MD: Tensor, chosen_n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest chosen record of each, int64 (M,), and the distance to it, float32 (M,)."""
    cosine_M1, by_M1 = best_of(x_MD, x_MD[torch.from_numpy(chosen_n).to(x_MD.device)], 1)
    by_M, distance_M = by_M1[:, 0].cpu().numpy(), (1 - cosine_M1[:, 0]).clamp_min(0).cpu().numpy()
    by_M[chosen_n], distance_M[chosen_n] = np.arange(len(chosen_n)), 0
    return by_M, distance_M
