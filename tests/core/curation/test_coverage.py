"""Samples that cover all records: rare clusters are in them, as often as asked."""

import numpy as np
import pytest

from sensorium.curation.coverage import METHODS, CoverageOptions, cover, shares
from sensorium.errors import SensoriumError
from tests.core.curation.planted import blobs, records


def rare():
    """300 records of one cluster, and ten of each of three others."""
    x, of = blobs(1200)
    kept = np.concatenate([np.flatnonzero(of == 0), *(np.flatnonzero(of == k)[:10] for k in (1, 2, 3))])
    return x[kept], of[kept]


@pytest.mark.parametrize("method", METHODS)
def test_rare_clusters_are_covered_better_than_by_a_random_sample(method):
    x, of = rare()
    found = cover(records(x), CoverageOptions(24, method))
    assert len(set(found.chosen_n.tolist())) == 24
    assert np.bincount(of[found.chosen_n], minlength=4).min() >= 1
    assert (of[found.chosen_n] != 0).sum() > 24 * 30 / 330, "more than their share"
    assert found.distance_M.max() < found.random_M.max()
    assert (found.distance_M[found.chosen_n] == 0).all()
    assert (cover(records(x), CoverageOptions(24, method)).chosen_n == found.chosen_n).all()


def test_balanced_sampling_gives_clusters_equal_shares():
    x, of = rare()
    counts = np.bincount(of[cover(records(x), CoverageOptions(24, "balanced")).chosen_n], minlength=4)
    assert counts[1:].sum() >= 9, counts


def test_k_centre_is_within_twice_the_best_radius():
    """Four tight clusters: the best radius of four centres is that of a cluster."""
    x, of = blobs(spread=0.05)
    found = cover(records(x), CoverageOptions(4))
    assert sorted(of[found.chosen_n].tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("count", "sizes", "expected"),
    [(10, [5, 5], [5, 5]), (10, [2, 20], [2, 8]), (7, [9, 1, 9], [3, 1, 3]), (0, [3], [0])],
)
def test_shares_are_as_equal_as_sizes_allow(count, sizes, expected):
    assert shares(count, np.array(sizes)).tolist() == expected


def test_all_records_may_be_chosen_and_no_more():
    x, _ = blobs(12)
    for method in METHODS:
        assert sorted(cover(records(x), CoverageOptions(12, method)).chosen_n.tolist()) == list(range(12))
    with pytest.raises(SensoriumError, match="ask for fewer"):
        cover(records(x), CoverageOptions(13))
