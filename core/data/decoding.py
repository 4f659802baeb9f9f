"""From positions to a batch of records: reading, decoding, staging and collating, in any process."""

from __future__ import annotations

import os
import traceback
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from sensorium.contracts import Modality, Source, ViewGenerator
from sensorium.data.described import Described, collate, descriptors_of
from sensorium.data.mined_negatives import MinedNegatives
from sensorium.data.packed_values import is_packed, unpacked
from sensorium.data.patience import Patience, begin_reading
from sensorium.data.requests import defect, request
from sensorium.data.several import drawn, values_of
from sensorium.data.unreadable import UnreadableValue
from sensorium.errors import BadSample, DataError, Location, SensoriumError, as_bad_sample, not_found
from sensorium.presence import presence
from sensorium.seeding import generator
from sensorium.types import Batch, RankedValues, Record, RecordBatch, Unreadable, record_key, record_keys

TOGETHER = 64
"""Records whose raw values are read in one request where no batch says how many."""


@dataclass
class Decoded:
    """The outcome of decoding the records at some positions.

    Args:
        records: the batch of the usable ones, or None when there is none.
        kept: which of the positions they are at: B indices into the list of positions.
        bad: the values that could not be read; their records are among the usable ones if another value of theirs is.
        retried: what the store said whenever a record was read again.
        failure: what stopped the decoding; it is returned, not raised, because a loader worker that raises
            hides the sentence in its own traceback.
    """

    records: RecordBatch | None = None
    kept: list[int] = field(default_factory=list)
    bad: list[UnreadableValue] = field(default_factory=list)
    retried: list[str] = field(default_factory=list)
    failure: SensoriumError | None = None

    def pin_memory(self) -> Decoded:
        """Return the same in page-locked memory."""
        return self if self.records is None else replace(self, records=self.records.pin_memory())


