import numpy as np
import pytest

from sensorium.errors import RecipeError
from sensorium.modalities.timeseries.modality import TimeSeriesModality
from sensorium.modalities.timeseries.preprocess import preprocess

TIME = np.arange(60.0)


def test_the_standard_normal_variate_removes_offset_and_scale():
    spectrum = np.sin(TIME / 5)[None] + 2
    spectrum[0, 7] = np.nan
    first, other = (preprocess(x, ("snv",), 11) for x in (spectrum, 250_000_000 + 3 * spectrum))
    np.testing.assert_allclose(first, other, atol=1e-6)
    assert np.nanmean(first) == pytest.approx(0, abs=1e-12)
    assert np.nanstd(first) == pytest.approx(1)
    assert np.isnan(first[0, 7])
    np.testing.assert_array_equal(preprocess(np.full((1, 5), 7.0), ("snv",), 11), np.zeros((1, 5)))


def test_derivatives_are_those_of_a_polynomial():
    parabola = (3 * TIME**2 + 2 * TIME + 5)[None]
    np.testing.assert_allclose(preprocess(parabola, ("derivative",), 7)[0], 6 * TIME + 2, rtol=1e-6)
    np.testing.assert_allclose(preprocess(parabola, ("second-derivative",), 7)[0], 6, rtol=1e-6)
    for steps in (1, 2, 3, 4, 10):
        assert preprocess(parabola[:, :steps], ("derivative",), 11).shape == (1, steps)


def test_gaps_spread_over_the_window():
    line = TIME[None].copy()
    line[0, 30] = np.nan
    missing = np.flatnonzero(np.isnan(preprocess(line, ("derivative",), 5)[0]))
    assert missing.tolist() == [28, 29, 30, 31, 32]


def test_steps_come_before_the_scale_in_their_order():
    rng = np.random.default_rng(0)
    raws = [(np.sin(TIME / 5) * rng.uniform(1, 5) + rng.uniform(0, 100))[None] for _ in range(8)]
    made = TimeSeriesModality(preprocess=("derivative", "snv"), window=9)
    made.fit(raws)
    first, *others = (made.decode(raw) for raw in raws)
    for other in others:
        np.testing.assert_allclose(first, other, atol=1e-4)
    assert made.state()["std"] == pytest.approx([1.0])
    counter = TimeSeriesModality(preprocess=("derivative",), scale="none")
    counter.fit([250_000_000 + 3 * np.arange(40)])
    np.testing.assert_allclose(counter.decode(250_000_000 + 3 * np.arange(40)), 3, rtol=1e-5)
    with pytest.raises(RecipeError, match="odd"):
        TimeSeriesModality(window=10)


@pytest.mark.parametrize("at", [0, 2, 37, 39])
def test_a_missing_value_near_an_end_makes_those_of_its_window_missing(at):
    whole = np.sin(np.arange(40) / 4)[None]
    line = whole.copy()
    line[0, at] = np.nan
    made = preprocess(line, ("derivative",), 5)[0]
    known = ~np.isnan(made)
    assert known.sum() in range(34, 38)
    assert np.allclose(made[known], preprocess(whole, ("derivative",), 5)[0][known])
