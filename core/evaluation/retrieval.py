"""Cross-modal retrieval."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from sensorium.contracts import Evaluator, FeatureTable
from sensorium.errors import SensoriumError
from sensorium.evaluation.labels import pair, records
from sensorium.evaluation.similarity import TIE, similarities, unit_rows


class Retrieval(Evaluator):
    """Find the records of one modality by those of another, by cosine, over the whole test part.

    Every record that has the query modality asks, every one that has the target modality can be found, and whatever
    belongs to the query's group is right (with five captions to a picture, any of the five). Queries to which
    nothing is right are left out and counted.

    Ties count against the query: a wrong target whose cosine comes within 1e-6 of a right one's ranks before it, so
    that a collapsed encoder, to which all is alike, is never rewarded.

    Figures of each direction: recall at each cut-off (a right target is among the first k), MRR (mean of one over
    the first right one's rank), nDCG@10, MAP@R (Musgrave et al. 2020) and the median rank of the first right one.

    Args:
        query: modality that asks; None, with target None too, measures the first two of the recipe both ways.
        target: modality that is searched.
        cutoffs: ranks at which recall is measured.
        positives: "group" counts every record of the query's group as right, "record" only the query's own.
    """

    space = "embedding"

    def __init__(
        self,
        query: str | None = None,
        target: str | None = None,
        cutoffs: tuple[int, ...] = (1, 5, 10),
        positives: Literal["group", "record"] = "group",
    ) -> None:
        self.query, self.target, self.cutoffs, self.positives = query, target, cutoffs, positives
        self.left_out: list[str] = []

    def fit(self, train: FeatureTable) -> None:
        """Learn nothing."""

    def measure(self, test: FeatureTable) -> dict[str, float]:
        """Return the figures of each direction, such as "image->text r@10"."""
        metrics: dict[str, float] = {}
        self.left_out = []
        for query, target in self._directions(test):
            task = self._task(test, query, target)
            if task.without:
                self.left_out.append(f"{query}->{target}: {task.without} queries without any right target left out")
            ranking = _Ranking(self.cutoffs)
            x_QD = unit_rows(test.features[query][task.queries])
            y_ND = unit_rows(test.features[target][task.targets])
            right = torch.from_numpy(task.right_NR).to(x_QD.device)
            counts = torch.from_numpy(task.counts_Q).to(x_QD.device)
            firsts = torch.from_numpy(task.firsts_Q).to(x_QD.device)
            for block, s_BN in similarities(x_QD, y_ND):
                ranking.add(_ranks(s_BN, right, firsts[block], counts[block]), counts[block])
            metrics |= {f"{query}->{target} {name}": value for name, value in ranking.metrics().items()}
        return metrics

    def chance(self, test: FeatureTable) -> dict[str, float]:
        """Return the exact expectation under a random order of the targets (the median of the first rank's law)."""
        metrics: dict[str, float] = {}
        for query, target in self._directions(test):
            task = self._task(test, query, target)
            expected = _expected(len(task.targets), task.counts_Q, self.cutoffs)
            metrics |= {f"{query}->{target} {name}": value for name, value in expected.items()}
        return metrics

    def notes(self) -> list[str]:
        """Return how many queries could not be asked."""
        return self.left_out

    def _task(self, test: FeatureTable, query: str, target: str) -> _Task:
        return _task(test, query, target, test.groups if self.positives == "group" else test.ids)

    def _directions(self, test: FeatureTable) -> list[tuple[str, str]]:
        query, target = pair(test, self.query, self.target)
        return [(query, target)] if self.query else [(query, target), (target, query)]


@dataclass
class _Task:
    """Who asks, what is searched, and what is right.

    Args:
        queries: row of each of Q queries in the table.
        targets: row of each of N targets in the table.
        right_NR: positions 0..N-1 of the targets, sorted by group; a query's right ones are a run of it.
        firsts_Q: where the query's run begins.
        counts_Q: how long it is, 1 at least.
        without: records that have the query modality and no right target.
    """

    queries: np.ndarray
    targets: np.ndarray
    right_NR: np.ndarray
    firsts_Q: np.ndarray
    counts_Q: np.ndarray
    without: int


def _task(test: FeatureTable, query: str, target: str, groups: list[str]) -> _Task:
    groups_N = np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
    asking, targets = np.flatnonzero(test.present[query]), np.flatnonzero(test.present[target])
    order = np.argsort(groups_N[targets], kind="stable")
    of_targets = groups_N[targets][order]
    firsts = np.searchsorted(of_targets, groups_N[asking], side="left")
    counts = np.searchsorted(of_targets, groups_N[asking], side="right") - firsts
    asked = counts > 0
    if not asked.any():
        raise SensoriumError(
            f"No record of the test part has '{query}' and, in its group, '{target}': there is nothing to find "
            f"({records(len(asking))} with '{query}', {records(len(targets))} with '{target}')."
        )
    return _Task(asking[asked], targets, order, firsts[asked], counts[asked], int((~asked).sum()))


def _ranks(s_BN: Tensor, right_N: Tensor, firsts_B: Tensor, counts_B: Tensor) -> Tensor:
    """Return the ranks of every query's right targets, best first: int64 (B, R), 0 where a query has fewer than R.

    A wrong target ranks before a right one unless it is less similar by more than TIE. Wrong targets are counted by
    the lowest right one that they do not fall behind, so that one pass over the similarities is enough.
    """
    slots_R = torch.arange(int(counts_B.max()), device=s_BN.device)
    real_BR = slots_R < counts_B[:, None]
    right_BR = right_N[(firsts_B[:, None] + slots_R).clamp_max(len(right_N) - 1)]
    # Ascending, real ones first: the bars that a wrong target must reach to rank before the right one.
    bars_BR = (s_BN.gather(1, right_BR) - TIE).masked_fill(~real_BR, torch.inf).sort(dim=1).values
    wrong_BN = torch.ones_like(s_BN, dtype=torch.int32)
    wrong_BN.scatter_reduce_(1, right_BR, (~real_BR).int(), reduce="amin")
    reached_BN = torch.searchsorted(bars_BR, s_BN.contiguous(), right=True)  # how many bars it reaches, 0 to R
    reaching_BR = wrong_BN.new_zeros(len(s_BN), len(slots_R) + 1).scatter_add_(1, reached_BN, wrong_BN)
    before_BR = reaching_BR.flip(1).cumsum(1).flip(1)[:, 1:]  # wrong ones that reach at least this bar
    rank_BR = (before_BR + counts_B[:, None] - slots_R).masked_fill(~real_BR, torch.iinfo(torch.int64).max)
    return rank_BR.sort(dim=1).values.masked_fill(~real_BR, 0)


@dataclass
class _Ranking:
    """Gathers figures query by query, so that no rank matrix is kept."""

    cutoffs: tuple[int, ...]
    first: list[np.ndarray] = field(default_factory=list)
    gain: list[np.ndarray] = field(default_factory=list)
    precision: list[np.ndarray] = field(default_factory=list)

    def add(self, rank_BR: Tensor, counts_B: Tensor) -> None:
        """Take the ranks of a block of queries, 0 where a query has no such right target."""
        rank, count = rank_BR.cpu().numpy().astype(np.float64), counts_B.cpu().numpy()
        real = rank > 0
        self.first.append(rank[:, 0])
        gain = np.where(real & (rank <= 10), 1 / np.log2(rank + 1, where=real, out=np.ones_like(rank)), 0)
        self.gain.append(gain.sum(1) / _ideal_gain(count))
        found = np.arange(1, rank.shape[1] + 1)
        within = real & (rank <= count[:, None])
        self.precision.append(np.where(within, found / np.maximum(rank, 1), 0).sum(1) / count)

    def metrics(self) -> dict[str, float]:
        """Return the means over all queries."""
        first = np.concatenate(self.first)
        recall = {f"r@{k}": float(np.mean(first <= k)) for k in self.cutoffs}
        return recall | {
            "mrr": float(np.mean(1 / first)),
            "ndcg@10": float(np.concatenate(self.gain).mean()),
            "map@r": float(np.concatenate(self.precision).mean()),
            "median rank ↓": float(np.median(first)),
        }


def _ideal_gain(counts_Q: np.ndarray) -> np.ndarray:
    return np.cumsum(1 / np.log2(np.arange(2, 12)))[np.minimum(counts_Q, 10) - 1]


def _expected(targets: int, counts_Q: np.ndarray, cutoffs: tuple[int, ...]) -> dict[str, float]:
    """Return the expected figures of a random order of N targets, of which R are right: closed forms, by linearity.

    The first right rank exceeds r with probability C(N-r, R) / C(N, R), the hypergeometric law of no hit in r draws;
    a rank holds a right target with probability R/N, and one before it with (R-1)/(N-1).
    """
    n, r = targets, np.arange(1, targets + 1)
    metrics = dict.fromkeys([*(f"r@{k}" for k in cutoffs), "mrr", "ndcg@10", "map@r"], 0.0)
    beyond_N = np.zeros(n)  # the share of queries whose first right rank exceeds r
    for right, queries in zip(*np.unique(counts_Q, return_counts=True), strict=True):
        share = queries / len(counts_Q)
        miss_N = np.cumprod(np.maximum(n - right - r + 1, 0) / (n - r + 1))
        beyond_N += share * miss_N
        for k in cutoffs:
            metrics[f"r@{k}"] += share * (1 - miss_N[min(k, n) - 1])
        metrics["mrr"] += share * np.sum((np.concatenate([[1.0], miss_N[:-1]]) - miss_N) / r)
        gain = np.sum(1 / np.log2(r[:10] + 1)) * right / n
        metrics["ndcg@10"] += share * gain / _ideal_gain(np.array([right]))[0]
        earlier = (r[:right] - 1) * (right - 1) / max(n - 1, 1)
        metrics["map@r"] += share * np.sum((1 + earlier) / r[:right]) / n
    median = int(np.argmax(beyond_N <= 0.5 + 1e-12)) + 1
    return {name: float(value) for name, value in metrics.items()} | {"median rank ↓": float(median)}
