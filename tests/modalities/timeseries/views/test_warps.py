import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.timeseries.views.warps import MIN_SPEED, permute, slice_window, time_warp
from tests.modalities.timeseries.series import batch_of, check_batch, rng

LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=5)


def numbered(lengths, channels=3):
    """Series whose values are 1000 x channel + step: what stands where can be read off."""
    return SignalBatch.join(
        [(1000.0 * np.arange(channels)[:, None] + np.arange(length)).astype(np.float32) for length in lengths]
    )


@settings(max_examples=60, deadline=None)
@given(lengths=LENGTHS, channels=st.integers(1, 4), segments=st.integers(1, 9), seed=st.integers(0, 99))
def test_permutation_moves_all_channels_together_and_loses_nothing(lengths, channels, segments, seed):
    batch = numbered(lengths, channels)
    moved = permute(batch, segments, rng(seed))
    check_batch(moved)
    assert moved.lengths.tolist() == lengths
    for row, length in zip(moved.unpad(), lengths, strict=True):
        steps = row - 1000 * np.arange(channels)[:, None]  # each channel holds its own values, at the same steps
        assert (steps == steps[0]).all()
        assert sorted(steps[0]) == list(range(length))
        assert (np.diff(steps[0]) != 1).sum() <= segments - 1  # so many cuts and no more


def test_every_number_of_segments_occurs_and_order_changes():
    steps = permute(numbered([40] * 300, 1), 5, rng()).values[:, 0]
    cuts = (steps.diff(dim=1) != 1).sum(1)
    assert set(cuts.tolist()) == {0, 1, 2, 3, 4}
    first_cut = (steps.diff(dim=1) != 1).float().argmax(1)
    assert len(first_cut.unique()) > 20


def test_missing_values_move_with_their_steps():
    batch = numbered([20])
    batch = batch.masked(torch.arange(20) % 3 == 0)
    moved = permute(batch, 6, rng())
    check_batch(moved)
    assert sorted(moved.values[moved.observed].tolist()) == sorted(batch.values[batch.observed].tolist())


@settings(max_examples=60, deadline=None)
@given(lengths=LENGTHS, sigma=st.floats(0, 3), seed=st.integers(0, 99))
def test_warped_time_is_monotonic_from_end_to_end_for_all_channels(lengths, sigma, seed):
    batch = numbered(lengths)
    warped = time_warp(batch, sigma, 5, rng(seed))
    check_batch(warped)
    for row, length in zip(warped.unpad(), lengths, strict=True):
        clock = row - 1000 * np.arange(3)[:, None]
        assert np.allclose(clock, clock[0], atol=1e-2)
        assert clock[0, 0] == 0
        assert clock[0, -1] == pytest.approx(length - 1, abs=1e-3)
        assert (np.diff(clock[0]) > 0).all()


def test_warps_are_the_integral_of_their_speed():
    batch = numbered([200], 1)
    torch.testing.assert_close(time_warp(batch, 0.0, 5, rng()).values, batch.values)
    speeds = np.diff(time_warp(batch, 0.3, 5, rng(3)).unpad()[0][0])
    assert speeds.std() > 0.05
    assert np.abs(np.diff(speeds)).max() < 0.05
    assert speeds.min() >= MIN_SPEED / 3


@settings(max_examples=60, deadline=None)
@given(lengths=LENGTHS, fraction=st.floats(0, 1), seed=st.integers(0, 99))
def test_window_slices_are_stretched_crops(lengths, fraction, seed):
    cut, place_B3 = slice_window(numbered(lengths), fraction, rng(seed))
    check_batch(cut)
    for row, length, (start, count, whole) in zip(cut.unpad(), lengths, place_B3.tolist(), strict=True):
        clock = row - 1000 * np.arange(3)[:, None]
        assert np.allclose(clock, clock[0], atol=1e-2)
        assert clock[0, 0] == pytest.approx(start, abs=1e-2)
        assert clock[0, -1] == pytest.approx(start + count * (length - 1) / length, abs=1e-2)
        assert whole == length
        assert clock.min() >= -1e-3
        assert clock.max() <= length - 1 + 1e-2
        assert clock[0, -1] - clock[0, 0] >= fraction * (length - 1) - 1e-2
        if length > 2:
            assert np.allclose(np.diff(clock[0]), np.diff(clock[0])[0], atol=1e-2)


def test_windows_start_anywhere():
    starts = slice_window(numbered([100] * 500, 1), 0.5, rng())[0].values[:, 0, 0]
    assert starts.min() < 2
    assert starts.max() > 40


def test_gaps_stay_gaps():
    batch = batch_of([50], missing=0.4)
    for moved in (time_warp(batch, 0.5, 5, rng()), slice_window(batch, 0.3, rng())[0]):
        check_batch(moved)
        assert 0 < moved.observed.sum() < moved.observed.numel()
