import numpy as np
import pytest

from sensorium.modalities.timeseries import scaling as scale
from sensorium.modalities.timeseries.scaling import ESTIMATORS, RobustEstimator, StandardEstimator


def series(count=20, channels=3):
    rng = np.random.default_rng(0)
    made = [1e4 + rng.standard_normal((channels, n)) * [[1], [5], [0.1]] for n in rng.integers(1, 50, count)]
    for one in made[::3]:
        one[1, ::2] = np.nan
    return made


def estimated(scaling, series):
    estimator = ESTIMATORS[scaling](len(series[0]))
    for one in series:
        estimator.update(one)
    return estimator.estimate()


def test_standard_is_mean_and_std_of_all_observed_values():
    made = series()
    whole = np.concatenate(made, axis=1)
    center, std = estimated("standard", made)
    np.testing.assert_allclose(center, np.nanmean(whole, 1), rtol=1e-12)
    np.testing.assert_allclose(std, np.nanstd(whole, 1), rtol=1e-9)


def test_robust_is_median_and_interquartile_range():
    made = series()
    whole = np.concatenate(made, axis=1)
    center, std = estimated("robust", made)
    low, median, high = np.nanquantile(whole, (0.25, 0.5, 0.75), axis=1)
    np.testing.assert_allclose(center, median)
    np.testing.assert_allclose(std, (high - low) / 1.349)


def test_robust_estimates_are_close_in_bounded_memory(monkeypatch):
    monkeypatch.setattr(scale, "MAX_KEPT", 500)
    estimator, rng = RobustEstimator(1), np.random.default_rng(0)
    for _ in range(200):
        estimator.update(5 + 2 * rng.standard_normal((1, 100)))
    assert sum(map(len, estimator._kept[0])) <= 500
    center, std = estimator.estimate()
    assert abs(center[0] - 5) < 0.3
    assert abs(std[0] - 2) < 0.4


@pytest.mark.parametrize("scaling", ["standard", "robust"])
@pytest.mark.parametrize("value", [0.0, 1 / 3, 1e6 + 0.1, -1e-7])
def test_the_scale_of_a_constant_channel_is_one(scaling, value):
    center, std = estimated(scaling, [np.full((1, n), value) for n in (7, 3, 1)])
    assert std[0] == 1
    assert center[0] == pytest.approx(value)


def test_an_unobserved_channel_is_not_scaled():
    made = np.full((2, 5), np.nan)
    made[0] = 1
    for scaling in ("standard", "robust"):
        center, std = estimated(scaling, [made])
        assert (center[1], std[1]) == (0, 1)


def test_order_does_not_matter():
    made = series()
    np.testing.assert_allclose(estimated("standard", made)[1], estimated("standard", made[::-1])[1], rtol=1e-9)
    assert isinstance(ESTIMATORS["standard"](1), StandardEstimator)


def test_a_large_counter_is_no_constant_and_a_constant_is():
    from sensorium.modalities.timeseries.scaling import StandardEstimator

    values_CT = np.stack([1e15 + 3.0 * np.arange(1000), np.full(1000, 1e15 + 0.125), np.full(1000, 0.1)])
    estimator = StandardEstimator(3)
    for part_CT in np.split(values_CT, [10, 317], axis=1):
        estimator.update(part_CT)
    _, std_C = estimator.estimate()
    np.testing.assert_allclose(std_C, [3 * np.std(np.arange(1000)), 1, 1], rtol=1e-3)
