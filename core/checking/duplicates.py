"""Duplicates: values of equal content, within a part of the split and across parts.

Letters: N records, M of them with a value whose content occurs more than once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Duplicates:
    """Values of one modality that occur in more than one record.

    Records of one group count as one: two captions of an image do not make it a duplicate of itself. What a group
    repeats is counted apart: of groups that are scaffolds or patients it is a duplicate too.

    Args:
        contents: how many different contents occur more than once.
        records: in how many records.
        across: how many records of the val and test part have a value that stands in the train part too.
        pairs: of each of these, its position in the source and that of one in the train part.
        within: how many records have a value that another record of their group has too.
    """

    contents: int
    records: int
    across: int
    pairs: list[tuple[int, int]]
    within: int = 0


def find_duplicates(content_N: np.ndarray, group_N: np.ndarray, train_N: np.ndarray) -> Duplicates:
    """Find values that occur in more than one group.

    Args:
        content_N: uint64, digests of contents, 0 where there is no value.
        group_N: int64, a number for each group of records.
        train_N: bool, which records are in the train part.
    """
    rows = np.flatnonzero(content_N)
    rows = rows[np.argsort(content_N[rows], kind="stable")]
    if not len(rows):
        return Duplicates(0, 0, 0, [])
    starts = np.flatnonzero(np.diff(content_N[rows], prepend=content_N[rows][0] ^ np.uint64(1)))
    sizes = np.diff(starts, append=len(rows))
    several = np.minimum.reduceat(group_N[rows], starts) != np.maximum.reduceat(group_N[rows], starts)
    in_train = np.logical_or.reduceat(train_N[rows], starts)
    outside_M = np.repeat(several & in_train, sizes) & ~train_N[rows]
    first_train = rows[np.minimum.reduceat(np.where(train_N[rows], np.arange(len(rows)), len(rows) - 1), starts)]
    pairs = np.stack([rows, np.repeat(first_train, sizes)], 1)[outside_M]
    return Duplicates(
        int(several.sum()),
        int(sizes[several].sum()),
        int(outside_M.sum()),
        [(int(outside), int(train)) for outside, train in pairs[np.argsort(pairs[:, 0])].tolist()],
        _within_groups(content_N[rows], group_N[rows]),
    )


def _within_groups(content_M: np.ndarray, group_M: np.ndarray) -> int:
    """Return how many of M values stand in another record of their group too."""
    order = np.lexsort((group_M, content_M))
    starts = np.flatnonzero(
        (np.diff(content_M[order], prepend=~content_M[order][:1]) != 0)
        | (np.diff(group_M[order], prepend=group_M[order][:1]) != 0)
    )
    sizes = np.diff(starts, append=len(order))
    return int(sizes[sizes > 1].sum())
