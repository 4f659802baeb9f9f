"""Temperature scaling and the expected calibration error."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.finetuning.calibration import (
    COLDEST,
    Calibration,
    calibration_error,
    calibration_remark,
    fit_temperature,
)


def drawn(temperature, count=4000, classes=3):
    """Logits whose softmax at that temperature is the true probability of each class, and classes drawn from it."""
    rng = np.random.default_rng(0)
    logits_MC = 2 * rng.normal(size=(count, classes))
    p_MC = np.exp(logits_MC)
    p_MC /= p_MC.sum(1, keepdims=True)
    y_M = (p_MC.cumsum(1) > rng.random((count, 1))).argmax(1)
    return temperature * logits_MC, y_M


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_that_was_put_in_is_found_and_calibrates(temperature):
    logits_MC, y_M = drawn(temperature)
    found = fit_temperature(logits_MC, y_M)
    assert found == pytest.approx(temperature, rel=0.1)
    assert calibration_error(logits_MC, y_M, found) < 0.03
    if temperature != 1:
        assert calibration_error(logits_MC, y_M) > 0.08


def test_the_error_is_that_of_a_loop_over_bins():
    logits_MC, y_M = drawn(2.5, 300)
    p_MC = np.exp(logits_MC - logits_MC.max(1, keepdims=True))
    p_MC /= p_MC.sum(1, keepdims=True)
    expected = 0.0
    for b in range(15):
        rows = [i for i, p in enumerate(p_MC.max(1)) if b / 15 < p <= (b + 1) / 15]
        if rows:
            accuracy = np.mean([p_MC[i].argmax() == y_M[i] for i in rows])
            expected += len(rows) / 300 * abs(accuracy - p_MC[rows].max(1).mean())
    assert calibration_error(logits_MC, y_M) == pytest.approx(expected)


def test_predictions_that_are_all_right_get_a_bounded_temperature():
    logits_MC = np.eye(3)[[0, 1, 2] * 5]
    assert fit_temperature(logits_MC, np.array([0, 1, 2] * 5)) == pytest.approx(COLDEST, rel=0.01)


def test_the_sentence_has_means_over_seeds():
    said = calibration_remark("fine-tuned", [Calibration(1.0, 0.2, 0.1), Calibration(3.0, 0.4, 0.3)], "on the val part")
    assert said == (
        "fine-tuned: expected calibration error 0.300, and 0.200 with a temperature of 2.00 that was fitted on the "
        "val part."
    )
