import numpy as np
import torch

from sensorium.modalities.signal.batch import SignalBatch
from sensorium.testing.equality import same
from tests.modalities.timeseries.series import batch_of, check_batch


def test_join_pads_and_marks_missing_values():
    batch = SignalBatch.join([np.array([[1, np.nan, 3]], np.float32), np.array([[4]], np.float32)])
    check_batch(batch)
    assert batch.values.tolist() == [[[1, 0, 3]], [[4, 0, 0]]]
    assert batch.observed.tolist() == [[[True, False, True]], [[True, False, False]]]
    assert batch.valid.tolist() == [[True, True, True], [True, False, False]]
    assert batch.lengths.tolist() == [3, 1]


def test_unpad_restores_the_examples():
    batch = batch_of([7, 1, 5], missing=0.3)
    again = SignalBatch.join(batch.unpad())
    assert torch.equal(again.values, batch.values)
    assert torch.equal(again.observed, batch.observed)
    assert [row.shape for row in batch.unpad()] == [(3, 7), (3, 1), (3, 5)]


def test_cat_pads_to_the_longest():
    long, short = batch_of([9, 4]), batch_of([3], seed=1)
    for parts in ([long, short], [short, long]):
        joined = SignalBatch.cat(parts)
        check_batch(joined)
        assert joined.values.shape == (3, 3, 9)
        assert joined.lengths.tolist() == [n for part in parts for n in part.lengths.tolist()]
        assert [len(r.T) for r in joined.unpad()] == joined.lengths.tolist()
    assert long.shape_key() == short.shape_key() != batch_of([3], channels=2).shape_key()


def test_masked_and_with_values_do_not_change_the_batch():
    batch = batch_of([6, 4], missing=0.2)
    values = batch.values.clone()
    masked = batch.masked(torch.arange(6) < 3)
    check_batch(masked)
    assert not masked.observed[..., :3].any()
    assert torch.equal(masked.observed[..., 3:], batch.observed[..., 3:])
    other = batch.with_values(batch.values + 1)
    check_batch(other)
    assert torch.equal(other.values[batch.observed], values[batch.observed] + 1)
    assert torch.equal(batch.values, values)


def test_trim_padding_drops_padding_of_all_rows():
    whole = SignalBatch.join([np.ones((2, n), np.float32) for n in (3, 9, 5)])
    assert whole.trim_padding() is whole
    picked = whole.select(torch.tensor([0, 2])).trim_padding()
    assert picked.values.shape == picked.observed.shape == (2, 2, 5)
    assert same(picked, SignalBatch.join([np.ones((2, n), np.float32) for n in (3, 5)]))


def test_the_host_knows_the_lengths_of_a_batch_on_a_device():
    batch = batch_of([9, 4, 6])
    assert batch.known_lengths.tolist() == [9, 4, 6]
    there = batch.to("meta")  # has no values to read
    assert there.known_lengths.tolist() == [9, 4, 6]
    assert SignalBatch.cat([there, batch_of([3]).to("meta")]).known_lengths.tolist() == [9, 4, 6, 3]
    picked = there.select(torch.tensor([2, 1]))
    assert picked.known_lengths.tolist() == [6, 4]
    assert picked.trim_padding().values.shape == (2, 3, 6)
    assert there.select(torch.tensor([True, False, True])).known_lengths.tolist() == [9, 6]
    assert not there.is_full
    assert picked.select(torch.tensor([0])).trim_padding().is_full


def test_rows_that_were_picked_on_the_device_are_padded_as_before():
    there = batch_of([9, 4, 6]).to("meta").select(torch.tensor([1]).to("meta"))
    assert there.known_lengths is None
    assert there.trim_padding().values.shape == (1, 3, 9)
    assert not there.is_full
