import pytest
import torch
from torch import nn

from sensorium.modalities.signal.masked_batch_norm import MaskedBatchNorm


def problem(shape, seed=0):
    """Maps whose padding holds large numbers that nobody may read."""
    rng = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([7, 3, 1, 5])
    steps = torch.arange(7) < lengths[:, None]
    x = 2 * torch.randn(4, 3, *shape, 7, generator=rng) + 5
    return torch.where(steps.view(4, *[1] * (x.ndim - 2), 7), x, 1e3), steps


def real(x, steps):
    """Return the real steps as rows of channels (N, D)."""
    return torch.cat([row[..., keep].flatten(1).T for row, keep in zip(x, steps, strict=True)])


@pytest.mark.parametrize("shape", [(), (4,)])
def test_is_batch_norm_of_the_real_steps(shape):
    torch.manual_seed(0)
    ours, theirs = MaskedBatchNorm(3), nn.BatchNorm1d(3)
    for norm in (ours, theirs):
        nn.init.constant_(norm.weight, 1.5)
        nn.init.constant_(norm.bias, -0.3)
    for seed in range(3):
        x, steps = problem(shape, seed)
        one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
        found, wanted = ours(one, steps), theirs(real(other, steps))
        torch.testing.assert_close(real(found, steps), wanted, rtol=1e-4, atol=1e-5)
        weights = torch.randn(wanted.shape)
        (real(found, steps) * weights).sum().backward()
        (wanted * weights).sum().backward()
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-5)
    for name, buffer in theirs.named_buffers():
        torch.testing.assert_close(getattr(ours, name), buffer)
    ours.eval()
    theirs.eval()
    torch.testing.assert_close(real(ours(x, steps), steps), theirs(real(x, steps)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_padding_comes_out_as_zero(training):
    x, steps = problem((4,))
    found = MaskedBatchNorm(3).train(training)(x, steps)
    assert (found.masked_select(~steps.view(4, 1, 1, 7)) == 0).all()


def test_without_padding_both_ways_agree():
    x, steps = problem((4,))
    x = x.clamp(max=9)
    torch.testing.assert_close(MaskedBatchNorm(3)(x), MaskedBatchNorm(3)(x, steps | True), rtol=1e-4, atol=1e-5)


def test_half_precision_and_a_single_step_stay_finite():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = MaskedBatchNorm(3)(torch.randn(1, 3, 1).bfloat16(), torch.ones(1, 1, dtype=torch.bool))
    assert found.dtype == torch.bfloat16
    assert found.isfinite().all()
