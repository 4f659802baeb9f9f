"""What searches nearest neighbors by cosine: the contract of an index, the exact one, and the measure of all others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from sensorium.errors import SensoriumError, check_range, not_found
from sensorium.neighbors.similarity import TIE, TILED, best_of, query_blocks

KINDS = ("auto", "exact", "ivf", "hnsw")


@dataclass(frozen=True)
class IndexOptions:
    """How neighbors are searched.

    Args:
        kind: "exact"; "ivf", inverted lists; "hnsw", a graph; or "auto": exact for up to 200,000 vectors, or where that
            takes minutes, otherwise "ivf".
        nprobe: lists that "ivf" probes for a query; None tunes it to a recall of .95 among the
            neighbors that are asked for, on 1,000 queries.
        ef_search: candidates that "hnsw" keeps for a query; None tunes it likewise.
        seed: of the sample of queries and of the clusters.
    """

    kind: str = "auto"
    nprobe: int | None = None
    ef_search: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            problem = f"There is no index '{self.kind}'"
            raise SensoriumError(not_found(problem, self.kind, KINDS, f"known: {', '.join(KINDS)}"))
        for option in ("nprobe", "ef_search"):
            if (value := getattr(self, option)) is not None:
                check_range("the index", "[1, inf)", **{option: value})


class NeighborIndex(ABC):
    """Finds the nearest of N vectors.

    Args:
        y_ND: L2-normalized float32 vectors.
    """

    def __init__(self, y_ND: Tensor) -> None:
        self.y_ND = y_ND

    @abstractmethod
    def search(self, x_QD: Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the k nearest vectors of each query, nearest first; min(k, N) of them.

        Args:
            x_QD: L2-normalized float32 queries, on the device of the vectors.
            k: number of neighbors, >= 1.

        Returns:
            Cosines float32 (Q, k), and rows int64 (Q, k): minus infinity and 0 where the index finds no more.
        """

    @abstractmethod
    def blocks(self, queries: int) -> list[slice]:
        """Return blocks of queries that are searched at once, so that memory is bounded."""

    @property
    @abstractmethod
    def description(self) -> str:
        """What it is, with its recall where it is not exact: in a clause."""


class ExactIndex(NeighborIndex):
    """Compares every query with every vector, by matrix products."""

    def search(self, x_QD, k):
        """Return the k nearest vectors of each query."""
        scores, rows = best_of(x_QD, self.y_ND, k)
        return scores.cpu().numpy(), rows.cpu().numpy()

    def blocks(self, queries):
        """Return blocks of queries whose similarities fit into memory."""
        return query_blocks(queries, min(len(self.y_ND), TILED), self.y_ND.device)

    @property
    def description(self):
        """What it is."""
        return "exact search"


def recall(x_QD: Tensor, y_ND: Tensor, scores_QK: np.ndarray) -> float:
    """Return the fraction of the k nearest neighbors that a search found; of equally near ones any counts.

    Args:
        x_QD: the queries.
        y_ND: the vectors, of which all are compared.
        scores_QK: cosines of what the search found, nearest first.
    """
    exact_QK = best_of(x_QD, y_ND, scores_QK.shape[1])[0].cpu().numpy()
    return float((scores_QK[:, : exact_QK.shape[1]] >= exact_QK[:, -1:] - TIE).mean())
