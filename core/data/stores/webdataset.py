"""Tars as WebDataset writes them as a source: members read by their place, nothing unpacked."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import takewhile
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow.compute as pc

from sensorium.contracts import OpenedAgain, RecordColumns
from sensorium.data.several import one_or_several, values_of
from sensorium.data.stores.files import StoredFile, stored_files, title_of
from sensorium.data.stores.keys import KeyUses, record_columns
from sensorium.data.stores.members import Members, Part, require_entries, value_of
from sensorium.data.stores.per_process import PerProcess
from sensorium.data.stores.spans import Span, SpanReader
from sensorium.data.stores.tar_index import TarIndex, tar_index
from sensorium.errors import BadSample, DataError, Location, not_found
from sensorium.types import Record, Unreadable

AT_ONCE = 16
"""Tars that are indexed at a time."""
ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
"""Of the files that are taken for tars; compressed ones are refused by name."""


class WebDatasetSource(OpenedAgain):
    """One record for each key of tars: members whose names are equal up to the first point, as WebDataset groups them.

    `a/0001.jpg`, `a/0001.txt` and `a/0001.json` are one record, "TAR/a/0001". An index of the members is made of each
    tar once, and kept beside it (`TAR.index`) or in the cache folder; the tars are only read. `0001.0.jpg` and
    `0001.1.jpg` are several values of "jpg". Members `.txt` and `.text` are text, `.cls` and `.id` whole numbers or
    words, `.json` what it says, `.npy` an array; of any other a value is its bytes. Nothing is unpickled.

    Args:
        path: a tar, a folder, a glob (`data/*.tar`), tars in braces (`train-{0000..0127}.tar`), an address
            (`s3://bucket/train-{0000..0127}.tar`), or a list of these.
        splits: instead of `path`, the tars of each split: {train: "train-*.tar", test: "test-*.tar"}.
        columns: field name to extension, such as {image: jpg}; to several, of which the first that a record has is
            taken, "jpg;png"; or to an entry of a record's JSON, json.caption, which some record must have. Default
            every extension that has no other use, under its own name.
        id: where a unique name is read, such as json.uid; default the name of the tar and the record's key in it.
        labels: what evaluators predict: a list such as [cls, json.kind], which are then named "cls" and "kind", or
            label name to extension or entry.
        split: where train, val or test is read, such as json.split.
        group: where a name is read that keeps records in one split.
        classes: label name to its class names, by index.
        root: the folder that relative paths in values start from; default the current one.
        options: of the file system behind an address: its `storage_options` in fsspec, such as {anon: true}.
    """

    def __init__(
        self,
        path: str | list[str] | None = None,
        splits: dict[str, str | list[str]] | None = None,
        columns: dict[str, str] | None = None,
        id: str | None = None,
        labels: list[str] | dict[str, str] | None = None,
        split: str | None = None,
        group: str | None = None,
        classes: dict[str, list[str]] | None = None,
        root: str | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        self.root = root or "."
        storage = options or {}
        self._files = stored_files("webdataset", path, splits, ENDINGS, storage)
        self._title = title_of(self._files)
        if not isinstance(labels, dict):
            labels = {name.removeprefix("json."): name for name in labels or ()}
        uses = KeyUses.of_options(labels, id, split, group, classes)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            indexes = list(pool.map(lambda file: tar_index(file.url, storage, bool(uses.columns)), self._files))
        self._sizes = [index.size for index in indexes]
        self._members = Members(indexes)
        known = self._members.extensions
        if columns is None:
            used = {Part.named(name, known).extension for name in uses.columns}
            columns = {name: name for name in known if name not in used}
        self._parts = {field: _alternatives(field, given, known, self._title) for field, given in columns.items()}
        asked = [*self._parts.values(), *([Part.named(name, known)] for name in uses.columns)]
        with_content = indexes if uses.columns else (tar_index(file.url, storage, True) for file in self._files)
        require_entries(asked, with_content, self._title)
        keys, unreadable = self._members.columns(uses.columns, self._title)
        parts = None if splits is None else self._members.of_tars([file.part for file in self._files])
        self._keys, self._notes = record_columns(keys, uses, parts, len(self._members), self._title)
        if id is None:
            names = self._members.of_tars(_names(self._files))
            ids = pc.binary_join_element_wise(names, self._members.keys, "/")
            self._keys = replace(self._keys, ids=ids)
        self._notes += unreadable + _damaged(self._files, indexes) + _without_end(self._files, indexes)
        self._spans = PerProcess(partial(SpanReader, [file.url for file in self._files], storage))

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of the extensions."""
        return tuple(self._parts)

    def __len__(self) -> int:
        return len(self._members)

    def columns(self) -> RecordColumns:
        """Return ids, labels, splits and groups."""
        return self._keys

    def notes(self) -> list[str]:
        """Return which tars are damaged, and which labels cannot be read."""
        return list(self._notes)

    def fragments(self) -> np.ndarray:
        """Return where tars begin."""
        return self._members.fragments

    def present(self, field: str) -> np.ndarray | None:
        """Return which records have a member for a field, bool (N,); None for an entry of their JSON."""
        parts = self._parts[field]
        return None if any(part.keys for part in parts) else self._members.have([part.extension for part in parts])

    def locate(self, index: int, field: str) -> Location:
        """Return the tar and the key of a record, with the extension."""
        return self._place(index, ";".join(dict.fromkeys(part.extension for part in self._parts[field])))

    def _place(self, record: int, extension: str) -> Location:
        url = self._files[self._members.tar_of(record)].url
        return Location(f"{url}:{self._members.keys[record]}.{extension}")

    def __getitem__(self, index: int) -> Record:
        (record,) = self.read([index])
        assert isinstance(record, Record), "what cannot be read is a value"
        return record

    def read(self, positions: Sequence[int]) -> list[Record | BadSample]:
        """Return the records at positions; all their members are one request."""
        asked = np.asarray(positions, np.int64)
        if len(outside := asked[(asked < -len(self)) | (asked >= len(self))]):
            raise IndexError(f"there are {len(self)} records, none at {outside[0]}")
        rows = (asked % len(self)).tolist()
        fields = self._parts.items()
        wanted = {(row, field): self._chosen(row, parts) for row in set(rows) for field, parts in fields}
        spans = sorted({span for found in wanted.values() for _, span in found if self._is_whole(span)})
        data = dict(zip(spans, self._spans.get().read(spans), strict=True))
        return [self._record(row, wanted, data) for row in rows]

    def _chosen(self, row: int, parts: Sequence[Part]) -> list[tuple[Part, Span]]:
        """Return the members of a record for a field: of the first extension, or entry, that it has; or all numbered.

        Returns:
            What is read and the place of each, in the order of their numbers.
        """
        found = [(number, part, span) for part in parts for number, span in self._members.spans(row, part.extension)]
        numbered = sorted((one for one in found if one[0] >= 0), key=itemgetter(0))
        return [(part, span) for _, part, span in (found[:1] if found and found[0][0] < 0 else numbered)]

    def _is_whole(self, span: Span) -> bool:
        return span.start + span.size <= self._sizes[span.file]

    def _record(
        self, row: int, wanted: dict[tuple[int, str], list[tuple[Part, Span]]], data: dict[Span, bytes]
    ) -> Record:
        key, values = self.key(row), {}
        for field in self._parts:
            found = [self._value(row, part, span, data) for part, span in wanted[row, field]]
            value = one_or_several([one for several in found for one in values_of(several)])
            if value is not None:
                values[field] = value
        return Record(key.id, values, key.labels, key.split, key.group)

    def _value(self, row: int, part: Part, span: Span, data: dict[Span, bytes]) -> Any:
        """Return what a member holds, or why it cannot be read."""
        where = self._place(row, part.extension)
        if not self._is_whole(span):
            held = max(self._sizes[span.file] - span.start, 0)
            reason = (
                f"its tar is cut short: of its {span.size:,} bytes, from byte {span.start:,} on, {held:,} are there"
            )
            return Unreadable(reason, "damaged", where)
        try:
            return part.of(value_of(part.extension, data[span]))
        except BadSample as error:
            reason = f"the member of {span.size:,} bytes at byte {span.start:,} {error}"
            return Unreadable(reason, error.kind, where)


