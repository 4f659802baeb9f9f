"""Assignment to folds, and selection by validation folds."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings, strategies as st

from sensorium.evaluation.folds import assign_folds, select_by_validation


@given(st.lists(st.integers(0, 12), min_size=1, max_size=60), st.integers(2, 6), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_groups_stay_whole_and_classes_are_shared_out_evenly(groups, folds, seed):
    classes = [group % 3 for group in groups]
    folds_N = assign_folds([f"g{g}" for g in groups], folds, seed, classes)
    of_group = {g: {f for f, other in zip(folds_N, groups, strict=True) if other == g} for g in groups}
    assert all(len(found) == 1 for found in of_group.values())
    sizes = Counter(next(iter(found)) for found in of_group.values())
    assert max(sizes.values()) - min(sizes.get(f, 0) for f in range(folds)) <= 1
    for label in set(classes):
        held = Counter(next(iter(found)) for g, found in of_group.items() if g % 3 == label)
        assert max(held.values()) - min(held.get(f, 0) for f in range(folds)) <= 1


def test_hangs_on_the_seed_and_not_on_the_order():
    groups = [f"g{i}" for i in range(40)]
    folds_N = assign_folds(groups, 5, 0)
    assert np.array_equal(folds_N[::-1], assign_folds(groups[::-1], 5, 0))
    assert not np.array_equal(folds_N, assign_folds(groups, 5, 1))


def test_chooses_the_best_mean_and_the_first_of_equals():
    folds_N = np.array([0, 1, 0, 1])
    metrics = {"a": [0.5, 0.5], "b": [1.0, 0.0], "c": [0.2, 0.9]}

    def score(candidate, learn, held):
        assert not set(learn) & set(held)
        return metrics[candidate][folds_N[held[0]]]

    assert select_by_validation(["a", "b", "c"], score, folds_N, validation_folds=[0, 1]) == "c"
    assert select_by_validation(["a", "b"], score, folds_N, validation_folds=[0, 1]) == "a"
    assert select_by_validation(["a", "b", "c"], score, folds_N, validation_folds=[0]) == "b"
    assert select_by_validation(["only"], None, folds_N, validation_folds=[0]) == "only"
