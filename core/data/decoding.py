"""From positions to a batch of records: reading, decoding, staging and collating, in any process."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from sensorium.contracts import Modality, Source, ViewGenerator
from sensorium.data.mined_negatives import MinedNegatives
from sensorium.errors import BadSample, DataError, PluginError, SensoriumError, not_found
from sensorium.presence import presence
from sensorium.seeding import generator
from sensorium.types import Batch, NegativeValues, Record, RecordBatch, record_keys


@dataclass
class Decoded:
    """The outcome of decoding the records at some positions.

    Args:
        records: the batch of the usable ones, or None when there is none.
        kept: which of the positions they are at: B indices into the list of positions.
        bad: id and reason of each record that could not be decoded.
        failure: what stopped the decoding; it is returned, not raised, because a loader worker that raises
            hides the sentence in its own traceback.
    """

    records: RecordBatch | None = None
    kept: list[int] = field(default_factory=list)
    bad: list[tuple[str, str]] = field(default_factory=list)
    failure: SensoriumError | None = None

    def pin_memory(self) -> Decoded:
        """Return the same in page-locked memory."""
        return self if self.records is None else Decoded(self.records.pin_memory(), self.kept, self.bad)


class RecordDecoder(torch.utils.data.Dataset):
    """Decodes the records of a source for some modalities; pure, so that any worker gives the same batch.

    Args:
        source: where the records come from.
        fields: modality name -> the source's field with its raw values.
        modalities: modality name -> modality.
        stages: modality name -> view generator whose `stage` runs on every example.
        seed: of the stages.
        every: whether a record must have all modalities to be used; otherwise one of them is enough.
        negatives: mined negatives of the records, decoded beside them as the modality that they are values of.
    """

    def __init__(
        self,
        source: Source,
        fields: Mapping[str, str],
        modalities: Mapping[str, Modality],
        stages: Mapping[str, ViewGenerator] | None = None,
        seed: int = 0,
        every: bool = False,
        negatives: MinedNegatives | None = None,
    ) -> None:
        for name, column in fields.items():
            if column not in source.fields:
                raise DataError(
                    not_found(
                        f"The modality '{name}' reads the field '{column}', which the source does not have",
                        column,
                        source.fields,
                        f"its fields are: {', '.join(source.fields)}",
                    )
                )
        self.source, self.fields, self.modalities = source, dict(fields), {n: modalities[n] for n in fields}
        self.stages = {name: views for name, views in (stages or {}).items() if overrides_stage(views)}
        self.seed, self.every, self.negatives = seed, every, negatives
        self._mined = negatives.modality(fields) if negatives is not None else ""

    def usable(self, positions: np.ndarray) -> np.ndarray:
        """Return the positions whose records have what is needed, as far as the source knows without reading them."""
        known = [self.source.present(name) for name in self.fields.values()]
        if any(mask_N is None for mask_N in known):
            return positions
        masks = [mask_N[positions] for mask_N in known if mask_N is not None]
        kept = positions[(np.all if self.every else np.any)(masks, axis=0)]
        if len(positions) and not len(kept):
            raise DataError(
                f"None of the {len(positions)} records has a value in {'all' if self.every else 'any'} of "
                f"{', '.join(self.fields.values())}."
            )
        return kept

    def __getitem__(self, work: tuple[int, np.ndarray]) -> Decoded:
        """Decode the records at positions of the source, in one epoch."""
        epoch, positions = work
        try:
            return self._decode(epoch, positions)
        except SensoriumError as error:
            error.add_note(traceback.format_exc())
            return Decoded(failure=error)

    def _decode(self, epoch: int, positions: np.ndarray) -> Decoded:
        made = Decoded()
        records: list[Record] = []
        rows: list[dict[str, Any]] = []
        mined: list[list[Any]] = []
        for row, position in enumerate(positions):
            try:
                record, examples = self._examples(epoch, int(position))
                negatives = self._negatives(epoch, record, int(position)) if examples else []
            except BadSample as error:
                made.bad.append((self.source.key(int(position)).id, str(error)))
                continue
            if len(examples) == len(self.fields) or (examples and not self.every):
                records.append(record)
                rows.append(examples)
                mined.append(negatives)
                made.kept.append(row)
        if rows:
            ids = [record.id for record in records]
            present = {name: presence([name in row for row in rows]) for name in self.fields}
            held = set().union(*rows)
            batches = {name: self._collate(name, ids, rows) for name in self.fields if name in held}
            ranks = self._collate_negatives(ids, mined)
            made.records = RecordBatch(ids, batches, present, record_keys(records), positions[made.kept], ranks)
        return made

    def _negatives(self, epoch: int, record: Record, position: int) -> list[Any]:
        """Return an example of each mined negative of a record, hardest first."""
        if self.negatives is None:
            return []
        others = (self._read(at) for at in self.negatives.of(position))
        raws = (raw_value(other, self.negatives.field, self.modalities[self._mined], self.source) for other in others)
        return [self._example(self._mined, raw, epoch, record) for raw in raws if raw is not None]

    def _collate_negatives(self, ids: list[str], mined: list[list[Any]]) -> dict[str, list[NegativeValues]]:
        """Return the negatives of a batch of records, rank after rank."""
        ranks = []
        for rank in range(max(map(len, mined))):
            rows = [{self._mined: examples[rank]} if rank < len(examples) else {} for examples in mined]
            present = presence([bool(row) for row in rows])
            ranks.append(NegativeValues(self._collate(self._mined, ids, rows), present))
        return {self._mined: ranks} if ranks else {}

    def _examples(self, epoch: int, position: int) -> tuple[Record, dict[str, Any]]:
        """Return a record without its values, and its example in every modality it has."""
        record, examples = self._read(position), {}
        for name, modality in self.modalities.items():
            raw = raw_value(record, self.fields[name], modality, self.source)
            if raw is None:
                continue
            examples[name] = self._example(name, raw, epoch, record)
        return replace(record, values={}), examples

    def _read(self, position: int) -> Record:
        """Return the record at a position of the source, with its values."""
        try:
            return self.source[position]
        except (BadSample, SensoriumError):
            raise
        except Exception as error:
            id = self.source.key(position).id
            raise _defect(f"The source {type(self.source).__name__} failed to read", id, error) from error

    def _example(self, name: str, raw: Any, epoch: int, record: Record) -> Any:
        """Return a raw value as an example of a modality, changed by the stage of its views."""
        try:
            example = self.modalities[name].decode(raw)
            if name in self.stages:
                example = self.stages[name].stage(example, generator(self.seed, epoch, record.id))
        except (BadSample, SensoriumError):
            raise
        except (FileNotFoundError, PermissionError) as error:
            raise BadSample(f"'{error.filename or raw}' cannot be read: {error.strerror or error}") from error
        except Exception as error:
            raise _defect(f"The modality '{name}' failed to decode", record.id, error) from error
        return example

    def _collate(self, name: str, ids: list[str], rows: list[dict[str, Any]]) -> Batch:
        chosen = [id for id, row in zip(ids, rows, strict=True) if name in row]
        try:
            return self.modalities[name].collate([row[name] for row in rows if name in row])
        except SensoriumError:
            raise
        except Exception as error:
            raise _defect(
                f"The modality '{name}' failed to join {len(chosen)} examples from", chosen[0], error
            ) from error


def raw_value(record: Record, field: str, modality: Modality, source: Source) -> Any:
    """Return what a modality decodes of a record, or None; the name of a file starts from the source's root."""
    raw = record.values.get(field)
    return os.path.join(source.root, raw) if modality.reads_files and isinstance(raw, str) else raw


def raw_values(source: Source, positions: np.ndarray, field: str, modality: Modality) -> Iterator[Any]:
    """Iterate over the raw values of one modality; records that cannot be read are left to the loader to count."""
    for position in positions:
        try:
            raw = raw_value(source[int(position)], field, modality, source)
        except BadSample:
            continue
        if raw is not None:
            yield raw


def overrides_stage(views: ViewGenerator) -> bool:
    """Return whether a view generator has a stage of its own before collation; its options may decide."""
    return getattr(views.stage, "__func__", views.stage) is not ViewGenerator.stage


def _defect(what: str, id: str, error: Exception) -> PluginError:
    return PluginError(f"{what} the record '{id}': {type(error).__name__}: {error}.")
