"""Records that come in one batch with their neighbors: pairs by id, from a file of mined negatives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sensorium.contracts import RecordColumns
from sensorium.errors import DataError


def neighbors_of(path: str | Path, columns: RecordColumns) -> list[np.ndarray]:
    """Return for each of N records the indices of its neighbors among them, nearest first: int64 (K_i,).

    Args:
        path: a Parquet file with the columns `query` and `negative`, record ids, as `sensorium mine` writes it; the
            rows of one query are nearest first. Others than the N records are passed over.
        columns: of the records of a training.

    Raises:
        DataError: when it is no such file, or none of its pairs is among the records.
    """
    try:
        table = pq.read_table(Path(path).expanduser(), columns=["query", "negative"])
        query_M, negative_M = (columns.positions_of(table[name]) for name in ("query", "negative"))
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise DataError(f"'{path}' has no neighbors ({error}): `sensorium mine` writes such a file.") from error
    known_M = (query_M >= 0) & (negative_M >= 0)
    if not known_M.any():
        raise DataError(f"None of the {len(query_M)} pairs of '{path}' is among the records to train on: mine them.")
    query_M, negative_M = query_M[known_M], negative_M[known_M]
    order_M = np.argsort(query_M, kind="stable")
    return np.split(negative_M[order_M], np.searchsorted(query_M[order_M], np.arange(1, len(columns))))


def side_by_side(order_N: np.ndarray, neighbors: Sequence[np.ndarray]) -> np.ndarray:
    """Return the records of an order, each followed by those of its neighbors that have not come yet: int64 (N,).

    Cut into batches, neighbors come together. The order of groups is random, a function of `order_N`; a record whose
    neighbors are all taken is a group of its own.
    """
    taken, made = np.zeros(len(order_N), dtype=bool), []
    for first in order_N:
        if taken[first]:
            continue
        near = neighbors[first]
        group = [first, *near[~taken[near] & (near != first)]]
        taken[group] = True
        made.append(group)
    # Late records are mostly alone: shuffle the groups again, so that the last batches of an epoch have neighbors too.
    shuffled = np.argsort([order_N[group[0]] for group in made], kind="stable")
    return np.concatenate([made[i] for i in shuffled]).astype(np.int64)
