"""Which records of a batch have a modality: a mask on the host, or None when all of them have it.

The host knows it from decoding, so it stays there: what is picked by it is picked by row numbers, whose count is known
without asking the device, and where all records have it nothing is picked at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

Presence: TypeAlias = np.ndarray | None
"""bool (B,), True for the records that have it; None when all B have."""


def presence(flags: Sequence[bool] | np.ndarray) -> Presence:
    """Return flags of the B records as a presence."""
    mask_B = np.asarray(flags, dtype=bool)
    return None if mask_B.all() else mask_B


def present_in_all(parts: Sequence[Presence]) -> Presence:
    """Return which records have all of several modalities."""
    masks = [mask_B for mask_B in parts if mask_B is not None]
    return np.logical_and.reduce(masks) if masks else None


def present_in_any(parts: Sequence[Presence]) -> Presence:
    """Return which records have at least one of several modalities."""
    masks = [mask_B for mask_B in parts if mask_B is not None]
    return presence(np.logical_or.reduce(masks)) if len(masks) == len(parts) else None


def present_exactly(having: Sequence[Presence], lacking: Sequence[Presence], records: int) -> Presence:
    """Return which of so many records have all of some modalities, and none of others."""
    if any(mask_B is None for mask_B in lacking):
        return presence(np.zeros(records, dtype=bool))
    masks = [mask_B for mask_B in having if mask_B is not None] + [~mask_B for mask_B in lacking if mask_B is not None]
    return presence(np.logical_and.reduce(masks)) if masks else None


def rows_among(chosen: Presence, present: Presence) -> np.ndarray | None:
    """Return which rows of a modality are those of chosen records.

    Args:
        chosen: of the B records.
        present: the records that have the modality, one row each, in order.

    Returns:
        Row numbers, int64 (N,), ascending; None when all rows are.
    """
    if chosen is None:
        return None
    within = chosen if present is None else chosen[present]
    return None if within.all() else np.flatnonzero(within)


def join_presence(parts: Sequence[Presence], sizes: Sequence[int]) -> Presence:
    """Return the presence in joined batches, of so many records each."""
    masks = [np.ones(n, bool) if mask_B is None else mask_B for mask_B, n in zip(parts, sizes, strict=True)]
    return presence(np.concatenate(masks))
