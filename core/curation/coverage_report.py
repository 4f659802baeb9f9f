"""A sample that covers all records: as rows, a table of classes, and a contact sheet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from sensorium.contracts.record_columns import numbered
from sensorium.curation.coverage import Coverage, CoverageOptions
from sensorium.curation.records import ComparedRecords
from sensorium.curation.result import Curation, about, rows_of
from sensorium.evaluation.contact_sheet import Headings, RetrievedImage, contact_sheet

SHOWN, COVERED = 16, 5
"""Chosen records on the sheet, and records that each stands for."""


def coverage_report(
    records: ComparedRecords, found: Coverage, options: CoverageOptions, label: str | None = None
) -> Curation:
    """Return a sample as rows with `order`, `covered_by` and `distance`; the chosen records are kept.

    Args:
        records: the records.
        found: the sample.
        options: how it was chosen.
        label: of which a table says how many records of each value there are, and are chosen.
    """
    order_M, keep_M = np.zeros(len(records), np.int64), np.zeros(len(records), bool)
    order_M[found.chosen_n], keep_M[found.chosen_n] = np.arange(1, len(found.chosen_n) + 1), True
    ids = pa.array(records.columns.ids_at(records.at_M[found.chosen_n]), pa.string())
    columns = {
        "order": pa.array(order_M, mask=~keep_M),
        "covered_by": ids.take(pa.array(found.by_M)),
        "distance": found.distance_M,
    }
    statistics: dict[str, float] = {
        "records compared": len(records),
        "records chosen": len(found.chosen_n),
        "largest distance to a chosen record": float(found.distance_M.max()),
        "largest distance, of a random sample": float(found.random_M.max()),
        "mean distance to a chosen record": float(found.distance_M.mean()),
        "mean distance, of a random sample": float(found.random_M.mean()),
    }
    table: list[dict[str, Any]] = []
    if label is not None:
        values, number_M = numbered(records.label(label))
        for number, value in enumerate(values.to_pylist()):
            of_value_M = number_M == number
            chosen = int((of_value_M & keep_M).sum())
            table.append({label: str(value), "records": int(of_value_M.sum()), "chosen": chosen})
        table.sort(key=lambda row: -row["records"])
    noted = about(records, method=options.method, count=options.count, seed=options.seed)
    return Curation(rows_of(records, columns, keep_M), statistics, table, noted)


def draw_coverage(records: ComparedRecords, found: Coverage) -> Image.Image | None:
    """Draw chosen records, each with the nearest of those that it stands for."""
    draw = records.previews
    if draw is None:
        return None
    covered_n = np.bincount(found.by_M, minlength=len(found.chosen_n))
    places = np.argsort(-covered_n, kind="stable")[:SHOWN].tolist()
    queries, captions, rows = [], [], []
    for place in places:
        chosen = int(found.chosen_n[place])
        queries.append(draw(int(records.at_M[chosen]), records.modality))
        captions.append(f"{covered_n[place]:,}: {records.told(chosen)}")
        near = np.flatnonzero(found.by_M == place)
        near = near[(near != chosen)]
        near = near[np.argsort(found.distance_M[near], kind="stable")][:COVERED]
        rows.append(
            [
                RetrievedImage(
                    draw(int(records.at_M[row]), records.modality),
                    f"{found.distance_M[row]:.3f} {records.told(row)}",
                    False,
                )
                for row in near.tolist()
            ]
        )
    title = f"chosen records, those that cover most: {len(places)} of {len(found.chosen_n):,}"
    return contact_sheet(queries, rows, title, captions, Headings("chosen, covers", "the nearest of these"))
