"""Ridge regression: metrics, the choice of alpha, errors."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import linear_model
from sklearn.preprocessing import StandardScaler

from sensorium import SensoriumError
from sensorium.evaluation.ridge import Ridge, fit_ridge
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
    with pytest.raises(SensoriumError, match="'y' has the value 'p', which is not a number: use a classifier"):
        Ridge().fit(table({"a": x}, {"y": ["p"] * 10}))
    with pytest.raises(SensoriumError, match="'>10', which is not a number: 1 of 10 cells are none: write numbers"):
        Ridge().fit(table({"a": x}, {"y": [*map(str, range(9)), ">10"]}))
    evaluator = Ridge()
    evaluator.fit(table({"a": x}, {"y": list(range(10))}))
    with pytest.raises(SensoriumError, match="same numeric label"):
        evaluator.measure(table({"a": x}, {"y": [1] * 10}))


@pytest.mark.parametrize(("count", "width", "targets"), [(200, 6, 1), (40, 90, 1), (40, 90, 3), (200, 6, 3)])
def test_equals_scikit_learn_for_every_alpha(count, width, targets):
    rng = np.random.default_rng(count)
    x, y = rng.normal(size=(count, width)) * 3 + 5, rng.normal(size=(count, targets)).squeeze()
    for alpha in (0.01, 10.0, 1e4):
        found, _ = fit_ridge(x, y, [alpha], np.zeros(count), [0])
        wanted = linear_model.Ridge(alpha).fit(StandardScaler().fit_transform(x), y)
        np.testing.assert_allclose(found.predict(x), wanted.predict(StandardScaler().fit_transform(x)), atol=1e-8)
