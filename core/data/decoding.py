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
from sensorium.data.unreadable import UnreadableValue
from sensorium.errors import BadSample, DataError, Location, PluginError, SensoriumError, not_found
from sensorium.presence import presence
from sensorium.seeding import generator
from sensorium.types import Batch, NegativeValues, Record, RecordBatch, Unreadable, record_keys


@dataclass
class Decoded:
    """The outcome of decoding the records at some positions.

    Args:
        records: the batch of the usable ones, or None when there is none.
        kept: which of the positions they are at: B indices into the list of positions.
        bad: the values that could not be read; their records are among the usable ones if another value of theirs is.
        failure: what stopped the decoding; it is returned, not raised, because a loader worker that raises
            hides the sentence in its own traceback.
    """

    records: RecordBatch | None = None
    kept: list[int] = field(default_factory=list)
    bad: list[UnreadableValue] = field(default_factory=list)
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
            if (record := self.read(int(position), made.bad)) is None:
                continue
            examples = self.examples(record, int(position), made.bad, epoch)
            if len(examples) == len(self.fields) or (examples and not self.every):
                records.append(replace(record, values={}))
                rows.append(examples)
                mined.append(self._negatives(epoch, record, int(position), made.bad))
                made.kept.append(row)
        if rows:
            ids = [record.id for record in records]
            present = {name: presence([name in row for row in rows]) for name in self.fields}
            held = set().union(*rows)
            batches = {name: self._collate(name, ids, rows) for name in self.fields if name in held}
            ranks = self._collate_negatives(ids, mined)
            made.records = RecordBatch(ids, batches, present, record_keys(records), positions[made.kept], ranks)
        return made

    def _negatives(self, epoch: int, record: Record, position: int, bad: list[UnreadableValue]) -> list[Any]:
        """Return an example of each mined negative of a record that can be read, hardest first."""
        if self.negatives is None:
            return []
        name, column, examples = self._mined, self.negatives.field, []
        for at in self.negatives.of(position):
            other = self.read(at, bad)
            example = None if other is None else self._example(name, column, other, at, epoch, record.id, bad)
            if example is not None:
                examples.append(example)
        return examples

    def _collate_negatives(self, ids: list[str], mined: list[list[Any]]) -> dict[str, list[NegativeValues]]:
        """Return the negatives of a batch of records, rank after rank."""
        ranks = []
        for rank in range(max(map(len, mined))):
            rows = [{self._mined: examples[rank]} if rank < len(examples) else {} for examples in mined]
            present = presence([bool(row) for row in rows])
            ranks.append(NegativeValues(self._collate(self._mined, ids, rows), present))
        return {self._mined: ranks} if ranks else {}

    def examples(self, record: Record, position: int, bad: list[UnreadableValue], epoch: int = 0) -> dict[str, Any]:
        """Return the example of a record in every modality it has; what cannot be decoded is added to `bad`."""
        made = {
            name: self._example(name, column, record, position, epoch, record.id, bad)
            for name, column in self.fields.items()
        }
        return {name: example for name, example in made.items() if example is not None}

    def read(self, position: int, bad: list[UnreadableValue]) -> Record | None:
        """Return the record at a position, with its values; None, with one more in `bad`, if it cannot be read."""
        try:
            return self.source[position]
        except SensoriumError:
            raise
        except (BadSample, FileNotFoundError, PermissionError) as error:
            bad.append(UnreadableValue.of(as_bad_sample(error), self.source.key(position).id, position))
            return None
        except Exception as error:
            id = self.source.key(position).id
            raise _defect(f"The source {type(self.source).__name__} failed to read", id, error) from error

    def _example(
        self, name: str, column: str, record: Record, position: int, epoch: int, seed: str, bad: list[UnreadableValue]
    ) -> Any:
        """Return the value in a column of a record as an example of a modality, changed by the stage of its views.

        None if there is no value, or it cannot be read; `seed` is the id of the record that it is staged for.
        """
        modality = self.modalities[name]
        try:
            raw = raw_value(record, column, modality, self.source)
            if raw is None:
                return None
            example = modality.decode(raw)
            if name in self.stages:
                example = self.stages[name].stage(example, generator(self.seed, epoch, seed))
        except SensoriumError:
            raise
        except (BadSample, FileNotFoundError, PermissionError) as error:
            where = self._where(record.values[column], column, position, modality)
            bad.append(UnreadableValue.of(as_bad_sample(error), record.id, position, name, where))
            return None
        except Exception as error:
            raise _defect(f"The modality '{name}' failed to decode", record.id, error) from error
        return example

    def _where(self, raw: Any, column: str, position: int, modality: Modality) -> Location | None:
        """Return where a value is found again: its own path, or what the source says."""
        if modality.reads_files and isinstance(raw, str):
            return Location(os.path.join(self.source.root, raw))
        return self.source.locate(position, column)

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
    """Return what a modality decodes of a record, or None; the name of a file starts from the source's root.

    Raises:
        BadSample: when the source could not read it.
    """
    raw = record.values.get(field)
    if isinstance(raw, Unreadable):
        raise BadSample(raw.reason, raw.kind, raw.where)
    return os.path.join(source.root, raw) if modality.reads_files and isinstance(raw, str) else raw


def raw_values(source: Source, positions: np.ndarray, field: str, modality: Modality) -> Iterator[Any]:
    """Iterate over the raw values of one modality; what cannot be read is left to the loader to count."""
    for position in positions:
        try:
            raw = raw_value(source[int(position)], field, modality, source)
        except (BadSample, FileNotFoundError, PermissionError):
            continue
        if raw is not None:
            yield raw


def as_bad_sample(error: BadSample | OSError) -> BadSample:
    """Return the error of a value that cannot be read; that of the system names the file."""
    if isinstance(error, BadSample):
        return error
    file = f"'{error.filename}'" if error.filename else "the file"
    return BadSample(f"{file} cannot be read: {error.strerror or error}", "missing")


def overrides_stage(views: ViewGenerator) -> bool:
    """Return whether a view generator has a stage of its own before collation; its options may decide."""
    return getattr(views.stage, "__func__", views.stage) is not ViewGenerator.stage


def _defect(what: str, id: str, error: Exception) -> PluginError:
    return PluginError(f"{what} the record '{id}': {type(error).__name__}: {error}.")
