"""Search for nearest neighbors by cosine: exact, or by an index of FAISS whose recall is measured and said."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from sensorium.errors import SensoriumError, check_range, not_found
from sensorium.neighbors.similarity import TIE, TILED, best_of, query_blocks

log = logging.getLogger("sensorium")
KINDS = ("auto", "exact", "ivf", "hnsw")
SMALL = 200_000
"""Vectors up to which "auto" is exact."""
QUICK = {"cpu": 1e13, "cuda": 1e16}
"""Multiplications of an exact search, a few minutes of it, up to which "auto" is exact."""
SPEED = {"cpu": 2e10, "cuda": 2e13}
"""Multiplications per second, of a core or a GPU, by which the time of an exact search is told."""
SAMPLE, NEIGHBORS, RECALL = 1000, 10, 0.95
"""Queries and neighbors of the measurement of recall, and the recall that an index is tuned to."""


@dataclass(frozen=True)
class IndexOptions:
    """How neighbors are searched.

    Args:
        kind: "exact"; "ivf", inverted lists; "hnsw", a graph; or "auto": exact for up to 200,000 vectors, or where that
            takes minutes, otherwise "ivf".
        nprobe: lists that "ivf" probes for a query; None tunes it to a recall@10 of .95 on 1,000 queries.
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


def make_index(y_ND: Tensor, x_QD: Tensor, options: IndexOptions) -> NeighborIndex:
    """Return an index of N vectors, tuned to the queries that will be asked; one that is approximate is logged.

    Args:
        y_ND: L2-normalized float32 vectors.
        x_QD: L2-normalized float32 queries; a sample of them measures the recall.
        options: which index.

    Raises:
        SensoriumError: when FAISS is asked for, or needed so that the search does not take hours, and not installed;
            when the index does not fit into memory.
    """
    kind = options.kind if options.kind != "auto" else _kind_for(len(x_QD), len(y_ND), y_ND.shape[1], y_ND.device.type)
    if kind == "exact":
        return ExactIndex(y_ND)
    if find_spec("faiss") is None:
        raise SensoriumError(
            f"The index '{kind}' needs FAISS: run pip install 'sensorium[search]', or take the index 'exact'."
        )
    from sensorium.neighbors.faiss_index import HNSWIndex, IVFIndex  # the library is optional

    made = IVFIndex(y_ND, options) if kind == "ivf" else HNSWIndex(y_ND, options)
    made.tune(x_QD[_sample(len(x_QD), options.seed)])
    log.info("neighbors: %s", made.description)
    return made


def recall(x_QD: Tensor, y_ND: Tensor, scores_QK: np.ndarray) -> float:
    """Return the fraction of the k nearest neighbors that a search found; of equally near ones any counts.

    Args:
        x_QD: the queries.
        y_ND: the vectors, of which all are compared.
        scores_QK: cosines of what the search found, nearest first.
    """
    exact_QK = best_of(x_QD, y_ND, scores_QK.shape[1])[0].cpu().numpy()
    return float((scores_QK[:, : exact_QK.shape[1]] >= exact_QK[:, -1:] - TIE).mean())


def _kind_for(queries: int, vectors: int, width: int, device: str) -> str:
    """Return the index that "auto" is.

    Raises:
        SensoriumError: when it would be FAISS's, which is not installed.
    """
    work, device = float(queries) * vectors * width, device if device in QUICK else "cpu"
    if vectors <= SMALL or work <= QUICK[device]:
        return "exact"
    if find_spec("faiss") is not None:
        return "ivf"
    hours = work / (SPEED[device] * (torch.get_num_threads() if device == "cpu" else 1)) / 3600
    raise SensoriumError(
        f"To compare {queries:,} queries with {vectors:,} vectors exactly takes about {hours:.1g} hours: run pip "
        "install 'sensorium[search]' for an approximate index, or ask for the index 'exact'."
    )


def _sample(count: int, seed: int) -> Tensor:
    """Return at most `SAMPLE` of so many positions, ascending."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.sort(rng.choice(count, min(count, SAMPLE), replace=False)))
