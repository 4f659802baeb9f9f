import cmath
import math
from itertools import pairwise

import pytest
import torch

from sensorium.losses.sigreg import random_directions, sigreg


def problem(n=7, d=4, s=3, seed=0):
    rng = torch.Generator().manual_seed(seed)
    directions = torch.randn(d, s, generator=rng, dtype=torch.float64)
    return 1.5 * torch.randn(n, d, generator=rng, dtype=torch.float64) + 0.3, directions / directions.norm(dim=0)


def reference(z, directions, limit=5.0, points=17):
    """Balestriero and LeCun 2025, algorithm 1, over both signs of t."""
    n, total = len(z), 0.0
    ts = [-limit + 2 * limit * k / (points - 1) for k in range(points)]
    for s in range(directions.shape[1]):
        x = [float(z[i] @ directions[:, s]) for i in range(n)]
        errors = []
        for t in ts:
            found = sum(cmath.exp(1j * t * value) for value in x) / n
            errors.append(abs(found - math.exp(-(t**2) / 2)) ** 2 * math.exp(-(t**2) / 2))
        total += n * sum((a + b) / 2 * (ts[1] - ts[0]) for a, b in pairwise(errors))
    return total / directions.shape[1]


@pytest.mark.parametrize(("limit", "points"), [(5.0, 17), (3.0, 9)])
def test_is_the_papers(limit, points):
    z, directions = problem()
    assert math.isclose(sigreg(z, directions, limit, points), reference(z, directions, limit, points), rel_tol=1e-12)


def test_gradient_is_that_of_the_value():
    z, directions = problem(4, 3, 2)
    assert torch.autograd.gradcheck(lambda x: sigreg(x, directions), z.requires_grad_())


def test_gaussian_rows_have_a_smaller_statistic_than_others():
    rng = torch.Generator().manual_seed(0)
    directions = random_directions(8, 64, torch.device("cpu"))
    gaussian = torch.randn(512, 8, generator=rng)
    found = {n: float(sigreg(gaussian[:n], directions)) for n in (32, 512)}
    assert all(0.4 < value < 2.0 for value in found.values()), found  # 1.06 is expected, whatever the number of rows
    assert math.isclose(math.sqrt(2 * math.pi) * (1 - 1 / math.sqrt(3)), 1.06, abs_tol=0.01)
    flat = gaussian * torch.tensor([1.0] * 4 + [0.0] * 4)  # half of the dimensions collapsed
    for wrong in (torch.zeros(512, 8), gaussian + 1, 2 * gaussian, 0.3 * gaussian, flat, gaussian.sign()):
        assert sigreg(wrong, directions) > 2 * found[512]


def test_rows_in_another_order_or_turned_about_zero():
    z, directions = problem()
    assert torch.allclose(sigreg(z, directions), sigreg(z.flip(0), directions))
    assert torch.allclose(sigreg(z, directions), sigreg(-z, directions))
    turn, _ = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))
    assert torch.allclose(sigreg(z, directions), sigreg(z @ turn, turn.T @ directions))


def test_edges():
    _, directions = problem()
    for z in (torch.zeros(5, 4), torch.ones(1, 4), torch.full((3, 4), 1e4), torch.zeros(0, 4)):
        z = z.requires_grad_()
        loss = sigreg(z, directions)
        loss.backward()
        assert loss.isfinite()
        assert z.grad.isfinite().all()
        assert len(z) or loss == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_fp32(dtype):
    z, directions = problem(64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = sigreg(z.to(dtype), directions.float())
    assert found.dtype == torch.float32
    assert math.isclose(found, reference(z.to(dtype).double(), directions), rel_tol=1e-4)


def test_directions_are_unit_and_follow_the_global_generator():
    torch.manual_seed(3)
    first = random_directions(5, 100, torch.device("cpu"))
    torch.manual_seed(3)
    assert torch.equal(first, random_directions(5, 100, torch.device("cpu")))
    assert torch.allclose(first.norm(dim=0), torch.ones(100))
    assert not torch.equal(first, random_directions(5, 100, torch.device("cpu")))
