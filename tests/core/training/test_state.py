"""Tests of `sensorium.training.state`."""

from sensorium.training.state import _headline


def test_an_evaluation_shows_the_first_metric_of_each_evaluator_and_that_of_the_best_checkpoint():
    metrics = {"knn/accuracy": 0.5, "knn/f1": 0.4, "retrieval/R@1": 0.1, "retrieval/R@5": 0.3, "retrieval/R@10": 0.4}
    assert _headline(metrics, None) == ["knn/accuracy", "retrieval/R@1"]
    assert _headline(metrics, "retrieval/R@5") == ["knn/accuracy", "retrieval/R@1", "retrieval/R@5"]
