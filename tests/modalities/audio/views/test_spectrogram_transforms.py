import math

import pytest
import torch
from hypothesis import given, settings, strategies as st

from sensorium.modalities.audio.batch import LogMelBatch
from sensorium.modalities.audio.views import spectrogram_transforms as transforms
from sensorium.testing.equality import same
from tests.modalities.audio.clips import batch_of, check_batch, rng

BANDS = 8
TRANSFORMS = {
    "mixup": lambda b, r: transforms.mixup(b, 0.4, r),
    "random_resize_crop": lambda b, r: transforms.random_resize_crop(b, BANDS, (1.0, 1.5), (0.6, 1.5), (0.6, 1.5), r)[
        0
    ],
    "random_linear_fader": lambda b, r: transforms.random_linear_fader(b, 1.0, r),
    "random_equalizer": lambda b, r: transforms.random_equalizer(b, BANDS, 0.5, 6, r),
    "frequency_mask": lambda b, r: transforms.frequency_mask(b, BANDS, 0.5, r),
    "time_mask": lambda b, r: transforms.time_mask(b, 0.5, r),
}


def mels_of(frames, channels=1, seed=0) -> LogMelBatch:
    batch = batch_of(frames, channels * BANDS, seed)
    return LogMelBatch(10 * batch.values, batch.lengths, batch.observed)


@pytest.mark.parametrize("name", TRANSFORMS)
@settings(max_examples=10, deadline=None)
@given(
    frames=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 99),
)
def test_transforms_are_valid_and_seeded(name, frames, channels, seed):
    batch = mels_of(frames, channels, seed)
    made = TRANSFORMS[name](batch, rng(seed))
    assert isinstance(made, LogMelBatch)
    check_batch(made)
    assert same(made, TRANSFORMS[name](batch, rng(seed)))
    assert same(batch, mels_of(frames, channels, seed))
    assert torch.equal(made.lengths, batch.lengths)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_channels_stay_together_and_rows_have_their_own_draws(name):
    one = mels_of([12, 12])
    index = torch.tensor([0, 1] * 15)
    both = LogMelBatch(one.values.repeat(1, 2, 1), one.lengths, one.observed.repeat(1, 2, 1)).select(index)
    made = TRANSFORMS[name](both, rng())
    assert torch.equal(made.values[:, :BANDS], made.values[:, BANDS:])
    assert len({tuple(row.flatten().tolist()) for row in made.values[::2]}) > 1


def test_mixup_adds_power_of_another_clip():
    batch = mels_of([5, 5, 3])
    made = transforms.mixup(batch, 0.4, rng(1))
    powers = batch.values.exp()
    for row in range(3):
        fits = []
        for other in {0, 1, 2} - {row}:
            frames = int(torch.minimum(batch.lengths[row], batch.lengths[other]))
            mixed, own, its = (
                x[row if i < 2 else other, :, :frames] for i, x in enumerate((made.values.exp(), powers, powers))
            )
            weights = ((mixed - own) / (its - own)).flatten()
            fits.append((weights.std() < 1e-3) & (weights.mean() > 0) & (weights.mean() < 0.4))
            if fits[-1]:  # beyond the end of the other clip nothing changes
                assert torch.equal(made.values[row, :, frames:], batch.values[row, :, frames:])
        assert sum(fits) == 1


def test_a_batch_of_one_has_no_mixup():
    one = mels_of([6])
    torch.testing.assert_close(transforms.mixup(one, 0.4, rng()).values, one.values)


def test_a_crop_of_the_whole_changes_nothing():
    batch = mels_of([9, 4, 1])
    made, bands_B2, times_B2 = transforms.random_resize_crop(batch, BANDS, (1.0, 1.0), (1.0, 1.0), (1.0, 1.0), rng())
    assert bands_B2.tolist() == [[0, BANDS]] * 3
    assert times_B2.tolist() == [[0, 9], [0, 4], [0, 1]]
    torch.testing.assert_close(made.values, batch.values)
    assert torch.equal(made.observed, batch.observed)


