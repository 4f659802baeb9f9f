import math

import pytest
import torch

from sensorium import losses


def rows(n=9, d=4, dtype=torch.float64, seed=0):
    rng = torch.Generator().manual_seed(seed)
    first = torch.randn(n, d, generator=rng, dtype=torch.float64) @ torch.randn(
        d, d, generator=rng, dtype=torch.float64
    )
    second = first + 0.5 * torch.randn(n, d, generator=rng, dtype=torch.float64) + 1
    return first.to(dtype), second.to(dtype)


def cholesky(a):
    """The lower factor by the textbook's loops."""
    n = len(a)
    low = [[0.0] * n for _ in range(n)]
    for i in range(n):
        for j in range(i + 1):
            rest = a[i][j] - sum(low[i][k] * low[j][k] for k in range(j))
            low[i][j] = math.sqrt(rest) if i == j else rest / low[j][j]
    return low


def w_mse(z1, z2, shrink):
    """Ermolov et al. 2021, equations 3 to 5, with the Cholesky factor; both views are whitened as one set."""
    x = z1.tolist() + z2.tolist()
    n, d = len(x), len(x[0])
    mean = [sum(row[j] for row in x) / n for j in range(d)]
    centered = [[row[j] - mean[j] for j in range(d)] for row in x]
    c = [[sum(row[i] * row[j] for row in centered) / (n - 1) for j in range(d)] for i in range(d)]
    level = sum(c[i][i] for i in range(d)) / d + 1e-8
    low = cholesky([[(1 - shrink) * c[i][j] + shrink * level * (i == j) for j in range(d)] for i in range(d)])
    made = []
    for row in centered:
        w = []
        for i in range(d):
            w.append((row[i] - sum(low[i][k] * w[k] for k in range(i))) / low[i][i])
        norm = math.sqrt(sum(v * v for v in w))
        made.append([v / norm for v in w])
    half = n // 2
    return sum(sum((a - b) ** 2 for a, b in zip(made[i], made[half + i], strict=True)) for i in range(half)) / half


@pytest.mark.parametrize("shrink", [0.0, 1e-3, 0.3])
def test_it_is_the_papers(shrink):
    z1, z2 = rows()
    assert math.isclose(losses.whitening_mse(z1, z2, shrink), w_mse(z1, z2, shrink), rel_tol=1e-10)


def test_gradients_are_those_of_the_values():
    z1, z2 = (z.requires_grad_() for z in rows(6, 3))
    assert torch.autograd.gradcheck(losses.whitening_mse, (z1, z2))


def test_whitened_rows_are_white():
    x, _ = rows(200, 5)
    w = losses.whitened(x, 0.0)
    assert torch.allclose(w.mean(0), torch.zeros(5, dtype=torch.float64), atol=1e-9)
    # Exact but for the constant that keeps equal rows equal, which no share of 0 brings in.
    assert torch.allclose(torch.cov(w.T), torch.eye(5, dtype=torch.float64), atol=1e-9)


def test_neither_a_scale_nor_an_offset_matters():
    z1, z2 = rows(40)
    assert math.isclose(losses.whitening_mse(7 * z1 + 3, 7 * z2 + 3), losses.whitening_mse(z1, z2), rel_tol=1e-6)


def test_mutants_are_caught():
    """Mutants: each view whitened by itself, no normalization, no whitening, the factor's transpose."""
    z1, z2 = rows()
    right = w_mse(z1, z2, 1e-3)
    apart = [torch.nn.functional.normalize(losses.whitened(z, 1e-3), dim=1) for z in (z1, z2)]
    together = losses.whitened(torch.cat([z1, z2]), 1e-3)
    plain = [torch.nn.functional.normalize(z, dim=1) for z in (z1, z2)]
    x = torch.cat([z1, z2]) - torch.cat([z1, z2]).mean(0)
    factor = torch.linalg.cholesky(torch.cov(x.T))
    turned = torch.nn.functional.normalize(torch.linalg.solve(factor.T, x.T).T, dim=1)
    for a, b in (apart, together.split(9), plain, turned.split(9)):
        assert not math.isclose((a - b).square().sum() / 9, right, rel_tol=1e-2)


def test_nearly_dependent_dimensions_need_double_precision():
    z1, z2 = rows(64, 4)
    z1[:, 3], z2[:, 3] = z1[:, 2] * (1 + 1e-7), z2[:, 2] * (1 + 1e-7)
    assert losses.whitening_mse(z1.float(), z2.float()).isfinite()
    with pytest.raises(torch.linalg.LinAlgError):
        torch.linalg.cholesky(torch.ones(4, 4) - 1e-6 * torch.eye(4))


@pytest.mark.parametrize("kind", ["none", "one", "two", "zero", "equal"])
def test_degenerate_rows_stay_finite(kind):
    z1, z2 = rows(4, 5, torch.float32)
    ones = torch.full((4, 5), 0.1)
    z1, z2 = {"none": (z1[:0], z2[:0]), "one": (z1[:1], z2[:1]), "two": (z1[:2], z2[:2])}.get(
        kind, (0 * ones, 0 * ones) if kind == "zero" else (ones, ones)
    )
    z1, z2 = z1.clone().requires_grad_(), z2.clone().requires_grad_()
    loss = losses.whitening_mse(z1, z2)
    loss.backward()
    assert loss.isfinite()
    assert loss.dtype == torch.float32
    assert z1.grad.isfinite().all()
    if kind in ("zero", "equal"):
        assert loss < 1e-6


def test_half_precision_is_computed_in_double():
    z1, z2 = rows(64, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = losses.whitening_mse(z1.bfloat16(), z2.bfloat16())
    assert found.dtype == torch.float32
    assert math.isclose(found, losses.whitening_mse(z1, z2), rel_tol=0.02)


def test_rows_that_are_not_finite_give_a_loss_that_is_not_finite():
    """The step is then skipped; an error of the factorization would stop the training, and ask the device for it."""
    rows = torch.randn(8, 4)
    rows[2, 1] = torch.nan
    assert losses.whitening_mse(rows, torch.randn(8, 4)).isnan()
