"""Clusters as rows, a table and a contact sheet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from sensorium.curation.clusters import NOISE, ClusterNames, ClusterOptions, Clusters
from sensorium.curation.records import ComparedRecords
from sensorium.curation.result import Curation, about, rows_of
from sensorium.evaluation.contact_sheet import Headings, RetrievedImage, contact_sheet
from sensorium.text_drawing import text_image

SHOWN, MEMBERS = 16, 6
"""Clusters on the sheet, and records of each."""


def cluster_report(
    records: ComparedRecords,
    clusters: Clusters,
    options: ClusterOptions,
    names: ClusterNames | None = None,
) -> Curation:
    """Return clusters as rows with `cluster` (null for noise), `cosine` (with the centre) and `name`; all are kept.

    Args:
        records: the records.
        clusters: the clusters.
        options: how they were found.
        names: what they are called; None where nothing names them.
    """
    is_noise_M = clusters.of_M == NOISE
    found: dict[str, Any] = {"cluster": pa.array(clusters.of_M, mask=is_noise_M), "cosine": clusters.cosine_M}
    if names is not None:
        found["name"] = pa.array(names.names, pa.string()).take(pa.array(clusters.of_M, mask=is_noise_M))
    sizes_K = np.bincount(clusters.of_M[~is_noise_M], minlength=len(clusters.centres_KD))
    statistics: dict[str, float] = {
        "records compared": len(records),
        "clusters": len(sizes_K),
        "records in no cluster": int(is_noise_M.sum()),
        "mean cosine with the centre": float(np.nanmean(clusters.cosine_M)) if len(sizes_K) else float("nan"),
    }
    if names is not None and len(sizes_K):
        is_named_K = np.isfinite(names.fits)
        if is_named_K.any():
            fits = np.array(names.fits)[is_named_K]
            statistics[f"mean {names.measure} of names"] = float(np.average(fits, weights=sizes_K[is_named_K]))
    table: list[dict[str, Any]] = []
    for cluster, size in enumerate(sizes_K.tolist()):
        row: dict[str, Any] = {"cluster": str(cluster), "records": size}
        if names is not None:
            row |= {"name": names.names[cluster] or "", names.measure: names.fits[cluster]}
        table.append({**row, "nearest to the centre": records.id(int(clusters.members(cluster)[0]))})
    noted = about(records, method=options.method, seed=options.seed, named_by=names.by if names else None)
    return Curation(rows_of(records, found, np.ones(len(records), bool)), statistics, table, noted)


def draw_clusters(
    records: ComparedRecords, clusters: Clusters, names: ClusterNames | None = None
) -> Image.Image | None:
    """Draw the largest clusters, one in a row: the records nearest to its centre."""
    draw = records.previews
    if draw is None or not len(clusters.centres_KD):
        return None
    titles, rows = [], []
    for cluster in range(min(SHOWN, len(clusters.centres_KD))):
        members, called = clusters.members(cluster), ""
        if names is not None and names.names[cluster] is not None:
            called = f"{names.names[cluster]} ({names.measure} {names.fits[cluster]:.2f}), "
        titles.append(text_image(f"{cluster}: {called}{len(members):,} records"))
        rows.append(
            [
                RetrievedImage(
                    draw(int(records.at_M[row]), records.modality),
                    f"{clusters.cosine_M[row]:.3f} {records.told(row)}",
                    False,
                )
                for row in members[:MEMBERS].tolist()
            ]
        )
    title = f"clusters, {len(titles)} of {len(clusters.centres_KD):,}"
    return contact_sheet(titles, rows, title, headings=Headings("cluster", "nearest to its centre"))
