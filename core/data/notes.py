"""What a source and modalities say about the data before a training."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from sensorium.contracts import Modality, Source
from sensorium.data.decoding import raw_values

SAMPLE = 256
"""At most how many records modalities look at."""


def split_notes(source: Source, parts: Mapping[str, np.ndarray]) -> list[str]:
    """Return which parts were drawn from the train part of a source that names other parts itself.

    Args:
        source: where the records come from.
        parts: "train", "val" and "test" -> positions of their records.
    """
    named = {part for part, at in parts.items() if any(source.key(int(i)).split == part for i in _spread(at, 1000))}
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


def _spread(positions: np.ndarray, most: int) -> np.ndarray:
    return positions[:: max(math.ceil(len(positions) / most), 1)]
