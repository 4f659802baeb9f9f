import numpy as np
import pytest
import torch

from sensorium.errors import RecipeError
from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.timeseries.views.spectra import Spectra, shift_wavelengths, tilt_baseline
from tests.modalities.timeseries.series import batch_of, check_batch, modality, rng


def test_a_tilted_baseline_is_a_line_with_its_draws():
    batch = SignalBatch.join([np.zeros((1, 41), np.float32)] * 4000)
    made = tilt_baseline(batch, 0.3, 0.2, rng()).values[:, 0]
    assert made.diff(n=2, dim=1).abs().max() < 1e-5
    assert made[:, 20].std() == pytest.approx(0.3, rel=0.05)
    assert ((made[:, -1] - made[:, 0]) / 2).std() == pytest.approx(0.2, rel=0.05)


def test_wavelengths_are_shifted_by_fractions_of_a_step():
    batch = SignalBatch.join([np.arange(50, dtype=np.float32)[None]] * 500)
    moved = shift_wavelengths(batch, 2.0, rng()).values[:, 0] - torch.arange(50.0)
    inner = moved[:, 3:-3]
    torch.testing.assert_close(inner, inner[:, :1].expand_as(inner), atol=1e-4, rtol=0)
    assert -2 <= inner.min() < -1.9
    assert 1.9 < inner.max() <= 2
    assert (inner[:, 0] % 1 > 0.1).any()


def test_views_keep_gaps_and_padding_and_bands_in_place():
    batch = batch_of([60, 31, 1], missing=0.2)
    for view in Spectra(modality(), views=3)(batch, rng()):
        check_batch(view.batch)
        assert torch.equal(view.batch.lengths, batch.lengths)
    (same,) = Spectra(modality(), 1, 0, 0, 0, 0, 0)(batch, rng())
    assert torch.equal(same.batch.values, batch.values)
    peak = np.exp(-(((np.arange(200) - 90) / 6) ** 2)).astype(np.float32)[None]
    for view in Spectra(modality(1), views=4, noise=0.0)(SignalBatch.join([peak] * 50), rng()):
        assert ((view.batch.values[:, 0, 60:120].argmax(1) + 60 - 90).abs() <= 2).all()


def test_strengths_are_checked():
    with pytest.raises(RecipeError, match="shift"):
        Spectra(modality(), shift=-1.0)
