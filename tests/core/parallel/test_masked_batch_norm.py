import pytest
import torch
from torch import nn

from sensorium.batch_norm import MaskedBatchNorm


def problem(shape, seed=0):
    """Maps with large numbers in their padding, and the padding mask."""
    rng = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([7, 3, 1, 5])
    valid = torch.arange(7) < lengths[:, None]
    x = 2 * torch.randn(4, 3, *shape, 7, generator=rng) + 5
    return torch.where(valid.view(4, *[1] * (x.ndim - 2), 7), x, 1e3), valid


def valid_rows(x, valid):
    """Return the valid steps as rows of channels (N, D)."""
    return torch.cat([row[..., keep].flatten(1).T for row, keep in zip(x, valid, strict=True)])


@pytest.mark.parametrize("shape", [(), (4,)])
def test_equals_batch_norm_of_the_valid_steps(shape):
    torch.manual_seed(0)
    ours, reference = MaskedBatchNorm(3), nn.BatchNorm1d(3)
    for norm in (ours, reference):
        nn.init.constant_(norm.weight, 1.5)
        nn.init.constant_(norm.bias, -0.3)
    for seed in range(3):
        x, valid = problem(shape, seed)
        one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
        found, expected = ours(one, valid), reference(valid_rows(other, valid))
        torch.testing.assert_close(valid_rows(found, valid), expected, rtol=1e-4, atol=1e-5)
        weights = torch.randn(expected.shape)
        (valid_rows(found, valid) * weights).sum().backward()
        (expected * weights).sum().backward()
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-5)
    for name, buffer in reference.named_buffers():
        torch.testing.assert_close(getattr(ours, name), buffer)
    ours.eval()
    reference.eval()
    torch.testing.assert_close(valid_rows(ours(x, valid), valid), reference(valid_rows(x, valid)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_without_scale_and_shift_it_only_standardizes(training):
    x, valid = problem((4,))
    ours, reference = (cls(3, affine=False).train(training) for cls in (MaskedBatchNorm, nn.BatchNorm1d))
    assert not list(ours.parameters())
    found = valid_rows(ours(x, valid), valid)
    torch.testing.assert_close(found, reference(valid_rows(x, valid)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_padding_is_zero(training):
    x, valid = problem((4,))
    found = MaskedBatchNorm(3).train(training)(x, valid)
    assert (found.masked_select(~valid.view(4, 1, 1, 7)) == 0).all()


def test_with_and_without_a_mask_agree_without_padding():
    x, valid = problem((4,))
    x = x.clamp(max=9)
    torch.testing.assert_close(MaskedBatchNorm(3)(x), MaskedBatchNorm(3)(x, valid | True), rtol=1e-4, atol=1e-5)


def test_half_precision_and_a_single_step_are_finite():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = MaskedBatchNorm(3)(torch.randn(1, 3, 1).bfloat16(), torch.ones(1, 1, dtype=torch.bool))
    assert found.dtype == torch.bfloat16
    assert found.isfinite().all()
