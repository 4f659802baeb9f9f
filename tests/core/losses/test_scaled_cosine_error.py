import math

import pytest
import torch

from sensorium import losses
from tests.core.losses.references import cosine


def tokens(dtype=torch.float64, seed=0):
    rng = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(3, 4, 5, generator=rng, dtype=torch.float64).to(dtype) for _ in range(2))
    return x, y, torch.arange(4) < torch.tensor([3, 1, 4])[:, None]


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_is_the_papers(power):
    """Hou et al. 2022, equation 2."""
    x, y, mask = tokens()
    each = [(1 - float(cosine(x[i, t], y[i, t]))) ** power for i in range(3) for t in range(4) if mask[i, t]]
    assert math.isclose(losses.scaled_cosine_error(x, y, mask, power), sum(each) / len(each), rel_tol=1e-12)


def test_gradient_is_that_of_the_value_and_stops_at_the_target():
    x, y, mask = tokens()
    x, y = x.requires_grad_(), y.requires_grad_()
    assert torch.autograd.gradcheck(lambda a: losses.scaled_cosine_error(a, y, mask), x)
    losses.scaled_cosine_error(x, y, mask).backward()
    assert y.grad is None
    assert not x.grad[~mask].any()


def test_mutants_are_caught():
    """Mutants: the power outside the mean, 1 + cosine, unmasked tokens counted."""
    x, y, mask = tokens()
    right = float(losses.scaled_cosine_error(x, y, mask))
    assert right != pytest.approx(float(losses.scaled_cosine_error(x, y, mask, 1.0)) ** 2)
    assert right != pytest.approx(float(losses.scaled_cosine_error(-x, y, mask)))
    assert right != pytest.approx(float(losses.scaled_cosine_error(x, y, torch.ones_like(mask))))
    assert float(losses.scaled_cosine_error(7 * y, y, mask)) == pytest.approx(0)


@pytest.mark.parametrize("kind", ["none", "zero", "equal", "one"])
def test_degenerate_rows_stay_finite(kind):
    x, y, mask = tokens(torch.float32)
    x, y, mask = {
        "none": (x, y, mask & False),
        "zero": (0 * x, 0 * y, mask),
        "equal": (y, y, mask),
        "one": (x[:1, :1], y[:1, :1], mask[:1, :1]),
    }[kind]
    x = x.clone().requires_grad_()
    loss = losses.scaled_cosine_error(x, y, mask, 1.5)
    loss.backward()
    assert loss.isfinite()
    assert x.grad.isfinite().all()


def test_half_precision_is_computed_in_fp32():
    x, y, mask = tokens(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = losses.scaled_cosine_error(x.bfloat16(), y.bfloat16(), mask)
    assert found.dtype == torch.float32
    assert abs(found - losses.scaled_cosine_error(x, y, mask)) < 0.02
