"""Mined negatives: as a Parquet file, and as a contact sheet."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from sensorium.data.mined_negatives import SCHEMA
from sensorium.evaluation.contact_sheet import RetrievedImage, contact_sheet
from sensorium.evaluation.previews import Previews
from sensorium.evaluation.retrieval_sheets import SHEET_QUERIES, SHEET_TARGETS
from sensorium.feature_table import FeatureTable
from sensorium.runs.atomic import write_atomically
from sensorium.seeding import uniform_of


@dataclass
class MiningResult:
    """M mined negatives of Q queries.

    Args:
        queries: M record ids, those of a query consecutive.
        negatives: M record ids, hardest first for each query.
        ranks: int32 (M,), 1 is the nearest that is neither a positive nor a duplicate.
        scores: float32 (M,), cosine of query and negative.
        positive_scores: float32 (M,), the query's least cosine with a positive.
        statistics: counts and means over all queries, by name.
        about: how it was mined, plain values; "target" and "field" are those of the negatives.
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
        """Return a few queries, the same at every call, each with the indices of its negatives, hardest first."""
        chosen = sorted(set(self.queries), key=lambda name: uniform_of("mined", name))[:count]
        return [(query, [i for i, name in enumerate(self.queries) if name == query]) for query in chosen]

    def write(self, path: Path) -> None:
        """Write a Parquet file of `SCHEMA`; `about` and `statistics` are its metadata, JSON under "sensorium"."""
        columns = [self.queries, self.negatives, self.ranks, self.scores, self.positive_scores]
        metadata = json.dumps({"about": self.about, "statistics": self.statistics})
        table = pa.table(columns, schema=SCHEMA.with_metadata({"sensorium": metadata}))
        write_atomically(path, lambda part: pq.write_table(table, part))


def draw_negatives(result: MiningResult, table: FeatureTable, previews: Previews) -> Image.Image | None:
    """Draw a few queries with their positive (framed in green) and negatives; None if there are none."""
    query, target = result.about["query"], result.about["target"]
    examples = result.examples(SHEET_QUERIES)
    if not examples:
        return None
    assert table.positions is not None, "batches of a source have positions"
    positions = dict(zip(table.ids, table.positions.tolist(), strict=True))
    has_positive = set() if query == target else {table.ids[row] for row in np.flatnonzero(table.present[target])}
    rows = []
    for name, indices in examples:
        ranked = [(result.negatives[i], f"{result.ranks[i]}: {result.scores[i]:.2f}") for i in indices[:SHEET_TARGETS]]
        row = [RetrievedImage(previews(positions[id], target), caption, False) for id, caption in ranked]
        if name in has_positive:
            caption = f"least positive: {result.positive_scores[indices[0]]:.2f}"
            row = [RetrievedImage(previews(positions[name], target), caption, True), *row]
        rows.append(row)
    drawn = [previews(positions[name], query) for name, _ in examples]
    return contact_sheet(drawn, rows, f"hard negatives, {query} -> {target}")
