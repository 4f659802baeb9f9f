"""What a page searches and shows: an index of records, the model that reads queries, and previews."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
from PIL import Image
from torch import Tensor, from_numpy

from sensorium.embeddings.query import read_query
from sensorium.errors import RunError, SensoriumError, not_found
from sensorium.evaluation.previews import Previews
from sensorium.evaluation.shown import Shown
from sensorium.indexing.records import IndexedRecord, RecordIndex
from sensorium.models.model import Model

KEPT = 64
"""Uploaded queries that are kept, so that their pages can be opened again."""
WORDS = 2**20
"""Bytes up to which an uploaded file may be words."""


@dataclass(frozen=True)
class Asked:
    """What a page searches for.

    Args:
        words: what is asked, in a line.
        modality: that reads it.
        query_1D: its embedding.
        shown: modality -> what is shown of it.
        others: further modalities that would read it.
        id: of the record that is asked for; empty for what is no record.
    """

    words: str
    modality: str
    query_1D: Tensor
    shown: Mapping[str, Shown]
    others: tuple[str, ...] = ()
    id: str = ""


class Collection:
    """Records that are searched.

    Args:
        model: embeds queries.
        index: the records.
        previews: draws them out of their source; None shows what the index has of them.
        name: what the page is called.
    """

    def __init__(self, model: Model, index: RecordIndex, previews: Previews | None, name: str) -> None:
        self.model, self.index, self.previews, self.name = model, index, previews, name
        self.parts = model.plan.modalities
        self._ids = None if previews is None else previews.source.columns().id_column()
        self._uploads: OrderedDict[str, Asked] = OrderedDict()
        self._one_at_a_time = threading.Lock()

    @property
    def readers(self) -> list[str]:
        """The modalities that read words."""
        return [name for name, part in self.parts.items() if not part.reads_files]

    @cached_property
    def choices(self) -> dict[str, list[Any]]:
        """The labels that are chosen from a list, with their values."""
        found = {label: self.index.values_of(label) for label in self.index.labels}
        return {label: values for label, values in found.items() if values and not isinstance(values[0], float)}

    def ask(self, words: str, by: str = "") -> Asked:
        """Return what words ask for; they are never the path of a file.

        Raises:
            RunError: when no modality reads them.
        """
        reading = self.readers
        if by and by not in reading:
            raise RunError(
                f"'{by}' reads no words: upload a file. Words are read by {', '.join(reading) or 'nothing'}."
            )
        if not reading:
            raise RunError(f"The run reads no words, but files: upload one. It has {', '.join(self.parts)}.")
        return self._first_of([by] if by else reading, words, words)

    def ask_file(self, path: Path, name: str, by: str = "") -> str:
        """Return the key of what an uploaded file asks for.

        Args:
            path: where it is, with the extension of its name.
            name: what its user calls it.
            by: the modality that reads it; by default the first that does.

        Raises:
            RunError: when no modality reads it.
        """
        if by and self.parts.get(by) is not None and not self.parts[by].reads_files:
            asked = self._first_of([by], _words_in(path, name), name)
        elif by:
            asked = self._first_of([by], path, name)
        else:
            files = {one: part for one, part in self.parts.items() if part.reads_files}
            fitting = [one for one, part in files.items() if path.suffix.lower() in part.extensions]
            readers = [one for one in self.parts if one not in files]
            if fitting or not readers:
                asked = self._first_of(fitting or list(files), path, name)
            else:  # what no modality of files reads are words
                asked = self._first_of_files(list(files), path, name) or self._first_of(
                    readers, _words_in(path, name), name
                )
        key = secrets.token_urlsafe(12)
        self._uploads[key] = asked
        while len(self._uploads) > KEPT:
            self._uploads.popitem(last=False)
        return key

    def _first_of_files(self, names: list[str], path: Path, name: str) -> Asked | None:
        """Return what the first modality reads of a file, None where none does."""
        try:
            return self._first_of(names, path, name) if names else None
        except RunError:
            return None

    def asked_file(self, key: str) -> Asked:
        """Return what a file asked for that was uploaded before.

        Raises:
            RunError: when it is kept no more.
        """
        if key not in self._uploads:
            raise RunError("The uploaded file is kept no more: upload it again.")
        return self._uploads[key]

    def ask_record(self, id: str, by: str = "") -> Asked:
        """Return what a record asks for by its value of a modality: its neighbors.

        Raises:
            RunError: when there is no such record, or it lacks the modality.
        """
        found = self.index.records([id])
        vectors = self.index.vectors(id)
        if not found or not vectors:
            raise RunError(f"The index has no record '{id}'.")
        if by and by not in vectors:
            raise RunError(not_found(f"Record '{id}' has no '{by}'", by, list(vectors), f"it has {', '.join(vectors)}"))
        name = by or next(iter(vectors))
        others = tuple(other for other in vectors if other != name)
        return Asked(f"record {id}", name, from_numpy(vectors[name]), self.show(found[0]), others, id)

    def show(self, record: IndexedRecord) -> dict[str, Shown]:
        """Return what is shown of a record, by modality: out of the source, or else what the index has of it."""
        shown: dict[str, Shown] = {}
        position = self._position(record.id)
        for name in self.index.modalities:
            words = record.summary.captions.get(name) or record.summary.paths.get(name) or ""
            try:
                if position is not None and self.previews is not None:
                    shown[name] = self.previews.shown(position, name)
                    continue
            except (AssertionError, KeyError, SensoriumError, OSError):
                pass  # the record lacks it, or its source cannot be read any more
            if name in record.previews and Path(record.previews[name]).is_file():
                shown[name] = Shown(words, Image.open(record.previews[name]))
            elif words:
                shown[name] = Shown(words)
        return shown

    def targets_of(self, asked: Asked | None) -> list[str]:
        """Return the modalities in which a query can be searched: those of its space, others than its own first."""
        kinds = {name: self.index.width(name) for name in self.index.modalities}
        if asked is None:
            return list(kinds)
        fitting = [name for name, width in kinds.items() if width == asked.query_1D.shape[1]]
        return sorted(fitting, key=lambda name: name == asked.modality)

    def search(self, asked: Asked, target: str, count: int, condition: str | None) -> tuple[list[IndexedRecord], int]:
        """Return the records nearest to what is asked, itself left out, and how many were searched."""
        found, searched = self.index.nearest(target, asked.query_1D, count + bool(asked.id), condition)
        return [record for record in found if record.id != asked.id][:count], searched

    def _first_of(self, names: list[str], raw: Any, words: str) -> Asked:
        """Return what a raw value asks for, read by the first of some modalities that can."""
        read, reasons = [], []
        for name in names:
            try:
                read.append((name, read_query(raw, self.parts, name).example))
            except SensoriumError as error:
                reasons.append(str(error))
        if not read:
            raise RunError(" ".join(dict.fromkeys(reasons)).replace(f"'{raw}'", f"'{words}'"))
        (name, example), *others = read
        part = self.parts[name]
        with self._one_at_a_time:
            query_1D = self.model.encode(name, part.collate([example])).cpu()
        shown = Shown(words) if self.previews is None else self.previews.shown_query(example, name, words)
        return Asked(words, name, query_1D, {name: shown}, tuple(other for other, _ in others))

    def _position(self, id: str) -> int | None:
        """Return where the source has a record; None where it has none of this id."""
        if self._ids is None:
            return None
        at = pc.index(self._ids, id).as_py()
        return None if at < 0 else at


def _words_in(path: Path, name: str) -> str:
    """Return the words that a file holds.

    Raises:
        RunError: when it holds none.
    """
    if path.stat().st_size > WORDS:
        raise RunError(f"'{name}' is too large to be words.")
    try:
        return path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError as error:
        raise RunError(f"'{name}' holds no words: it is not text in UTF-8.") from error
