import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.modalities.audio.batch import LogMels
from sensorium.modalities.audio.views import spectra
from sensorium.testing.equality import same
from tests.modalities.audio.sounds import batch_of, rng, sound

BANDS = 8
CHANGES = {
    "mix": lambda b, r: spectra.mix(b, 0.4, r),
    "resized_crop": lambda b, r: spectra.resized_crop(b, BANDS, (1.0, 1.5), (0.6, 1.5), (0.6, 1.5), r),
    "fader": lambda b, r: spectra.fader(b, 1.0, r),
    "equalize": lambda b, r: spectra.equalize(b, BANDS, 0.5, 6, r),
    "mask_bands": lambda b, r: spectra.mask_bands(b, BANDS, 0.5, r),
    "mask_frames": lambda b, r: spectra.mask_frames(b, 0.5, r),
}


def mels_of(frames, channels=1, seed=0) -> LogMels:
    batch = batch_of(frames, channels * BANDS, seed)
    return LogMels(10 * batch.values, batch.lengths, batch.observed)


@pytest.mark.parametrize("name", CHANGES)
@settings(max_examples=10, deadline=None)
@given(
    frames=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 99),
)
def test_changes_are_sound_and_seeded(name, frames, channels, seed):
    batch = mels_of(frames, channels, seed)
    made = CHANGES[name](batch, rng(seed))
    assert isinstance(made, LogMels)
    sound(made)
    assert same(made, CHANGES[name](batch, rng(seed)))
    assert same(batch, mels_of(frames, channels, seed))
    assert torch.equal(made.lengths, batch.lengths)


@pytest.mark.parametrize("name", CHANGES)
def test_channels_stay_together_and_rows_have_their_own_draws(name):
    one = mels_of([12, 12])
    index = torch.tensor([0, 1] * 15)
    both = LogMels(one.values.repeat(1, 2, 1), one.lengths, one.observed.repeat(1, 2, 1)).select(index)
    made = CHANGES[name](both, rng())
    assert torch.equal(made.values[:, :BANDS], made.values[:, BANDS:])
    assert len({tuple(row.flatten().tolist()) for row in made.values[::2]}) > 1


def test_mix_adds_powers_of_another_sound():
    batch = mels_of([5, 5, 3])
    made = spectra.mix(batch, 0.4, rng(1))
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
            if fits[-1]:  # where the other has ended, the sound stays as it was
                assert torch.equal(made.values[row, :, frames:], batch.values[row, :, frames:])
        assert sum(fits) == 1


def test_a_batch_of_one_is_not_mixed():
    one = mels_of([6])
    torch.testing.assert_close(spectra.mix(one, 0.4, rng()).values, one.values)


def test_a_crop_of_the_whole_changes_nothing():
    batch = mels_of([9, 4, 1])
    made = spectra.resized_crop(batch, BANDS, (1.0, 1.0), (1.0, 1.0), (1.0, 1.0), rng())
    torch.testing.assert_close(made.values, batch.values)
    assert torch.equal(made.observed, batch.observed)


def test_a_crop_is_a_linear_map_of_both_axes():
    """On a plane the values of a crop say where it was cut from: within the canvas, at the scale that was drawn."""
    frames = 40
    batch = mels_of([frames]).select(torch.tensor([0] * 200))
    plane = torch.arange(BANDS)[:, None] * 100.0 + torch.arange(frames)
    made = spectra.resized_crop(
        batch.with_values(plane.expand(200, -1, -1).clone()), BANDS, (1, 1.5), (0.5, 0.8), (0.6, 1.5), rng()
    )
    for values, seen in zip(made.values, made.observed, strict=True):
        rows, columns = seen.any(1), seen.any(0)
        assert torch.equal(seen, rows[:, None] & columns[None])
        assert rows.all()  # the canvas is no higher than the spectrogram
        inside = values[:, columns]
        steps = inside[0].diff()[1:-1]
        assert 0.6 - 1e-3 < steps.median() < 1.5 + 1e-3
        assert steps.std() < 1e-3
        heights = inside.diff(dim=0)[1:-1] / 100
        assert 0.5 - 1e-3 < heights.median() < 0.8 + 1e-3
    assert 0.05 < 1 - made.observed.float().mean() < 0.5


def test_the_fader_is_a_line_and_the_equalizer_a_curve():
    batch = mels_of([10]).select(torch.tensor([0] * 50))
    line = spectra.fader(batch, 1.0, rng()).values - batch.values
    assert line.std(1).max() < 1e-5
    assert line.diff(dim=2).std(2).max() < 1e-5
    assert 0.9 < line.abs().max() <= 1.0 + 1e-5
    curve = spectra.equalize(batch, BANDS, 0.5, 3, rng()).values - batch.values
    assert curve.std(2).max() < 1e-5
    assert abs(curve[:, 0, 0].std() - 0.5) < 0.15


@pytest.mark.parametrize("share", [0.0, 0.25, 0.9])
def test_masks_are_single_stripes_no_wider_than_asked(share):
    batch = mels_of([20, 7]).select(torch.tensor([0, 1] * 100))
    for made, axis in (
        (spectra.mask_bands(batch, BANDS, share, rng()), 1),
        (spectra.mask_frames(batch, share, rng()), 2),
    ):
        away = (batch.observed & ~made.observed).any(3 - axis)
        full = torch.full((200,), BANDS) if axis == 1 else batch.lengths
        widths = away.sum(1)
        assert (widths <= (share * full).floor()).all()
        assert (widths == 0).any()
        assert share == 0 or (widths == (share * full).floor()).any()
        starts = torch.nn.functional.pad(away.int(), (1, 0)).diff(dim=1) == 1
        assert (starts.sum(1) <= 1).all()


def test_mixing_by_hand():
    values = torch.tensor([[[0.0]], [[math.log(3.0)]]])
    batch = LogMels(values, torch.tensor([1, 1]), torch.ones(2, 1, 1, dtype=torch.bool))
    made = spectra.mix(batch, 0.4, rng()).values.exp().flatten()
    weights = (made[0] - 1) / 2, (3 - made[1]) / 2
    assert all(0 <= w <= 0.4 for w in weights)
