"""Hard and false negatives: the papers' formulas, the ends of their knobs, and what holds between."""

import itertools

import pytest
import torch

from sensorium import losses
from sensorium.losses.engine import Embeddings, log_sum_exp
from sensorium.losses.hardness import Guide
from sensorium.losses.unit_vectors import normalize_rows
from tests.core.losses import references

TILE = "sensorium.losses.engine.streamed.CPU_TILE"


def pairs(n=7, d=5, dtype=torch.float64, seed=0, near=0.0):
    rng = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(n, d, generator=rng, dtype=torch.float64) for _ in range(2))
    return x.to(dtype), (near * x + y).to(dtype)


def scalar(value):
    return torch.tensor(value, dtype=torch.float64)


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (1.0, 0.5), (0.3, 2.0), (0.0, 0.25)])
@pytest.mark.parametrize("scale", [1.0, 14.3])
def test_hn_nce_is_the_papers(alpha, beta, scale):
    x, y = pairs()
    found = losses.hn_nce(x, y, scalar(scale), alpha, beta)
    assert torch.allclose(found, references.hn_nce(x, y, scalar(scale), alpha, beta), rtol=1e-12)
    swapped = losses.hn_nce(y, x, scalar(scale), alpha, beta)
    assert torch.allclose(found, swapped, rtol=1e-12)


@pytest.mark.parametrize("tile", [64, 3])
def test_one_direction_is_half_of_both(tile, monkeypatch):
    monkeypatch.setattr(TILE, tile)
    x, y = pairs(near=0.5)
    extra_negatives = [losses.NegativeRows(*pairs(4, seed=1)[:1])], [losses.NegativeRows(*pairs(6, seed=2)[:1])]
    guides = Guide(*pairs(seed=3), 0.1), Guide(*reversed(pairs(seed=3)), 0.1)
    both = losses.hn_nce(x, y, 5.0, 0.7, 0.5, None, guides[0], 0.02, *extra_negatives)
    one = losses.hn_nce(x, y, 5.0, 0.7, 0.5, None, guides[0], 0.02, extra_negatives[0], both=False)
    other = losses.hn_nce(y, x, 5.0, 0.7, 0.5, None, guides[1], 0.02, extra_negatives[1], both=False)
    assert torch.allclose(both, (one + other) / 2, rtol=1e-12)
    assert not torch.allclose(one, other, rtol=1e-2)
    assert torch.allclose(losses.hn_nce(x, y, 5.0, beta=0.0, both=False), losses.info_nce(x, y, 0.2), rtol=1e-12)


@pytest.mark.parametrize(("beta", "prior"), [(0.0, 0.0), (0.0, 0.1), (1.0, 0.0), (1.0, 0.1), (2.0, 0.02)])
@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_hcl_is_the_papers(beta, prior, temperature):
    z1, z2 = pairs(near=0.3)
    found = losses.hcl(z1, z2, temperature, beta, prior)
    assert torch.allclose(found, references.hcl(z1, z2, temperature, beta, prior), rtol=1e-10)
    assert torch.allclose(found, losses.hcl(z2, z1, temperature, beta, prior), rtol=1e-12)


def test_the_floor_of_hcl_is_reached_and_kept():
    """With a large prior some rows are at the floor and some are not: both branches are the papers'."""
    z1, z2 = pairs(near=1.0)
    found = losses.hcl(z1, z2, 0.5, 0.5, 0.1)
    assert torch.allclose(found, references.hcl(z1, z2, 0.5, 0.5, 0.1), rtol=1e-10)
    free = references.hcl(z1, z2, 0.5, 0.5, 0.0)
    assert not torch.allclose(found, free, rtol=1e-2)


def test_the_ends_of_the_knobs():
    x, y = pairs()
    assert torch.allclose(losses.hn_nce(x, y, scalar(5.0), 1.0, 0.0), losses.clip(x, y, scalar(5.0)), rtol=1e-12)
    assert torch.allclose(losses.hcl(x, y, 0.3, 0.0, 0.0), losses.nt_xent(x, y, 0.3), rtol=1e-12)
    assert torch.allclose(losses.hcl(x, y, 0.3, 0.0, 0.1), losses.debiased(x, y, 0.3, 0.1), rtol=1e-12)
    never = Guide(x, y, margin=-9.0)  # nothing is so alike
    assert torch.allclose(losses.hn_nce(x, y, 5.0, guide=never), losses.hn_nce(x, y, 5.0), rtol=1e-12)
    # Between the ends the knobs do something, and harder negatives cost more.
    costs = [float(losses.hn_nce(x, y, scalar(5.0), 1.0, beta)) for beta in (0.0, 0.5, 2.0)]
    assert costs[0] < 0.99 * costs[1] < 0.98 * costs[2]


