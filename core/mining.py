"""Hard negatives, mined: for every record, what the model takes for its partner and is not."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from sensorium.contracts import FeatureTable
from sensorium.data.mined_negatives import SCHEMA
from sensorium.errors import SensoriumError
from sensorium.evaluation.contact_sheet import RetrievedImage, contact_sheet
from sensorium.evaluation.run_evaluation import SHEET_QUERIES, SHEET_TARGETS, RunEvaluation
from sensorium.evaluation.similarity import MAX_SIMILARITIES, l2_normalize, similarity_blocks
from sensorium.runs.atomic import write_atomically
from sensorium.seeding import generator, seed_of, uniform_of

IDENTICAL = 1e-4
"""Embeddings of length one that are no further apart are of one value: what rounding alone can part."""


@dataclass(frozen=True)
class MiningOptions:
    """What counts as a hard negative.

    Args:
        count: the most negatives of a query.
        ranks: first and last rank taken, 1 being the nearest of all that is neither positive nor a duplicate. A first
            rank above 1 passes over the nearest, among which unmarked positives hide.
        margin: a negative's cosine is at most the query's *least* cosine with a positive, minus this share of it.
        choose: "hardest", or "random" among those that the rules leave (by seed and record id).
        seed: of the random choice.
    """

    count: int = 5
    ranks: tuple[int, int] = (1, 100)
    margin: float = 0.05
    choose: Literal["hardest", "random"] = "hardest"
    seed: int = 0

    def __post_init__(self) -> None:
        first, last = self.ranks
        if self.count < 1 or not 1 <= first <= last:
            raise SensoriumError(
                f"Mining needs a count of at least 1 and ranks from 1 upwards, not {self.count} and {first} to {last}."
            )
        if self.choose not in ("hardest", "random"):
            raise SensoriumError(f"Mining chooses 'hardest' or 'random', not '{self.choose}'.")
        if not 0 <= self.margin < 1:
            raise SensoriumError(f"The margin of mining is a share, at least 0 and below 1, not {self.margin}.")


@dataclass
class MiningResult:
    """What was mined: M negatives of Q queries.

    Args:
        queries: M record ids, those of a query together.
        negatives: M record ids, hardest first within a query.
        ranks: int32 (M,), 1 for the nearest of all that is neither positive nor a duplicate.
        scores: float32 (M,), cosine of query and negative.
        positive_scores: float32 (M,), the query's least cosine with a positive.
        statistics: figures of the whole, by name.
        about: how it was mined, plain values; "target" and "field" say what is negative.
    """

    queries: list[str]
    negatives: list[str]
    ranks: np.ndarray
    scores: np.ndarray
    positive_scores: np.ndarray
    statistics: dict[str, float] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.queries)

    def examples(self, count: int) -> list[tuple[str, list[int]]]:
        """Return a few queries, the same at every call, each with the positions of its negatives, hardest first."""
        chosen = sorted(set(self.queries), key=lambda name: uniform_of("mined", name))[:count]
        return [(query, [i for i, name in enumerate(self.queries) if name == query]) for query in chosen]

    def write(self, path: Path) -> None:
        """Write a Parquet file of `SCHEMA`; `about` and `statistics` are its metadata, JSON under "sensorium"."""
        columns = [self.queries, self.negatives, self.ranks, self.scores, self.positive_scores]
        told = json.dumps({"about": self.about, "statistics": self.statistics})
        table = pa.table(columns, schema=SCHEMA.with_metadata({"sensorium": told}))
        write_atomically(path, lambda part: pq.write_table(table, part))


def mine_negatives(
    table: FeatureTable,
    query: str,
    target: str,
    rules: MiningOptions,
    values: dict[str, Sequence[Hashable]] | None = None,
    index: Literal["auto", "torch", "faiss"] = "auto",
) -> MiningResult:
    """Find hard negatives among the records of a table, exactly and in bounded memory.

    Positives of a query are the targets of its group. Never a negative: a positive; what has the value, or the
    embedding, of a positive; a positive of another query that has this one's value or embedding.

    Args:
        table: embeddings in one space.
        query: modality that asks.
        target: modality that is searched; it may be the same.
        rules: what counts.
        values: modality -> what tells the values of the N records apart, None where one is absent; by default,
            embeddings alone do.
        index: "torch" multiplies blocks of matrices, on the GPU when there is one; "faiss" asks a flat index of FAISS,
            as exact; "auto" is FAISS where it is installed and there is no GPU.

    Raises:
        SensoriumError: when no query has a positive, or FAISS is asked for and absent.
    """
    asking, targets = np.flatnonzero(table.present[query]), np.flatnonzero(table.present[target])
    groups_N = np.unique(np.asarray(table.groups, str), return_inverse=True)[1]
    positives = _Lists(groups_N[targets], np.arange(len(targets)), int(groups_N.max(initial=-1)) + 1)
    without = positives.counts[groups_N[asking]] == 0
    asking, left_out = asking[~without], int(without.sum())
    if not len(asking):
        raise SensoriumError(f"No record has '{query}' and, in its group, '{target}': there is nothing to mine.")
    x_QD, y_ND = l2_normalize(table.features[query][asking]), l2_normalize(table.features[target][targets])
    forbidden = _Forbidden(
        _classes(x_QD, _rows(values, query, asking)),
        _classes(y_ND, _rows(values, target, targets)),
        groups_N[asking],
        groups_N[targets],
    )
    search = _faiss(y_ND, index) or _torch
    found = _Found(rules, [table.ids[row] for row in asking])
    for block in _blocks(len(x_QD), len(y_ND)):
        rows, columns = positives.of(groups_N[asking[block]])
        own = (x_QD[block][rows] * y_ND[columns]).sum(1).cpu().numpy()
        least_B = np.full(block.stop - block.start, np.inf, np.float32)
        np.minimum.at(least_B, rows, own)
        found.add(block, least_B, *search(x_QD[block], y_ND, rules.ranks[1], forbidden.of(block)))
    return found.mined([table.ids[row] for row in targets], left_out)


class _Lists:
    """For each of K keys the numbers that go with it, each once."""

    def __init__(self, keys: np.ndarray, numbers: np.ndarray, count: int) -> None:
        pairs = np.unique(np.stack([keys, numbers], 1), axis=0)
        self._numbers = pairs[:, 1]
        self.counts = np.bincount(pairs[:, 0], minlength=count)
        self._starts = np.cumsum(self.counts) - self.counts

    def of(self, keys_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of B keys (P,), and which of the B each is for (P,)."""
        counts_B = self.counts[keys_B]
        rows = np.repeat(np.arange(len(keys_B)), counts_B)
        places = np.arange(len(rows)) - np.repeat(np.cumsum(counts_B) - counts_B, counts_B)
        return rows, self._numbers[np.repeat(self._starts[keys_B], counts_B) + places]


