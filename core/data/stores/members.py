"""The members of tars by record, and what their bytes are."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sensorium.data.stores.spans import Span
from sensorium.data.stores.tar_index import KEPT, TarIndex
from sensorium.errors import BadSample, DataError, not_found

NUMBERED = re.compile(r"(\d+)\.(.+)")
TEXTS, WORDS = ("txt", "text"), ("cls", "id")
ENTRY = "json."
"""What the name of an entry of a record's JSON begins with."""
LISTED = 20
"""Entries that an error names, at most."""
SEARCHED = 100_000
"""Records whose JSON is searched for an entry: one that none of them has may be rare."""


class Part(NamedTuple):
    """What is read of a record: a member with an extension, or an entry of its JSON.

    Args:
        extension: of the member.
        keys: of the entry, one within the other; none for what the member says as a whole.
    """

    extension: str
    keys: tuple[str, ...] = ()

    @classmethod
    def named(cls, name: str, extensions: Sequence[str]) -> Part:
        """Return what a recipe names: one of the extensions that there are ("jpg", "json.gz"), or else an entry."""
        if name in extensions or not name.startswith(ENTRY):
            return cls(name)
        return cls("json", tuple(name.removeprefix(ENTRY).split(".")))

    @property
    def name(self) -> str:
        """The name, as a recipe has it."""
        return ".".join((self.extension, *self.keys))

    def of(self, said: Any) -> Any:
        """Return the entry of what a member says, None where it has none; a key may have points in it."""
        for at, key in enumerate(self.keys):
            if not isinstance(said, Mapping):
                return None
            if (rest := ".".join(self.keys[at:])) in said:
                return said[rest]
            said = said.get(key)
        return said


class Members:
    """The members of tars, those of one key together; M members of N records.

    Args:
        indexes: of the tars.

    Attributes:
        extensions: of all members, sorted, without the numbers before those of several values.
    """

    def __init__(self, indexes: Sequence[TarIndex]) -> None:
        coded = [index.members["key"].combine_chunks().dictionary_encode() for index in indexes]
        self.keys = pa.chunked_array([one.dictionary for one in coded])
        """The keys of records in their tars, strings (N,)."""
        counts = [len(one.dictionary) for one in coded]
        self._first_of_tar = np.cumsum([0, *counts])
        record_M = np.concatenate(
            [one.indices.to_numpy() + first for one, first in zip(coded, self._first_of_tar, strict=False)]
        )
        order_M = np.argsort(record_M, kind="stable")
        self._first_N = np.searchsorted(record_M[order_M], np.arange(len(self.keys) + 1))
        joined = pa.concat_tables([index.members for index in indexes]).unify_dictionaries().combine_chunks()
        self._members = joined.take(pa.array(order_M))
        extension_M = self._members["extension"].combine_chunks()
        words = extension_M.dictionary.to_pylist()
        bases = [found[2] if (found := NUMBERED.fullmatch(word)) else word for word in words]
        self.extensions = sorted(set(bases))
        code_of = {name: code for code, name in enumerate(self.extensions)}
        code_M = extension_M.indices.to_numpy()
        self._base_M = np.array([code_of[base] for base in bases])[code_M]
        numbers = [int(found[1]) if (found := NUMBERED.fullmatch(word)) else -1 for word in words]
        self._number_M = np.array(numbers)[code_M]
        self._offset_M = self._members["offset"].to_numpy()
        self._size_M = self._members["size"].to_numpy()

    def __len__(self) -> int:
        return len(self.keys)

    def tar_of(self, record: int) -> int:
        """Return the number of the tar that a record is in."""
        return int(np.searchsorted(self._first_of_tar, record, "right")) - 1

    def of_tars(self, names: Sequence[str | None]) -> pa.ChunkedArray:
        """Return a name for each tar as one for each of its records, strings (N,)."""
        counts = np.diff(self._first_of_tar)
        parts = [pa.repeat(pa.scalar(name, pa.string()), int(n)) for name, n in zip(names, counts, strict=True)]
        return pa.chunked_array(parts)

    @property
    def fragments(self) -> np.ndarray:
        """Where the records of each tar begin, int64 (F + 1,)."""
        return self._first_of_tar

    def have(self, extensions: Sequence[str]) -> np.ndarray:
        """Return which records have a member with one of some extensions, bool (N,)."""
        codes = [self.extensions.index(name) for name in extensions]
        return np.logical_or.reduceat(np.isin(self._base_M, codes), self._first_N[:-1])

    def spans(self, record: int, extension: str) -> list[tuple[int, Span]]:
        """Return the members of a record with an extension: their numbers, -1 for none, and where they are."""
        at = np.arange(self._first_N[record], self._first_N[record + 1])
        at = at[self._base_M[at] == self.extensions.index(extension)]
        tar = self.tar_of(record)
        return [(int(self._number_M[m]), Span(tar, int(self._offset_M[m]), int(self._size_M[m]))) for m in at]

    def columns(self, names: Sequence[str], title: str) -> tuple[pa.Table, list[str]]:
        """Return what short members say of all records, and a sentence if some cannot be read.

        Args:
            names: each an extension ("cls"), or an entry of the JSON ("json.kind").
            title: the tars, for errors.

        Raises:
            DataError: when there is none, or records say numbers and words.
        """
        cells: dict[str, list[Any]] = {name: [None] * len(self) for name in names}
        faults: dict[int, str] = {}
        parts = {name: Part.named(name, self.extensions) for name in names}
        for extension in dict.fromkeys(part.extension for part in parts.values()):
            if extension not in self.extensions or extension.rpartition(".")[2] not in KEPT:
                raise DataError(
                    f"Labels, ids, splits and groups are read of members with the extensions {', '.join(KEPT)}, and of "
                    f"'{extension}' none can be in {title}, whose extensions are: {', '.join(self.extensions)}."
                )
            of_extension = {name: part for name, part in parts.items() if part.extension == extension}
            at_m = np.flatnonzero((self._base_M == self.extensions.index(extension)) & (self._number_M <= 0))
            record_m = np.searchsorted(self._first_N, at_m, "right") - 1
            contents = self._members["content"].take(pa.array(at_m)).to_pylist()
            for record, content in zip(record_m.tolist(), contents, strict=True):
                try:
                    said = value_of(extension, content or b"")
                    for name, part in of_extension.items():
                        cells[name][record] = part.of(said)
                except BadSample as error:
                    faults[record] = f"its .{extension} {error}"
        notes = []
        if faults:
            first = min(faults)
            notes.append(f"{len(faults):,} records have no label; the first is '{self.keys[first]}': {faults[first]}")
        return pa.table({name: _column(name, of_name, title) for name, of_name in cells.items()}), notes


