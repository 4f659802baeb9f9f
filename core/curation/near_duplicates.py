"""Near-duplicates: pairs of records that are more alike than a threshold, and the groups that they connect.

Letters: M records that are compared, P pairs of them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from sensorium.curation.neighborhood import nearest_others
from sensorium.curation.records import ComparedRecords
from sensorium.curation.whitening import partly_whitened
from sensorium.data.splits import PARTS
from sensorium.errors import check_range
from sensorium.mining.duplicates import duplicate_classes
from sensorium.neighbors.search import IndexOptions
from sensorium.neighbors.similarity import similarity_blocks

NEIGHBORS = 16
"""Neighbors of a record that may be its duplicates; records of more duplicates are connected through these."""
LEAST = 0.8
"""Pairs of a lower cosine are not looked at, unless the threshold is lower."""
FEW = 20
"""Records that differ from each other, below which a cosine of two says little."""
MANY = 0.1
"""Share of records that are copies, from which on they are left out of what is whitened."""
NONE = -1
log = logging.getLogger("sensorium")


@dataclass(frozen=True)
class DuplicateOptions:
    """Which records are near-duplicates, and which of them are kept.

    Args:
        threshold: least cosine of two near-duplicates, in (0, 1].
        prefer: the part whose records are kept first: "test", then val and train, so that what leaks falls out of the
            train part; or "train", then val and test.
    """

    threshold: float = 0.9
    prefer: str = "test"

    def __post_init__(self) -> None:
        check_range("curation", "(0, 1]", threshold=self.threshold)

    @property
    def order(self) -> list[int]:
        """How early the records of train, val and test are kept, and those of no part: the least first."""
        return [2, 1, 0, 3] if self.prefer == "test" else [0, 1, 2, 3]


@dataclass(frozen=True)
class Pairs:
    """Pairs of records, each once, the most alike first.

    Args:
        rows_P2: int64 (P, 2), the lesser first.
        cosine_P: float32.
        searched: what found them, in a clause.
    """

    rows_P2: np.ndarray
    cosine_P: np.ndarray
    searched: str

    def __len__(self) -> int:
        return len(self.cosine_P)

    def at_least(self, threshold: float) -> int:
        """Return how many have a cosine of a threshold or more: they are the first ones."""
        return int((self.cosine_P >= threshold).sum())

    def of(self, chosen_P: np.ndarray) -> Pairs:
        """Return the chosen pairs, bool (P,)."""
        return Pairs(self.rows_P2[chosen_P], self.cosine_P[chosen_P], self.searched)


@dataclass(frozen=True)
class NearDuplicates:
    """Records in groups of near-duplicates.

    Args:
        x_MD: the vectors that were compared, normalized.
        pairs: pairs of different groups of the source, those below the threshold included.
        group_M: the number of each record's group of near-duplicates, int64, -1 for a record without any.
        keep_M: bool, False for all but one of each such group.
        leaks_MP: bool (M, 3), the parts of `PARTS` that each record of val and test leaks into: val into train, test
            into train and val, since these are learned from, or chosen by, before it is measured.
        nearest_M: int64, the record of another group of the source that is most alike, -1 where none is near.
        cosine_M: float32, its cosine; nan where none is near.
    """

    x_MD: Tensor
    pairs: Pairs
    group_M: np.ndarray
    keep_M: np.ndarray
    leaks_MP: np.ndarray
    nearest_M: np.ndarray
    cosine_M: np.ndarray


def find_near_duplicates(
    records: ComparedRecords, options: DuplicateOptions, index: IndexOptions | None = None
) -> NearDuplicates:
    """Find records that are near-duplicates, in bounded memory.

    Vectors are partly whitened before they are compared: the features of most encoders lie in a narrow cone, where any
    two records have a large cosine, and a threshold would mean another thing for every encoder.

    Records that pairs connect are a group of near-duplicates, unless all are of one group of the source: two captions
    of an image are no duplicates of each other.

    Args:
        records: the records.
        options: which are near-duplicates.
        index: how neighbors are searched.
    """
    count = len(records)
    x_MD, pairs, class_M = _connected(records.x_MD, options.threshold, index or IndexOptions())
    is_near_M = _groups_in(class_M, records.group_M)[class_M] > 1
    group_M = np.full(count, NONE)
    group_M[is_near_M] = np.unique(class_M[is_near_M], return_inverse=True)[1]
    apart_P = records.group_M[pairs.rows_P2[:, 0]] != records.group_M[pairs.rows_P2[:, 1]]
    pairs = pairs.of(apart_P)
    nearest_M, cosine_M = _nearest(pairs, count)
    kept_M = _kept(records, class_M, options.order)
    return NearDuplicates(x_MD, pairs, group_M, kept_M, _leaks(records.part_M, group_M), nearest_M, cosine_M)


def _connected(x_MD: Tensor, threshold: float, index: IndexOptions) -> tuple[Tensor, Pairs, np.ndarray]:
    """Return whitened vectors, pairs of them, and the number (M,) of the class of records that near pairs connect.

    Copies that make up much of the records would be taken for what all records share, and be whitened away: once some
    are found, one of each class gives the mean and the directions, and the others are looked for again.
    """
    among = np.arange(len(x_MD))
    while True:
        white_MD = partly_whitened(x_MD, among)
        pairs = _similar_pairs(white_MD, threshold, index)
        near = pairs.rows_P2[: pairs.at_least(threshold)]
        graph = coo_array((np.ones(len(near), bool), (near[:, 0], near[:, 1])), (len(x_MD), len(x_MD)))
        class_M = connected_components(graph, directed=False)[1]
        apart = np.unique(class_M, return_index=True)[1]
        if not 2 < len(apart) <= (1 - MANY) * len(among):
            break
        among = apart
    if len(apart) < FEW:
        log.warning(
            "only %d records differ from each other: what copies share can hardly be told from what all share. Look at "
            "the contact sheet, and at more records.",
            len(apart),
        )
    return white_MD, pairs, class_M


def _similar_pairs(x_MD: Tensor, threshold: float, index: IndexOptions) -> Pairs:
    """Return pairs of a cosine of `LEAST`, or the threshold if that is less, or more: enough to connect all records
    that a threshold connects.

    Equal vectors are found first and stand for each other, so that a thousand blank images do not crowd out all else.
    """
    least = min(threshold, LEAST)
    class_M = duplicate_classes(x_MD, None)
    first_C = np.unique(class_M, return_index=True)[1]
    equal = np.flatnonzero(first_C[class_M] != np.arange(len(x_MD)))
    found = [np.stack([first_C[class_M[equal]], equal], 1)]
    cosines, searched = [np.ones(len(equal), np.float32)], "exact search"
    if len(first_C) > 1:
        x_CD = x_MD[torch.from_numpy(first_C).to(x_MD.device)]
        scores_CK, others_CK, searched = nearest_others(x_CD, NEIGHBORS, index)
        rows, columns = np.nonzero(scores_CK >= least)
        found.append(np.stack([first_C[rows], first_C[others_CK[rows, columns]]], 1))
        cosines.append(scores_CK[rows, columns])
        bridges_B2, cosine_B = _bridges(x_CD, scores_CK, others_CK, threshold)
        found.append(first_C[bridges_B2])
        cosines.append(cosine_B)
    rows_P2, cosine_P = np.sort(np.concatenate(found), axis=1), np.concatenate(cosines)
    rows_P2, once = np.unique(rows_P2, axis=0, return_index=True)
    cosine_P = np.minimum(cosine_P[once], 1)
    order = np.argsort(-cosine_P, kind="stable")
    return Pairs(rows_P2[order], cosine_P[order], searched)


def _bridges(
    x_CD: Tensor, scores_CK: np.ndarray, others_CK: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs (B, 2), and their cosines (B,), that connect what K neighbors leave apart, such as two clips of
    one scene: the neighbors of a frame may all be frames of its own clip.

    Only records whose K neighbors all are duplicates may have more; they are compared with all. Of two sets of records
    that are connected within, the most alike pair is enough.
    """
    count = len(x_CD)
    rows, columns = np.nonzero(scores_CK >= threshold)
    graph = coo_array((np.ones(len(rows), bool), (rows, others_CK[rows, columns])), (count, count))
    class_C = connected_components(graph, directed=False)[1]
    full = np.flatnonzero(scores_CK[:, -1] >= threshold)
    found, cosines = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.float32)]
    x_FD = x_CD[torch.from_numpy(full).to(x_CD.device)]
    for block, s_BC in similarity_blocks(x_FD, x_CD) if len(full) else ():
        cosine_BC, of_block = s_BC.float().cpu().numpy(), full[block]
        one, other = np.nonzero(cosine_BC >= threshold)
        apart = class_C[of_block[one]] != class_C[other]
        one, other = one[apart], other[apart]
        cosine_P, classes_P = cosine_BC[one, other], class_C[of_block[one]].astype(np.int64) * count + class_C[other]
        order = np.lexsort((-cosine_P, classes_P))
        best = order[np.unique(classes_P[order], return_index=True)[1]]
        found.append(np.stack([of_block[one[best]], other[best]], 1))
        cosines.append(cosine_P[best].astype(np.float32))
    return np.concatenate(found), np.concatenate(cosines)


