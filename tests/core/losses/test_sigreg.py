import cmath
import math
from itertools import pairwise

import pytest
import torch

from sensorium.losses.sigreg import random_directions, sigreg, sigreg_by_step


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


def sequences(b=6, t=4, d=3, s=2):
    """Rows of several steps, with padding: one step has a single row, one has none."""
    rng = torch.Generator().manual_seed(0)
    directions = torch.randn(d, s, generator=rng, dtype=torch.float64)
    z = torch.randn(b, t, d, generator=rng, dtype=torch.float64) + torch.arange(t)[:, None]
    mask = torch.arange(t) < torch.tensor([2, 3, 1, 2, 0, 2])[:b, None]
    return z, mask, directions / directions.norm(dim=0)


def test_by_step_is_the_mean_of_the_steps_that_have_rows():
    z, mask, directions = sequences()
    steps = [reference(z[mask[:, t], t], directions) for t in range(3)]
    assert mask.sum(0).tolist() == [5, 4, 1, 0]
    assert math.isclose(sigreg_by_step(z, mask, directions), sum(steps) / 3, rel_tol=1e-12)
    whole = torch.ones_like(mask)
    alone = [reference(z[:, t], directions, 3.0, 33) for t in range(4)]
    assert math.isclose(sigreg_by_step(z, whole, directions, 3.0, 33), sum(alone) / 4, rel_tol=1e-12)


def test_mutants_of_by_step_are_caught():
    """Mutants: all steps joined, padding counted, steps without rows counted, the number of rows left out."""
    z, mask, directions = sequences()
    right = float(sigreg_by_step(z, mask, directions))
    steps = [float(sigreg(z[mask[:, t], t], directions)) for t in range(4)]
    for wrong in (
        float(sigreg(z[mask], directions)),
        float(sigreg_by_step(z, torch.ones_like(mask), directions)),
        sum(steps) / 4,
        sum(value / max(int(count), 1) for value, count in zip(steps, mask.sum(0), strict=True)) / 3,
    ):
        assert not math.isclose(wrong, right, rel_tol=1e-2)


def test_by_step_gradient_is_that_of_the_value_and_leaves_padding_alone():
    z, mask, directions = sequences()
    z = z.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: sigreg_by_step(x, mask, directions), z)
    sigreg_by_step(z, mask, directions).backward()
    assert z.grad[mask].any(-1).all()
    assert not z.grad[~mask].any()


def test_embeddings_that_tell_steps_but_no_records_fail_by_step_alone():
    """Each step one point, and all points together a Gaussian: what joined rows cannot see."""
    t, d = 256, 8
    z = torch.randn(1, t, d, generator=torch.Generator().manual_seed(0)).expand(32, -1, -1)
    directions = random_directions(d, 64, torch.device("cpu"))
    mask = torch.ones(32, t, dtype=torch.bool)
    assert sigreg(z[0], directions) < 2
    assert sigreg_by_step(z, mask, directions) > 10


def test_units():
    """What a weight means: of Gaussian rows 1.06 for any number of them, of a point so many times .41.

    The authors of LeJEPA and of LeWorldModel take 17 points on [0, 3], and come to the same; without the factor of the
    number of rows (FINO), or with fewer points and none of it (EB-JEPA), a weight is another one.
    """
    rng = torch.Generator().manual_seed(0)
    for rows in (64, 256):
        z, mask = torch.randn(rows, 64, 16, generator=rng), torch.ones(rows, 64, dtype=torch.bool)
        directions = random_directions(16, 16, torch.device("cpu"))
        ours, theirs = sigreg_by_step(z, mask, directions), sigreg_by_step(z, mask, directions, 3.0, 33)
        assert abs(ours - 1.06) < 0.05, rows
        assert abs(theirs - ours) < 0.01
        for options in ((), (3.0, 33)):
            assert abs(sigreg_by_step(0 * z, mask, directions, *options) / rows - 0.409) < 0.01
            assert abs(sigreg(0 * z[:, 0], directions, *options) / rows - 0.409) < 0.01


@pytest.mark.parametrize("kind", ["no rows", "all padding", "no steps", "one row", "equal", "large"])
def test_by_step_of_degenerate_rows_is_finite(kind):
    z, mask, directions = sequences()
    z, mask = {
        "no rows": (z[:0], mask[:0]),
        "all padding": (z, mask & False),
        "no steps": (z[:, :0], mask[:, :0]),
        "one row": (z[:1], mask[:1]),
        "equal": (torch.ones_like(z), mask),
        "large": (1e6 * z, mask),
    }[kind]
    z = z.float().requires_grad_()
    loss = sigreg_by_step(z, mask, directions)
    loss.backward()
    assert loss.isfinite()
    assert z.grad.isfinite().all()
    assert (kind in ("no rows", "all padding", "no steps")) == (float(loss.detach()) == 0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_by_step_in_half_precision_is_computed_in_fp32(dtype):
    z, mask, directions = sequences()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = sigreg_by_step(z.to(dtype), mask, directions.float())
    assert found.dtype == torch.float32
    assert math.isclose(found, sigreg_by_step(z.to(dtype).double(), mask, directions), rel_tol=1e-4)