@pytest.mark.parametrize("scale", [5.0, 100.0])
def test_weights_of_a_row_sum_to_the_number_of_its_negatives(scale):
    """The gradient of a row's weighted sum at equal negatives is its normalized weights; they sum to n."""
    x, y = (normalize_rows(t) for t in pairs(9))
    ids, beta = torch.arange(9), 0.5
    sums = log_sum_exp(Embeddings(x, ids), Embeddings(y, ids), [9], scale, (1 + beta, beta, 0.0)).rows
    logits = (scale * x @ y.T).fill_diagonal_(float("-inf"))
    weights = (sums[:, 2:] + beta * logits - sums[:, 1:2]).exp()
    assert torch.allclose(weights.sum(1), scalar(8.0).expand(9), rtol=1e-9)
    assert torch.allclose((weights * logits.exp()).sum(1).log(), sums[:, 2] + sums[:, 0] - sums[:, 1], rtol=1e-9)
    assert weights.max() > 2  # and they are not all one


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_groups_and_guides_leave_out_their_negatives(alpha, monkeypatch):
    x, y = pairs()
    gx, gy = pairs(seed=1, near=0.5)
    groups = torch.tensor([0, 1, 2, 0, 3, 4, 4])
    other_group = groups[:, None] != groups
    g = torch.stack([torch.stack([references.cosine(a, b) for b in gy]) for a in gx])
    own = g.diagonal()
    row, column = g > own[:, None] - 0.1, own[:, None] - 0.1 < g.T
    assert (row != column).any()
    negative = torch.stack([other_group & ~row, other_group & ~column])
    assert 0 < (negative.sum(2) == 0).sum() < 14  # one row at least has no negative left
    for tile in (64, 3):
        monkeypatch.setattr(TILE, tile)
        found = losses.hn_nce(x, y, scalar(5.0), alpha, 0.0, groups_B=groups)
        expected = references.hn_nce(x, y, scalar(5.0), alpha, 0.0, torch.stack([other_group, other_group]))
        assert torch.allclose(found, expected, rtol=1e-12)
        if alpha:
            found = losses.hn_nce(x, y, scalar(5.0), alpha, 0.0, groups_B=groups, guide=Guide(gx, gy, 0.1))
            assert torch.allclose(found, references.hn_nce(x, y, scalar(5.0), alpha, 0.0, negative), rtol=1e-12)


@pytest.mark.parametrize("name", ["hcl", "debiased", "hn_nce"])
def test_order_does_not_matter(name):
    x, y = pairs()
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))
    loss = getattr(losses, name)
    assert torch.allclose(loss(x, y, 0.5), loss(3 * x[order], 0.2 * y[order], 0.5), rtol=1e-12)


@pytest.mark.parametrize("name", ["hcl", "debiased", "hn_nce"])
def test_gradients_are_those_of_the_value(name):
    x, y = (t.requires_grad_() for t in pairs(5, 3, near=0.3))
    knob = scalar(0.7).requires_grad_()
    assert torch.autograd.gradcheck(getattr(losses, name), (x, y, knob))


@pytest.mark.parametrize("kind", ["equal", "zero", "one", "near", "opposite"])
@pytest.mark.parametrize("tile", [64, 3])
def test_everything_stays_finite(kind, tile, monkeypatch):
    monkeypatch.setattr(TILE, tile)
    x, y = pairs(8, 4, torch.float32)
    if kind == "equal":
        x = y = torch.ones(8, 4)
    elif kind == "zero":
        x = y = torch.zeros(8, 4)
    elif kind == "one":
        x, y = x[:1], y[:1]
    elif kind == "near":
        y = x + 1e-4 * y
    else:
        y = -x
    for temperature, beta, prior in itertools.product((0.01, 0.07, 1.0), (0.0, 0.5, 2.0), (0.0, 0.1, 0.9)):
        knob = torch.tensor(temperature, requires_grad=True)
        a, b = x.clone().requires_grad_(), y.clone().requires_grad_()
        for loss in (
            losses.hcl(a, b, knob, beta, prior),
            losses.hn_nce(a, b, 1 / knob, prior, beta),
            losses.hn_nce(a, b, 1 / knob, prior, beta, groups_B=torch.zeros(len(a), dtype=torch.int64)),
        ):
            knob.grad = a.grad = b.grad = None
            loss.backward()
            assert loss.isfinite()
            assert all(t.grad.isfinite().all() for t in (a, b, knob))


def test_mutants_are_caught():
    """Mutants: weights that average to one over *all* columns, detached weights, a forgotten sum."""
    x, y = pairs()
    right = references.hn_nce(x, y, scalar(5.0), 1.0, 0.5)
    logits = 5.0 * normalize_rows(x) @ normalize_rows(y).T
    off = ~torch.eye(7, dtype=torch.bool)
    each = []
    for one in (logits, logits.T):
        weights = 7 * (0.5 * one).exp() / (0.5 * one).exp().sum(1, keepdim=True)
        each.append(((one.diagonal().exp() + (weights * one.exp() * off).sum(1)).log() - one.diagonal()).mean())
    assert not torch.allclose(sum(each) / 2, right, rtol=1e-3)

    z = x.clone().requires_grad_()
    losses.hcl(z, y, 0.5, 1.0, 0.0).backward()
    w = x.clone().requires_grad_()
    zs = normalize_rows(torch.cat([w, y])) @ normalize_rows(torch.cat([w, y])).T / 0.5
    pairs_of = torch.arange(14) % 7
    strange = pairs_of[:, None] != pairs_of
    tilt = torch.where(strange, zs, float("-inf")).softmax(1).detach() * 12
    own = zs[torch.arange(14), (torch.arange(14) + 7) % 14]
    ((own.exp() + (tilt * zs.exp() * strange).sum(1)).log() - own).mean().backward()
    assert not torch.allclose(z.grad, w.grad, rtol=1e-2)
