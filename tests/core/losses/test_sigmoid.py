import math

import pytest
import torch

from sensorium import losses
from tests.core.losses import references

TILE = "sensorium.losses.engine.streamed.CPU_TILE"


def pairs(n=7, d=5, dtype=torch.float64):
    rng = torch.Generator().manual_seed(0)
    return [torch.randn(n, d, generator=rng, dtype=torch.float64).to(dtype) for _ in range(2)]


def scalar(value):
    return torch.tensor(value, dtype=torch.float64)


@pytest.mark.parametrize("tile", [64, 3])
@pytest.mark.parametrize(("scale", "bias"), [(1.0, 0.0), (10.0, -10.0), (30.0, 5.0)])
def test_is_the_papers(scale, bias, tile, monkeypatch):
    monkeypatch.setattr(TILE, tile)
    x, y = pairs()
    found = losses.siglip(x, y, scalar(scale), scalar(bias))
    assert torch.allclose(found, references.siglip(x, y, scalar(scale), scalar(bias)), rtol=1e-12)
    assert torch.allclose(found, losses.siglip(y, x, scale, bias), rtol=1e-12)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(found, losses.siglip(2 * x[order], y[order], scale, bias), rtol=1e-12)


def test_divides_by_records_not_by_pairs():
    x, y = pairs()
    assert not math.isclose(losses.siglip(x, y, 10.0, -10.0) / 7, references.siglip(x, y, scalar(10.0), scalar(-10.0)))
    # At scale 0 every pair costs log 2, and each record has as many pairs as there are records.
    assert math.isclose(losses.siglip(x, y, 0.0, 0.0), 7 * math.log(2), rel_tol=1e-12)


def test_gradients_are_those_of_the_value():
    x, y = (t.requires_grad_() for t in pairs(4, 3))
    knobs = [scalar(v).requires_grad_() for v in (5.0, -2.0)]
    assert torch.autograd.gradcheck(losses.siglip, (x, y, *knobs))


def test_records_of_one_group_are_no_negatives():
    x, y = pairs()
    groups = torch.tensor([0, 1, 0, 2, 3, 4, 5])
    s, b = scalar(5.0), scalar(-2.0)
    lost = sum((1 + (s * references.cosine(x[i], y[j]) + b).exp()).log() for i, j in ((0, 2), (2, 0)))
    assert torch.allclose(losses.siglip(x, y, s, b, groups), losses.siglip(x, y, s, b) - lost / 7, rtol=1e-12)


@pytest.mark.parametrize("temperature", [0.01, 1.0])
@pytest.mark.parametrize("bias", [-100.0, 0.0, 100.0])
def test_everything_stays_finite(temperature, bias):
    for x, y in (pairs(dtype=torch.bfloat16), [torch.zeros(3, 4)] * 2, [torch.ones(1, 4)] * 2, [torch.zeros(0, 4)] * 2):
        a, b = x.clone().requires_grad_(), y.clone().requires_grad_()
        loss = losses.siglip(a, b, 1 / temperature, bias)
        assert loss.dtype == torch.float32
        loss.backward()
        assert loss.isfinite()
        assert a.grad.isfinite().all()
