"""Samples of records for spaces that are too large for all of them."""

from __future__ import annotations

import numpy as np

from sensorium.evaluation.sampling import limit_in, sample_of, sampled
from tests.core.evaluation.tables_of_records import table

IDS = [f"r{n}" for n in range(50)]


def test_a_smaller_sample_is_part_of_a_larger_one_whatever_the_order():
    small, large = set(sample_of(IDS, 10).tolist()), set(sample_of(IDS, 20).tolist())
    assert len(small) == 10
    assert small < large
    turned = {49 - at for at in sample_of(IDS[::-1], 10).tolist()}
    assert turned == small
    assert sample_of(IDS, None).tolist() == sample_of(IDS, 50).tolist() == list(range(50))


def test_a_sampled_table_knows_of_how_many():
    whole = table({"a": np.arange(100.0).reshape(50, 2)})
    assert sampled(whole, 50) is whole
    once = sampled(whole, 20)
    assert (len(once), once.sampled_of) == (20, 50)
    twice = sampled(once, 10)
    assert (len(twice), twice.sampled_of) == (10, 50)
    assert set(twice.ids) < set(once.ids)
    np.testing.assert_array_equal(twice.features["a"][:, 0] // 2, [int(id[1:]) for id in twice.ids])


def test_what_does_not_fit_into_memory_is_sampled():
    assert limit_in(1000, 10, None) == 100
    assert limit_in(1000, 10, 30) == 30
    assert limit_in(1000, 10_000, 30) == 1
    assert limit_in(1000, 0, 30) == 30
