import dataclasses
import pickle

import numpy as np
import pytest
import torch

from sensorium.modalities.timeseries.channel_batch import ChannelSeries, ChannelSetBatch, channel_id, index_names
from sensorium.testing.equality import same


def series(channels, steps, seed=0):
    values_CT = np.random.default_rng(seed).standard_normal((channels, steps)).astype(np.float32)
    return ChannelSeries(values_CT, index_names(channels), np.full((channels, 2), channels, np.float32))


EXAMPLES = [series(2, 9), series(64, 5, seed=1), series(9, 12, seed=2)]


def test_series_are_padded_along_channels_and_steps():
    batch = ChannelSetBatch.pad(EXAMPLES)
    assert batch.values.shape == (3, 64, 12)
    assert batch.channel_mask.sum(1).tolist() == [2, 64, 9]
    assert batch.host_channels.tolist() == [2, 64, 9]
    assert batch.lengths.tolist() == [9, 5, 12]
    padding_BCT = ~(batch.channel_mask[..., None] & batch.valid[:, None])
    assert not batch.observed[padding_BCT].any()
    assert (batch.values[padding_BCT] == 0).all()
    assert (batch.channel_ids[~batch.channel_mask] == 0).all()
    assert (batch.levels[2, :9] == 9).all()
    for row_CT, example in zip(batch.unpad(), EXAMPLES, strict=True):
        np.testing.assert_array_equal(row_CT, example.values_CT)


def test_ids_are_the_same_for_a_name_in_every_process_and_fit_into_int64():
    assert channel_id("Fp1") == 6365514534537180224
    assert channel_id("Fp1") != channel_id("Fp2")
    assert 0 <= channel_id("") < 2**63


@pytest.mark.parametrize(
    "rows", [torch.tensor([2, 0]), torch.tensor([True, False, True]), torch.zeros(0, dtype=torch.int64)]
)
def test_selected_rows_keep_what_the_host_knows_and_can_be_trimmed(rows):
    batch = ChannelSetBatch.pad(EXAMPLES).select(rows)
    assert batch.host_channels.tolist() == batch.channel_mask.sum(1).tolist()
    trimmed = batch.trim_padding()
    assert trimmed.values.shape == ((2, 9, 12) if len(rows) else (0, 64, 12))
    assert same(trimmed.widen(64).unpad(), batch.unpad())


def test_batches_of_other_channels_and_lengths_are_joined():
    whole = ChannelSetBatch.pad(EXAMPLES)
    halves = [whole.select(torch.tensor([row])).trim_padding() for row in range(3)]
    assert same(ChannelSetBatch.cat(halves), whole)
    unknown = dataclasses.replace(halves[0], host_channels=None)
    assert ChannelSetBatch.cat([unknown, *halves[1:]]).host_channels is None
    assert same(pickle.loads(pickle.dumps(whole)), whole)


def test_channels_that_are_dropped_become_padding():
    batch = ChannelSetBatch.pad(EXAMPLES)
    dropped = torch.zeros(3, 64, dtype=torch.bool)
    dropped[:, 0] = True
    left = batch.without_channels(dropped)
    assert left.channel_mask.sum(1).tolist() == [1, 63, 8]
    assert [len(row_CT) for row_CT in left.unpad()] == [1, 63, 8]
    assert not left.observed[:, 0].any()
    assert batch.channel_mask.sum(1).tolist() == [2, 64, 9]
