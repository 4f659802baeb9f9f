"""Normalized std and effective rank against their definitions and at their ends."""

import pytest
import torch

from sensorium import losses


def rows(n=40, d=6):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(0))


def test_are_the_papers():
    x = rows()
    fraction = torch.linalg.svdvals(x.double())
    fraction = fraction / fraction.sum()
    assert losses.effective_rank(x) == pytest.approx(float((-(fraction * fraction.log()).sum()).exp()), rel=1e-6)
    normalize_rows = torch.stack([row / row.norm() for row in x])
    deviations = [(normalize_rows[:, j] - normalize_rows[:, j].mean()).square().mean().sqrt() for j in range(6)]
    assert losses.normalized_std(x) == pytest.approx(float(sum(deviations) / 6 * 6**0.5), rel=1e-5)


@pytest.mark.parametrize("shape", [(400, 10), (10, 400)])
def test_orthogonal_rows_have_full_rank(shape):
    q = torch.linalg.qr(rows(400, 10))[0]
    assert losses.effective_rank(q if shape[0] == 400 else q.T) == pytest.approx(10, rel=1e-3)


def test_both_ends():
    assert losses.normalized_std(rows(4096, 32)) == pytest.approx(1, abs=0.02)
    assert losses.normalized_std(torch.ones(50, 8)) == pytest.approx(0, abs=1e-6)
    assert losses.effective_rank(torch.ones(50, 8)) == pytest.approx(1, abs=1e-3)
    line = rows(50, 1) * torch.ones(8)  # both directions of one line: a rank of one, but no point
    assert losses.effective_rank(line) == pytest.approx(1, abs=1e-3)
    assert losses.normalized_std(line) > 0.5


def test_zero_rows_and_rows_that_are_not_finite():
    assert losses.effective_rank(torch.zeros(5, 3)) == 0
    assert losses.normalized_std(torch.zeros(5, 3)) == 0
    assert losses.effective_rank(torch.full((5, 3), float("nan"))).isnan()


def test_scale_does_not_matter_and_half_precision_stays_near():
    x = rows()
    for metric in (losses.normalized_std, losses.effective_rank):
        assert metric(1000 * x) == pytest.approx(float(metric(x)), rel=1e-4)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert metric(x.bfloat16()) == pytest.approx(float(metric(x)), rel=0.02)


def biased_and_unbiased_cka(x, y):
    """By the definitions, with kernels N x N."""
    k, l = (rows.double() @ rows.double().T for rows in (x, y))  # noqa: E741
    n = len(k)
    center = torch.eye(n, dtype=torch.float64) - 1 / n

    def biased(a, b):
        return (center @ a @ center * b).sum()

    def unbiased(a, b):
        a, b, ones = a.clone().fill_diagonal_(0), b.clone().fill_diagonal_(0), torch.ones(n, dtype=torch.float64)
        between = ones @ a @ ones * (ones @ b @ ones) / ((n - 1) * (n - 2))
        return torch.trace(a @ b) + between - 2 / (n - 2) * (ones @ a @ b @ ones)

    return [float(hsic(k, l) / (hsic(k, k) * hsic(l, l)).sqrt()) for hsic in (biased, unbiased)]


def test_cka_is_the_unbiased_one():
    x, y = rows(40, 6) + 3, torch.randn(40, 9, generator=torch.Generator().manual_seed(1))
    biased, unbiased = biased_and_unbiased_cka(x, y)
    assert losses.linear_cka(x, y) == pytest.approx(unbiased, abs=1e-9)
    assert abs(unbiased) < 0.1 < biased
    assert losses.linear_cka(x, x[:, :3]) == pytest.approx(biased_and_unbiased_cka(x, x[:, :3])[1], abs=1e-9)


def test_cka_of_rotated_features_is_one_and_of_too_few_or_equal_ones_is_nan():
    x, rotation = rows(), torch.linalg.qr(rows(6, 6))[0]
    assert losses.linear_cka(x, 7 * x @ rotation + 5) == pytest.approx(1, abs=1e-6)
    assert losses.linear_cka(x, torch.ones(40, 3)).isnan()
    assert losses.linear_cka(x[:3], x[:3]).isnan()
