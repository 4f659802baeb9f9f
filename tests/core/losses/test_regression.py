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
