import math

import pytest
import torch

from sensorium import losses
from tests.core.losses import references


def pairs(n=7, d=5, dtype=torch.float64, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return [torch.randn(n, d, generator=rng, dtype=dtype) for _ in range(2)]


@pytest.mark.parametrize("scale", [1.0, 14.3, 100.0])
def test_clip_is_the_papers(scale):
    x, y = pairs()
    s = torch.tensor(scale, dtype=torch.float64)
    assert torch.allclose(losses.clip(x, y, s), references.clip(x, y, s), rtol=1e-12)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0])
def test_nt_xent_is_the_papers(temperature):
    z1, z2 = pairs()
    assert torch.allclose(losses.nt_xent(z1, z2, temperature), references.nt_xent(z1, z2, temperature), rtol=1e-12)


def test_gradients_are_those_of_the_value():
    x, y = (t.requires_grad_() for t in pairs(4, 3))
    scale = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(losses.clip, (x, y, scale))
    assert torch.autograd.gradcheck(lambda a, b: losses.nt_xent(a, b, 0.3), (x, y))


def test_mutants_are_caught():
    """Mutants: one direction only, self-similarity kept."""
    x, y = pairs()
    s = torch.tensor(5.0, dtype=torch.float64)
    one_way = torch.nn.functional.cross_entropy(
        s * torch.nn.functional.normalize(x, dim=1) @ torch.nn.functional.normalize(y, dim=1).T, torch.arange(7)
    )
    assert not torch.allclose(one_way, references.clip(x, y, s), rtol=1e-3)
    z = torch.nn.functional.normalize(torch.cat([x, y]), dim=1)
    with_self = torch.nn.functional.cross_entropy(z @ z.T / 0.5, (torch.arange(14) + 7) % 14)
    assert not torch.allclose(with_self, references.nt_xent(x, y, 0.5), rtol=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_near_and_computed_in_fp32(dtype):
    x, y = pairs(64, 32)
    exact = references.clip(x, y, torch.tensor(20.0, dtype=torch.float64))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = losses.clip(x.to(dtype), y.to(dtype), torch.tensor(20.0))
    assert found.dtype == torch.float32
    assert abs(found - exact) < 0.02 * exact


@pytest.mark.parametrize("temperature", [0.01, 0.07, 1.0])
@pytest.mark.parametrize("kind", ["equal", "zero", "one", "spread"])
def test_degenerate_rows_stay_finite(temperature, kind):
    x, y = pairs(8, 4, torch.float32)
    if kind == "equal":
        x = y = torch.ones(8, 4)
    elif kind == "zero":
        x, y = torch.zeros(8, 4), torch.zeros(8, 4)
    elif kind == "one":
        x, y = x[:1], y[:1]
    x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
    for loss in (losses.clip(x, y, torch.tensor(1 / temperature)), losses.nt_xent(x, y, temperature)):
        loss.backward()
        assert math.isfinite(loss.item())
        assert torch.isfinite(x.grad).all()


def test_equal_rows_have_the_loss_of_chance():
    ones = torch.ones(8, 4)
    assert losses.clip(ones, ones, torch.tensor(10.0)).item() == pytest.approx(references.log_chance(8), rel=1e-5)
    assert losses.nt_xent(ones, ones, 0.1).item() == pytest.approx(math.log(15), rel=1e-5)


def test_no_pairs_is_zero_with_zero_gradient():
    x = torch.zeros(0, 4, requires_grad=True)
    scale = torch.tensor(3.0, requires_grad=True)
    losses.clip(x, x, scale).backward()
    assert scale.grad == 0


def test_order_and_length_do_not_matter():
    x, y = pairs()
    order = torch.randperm(7)
    s = torch.tensor(5.0, dtype=torch.float64)
    assert torch.allclose(losses.clip(x, y, s), losses.clip(3 * x[order], 0.5 * y[order], s))
    assert torch.allclose(losses.clip(x, y, s), losses.clip(y, x, s))
