import numpy as np
import pytest

from sensorium.modalities.timeseries import scaling as scale
from sensorium.modalities.timeseries.scaling import ESTIMATORS, Robust, Standard


def series(count=20, channels=3):
    rng = np.random.default_rng(0)
    made = [1e4 + rng.standard_normal((channels, n)) * [[1], [5], [0.1]] for n in rng.integers(1, 50, count)]
    for one in made[::3]:
        one[1, ::2] = np.nan
    return made


def learned(how, made):
    learner = ESTIMATORS[how](len(made[0]))
    for one in made:
        learner.add(one)
    return learner.result()


def test_standard_is_mean_and_deviation_of_all_that_is_observed():
    made = series()
    whole = np.concatenate(made, axis=1)
    center, spread = learned("standard", made)
    np.testing.assert_allclose(center, np.nanmean(whole, 1), rtol=1e-12)
    np.testing.assert_allclose(spread, np.nanstd(whole, 1), rtol=1e-9)


def test_robust_is_median_and_quartiles():
    made = series()
    whole = np.concatenate(made, axis=1)
    center, spread = learned("robust", made)
    low, median, high = np.nanquantile(whole, (0.25, 0.5, 0.75), axis=1)
    np.testing.assert_allclose(center, median)
    np.testing.assert_allclose(spread, (high - low) / 1.349)


def test_robust_stays_bounded_and_near(monkeypatch):
    monkeypatch.setattr(scale, "KEPT", 500)
    learner, rng = Robust(1), np.random.default_rng(0)
    for _ in range(200):
        learner.add(5 + 2 * rng.standard_normal((1, 100)))
    assert sum(map(len, learner._kept[0])) <= 500
    center, spread = learner.result()
    assert abs(center[0] - 5) < 0.3
    assert abs(spread[0] - 2) < 0.4


@pytest.mark.parametrize("how", ["standard", "robust"])
@pytest.mark.parametrize("value", [0.0, 1 / 3, 1e6 + 0.1, -1e-7])
def test_a_constant_channel_is_not_blown_up(how, value):
    center, spread = learned(how, [np.full((1, n), value) for n in (7, 3, 1)])
    assert spread[0] == 1
    assert center[0] == pytest.approx(value)


def test_an_unobserved_channel_stays_as_it_is():
    made = np.full((2, 5), np.nan)
    made[0] = 1
    for how in ("standard", "robust"):
        center, spread = learned(how, [made])
        assert (center[1], spread[1]) == (0, 1)


def test_order_does_not_matter():
    made = series()
    np.testing.assert_allclose(learned("standard", made)[1], learned("standard", made[::-1])[1], rtol=1e-9)
    assert isinstance(ESTIMATORS["standard"](1), Standard)
