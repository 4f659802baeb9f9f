"""Duplicates by their embeddings."""

import numpy as np

from sensorium.mining.duplicates import duplicate_classes
from sensorium.neighbors.similarity import l2_normalize


def test_duplicates_are_found_at_any_distance_in_the_table():
    x = np.random.default_rng(0).standard_normal((2000, 32)).astype(np.float32)
    x[1700:] = x[np.random.default_rng(1).integers(0, 1000, 300)] * 2  # the same direction
    x[1600:1650] = x[0]
    classes = duplicate_classes(l2_normalize(x, "cpu"), None)
    rows = np.round(x / np.linalg.norm(x, axis=1, keepdims=True), 4)
    assert len(np.unique(classes)) == len(np.unique(rows, axis=0))
    assert len(set(classes[1600:1650]) | {classes[0]}) == 1
