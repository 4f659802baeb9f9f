import json

import numpy as np
import pytest

from sensorium import BadSample
from sensorium.errors import DataError, RecipeError
from sensorium.modalities.timeseries.modality import TimeSeriesModality


def recordings(channels=2, count=12, seed=0):
    rng = np.random.default_rng(seed)
    return [3 + 5 * rng.standard_normal((channels, n)) for n in rng.integers(1, 40, count)]


@pytest.mark.parametrize("scale", ["standard", "robust", "none"])
def test_the_scale_is_estimated_from_the_train_part_and_restored(scale):
    train, other = recordings(), 100 * recordings(seed=1)[0]
    modality = TimeSeriesModality(scale=scale)
    assert not modality.is_fitted
    assert modality.state() == {}
    modality.fit(train)
    again = TimeSeriesModality(scale=scale)
    again.load_state(json.loads(json.dumps(modality.state())))
    assert again.channels == 2
    np.testing.assert_array_equal(modality.decode(other), again.decode(other))
    whole = np.concatenate([modality.decode(raw) for raw in train], axis=1)
    if scale == "standard":
        np.testing.assert_allclose(whole.mean(1), 0, atol=1e-5)
        np.testing.assert_allclose(whole.std(1), 1, atol=1e-5)
    if scale == "none":
        np.testing.assert_allclose(modality.decode(other), other, rtol=1e-6)
    assert whole.dtype == np.float32


def test_unreadable_values_do_not_change_the_scale():
    train = recordings()
    clean, mixed = TimeSeriesModality(), TimeSeriesModality()
    clean.fit(train)
    mixed.fit([np.full((2, 4), np.inf), *train, "no such file", np.full((2, 3), np.nan), []])
    assert clean.state() == mixed.state()


def test_an_empty_state_keeps_the_options():
    modality = TimeSeriesModality(channels=3, scale="none")
    modality.load_state({})
    assert modality.is_fitted


@pytest.mark.parametrize("channels", [1, 64])
@pytest.mark.parametrize("length", [1, 30])
def test_few_and_many_channels_and_a_single_step(channels, length):
    rng = np.random.default_rng(0)
    raws = [rng.standard_normal((channels, length)) for _ in range(3)]
    modality = TimeSeriesModality()
    modality.fit(raws)
    batch = modality.collate([modality.decode(raw) for raw in raws])
    assert batch.values.shape == (3, channels, length)
    assert modality.baseline_features(batch).shape == (3, channels * 134)
    assert modality.preview(modality.decode(raws[0])).size == (256, 256)


def test_a_constant_series_is_zero():
    modality = TimeSeriesModality()
    modality.fit([[5, 5, 5], [5, 5]])
    assert modality.decode([5, 5, 5, 5]).tolist() == [[0, 0, 0, 0]]


def test_missing_values_stay_missing():
    modality = TimeSeriesModality()
    modality.fit([[1, 2, np.nan, 3]])
    assert np.isnan(modality.decode([1, np.nan, 2])).tolist() == [[False, True, False]]


def test_long_series_are_truncated():
    modality = TimeSeriesModality(channels=1, scale="none", length=3)
    assert modality.decode([1, 2, 3, 4]).tolist() == [[1, 2, 3]]
    assert modality.decode([1, 2]).shape == (1, 2)
    with pytest.raises(BadSample, match="first 3 steps"):
        modality.decode([np.nan, np.nan, np.nan, 4])


def test_layout():
    modality = TimeSeriesModality(layout="time-first")
    modality.fit([np.zeros((n, 3)) for n in (9, 8, 7)])
    assert modality.channels == 3
    assert modality.decode(np.ones((5, 3))).shape == (3, 5)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (np.zeros((3, 5)), "3 channels, not 2"),
        (np.full((2, 5), np.nan), "every value"),
        (np.full((2, 5), np.inf), "infinite"),
        (np.zeros((2, 0)), "no steps"),
        (np.full((2, 2), 1e300), "too large"),
    ],
)
def test_unusable_series_are_refused(raw, reason):
    with pytest.raises(BadSample, match=reason):
        TimeSeriesModality(channels=2, scale="none").decode(raw)


def test_fitting_to_no_series_or_to_inconsistent_channels_is_refused():
    with pytest.raises(DataError, match="no readable series"):
        TimeSeriesModality().fit([[], "nothing"])
    with pytest.raises(
        DataError, match="no readable series; the first one: the value at step 1 of channel 0 is infinite"
    ):
        TimeSeriesModality().fit([[1, np.inf], []])
    with pytest.raises(DataError, match="time-first"):
        TimeSeriesModality().fit([np.zeros((n, 3)) for n in (9, 8, 7)])
    with pytest.raises(DataError, match="4 channels"):
        TimeSeriesModality(channels=4).fit(recordings())
    modality = TimeSeriesModality()
    modality.fit([*recordings(), np.zeros((5, 3))])  # one that differs is a bad sample, not the end
    assert modality.channels == 2


@pytest.mark.parametrize("options", [{"channels": 0}, {"length": 0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(RecipeError):
        TimeSeriesModality(**options)


def test_baseline_features_ignore_padding_and_gaps():
    modality = TimeSeriesModality(channels=1, scale="none")
    raws = [[1.0, np.nan, 4.0, 2.0], list(range(9)), [7.0]]
    together = modality.baseline_features(modality.collate([modality.decode(raw) for raw in raws]))
    alone = [modality.baseline_features(modality.collate([modality.decode(raw)])) for raw in raws]
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-6)
    mean, deviation, low, high, rough, share = together[0, -6:]
    np.testing.assert_allclose([mean, deviation, low, high], [7 / 3, np.std([1, 4, 2]), 1, 4], rtol=1e-6)
    assert (rough, share) == (2, 0.75)
    assert together.dtype == np.float32


def test_notes_say_what_is_cut_and_what_single_precision_loses():
    raws = [np.stack([np.arange(n) / 7, 250_000_000 + 3.0 * np.arange(n)]) for n in (50, 80)]
    modality = TimeSeriesModality(scale="none", length=60)
    modality.fit(raws)
    cut, centered = modality.notes(raws)
    assert cut == "1 of 2 series are cut at length: 60 steps"
    assert "channel 1 is centered on 250,000,0" in centered
    wide = [np.concatenate([1e9 + np.arange(100.0), [0.0]])[None]]
    modality = TimeSeriesModality()
    modality.fit(wide)
    assert "half of them are lost" in modality.notes(wide)[0]
    modality = TimeSeriesModality()
    modality.fit(raws)
    assert modality.notes([*raws, "nothing"]) == []


def test_the_baseline_of_spectra_is_the_spectra():
    modality = TimeSeriesModality(baseline="values", scale="none")
    raws = [np.linspace(i, i + 1, 1024)[None] for i in range(3)]
    modality.fit(raws)
    batch = modality.collate([modality.decode(raw) for raw in raws])
    np.testing.assert_allclose(modality.baseline_features(batch), np.concatenate(raws), rtol=1e-5)
