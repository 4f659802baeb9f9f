import numpy as np
import pytest
import torch

from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.signal.pooling import pool_parts, pool_tokens
from sensorium.modalities.signal.time_axis import crop, resample, resize
from tests.modalities.timeseries.series import batch_of, check_batch


def test_crops_are_the_pieces():
    batch = batch_of([9, 5, 3], missing=0.2)
    starts, lengths = torch.tensor([4, 0, 2]), torch.tensor([3, 5, 1])
    made = crop(batch, starts, lengths)
    check_batch(made)
    for whole, piece, start, length in zip(batch.unpad(), made.unpad(), starts, lengths, strict=True):
        np.testing.assert_array_equal(piece, whole[:, start : start + length])


def test_resampled_is_numpys_interpolation():
    batch = batch_of([9, 5])
    places = torch.rand(2, 12, generator=torch.Generator().manual_seed(0)) * (batch.lengths - 1)[:, None]
    read = resample(batch, places, torch.tensor([12, 12]))
    for row, at, found in zip(batch.unpad(), places.numpy(), read.values.numpy(), strict=True):
        for channel, values in zip(row, found, strict=True):
            np.testing.assert_allclose(values, np.interp(at, np.arange(len(channel)), channel), atol=1e-5)


def test_nothing_is_made_up_where_a_value_is_missing():
    batch = SignalBatch.join([np.array([[1, np.nan, 3, 5]], np.float32)])
    read = resample(batch, torch.tensor([[0, 0.5, 1, 2, 2.5, 3]]), torch.tensor([6]))
    assert read.observed[0, 0].tolist() == [True, False, False, True, True, True]
    assert read.values[0, 0].tolist() == [1, 0, 0, 3, 4, 5]


@pytest.mark.parametrize("length", [1, 2, 5, 40])
def test_evenly_keeps_both_ends(length):
    batch = batch_of([length, 8])
    stretched = resize(batch, 16)
    assert stretched.shape == (2, 3, 16)
    assert torch.allclose(stretched[0, :, 0], batch.values[0, :, 0])
    assert torch.allclose(stretched[0, :, -1], batch.values[0, :, length - 1], atol=1e-6)


@pytest.mark.parametrize("how", ["mean", "max"])
def test_pooling_leaves_padding_out(how):
    tokens = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0)) - 9
    steps = torch.arange(5) < torch.tensor([[3], [5]])
    found = pool_tokens(tokens, steps, how)
    for row, length in enumerate((3, 5)):
        part = tokens[row, :length]
        torch.testing.assert_close(found[row], part.mean(0) if how == "mean" else part.amax(0))
    assert pool_tokens(tokens.bfloat16(), steps, how).dtype == torch.bfloat16


def test_the_last_step_is_the_last_real_one():
    tokens, steps = torch.randn(3, 5, 2), torch.arange(5) < torch.tensor([3, 5, 1])[:, None]
    found = pool_tokens(tokens, steps, "last")
    assert torch.equal(found, torch.stack([tokens[0, 2], tokens[1, 4], tokens[2, 0]]))


def test_parts_know_the_order_of_real_steps():
    steps = torch.arange(12) < torch.tensor([12, 6, 1, 0])[:, None]
    places = torch.arange(12.0).expand(4, -1)[..., None].masked_fill(~steps[..., None], 1e6)  # padding must not count
    middles = pool_parts(places, steps, 3)
    assert (middles[:2].diff(dim=1) > 0.2 * steps[:2].sum(1, keepdim=True)).all()
    assert (middles[2:] == 0).all()  # one step at place 0, and none
    torch.testing.assert_close(pool_parts(torch.ones(4, 12, 2), steps, 3)[:3], torch.ones(3, 6))
    torch.testing.assert_close(pool_parts(places, steps, 1)[0, 0], places[0].mean(), atol=0.5, rtol=0)
    wide = torch.randn(4, 12, 2, dtype=torch.float64)
    loops = torch.zeros(3, 2, dtype=torch.float64)
    for part in range(3):
        shares = [max(0.0, 1 - 3 * abs((t + 0.5) / 6 - (part + 0.5) / 3)) + 1e-6 for t in range(6)]
        loops[part] = sum(share * wide[1, t] for t, share in enumerate(shares)) / sum(shares)
    torch.testing.assert_close(pool_parts(wide, steps, 3)[1], loops.flatten(), rtol=1e-6, atol=1e-6)
