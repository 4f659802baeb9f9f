"""What can be said of a record in a line: captions and paths of its values, and its labels."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sensorium.contracts import Modality, Source
from sensorium.data.decoding import raw_value
from sensorium.errors import BadSample


@dataclass(frozen=True)
class RecordSummary:
    """What can be said of a record in a line.

    Args:
        captions: modality name -> its value in words, such as a text or a SMILES.
        paths: modality name -> the path of the file that is its value.
        labels: label name -> a number or a string; missing ones are left out.
    """

    captions: dict[str, str] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    labels: dict[str, Any] = field(default_factory=dict)


def summarize(
    source: Source, position: int, fields: Mapping[str, str], modalities: Mapping[str, Modality]
) -> RecordSummary:
    """Return what can be said of the record at a position; a value that cannot be read is left out.

    Args:
        source: where the record comes from.
        position: where the source has it.
        fields: modality name -> the source's field with its raw values.
        modalities: modality name -> modality.
    """
    labels = {name: _plain(value) for name, value in source.key(position).labels.items()}
    summary = RecordSummary(
        labels={name: value for name, value in labels.items() if value == value and value is not None}
    )
    try:
        record = source[position]
    except (BadSample, OSError):
        return summary
    for name, column in fields.items():
        try:
            raw = raw_value(record, column, modalities[name], source)
        except BadSample:
            continue
        path = raw.get("path") if isinstance(raw, Mapping) else raw
        if modalities[name].reads_files and isinstance(path, str | os.PathLike):
            summary.paths[name] = os.fspath(path)
        elif raw is not None and (caption := modalities[name].caption(raw)) is not None:
            summary.captions[name] = caption
    return summary


def _plain(value: object) -> Any:
    return value.item() if isinstance(value, np.generic) else value