def value_of(extension: str, data: bytes) -> Any:
    """Return what the bytes of a member are: text, a number or a word, what JSON says, an array, or themselves.

    Raises:
        BadSample: when they are not what their extension says.
    """
    kind = extension.rpartition(".")[2]
    try:
        if kind in TEXTS:
            return data.decode() or None
        if kind in WORDS:
            word = data.decode().strip()
            return int(word) if re.fullmatch(r"-?\d+", word) else word or None
        if kind == "json":
            return json.loads(data)
    except UnicodeDecodeError as error:
        raise BadSample(f"is no text in UTF-8 (byte {error.start:,})", "encoding") from error
    except ValueError as error:
        raise BadSample(f"is no JSON: {error}") from error
    if not data:
        raise BadSample("is empty", "empty")
    if kind == "npy":
        try:
            return np.load(io.BytesIO(data), allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise BadSample(f"is no array that NumPy reads without unpickling: {error}") from error
    return data


def require_entries(asked: Sequence[Sequence[Part]], indexes: Iterable[TarIndex], title: str) -> None:
    """Refuse an entry that the JSON of no record has.

    Args:
        asked: what is read for each use, one of which is enough.
        indexes: of the tars, with content; only those up to the one in which all are found are taken.
        title: the tars, for errors.

    Raises:
        DataError: with the entries that there are.
    """
    missing = [parts for parts in asked if all(part.keys for part in parts)]
    known: dict[str, None] = {}
    for number, said in enumerate(chain.from_iterable(map(_said, indexes)) if missing else ()):
        if said is None or number == SEARCHED:
            return  # one that is too long for the index may have them all
        names = list(_entries(said, "json"))
        known |= dict.fromkeys(names)
        missing = [parts for parts in missing if not any(part.name in names for part in parts)]
        if not missing:
            return
    if missing and known:
        name = missing[0][0].name
        listed = ", ".join(list(known)[:LISTED]) + (", …" if len(known) > LISTED else "")
        problem = f"No JSON in {title} has the entry '{name}'"
        raise DataError(not_found(problem, name, list(known), f"the entries are: {listed}"))


def _said(index: TarIndex) -> Iterator[Any]:
    """Yield what the JSON of each record says that can be read, None for one that the index does not have."""
    is_json = pc.match_substring_regex(index.members["extension"].cast(pa.string()), r"^(\d+\.)?json$")
    for content in index.members["content"].filter(is_json).to_pylist():
        try:
            yield None if content is None else value_of("json", content)
        except BadSample:
            continue


def _entries(said: Any, name: str) -> Iterator[str]:
    """Yield the names of the entries in what JSON says, however deep."""
    for key, inner in said.items() if isinstance(said, Mapping) else ():
        yield f"{name}.{key}"
        yield from _entries(inner, f"{name}.{key}")


def _column(name: str, cells: list[Any], title: str) -> pa.Array:
    try:
        return pa.array(cells)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise DataError(
            f"The entry '{name}' of {title} is of one type in some records, and another in others."
        ) from error
