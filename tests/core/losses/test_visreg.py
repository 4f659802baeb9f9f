import math
from statistics import NormalDist

import pytest
import torch

from sensorium import losses
from sensorium.losses.visreg import EPSILON


def problem(b=6, v=3, d=4, s=5, dtype=torch.float64, seed=0):
    """Projections of views that differ in mean and scale, and unit directions."""
    rng = torch.Generator().manual_seed(seed)
    z = torch.randn(b, v, d, generator=rng, dtype=torch.float64)
    z = z * torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)[:v, None] + torch.arange(v)[:, None] / 3
    directions = torch.randn(d, s, generator=rng, dtype=torch.float64)
    return z.to(dtype), directions / directions.norm(dim=0)


def moments(column):
    mean = sum(column) / len(column)
    return mean, math.sqrt(sum((x - mean) ** 2 for x in column) / len(column))


def reference(z, directions):
    """Wu et al. 2026, equations 1, 2, 5 and 6, by loops: scale, shape and center."""
    b, v, d = z.shape
    scale = shape = center = 0.0
    for view in range(v):
        standard = []
        for j in range(d):
            column = z[:, view, j].tolist()
            mean, std = moments(column)
            scale += (1 - std) ** 2 / (v * d)
            center += mean**2 / (v * d)
            standard.append([(x - mean) / (std + 1e-4) for x in column])
        for s in range(directions.shape[1]):
            along = sorted(sum(standard[j][i] * float(directions[j, s]) for j in range(d)) for i in range(b))
            for i, value in enumerate(along, 1):
                shape += (value - NormalDist().inv_cdf(i / (b + 1))) ** 2 / (v * b * directions.shape[1])
    return scale, shape, center


def prediction(z, global_views):
    """Equation 8: the mean square to the mean of the global views."""
    b, v, d = z.shape
    total = 0.0
    for i in range(b):
        for j in range(d):
            mean = sum(float(z[i, g, j]) for g in range(global_views)) / global_views
            total += sum((float(z[i, view, j]) - mean) ** 2 for view in range(v))
    return total / (b * v * d)


@pytest.mark.parametrize("b", [2, 6, 33])
def test_is_the_papers(b):
    z, directions = problem(b)
    for found, expected in zip(losses.visreg(z, directions), reference(z, directions), strict=True):
        assert math.isclose(found, expected, rel_tol=1e-9)


@pytest.mark.parametrize("global_views", [1, 2, 3])
def test_prediction_is_of_the_mean_of_the_global_views(global_views):
    z, _ = problem()
    found = losses.global_view_prediction(z, global_views)
    assert math.isclose(found, prediction(z, global_views), rel_tol=1e-12)
    assert not math.isclose(found, prediction(z, global_views % 3 + 1), rel_tol=1e-3)


@pytest.mark.parametrize("term", ["scale", "center"])
def test_gradients_are_those_of_the_values(term):
    z, directions = problem(4, 2, 3, 2)
    assert torch.autograd.gradcheck(lambda x: getattr(losses.visreg(x, directions), term), z.requires_grad_())


def test_the_gradient_of_the_shape_takes_the_std_for_constant():
    z, directions = problem(5, 2, 3, 2)
    std = z.std(0, correction=0)

    def shape(x):
        along = (((x - x.mean(0)) / (std + EPSILON)) @ directions).sort(dim=0).values
        quantiles = torch.tensor([NormalDist().inv_cdf(i / 6) for i in range(1, 6)], dtype=torch.float64)
        return (along - quantiles[:, None, None]).square().mean()

    one, other = z.clone().requires_grad_(), z.clone().requires_grad_()
    losses.visreg(one, directions).shape.backward()
    assert torch.autograd.gradcheck(shape, other)
    shape(other).backward()
    torch.testing.assert_close(one.grad, other.grad)


