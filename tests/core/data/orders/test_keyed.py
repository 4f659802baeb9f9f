import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.stats import chi2, kstest

from sensorium.data.orders.keyed import MOST, KeyedPermutation


@given(st.integers(1, 5000), st.integers(0, 9))
@settings(deadline=None, max_examples=60)
def test_every_number_stands_at_one_place(count, seed):
    numbers = KeyedPermutation(count, seed, "order", 0).at(np.arange(count))
    assert np.array_equal(np.sort(numbers), np.arange(count))


def test_places_may_be_asked_for_in_any_order_and_number():
    order, places = KeyedPermutation(100_003, 1, "order", 2), np.random.default_rng(0).permutation(100_003)
    whole = order.at(np.arange(100_003))
    assert np.array_equal(order.at(places), whole[places])
    assert np.array_equal(np.concatenate([order.at(places[:7]), order.at(places[7:7])]), whole[places[:7]])


@pytest.mark.parametrize("count", [10**9, 2**40 + 1, MOST - 1, MOST])
def test_the_largest_counts_are_permuted_too(count):
    places = np.concatenate([np.arange(1000), count - 1 - np.arange(1000)])
    numbers = KeyedPermutation(count, 0).at(places)
    assert len(set(numbers.tolist())) == 2000
    assert numbers.min() >= 0
    assert numbers.max() < count
    assert kstest(numbers / count, "uniform").pvalue > 1e-3


def test_numbers_are_the_same_on_every_machine():
    assert KeyedPermutation(10**9, 0, "order", 3).at(np.arange(4)).tolist() == [
        350360099,
        539255483,
        130624228,
        732844451,
    ]


def uniform(cells, expected, df):
    """Return the probability of counts at least as uneven, and of counts at least as even."""
    x = float(((cells - expected) ** 2 / expected).sum())
    return chi2.sf(x, df), chi2.cdf(x, df)


COUNT = 70_000
ORDERS = [KeyedPermutation(COUNT, 5, "order", epoch).at(np.arange(COUNT)) for epoch in range(24)]


def test_a_batch_has_records_from_everywhere():
    """Records of the first 700 places, of every epoch, are uniform over 100 stretches of the data."""
    cells = sum(np.bincount(order[:700] * 100 // COUNT, minlength=100) for order in ORDERS)
    assert min(uniform(cells, cells.sum() / 100, 99)) > 1e-3


def test_places_say_nothing_of_records():
    """The joint counts of 20 stretches of places and 20 of records are those of a random permutation."""
    for order in ORDERS[:4]:
        cells = np.histogram2d(np.arange(COUNT), order, bins=20)[0]
        low, high = uniform(cells, COUNT / 400, 19 * 19)  # both margins are fixed
        assert min(low, high) > 1e-3


@pytest.mark.parametrize("lag", [1, 2, 256, 265])
def test_neighbors_are_independent(lag):
    """A record says nothing of the one that comes `lag` places later; 265 is the side of the network."""
    for order in ORDERS[:4]:
        cells = np.histogram2d(order[:-lag], order[lag:], bins=20)[0]
        assert min(uniform(cells, cells.sum() / 400, 19 * 19)) > 1e-3
        assert abs(np.corrcoef(order[:-lag], order[lag:])[0, 1]) < 4 / math.sqrt(COUNT)


def test_epochs_and_seeds_are_independent():
    others = [KeyedPermutation(COUNT, seed, "order", 0).at(np.arange(COUNT)) for seed in range(4)]
    for one, other in zip([*ORDERS, *others], [*ORDERS[1:], *others, ORDERS[0]], strict=True):
        assert min(uniform(np.histogram2d(one, other, bins=20)[0], COUNT / 400, 19 * 19)) > 1e-4
        assert (one == other).sum() < 10  # one place is expected to agree


def test_records_that_lie_side_by_side_are_parted():
    """The distances between the places of neighboring records are those of a random permutation."""
    for order in ORDERS[:4]:
        place = np.argsort(order)
        distance = np.abs(np.diff(place)) / COUNT
        assert kstest(distance, lambda d: 1 - (1 - d) ** 2).pvalue > 1e-3
