"""Duplicates by their embeddings."""

import numpy as np
import torch
from scipy.sparse.csgraph import connected_components

from sensorium.mining import duplicates
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


def test_every_pair_within_the_radius_is_found_also_where_others_lie_between(monkeypatch):
    """A crowded plane: rows of three numbers, so that many lie between the two of a pair on any line."""
    monkeypatch.setattr(duplicates, "ROWS", 1000)
    rng = np.random.default_rng(0)
    x = l2_normalize(rng.standard_normal((4000, 3)), "cpu").numpy()
    x[2000:2300] = x[:300] + 1e-5 * rng.standard_normal((300, 3)).astype(np.float32)
    x = l2_normalize(x, "cpu")
    classes = duplicate_classes(x, None)
    near = (torch.cdist(x.double(), x.double()) <= duplicates.IDENTICAL).numpy()
    wanted = connected_components(near, directed=False)[1]
    pairs = {tuple(sorted(of)) for of in zip(classes.tolist(), wanted.tolist(), strict=True)}
    assert len(pairs) == len(set(classes)) == len(set(wanted)) <= 3700


def test_values_make_duplicates_of_rows_that_differ():
    x = l2_normalize(np.eye(5), "cpu")
    classes = duplicate_classes(x, ["a", "b", None, "a", None])
    assert classes[0] == classes[3]
    assert len(set(classes)) == 4
