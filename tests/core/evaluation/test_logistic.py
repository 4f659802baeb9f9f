"""Logistic regression against scikit-learn's."""

import numpy as np
import pytest
import torch
from sklearn import linear_model

from sensorium.evaluation.logistic import LogisticRegression, fit_path, loss_gradient, mean_loss


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
    logits = torch.randn(20, 3, columns, dtype=torch.float64, requires_grad=True)
    y = torch.randint(0, max(columns, 2), (20,))
    wanted = torch.autograd.grad(mean_loss(logits, y).sum(), logits)[0]
    torch.testing.assert_close(loss_gradient(logits.detach(), y), wanted)


@pytest.mark.parametrize(("width", "warm", "Cs"), [(12, True, [1e-4, 1e-2, 1.0]), (4200, False, [1e-4, 1e-2])])
def test_a_path_is_the_solutions_one_by_one(width, warm, Cs):
    """Wide features take the diagonal for a first Hessian; the optimum is the same.

    With little penalty 4,200 features of 300 records have no optimum that float32 would find on every processor.
    """
    x, y = records(4, width=width)
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    path = fit_path(x, y, 4, Cs, 500)
    for C, weights in zip(Cs, path.weights_PDK, strict=True):
        start = torch.randn_like(weights) / 100 if warm else None
        alone = fit_path(x, y, 4, [C], 500, start_DK=start).weights_PDK[0]
        one, other = ((x @ w[:-1] + w[-1]) for w in (weights, alone))
        centered = one - one.mean(1, keepdim=True)  # softmax does not see what all logits share
        torch.testing.assert_close(other - other.mean(1, keepdim=True), centered, rtol=0, atol=0.05 * float(one.std()))
    assert (path.iterations_P < 500).all()


def test_correlated_features_take_tens_of_iterations():
    """Sums of one random walk, as pixels are: scikit-learn's L-BFGS needs hundreds."""
    rng = np.random.default_rng(0)
    x = np.cumsum(rng.normal(size=(2000, 60)), axis=1).astype(np.float32)
    x = (x - x.mean(0)) / x.std(0)
    y = (x @ rng.normal(size=60) + 2 * rng.normal(size=2000) > 0).astype(int)
    found = LogisticRegression(1.0).fit(x, y)
    wanted = linear_model.LogisticRegression(C=1.0, max_iter=5000, tol=1e-6).fit(x.astype(np.float64), y)
    assert found.n_iter_[0] < 40 < wanted.n_iter_[0]
    assert np.mean(found.predict(x) == wanted.predict(x)) > 0.995


def test_separable_records_stop_at_the_largest_number_of_iterations():
    x, y = records(3)
    assert LogisticRegression(1e6, max_iter=3).fit(x * 10, y).n_iter_[0] == 3
