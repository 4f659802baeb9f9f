"""The vote of neighbors against loops."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium import SensoriumError
from sensorium.evaluation.knn import KNN
from sensorium.neighbors import similarity
from sensorium.neighbors.similarity import nearest_neighbors
from tests.core.evaluation.tables_of_records import blobs, table


def by_loops(x_train, y_train, x_test, k, temperature):
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (x_train, x_test)]
    answers = []
    for x in unit[1].astype(float):
        cosine = unit[0] @ x
        votes: dict[str, float] = {}
        for row in np.argsort(-cosine)[:k]:
            votes[y_train[row]] = votes.get(y_train[row], 0) + np.exp(cosine[row] / temperature)
        answers.append(max(votes, key=votes.__getitem__))
    return answers


@pytest.mark.parametrize("block", [2**23, 100])
@pytest.mark.parametrize("k", [1, 7, 500])
def test_equals_loops(k, block, monkeypatch):
    monkeypatch.setattr(similarity, "MAX_SIMILARITIES", block)
    train, test = blobs(80, std=3, seed=1), blobs(60, std=3, seed=2, prefix="t")
    evaluator = KNN(k=k)
    evaluator.fit(train)
    answers = by_loops(train.features["signal"], train.labels["kind"], test.features["signal"], k, 0.07)
    wanted = np.mean([a == b for a, b in zip(answers, test.labels["kind"], strict=True)])
    assert evaluator.measure(test)["accuracy"] == pytest.approx(wanted)
    assert (evaluator.notes() == []) == (k <= 80)


def test_planted_signal_beats_chance_and_noise_does_not():
    for std, low, high in ((0.5, 0.95, 1.0), (1e4, 0.2, 0.48)):
        evaluator = KNN()
        evaluator.fit(blobs(300, std=std))
        test = blobs(300, std=std, seed=7, prefix="t")
        assert low <= evaluator.measure(test)["accuracy"] <= high
        assert set(evaluator.measure(test)) == set(evaluator.chance(test))


def test_absent_labels_and_values_are_left_out_and_counted():
    x = np.array([[1.0, 0], [0, 1], [1, 0.1], [0.1, 1], [1, 0]])
    train = table({"a": x}, {"y": ["p", "q", "p", None, float("nan")]})
    test = table(
        {"a": x}, {"y": ["p", "q", None, "q", "q"]}, present={"a": np.array([1, 1, 1, 1, 0], bool)}, prefix="t"
    )
    evaluator = KNN(k=1)
    evaluator.fit(train)
    assert evaluator.measure(test)["accuracy"] == 1.0
    assert "2 records without label or value excluded" in evaluator.notes()


def test_numbers_serve_as_classes_and_an_unseen_class_is_a_miss():
    x = np.eye(4)
    train, test = table({"a": x}, {"y": [0, 0, 1, 1]}), table({"a": x}, {"y": [0, 0, 1, 2]}, prefix="t")
    evaluator = KNN(k=1)
    evaluator.fit(train)
    assert evaluator.measure(test)["accuracy"] == 0.75
    assert evaluator.measure(test)["balanced accuracy"] == pytest.approx(2 / 3)
    assert evaluator.chance(test) == pytest.approx(
        {"accuracy": 0.5, "balanced accuracy": 1 / 3, "macro-F1": (2 / 3) / 3}
    )


def test_refuses_in_a_sentence():
    x = np.eye(3)
    with pytest.raises(SensoriumError, match="one class in 2 records to learn from, 'p'"):
        KNN().fit(table({"a": x}, {"y": ["p", "p", None]}))
    with pytest.raises(SensoriumError, match="None of the 3 records"):
        KNN().fit(table({"a": x}, {"y": [None] * 3}))
    with pytest.raises(SensoriumError, match="no label 'kin', did you mean 'kind'"):
        KNN(label="kin").fit(blobs(5))
    with pytest.raises(SensoriumError, match="by the option 'label'; the records have: y, z"):
        KNN().fit(table({"a": x}, {"y": "pqp", "z": "pqp"}))


def test_nearest_orders_by_cosine_whatever_the_length():
    x = np.array([[2.0, 0]])
    scores, rows = nearest_neighbors(x, np.array([[0.1, 0.1], [9, 0.5], [-3, 0]]), k=9)
    assert rows.tolist() == [[1, 0, 2]]
    assert scores[0, 2] == pytest.approx(-1)
    assert nearest_neighbors(x[:0], x, 3)[1].shape == (0, 1)
