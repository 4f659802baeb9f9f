"""Plain text files as a source of records."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sensorium import BadSample, OpenedAgain, Record, RecordColumns, TextFile, check_range
from sensorium.errors import DataError, RecipeError

Unit = Literal["characters", "lines", "paragraphs"]
Span = tuple[int, int, int]
"""Start and end byte of a part of a file, and the number of its characters that are predicted."""


class Corpus(OpenedAgain):
    """Plain text files, split into windows of characters, lines or paragraphs.

    A byte-order mark of UTF-8, UTF-16 or UTF-32 says a file's encoding. The compression of a `.gz` is taken off. The id
    of a record is "file:offset", with the offset in bytes of the text in UTF-8. The last window of a part may be
    shorter. Adjacent windows of characters overlap by one character: every character but a part's first is predicted in
    exactly one window. Blank lines and paragraphs are skipped. The label "characters" is the number of predicted
    characters.

    Args:
        path: a text file, or a list of them.
        unit: unit of a window: "characters" (for a language model), "lines", or "paragraphs" (lines between
            blank ones).
        window: units per record, >= 1; for characters >= 2, and at most the modality's length.
        train_fraction: leading fraction of each file that is the train part, in (0, 1]; None leaves the split to the
            recipe.
        rest: the part that the rest of each file is.
        field: the field of the records that has the text.
        encoding: of files without a byte-order mark, such as cp1252; default utf-8.
    """

    def __init__(
        self,
        path: str | list[str],
        unit: Unit = "lines",
        window: int = 1,
        train_fraction: float | None = 0.9,
        rest: Literal["val", "test"] = "val",
        field: str = "text",
        encoding: str | None = None,
    ) -> None:
        if window < (2 if unit == "characters" else 1):
            raise RecipeError(f"A window of {window} {unit} is too short: characters need 2, lines and paragraphs 1.")
        check_range("source 'corpus'", "(0, 1]", train_fraction=train_fraction)
        files = [Path(p).expanduser().absolute() for p in ([path] if isinstance(path, str) else path)]
        for file in files:
            if file.is_dir():
                raise DataError(f"{file} is a folder: list its files, or read them with the source 'folder'.")
            if not file.is_file():
                raise DataError(f"There is no corpus file {file}: check the path.")
        self._names = _names(files)
        self._files = [TextFile(file, encoding) for file in files]
        self._field, self._splits = field, (None, None) if train_fraction is None else ("train", rest)
        fraction = 1.0 if train_fraction is None else train_fraction
        windows = (
            (number, start, end, part, characters)
            for number, file in enumerate(self._files)
            for part, spans in enumerate(_parts(file, unit, window, fraction))
            for start, end, characters in spans
        )
        self._windows = np.fromiter(windows, dtype=np.dtype((np.int64, 5)))  # part 1 is the rest
        if not len(self._windows):
            raise DataError(f"There is no text in the corpus {', '.join(map(str, files))}.")

    @property
    def fields(self) -> tuple[str, ...]:
        """The one field."""
        return (self._field,)

    def __len__(self) -> int:
        return len(self._windows)

    def columns(self) -> RecordColumns:
        """Return ids, labels and splits of all windows."""
        return self._columns

    @cached_property
    def _columns(self) -> RecordColumns:
        file_N, start_N, _, part_N, characters_N = self._windows.T
        starts = pa.array(np.ascontiguousarray(start_N)).cast(pa.string())
        ids = pc.binary_join_element_wise(_words(self._names, file_N), starts, ":")
        splits = None if self._splits == (None, None) else _words(self._splits, part_N)
        return RecordColumns(len(self), ids, {"characters": pa.array(np.ascontiguousarray(characters_N))}, splits)

    def __getitem__(self, index: int) -> Record:  # type: ignore[override]
        """Read one window.

        Raises:
            BadSample: when it cannot be read, is not in the encoding of its file.
        """
        key = self.key(index)
        file, start, end, *_ = self._windows[index].tolist()
        return Record(key.id, {self._field: self._files[file].read(start, end)}, key.labels, key.split)


def _words(words: Sequence[str | None], number_N: np.ndarray) -> pa.Array:
    """Return the word of each number as a column."""
    return pa.array(words, pa.string()).take(pa.array(np.ascontiguousarray(number_N)))


def _names(files: list[Path]) -> list[str]:
    """Return a machine-independent name for each file: its path relative to the common parent folder."""
    if twice := {str(file) for file in files if files.count(file) > 1}:
        raise DataError(f"The corpus names {min(twice)} twice: remove one of them.")
    top = os.path.commonpath([file.parent for file in files]) if files else "."
    return [file.relative_to(top).as_posix() for file in files]


def _parts(file: TextFile, unit: Unit, window: int, fraction: float) -> tuple[Iterator[Span], Iterator[Span]]:
    """Return the windows of the leading fraction of a file, and those of the rest."""
    if unit == "characters":
        try:
            text = file.read()
        except BadSample as error:
            reason = str(error)
            raise DataError(f"{reason[0].upper()}{reason[1:]}.") from error
        head, tail = text[: int(fraction * len(text))], text[int(fraction * len(text)) :]
        middle = file.start + len(head.encode())
        return _character_windows(head, file.start, window), _character_windows(tail, middle, window)
    pieces = np.fromiter(_lines(file) if unit == "lines" else _paragraphs(file), dtype=np.dtype((np.int64, 3)))
    first = int(fraction * len(pieces))
    return _piece_windows(pieces[:first], window), _piece_windows(pieces[first:], window)


def _character_windows(text: str, offset: int, window: int) -> Iterator[Span]:
    """Yield windows of characters; each starts with the last character of the previous one."""
    for start in range(0, max(len(text) - 1, min(len(text), 1)), window - 1):
        piece = text[start : start + window]
        yield offset, offset + len(piece.encode()), len(piece) - 1
        offset += len(text[start : start + window - 1].encode())


def _piece_windows(pieces_N3: np.ndarray, window: int) -> Iterator[Span]:
    """Yield windows of lines or paragraphs, from the first byte of the first to the last byte of the last."""
    for start in range(0, len(pieces_N3), window):
        group = pieces_N3[start : start + window]
        yield int(group[0, 0]), int(group[-1, 1]), int(group[:, 2].sum())


def _lines(file: TextFile) -> Iterator[Span]:
    """Yield the non-blank lines, without line ends."""
    start = file.start
    with file.open() as stream:
        for line in stream:
            if line.strip():
                yield start, start + len(line.rstrip(b"\r\n")), _characters(line)
            start += len(line)


def _paragraphs(file: TextFile) -> Iterator[Span]:
    """Yield runs of non-blank lines, without the last line end."""
    start = end = characters = 0
    offset = file.start
    with file.open() as stream:
        for line in stream:
            if line.strip():
                start = start if end else offset
                end = offset + len(line.rstrip(b"\r\n"))
                characters += _characters(line)
            elif end:
                yield start, end, characters
                end = characters = 0
            offset += len(line)
    if end:
        yield start, end, characters


def _characters(line: bytes) -> int:
    return len(line.rstrip(b"\r\n").decode("utf-8", errors="replace"))
