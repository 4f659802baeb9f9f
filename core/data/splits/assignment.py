"""The split of a run: which part each record belongs to, as a split says and with what it owes checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sensorium.contracts import Source, Split
from sensorium.data.selected import whole_of
from sensorium.data.splits.parts import PARTS, TRAIN, Groups
from sensorium.data.splits.random_split import RandomSplit
from sensorium.errors import DataError, RecipeError


def assign_parts(
    source: Source, fractions: Mapping[str, float], seed: int, split: Split | None = None
) -> dict[str, np.ndarray]:
    """Assign every record of a source to a part; selected records keep that which they have among all.

    Args:
        source: the records.
        fractions: the fractions of "val" and "test", together below 1.
        seed: of the split.
        split: decides; None for the random one.

    Returns:
        "train", "val" and "test" -> int64 positions in the source, ascending; train is never empty.

    Raises:
        RecipeError: when the fractions are negative, or leave nothing to train.
        DataError: when two records have one id, a split has an unknown name, a group has records in two parts, or no
            record is left for training.
    """
    if (
        not set(fractions) <= {"val", "test"}
        or min(fractions.values(), default=0.0) < 0
        or sum(fractions.values()) >= 1
    ):
        raise RecipeError(
            f"data.val and data.test are fractions, at least 0 and together below 1, not {dict(fractions)}."
        )
    split, columns = split or RandomSplit(), source.columns()
    if (twice := columns.duplicate_id) is not None:
        raise DataError(f"Two records have the id '{twice}'; ids must be unique in their source.")
    whole, selected_M = whole_of(source)
    parts_N = _numbered(split, split.assign(whole, fractions, seed), len(whole))
    if selected_M is not None:
        parts_N = parts_N[selected_M]
    if columns.groups is not None:
        Groups(columns).refuse_torn(parts_N, np.arange(len(columns)), columns)
    if not (parts_N == TRAIN).any():
        raise DataError(
            f"None of the {len(columns)} records is left for training; check the splits and their fractions."
        )
    return positions_of(parts_N)


def positions_of(parts_N: np.ndarray) -> dict[str, np.ndarray]:
    """Return part -> the positions of its records, int64, ascending, out of the number of each record's part."""
    return {part: np.flatnonzero(parts_N == number) for number, part in enumerate(PARTS)}


def numbers_of(parts: Mapping[str, np.ndarray], count: int) -> np.ndarray:
    """Return the number of each of N records' part, int8 (N,), -1 for one of no part."""
    parts_N = np.full(count, -1, np.int8)
    for part, positions in parts.items():
        parts_N[positions] = PARTS.index(part)
    return parts_N


def _numbered(split: Split, parts: Sequence[str] | np.ndarray, count: int) -> np.ndarray:
    """Return the numbers of parts in `PARTS`, int8 (N,); refuse what is none of them."""
    name = type(split).__name__
    if len(parts) != count:
        raise DataError(f"The split {name} assigns {len(parts)} parts to {count} records: it must name one for each.")
    if isinstance(parts, np.ndarray) and parts.dtype == np.int8:
        return parts
    if unknown := sorted({str(part) for part in set(parts) - set(PARTS)}):
        raise DataError(f"The split {name} assigns the part '{unknown[0]}'; it must be train, val or test.")
    return np.fromiter(map(PARTS.index, parts), np.int8, count)
