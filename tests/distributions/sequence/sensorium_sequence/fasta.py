"""FASTA files as a source."""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass
from pathlib import Path

from sensorium import Location, Record, SensoriumError, Source


@dataclass(frozen=True)
class Entry:
    """One sequence of a file: its header without ">", its letters, and its line."""

    header: str
    letters: str
    path: Path
    line: int

    @property
    def id(self) -> str:
        """The first word of the header."""
        return self.header.split(maxsplit=1)[0] if self.header.split() else ""

    @property
    def description(self) -> str:
        """The header behind the id."""
        return self.header[len(self.id) :].strip()


class Fasta(Source):
    """Sequences of FASTA files, gzipped ones (.gz) too: field "sequence", and "text", what a header says after the id.

    The id is the first word of a header, and must be unique. Lines before the first header are ignored, and noted.

    Args:
        path: a file, or a list of files.
        labels: label name to a regular expression; its first group, found in the header, is the label.
        splits: instead of `path`, the file or files of each split: {train: a.fasta, test: b.fasta.gz}.
    """

    fields = ("sequence", "text")

    def __init__(
        self,
        path: str | list[str] | None = None,
        labels: dict[str, str] | None = None,
        splits: dict[str, str | list[str]] | None = None,
    ) -> None:
        if (path is None) == (splits is None):
            raise SensoriumError("The source 'fasta' takes either path (a file or a list) or splits (split to files).")
        given = {None: path} if splits is None else splits
        self._labels = {name: _pattern(name, text) for name, text in (labels or {}).items()}
        self._entries: list[Entry] = []
        self._splits: list[str | None] = []
        self._notes: list[str] = []
        for split, files in given.items():
            for file in [files] if isinstance(files, str) else files or []:
                found, ignored = read_fasta(Path(file).expanduser())
                self._entries += found
                self._splits += [split] * len(found)
                self._notes += [f"{ignored} lines before the first header of {file} are ignored"] if ignored else []
        self._check()

    def _check(self) -> None:
        seen: dict[str, Entry] = {}
        for entry in self._entries:
            where = f"{entry.path}, line {entry.line}"
            if not entry.id:
                raise SensoriumError(f"The header at {where} has no id: write one behind its '>'.")
            if entry.id in seen:
                raise SensoriumError(
                    f"The id '{entry.id}' at {where} is that of line {seen[entry.id].line} of {seen[entry.id].path}: "
                    "ids must be unique."
                )
            seen[entry.id] = entry
        if not seen:
            raise SensoriumError("The source 'fasta' found no sequence: a header starts with '>'.")

    def notes(self) -> list[str]:
        """Return which lines are ignored."""
        return self._notes

    def __len__(self) -> int:
        return len(self._entries)

    def key(self, index: int) -> Record:
        """Return the record at `index` without its values."""
        entry = self._entries[index]
        found = {name: pattern.search(entry.header) for name, pattern in self._labels.items()}
        labels = {name: match.group(1) for name, match in found.items() if match}
        return Record(entry.id, {}, labels, self._splits[index])

    def __getitem__(self, index: int) -> Record:
        key, entry = self.key(index), self._entries[index]
        values = {"sequence": entry.letters or None, "text": entry.description or None}
        return Record(key.id, values, key.labels, key.split)

    def locate(self, index: int, field: str) -> Location:
        """Return the file and line of the header."""
        return Location(str(self._entries[index].path), self._entries[index].line)


def read_fasta(path: Path) -> tuple[list[Entry], int]:
    """Return the sequences of a file, and how many lines before the first header are ignored."""
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
    except OSError as error:
        raise SensoriumError(f"The file {path} cannot be read: {error.strerror or error}.") from error
    except (EOFError, UnicodeDecodeError) as error:
        raise SensoriumError(f"The file {path} is no FASTA text: {error}.") from error
    entries: list[Entry] = []
    header, first, ignored = None, 0, 0
    letters: list[str] = []
    for number, line in enumerate([*text.splitlines(), ">"], start=1):
        if line.startswith(">"):
            if header is not None:
                entries.append(Entry(header, "".join(letters), path, first))
            header, first, letters = line[1:].strip(), number, []
        elif header is not None:
            letters.append(line.strip())
        elif line.strip():
            ignored += 1
    return entries, ignored


def _pattern(name: str, text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise SensoriumError(f"data.source.labels.{name} is no regular expression: {error}.") from error
    if not pattern.groups:
        raise SensoriumError(
            f"data.source.labels.{name} has no group: put the label in parentheses, such as 'OX=(.+)'."
        )
    return pattern
