"""The checks of scikit-learn, all that apply. Minutes: `pytest -m slow tests/core/sklearn`."""

from __future__ import annotations

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from sensorium.sklearn import SSLClassifier, SSLRegressor, SSLTransformer
from tests.core.sklearn.tiny import TINY

ROUNDING = (
    "encoders are float32, whose last bits depend on how many records are encoded at once; the check asks for 1e-7"
)
EXPECTED = {
    "SSLClassifier": {},
    "SSLRegressor": {"check_methods_subset_invariance": ROUNDING},
    "SSLTransformer": {},
}
"""Estimator -> check that fails -> why."""
WIDE = ("modalities.timeseries.encoder={name: dilated, width: 16, dim: 320, depth: 2}",)
"""Of the estimators that are measured on unordered columns after two steps: enough features to be linear in them."""


@pytest.mark.slow
@parametrize_with_checks(
    [
        SSLTransformer(overrides=TINY, random_state=0, device="cpu"),
        SSLClassifier(overrides=TINY + WIDE, random_state=0, device="cpu"),
        SSLRegressor(overrides=TINY + WIDE, random_state=0, device="cpu"),
    ],
    expected_failed_checks=lambda estimator: EXPECTED[type(estimator).__name__],
)
def test_check_of_scikit_learn(estimator, check):
    check(estimator)
