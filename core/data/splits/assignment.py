"""The split of a run: which part each record belongs to, as a split says and with what it owes checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sensorium.contracts import Source, Split
from sensorium.data.splits.parts import PARTS, first_duplicate, group_of, torn
from sensorium.data.splits.random_split import RandomSplit
from sensorium.errors import DataError, RecipeError


def assign_parts(
    source: Source, fractions: Mapping[str, float], seed: int, split: Split | None = None
) -> dict[str, np.ndarray]:
    """Assign every record of a source to a part.

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
    split = split or RandomSplit()
    ids_N, groups_N = _hashed(source)
    _refuse_duplicates(source, ids_N)
    parts_N = _numbered(split, split.assign(source, fractions, seed), len(source))
    _refuse_torn_groups(source, groups_N, parts_N)
    if not (parts_N == PARTS.index("train")).any():
        raise DataError(
            f"None of the {len(source)} records is left for training; check the splits and their fractions."
        )
    return {part: np.flatnonzero(parts_N == number) for number, part in enumerate(PARTS)}


def _numbered(split: Split, parts: Sequence[str], count: int) -> np.ndarray:
    """Return the numbers of parts in `PARTS`, int8 (N,); refuse what is none of them."""
    name = type(split).__name__
    if len(parts) != count:
        raise DataError(f"The split {name} assigns {len(parts)} parts to {count} records: it must name one for each.")
    if unknown := sorted({str(part) for part in set(parts) - set(PARTS)}):
        raise DataError(f"The split {name} assigns the part '{unknown[0]}'; it must be train, val or test.")
    return np.fromiter(map(PARTS.index, parts), np.int8, count)


def _hashed(source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Return a hash of the id, and of the group, of each record, both int64 (N,); keys are read once.

    The names themselves are not kept, so that a source of millions of records costs little memory.
    """
    ids_N, groups_N = np.empty(len(source), np.int64), np.empty(len(source), np.int64)
    for i in range(len(source)):
        key = source.key(i)
        ids_N[i], groups_N[i] = hash(key.id), hash(group_of(key))
    return ids_N, groups_N


def _refuse_duplicates(source: Source, ids_N: np.ndarray) -> None:
    """Refuse ids that occur twice."""
    if (twice := first_duplicate(source.key(int(i)).id for i in _repeated(ids_N))) is not None:
        raise DataError(f"Two records have the id '{twice}'; ids must be unique in their source.")


def _refuse_torn_groups(source: Source, groups_N: np.ndarray, parts_N: np.ndarray) -> None:
    """Refuse groups with records in two parts."""
    first: dict[str, str] = {}
    for i in _repeated(groups_N):
        key, part = source.key(int(i)), PARTS[parts_N[i]]
        if first.setdefault(group_of(key), part) != part:
            raise torn(group_of(key), first[group_of(key)], part, key.id)


def _repeated(hashes_N: np.ndarray) -> np.ndarray:
    """Return the positions of hashes that occur twice or more."""
    hashes, counts = np.unique(hashes_N, return_counts=True)
    return np.flatnonzero(np.isin(hashes_N, hashes[counts > 1]))
