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
"""Uploaded queries, and long words, that are kept, so that their pages can be opened again."""
WORDS = 2**20
"""Bytes up to which an uploaded file may be words."""
SHOWN = 200
"""Characters of long words that name them."""


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


@dataclass(frozen=True)
class Upload:
    """A file that was uploaded, or long words, as modalities read it.

    Args:
        name: what its user calls it; of words the first.
        examples: modality -> what it reads of it; the first is taken unless another is asked for.
    """

    name: str
    examples: Mapping[str, Any]


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
        self._uploads: OrderedDict[str, Upload] = OrderedDict()
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

    def chosen(self, label: str, written: str) -> Any:
        """Return the value of a label that a form names, whose line breaks browsers rewrite; None where it names none.

        Raises:
            RunError: when the label has no such value.
        """
        if not written:
            return None
        names = {one_break(str(value)): value for value in self.choices[label]}
        if (name := one_break(written)) not in names:
            problem = f"The label '{label}' has no value '{name}'"
            raise RunError(not_found(problem, name, names, f"it has: {', '.join(names)}"))
        return names[name]

    def ask(self, words: str, by: str = "") -> Asked:
        """Return what words ask for; they are never the path of a file.

        Raises:
            RunError: when no modality reads them.
        """
        return self._asked(words, self._read_words(words, by))

    def keep_words(self, words: str, by: str = "") -> str:
        """Keep what modalities read of words that are too long for an address; return their key, as `keep_file`.

        Raises:
            RunError: when no modality reads them.
        """
        return self._keep(Upload(_shortened(words), self._read_words(words, by)))

    def _read_words(self, words: str, by: str) -> dict[str, Any]:
        """Return what each modality of words, or the one that is asked for, reads of some."""
        reading = self.readers
        if by and by not in reading:
            raise RunError(
                f"'{by}' reads no words: upload a file. Words are read by {', '.join(reading) or 'nothing'}."
            )
        if not reading:
            raise RunError(f"The run reads no words, but files: upload one. It has {', '.join(self.parts)}.")
        return self._read([by] if by else reading, words, words)

    def keep_file(self, path: Path, name: str, by: str = "") -> str:
        """Keep what modalities read of an uploaded file; return the key that it is asked for by.

        Args:
            path: where it is, with the extension of its name.
            name: what its user calls it.
            by: the modality that reads it; by default all that do.

        Raises:
            RunError: when no modality reads it.
        """
        return self._keep(Upload(name, self._read_file(path, name, by)))

    def _keep(self, upload: Upload) -> str:
        """Keep what is asked for, and return its key; the oldest gives way."""
        key = secrets.token_urlsafe(12)
        self._uploads[key] = upload
        while len(self._uploads) > KEPT:
            self._uploads.popitem(last=False)
        return key

    def _read_file(self, path: Path, name: str, by: str) -> dict[str, Any]:
        """Return what each modality reads of a file: of those of files, or else of those of words."""
        files = {one: part for one, part in self.parts.items() if part.reads_files}
        if by:
            return self._read([by], path if by in files else _words_in(path, name), name)
        fitting = [one for one, part in files.items() if path.suffix.lower() in part.extensions]
        if fitting or not self.readers:
            return self._read(fitting or list(files), path, name)
        try:
            return self._read(list(files), path, name)
        except RunError:  # what no modality of files reads are words
            return self._read(self.readers, _words_in(path, name), name)

    def ask_file(self, key: str, by: str = "") -> Asked:
        """Return what a file asks for that was uploaded before, or words that were kept.

        Raises:
            RunError: when it is kept no more, or the modality did not read it.
        """
        if key not in self._uploads:
            raise RunError("What was asked for here is kept no more: upload the file, or send the words, again.")
        upload = self._uploads[key]
        if by and by not in upload.examples:
            known = ", ".join(upload.examples)
            raise RunError(f"'{upload.name}' was read as {known}: send it again to have it read as '{by}'.")
        return self._asked(upload.name, upload.examples, by)

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
            except (KeyError, SensoriumError, OSError):
                pass  # the record lacks it, or its source cannot be read any more
            if name in record.previews and Path(record.previews[name]).is_file():
                shown[name] = Shown(words, Image.open(record.previews[name]))
            elif words:
                shown[name] = Shown(words)
        return shown

    def targets_of(self, asked: Asked | None) -> list[str]:
        """Return the modalities in which a query can be searched: those of its space.

        Words and files are searched in others than their own first, a record in its own: these are its neighbors.
        """
        kinds = {name: self.index.width(name) for name in self.index.modalities}
        if asked is None:
            return list(kinds)
        fitting = [name for name, width in kinds.items() if width == asked.query_1D.shape[1]]
        return sorted(fitting, key=lambda name: (name == asked.modality) != bool(asked.id))

    def search(self, asked: Asked, target: str, count: int, condition: str | None) -> tuple[list[IndexedRecord], int]:
        """Return the records nearest to what is asked, itself left out, and how many were searched."""
        found, searched = self.index.nearest(target, asked.query_1D, count + bool(asked.id), condition)
        return [record for record in found if record.id != asked.id][:count], searched

    def _read(self, names: list[str], raw: Any, words: str) -> dict[str, Any]:
        """Return what each of some modalities reads of a raw value, of those that can.

        Raises:
            RunError: when none can.
        """
        read, reasons = {}, []
        for name in names:
            try:
                read[name] = read_query(raw, self.parts, name).example
            except SensoriumError as error:
                reasons.append(str(error))
        if not read:
            said, name = " ".join(dict.fromkeys(reasons)), _shortened(words)
            named = (str(raw), name) if isinstance(raw, Path) else (f"'{raw}'", f"'{name}'")
            raise RunError(said.replace(*named))
        return read

    def _asked(self, words: str, examples: Mapping[str, Any], by: str = "") -> Asked:
        """Return what is asked for by a modality, or the first, of those that read it."""
        name = by or next(iter(examples))
        with self._one_at_a_time:
            query_1D = self.model.encode(name, self.parts[name].collate([examples[name]])).cpu()
        shown = Shown(words) if self.previews is None else self.previews.shown_query(examples[name], name, words)
        return Asked(words, name, query_1D, {name: shown}, tuple(other for other in examples if other != name))

    def _position(self, id: str) -> int | None:
        """Return where the source has a record; None where it has none of this id."""
        if self._ids is None:
            return None
        at = pc.index(self._ids, id).as_py()
        return None if at < 0 else at


def one_break(text: object) -> str:
    """Return a text with one kind of line break: browsers send another than they are given."""
    return str(text).replace("\r\n", "\n").replace("\r", "\n")


def _shortened(words: str) -> str:
    return words if len(words) <= SHOWN else f"{words[:SHOWN]}…"


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
