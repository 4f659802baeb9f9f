import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays

import sensorium
from sensorium.data.arrays import ArraysSource
from sensorium.errors import PluginError
from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.timeseries.catch22 import catch22, interpolate
from sensorium.modalities.timeseries.modality import TimeSeriesModality
from tests.modalities.timeseries.series import batch_of, modality

installed = pytest.mark.skipif(
    importlib.util.find_spec("pycatch22") is None, reason="the extra 'catch22' is not installed"
)
NAN = np.nan


def metrics(*series):
    """catch22 of series of one channel."""
    found_BCF = catch22(SignalBatch.join([np.atleast_2d(np.asarray(x, np.float32)) for x in series]))
    return found_BCF.reshape(len(series), -1)


@pytest.mark.parametrize(
    ("gaps", "line"),
    [
        ([1, NAN, NAN, 4], [1, 2, 3, 4]),
        ([NAN, 5, NAN, 7, NAN], [5, 5, 6, 7, 7]),
        ([NAN, NAN, 3], [3, 3, 3]),
        ([NAN, NAN], [0, 0]),
        ([2], [2]),
    ],
)
def test_gaps_are_filled_by_linear_interpolation(gaps, line):
    assert interpolate(np.array(gaps)).tolist() == line


@pytest.mark.parametrize("kind", ["catch22", "both"])
def test_a_missing_library_is_refused_with_its_extra(kind, monkeypatch):
    monkeypatch.setattr("sensorium.modalities.timeseries.catch22.find_spec", lambda name: None)
    with pytest.raises(PluginError, match=r"pip install 'sensorium\[catch22\]'"):
        TimeSeriesModality(baseline=kind)
    TimeSeriesModality(baseline="series")  # asks for nothing


@installed
def test_each_channel_equals_the_result_of_the_library():
    from pycatch22 import catch22_all

    draw = np.random.default_rng(0)
    examples = [draw.standard_normal((3, n)).astype(np.float32) for n in (20, 57, 90)]
    found_BCF = catch22(SignalBatch.join(examples))
    for row_CF, example in zip(found_BCF, examples, strict=True):
        for row_F, x_T in zip(row_CF, example, strict=True):
            np.testing.assert_allclose(row_F, catch22_all(x_T.astype(float))["values"], rtol=1e-6)


@installed
def test_characteristics_separate_periodic_series_from_noise_at_any_scale():
    time = np.arange(200)
    wave, noise = np.sin(time / 5), np.random.default_rng(0).standard_normal(200)
    first, louder, other = metrics(wave, 100 + 7 * wave, noise)
    np.testing.assert_allclose(first, louder, rtol=0.05, atol=1e-3)  # catch22 standardizes a series itself
    assert np.abs(first - other).max() > 1


@installed
def test_characteristics_ignore_gaps_padding_and_other_rows():
    gaps, line, long = [1, NAN, 3, 4, NAN, 8], [1, 2, 3, 4, 6, 8], list(range(40))
    together = metrics(gaps, line, long)
    np.testing.assert_array_equal(together[0], together[1])
    np.testing.assert_array_equal(together, np.concatenate([metrics(x) for x in (gaps, line, long)]))


@installed
@pytest.mark.parametrize("channels", [1, 64])
@pytest.mark.parametrize("series", [[5.0] * 30, [5.0], [1.0, 2.0], [NAN] * 9, [NAN, 4.0, NAN]])
def test_constant_short_and_empty_channels_have_finite_characteristics(channels, series):
    found = metrics(np.tile(series, (channels, 1)))
    assert found.shape == (1, 22 * channels)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()


@installed
@settings(max_examples=100, deadline=None)
@given(x_T=arrays(np.float32, st.integers(1, 60), elements=st.floats(-(2.0**100), 2.0**100, width=32) | st.just(NAN)))
def test_characteristics_are_finite_for_any_series(x_T):
    assert np.isfinite(metrics(x_T)).all()


@installed
def test_the_option_selects_the_baseline_features():
    batch = batch_of([30, 12], missing=0.2)
    parts = [modality(baseline=kind).baseline_features(batch) for kind in ("series", "catch22", "both")]
    assert [part.shape for part in parts] == [(2, 3 * 134), (2, 3 * 22), (2, 3 * 156)]
    np.testing.assert_array_equal(parts[2], np.concatenate(parts[:2], axis=1))


@installed
def test_a_recipe_selects_them(tmp_path):
    draw = np.random.default_rng(0)
    rhythm = np.sin(np.arange(60) / draw.uniform(2, 4, (24, 1))) + 0.1 * draw.standard_normal((24, 60))
    series = np.concatenate([rhythm, draw.standard_normal((24, 60))])[:, None]
    source = ArraysSource({"timeseries": series}, labels={"kind": ["rhythm"] * 24 + ["noise"] * 24})
    changes = [
        "modalities.timeseries.modality={name: timeseries, baseline: catch22}",
        "modalities.timeseries.encoder={name: dilated, depth: 1, width: 4, dim: 4}",
        "evaluate.evaluators={knn: {label: kind}}",
        "data.test=0.4",
        "data.batch=8",
        "train={steps: 1}",
    ]
    run = tmp_path / "run"
    sensorium.fit("ts2vec", changes, source=source, run_dir=run)
    rows = {row.name: row for row in sensorium.evaluate([run], ["knn"], source=source)["knn"].rows}
    assert rows["baseline"].metrics["accuracy"].mean > 0.9
