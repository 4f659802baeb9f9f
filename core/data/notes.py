"""What a source and modalities say about the data before a training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa

from sensorium.contracts import Modality, RecordColumns, Source
from sensorium.data.decoding import raw_values
from sensorium.errors import BadSample

SAMPLE = 256
"""At most how many records modalities look at."""


def split_notes(columns: RecordColumns, parts: Mapping[str, np.ndarray]) -> list[str]:
    """Return which parts were drawn from the train part of a source that names other parts itself.

    Args:
        columns: of the records.
        parts: "train", "val" and "test" -> positions of their records.
    """
    if columns.splits is None:
        return []
    named = {part for part, at in parts.items() if part in columns.splits.take(pa.array(_spread(at, 1000))).to_pylist()}
    drawn = {part: len(parts[part]) for part in ("val", "test") if part not in named and len(parts[part])}
    whole = len(parts["train"]) + sum(drawn.values())
    return [
        f"the source names no {part} part: {count:,} of its {whole:,} train records ({100 * count / whole:.3g} %) went "
        f"to {part}; data.{part}=0 leaves them in train"
        for part, count in drawn.items()
        if named
    ]


def data_notes(
    source: Source, positions: np.ndarray, fields: Mapping[str, str], modalities: Mapping[str, Modality]
) -> list[str]:
    """Return the notes of a source, then those of each fitted modality, which name it.

    Args:
        source: where the records come from.
        positions: those of the train part, int64 (N,); a sample of them is read, evenly spaced.
        fields: modality name -> the source's field with its raw values.
        modalities: modality name -> modality.
    """
    sample = _spread(positions, SAMPLE)
    said = source.notes()
    for name, field in fields.items():
        modality = modalities[name]
        said += [f"{name}: {note}" for note in modality.notes(list(raw_values(source, sample, field, modality)))]
    return said


def pair_notes(
    source: Source, positions: np.ndarray, fields: Mapping[str, str], pairs: Iterable[tuple[str, str]]
) -> list[str]:
    """Return which pairs of modalities no record has both of.

    Args:
        source: where the records come from.
        positions: those of the train part, int64 (N,); of a source that does not know what is where, a sample is read.
        fields: modality name -> the source's field with its raw values.
        pairs: the modalities that the objective contrasts.
    """
    pairs = list(pairs)
    known = {name: source.present(fields[name]) for name in {name for pair in pairs for name in pair}}
    is_known = all(mask_N is not None for mask_N in known.values())
    rows = positions if is_known else _spread(positions, SAMPLE)
    held = {} if is_known or not pairs else _held(source, rows)
    said = []
    for one, other in pairs:
        masks = [held[fields[name]] if held else known[name][rows] for name in (one, other)]  # type: ignore[index]
        if not (masks[0] & masks[1]).any():
            who = "no record" if len(rows) == len(positions) else f"none of {len(rows)} records"
            counts = [f"{name} ({mask_N.sum():,})" for name, mask_N in zip((one, other), masks, strict=True)]
            said.append(
                f"{who} of the train part has both {' and '.join(counts)}: the pair {one} - {other} is never trained; "
                "name other pairs, or add records with both"
            )
    return said


def _held(source: Source, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return which of some records have a value in each field: bool (N,)."""
    held = {field: np.zeros(len(rows), bool) for field in source.fields}
    for number, row in enumerate(rows):
        try:
            values = source[int(row)].values
        except (BadSample, OSError):
            continue
        for field, value in values.items():
            if field in held:
                held[field][number] = value is not None
    return held


def _spread(positions: np.ndarray, most: int) -> np.ndarray:
    return positions[:: max(math.ceil(len(positions) / most), 1)]
