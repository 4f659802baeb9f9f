"""Near-duplicates as rows, counts and contact sheets."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from PIL import Image

from sensorium.curation.near_duplicates import LEAST, NONE, DuplicateOptions, NearDuplicates, Pairs
from sensorium.curation.records import ComparedRecords
from sensorium.curation.result import Curation, about, rows_of
from sensorium.data.splits import PARTS
from sensorium.evaluation.contact_sheet import Headings, RetrievedImage, contact_sheet
from sensorium.seeding import uniform_of
from sensorium.text_drawing import text_image

LEVELS = (0.999, 0.99, 0.98, 0.95, 0.9, 0.85, LEAST)
"""Cosines between which pairs are counted and shown, so that a threshold can be chosen."""
GROUPS, MEMBERS, PAIRS = 12, 6, 3
"""What sheets show: groups of near-duplicates, records of one, and pairs between two levels."""


def duplicate_report(records: ComparedRecords, found: NearDuplicates, options: DuplicateOptions) -> Curation:
    """Return near-duplicates as rows with `duplicates` (the number of the group), `nearest`, `cosine` and `leak`."""
    pairs, near_P = found.pairs, found.pairs.cosine_P >= options.threshold
    has_M = found.nearest_M >= 0
    nearest = pa.array(records.at_M[found.nearest_M], mask=~has_M)
    rows = rows_of(
        records,
        {
            "duplicates": pa.array(found.group_M, mask=found.group_M == NONE),
            "nearest": _whole(records.columns.id_column()).take(nearest),
            "cosine": found.cosine_M,
            "leak": found.leaks_MP.any(axis=1),
        },
        found.keep_M,
    )
    is_near_M = found.group_M != NONE
    sizes = np.bincount(found.group_M[is_near_M])
    statistics: dict[str, float] = {
        "records compared": len(records),
        "near-duplicate pairs": int(near_P.sum()),
        "groups of near-duplicates": len(sizes),
        "records in such groups": int(is_near_M.sum()),
        "records of the largest group": int(sizes.max(initial=0)),
        "records to leave out": int((~found.keep_M).sum()),
    }
    for part in (1, 2):
        of_part_M = records.part_M == part
        for earlier in range(part) if of_part_M.any() else ():
            leaks = int((found.leaks_MP[:, earlier] & of_part_M).sum())
            statistics[f"leaks: records of {PARTS[part]} also in {PARTS[earlier]}"] = leaks
    table = [{"cosine at least": level, "pairs": pairs.at_least(level)} for level in _levels(options.threshold)]
    noted = about(records, threshold=options.threshold, prefer=options.prefer, index=pairs.searched)
    return Curation(rows, statistics, table, noted)


def draw_duplicates(records: ComparedRecords, found: NearDuplicates) -> Image.Image | None:
    """Draw groups of near-duplicates, those with a leak first: the record that is kept, and the others."""
    draw = records.previews
    groups = _shown_groups(found)
    if draw is None or not groups:
        return None
    kept, others, captions = [], [], []
    for rows in groups:
        first, *rest = rows[np.argsort(~found.keep_M[rows], kind="stable")].tolist()
        kept.append(draw(int(records.at_M[first]), records.modality))
        captions.append(records.told(first))
        cosines = (found.x_MD[rest] @ found.x_MD[first]).tolist()
        others.append(
            [
                RetrievedImage(
                    draw(int(records.at_M[row]), records.modality), f"{cosine:.3f} {records.told(row)}", False
                )
                for row, cosine in list(zip(rest, cosines, strict=True))[:MEMBERS]
            ]
        )
    title = f"near-duplicates, {int((~found.keep_M).sum()):,} records to leave out"
    return contact_sheet(kept, others, title, captions, Headings("kept", "near-duplicates of it"))


def draw_similarities(records: ComparedRecords, pairs: Pairs, threshold: float) -> Image.Image | None:
    """Draw some pairs between every two levels of similarity; those that count as near-duplicates framed in green."""
    draw = records.previews
    if draw is None or not len(pairs):
        return None
    titles, rows = [], []
    for above, below, chosen in _bands(pairs, _levels(threshold)):
        titles.append(text_image(f"{below:g} to {above:g}: {len(chosen):,} {'pair' if len(chosen) == 1 else 'pairs'}"))
        row = []
        for pair in sorted(chosen, key=lambda p: uniform_of("pairs", *pairs.rows_P2[p].tolist()))[:PAIRS]:
            cosine = float(pairs.cosine_P[pair])
            for side, member in enumerate(pairs.rows_P2[pair].tolist()):
                caption = f"{cosine:.3f} {records.told(member)}" if side else records.told(member)
                drawn = draw(int(records.at_M[member]), records.modality)
                row.append(RetrievedImage(drawn, caption, cosine >= threshold))
        rows.append(row)
    title = f"pairs by cosine; in green near-duplicates, {threshold:g} and above"
    return contact_sheet(titles, rows, title, headings=Headings("cosine", "pairs side by side"))


def _levels(threshold: float) -> list[float]:
    return sorted({*LEVELS, threshold}, reverse=True)


def _bands(pairs: Pairs, levels: list[float]) -> Iterator[tuple[float, float, np.ndarray]]:
    """Yield upper and lower level, and the pairs between, where there are any."""
    for above, below in zip([1.0, *levels], levels, strict=False):
        is_last = above == 1.0
        chosen = np.flatnonzero((pairs.cosine_P >= below) & ((pairs.cosine_P < above) | is_last))
        if len(chosen):
            yield above, below, chosen


def _shown_groups(found: NearDuplicates) -> list[np.ndarray]:
    """Return the records of some groups of near-duplicates, those with a leak first, then the largest."""
    rows = np.flatnonzero(found.group_M != NONE)
    rows = rows[np.argsort(found.group_M[rows], kind="stable")]
    groups = np.split(rows, np.flatnonzero(np.diff(found.group_M[rows])) + 1) if len(rows) else []
    return sorted(groups, key=lambda group: (not found.leaks_MP[group].any(), -len(group), int(group[0])))[:GROUPS]


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
