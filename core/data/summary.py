"""What can be said of a record in a line: captions and paths of its values, and its labels."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sensorium.contracts import Modality, Source
from sensorium.data.decoding import readable
from sensorium.data.several import values_of
from sensorium.errors import BadSample


@dataclass(frozen=True)
class RecordSummary:
    """What can be said of a record in a line.

    Args:
        captions: modality name -> its value in words, such as a text or a SMILES; of several, all.
        paths: modality name -> the path of the file that is its value; of several, all.
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
        for raw in values_of(record.values.get(column)):
            try:
                value = readable(raw, modalities[name], source)
            except BadSample:
                continue
            path = value.get("path") if isinstance(value, Mapping) else value
            if modalities[name].reads_files and isinstance(path, str | os.PathLike):
                _add(summary.paths, name, os.fspath(path))
            elif (caption := modalities[name].caption(value)) is not None:
                _add(summary.captions, name, caption)
    return summary


def _add(words: dict[str, str], name: str, more: str) -> None:
    words[name] = f"{words[name]} / {more}" if name in words else more


def _plain(value: object) -> Any:
    return value.item() if isinstance(value, np.generic) else value