def _leaks(part_M: np.ndarray, group_M: np.ndarray) -> np.ndarray:
    """Return the earlier parts in which each record has a near-duplicate, bool (M, 3)."""
    is_near_M, leaks_MP = group_M != NONE, np.zeros((len(part_M), len(PARTS)), bool)
    for earlier in range(len(PARTS)):
        has_G = np.bincount(group_M[is_near_M], part_M[is_near_M] == earlier) > 0
        leaks_MP[is_near_M, earlier] = has_G[group_M[is_near_M]] & (part_M[is_near_M] > earlier)
    return leaks_MP


def _groups_in(class_M: np.ndarray, group_M: np.ndarray) -> np.ndarray:
    """Return how many groups of the source have a record in each of C classes, int64 (C,)."""
    return np.bincount(np.unique(np.stack([class_M, group_M], 1), axis=0)[:, 0])


def _nearest(pairs: Pairs, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the most alike record of each record among all pairs, int64 (M,), and its cosine (M,)."""
    nearest_M, cosine_M = np.full(count, NONE), np.full(count, np.nan, np.float32)
    for one, other in ((0, 1), (1, 0)):
        rows, first = np.unique(pairs.rows_P2[:, one], return_index=True)
        better = ~(cosine_M[rows] >= pairs.cosine_P[first])
        nearest_M[rows[better]] = pairs.rows_P2[first[better], other]
        cosine_M[rows[better]] = pairs.cosine_P[first[better]]
    return nearest_M, cosine_M


def _kept(records: ComparedRecords, class_M: np.ndarray, order: list[int]) -> np.ndarray:
    """Return which records stay, bool (M,): of each class the first of the part that is preferred, with its group."""
    rank_M = np.array(order)[records.part_M]
    first = np.lexsort((np.arange(len(class_M)), rank_M, class_M))
    starts = np.flatnonzero(np.diff(class_M[first], prepend=-1))
    kept_C = records.group_M[first[starts]]
    return records.group_M == kept_C[class_M]
