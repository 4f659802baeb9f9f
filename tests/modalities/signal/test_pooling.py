import pytest
import torch

from sensorium.modalities.signal.pooling import pool_parts, pool_tokens


@pytest.mark.parametrize("how", ["mean", "max"])
def test_pooling_excludes_padding(how):
    tokens = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0)) - 9
    valid = torch.arange(5) < torch.tensor([[3], [5]])
    found = pool_tokens(tokens, valid, how)
    for row, length in enumerate((3, 5)):
        part = tokens[row, :length]
        torch.testing.assert_close(found[row], part.mean(0) if how == "mean" else part.amax(0))


@pytest.mark.parametrize("how", ["mean", "max", "last", "parts"])
def test_pooling_is_in_fp32_under_autocast(how):
    tokens = (1 + torch.rand(2, 500, 3, generator=torch.Generator().manual_seed(0))).bfloat16()
    valid = torch.arange(500) < torch.tensor([[300], [500]])
    with torch.autocast("cpu", torch.bfloat16):
        found = pool_parts(tokens, valid, 2) if how == "parts" else pool_tokens(tokens, valid, how)
    wide = tokens.double()
    exact = pool_parts(wide, valid, 2) if how == "parts" else pool_tokens(wide, valid, how)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=1e-6)


def test_last_pooling_takes_the_last_valid_step():
    tokens, valid = torch.randn(3, 5, 2), torch.arange(5) < torch.tensor([3, 5, 1])[:, None]
    found = pool_tokens(tokens, valid, "last")
    assert torch.equal(found, torch.stack([tokens[0, 2], tokens[1, 4], tokens[2, 0]]))


def test_parts_depend_on_the_order_of_valid_steps():
    valid = torch.arange(12) < torch.tensor([12, 6, 1, 0])[:, None]
    times = torch.arange(12.0).expand(4, -1)[..., None].masked_fill(~valid[..., None], 1e6)  # padding must not count
    means = pool_parts(times, valid, 3)
    assert (means[:2].diff(dim=1) > 0.2 * valid[:2].sum(1, keepdim=True)).all()
    assert (means[2:] == 0).all()  # one step at time 0, and none
    torch.testing.assert_close(pool_parts(torch.ones(4, 12, 2), valid, 3)[:3], torch.ones(3, 6))
    torch.testing.assert_close(pool_parts(times, valid, 1)[0, 0], times[0].mean(), atol=0.5, rtol=0)
    wide = torch.randn(4, 12, 2, dtype=torch.float64)
    loops = torch.zeros(3, 2, dtype=torch.float64)
    for part in range(3):
        weights = [max(0.0, 1 - 3 * abs((t + 0.5) / 6 - (part + 0.5) / 3)) + 1e-6 for t in range(6)]
        loops[part] = sum(weight * wide[1, t] for t, weight in enumerate(weights)) / sum(weights)
    torch.testing.assert_close(pool_parts(wide, valid, 3)[1], loops.flatten(), rtol=1e-6, atol=1e-6)
