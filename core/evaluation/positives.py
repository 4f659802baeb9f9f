"""Which targets are positives of a query.

Letters: Q queries, N targets, P entries of the lists of positives of all queries.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from sensorium.feature_table import FeatureTable


class Positives(NamedTuple):
    """The positives of Q queries, as slices of one array; queries of the same positives may share a slice.

    Args:
        targets_P: int64, indices of targets.
        firsts_Q: where the slice of a query begins.
        counts_Q: its length; 0 without a positive.
    """

    targets_P: np.ndarray
    firsts_Q: np.ndarray
    counts_Q: np.ndarray


def of_groups(groups: Sequence[str], queries_Q: np.ndarray, targets_N: np.ndarray) -> Positives:
    """Return the targets of the query's own group.

    Args:
        groups: of each record.
        queries_Q: the record of each query.
        targets_N: the record of each target.
    """
    group_of = np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
    order_N = np.argsort(group_of[targets_N], kind="stable")
    sorted_N = group_of[targets_N][order_N]
    firsts_Q = np.searchsorted(sorted_N, group_of[queries_Q], side="left")
    return Positives(order_N, firsts_Q, np.searchsorted(sorted_N, group_of[queries_Q], side="right") - firsts_Q)


def of_equal_values(
    table: FeatureTable, query: Sequence[str], target: str, queries_Q: np.ndarray, targets_N: np.ndarray
) -> Positives:
    """Return the targets of all records that share a value of the query, or of the target, with the query's record.

    The relation is not transitive: what shares its query with one record and its target with another makes neither a
    positive of the other.

    Args:
        table: has the contents of values.
        query: the query modality; of several, which are one query together, all must be equal.
        target: the target modality.
        queries_Q: the record of each query.
        targets_N: the record of each target.
    """
    assert table.contents is not None, "the evaluator asks for contents"
    one = table.contents[query[0]]
    together = zip(*(table.contents[name] for name in query), strict=True)
    asked = one if len(query) == 1 else [(tuple(v[0] for v in row),) if all(row) else () for row in together]
    sides: list[Sequence[Sequence[Hashable]]] = [asked, table.contents[target]]
    having: list[dict[Hashable, list[int]]] = [defaultdict(list), defaultdict(list)]
    for index, row in enumerate(targets_N.tolist()):
        for side, values in zip(having, sides, strict=True):
            for value in values[row]:
                side[value].append(index)
    made: dict[Hashable, tuple[int, int]] = {}
    chunks: list[np.ndarray] = []
    slices, size = [], 0
    for row in queries_Q.tolist():
        key = (frozenset(asked[row]), frozenset(table.contents[target][row]))
        if key not in made:
            found = {
                i for side, values in zip(having, key, strict=True) for value in values for i in side.get(value, ())
            }
            chunks.append(np.array(sorted(found), np.int64))
            made[key] = (size, len(found))
            size += len(found)
        slices.append(made[key])
    firsts_Q, counts_Q = np.array(slices, np.int64).reshape(-1, 2).T
    return Positives(np.concatenate([np.zeros(0, np.int64), *chunks]), firsts_Q, counts_Q)
