"""Running normalizers, against plain loops."""

import pytest
import torch

from sensorium.losses import global_contrastive, log_ema, log_normalizers
from sensorium.losses.engine import LOG_ZERO
from tests.core.losses.references import cosine

GROUPS = torch.tensor([0, 1, 2, 0, 3])


def rows(n=5, d=4, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("groups", [None, GROUPS])
def test_gaps_are_means_over_negatives(groups):
    x, y = rows(), rows(seed=1)
    found = log_normalizers(x, y, 3.0, groups)
    ids = torch.arange(5) if groups is None else groups
    for side, (a, b) in enumerate(((x, y), (y, x))):
        for i in range(5):
            own = cosine(a[i], b[i])
            each = [(3.0 * (cosine(a[i], b[j]) - own)).exp() for j in range(5) if ids[j] != ids[i]]
            assert torch.allclose(found[i, side].exp(), torch.stack(each).mean(), rtol=1e-10)


def test_a_running_mean_moves_by_its_rate_and_starts_at_what_comes_first():
    before, now = torch.tensor([2.0, LOG_ZERO]), torch.tensor([4.0, 3.0])
    moved = log_ema(before.log(), now.log(), 0.25)
    assert torch.allclose(moved.exp(), torch.tensor([2.5, 3.0]))
    assert torch.allclose(log_ema(torch.tensor([2.0]), torch.tensor([5.0]), 1.0), torch.tensor([5.0]))


def test_with_a_rate_of_one_the_gradient_is_that_of_the_log_of_the_batch_mean():
    x, y = (t.requires_grad_() for t in (rows(), rows(seed=1)))
    knob = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)

    def plain(x, y, t):
        return (t * (log_normalizers(x, y, 1 / t).sum(1) + 2 * 6.5)).mean()

    def ours(x, y, t):
        gaps = log_normalizers(x, y, 1 / t)
        return global_contrastive(gaps, gaps.detach(), t, 6.5)

    assert torch.allclose(ours(x, y, knob), plain(x, y, knob), rtol=1e-12)
    for a, b in zip(*(torch.autograd.grad(f(x, y, knob), (x, y, knob)) for f in (ours, plain)), strict=True):
        assert torch.allclose(a, b, rtol=1e-9)


def test_the_gradient_is_that_of_the_batch_mean_over_the_running_one():
    x = rows().requires_grad_()
    gaps = log_normalizers(x, rows(seed=1), 3.0)
    running = gaps.detach() + torch.linspace(-1, 1, 10).view(5, 2)
    (found,) = torch.autograd.grad(global_contrastive(gaps, running, torch.tensor(0.5), 0.0), x, retain_graph=True)
    (expected,) = torch.autograd.grad((0.5 * gaps.exp() / running.exp()).sum() / 5, x, retain_graph=True)
    assert torch.allclose(found, expected, rtol=1e-9)
    (batch_alone,) = torch.autograd.grad(0.5 * gaps.sum() / 5, x)
    assert not torch.allclose(found, batch_alone, rtol=1e-2)  # a mutant that forgets the past


@pytest.mark.parametrize("kind", ["one", "equal", "zero"])
def test_degenerate_rows_stay_finite(kind):
    x = {"one": torch.randn(1, 4), "equal": torch.ones(4, 4), "zero": torch.zeros(4, 4)}[kind].requires_grad_()
    for scale in (1.0, 100.0):
        gaps = log_normalizers(x, x, scale)
        loss = global_contrastive(
            gaps, log_ema(gaps.detach() * 0 + LOG_ZERO, gaps.detach(), 0.9), torch.tensor(0.01), 6.5
        )
        (gradient,) = torch.autograd.grad(loss, x)
        assert loss.isfinite()
        assert gradient.isfinite().all()


def test_gaps_have_the_gradient_of_their_value():
    knob = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    given = (rows().requires_grad_(), rows(seed=1).requires_grad_(), knob)
    for groups in (None, GROUPS):
        assert torch.autograd.gradcheck(lambda x, y, s, g=groups: log_normalizers(x, y, s, g), given)


def test_half_precision_is_computed_in_fp32():
    x, y = rows(16, 8).bfloat16(), rows(16, 8, seed=1).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        gaps = log_normalizers(x, y, 14.0)
        loss = global_contrastive(gaps, gaps.detach(), torch.tensor(0.07), 6.5)
    exact = log_normalizers(x.double(), y.double(), 14.0)
    assert gaps.dtype == loss.dtype == torch.float32
    assert torch.allclose(gaps.double(), exact, rtol=1e-4, atol=1e-4)
