"""Examination of records on loader workers: each is read, decoded, described and hashed."""

from __future__ import annotations

import traceback
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from sensorium.contracts import Modality, Source
from sensorium.data.content import digest
from sensorium.data.decoding import Decoded, RecordDecoder
from sensorium.data.unreadable import UnreadableValue
from sensorium.errors import PluginError, SensoriumError
from sensorium.types import Record

Fact = float | bool | str


@dataclass
class Examined:
    """What was found in n records.

    Args:
        positions: int64 (n,), where the source has them.
        contents: modality name -> uint64 (n,), digests of the contents of their values; 0 where there
            is none.
        facts: modality name -> fact -> one entry for each value that has it.
        bad: the values that could not be read.
        failure: what stopped the examination.
    """

    positions: np.ndarray
    contents: dict[str, np.ndarray]
    facts: dict[str, dict[str, list[Fact]]] = field(default_factory=dict)
    bad: list[UnreadableValue] = field(default_factory=list)
    failure: SensoriumError | None = None


class RecordExaminer(torch.utils.data.Dataset[Examined]):
    """Examines the records of a source for some modalities.

    Args:
        source: where the records come from.
        fields: modality name -> the source's field with its raw values.
        modalities: modality name -> modality, fitted.
    """

    def __init__(self, source: Source, fields: Mapping[str, str], modalities: Mapping[str, Modality]) -> None:
        self._decoder = RecordDecoder(source, fields, modalities)

    def __getitem__(self, positions: np.ndarray) -> Examined:
        """Examine the records at positions of the source, int64 (n,)."""
        contents = {name: np.zeros(len(positions), np.uint64) for name in self._decoder.fields}
        found = Examined(positions, contents, {name: defaultdict(list) for name in contents})
        made = Decoded()
        try:
            for row, (position, record) in enumerate(self._decoder.read(positions.tolist(), made)):
                if record is not None:
                    self._examine(row, position, record, found, made)
        except SensoriumError as error:
            error.add_note(traceback.format_exc())
            found.failure = error
        found.bad = made.bad
        return found

    def _examine(self, row: int, position: int, record: Record, found: Examined, made: Decoded) -> None:
        """Add what one record holds."""
        digests: dict[str, list[int]] = {}
        for name, raw, example in self._decoder.pairs(record, position, made):
            modality = self._decoder.modalities[name]
            try:
                facts, content = modality.describe(raw, example), digest(modality.content(raw, example))
            except Exception as error:
                raise PluginError(
                    f"The modality '{name}' failed to describe the record '{record.id}': "
                    f"{type(error).__name__}: {error}."
                ) from error
            digests.setdefault(name, []).append(content)
            for fact, value in facts.items():
                found.facts[name][fact].append(value)
        for name, several in digests.items():
            found.contents[name][row] = (digest(several) if len(several) > 1 else several[0]) or 1  # 0 is no value
