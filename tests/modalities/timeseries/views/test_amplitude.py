import pytest
import torch
from scipy.interpolate import CubicSpline

from sensorium.modalities.timeseries.views.amplitude import jitter, magnitude_warp, mask_frequencies, mixup, scaling
from tests.modalities.timeseries.series import batch_of, check_batch, rng


def test_jitter_has_its_standard_deviation():
    batch = batch_of([4000, 3000], missing=0.1)
    noise = jitter(batch, 0.3, rng()).values - batch.values
    check_batch(jitter(batch, 0.3, rng()))
    assert abs(noise[batch.observed].std() - 0.3) < 0.01
    assert abs(noise[batch.observed].mean()) < 0.01


@pytest.mark.parametrize("per", ["series", "step"])
def test_scaling_is_one_factor_for_all_channels(per):
    batch = batch_of([50, 30])
    factors = scaling(batch, 2.0, 0.5, per, rng()).values / batch.values
    for row, length in zip(factors, (50, 30), strict=True):
        row = row[:, :length]
        torch.testing.assert_close(row, row[:1].expand_as(row), rtol=1e-4, atol=1e-5)
        assert (row.std(1).max() < 1e-4) == (per == "series")
    many = scaling(batch_of([1] * 4000), 2.0, 0.5, per, rng()).values / batch_of([1] * 4000).values
    assert abs(many[:, 0].mean() - 2) < 0.05
    assert abs(many[:, 0].std() - 0.5) < 0.05


def test_magnitude_warp_is_smooth_and_shared_by_channels():
    batch = batch_of([80])
    batch = batch.with_values(batch.values.abs() + 1)
    curve = (magnitude_warp(batch, 0.2, 5, rng()).values / batch.values)[0]
    torch.testing.assert_close(curve, curve[:1].expand_as(curve))
    knots = curve[0, [0, -1]].tolist()
    assert knots[0] != pytest.approx(1, abs=1e-3)
    assert curve[0].diff().abs().max() < 0.1
    spline = CubicSpline(range(80), curve[0].double().numpy())
    assert abs(spline(range(80), 2)).max() < 0.05


def test_a_frequency_band_is_masked_and_the_mean_stays():
    batch = batch_of([64] * 40, channels=2)
    masked = mask_frequencies(batch, 0.5, rng())
    check_batch(masked)
    before, after = torch.fft.rfft(batch.values).abs(), torch.fft.rfft(masked.values).abs()
    gone = after < 1e-4
    assert not gone[..., 0].any()
    assert torch.equal(gone[:, 0], gone[:, 1])  # the same band in all channels
    torch.testing.assert_close(after[~gone], before[~gone], rtol=1e-3, atol=1e-3)
    widths = gone[:, 0].sum(1)
    assert widths.max() <= 17
    assert len(widths.unique()) > 5
    for row in gone[:, 0]:
        assert row.int().diff().abs().sum() <= 2  # one band


@pytest.mark.parametrize("length", [1, 2, 3])
def test_short_series_have_few_frequencies(length):
    check_batch(mask_frequencies(batch_of([length] * 3), 1.0, rng()))


def test_mixup_interpolates_between_two_series_of_the_batch():
    batch = batch_of([40] * 4, channels=2)
    mixed = mixup(batch, 0.5, rng())
    check_batch(mixed)
    for row in range(4):
        off = (mixed.values[row] - batch.values[row]).flatten()
        towards = [(batch.values[other] - batch.values[row]).flatten() for other in range(4)]
        weights = [float(off @ t / (t @ t)) if other != row else 0.0 for other, t in enumerate(towards)]
        best = max(range(4), key=lambda other: weights[other])  # one weight for all channels and steps
        torch.testing.assert_close(off, weights[best] * towards[best], rtol=1e-4, atol=1e-5)
        assert 0 < weights[best] <= 0.5


def test_mixup_keeps_values_where_the_other_series_is_missing():
    batch = batch_of([30, 12], missing=0.3)
    mixed = mixup(batch, 1.0, rng())
    check_batch(mixed)
    assert torch.equal(mixed.observed, batch.observed)
    alone = ~batch.observed.flip(0)
    assert torch.equal(mixed.values[alone], batch.values[alone])
    assert not torch.equal(mixed.values, batch.values)
    assert torch.equal(mixup(batch_of([9]), 1.0, rng()).values, batch_of([9]).values)  # nothing to mix with
