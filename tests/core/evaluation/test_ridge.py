"""Ridge regression: metrics, the choice of alpha, errors."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium import SensoriumError
from sensorium.evaluation.ridge import Ridge
from tests.core.evaluation.tables_of_records import table


def planted(seed: int, prefix: str, noise: float = 0.1, count: int = 200):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 6)) * 3 + 5
    y = x @ np.arange(6) + 40 + rng.normal(size=count) * noise
    return table({"a": x}, {"y": y.tolist()}, prefix=prefix)


def test_finds_a_planted_line():
    evaluator = Ridge()
    evaluator.fit(planted(0, "r"))
    metrics = evaluator.measure(planted(1, "t"))
    assert metrics["R2"] > 0.999
    assert metrics["RMSE ↓"] == pytest.approx(0.1, rel=0.2)
    assert metrics["spearman"] > 0.999


def test_chance_is_the_mean_of_the_train_part():
    train, test = planted(0, "r"), planted(1, "t")
    evaluator = Ridge()
    evaluator.fit(train)
    y_train, y_test = (np.array(t.labels["y"].tolist()) for t in (train, test))
    chance = evaluator.chance(test)
    assert chance["RMSE ↓"] == pytest.approx(np.sqrt(np.mean((y_test - y_train.mean()) ** 2)))
    assert chance["R2"] <= 0
    assert chance["spearman"] == 0


def test_the_penalty_follows_the_noise():
    rng = np.random.default_rng(0)
    noise = table({"a": rng.normal(size=(60, 50))}, {"y": rng.normal(size=60).tolist()})
    for records, weak in ((planted(0, "r"), True), (noise, False)):
        evaluator = Ridge()
        evaluator.fit(records)
        assert (float(evaluator.notes()[0].removeprefix("alpha = ")) <= 1) == weak


def test_words_and_constants_are_refused():
    x = np.random.default_rng(0).normal(size=(10, 2))
    with pytest.raises(SensoriumError, match="'y' has the value 'p', which is not a number"):
        Ridge().fit(table({"a": x}, {"y": ["p"] * 10}))
    evaluator = Ridge()
    evaluator.fit(table({"a": x}, {"y": list(range(10))}))
    with pytest.raises(SensoriumError, match="same numeric label"):
        evaluator.measure(table({"a": x}, {"y": [1] * 10}))