def test_mutants_are_caught():
    """Mutants: unbiased std, variance for std, views joined, no sorting, quantiles at (i - 1/2) / N, no centering."""
    z, directions = problem()
    scale, shape, center = reference(z, directions)
    joined = reference(z.flatten(0, 1)[:, None], directions)
    standard = (z - z.mean(0)) / (z.std(0, correction=0) + EPSILON)

    def shape_of(rows, offset=0.0, count=7, ordered=True):
        along = rows @ directions
        along = along.sort(dim=0).values if ordered else along
        quantiles = [NormalDist().inv_cdf((i - offset) / count) for i in range(1, 7)]
        return (along - torch.tensor(quantiles, dtype=torch.float64)[:, None, None]).square().mean()

    assert math.isclose(shape_of(standard), shape, rel_tol=1e-9)
    for right, wrong in (
        (scale, (1 - z.std(0)).square().mean()),
        (scale, (1 - z.var(0, correction=0)).square().mean()),
        (scale, joined[0]),
        (shape, joined[1]),
        (center, joined[2]),
        (center, z.mean(0).abs().mean()),
        (shape, shape_of(standard, ordered=False)),
        (shape, shape_of(standard, 0.5, 6)),
        (shape, shape_of(z)),
        (shape, shape_of(z / (z.std(0, correction=0) + EPSILON))),
    ):
        assert not math.isclose(right, wrong, rel_tol=1e-3)


def test_gaussian_rows_cost_less_than_others():
    rng = torch.Generator().manual_seed(0)
    z = torch.randn(512, 1, 8, generator=rng)
    directions = losses.random_directions(8, 512, torch.device("cpu"))
    right = losses.visreg(z, directions)
    assert all(term < 0.02 for term in right), right
    assert losses.visreg(z + 1, directions).center > 0.5
    assert losses.visreg(0.3 * z, directions).scale > 0.4
    flat = z * torch.tensor([1.0] * 4 + [0.0] * 4)  # half of the dimensions collapsed
    for wrong in (z.sign(), z[..., :1].expand_as(z), z.exp(), flat):
        assert losses.visreg(wrong, directions).shape > 1.5 * right.shape


def test_the_scale_pulls_collapsed_rows_apart_where_sigreg_does_not():
    """The paper's point: its gradient does not vanish as the spread of rows does."""
    z = torch.randn(64, 1, 8, generator=torch.Generator().manual_seed(0))
    directions = losses.random_directions(8, 64, torch.device("cpu"))
    size = {}
    for spread in (0.1, 1e-4):
        x = (spread * z).requires_grad_()
        losses.visreg(x, directions).scale.backward()
        y = (spread * z[:, 0]).requires_grad_()
        losses.sigreg(y, directions).backward()
        size[spread] = float(x.grad.norm()), float(y.grad.norm())
    assert size[1e-4][0] > 0.9 * size[0.1][0]
    assert size[1e-4][1] < 0.01 * size[0.1][1]


def test_records_and_views_in_another_order():
    z, directions = problem()
    whole = losses.visreg(z, directions)
    for other in (z.flip(0), z.flip(1), -z):
        torch.testing.assert_close(torch.stack(losses.visreg(other, directions)[:1]), torch.stack(whole[:1]))
        torch.testing.assert_close(losses.visreg(other, directions).shape, whole.shape)


@pytest.mark.parametrize("kind", ["none", "one", "two", "equal", "zero", "antipodal", "large"])
def test_degenerate_rows_stay_finite(kind):
    z, directions = problem(4, dtype=torch.float32)
    ones = torch.ones(4, 3, 4)
    z = {
        "none": z[:0],
        "one": z[:1],
        "two": z[:2],
        "equal": ones,
        "zero": 0 * ones,
        "antipodal": ones * torch.tensor([1.0, -1.0, 1.0, -1.0])[:, None, None],
        "large": 1e6 * z,
    }[kind]
    z = z.clone().requires_grad_()
    terms = losses.visreg(z, directions)
    sum(terms).backward()
    assert all(term.isfinite() for term in terms)
    assert z.grad.isfinite().all()
    if kind in ("one", "equal", "zero"):
        assert terms.scale == 1
    if kind == "one":
        assert terms.shape == 0
    if kind == "none":
        assert all(term == 0 for term in terms)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_fp32(dtype):
    z, directions = problem(64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = losses.visreg(z.to(dtype), directions.float())
    assert {term.dtype for term in found} == {torch.float32}
    for term, expected in zip(found, reference(z.to(dtype).double(), directions), strict=True):
        assert math.isclose(term, expected, rel_tol=1e-3)
