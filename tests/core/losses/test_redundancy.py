import math

import pytest
import torch

from sensorium import losses


def rows(n=7, d=5, dtype=torch.float64, seed=0):
    rng = torch.Generator().manual_seed(seed)
    first, second = (torch.randn(n, d, generator=rng, dtype=torch.float64) for _ in range(2))
    return [(3 * first + 1).to(dtype), (0.5 * first + 0.2 * second - 2).to(dtype)]  # views of different statistics


def moments(column):
    mean = sum(column) / len(column)
    return mean, sum((x - mean) ** 2 for x in column) / len(column)


def barlow_twins(z1, z2, weight):
    """Zbontar et al. 2021, equations 1 and 2, each view by its own statistics."""
    n, d, total = len(z1), z1.shape[1], 0.0
    columns = []
    for z in (z1.tolist(), z2.tolist()):
        made = []
        for column in zip(*z, strict=True):
            mean, variance = moments(column)
            made.append([(x - mean) / math.sqrt(variance + 1e-5) for x in column])
        columns.append(made)
    for i in range(d):
        for j in range(d):
            c = sum(a * b for a, b in zip(columns[0][i], columns[1][j], strict=True)) / n
            total += (1 - c) ** 2 if i == j else weight * c**2
    return total


def vicreg(z1, z2, invariance, variance, covariance):
    """Bardes et al. 2022, equations 1 to 6; the invariance term is a mean over dimensions too, as in algorithm 1."""
    n, d = z1.shape
    total = invariance * sum(float(((z1[i] - z2[i]) ** 2).sum()) for i in range(n)) / (n * d)
    for z in (z1, z2):
        columns = [list(c) for c in zip(*z.tolist(), strict=True)]
        for i in range(d):
            for j in range(d):
                mi, mj = moments(columns[i])[0], moments(columns[j])[0]
                c = sum((a - mi) * (b - mj) for a, b in zip(columns[i], columns[j], strict=True)) / (n - 1)
                if i == j:
                    total += variance * max(0.0, 1 - math.sqrt(c + 1e-4)) / d
                else:
                    total += covariance * c**2 / d
    return total


def test_barlow_twins_is_the_papers():
    z1, z2 = rows()
    for weight in (0.005, 1.0):
        assert math.isclose(losses.barlow_twins(z1, z2, weight), barlow_twins(z1, z2, weight), rel_tol=1e-12)


@pytest.mark.parametrize("weights", [(25, 25, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_vicreg_is_the_papers(weights):
    z1, z2 = (0.3 * z for z in rows())  # small enough that the hinge is active
    assert math.isclose(losses.vicreg(z1, z2, *weights), vicreg(z1, z2, *weights), rel_tol=1e-12)
    assert vicreg(z1, z2, *weights) > 0


def test_gradients_are_those_of_the_values():
    z1, z2 = ((0.3 * z).requires_grad_() for z in rows(5, 3))
    assert torch.autograd.gradcheck(losses.barlow_twins, (z1, z2))
    assert torch.autograd.gradcheck(losses.vicreg, (z1, z2))


def test_mutants_are_caught():
    """Mutants: both views by joint statistics, the diagonal left in, no centering, biased covariances."""
    z1, z2 = rows()
    joint = torch.cat([z1, z2])
    mixed = [(z - joint.mean(0)) / joint.std(0, unbiased=False) for z in (z1, z2)]
    c = mixed[0].T @ mixed[1] / 7
    mutant = (c.diagonal() - 1).square().sum() + 0.005 * (c - c.diagonal().diag()).square().sum()
    assert not math.isclose(mutant, barlow_twins(z1, z2, 0.005), rel_tol=1e-3)
    whole = z1.T @ z1 / 6
    assert not math.isclose(
        (whole - whole.diagonal().diag()).square().sum() / 5, vicreg(z1, z1, 0, 0, 0.5), rel_tol=1e-3
    )
    biased = torch.cov(z1.T, correction=0)
    off = (biased - biased.diagonal().diag()).square().sum() / 5
    assert not math.isclose(2 * off, vicreg(z1, z1, 0, 0, 1), rel_tol=1e-3)


def test_a_views_scale_and_offset_do_not_matter_to_barlow_twins():
    z1, z2 = rows(50)
    assert math.isclose(losses.barlow_twins(z1, z2), losses.barlow_twins(10 * z1 - 3, 2 * z2 + 1), rel_tol=0.01)
    assert not math.isclose(losses.vicreg(z1, z2), losses.vicreg(10 * z1 - 3, 2 * z2 + 1), rel_tol=0.01)


def test_collapse_costs_more_than_spread():
    z = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    for loss in (losses.barlow_twins, losses.vicreg):
        assert loss(z, z) < loss(torch.ones(64, 8), torch.ones(64, 8))


@pytest.mark.parametrize("kind", ["none", "one", "two", "zero", "equal"])
def test_degenerate_rows_stay_finite(kind):
    z1, z2 = rows(4, dtype=torch.float32)
    ones = torch.ones(4, 5)
    z1, z2 = {"none": (z1[:0], z2[:0]), "one": (z1[:1], z2[:1]), "two": (z1[:2], z2[:2])}.get(
        kind, (0 * ones, 0 * ones) if kind == "zero" else (ones, ones)
    )
    z1, z2 = z1.clone().requires_grad_(), z2.clone().requires_grad_()
    for loss in (losses.barlow_twins(z1, z2), losses.vicreg(z1, z2)):
        loss.backward()
        assert loss.isfinite()
        assert z1.grad.isfinite().all()


def test_half_precision_is_computed_in_fp32():
    z1, z2 = rows(64, 16)
    for loss in (losses.barlow_twins, losses.vicreg):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = loss(z1.bfloat16(), z2.bfloat16())
        assert found.dtype == torch.float32
        assert math.isclose(found, loss(z1, z2), rel_tol=0.02)
