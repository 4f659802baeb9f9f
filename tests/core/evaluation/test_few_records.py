"""Intervals of metrics of few records."""

import numpy as np
import pytest

from sensorium.evaluation.few_records import bootstrap_interval, class_remarks, wilson_interval


def test_the_interval_of_an_accuracy_is_that_of_the_literature():
    assert wilson_interval(0.0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson_interval(0.5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson_interval(1.0, 3) == pytest.approx((0.4385, 1.0), abs=1e-4)


def test_an_accuracy_of_none_or_all_of_few_records_is_not_taken_for_certain():
    remarks = class_remarks({"a": 1, "b": 2}, "accuracy", lambda rows_N: 0.0, 3)
    assert remarks == [
        "Measured records: a 1, b 2.",
        "Few: 1 record of 'a'. The 95 % interval of the last row's accuracy is 0.000 to 0.561: differences of that "
        "size are noise.",
    ]


def test_the_bootstrap_interval_of_a_mean_is_near_that_of_the_normal_law():
    x_N = np.random.default_rng(0).normal(3.0, 1.0, 400)
    low, high = bootstrap_interval(lambda rows_N: float(x_N[rows_N].mean()), 400, 2000)
    assert (low, high) == pytest.approx((x_N.mean() - 0.098, x_N.mean() + 0.098), abs=0.012)
    assert bootstrap_interval(lambda rows_N: None, 5) is None