def test_a_crop_is_a_linear_map_of_both_axes():
    """On a plane the values of a crop show its position and scale: within the virtual boundary, as drawn."""
    frames = 40
    batch = mels_of([frames]).select(torch.tensor([0] * 200))
    plane = torch.arange(BANDS)[:, None] * 100.0 + torch.arange(frames)
    made, bands_B2, times_B2 = transforms.random_resize_crop(
        batch.with_values(plane.expand(200, -1, -1).clone()), BANDS, (1, 1.5), (0.5, 0.8), (0.6, 1.5), rng()
    )
    for values, seen, bands, times in zip(made.values, made.observed, bands_B2, times_B2, strict=True):
        rows, columns = seen.any(1), seen.any(0)
        assert torch.equal(seen, rows[:, None] & columns[None])
        assert rows.all()  # the boundary is no higher than the spectrogram
        inside = values[:, columns]
        steps = inside[0].diff()[1:-1]
        assert 0.6 - 1e-3 < steps.median() < 1.5 + 1e-3
        assert steps.std() < 1e-3
        heights = inside.diff(dim=0)[1:-1] / 100
        assert 0.5 - 1e-3 < heights.median() < 0.8 + 1e-3
        torch.testing.assert_close(
            torch.stack([bands[1] / BANDS, times[1] / frames]),
            torch.stack([heights.median(), steps.median()]),
            atol=1e-3,
            rtol=0,
        )
        middle = torch.nonzero(columns)[len(columns.nonzero()) // 2, 0]
        position = times[0] + (middle + 0.5) * times[1] / frames - 0.5
        row = bands[0] + (BANDS // 2 + 0.5) * bands[1] / BANDS - 0.5
        torch.testing.assert_close(values[BANDS // 2, middle], 100 * row + position, atol=0.05, rtol=1e-3)
    assert 0.05 < 1 - made.observed.float().mean() < 0.5


def test_the_fader_is_a_line_and_the_equalizer_a_curve():
    batch = mels_of([10]).select(torch.tensor([0] * 50))
    line = transforms.random_linear_fader(batch, 1.0, rng()).values - batch.values
    assert line.std(1).max() < 1e-5
    assert line.diff(dim=2).std(2).max() < 1e-5
    assert 0.9 < line.abs().max() <= 1.0 + 1e-5
    curve = transforms.random_equalizer(batch, BANDS, 0.5, 3, rng()).values - batch.values
    assert curve.std(2).max() < 1e-5
    assert abs(curve[:, 0, 0].std() - 0.5) < 0.15


@pytest.mark.parametrize("ratio", [0.0, 0.25, 0.9])
def test_masks_are_single_spans_no_longer_than_the_ratio(ratio):
    batch = mels_of([20, 7]).select(torch.tensor([0, 1] * 100))
    for made, axis in (
        (transforms.frequency_mask(batch, BANDS, ratio, rng()), 1),
        (transforms.time_mask(batch, ratio, rng()), 2),
    ):
        away = (batch.observed & ~made.observed).any(3 - axis)
        full = torch.full((200,), BANDS) if axis == 1 else batch.lengths
        widths = away.sum(1)
        assert (widths <= (ratio * full).floor()).all()
        assert (widths == 0).any()
        assert ratio == 0 or (widths == (ratio * full).floor()).any()
        starts = torch.nn.functional.pad(away.int(), (1, 0)).diff(dim=1) == 1
        assert (starts.sum(1) <= 1).all()


def test_mixup_by_hand():
    values = torch.tensor([[[0.0]], [[math.log(3.0)]]])
    batch = LogMelBatch(values, torch.tensor([1, 1]), torch.ones(2, 1, 1, dtype=torch.bool))
    made = transforms.mixup(batch, 0.4, rng()).values.exp().flatten()
    weights = (made[0] - 1) / 2, (3 - made[1]) / 2
    assert all(0 <= w <= 0.4 for w in weights)