class _Forbidden:
    """Which targets can be no negative of a query.

    Args:
        query_classes: Q, queries of one value are of one class.
        target_classes: N, likewise.
        query_groups: Q.
        target_groups: N.
    """

    def __init__(
        self, query_classes: np.ndarray, target_classes: np.ndarray, query_groups: np.ndarray, target_groups: np.ndarray
    ) -> None:
        kinds, classes = int(query_classes.max()) + 1, int(target_classes.max()) + 1
        of_group = _Lists(target_groups, target_classes, int(max(query_groups.max(), target_groups.max())) + 1)
        pairs = np.unique(np.stack([query_classes, query_groups], 1), axis=0)
        rows, positive = of_group.of(pairs[:, 1])
        self._queries = query_classes
        self._classes = _Lists(pairs[rows, 0], positive, kinds)
        self._targets = _Lists(target_classes, np.arange(len(target_classes)), classes)

    def of(self, block: slice) -> tuple[np.ndarray, np.ndarray]:
        """Return the forbidden pairs of a block of queries: rows in the block, positions among the targets."""
        rows, classes = self._classes.of(self._queries[block])
        further, columns = self._targets.of(classes)
        return rows[further], columns


def _torch(x_BD: Tensor, y_ND: Tensor, k: int, forbidden: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, ...]:
    """Return scores and positions (B, k) of the best allowed targets, best first; minus infinity where none is left."""
    ((_, s_BN),) = similarity_blocks(x_BD, y_ND)
    rows, columns = (torch.from_numpy(f).to(s_BN.device) for f in forbidden)
    s_BN[rows, columns] = -torch.inf
    best = s_BN.topk(min(k, s_BN.shape[1]), dim=1)
    return best.values.cpu().numpy(), best.indices.cpu().numpy()


