"""Logistic regression against scikit-learn's."""

import numpy as np
import pytest
import torch
from sklearn import linear_model

from sensorium.evaluation.logistic import LogisticRegression, _mean_loss


def records(classes, count=300, width=12):
    rng = np.random.default_rng(classes)
    centers = rng.normal(size=(classes, width))
    y = rng.integers(0, classes, count)
    return (centers[y] + 1.5 * rng.normal(size=(count, width))).astype(np.float32), y


@pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("classes", [2, 5])
def test_the_optimum_is_that_of_scikit_learn(classes, C):
    x, y = records(classes)
    names = np.array([f"c{i}" for i in range(classes)])[y]
    found = LogisticRegression(C, max_iter=2000).fit(x, names)
    wanted = linear_model.LogisticRegression(C=C, max_iter=2000, tol=1e-6).fit(x.astype(np.float64), names)
    logits = wanted.decision_function(x.astype(np.float64))
    scale = np.abs(logits).max()
    np.testing.assert_allclose(found.decision_function(x), logits, atol=5e-3 * scale)
    assert np.mean(found.predict(x) == wanted.predict(x)) > 0.99
    assert found.score(x, names) == pytest.approx(wanted.score(x, names), abs=0.01)


@pytest.mark.parametrize("columns", [1, 4])
def test_the_gradient_is_that_of_autograd(columns):
    logits = torch.randn(20, columns, dtype=torch.float64, requires_grad=True)
    y = torch.randint(0, max(columns, 2), (20,))
    loss, error = _mean_loss(logits, y)
    torch.testing.assert_close(error, torch.autograd.grad(loss, logits)[0])


def test_separable_records_stop_at_the_largest_number_of_iterations():
    x, y = records(3)
    assert LogisticRegression(1e6, max_iter=3).fit(x * 10, y).n_iter_[0] == 3
