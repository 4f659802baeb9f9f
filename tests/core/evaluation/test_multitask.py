"""Area under the curve over many tasks with missing labels."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium import SensoriumError
from sensorium.evaluation.multitask import Multitask, _tasks
from tests.core.evaluation.tables_of_records import table


def parts(seed: int, prefix: str, count: int = 120):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 5))
    missing = rng.random(count) < 0.3
    easy = [None if m else int(v > 0) for v, m in zip(x[:, 0], missing, strict=True)]
    signs = np.where(x[:, 1] > 0, 1.0, -1.0)
    signs[:10] = np.nan
    labels = {
        "easy": easy,
        "signs": signs.tolist(),
        "noise": rng.integers(0, 2, count).tolist(),
        "empty": [None] * count,
    }
    return table({"a": x}, labels | {"one": [1] * count}, prefix=prefix)


def area(scores, truth):
    """The fraction of (positive, negative) pairs in the right order, ties half."""
    pairs = [(p > n) + (p == n) / 2 for p, t in zip(scores, truth, strict=True) if t
             for n, u in zip(scores, truth, strict=True) if not u]  # fmt: skip
    return np.mean(pairs)


def test_equals_the_share_of_ordered_pairs():
    train, test = parts(0, "r"), parts(1, "t")
    evaluator = Multitask(labels=["noise"], Cs=(1.0,))
    evaluator.fit(train)
    wanted = area(evaluator.models["noise"].decision_function(test.features["a"]), test.labels["noise"])
    assert evaluator.measure(test)["ROC-AUC"] == pytest.approx(wanted)


def test_only_tasks_with_both_classes_count():
    evaluator = Multitask()
    evaluator.fit(parts(0, "r"))
    test = parts(1, "t")
    test.labels["noise"][:] = 1
    assert evaluator.measure(test)["ROC-AUC"] > 0.98
    assert evaluator.notes() == ["2 tasks", "3 tasks with only one class in a part excluded"]
    assert evaluator.chance(test) == {"ROC-AUC": 0.5}


def test_one_task_is_no_several():
    assert [_tasks(count) for count in (0, 1, 2)] == ["0 tasks", "1 task", "2 tasks"]


def test_refuses_classes_and_empty_tasks():
    x = np.random.default_rng(0).normal(size=(6, 2))
    with pytest.raises(SensoriumError, match="has 3 classes, a task has two"):
        Multitask().fit(table({"a": x}, {"y": list("pqrpqr")}))
    evaluator = Multitask()
    evaluator.fit(table({"a": x}, {"y": [1] * 6}))
    with pytest.raises(SensoriumError, match="None of the 1 tasks"):
        evaluator.measure(table({"a": x}, {"y": [0, 1] * 3}))


def test_the_metric_of_drawn_rows_is_that_of_the_predictions():
    rng = np.random.default_rng(0)
    predictions = {
        "id": np.arange(90).astype(str).astype(object),
        "task": np.array(["p", "q", "one class"], object)[np.arange(90) % 3],
        "label": np.where(np.arange(90) % 3 == 2, 1, rng.integers(0, 2, 90)),
        "score": rng.normal(size=90).round(1),  # with ties
    }
    evaluator = Multitask()
    metric = evaluator.first_metric(predictions)
    for _ in range(5):
        rows = rng.integers(0, 90, 60)
        expected = evaluator.metrics_of({name: column[rows] for name, column in predictions.items()})["ROC-AUC"]
        assert metric(rows) == pytest.approx(expected, abs=1e-12)
    assert metric(np.flatnonzero(predictions["task"] == "one class")) is None
