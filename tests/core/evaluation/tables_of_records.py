"""Feature tables for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sensorium.feature_table import FeatureTable


def table(
    features: Mapping[str, np.ndarray],
    labels: Mapping[str, Sequence[Any]] | None = None,
    groups: Sequence[str] | None = None,
    present: Mapping[str, np.ndarray] | None = None,
    prefix: str = "r",
) -> FeatureTable:
    """A table with ids r0, r1, ...; every modality present and every record its own group unless told otherwise."""
    count = len(next(iter(features.values())))
    columns = {}
    for name, values in (labels or {}).items():
        columns[name] = np.empty(count, object)
        columns[name][:] = list(values)
    masks = {name: np.ones(count, bool) for name in features} | dict(present or {})
    rows = {name: np.where(masks[name][:, None], x, np.nan).astype(np.float32) for name, x in features.items()}
    ids = [f"{prefix}{i}" for i in range(count)]
    return FeatureTable(ids, rows, masks, columns, list(groups) if groups is not None else [f"alone {i}" for i in ids])


def blobs(count: int, classes: int = 3, seed: int = 0, std: float = 1.0, prefix: str = "r", width: int = 8):
    """Features around one center a class, labels "c0", "c1", ...; centers do not depend on the seed."""
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(99).normal(size=(classes, width)) * 2
    y = rng.integers(0, classes, count)
    y[:classes] = np.arange(classes)
    x = centers[y] + rng.normal(size=(count, width)) * std
    return table({"signal": x}, {"kind": [f"c{i}" for i in y]}, prefix=prefix)
