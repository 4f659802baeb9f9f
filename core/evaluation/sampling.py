"""Samples of the records, for spaces that are too large to be held for all of them: layers, tokens, predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from sensorium.feature_table import FeatureTable
from sensorium.seeding import uniforms_of

SAMPLED = ("layers", "tokens", "predictions")
"""The spaces of which evaluators receive a sample."""
BUDGET = 2**32
"""Bytes of layers, tokens and predictions that are held at once, over both parts and all models."""


def sample_of(ids: Sequence[str], most: int | None) -> np.ndarray:
    """Return the positions of at most so many of N records, int64, ascending: a smaller sample is part of a larger one.

    Args:
        ids: of the records, by which the sample is drawn.
        most: their largest number; None for all.
    """
    if most is None or len(ids) <= most:
        return np.arange(len(ids))
    uniform_N = uniforms_of("sample", texts=pa.array(ids, pa.large_string()))
    return np.sort(np.argsort(uniform_N, kind="stable")[:most])


def sampled(table: FeatureTable, most: int | None) -> FeatureTable:
    """Return a table with at most so many of its records."""
    if most is None or len(table) <= most:
        return table
    return replace(table.select(sample_of(table.ids, most)), sampled_of=table.sampled_of or len(table))


def limit_in(budget: int, bytes_of_a_record: int, most: int | None) -> int | None:
    """Return of how many records of a part a space can be held: `most`, or fewer, so that it fits into the budget.

    Args:
        budget: bytes.
        bytes_of_a_record: over all models and parts.
        most: the largest number that is asked for; None for all.
    """
    if not bytes_of_a_record:
        return most
    fits = max(budget // bytes_of_a_record, 1)
    return fits if most is None else min(most, fits)
