from itertools import permutations as all_permutations
from math import factorial

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from sensorium.data.orders import shuffled
from sensorium.data.orders.keyed import KeyedPermutation
from sensorium.data.orders.shuffled import Shuffled, WholePermutation, permutation
from sensorium.seeding import generator


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_of_few_records_every_order_is_as_likely(count):
    index_of = {order: index for index, order in enumerate(all_permutations(range(count)))}
    draws = 20 * factorial(count)
    orders = (tuple(permutation(count, 0, "order", epoch).at(np.arange(count)).tolist()) for epoch in range(draws))
    cells = np.bincount([index_of[order] for order in orders], minlength=factorial(count))
    x = float(((cells - 20) ** 2 / 20).sum())
    assert 1e-3 < chi2.sf(x, factorial(count) - 1) < 1 - 1e-3


@pytest.mark.parametrize("count", [6, 13, 20])
def test_of_few_records_every_one_is_as_likely_at_every_place(count):
    orders = np.stack([permutation(count, 1, "order", epoch).at(np.arange(count)) for epoch in range(1000)])
    cells = np.stack([np.bincount(column, minlength=count) for column in orders.T])
    x = float(((cells - 1000 / count) ** 2 / (1000 / count)).sum()) * (count - 1) / count  # margins are fixed
    assert 1e-3 < chi2.sf(x, (count - 1) ** 2) < 1 - 1e-3


def test_small_sets_keep_the_order_that_they_always_had():
    before = torch.randperm(1000, generator=generator(3, "order", 2)).tolist()
    assert Shuffled(1000, 3).epoch(2).at(np.arange(1000)).tolist() == before


def test_large_sets_are_permuted_place_by_place_unless_the_run_was_begun_otherwise():
    count = shuffled.WHOLE + 1
    assert isinstance(Shuffled(count, 0).epoch(0), KeyedPermutation)
    assert isinstance(Shuffled(count, 0, whole=True).epoch(0), WholePermutation)
    assert isinstance(Shuffled(shuffled.WHOLE, 0).epoch(0), WholePermutation)
    assert Shuffled(10**12, 0).epoch(7).at(np.arange(10**11, 10**11 + 4)).max() < 10**12
