import pytest
import torch
from hypothesis import given, settings, strategies as st

from sensorium.modalities.audio.views import waveform_transforms as transforms
from sensorium.testing.equality import same
from tests.modalities.audio.clips import batch_of, check_batch, rng

TRANSFORMS = {
    "random_crop": lambda b, r: transforms.random_crop(b, 50, r)[0],
    "time_shift": lambda b, r: transforms.time_shift(b, 0.5, r),
    "random_gain": lambda b, r: transforms.random_gain(b, 6.0, r),
    "add_noise": lambda b, r: transforms.add_noise(b, 0.0, 20.0, r),
    "invert_polarity": lambda b, r: transforms.invert_polarity(b, 0.5, r),
}


@pytest.mark.parametrize("name", TRANSFORMS)
@settings(max_examples=10, deadline=None)
@given(
    samples=st.lists(st.integers(1, 120), min_size=1, max_size=4),
    channels=st.sampled_from([1, 2, 9]),
    seed=st.integers(0, 99),
)
def test_transforms_are_valid_and_seeded(name, samples, channels, seed):
    batch = batch_of(samples, channels, seed)
    made = TRANSFORMS[name](batch, rng(seed))
    check_batch(made)
    assert same(made, TRANSFORMS[name](batch, rng(seed)))
    assert same(batch, batch_of(samples, channels, seed))
    assert made.values.shape[:2] == batch.values.shape[:2]


@pytest.mark.parametrize("name", [n for n in TRANSFORMS if n != "add_noise"])
def test_channels_stay_together_and_rows_have_their_own_draws(name):
    one = batch_of([100])
    stereo = one.with_values(one.values).select(torch.tensor([0] * 30))
    stereo.values, stereo.observed = stereo.values.expand(-1, 2, -1), stereo.observed.expand(-1, 2, -1)
    made = TRANSFORMS[name](stereo, rng())
    assert torch.equal(made.values[:, 0], made.values[:, 1])
    assert len({tuple(row.tolist()) for row in made.values[:, 0]}) > 1


def test_noise_of_two_channels_differs():
    batch = batch_of([100])
    batch.values, batch.observed = batch.values.expand(-1, 2, -1), batch.observed.expand(-1, 2, -1)
    made = transforms.add_noise(batch, 0.0, 0.0, rng())
    assert not torch.equal(made.values[:, 0], made.values[:, 1])


@pytest.mark.parametrize("decibels", [-10.0, 0.0, 20.0])
def test_noise_has_the_ratio_of_powers(decibels):
    batch = batch_of([20000, 5000])
    added = transforms.add_noise(batch, decibels, decibels, rng()).values - batch.values
    for row, length in enumerate(batch.lengths.tolist()):
        signal, noise = (x[row, 0, :length].square().mean() for x in (batch.values, added))
        assert abs(10 * torch.log10(signal / noise) - decibels) < 0.3


def test_silence_stays_silent():
    batch = batch_of([50])
    silent = batch.with_values(0 * batch.values)
    assert (transforms.add_noise(silent, 0.0, 10.0, rng()).values == 0).all()


def test_gain_is_within_its_range_both_ways():
    batch = batch_of([20]).select(torch.tensor([0] * 200))
    ratio = (transforms.random_gain(batch, 6.0, rng()).values / batch.values)[:, 0, 0]
    assert 0.5 < ratio.min() < 0.6
    assert 1.8 < ratio.max() < 2.0


def test_crops_lie_everywhere_and_shifts_go_round():
    steps = torch.arange(40.0)
    batch = batch_of([40]).select(torch.tensor([0] * 300))
    batch = batch.with_values(steps.expand(300, 1, 40).clone())
    cropped, place_B3 = transforms.random_crop(batch, 10, rng())
    crops = cropped.values[:, 0]
    torch.testing.assert_close(
        place_B3, torch.stack([crops[:, 0], *torch.tensor([10.0, 40.0]).expand(300, 2).T], dim=1)
    )
    assert set(crops[:, 0].tolist()) == set(range(31))
    assert torch.equal(crops - crops[:, :1], torch.arange(10.0).expand(300, 10))
    shifted = transforms.time_shift(batch, 0.25, rng()).values[:, 0]
    assert set(shifted[:, 0].tolist()) == {*range(11), *range(30, 40)}
    assert torch.equal(shifted.sort(1).values, steps.expand(300, 40))


def test_polarity_inverts_some():
    batch = batch_of([20]).select(torch.tensor([0] * 100))
    signs = (transforms.invert_polarity(batch, 0.5, rng()).values / batch.values)[:, 0, 0]
    assert set(signs.tolist()) == {-1.0, 1.0}