class RecordDecoder(torch.utils.data.Dataset):
    """Decodes the records of a source for some modalities; pure, so that any worker gives the same batch.

    Args:
        source: where the records come from.
        fields: modality name -> the source's field with its raw values.
        modalities: modality name -> modality.
        stages: modality name -> view generator whose `stage` runs on every example.
        seed: of the stages, and of the draws among several values.
        every: whether a record must have all modalities to be used; otherwise one of them is enough.
        negatives: mined negatives of the records, decoded beside them as the modality that they are values of.
        all_values: of a field with several values, decode all, as evaluation does; otherwise one is drawn.
        described: names of the modalities whose examples come with their descriptors.
        patience: with the store, when it fails.
        keys: names of the keys of records that are delivered beside "record" (see `record_keys`); None for all.
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
        all_values: bool = False,
        described: Collection[str] = (),
        patience: Patience | None = None,
        keys: Collection[str] | None = None,
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
        self.seed, self.every, self.negatives, self.all_values = seed, every, negatives, all_values
        self._described = frozenset(described)
        self.patience = patience or Patience()
        self._keys = None if keys is None else tuple(dict.fromkeys(("record", *keys)))
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
            made = self._decode(epoch, positions)
        except SensoriumError as error:
            error.add_note(traceback.format_exc())
            made = Decoded(failure=error)
        made.retried = self.patience.told()
        return made

    def _decode(self, epoch: int, positions: np.ndarray) -> Decoded:
        made = Decoded()
        records: list[Record] = []
        rows: list[dict[str, list[Any]]] = []
        for row, (position, record) in enumerate(self.read(positions.tolist(), made)):
            examples = {} if record is None else self.examples(record, position, made, epoch)
            if record is not None and (len(examples) == len(self.fields) or (examples and not self.every)):
                records.append(replace(record, values={}))
                rows.append(examples)
                made.kept.append(row)
        if rows:
            mined = self._negatives(epoch, records, positions[made.kept], made)
            ids = [record.id for record in records]
            columns = {name: [row.get(name, []) for row in rows] for name in self.fields}
            present = {name: presence([bool(values) for values in column]) for name, column in columns.items()}
            firsts = {name: [values[:1] for values in column] for name, column in columns.items()}
            batches = {name: self._collate(name, ids, column) for name, column in firsts.items() if any(column)}
            made.records = RecordBatch(
                ids,
                batches,
                present,
                record_keys(records, self._keys),
                positions[made.kept],
                self._ranked(ids, {self._mined: mined}),
                self._ranked(ids, {name: [values[1:] for values in column] for name, column in columns.items()}),
            )
        return made

    def _negatives(self, epoch: int, records: list[Record], positions: np.ndarray, made: Decoded) -> list[list[Any]]:
        """Return an example of each mined negative that can be read, hardest first, for each record."""
        if self.negatives is None:
            return [[] for _ in records]
        wanted = [(row, at) for row, position in enumerate(positions.tolist()) for at in self.negatives.of(position)]
        examples: list[list[Any]] = [[] for _ in records]
        for (row, _), (at, other) in zip(wanted, self.read([at for _, at in wanted], made), strict=True):
            if other is not None:
                of_record = records[row].id
                examples[row] += self._values(self._mined, self.negatives.field, other, at, epoch, of_record, made)[:1]
        return examples

    def _ranked(self, ids: list[str], rows_of: Mapping[str, list[list[Any]]]) -> dict[str, list[RankedValues]]:
        """Return lists of examples of the records of a batch, by modality, rank after rank."""
        ranked: dict[str, list[RankedValues]] = {}
        for name, rows in rows_of.items():
            for rank in range(max(map(len, rows))):
                column = [row[rank : rank + 1] for row in rows]
                values = RankedValues(self._collate(name, ids, column), presence([bool(row) for row in column]))
                ranked.setdefault(name, []).append(values)
        return ranked

    def examples(self, record: Record, position: int, made: Decoded, epoch: int = 0) -> dict[str, list[Any]]:
        """Return the examples of a record in every modality it has; what cannot be read is added to `made.bad`."""
        found = {
            name: self._values(name, column, record, position, epoch, record.id, made)
            for name, column in self.fields.items()
        }
        return {name: examples for name, examples in found.items() if examples}

    def pairs(self, record: Record, position: int, made: Decoded) -> Iterator[tuple[str, Any, Any]]:
        """Iterate over every value of a record that can be read: modality, the raw value as it decodes it, example."""
        for name, column in self.fields.items():
            for raw in values_of(record.values.get(column)):
                example = self._example(name, column, raw, record.id, position, 0, record.id, made)
                if example is not None:
                    yield name, readable(raw, self.modalities[name], self.source), example

    def read(self, positions: list[int], made: Decoded) -> Iterator[tuple[int, Record | None]]:
        """Iterate over positions and their records with values, which are read in one request.

        One that cannot be read is None, and one more in `made.bad`.
        """
        for position, record in zip(positions, request(self.source, positions, self.patience), strict=True):
            if isinstance(record, BadSample):
                made.bad.append(UnreadableValue.of(record, self.source.key(position).id, position))
                yield position, None
            else:
                yield position, record

    def _values(
        self, name: str, column: str, record: Record, position: int, epoch: int, staged_for: str, made: Decoded
    ) -> list[Any]:
        """Return the values in a column of a record as examples of a modality: all, or the one that is drawn.

        None of them if there is no value, or none can be read; of one that cannot, the next takes the place.

        Args:
            name: the modality.
            column: the field.
            record: with its values.
            position: where the source has it.
            epoch: what is drawn is a function of it, as is the stage.
            staged_for: id of the record that the examples are staged for.
            made: where unreadable values are noted.
        """
        raws = values_of(record.values.get(column))
        if len(raws) > 1 and not self.all_values:
            count_1, key_1 = np.array([len(raws)]), np.array([record_key(record.id)])
            first = int(drawn(count_1, key_1, self.seed, "value", epoch, name)[0])
            raws = [*raws[first:], *raws[:first]]
        examples: list[Any] = []
        for raw in raws:
            example = self._example(name, column, raw, record.id, position, epoch, staged_for, made)
            if example is not None:
                examples.append(example)
                if not self.all_values:
                    break
        return examples

    def _example(
        self, name: str, column: str, raw: Any, id: str, position: int, epoch: int, staged_for: str, made: Decoded
    ) -> Any:
        """Return a raw value as an example, changed by the stage of its views; None if it cannot be read."""
        modality = self.modalities[name]
        begin_reading(position)
        try:
            readable_raw = readable(raw, modality, self.source)
            example = decoded = self.patience.read(lambda: modality.decode(readable_raw), lambda: id)
            if name in self.stages:
                example = self.stages[name].stage(example, generator(self.seed, epoch, staged_for))
            if name in self._described:
                example = Described(example, descriptors_of(modality, decoded))
        except SensoriumError:
            raise
        except (BadSample, FileNotFoundError, PermissionError) as error:
            where = self._where(raw, column, position, modality)
            made.bad.append(UnreadableValue.of(as_bad_sample(error), id, position, name, where))
            return None
        except Exception as error:
            raise defect(f"The modality '{name}' failed to decode", id, error) from error
        return example

    def _where(self, raw: Any, column: str, position: int, modality: Modality) -> Location | None:
        """Return where a value is found again: its own path, or what the source says."""
        if modality.reads_files and isinstance(raw, str):
            return Location(os.path.join(self.source.root, raw))
        return self.source.locate(position, column)

    def _collate(self, name: str, ids: list[str], rows: list[list[Any]]) -> Batch:
        """Join the examples of records, at most one of each."""
        chosen = [id for id, row in zip(ids, rows, strict=True) if row]
        try:
            return collate(self.modalities[name], [row[0] for row in rows if row])
        except SensoriumError:
            raise
        except Exception as error:
            raise defect(
                f"The modality '{name}' failed to join {len(chosen)} examples from", chosen[0], error
            ) from error


def readable(raw: Any, modality: Modality, source: Source) -> Any:
    """Return what a modality decodes of a raw value; the name of a file starts from the source's root.

    What `sensorium pack` stored as bytes, such as an array, is what it was.

    Raises:
        BadSample: when the source could not read it.
    """
    if isinstance(raw, Unreadable):
        raise BadSample(raw.reason, raw.kind, raw.where)
    if is_packed(raw):
        return unpacked(raw)
    return os.path.join(source.root, raw) if modality.reads_files and isinstance(raw, str) else raw


def raw_values(
    source: Source, positions: np.ndarray, field: str, modality: Modality, patience: Patience | None = None
) -> Iterator[Any]:
    """Iterate over the raw values of one modality; what cannot be read is left to the loader to count."""
    patience = patience or Patience()
    for start in range(0, len(positions), TOGETHER):
        for record in request(source, positions[start : start + TOGETHER].tolist(), patience):
            if isinstance(record, BadSample):
                continue
            for raw in values_of(record.values.get(field)):
                if not isinstance(raw, Unreadable):
                    yield readable(raw, modality, source)


def learned_from(source: Source, positions: np.ndarray, field: str, modality: Modality) -> np.ndarray:
    """Return the records that a modality learns from, int64, ascending: as many of those that have it as it asks for.

    One of each stretch of equally many, so that any part of the source is in it, and no period of it.

    Args:
        source: of the records.
        positions: of the train part, ascending.
        field: of the raw values.
        modality: not fitted.
    """
    present_N = source.present(field)
    there = positions if present_N is None else positions[present_N[positions]]
    if modality.fits is None or len(there) <= modality.fits:
        return there
    edges = np.arange(modality.fits + 1) * len(there) // modality.fits
    return there[np.random.default_rng(0).integers(edges[:-1], edges[1:])]


def overrides_stage(views: ViewGenerator) -> bool:
    """Return whether a view generator has a stage of its own before collation; its options may decide."""
    return getattr(views.stage, "__func__", views.stage) is not ViewGenerator.stage