def _alternatives(field: str, given: str, known: Sequence[str], title: str) -> list[Part]:
    """Return the extensions of a field, or the entries, in order.

    Raises:
        DataError: when no record has any of them.
    """
    names = given.split(";")
    parts = [part for name in names if (part := Part.named(name, known)).extension in known]
    if not parts:
        raise DataError(
            not_found(
                f"The field '{field}' is read of members '.{given}', of which there are none in {title}",
                names[0],
                known,
                f"their extensions are: {', '.join(known)}",
            )
        )
    return parts


def _names(files: Sequence[StoredFile]) -> list[str]:
    """Return the names of tars, without what their paths have in common, and their ending."""
    paths = [file.url.split("/") for file in files]
    shared = len(list(takewhile(lambda names: len(set(names)) == 1, zip(*(path[:-1] for path in paths), strict=False))))
    return ["/".join(path[shared:]).removesuffix(".tar") for path in paths]


def _damaged(files: Sequence[StoredFile], indexes: Sequence[TarIndex]) -> list[str]:
    """Return a sentence for each tar whose headers are damaged."""
    return [
        f"'{file.url}' is damaged from byte {index.damage[0]:,} on"
        + (f", and in {len(index.damage) - 1} more places" if len(index.damage) > 1 else "")
        + ": members whose headers are there are not among the records; fetch or write the tar again"
        for file, index in zip(files, indexes, strict=True)
        if index.damage
    ]


def _without_end(files: Sequence[StoredFile], indexes: Sequence[TarIndex]) -> list[str]:
    """Return a sentence about tars that may be cut short behind a whole member."""
    urls = [file.url for file, index in zip(files, indexes, strict=True) if not index.has_end]
    if not urls:
        return []
    more = f" and {len(urls) - 1} more tars lack" if len(urls) > 1 else " lacks"
    return [
        f"'{urls[0]}'{more} the empty block at the end of a tar: one that was not written so is cut short, and its "
        "last records are missing; fetch or write it again"
    ]
