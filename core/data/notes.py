"""What a source and modalities say about the data before a training."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from sensorium.contracts import Modality, Source
from sensorium.data.decoding import raw_values

SAMPLE = 256
"""At most how many records modalities look at."""


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
    sample = positions[:: max(math.ceil(len(positions) / SAMPLE), 1)]
    said = source.notes()
    for name, field in fields.items():
        modality = modalities[name]
        said += [f"{name}: {note}" for note in modality.notes(list(raw_values(source, sample, field, modality)))]
    return said
