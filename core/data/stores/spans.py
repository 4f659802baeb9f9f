"""Spans of bytes out of files, here or elsewhere."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from threading import RLock
from typing import Any, NamedTuple

from sensorium.data.stores.files import filesystem, is_local, no_ranges

OPEN = 256
"""Files that a process keeps open."""


class Span(NamedTuple):
    """Some bytes of a file.

    Args:
        file: its number.
        start: its first byte.
        size: how many there are.
    """

    file: int
    start: int
    size: int


class SpanReader:
    """Reads spans of files: by place on this machine, in concurrent range requests elsewhere.

    Args:
        urls: of the files, by number.
        options: of the file system.
    """

    def __init__(self, urls: Sequence[str], options: Mapping[str, Any]) -> None:
        self._urls, self._options = urls, options
        self._handles: dict[int, int] = {}
        self._lock = RLock()

    def read(self, spans: Sequence[Span]) -> list[bytes]:
        """Return the bytes of each span.

        Raises:
            OSError: when a file, or its store, cannot be read.
            DataError: when a server gives whole files where spans are asked for.
        """
        if not spans or is_local(self._urls[spans[0].file]):
            return [self._here(span) for span in spans]
        fs, _ = filesystem(self._urls[spans[0].file], self._options)
        paths = [fs._strip_protocol(self._urls[span.file]) for span in spans]
        starts, ends = [span.start for span in spans], [span.start + span.size for span in spans]
        found = [bytes(data) for data in fs.cat_ranges(paths, starts, ends, on_error="raise")]
        for span, data in zip(spans, found, strict=True):
            self._check(span, data)
        return found

    def _check(self, span: Span, data: bytes) -> None:
        """Raise an error where a store gave other than the span: `fsspec` takes any answer for it."""
        url, told = self._urls[span.file], f"a request for {span.size:,} bytes was answered with {len(data):,}"
        if len(data) < span.size:
            raise OSError(f"'{url}': {told}")
        if len(data) > span.size:
            raise no_ranges(url, told)

    def _here(self, span: Span) -> bytes:
        with self._lock:
            data = os.pread(self._handle(span.file), span.size, span.start)
            while len(data) < span.size and (
                more := os.pread(self._handle(span.file), span.size, span.start + len(data))
            ):
                data += more[: span.size - len(data)]
        return data

    def _handle(self, file: int) -> int:
        handle = self._handles.pop(file, None)
        self._handles[file] = os.open(self._urls[file], os.O_RDONLY) if handle is None else handle
        if len(self._handles) > OPEN:
            os.close(self._handles.pop(next(iter(self._handles))))
        return self._handles[file]
