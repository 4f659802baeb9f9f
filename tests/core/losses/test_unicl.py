"""Losses with more positives, or more keys, than one to a row."""

import pytest
import torch

from sensorium import losses
from sensorium.losses.unit_vectors import normalize_rows
from tests.core.losses import references

TILE = "sensorium.losses.engine.streamed.CPU_TILE"
LABELS = torch.tensor([3, 1, 3, 0, 1, 3, 2, 2])


def rows(n=8, d=5, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=rng, dtype=torch.float64)


@pytest.mark.parametrize("tile", [64, 3])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_supervised_contrast_is_the_papers(temperature, tile, monkeypatch):
    monkeypatch.setattr(TILE, tile)
    found = losses.supervised_contrastive(rows(), LABELS, temperature)
    assert torch.allclose(found, references.supervised(rows(), LABELS, temperature), rtol=1e-12)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    again = losses.supervised_contrastive(rows()[order], LABELS[order], temperature)
    assert torch.allclose(found, again, rtol=1e-12)


def test_supervised_contrast_with_a_label_for_each_record_is_nt_xent():
    z1, z2 = rows(), rows(seed=1)
    found = losses.supervised_contrastive(torch.cat([z1, z2]), torch.arange(8).repeat(2), 0.2)
    assert torch.allclose(found, losses.nt_xent(z1, z2, 0.2), rtol=1e-12)


def test_supervised_contrast_gradients_are_those_of_the_value():
    knob = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    z = rows().requires_grad_()
    assert torch.autograd.gradcheck(lambda a, t: losses.supervised_contrastive(a, LABELS, t), (z, knob))


def test_rows_without_a_positive_cost_nothing():
    z = rows().float().requires_grad_()
    loss = losses.supervised_contrastive(z, torch.arange(8), 0.01)
    loss.backward()
    assert loss == 0
    assert (z.grad == 0).all()
    equal = torch.ones(4, 3)
    assert torch.allclose(losses.supervised_contrastive(equal, torch.zeros(4), 0.01), torch.tensor(3.0).log())


def test_info_nce_has_keys_that_are_no_positive_as_negatives():
    anchors, keys = rows(3), rows(8, seed=1)
    positives = torch.tensor([5, 0, 5])
    logits = 7.0 * normalize_rows(anchors) @ normalize_rows(keys).T
    expected = torch.nn.functional.cross_entropy(logits, positives)
    assert torch.allclose(losses.info_nce(anchors, keys, 1 / 7.0, positives), expected, rtol=1e-12)
    fewer = losses.info_nce(anchors, keys[:6], 1 / 7.0, positives)
    assert fewer < 0.98 * expected  # without the keys that are no positive the loss is smaller


def test_a_loss_that_is_nearly_zero_keeps_its_digits():
    """The difference of two numbers near 100 would be nothing but rounding."""
    x = torch.eye(6, dtype=torch.float64)
    y = x + 0.9 * x.roll(1, 0)
    exact = references.clip(x, y, torch.tensor(90.0, dtype=torch.float64))
    found = losses.clip(x.float(), y.float(), 90.0)
    assert 1e-5 < exact < 1e-2
    assert abs(found - exact) < 1e-4 * exact


def many(x, y, scale, groups):
    """Yang et al. 2022, equations 2 and 3, by loops."""
    each = []
    for a, b in ((x, y), (y, x)):
        for i in range(len(a)):
            logits = torch.stack([scale * references.cosine(a[i], b[j]) for j in range(len(b))])
            own = torch.stack([logits[j] for j in range(len(b)) if groups[j] == groups[i]])
            each.append(logits.logsumexp(0) - own.mean())
    return torch.stack(each).mean()


@pytest.mark.parametrize("tile", [64, 3])
def test_many_positives_is_the_papers(tile, monkeypatch):
    monkeypatch.setattr(TILE, tile)
    x, y, scale = rows(), rows(seed=1), torch.tensor(5.0, dtype=torch.float64)
    assert torch.allclose(losses.unicl(x, y, scale, LABELS), many(x, y, scale, LABELS), rtol=1e-12)
    alone = losses.unicl(x, y, scale, torch.arange(8))
    assert torch.allclose(alone, losses.clip(x, y, scale), rtol=1e-12)
    assert not torch.allclose(losses.unicl(x, y, scale, LABELS), alone, rtol=1e-3)
    knob = scale.requires_grad_()
    check = (x.requires_grad_(), y.requires_grad_(), knob)
    assert torch.autograd.gradcheck(lambda a, b, s: losses.unicl(a, b, s, LABELS), check, fast_mode=True)


@pytest.mark.parametrize("x", [torch.ones(4, 3), torch.zeros(4, 3), torch.ones(1, 3)])
def test_many_positives_stays_finite(x):
    x = x.clone().requires_grad_()
    loss = losses.unicl(x, x, 100.0, torch.zeros(len(x), dtype=torch.int64))
    loss.backward()
    assert loss.isfinite()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("tile", [64, 3])
def test_many_positives_of_one_direction_are_half_of_both(tile, monkeypatch):
    monkeypatch.setattr(TILE, tile)
    x, y = rows(), rows(seed=1)
    both = losses.unicl(x, y, 5.0, LABELS)
    one, other = (losses.unicl(*pair, 5.0, LABELS, both=False) for pair in ((x, y), (y, x)))
    assert torch.allclose(both, (one + other) / 2, rtol=1e-12)
    assert not torch.allclose(one, other, rtol=1e-2)
    alone = losses.unicl(x, y, 5.0, torch.arange(8), both=False)
    assert torch.allclose(alone, losses.info_nce(x, y, 0.2), rtol=1e-12)


@pytest.mark.parametrize("tile", [64, 3])
def test_half_precision_is_computed_in_fp32(tile, monkeypatch):
    monkeypatch.setattr(TILE, tile)
    x, y = rows(16, 8), rows(16, 8, seed=1)
    groups = torch.arange(16) % 5
    calls = {
        "many positives": lambda a, b: losses.unicl(a, b, 14.0, groups),
        "supervised": lambda a, b: losses.supervised_contrastive(torch.cat([a, b]), groups.repeat(2), 0.1),
    }
    for name, loss in calls.items():
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = loss(x.bfloat16(), y.bfloat16())
        assert found.dtype == torch.float32, name
        assert torch.allclose(found.double(), loss(x.bfloat16().double(), y.bfloat16().double()), rtol=1e-5), name
