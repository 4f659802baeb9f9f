"""Mining of hard negatives in a feature table, in bounded memory."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import torch

from sensorium.errors import SensoriumError
from sensorium.feature_table import FeatureTable
from sensorium.mining.duplicates import duplicate_classes
from sensorium.mining.options import MiningOptions
from sensorium.mining.result import MiningResult
from sensorium.mining.search import search_others
from sensorium.neighbors.index import make_index
from sensorium.neighbors.search import IndexOptions
from sensorium.neighbors.similarity import l2_normalize
from sensorium.seeding import seed_of


def mine_negatives(
    table: FeatureTable,
    query: str,
    target: str,
    options: MiningOptions,
    values: dict[str, Sequence[Hashable]] | None = None,
    index: IndexOptions | None = None,
    device: torch.device | str = "cpu",
) -> MiningResult:
    """Mine hard negatives among the records of a table, in bounded memory.

    The positives of a query are the targets of its group. Excluded as false negatives: positives; duplicates of a
    positive (equal value or embedding); positives of another query that is a duplicate of this one.

    Args:
        table: embeddings in one space.
        query: query modality.
        target: target modality; it may be the same.
        options: which candidates are hard negatives.
        values: modality -> a key for the value of each of N records, equal for equal values, None if absent; by
            default, duplicates are found by their embeddings alone.
        index: how neighbors are searched; None is exact for few, approximate for many.
        device: where embeddings are compared.

    Raises:
        SensoriumError: when no query has a positive, or FAISS is needed but not installed.
    """
    queries, targets = np.flatnonzero(table.present[query]), np.flatnonzero(table.present[target])
    groups_N = np.unique(np.asarray(table.groups, str), return_inverse=True)[1]
    positives = _Multimap(groups_N[targets], np.arange(len(targets)), int(groups_N.max(initial=-1)) + 1)
    has_positive = positives.counts[groups_N[queries]] > 0
    queries, without_positive = queries[has_positive], int((~has_positive).sum())
    if not len(queries):
        raise SensoriumError(f"No record has '{query}' and, in its group, '{target}': there is nothing to mine.")
    x_QD = l2_normalize(table.features[query][queries], device)
    y_ND = l2_normalize(table.features[target][targets], device)
    excluded = _ExcludedPairs(
        duplicate_classes(x_QD, _rows(values, query, queries)),
        duplicate_classes(y_ND, _rows(values, target, targets)),
        groups_N[queries],
        groups_N[targets],
    )
    found = make_index(y_ND, x_QD, options.ranks[1], index or IndexOptions())
    collector = _Collector(options, [table.ids[row] for row in queries])
    for block in found.blocks(len(x_QD)):
        rows, columns = positives.of(groups_N[queries[block]])
        positive_scores = (x_QD[block][rows] * y_ND[columns]).sum(1).cpu().numpy()
        least_B = np.full(block.stop - block.start, np.inf, np.float32)
        np.minimum.at(least_B, rows, positive_scores)
        collector.add(block, least_B, *search_others(found, x_QD[block], options.ranks[1], excluded.of(block)))
    mined = collector.result([table.ids[row] for row in targets], without_positive)
    mined.about["index"] = found.description
    return mined


def _rows(values: dict[str, Sequence[Hashable]] | None, name: str, rows: np.ndarray) -> list[Hashable] | None:
    return None if values is None else [values[name][row] for row in rows]


class _Multimap:
    """Maps each of K keys to a set of integers, in compressed sparse row (CSR) form."""

    def __init__(self, keys: np.ndarray, values: np.ndarray, count: int) -> None:
        pairs = np.unique(np.stack([keys, values], 1), axis=0)
        self._values = pairs[:, 1]
        self.counts = np.bincount(pairs[:, 0], minlength=count)
        self._starts = np.cumsum(self.counts) - self.counts

    def of(self, keys_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the pairs of B keys and their values: indices 0..B-1 of the keys (P,), values (P,)."""
        counts_B = self.counts[keys_B]
        rows = np.repeat(np.arange(len(keys_B)), counts_B)
        offsets = np.arange(len(rows)) - np.repeat(np.cumsum(counts_B) - counts_B, counts_B)
        return rows, self._values[np.repeat(self._starts[keys_B], counts_B) + offsets]


