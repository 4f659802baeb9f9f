import math

import pytest
import torch

from sensorium import losses
from tests.core.losses.references import cosine


def rows(n=7, d=5, dtype=torch.float64, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return [torch.randn(n, d, generator=rng, dtype=torch.float64).to(dtype) for _ in range(2)]


def byol(p, t):
    """Grill et al. 2020, equation 2: the mean square between unit rows."""
    total = 0.0
    for i in range(len(p)):
        difference = p[i] / p[i].norm() - t[i] / t[i].norm()
        total += float((difference**2).sum())
    return total / len(p)


def test_is_the_papers():
    p, t = rows()
    by_loop = -sum(float(cosine(p[i], t[i])) for i in range(7)) / 7
    assert math.isclose(losses.negative_cosine(p, t), by_loop, rel_tol=1e-12)
    assert math.isclose(2 + 2 * losses.negative_cosine(p, t), byol(p, t), rel_tol=1e-12)


def test_gradient_is_that_of_the_value_and_stops_at_the_target():
    p, t = (x.requires_grad_() for x in rows(4, 3))
    assert torch.autograd.gradcheck(lambda a: losses.negative_cosine(a, t), p)
    losses.negative_cosine(p, t).backward()
    assert t.grad is None


def test_mutants_are_caught():
    """Mutants: the sign, the target trained, rows of another order."""
    p, t = rows()
    assert losses.negative_cosine(p, p) < losses.negative_cosine(p, t)
    assert losses.negative_cosine(p, t) != pytest.approx(float(losses.negative_cosine(p, t.roll(1, 0))))
    through = t.clone().requires_grad_()
    (-torch.cosine_similarity(p, through)).mean().backward()
    assert through.grad.abs().sum() > 0


@pytest.mark.parametrize("kind", ["one", "none", "zero", "equal"])
def test_degenerate_rows_stay_finite(kind):
    p, t = rows(3, dtype=torch.float32)
    p, t = {"one": (p[:1], t[:1]), "none": (p[:0], t[:0]), "zero": (0 * p, 0 * t), "equal": (p, p)}[kind]
    p = p.clone().requires_grad_()
    loss = losses.negative_cosine(p, t)
    loss.backward()
    assert loss.isfinite()
    assert p.grad.isfinite().all()


def test_half_precision_is_computed_in_fp32():
    p, t = rows(64, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = losses.negative_cosine(p.bfloat16(), t.bfloat16())
    assert found.dtype == torch.float32
    assert abs(found - losses.negative_cosine(p, t)) < 5e-3


def elements(n=6, p=4, seed=0):
    """Predictions, targets of which some are undefined, and which count."""
    rng = torch.Generator().manual_seed(seed)
    predictions, targets = (2 * torch.randn(n, p, generator=rng, dtype=torch.float64) for _ in range(2))
    targets[0, 1], targets[2, 3], targets[5, 0] = torch.nan, torch.inf, -torch.inf
    mask = torch.rand(n, p, generator=rng) < 0.7
    mask[0, 1] = mask[2, 3] = True
    return predictions, targets, mask


def by_elements(predictions, targets, mask, penalty="l2", beta=1.0):
    total, count = 0.0, 0
    for i in range(len(predictions)):
        for j in range(predictions.shape[1]):
            if mask[i, j] and math.isfinite(targets[i, j]):
                size = abs(float(predictions[i, j]) - float(targets[i, j]))
                huber = size**2 / (2 * beta) if size <= beta else size - beta / 2
                total += {"l2": size**2, "l1": size, "smooth-l1": huber}[penalty]
                count += 1
    return total / count


@pytest.mark.parametrize(("penalty", "beta"), [("l2", 1.0), ("l1", 1.0), ("smooth-l1", 0.5)])
def test_element_regression_is_the_mean_over_elements(penalty, beta):
    predictions, targets, mask = elements()
    found = losses.element_regression(predictions, targets, mask, penalty, beta)
    assert math.isclose(found, by_elements(predictions, targets, mask, penalty, beta), rel_tol=1e-12)


def test_mutants_of_element_regression_are_caught():
    """Mutants: all elements, undefined ones as zero, means of rows, the mask turned round."""
    predictions, targets, mask = elements()
    right = by_elements(predictions, targets, mask)
    zero, every = targets.nan_to_num(0, 0, 0), torch.ones_like(mask)
    rows = [by_elements(*(x[i : i + 1] for x in (predictions, targets, mask))) for i in range(6)]
    for wrong in (
        by_elements(predictions, targets, every),
        by_elements(predictions, zero, mask),
        sum(rows) / 6,
        by_elements(predictions, targets, ~mask),
    ):
        assert not math.isclose(wrong, right, rel_tol=1e-3)


def test_an_undefined_element_reaches_neither_loss_nor_gradient():
    predictions, targets, mask = elements()
    predictions.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: losses.element_regression(x, targets, mask), predictions)
    losses.element_regression(predictions, targets, mask).backward()
    counted = mask & targets.isfinite()
    assert predictions.grad[~counted].eq(0).all()
    assert predictions.grad[counted].ne(0).all()


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_without_an_element_it_is_zero_with_zero_gradient(rows):
    predictions = torch.randn(rows, 2, requires_grad=True)
    loss = losses.element_regression(predictions, torch.full((rows, 2), torch.nan), torch.ones(rows, 2, dtype=bool))
    loss.backward()
    assert loss == 0
    assert predictions.grad.eq(0).all()
    assert losses.explained_variance(predictions, torch.full((rows, 2), torch.nan), torch.ones(rows, 2) > 0) == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_that_of_its_inputs(dtype):
    predictions, targets, mask = elements()
    with torch.autocast("cpu", torch.bfloat16):
        found = losses.element_regression(predictions.to(dtype), targets.float(), mask)
    assert found.dtype == torch.float32
    assert math.isclose(found, by_elements(predictions.to(dtype).double(), targets, mask), rel_tol=1e-5)


def test_explained_variance_is_that_of_scikit_learn_around_zero():
    predictions, targets, mask = elements()
    counted = mask & targets.isfinite()
    error = ((predictions - targets)[counted] ** 2).sum()
    expected = 1 - error / (targets[counted] ** 2).sum()
    assert math.isclose(losses.explained_variance(predictions, targets, mask), expected, rel_tol=1e-6)
    assert losses.explained_variance(targets, targets, mask) == 1
    assert losses.explained_variance(torch.zeros_like(targets), targets, mask) == 0
