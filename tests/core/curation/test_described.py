"""Baseline features as vectors to compare records by."""

import numpy as np

from sensorium.curation.records import described


def cosines(x_MD):
    x_MD = described(x_MD)
    x_MD = x_MD / np.linalg.norm(x_MD, axis=1, keepdims=True)
    return (x_MD @ x_MD.T)[np.triu_indices(len(x_MD), 1)]


def test_bits_that_no_record_has_do_not_make_all_alike():
    bits = np.random.default_rng(0).random((40, 2048)) < 0.015 * np.arange(1, 41)[:, None] / 20
    found = cosines(bits.astype(np.float32))
    assert abs(found.mean()) < 0.1
    assert found.max() < 0.4
    together = cosines(np.concatenate([bits, bits[:1]]).astype(np.float32))
    assert together.max() > 0.999, "a copy is still one"


def test_units_and_levels_do_not_decide():
    x = np.random.default_rng(0).standard_normal((50, 12)).astype(np.float32)
    units = np.where(np.arange(12) % 2, 1.0, 50.0).astype(np.float32)
    assert np.abs(cosines(x * units)).mean() < 0.4
    level = cosines(np.concatenate([x, x[:1] + 3]))
    assert level.max() > 0.999


def test_records_that_are_all_the_same_are_alike():
    assert cosines(np.full((5, 4), 3.0, np.float32)).min() > 0.999
