"""The support vector machine: classes that are not linearly separable, and the choice of C by inner folds."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.svm import SVC

from sensorium import SensoriumError
from sensorium.evaluation.svm import SVM
from tests.core.evaluation.tables_of_records import blobs, table


def rings(seed: int, prefix: str):
    rng = np.random.default_rng(seed)
    inner = rng.random(120) < 0.5
    angle = rng.random(120) * 2 * np.pi
    x = np.where(inner, 1, 3)[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1) + rng.normal(size=(120, 2)) * 0.2
    return table({"a": x}, {"y": np.where(inner, "in", "out")}, prefix=prefix)


def test_tells_rings_apart():
    evaluator = SVM()
    evaluator.fit(rings(0, "r"))
    test = rings(1, "t")
    assert evaluator.measure(test)["accuracy"] > 0.95 > evaluator.chance(test)["accuracy"]
    assert evaluator.notes()[0].startswith("C = ")


def test_raw_features_equal_scikit_learn():
    train, test = blobs(80, std=3), blobs(80, std=3, seed=4, prefix="t")
    model = SVC(C=1.0).fit(train.features["signal"], train.labels["kind"].astype(str))
    evaluator = SVM(Cs=(1.0,), standardize=False)
    evaluator.fit(train)
    wanted = model.score(test.features["signal"], test.labels["kind"].astype(str))
    assert evaluator.measure(test)["accuracy"] == pytest.approx(wanted)


def test_too_small_to_choose_says_what_to_do():
    with pytest.raises(SensoriumError, match="too small to choose C over 5 folds"):
        SVM().fit(table({"a": np.eye(3)}, {"y": ["p", "q", "p"]}))


def test_many_records_are_sampled_and_said():
    evaluator = SVM(Cs=(1.0,), max_records=30)
    evaluator.fit(blobs(90))
    assert evaluator.notes() == ["C = 1", "fitted to 30 of 90 train records (max_records)"]
    assert evaluator.measure(blobs(60, seed=2, prefix="t"))["accuracy"] > 0.8
