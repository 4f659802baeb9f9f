"""Positives of queries, against loops over all pairs."""

import numpy as np
import pytest

from sensorium.evaluation.positives import of_equal_values, of_groups
from tests.core.evaluation.tables_of_records import table


def listed(found):
    return [
        found.targets_P[first : first + count].tolist()
        for first, count in zip(found.firsts_Q, found.counts_Q, strict=True)
    ]


def test_groups():
    found = of_groups(["g", "h", "g", "i"], np.array([0, 1, 3]), np.array([0, 0, 2, 1]))
    assert listed(found) == [[0, 1, 2], [3], []]


@pytest.mark.parametrize("query", [["a"], ["a", "c"]])
def test_equal_values_are_a_relation_of_pairs_not_of_classes(query):
    rng = np.random.default_rng(0)
    for count in (1, 5, 40):
        records = table({name: np.eye(count) for name in "abc"})
        records.contents = {
            name: [
                tuple(rng.choice(4 * count // 3 + 1, rng.integers(0, 3), replace=False).tolist()) for _ in range(count)
            ]
            for name in "abc"
        }
        queries = np.array([i for i in range(count) if all(records.contents[n][i] for n in query)], np.int64)
        targets = np.repeat(np.arange(count), [len(values) for values in records.contents["b"]])

        def shares(i, j, records=records):
            a, b, c = (records.contents[name] for name in "abc")
            if len(query) == 1:
                same_query = bool(set(a[i]) & set(a[j]))
            else:
                same_query = bool(a[i] and c[i] and a[j] and c[j]) and (a[i][0], c[i][0]) == (a[j][0], c[j][0])
            return same_query or bool(set(b[i]) & set(b[j]))

        wanted = [[n for n, j in enumerate(targets) if shares(i, j)] for i in queries]
        assert listed(of_equal_values(records, query, "b", queries, targets)) == wanted
