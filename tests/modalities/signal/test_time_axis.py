import numpy as np
import pytest
import torch

from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.signal.time_axis import crop, resample, resize
from tests.modalities.timeseries.series import batch_of, check_batch


def test_crops_are_slices():
    batch = batch_of([9, 5, 3], missing=0.2)
    starts, lengths = torch.tensor([4, 0, 2]), torch.tensor([3, 5, 1])
    made = crop(batch, starts, lengths)
    check_batch(made)
    for whole, piece, start, length in zip(batch.unpad(), made.unpad(), starts, lengths, strict=True):
        np.testing.assert_array_equal(piece, whole[:, start : start + length])


def test_resample_equals_numpy_interp():
    batch = batch_of([9, 5])
    times = torch.rand(2, 12, generator=torch.Generator().manual_seed(0)) * (batch.lengths - 1)[:, None]
    found = resample(batch, times, torch.tensor([12, 12]))
    for row, at, values_CS in zip(batch.unpad(), times.numpy(), found.values.numpy(), strict=True):
        for channel, values in zip(row, values_CS, strict=True):
            np.testing.assert_allclose(values, np.interp(at, np.arange(len(channel)), channel), atol=1e-5)


def test_values_next_to_gaps_are_missing():
    batch = SignalBatch.join([np.array([[1, np.nan, 3, 5]], np.float32)])
    found = resample(batch, torch.tensor([[0, 0.5, 1, 2, 2.5, 3]]), torch.tensor([6]))
    assert found.observed[0, 0].tolist() == [True, False, False, True, True, True]
    assert found.values[0, 0].tolist() == [1, 0, 0, 3, 4, 5]


@pytest.mark.parametrize("length", [1, 2, 5, 40])
def test_resize_keeps_both_ends(length):
    batch = batch_of([length, 8])
    resized = resize(batch, 16)
    assert resized.shape == (2, 3, 16)
    assert torch.allclose(resized[0, :, 0], batch.values[0, :, 0])
    assert torch.allclose(resized[0, :, -1], batch.values[0, :, length - 1], atol=1e-6)


def test_crops_are_as_wide_as_the_host_knows(monkeypatch):
    batch, starts = batch_of([9, 5, 3]), torch.tensor([4, 0, 2])
    lengths = torch.tensor([3, 5, 1])
    there, known = batch.to("meta"), lengths.numpy()
    assert crop(there, starts.to("meta"), lengths.to("meta"), known).values.shape == (3, 3, 5)
    assert crop(there, starts.to("meta"), lengths.to("meta"), known).known_lengths is known
    assert crop(there, starts.to("meta"), lengths.to("meta"), most=7).values.shape == (3, 3, 7)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    wide = crop(batch, starts, lengths)
    assert wide.values.shape == (3, 3, 9)
    monkeypatch.undo()
    for one, other in zip(wide.unpad(), crop(batch, starts, lengths).unpad(), strict=True):
        np.testing.assert_array_equal(one, other)
