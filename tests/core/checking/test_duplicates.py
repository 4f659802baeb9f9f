"""Against a loop over all pairs of records."""

import numpy as np

from sensorium.checking.duplicates import Duplicates, find_duplicates


def by_loop(content, group, train):
    rows = [i for i, c in enumerate(content) if c]
    several = {c for c in content if c and len({group[i] for i in rows if content[i] == c}) > 1}
    trained = {
        c: next(i for i in rows if content[i] == c and train[i])
        for c in several
        if any(train[i] for i in rows if content[i] == c)
    }
    pairs = [(i, trained[content[i]]) for i in rows if content[i] in trained and not train[i]]
    cells = [(content[i], group[i]) for i in rows]
    within = sum(cells.count(cell) > 1 for cell in cells)
    return Duplicates(len(several), sum(content[i] in several for i in rows), len(pairs), pairs, within)


def test_they_are_found_as_by_a_loop_over_all_records():
    rng = np.random.default_rng(0)
    for count in (1, 2, 30, 200):
        content = rng.integers(0, max(count // 2, 2), count).astype(np.uint64)
        group, train = rng.integers(0, max(count // 3, 2), count), rng.random(count) < 0.6
        assert find_duplicates(content, group, train) == by_loop(content.tolist(), group.tolist(), train.tolist())


def test_no_value_is_no_duplicate():
    assert find_duplicates(np.zeros(5, np.uint64), np.arange(5), np.ones(5, bool)) == Duplicates(0, 0, 0, [])


def test_records_of_one_group_are_no_duplicates_of_each_other():
    content = np.array([7, 7, 7], np.uint64)
    assert find_duplicates(content, np.array([0, 0, 0]), np.ones(3, bool)) == Duplicates(0, 0, 0, [], within=3)
    assert find_duplicates(content, np.array([0, 0, 1]), np.ones(3, bool)) == Duplicates(1, 3, 0, [], within=2)
