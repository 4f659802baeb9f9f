"""A permutation of any number of records that is computed where it is asked for, and stored nowhere."""

from __future__ import annotations

from math import isqrt

import numpy as np

from sensorium.seeding import mix_bits, seed_of

ROUNDS = 8
"""Of the Feistel network; five or more are hard to tell from a random permutation (Patarin 2004)."""
MOST = 2**62
"""The most records."""


class KeyedPermutation:
    """A permutation of the numbers below `count`, a function of its names alone.

    An alternating Feistel network over Z_a x Z_b with a b >= count, both about its square root, which walks on from
    what lies outside (Black and Rogaway 2002, section 5). Its round function is the finalizer of SplitMix64. No memory,
    and no time that grows with `count`. Of small counts it reaches only some permutations: draw these whole.

    Args:
        count: how many numbers, 1 to 2^62.
        names: what the permutation is a function of, such as seed and epoch.
    """

    def __init__(self, count: int, *names: object) -> None:
        assert 0 < count <= MOST, "a permutation is of 1 to 2^62 numbers"
        self.count = count
        self._b = isqrt(count - 1) + 1
        self._a = -(-count // self._b)
        self._keys = np.array([seed_of(*names, "round", number) for number in range(ROUNDS)], np.uint64)

    def at(self, places: np.ndarray) -> np.ndarray:
        """Return which numbers stand at places, int64 (M,), each from 0 to below `count`."""
        numbers_M = self._network(places)
        outside = np.flatnonzero(numbers_M >= self.count)
        while len(outside):
            numbers_M[outside] = self._network(numbers_M[outside])
            outside = outside[numbers_M[outside] >= self.count]
        return numbers_M

    def _network(self, numbers_M: np.ndarray) -> np.ndarray:
        """Return the network's permutation of the numbers below a b, int64 (M,)."""
        a, b = np.uint64(self._a), np.uint64(self._b)
        left_M, right_M = np.divmod(numbers_M.astype(np.uint64), b)
        for left_key, right_key in self._keys.reshape(-1, 2):
            left_M = (left_M + mix_bits(right_M + left_key) % a) % a
            right_M = (right_M + mix_bits(left_M + right_key) % b) % b
        return (left_M * b + right_M).astype(np.int64)
