"""Cross-modal retrieval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import permutations
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from sensorium.contracts import Evaluator
from sensorium.errors import RecipeError, SensoriumError, as_clause, check_not_empty, check_range, not_found
from sensorium.evaluation.joint_queries import Combination, joint_name, with_joint_query
from sensorium.evaluation.labels import choose_column, count_records, is_missing, modality_pair
from sensorium.evaluation.positives import Positives, of_equal_values, of_groups
from sensorium.evaluation.predictions import joined
from sensorium.evaluation.tables import PAIR
from sensorium.feature_table import FeatureTable
from sensorium.neighbors.similarity import TIE, l2_normalize, similarity_blocks

POSITIVES, LABEL = ("group", "record", "value"), "label:"
"""Words of the option `positives`, and what a label's name stands behind."""


class Retrieval(Evaluator):
    """Cross-modal retrieval by cosine over the whole test part.

    Every value of the query modality is a query, every value of the target modality a target; the positives of a query
    are the targets of its group. An image with five captions, be they of one record or of five in a group, has five
    positives, any of which is a hit, and each caption is a query (the protocol of COCO and Flickr30k). Queries without
    a positive are excluded and counted.

    Ties count against the query: a negative whose cosine is within 1e-6 of a positive's ranks before it, so that a
    collapsed encoder is never rewarded.

    Metrics of each direction: recall R@k (a positive is among the first k), MRR (mean reciprocal rank of the first
    positive), nDCG@10, MAP@R (Musgrave et al. 2020), the mean and the median rank of the first positive.

    With `pairs: all` the recall and the ranks of every query and target modality stand in one matrix each, queries in
    rows, and the table has their means over the pairs. A pair of which no test record has both is named below it.

    The baseline row, where both sides are of one kind, is the cosine of their baseline features.

    With several query modalities each record that has all of them is a query by what they say together, such as
    "image+text->text_de".

    Args:
        query: query modality; None, with target None too, measures the first two of the recipe in both directions; a
            list of several is one query by all of them.
        target: target modality.
        pairs: "all" measures all pairs of modalities in both directions; null those that query and target name.
        cutoffs: values of k of the recall R@k, >= 1.
        positives: which targets are positives of a query: "record", that of its record alone; "group", all of its
            group; "value", those of each record that has the same value of the query or of the target, such as the
            same caption (of several query modalities: the same value of all); "label:NAME", all of records with the
            same label.
        combine: how unit embeddings of several query modalities become one: their "mean"; or their elementwise
            "product", by which multilinear objectives compare (Symile: `volume` with `kind: symile`).
    """

    space = "embedding"

    def __init__(
        self,
        query: str | list[str] | None = None,
        target: str | None = None,
        cutoffs: tuple[int, ...] = (1, 5, 10),
        positives: str = "group",
        pairs: Literal["all"] | None = None,
        combine: Combination = "mean",
    ) -> None:
        check_not_empty("evaluator 'retrieval'", cutoffs=cutoffs)
        check_range("evaluator 'retrieval'", "[1, inf)", cutoffs=cutoffs)
        if pairs is not None and (query is not None or target is not None):
            raise RecipeError("The option 'pairs: all' of 'retrieval' measures every query and target: leave them out.")
        if positives not in POSITIVES and not positives.startswith(LABEL):
            problem = f"The option 'positives' of 'retrieval' is '{positives}'"
            raise RecipeError(not_found(problem, positives, POSITIVES, f"it is {', '.join(POSITIVES)} or {LABEL}NAME"))
        self.several = [] if query is None or isinstance(query, str) else list(query)
        if self.several and (len(set(self.several)) < max(len(self.several), 2) or target in (None, *self.several)):
            raise RecipeError(
                f"The option 'query' of 'retrieval' is {', '.join(self.several)}, with the target {target}: name two "
                "modalities or more, each once, and a target that is none of them."
            )
        if combine != "mean" and not self.several:
            raise RecipeError(
                "The option 'combine' of 'retrieval' has no effect with one query modality: leave it out, or give "
                "query a list of several."
            )
        self.query = joint_name(self.several) if self.several else query
        self.target, self.cutoffs, self.positives, self.combine = target, cutoffs, positives, combine
        self.pairs, self.is_pairwise, self.needs_contents = pairs, pairs == "all", positives == "value"
        self.excluded: list[str] = []
        self.ranked: dict[str, np.ndarray] = {}

    def fit(self, train: FeatureTable) -> None:
        """Learn nothing."""

    def measure(self, test: FeatureTable) -> dict[str, float]:
        """Return the metrics of each direction, such as "image->text R@10"."""
        directions: list[dict[str, np.ndarray]] = []
        self.excluded, test = [], self._with_query(test)
        for query, target in self._directions(test):
            try:
                task = self._task(test, query, target)
            except SensoriumError as error:
                self._pass_over(error)
                continue
            if task.excluded:
                self.excluded.append(f"{query}->{target}: {task.excluded} queries without a positive excluded")
            ranking = _Ranking()
            x_QD = l2_normalize(test.values(query).x[task.queries], self.device)
            y_ND = l2_normalize(test.values(target).x, self.device)
            targets, firsts, counts = (torch.from_numpy(column).to(x_QD.device) for column in task.positives)
            for block, s_BN in similarity_blocks(x_QD, y_ND):
                ranking.add(_positive_ranks(s_BN, targets, firsts[block], counts[block]), counts[block])
            ids = np.array(test.ids, object)[test.values(query).rows[task.queries]]
            direction = np.full(len(ids), f"{query}{PAIR}{target}", object)
            directions.append({"id": ids, "direction": direction, **ranking.columns()})
        if self.is_pairwise:
            self.excluded.insert(0, f"means over {len(directions)} directions")
        self.ranked = joined(directions)
        return self.metrics_of(self.ranked)

    def metrics_of(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Return the same metrics of the ranks of any queries."""
        metrics: dict[str, float] = {}
        for direction in dict.fromkeys(predictions["direction"].tolist()) if predictions else ():
            of_it = predictions["direction"] == direction
            ranked = {name: column[of_it] for name, column in predictions.items() if name in COLUMNS}
            metrics |= {f"{direction} {name}": value for name, value in _means(ranked, self.cutoffs).items()}
        return self._with_means(metrics)

    def predictions(self) -> Mapping[str, np.ndarray]:
        """Return for each query of the last measurement its record's id, the direction, and how its positives rank."""
        return self.ranked

    def chance(self, test: FeatureTable) -> dict[str, float]:
        """Return the exact expectation under a random order of the targets; of the first rank, the median."""
        metrics: dict[str, float] = {}
        test = self._with_query(test)
        for query, target in self._directions(test):
            try:
                task = self._task(test, query, target)
            except SensoriumError:
                if not self.is_pairwise:
                    raise
                continue
            expected = _expected(task.targets, task.positives.counts_Q, self.cutoffs)
            metrics |= {f"{query}->{target} {name}": value for name, value in expected.items()}
        return self._with_means(metrics)

    def notes(self) -> list[str]:
        """Return how many queries were excluded, and which pairs of modalities no record has."""
        return self.excluded

    def _pass_over(self, error: SensoriumError) -> None:
        """Note a pair that cannot be measured, of many; the only one is an error."""
        if not self.is_pairwise:
            raise error
        self.excluded.append(as_clause(str(error)))

    def _with_means(self, metrics: dict[str, float]) -> dict[str, float]:
        """Return the metrics; of all pairs the recall and the ranks, behind their means over the pairs."""
        if not self.is_pairwise:
            return metrics
        if not metrics:
            raise SensoriumError("No pair of modalities has a record with both in the test part.")
        names = [*(f"R@{k}" for k in self.cutoffs), "mean rank ↓", "median rank ↓"]
        kept = {key: value for key, value in metrics.items() if key.partition(" ")[2] in names}
        of_name = {name: [value for key, value in kept.items() if key.partition(" ")[2] == name] for name in names}
        return {name: float(np.mean(values)) for name, values in of_name.items()} | kept

    def _task(self, test: FeatureTable, query: str, target: str) -> _Task:
        if test.features[query].shape[1] != test.features[target].shape[1]:
            raise SensoriumError(f"'{query}' and '{target}' have features of different widths.")
        queries_Q, targets_N = test.values(query).rows, test.values(target).rows
        if self.positives == "value":
            found = of_equal_values(test, self.several or [query], target, queries_Q, targets_N)
        else:
            found = of_groups(self._groups(test), queries_Q, targets_N)
        having = np.flatnonzero(found.counts_Q)
        if not len(having):
            raise SensoriumError(
                f"No record of the test part has '{query}' and, in its group, '{target}': no query has a positive "
                f"({count_records(len(queries_Q))} with '{query}', {count_records(len(targets_N))} with '{target}')."
            )
        kept = Positives(found.targets_P, found.firsts_Q[having], found.counts_Q[having])
        return _Task(having, len(targets_N), kept, excluded=len(queries_Q) - len(having))

    def _groups(self, test: FeatureTable) -> list[str]:
        """Return the group of each record: records of one group are each other's positives."""
        if self.positives == "group":
            return test.groups
        if self.positives == "record":
            return test.ids
        name = choose_column("label", self.positives.removeprefix(LABEL), list(test.labels))
        labels = test.labels[name].tolist()
        return [f"record {id}" if is_missing(y) else f"label {y}" for id, y in zip(test.ids, labels, strict=True)]

    def _with_query(self, test: FeatureTable) -> FeatureTable:
        """Return the table with the combined query modality, where there are several."""
        return with_joint_query(test, self.several, self.combine) if self.several else test

    def _directions(self, test: FeatureTable) -> list[tuple[str, str]]:
        if self.is_pairwise:
            return list(permutations(test.features, 2))
        query, target = modality_pair(test, self.query, self.target)
        return [(query, target)] if self.query else [(query, target), (target, query)]


@dataclass
class _Task:
    """Queries, targets and positives of one direction.

    Args:
        queries: which of the table's values of the query modality are the Q queries, each with a positive.
        targets: N, the number of values of the target modality.
        positives: of the Q queries.
        excluded: number of queries without a positive.
    """

    queries: np.ndarray
    targets: int
    positives: Positives
    excluded: int


def _positive_ranks(s_BN: Tensor, targets_P: Tensor, firsts_B: Tensor, counts_B: Tensor) -> Tensor:
    """Return the ranks of every query's positives, best first: int64 (B, R), 0 where a query has fewer than R.

    A negative ranks before a positive unless it is less similar by more than TIE. Each negative is counted at the
    least similar positive that it ranks before, so that one pass over the similarities is enough.
    """
    slots_R = torch.arange(int(counts_B.max()), device=s_BN.device)
    valid_BR = slots_R < counts_B[:, None]
    positive_BR = targets_P[(firsts_B[:, None] + slots_R).clamp_max(len(targets_P) - 1)]
    # Ascending, valid ones first: a negative at or above the threshold ranks before the positive.
    threshold_BR = (s_BN.gather(1, positive_BR) - TIE).masked_fill(~valid_BR, torch.inf).sort(dim=1).values
    negative_BN = torch.ones_like(s_BN, dtype=torch.int32)
    negative_BN.scatter_reduce_(1, positive_BR, (~valid_BR).int(), reduce="amin")
    reached_BN = torch.searchsorted(threshold_BR, s_BN.contiguous(), right=True)  # number of thresholds, 0 to R
    histogram_BR = negative_BN.new_zeros(len(s_BN), len(slots_R) + 1).scatter_add_(1, reached_BN, negative_BN)
    before_BR = histogram_BR.flip(1).cumsum(1).flip(1)[:, 1:]  # negatives at or above this threshold
    rank_BR = (before_BR + counts_B[:, None] - slots_R).masked_fill(~valid_BR, torch.iinfo(torch.int64).max)
    return rank_BR.sort(dim=1).values.masked_fill(~valid_BR, 0)


@dataclass
class _Ranking:
    """Accumulates what metrics need query by query, so that no rank matrix is kept in memory."""

    first: list[np.ndarray] = field(default_factory=list)
    gain: list[np.ndarray] = field(default_factory=list)
    precision: list[np.ndarray] = field(default_factory=list)

    def add(self, rank_BR: Tensor, counts_B: Tensor) -> None:
        """Add the ranks of the positives of a block of queries, 0 where a query has no further positive."""
        rank, count = rank_BR.cpu().numpy().astype(np.float64), counts_B.cpu().numpy()
        valid = rank > 0
        self.first.append(rank[:, 0])
        gain = np.where(valid & (rank <= 10), 1 / np.log2(rank + 1, where=valid, out=np.ones_like(rank)), 0)
        self.gain.append(gain.sum(1) / _ideal_gain(count))
        hits = np.arange(1, rank.shape[1] + 1)
        within_r = valid & (rank <= count[:, None])
        self.precision.append(np.where(within_r, hits / np.maximum(rank, 1), 0).sum(1) / count)

    def columns(self) -> dict[str, np.ndarray]:
        """Return the columns of all queries, by the names of `COLUMNS`."""
        return dict(zip(COLUMNS, map(np.concatenate, (self.first, self.gain, self.precision)), strict=True))


COLUMNS = ("rank", "nDCG@10", "precision at R")
"""What is known of each query: the rank of its first positive, and its contribution to nDCG@10 and MAP@R."""


def _means(ranked: Mapping[str, np.ndarray], cutoffs: tuple[int, ...]) -> dict[str, float]:
    """Return the metrics of one direction, means over its queries."""
    first, gain, precision = (ranked[name] for name in COLUMNS)
    recall = {f"R@{k}": float(np.mean(first <= k)) for k in cutoffs}
    return recall | {
        "MRR": float(np.mean(1 / first)),
        "nDCG@10": float(gain.mean()),
        "MAP@R": float(precision.mean()),
        "mean rank ↓": float(np.mean(first)),
        "median rank ↓": float(np.median(first)),
    }


def _ideal_gain(counts_Q: np.ndarray) -> np.ndarray:
    return np.cumsum(1 / np.log2(np.arange(2, 12)))[np.minimum(counts_Q, 10) - 1]


def _expected(targets: int, counts_Q: np.ndarray, cutoffs: tuple[int, ...]) -> dict[str, float]:
    """Return the expected metrics of a random order of N targets, R of them positives: closed forms, by linearity.

    The rank of the first positive exceeds r with probability C(N-r, R) / C(N, R) (hypergeometric: no positive in r
    draws); a rank holds a positive with probability R/N, and one before it with (R-1)/(N-1).
    """
    n, r = targets, np.arange(1, targets + 1)
    metrics = dict.fromkeys([*(f"R@{k}" for k in cutoffs), "MRR", "nDCG@10", "MAP@R", "mean rank ↓"], 0.0)
    beyond_N = np.zeros(n)  # the fraction of queries whose first positive ranks after r
    for positives, queries in zip(*np.unique(counts_Q, return_counts=True), strict=True):
        fraction = queries / len(counts_Q)
        miss_N = np.cumprod(np.maximum(n - positives - r + 1, 0) / (n - r + 1))
        beyond_N += fraction * miss_N
        for k in cutoffs:
            metrics[f"R@{k}"] += fraction * (1 - miss_N[min(k, n) - 1])
        metrics["MRR"] += fraction * np.sum((np.concatenate([[1.0], miss_N[:-1]]) - miss_N) / r)
        gain = np.sum(1 / np.log2(r[:10] + 1)) * positives / n
        metrics["nDCG@10"] += fraction * gain / _ideal_gain(np.array([positives]))[0]
        metrics["mean rank ↓"] += fraction * (n + 1) / (positives + 1)
        earlier = (r[:positives] - 1) * (positives - 1) / max(n - 1, 1)
        metrics["MAP@R"] += fraction * np.sum((1 + earlier) / r[:positives]) / n
    median = int(np.argmax(beyond_N <= 0.5 + 1e-12)) + 1
    return {name: float(value) for name, value in metrics.items()} | {"median rank ↓": float(median)}
