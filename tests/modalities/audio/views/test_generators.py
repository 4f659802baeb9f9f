import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.errors import RecipeError
from sensorium.modalities.audio.batch import LogMels
from sensorium.modalities.audio.views.generators import Spectrogram, Waveform
from sensorium.modalities.audio.views.signals import Permutation, Plain
from sensorium.testing.equality import same
from tests.modalities.audio.sounds import batch_of, modality, rng, sound

OFF = {"crop": None, "mix": 0.0, "canvas": (1.0, 1.0), "frequency": (1.0, 1.0), "time": (1.0, 1.0), "fader": 0.0}
EVERYTHING = {"noise": (0.0, 20.0), "equalizer": 0.5, "bands": 0.3, "frames": 0.3, "crop": 0.02}
MADE = [
    (Plain, {}, 1),
    (Permutation, {}, 1),
    (Waveform, {}, 2),
    (Waveform, {"crop": 0.01, "shift": 0.3, "views": 3}, 3),
    (Spectrogram, {}, 2),
    (Spectrogram, {"views": 3, **EVERYTHING}, 3),
    (Spectrogram, OFF, 2),
]


@pytest.mark.parametrize(("cls", "options", "count"), MADE)
@settings(max_examples=8, deadline=None)
@given(
    samples=st.lists(st.integers(1, 900), min_size=1, max_size=4),
    channels=st.sampled_from([1, 2, 6]),
    seed=st.integers(0, 999),
)
def test_views_are_sound_seeded_and_leave_their_input(cls, options, count, samples, channels, seed):
    batch = batch_of(samples, channels, seed)
    kept = copy.deepcopy(batch)
    generator = cls(modality(channels=channels), **options)
    views = generator(batch, rng(seed))
    assert same(batch, kept)
    assert len(views) == generator.views == count
    assert same(views, generator(batch, rng(seed)))
    for view in views:
        sound(view.batch)
        assert isinstance(view.batch, LogMels) == (cls is Spectrogram)
        assert view.batch.values.shape[1] == channels * (16 if cls is Spectrogram else 1)
        assert (view.target is not None) == (generator.target is not None)


def test_without_strength_nothing_changes():
    made, batch = modality(), batch_of([700, 90])
    assert all(same(view.batch, made.log_mels(batch)) for view in Spectrogram(made, **OFF)(batch, rng()))
    still = {"crop": None, "polarity": 0.0, "gain": 0.0, "noise": None}
    assert all(same(view.batch, batch) for view in Waveform(made, **still)(batch, rng()))


@pytest.mark.parametrize("cls", [Waveform, Spectrogram])
def test_rows_and_views_have_their_own_draws(cls):
    batch = batch_of([700]).select(torch.tensor([0, 0]))
    first, second = (view.batch for view in cls(modality())(batch, rng(2)))
    assert not torch.equal(first.values[0], first.values[1])
    assert not same(first, second)


@pytest.mark.parametrize("cls", [Waveform, Spectrogram])
def test_padding_that_no_row_needs_costs_nothing(cls):
    batch = batch_of([700, 90])
    picked = batch_of([700, 90, 5000]).select(torch.tensor([0, 1]))
    picked.values[:, :, :700] = batch.values
    generator = cls(modality())
    assert same(generator(batch, rng()), generator(picked, rng()))


def test_crops_are_seconds():
    made, batch = modality(), batch_of([4000, 300])
    (wave, _), (mels, _) = (cls(made, crop=0.1)(batch, rng()) for cls in (Waveform, Spectrogram))
    assert wave.batch.lengths.tolist() == [800, 300]
    assert mels.batch.lengths.tolist() == [12, 5]  # frames of 8 ms


def test_segments_are_cut_from_the_waveform():
    batch = batch_of([400]).select(torch.tensor([0] * 50))
    generator = Permutation(modality(), segments=3)
    (view,) = generator(batch, rng())
    assert generator.classes == 6
    assert torch.equal(view.batch.values.sort(2).values, batch.values.sort(2).values)
    assert len(view.target.unique()) == 6


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (Waveform, {"gain": -1.0}),
        (Waveform, {"shift": 1.5}),
        (Waveform, {"noise": (9.0, 1.0)}),
        (Waveform, {"crop": 0.0}),
        (Waveform, {"views": 0}),
        (Spectrogram, {"mix": 1.0}),
        (Spectrogram, {"canvas": (0.9, 1.0)}),
        (Spectrogram, {"frequency": (0.0, 1.0)}),
        (Spectrogram, {"time": (1.0, 0.5)}),
        (Spectrogram, {"fader": -0.1}),
        (Spectrogram, {"crop": -1.0}),
        (Permutation, {"segments": 6}),
    ],
)
def test_impossible_options_are_refused(cls, options):
    with pytest.raises(RecipeError, match=f"'{next(iter(options))}'"):
        cls(modality(), **options)
