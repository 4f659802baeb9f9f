"""The random forest: bends where a line cannot, and repeats by its seed."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium import SensoriumError
from sensorium.evaluation.forest import Forest
from tests.core.evaluation.tables_of_records import blobs, table


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


def test_classes_are_learned_as_well():
    train, test = blobs(90, std=1.5), blobs(60, std=1.5, seed=4, prefix="t")
    evaluator = Forest(trees=20, task="classification")
    evaluator.fit(train)
    assert evaluator.measure(test)["accuracy"] > 0.8 > evaluator.chance(test)["accuracy"]
    predictions = evaluator.predictions()
    assert [name for name in predictions if name.startswith("score")] == ["score c0", "score c1", "score c2"]
    np.testing.assert_allclose(sum(predictions[f"score c{i}"] for i in range(3)), 1)
    assert set(evaluator.metrics_by_class(predictions)) == {"c0", "c1", "c2"}
    with pytest.raises(SensoriumError, match="'forest' with task=classification"):
        Forest(trees=2).fit(train)


def test_tasks_with_missing_labels_are_learned_as_well():
    x = np.random.default_rng(0).normal(size=(120, 4))
    square = [None if i % 5 == 0 else int(abs(row[0]) > 0.7) for i, row in enumerate(x)]
    part = table({"a": x}, {"square": square, "rare": [int(i in (3, 7)) for i in range(120)]})
    evaluator = Forest(trees=30, task="multitask")
    evaluator.fit(part)
    assert evaluator.measure(part)["ROC-AUC"] > 0.9
    by_task = evaluator.metrics_by_class(evaluator.predictions())
    assert by_task["square"]["records"] == 96
    assert by_task["rare"]["positives"] == 2
    counts, few = evaluator.remarks(evaluator.predictions())
    assert counts.startswith("Measured positives: square ")
    assert "rare 2 of 120" in counts
    assert "(rare 2)" in few