class _ExcludedPairs:
    """The pairs of query and target that are positives or false negatives.

    Args:
        query_classes: (Q,), the duplicate class of each query.
        target_classes: (N,), likewise.
        query_groups: (Q,).
        target_groups: (N,).
    """

    def __init__(
        self, query_classes: np.ndarray, target_classes: np.ndarray, query_groups: np.ndarray, target_groups: np.ndarray
    ) -> None:
        of_group = _Multimap(target_groups, target_classes, int(max(query_groups.max(), target_groups.max())) + 1)
        pairs = np.unique(np.stack([query_classes, query_groups], 1), axis=0)
        rows, positive_classes = of_group.of(pairs[:, 1])
        self._query_classes = query_classes
        self._excluded = _Multimap(pairs[rows, 0], positive_classes, int(query_classes.max()) + 1)
        self._targets = _Multimap(target_classes, np.arange(len(target_classes)), int(target_classes.max()) + 1)

    def of(self, block: slice) -> tuple[np.ndarray, np.ndarray]:
        """Return the excluded pairs of a block of queries: rows in the block, columns among the targets."""
        rows, classes = self._excluded.of(self._query_classes[block])
        indices, columns = self._targets.of(classes)
        return rows[indices], columns


class _Collector:
    """Collects the negatives of all blocks, and their statistics."""

    def __init__(self, options: MiningOptions, ids: list[str]) -> None:
        self.options, self.ids = options, ids
        self.rows: list[np.ndarray] = []
        self.columns: list[np.ndarray] = []
        self.ranks: list[np.ndarray] = []
        self.scores: list[np.ndarray] = []
        self.least: list[np.ndarray] = []
        self.above_positive, self.candidates, self.rejected = 0, 0, 0

    def add(self, block: slice, least_B: np.ndarray, scores_BK: np.ndarray, columns_BK: np.ndarray) -> None:
        """Add the nearest targets of a block of queries that are not excluded, nearest first, and choose among them."""
        ranks_K = np.arange(1, scores_BK.shape[1] + 1)
        candidate_BK = np.isfinite(scores_BK) & (ranks_K >= self.options.ranks[0])
        threshold_B = least_B - self.options.margin * np.abs(least_B)
        accepted_BK = candidate_BK & (scores_BK <= threshold_B[:, None])
        self.above_positive += int((scores_BK[:, 0] > least_B).sum())
        self.candidates += int(candidate_BK.sum())
        self.rejected += int((candidate_BK & ~accepted_BK).sum())
        for row in range(len(least_B)):
            chosen = np.flatnonzero(accepted_BK[row])
            if self.options.choose == "random":
                rng = np.random.default_rng(seed_of(self.options.seed, "mine", self.ids[block.start + row]))
                chosen = np.sort(rng.permutation(chosen)[: self.options.count])
            chosen = chosen[: self.options.count]
            self.rows.append(np.full(len(chosen), block.start + row))
            self.columns.append(columns_BK[row, chosen])
            self.ranks.append(ranks_K[chosen])
            self.scores.append(scores_BK[row, chosen])
        self.least.append(least_B)

    def result(self, targets: list[str], without_positive: int) -> MiningResult:
        """Return the negatives of all blocks."""
        rows, columns = np.concatenate(self.rows), np.concatenate(self.columns)
        least_Q, scores = np.concatenate(self.least), np.concatenate(self.scores).astype(np.float32)
        statistics = {
            "queries": len(self.ids),
            "queries without a positive, excluded": without_positive,
            "queries without a negative": len(self.ids) - len(np.unique(rows)),
            "negatives": len(rows),
            "fraction of queries whose nearest is above a positive": self.above_positive / len(self.ids),
            "fraction of candidates rejected by the margin": self.rejected / max(self.candidates, 1),
            "mean cosine of the least positive": float(least_Q.mean()),
            "mean cosine of negatives": float(scores.mean()) if len(scores) else float("nan"),
        }
        return MiningResult(
            [self.ids[row] for row in rows],
            [targets[column] for column in columns],
            np.concatenate(self.ranks).astype(np.int32),
            scores,
            least_Q[rows].astype(np.float32),
            statistics,
        )