def _faiss(y_ND: Tensor, index: str) -> Any:
    """Return what searches as `_torch` does through a flat index of FAISS, or None when torch is to."""
    if index not in ("auto", "torch", "faiss"):
        raise SensoriumError(f"Mining searches by the index 'auto', 'torch' or 'faiss', not '{index}'.")
    there = find_spec("faiss") is not None
    if index == "faiss" and not there:
        raise SensoriumError("The index 'faiss' needs FAISS: run pip install faiss-cpu, or use the index 'torch'.")
    if index == "torch" or not there or (index == "auto" and torch.cuda.is_available()):
        return None
    import faiss

    flat = faiss.IndexFlatIP(y_ND.shape[1])
    flat.add(y_ND.cpu().numpy())

    def search(x_BD: Tensor, y_ND: Tensor, k: int, forbidden: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, ...]:
        rows, columns = forbidden
        more = int(np.bincount(rows, minlength=1).max()) if len(rows) else 0
        scores_BK, places_BK = flat.search(x_BD.cpu().numpy(), min(k + more, len(y_ND)))
        pairs_BK = np.arange(len(x_BD))[:, None] * len(y_ND) + places_BK
        scores_BK[np.isin(pairs_BK, rows * len(y_ND) + columns)] = -np.inf
        order_BK = np.argsort(-scores_BK, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores_BK, order_BK, 1), np.take_along_axis(places_BK, order_BK, 1)

    return search


