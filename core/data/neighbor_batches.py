"""Records that come in one batch with their neighbors: pairs by id, from a file of mined negatives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sensorium.errors import DataError


def neighbors_of(path: str | Path, ids: Sequence[str]) -> list[np.ndarray]:
    """Return for each record the indices of its neighbors among `ids`, nearest first: int64 (K_i,).

    Args:
        path: a Parquet file with the columns `query` and `negative`, record ids, as `sensorium mine` writes it; the
            rows of one query are nearest first. Records that are not among `ids` are passed over.
        ids: of the records of a training.

    Raises:
        DataError: when it is no such file, or none of its pairs is among the records.
    """
    try:
        table = pq.read_table(Path(path).expanduser(), columns=["query", "negative"])
        queries, negatives = table["query"].to_pylist(), table["negative"].to_pylist()
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise DataError(f"'{path}' has no neighbors ({error}): `sensorium mine` writes such a file.") from error
    index_of = {id: index for index, id in enumerate(ids)}
    found: list[list[int]] = [[] for _ in ids]
    for query, negative in zip(queries, negatives, strict=True):
        if query in index_of and negative in index_of:
            found[index_of[query]].append(index_of[negative])
    if not any(found):
        raise DataError(f"None of the {len(queries)} pairs of '{path}' is among the records to train on: mine them.")
    return [np.array(row, dtype=np.int64) for row in found]


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
