"""Contact sheets of a run's retrieval on its test part."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np

from sensorium.evaluation.contact_sheet import RetrievedImage, contact_sheet, write_sheet
from sensorium.evaluation.previews import Previews
from sensorium.feature_table import FeatureTable
from sensorium.neighbors.similarity import nearest_neighbors
from sensorium.seeding import uniform_of

SHEET_QUERIES, SHEET_TARGETS = 8, 6
"""Rows and columns of a contact sheet."""


def draw_retrieval_sheets(test: FeatureTable, previews: Previews, folder: Path) -> None:
    """Draw retrieval between every two modalities, in both directions, for a few records of the test part.

    Args:
        test: embeddings of the test part; with fewer than two modalities nothing is drawn.
        previews: draws the records.
        folder: where `sheet-A-to-B.png` is written.
    """
    if len(test.features) < 2:
        return
    assert test.positions is not None, "batches of a source have positions"
    positions = test.positions.tolist()
    for query, target in permutations(test.features, 2):
        if test.features[query].shape[1] != test.features[target].shape[1]:
            continue
        both = np.flatnonzero(test.present[query] & test.present[target])
        queries = sorted(both.tolist(), key=lambda row: uniform_of("sheet", test.ids[row]))[:SHEET_QUERIES]
        targets = np.flatnonzero(test.present[target])
        if not queries or not len(targets):
            continue
        found, query_features = test.features[target][targets], test.features[query][queries]
        scores_QK, columns_QK = nearest_neighbors(query_features, found, SHEET_TARGETS)
        results = [
            [
                RetrievedImage(
                    previews(positions[targets[column]], target),
                    f"{score:.2f}",
                    test.groups[targets[column]] == test.groups[row],
                )
                for score, column in zip(scores_QK[i].tolist(), columns_QK[i].tolist(), strict=True)
            ]
            for i, row in enumerate(queries)
        ]
        drawn = [previews(positions[row], query) for row in queries]
        sheet = contact_sheet(drawn, results, f"{query} -> {target}, {len(targets)} targets")
        path = folder / f"sheet-{query}-to-{target}.png"
        write_sheet(sheet, path)