def _blocks(queries: int, targets: int) -> list[slice]:
    """Return the blocks of queries whose similarities with all targets are held at once."""
    rows = max(1, MAX_SIMILARITIES // max(1, targets))
    return [slice(start, min(start + rows, queries)) for start in range(0, queries, rows)]


def _rows(values: dict[str, Sequence[Hashable]] | None, name: str, rows: np.ndarray) -> list[Hashable] | None:
    return None if values is None else [values[name][row] for row in rows]


def _classes(x_ND: Tensor, values: Sequence[Hashable] | None) -> np.ndarray:
    """Return a class for each of N rows; rows of one value, or of one embedding, share theirs."""
    first: dict[Hashable, int] = {}
    same = [(first.setdefault(value, row), row) for row, value in enumerate(values or ()) if value is not None]
    one, other = np.concatenate([np.array(same, np.int64).reshape(-1, 2), *_twins(x_ND)]).T
    return connected_components(coo_array((np.ones(len(one)), (one, other)), (len(x_ND), len(x_ND))), directed=False)[1]


def _twins(x_ND: Tensor) -> list[np.ndarray]:
    """Return pairs of rows (P, 2) no further apart than `IDENTICAL`, enough of them to connect all that are.

    Rows are sorted along one random line, on which twins are neighbors; three further lines part most others before
    the rows themselves are compared.
    """
    lines_N4 = x_ND.double() @ torch.randn(x_ND.shape[1], 4, generator=generator("twins")).double().to(x_ND.device)
    reach = IDENTICAL * 2 * x_ND.shape[1] ** 0.5  # a line's own length is about sqrt(D)
    kept, step, pairs = lines_N4[:, 0].argsort(), 1, []
    while step < len(kept):
        one, other = kept[:-step], kept[step:]
        near = (lines_N4[other, 0] - lines_N4[one, 0]) <= reach
        if not near.any():
            break
        one, other = one[near], other[near]
        near = ((lines_N4[other] - lines_N4[one]).abs() <= reach).all(1)
        one, other = one[near], other[near]
        same = (x_ND[one] - x_ND[other]).norm(dim=1) <= IDENTICAL
        pairs.append(torch.stack([one[same], other[same]], 1).cpu().numpy())
        if same.any():  # a twin is spoken for by the row before it
            kept, step = kept[~torch.isin(kept, other[same])], 1
        else:
            step += 1
    return pairs


class _Found:
    """Gathers the negatives of block after block, and what there is to say of them all."""

    def __init__(self, rules: MiningOptions, ids: list[str]) -> None:
        self.rules, self.ids = rules, ids
        self.rows: list[np.ndarray] = []
        self.columns: list[np.ndarray] = []
        self.ranks: list[np.ndarray] = []
        self.scores: list[np.ndarray] = []
        self.least: list[np.ndarray] = []
        self.above, self.near, self.refused = 0, 0, 0

    def add(self, block: slice, least_B: np.ndarray, scores_BK: np.ndarray, columns_BK: np.ndarray) -> None:
        """Take the best allowed targets of a block of queries, best first, and choose among them."""
        ranks_K = np.arange(1, scores_BK.shape[1] + 1)
        real_BK = np.isfinite(scores_BK) & (ranks_K >= self.rules.ranks[0])
        bar_B = least_B - self.rules.margin * np.abs(least_B)
        free_BK = real_BK & (scores_BK <= bar_B[:, None])
        self.above += int((scores_BK[:, 0] > least_B).sum())
        self.near += int(real_BK.sum())
        self.refused += int((real_BK & ~free_BK).sum())
        for row in range(len(least_B)):
            places = np.flatnonzero(free_BK[row])
            if self.rules.choose == "random":
                draw = np.random.default_rng(seed_of(self.rules.seed, "mine", self.ids[block.start + row]))
                places = np.sort(draw.permutation(places)[: self.rules.count])
            places = places[: self.rules.count]
            self.rows.append(np.full(len(places), block.start + row))
            self.columns.append(columns_BK[row, places])
            self.ranks.append(ranks_K[places])
            self.scores.append(scores_BK[row, places])
        self.least.append(least_B)

    def mined(self, targets: list[str], left_out: int) -> MiningResult:
        """Return everything that was found."""
        rows, columns = np.concatenate(self.rows), np.concatenate(self.columns)
        least_Q, scores = np.concatenate(self.least), np.concatenate(self.scores).astype(np.float32)
        having = len(np.unique(rows))
        statistics = {
            "queries": len(self.ids),
            "queries without a positive, left out": left_out,
            "queries without a negative": len(self.ids) - having,
            "negatives": len(rows),
            "share of queries whose nearest other beats a positive": self.above / len(self.ids),
            "share of the window that the margin refuses": self.refused / max(self.near, 1),
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


def draw_negatives(mined: MiningResult, table: FeatureTable, evaluation: RunEvaluation) -> Image.Image | None:
    """Draw a few queries with their partners (framed in green) and their negatives; None when a modality draws not."""
    query, target = mined.about["query"], mined.about["target"]
    towers = evaluation.plan.modalities
    examples = mined.examples(SHEET_QUERIES)
    if not (examples and towers[query].has_preview and towers[target].has_preview):
        return None
    assert table.positions is not None, "batches of a source have positions"
    positions = dict(zip(table.ids, table.positions.tolist(), strict=True))
    partners = set() if query == target else {table.ids[row] for row in np.flatnonzero(table.present[target])}
    rows = []
    for name, places in examples:
        ranked = [(mined.negatives[i], f"{mined.ranks[i]}: {mined.scores[i]:.2f}") for i in places[:SHEET_TARGETS]]
        found = [RetrievedImage(evaluation.preview(positions[id], target), caption, False) for id, caption in ranked]
        if name in partners:
            own = f"least positive: {mined.positive_scores[places[0]]:.2f}"
            found = [RetrievedImage(evaluation.preview(positions[name], target), own, True), *found]
        rows.append(found)
    pictures = [evaluation.preview(positions[name], query) for name, _ in examples]
    return contact_sheet(pictures, rows, f"hard negatives, {query} -> {target}")
