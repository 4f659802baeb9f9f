"""Features at one scale."""

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from sensorium.evaluation.ridge import Ridge
from sensorium.evaluation.scaling import Scaler, standardize_by_group

from .tables_of_records import table


def test_features_that_move_are_scaled_as_ever():
    x_ND = np.random.default_rng(0).normal(size=(50, 4)) * [1, 10, 1e-3, 5] + 3
    np.testing.assert_array_equal(Scaler().fit_transform(x_ND), StandardScaler().fit_transform(x_ND))


@pytest.mark.parametrize("noise", [0.0, 1e-10])
def test_a_dead_unit_that_wakes_up_moves_no_answer_far(noise):
    """Negative control: scikit-learn's scaler lets it count a billion deviations."""
    rng = np.random.default_rng(1)
    x_ND = rng.normal(size=(60, 3))
    x_ND[:, 2] = noise * rng.normal(size=60)
    awake_ND = rng.normal(size=(20, 3))
    awake_ND[:, 2] = 0.1
    assert np.abs(Scaler().fit(x_ND).transform(awake_ND)).max() < 10
    if noise:
        assert np.abs(StandardScaler().fit(x_ND).transform(awake_ND)).max() > 1e6
    ridge = Ridge(alphas=(0.01,))
    ridge.fit(table({"a": x_ND}, {"y": x_ND[:, 0].tolist()}))
    metrics = ridge.measure(table({"a": awake_ND}, {"y": awake_ND[:, 0].tolist()}, prefix="t"))
    assert metrics["RMSE ↓"] < 0.1


def test_groups_are_standardized_by_themselves():
    rng = np.random.default_rng(2)
    x_ND, names_N = rng.normal(size=(60, 4)), np.array(["a", "c", "b"] * 20)
    moved_ND = x_ND * np.where(names_N == "b", 7.0, 1.0)[:, None] + np.where(names_N == "a", 5.0, 0.0)[:, None]
    found_ND = standardize_by_group(moved_ND, names_N.tolist())
    np.testing.assert_allclose(found_ND, standardize_by_group(x_ND, names_N.tolist()), atol=1e-9)
    np.testing.assert_allclose(found_ND[::3], StandardScaler().fit_transform(x_ND[::3]), atol=1e-9)
