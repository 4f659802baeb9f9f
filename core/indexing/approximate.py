"""Approximate search of an index: inverted lists of LanceDB, tuned until their recall is measured to be high."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from sensorium.errors import SensoriumError, not_found
from sensorium.neighbors.faiss_index import RECALL
from sensorium.neighbors.index import SMALL
from sensorium.neighbors.similarity import TIE

log = logging.getLogger("sensorium")
KINDS = ("auto", "exact", "ivf")
NEIGHBORS, QUERIES = 10, 100
"""Neighbors among which the recall is measured, and queries that measure it."""


@dataclass(frozen=True)
class Lists:
    """Inverted lists over the vectors of a modality.

    Args:
        vectors: how many there are.
        lists: number of clusters.
        nprobe: lists that a query probes.
        recall: recall@10 against exact search.
        queries: how many queries measured it.
    """

    vectors: int
    lists: int
    nprobe: int
    recall: float
    queries: int

    def __str__(self) -> str:
        return (
            f"ivf of {self.lists:,} lists over {self.vectors:,} vectors, nprobe {self.nprobe}: "
            f"recall@{NEIGHBORS} {f'{self.recall:.3f}'.lstrip('0')} on {self.queries:,} queries"
        )


def require_kind(kind: str) -> None:
    """Raise an error for a kind of index that there is not.

    Raises:
        SensoriumError: which names those there are.
    """
    if kind not in KINDS:
        raise SensoriumError(not_found(f"There is no index '{kind}'", kind, KINDS, f"known: {', '.join(KINDS)}"))


def is_approximate(kind: str, vectors: int) -> bool:
    """Return whether so many vectors are searched by inverted lists."""
    return vectors > 0 and (kind == "ivf" or (kind == "auto" and vectors > SMALL))


def build_lists(table: Any, column: str, vectors: int, x_QD: np.ndarray) -> Lists:
    """Sort the vectors of a column into inverted lists, and double the probed ones until the recall is reached.

    Args:
        table: of LanceDB.
        column: its vectors.
        vectors: how many there are.
        x_QD: queries, float32.
    """
    from lancedb.index import IvfFlat

    lists = max(1, round(vectors**0.5))
    table.create_index(column, config=IvfFlat(distance_type="cosine", num_partitions=lists), replace=True)
    exact_QK = _cosines(x_QD, table.search(list(x_QD), vector_column_name=column).bypass_vector_index())
    nprobe = min(8, lists)
    while True:
        query = table.search(list(x_QD), vector_column_name=column).nprobes(nprobe)
        found_QK = _cosines(x_QD, query)
        recall = float((found_QK >= exact_QK[:, -1:] - TIE).mean())
        if recall >= RECALL or nprobe >= lists:
            made = Lists(vectors, lists, nprobe, recall, len(x_QD))
            log.info("index: %s, %s", column, made)
            return made
        nprobe = min(2 * nprobe, lists)


def sample_of(table: Any, column: str, width: int, seed: int = 0) -> np.ndarray:
    """Return vectors of a column at random rows, float32 (Q, D)."""
    rng, count = np.random.default_rng(seed), table.count_rows()
    rows = np.sort(rng.choice(count, min(count, 4 * QUERIES), replace=False)).tolist()
    found = table.take_offsets(rows).select([column]).to_arrow()[column].drop_null().combine_chunks()[:QUERIES]
    return found.flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(-1, width)


def _cosines(x_QD: np.ndarray, query: Any) -> np.ndarray:
    """Return the cosines of what is found, (Q, k), nearest first; minus infinity where there is no more."""
    found: pa.Table = query.distance_type("cosine").limit(NEIGHBORS).select(["_distance"]).to_arrow()
    scores_QK = np.full((len(x_QD), NEIGHBORS), -np.inf, np.float32)
    of_query = found["query_index"].to_numpy()
    for row in range(len(x_QD)):
        of_row = 1 - found["_distance"].to_numpy()[of_query == row]
        scores_QK[row, : len(of_row)] = of_row
    return scores_QK[:, : max(int(np.isfinite(scores_QK).sum(1).max(initial=0)), 1)]
