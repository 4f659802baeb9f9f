"""Partial least squares: finds few components in many correlated features, and never more than the records allow."""

from __future__ import annotations

import numpy as np

from sensorium.evaluation.pls import PLS
from tests.core.evaluation.tables_of_records import table


def spectra(seed: int, prefix: str, count: int = 60):
    """200 wavelengths, three bands of random height; the label is the height of the second."""
    rng = np.random.default_rng(seed)
    bands = np.exp(-0.5 * ((np.arange(200) - np.array([[40], [100], [150]])) / 15) ** 2)
    heights = rng.uniform(size=(count, 3))
    x = heights @ bands + 0.01 * rng.normal(size=(count, 200))
    return table({"a": x}, {"y": heights[:, 1].tolist()}, prefix=prefix)


def test_finds_the_bands():
    evaluator = PLS()
    evaluator.fit(spectra(0, "r"))
    metrics = evaluator.measure(spectra(1, "t"))
    assert metrics["R2"] > 0.98
    components = int(evaluator.notes()[0].split()[0])
    assert 2 <= components <= 6


def test_few_records_have_few_components():
    evaluator = PLS()
    evaluator.fit(spectra(0, "r", count=4))
    assert int(evaluator.notes()[0].split()[0]) <= 3
    assert np.isfinite(evaluator.measure(spectra(1, "t"))["RMSE ↓"])
