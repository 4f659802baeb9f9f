"""Summaries of facts about many values: numbers, flags and words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

BINS = 16


@dataclass(frozen=True)
class Numbers:
    """The distribution of a number over N values.

    Args:
        least: the smallest.
        median: of all.
        most: the largest.
        counts: number -> how many values have it, where there are no more than a few; empty otherwise.
        histogram: how many values lie in each of 16 bins of equal width between the smallest and the largest.
    """

    least: float
    median: float
    most: float
    counts: dict[float, int]
    histogram: list[int]

    FEW = 4

    @classmethod
    def of(cls, values_N: np.ndarray) -> Numbers:
        """Summarize numbers, float64 (N,)."""
        distinct, counts = np.unique(values_N, return_counts=True)
        few = dict(zip(distinct.tolist(), counts.tolist(), strict=True)) if len(distinct) <= cls.FEW else {}
        histogram = np.histogram(values_N, BINS)[0].tolist()
        return cls(float(distinct[0]), float(np.median(values_N)), float(distinct[-1]), few, histogram)


@dataclass(frozen=True)
class Flags:
    """Of how many of N values something is true."""

    true: int
    count: int


@dataclass(frozen=True)
class Words:
    """How many values have each word, the commonest first."""

    counts: dict[str, int]


Summary = Numbers | Flags | Words


class FactTable:
    """Collects facts about values, chunk by chunk."""

    def __init__(self) -> None:
        self._numbers: dict[str, list[np.ndarray]] = {}
        self._flags: dict[str, list[int]] = {}
        self._words: dict[str, Counter[str]] = {}
        self._order: dict[str, None] = {}

    def add(self, name: str, values: Iterable[Any]) -> None:
        """Add the entries of one fact: all numbers, all bools, or all words."""
        entries = list(values)
        self._order.setdefault(name)
        if isinstance(entries[0], str):
            self._words.setdefault(name, Counter()).update(entries)
        elif isinstance(entries[0], bool):
            counted = self._flags.setdefault(name, [0, 0])
            counted[0] += sum(entries)
            counted[1] += len(entries)
        else:
            self._numbers.setdefault(name, []).append(np.array(entries, np.float64))

    def summaries(self) -> dict[str, Summary]:
        """Return a summary of each fact, in the order in which they came."""
        found: dict[str, Summary] = {}
        for name in self._order:
            if name in self._numbers:
                found[name] = Numbers.of(np.concatenate(self._numbers[name]))
            elif name in self._flags:
                found[name] = Flags(*self._flags[name])
            else:
                found[name] = Words(dict(self._words[name].most_common()))
        return found
