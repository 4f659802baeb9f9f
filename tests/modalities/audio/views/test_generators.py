import copy

import pytest
import torch
from hypothesis import given, settings, strategies as st

from sensorium.errors import RecipeError
from sensorium.modalities.audio.batch import LogMelBatch
from sensorium.modalities.audio.views.generators import SpectrogramViews, WaveformViews
from sensorium.modalities.audio.views.signals import PermutationViews, PlainViews
from sensorium.testing.equality import same
from tests.modalities.audio.clips import batch_of, check_batch, modality, rng

OFF = {
    "crop": None,
    "mixup_ratio": 0.0,
    "virtual_crop_scale": (1.0, 1.0),
    "freq_scale": (1.0, 1.0),
    "time_scale": (1.0, 1.0),
    "fader_gain": 0.0,
}
EVERYTHING = {"noise": (0.0, 20.0), "equalizer": 0.5, "freq_mask": 0.3, "time_mask": 0.3, "crop": 0.02}
MADE = [
    (PlainViews, {}, 1),
    (PermutationViews, {}, 1),
    (WaveformViews, {}, 2),
    (WaveformViews, {"crop": 0.01, "shift": 0.3, "views": 3}, 3),
    (SpectrogramViews, {}, 2),
    (SpectrogramViews, {"views": 3, **EVERYTHING}, 3),
    (SpectrogramViews, OFF, 2),
]


@pytest.mark.parametrize(("cls", "options", "count"), MADE)
@settings(max_examples=8, deadline=None)
@given(
    samples=st.lists(st.integers(1, 900), min_size=1, max_size=4),
    channels=st.sampled_from([1, 2, 6]),
    seed=st.integers(0, 999),
)
def test_views_are_valid_seeded_and_do_not_change_their_input(cls, options, count, samples, channels, seed):
    batch = batch_of(samples, channels, seed)
    kept = copy.deepcopy(batch)
    generator = cls(modality(channels=channels), **options)
    views = generator(batch, rng(seed))
    assert same(batch, kept)
    assert len(views) == generator.views == count
    assert same(views, generator(batch, rng(seed)))
    for view in views:
        check_batch(view.batch)
        assert isinstance(view.batch, LogMelBatch) == (cls is SpectrogramViews)
        assert view.batch.values.shape[1] == channels * (16 if cls is SpectrogramViews else 1)
        assert (view.target is not None) == (generator.target is not None)


def test_zero_strength_is_the_identity():
    made, batch = modality(), batch_of([700, 90])
    assert all(same(view.batch, made.log_mels(batch)) for view in SpectrogramViews(made, **OFF)(batch, rng()))
    still = {"crop": None, "polarity": 0.0, "gain": 0.0, "noise": None}
    assert all(same(view.batch, batch) for view in WaveformViews(made, **still)(batch, rng()))


@pytest.mark.parametrize("cls", [WaveformViews, SpectrogramViews])
def test_rows_and_views_have_independent_draws(cls):
    batch = batch_of([700]).select(torch.tensor([0, 0]))
    first, second = (view.batch for view in cls(modality())(batch, rng(2)))
    assert not torch.equal(first.values[0], first.values[1])
    assert not same(first, second)


@pytest.mark.parametrize("cls", [WaveformViews, SpectrogramViews])
def test_trailing_padding_changes_nothing(cls):
    batch = batch_of([700, 90])
    picked = batch_of([700, 90, 5000]).select(torch.tensor([0, 1]))
    picked.values[:, :, :700] = batch.values
    generator = cls(modality())
    assert same(generator(batch, rng()), generator(picked, rng()))


def test_crops_are_seconds():
    made, batch = modality(), batch_of([4000, 300])
    (wave, _), (mels, _) = (cls(made, crop=0.1)(batch, rng()) for cls in (WaveformViews, SpectrogramViews))
    assert wave.batch.lengths.tolist() == [800, 300]
    assert mels.batch.lengths.tolist() == [12, 5]  # frames of 8 ms


def test_segments_are_cut_from_the_waveform():
    batch = batch_of([400]).select(torch.tensor([0] * 50))
    generator = PermutationViews(modality(), segments=3)
    (view,) = generator(batch, rng())
    assert generator.classes == 6
    assert torch.equal(view.batch.values.sort(2).values, batch.values.sort(2).values)
    assert len(view.target.unique()) == 6


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (WaveformViews, {"gain": -1.0}),
        (WaveformViews, {"shift": 1.5}),
        (WaveformViews, {"noise": (9.0, 1.0)}),
        (WaveformViews, {"crop": 0.0}),
        (WaveformViews, {"views": 0}),
        (SpectrogramViews, {"mixup_ratio": 1.0}),
        (SpectrogramViews, {"virtual_crop_scale": (0.9, 1.0)}),
        (SpectrogramViews, {"freq_scale": (0.0, 1.0)}),
        (SpectrogramViews, {"time_scale": (1.0, 0.5)}),
        (SpectrogramViews, {"fader_gain": -0.1}),
        (SpectrogramViews, {"crop": -1.0}),
        (PermutationViews, {"segments": 6}),
    ],
)
def test_invalid_options_are_refused(cls, options):
    with pytest.raises(RecipeError, match=f"'{next(iter(options))}'"):
        cls(modality(), **options)
