"""The random forest: bends where a line cannot, and repeats by its seed."""

from __future__ import annotations

import numpy as np

from sensorium.evaluation.forest import Forest
from tests.core.evaluation.tables_of_records import table


def bent(seed: int, prefix: str):
    x = np.random.default_rng(seed).uniform(-2, 2, size=(150, 2))
    return table({"a": x}, {"y": np.abs(x[:, 0]).tolist()}, prefix=prefix)


def measured(seed: int) -> dict[str, float]:
    evaluator = Forest(trees=20)
    evaluator.seed = seed
    evaluator.fit(bent(0, "r"))
    return evaluator.measure(bent(1, "t"))


def test_learns_what_a_line_cannot():
    assert measured(0)["R2"] > 0.9


def test_hangs_on_its_seed_alone():
    assert measured(3) == measured(3) != measured(4)
