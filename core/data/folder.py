"""A folder of files as a source: class folders, split folders, captions in text files beside the files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from sensorium.contracts import Source
from sensorium.data.classes import class_name
from sensorium.data.splits import part_name
from sensorium.errors import BadSample, DataError, FaultKind
from sensorium.types import Record, Unreadable

BRACED = re.compile(r"\{(\w+)\}")
"""The name of a label in braces."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One record: a file and, if any, one of its captions, or why they cannot be read."""

    path: str
    split: str | None
    number: int = 1
    caption: str | None = None
    error: Unreadable | None = None


class FolderSource(Source):
    """Every visible file below a folder, by relative path.

    - When the folder contains only folders named train, val or test (validation, valid and dev mean val), they are the
      splits, and the following applies within each.
    - The first folder of a file's path is its label "class"; a file directly in the folder has none.
    - With a `pattern`, parts of a file's name are further labels: `{digit}_{speaker}_{take}` gives `7_theo_12.wav` the
      labels digit 7, speaker theo and take 12. A file whose name does not match has none of them.
    - `x.txt` beside `x.jpg` contains its captions, one a line. A file with several gives one record for each, all in
      one group: "x.jpg", "x.jpg#2", "x.jpg#3". A file without captions is a record without that field.
    - With a `template`, a file without captions gets one from its labels: "a photo of a {class}".

    A record's value is the file's path relative to the folder; the value of a `.txt` file, which `extensions` must
    list, is its text.

    Args:
        path: the folder.
        field: the field of the files.
        captions: the field of the captions; None ignores the `.txt` files beside others.
        extensions: the file extensions to read, such as [".jpg", ".png"]; default all but .txt and .json.
        pattern: pattern of file names, without folders and extension: label names in braces, all else literal.
        group: the label whose value is a record's group; records of one group share a split.
        classes: label name to its class names, by index.
        template: the caption of a file without one, with label names in braces; a file that lacks a label gets none.
    """

    def __init__(
        self,
        path: str,
        field: str = "image",
        captions: str | None = "text",
        extensions: list[str] | None = None,
        pattern: str | None = None,
        group: str | None = None,
        classes: dict[str, list[str]] | None = None,
        template: str | None = None,
    ) -> None:
        folder = Path(path).expanduser()
        if not folder.exists():
            raise DataError(f"The folder '{path}' does not exist; check data.source.path.")
        if not folder.is_dir():
            raise DataError(f"'{path}' is a file, not a folder; for the rows of one file use the source 'table'.")
        if captions == field:
            raise DataError(f"Files and captions both go to the field '{field}'; name two different fields.")
        self._pattern, self._group = _compiled(pattern), group
        named = {"class"} if self._pattern is None else {"class", *self._pattern.groupindex}
        asked = {
            "group": [group] if group else [],
            "classes": classes or {},
            "template": BRACED.findall(template or ""),
        }
        for option, names in asked.items():
            if unknown := next((name for name in names if name not in named), None):
                known = ", ".join(sorted(named))
                raise DataError(f"The {option} '{unknown}' is no label of the folder; its labels are: {known}.")
        if template is not None and not (captions and asked["template"]):
            raise DataError("A template needs a field, data.source.captions, and a label in braces: 'a {class}'.")
        self._classes, self._template, self._in_template = classes or {}, template, asked["template"]
        self.root = str(folder)
        self._field = field
        self._extensions = None if extensions is None else {"." + e.lower().lstrip(".") for e in extensions}
        self._captions = None if self._takes(".txt") else captions
        files = list(_walk(folder))
        chosen = [file for file in files if self._takes(PurePosixPath(file).suffix.lower())]
        if not chosen:
            kinds = "that ends in " + ", ".join(sorted(self._extensions)) if self._extensions else "but .txt and .json"
            raise DataError(f"The folder '{path}' contains no readable records: there is no visible file {kinds}.")
        if self._pattern and not any(self._pattern.fullmatch(PurePosixPath(file).stem) for file in chosen):
            raise DataError(
                f"No file of the folder '{path}' matches the pattern '{pattern}'; the first is "
                f"'{PurePosixPath(chosen[0]).stem}'."
            )
        tops = {file.partition("/")[0] if "/" in file else "" for file in files}
        self._split_folders = all(part_name(top) for top in tops)
        self._entries = list(self._index(chosen, set(files)))
        self._captioned = any(entry.caption or entry.error for entry in self._entries) or template is not None

    def _takes(self, ending: str) -> bool:
        return ending not in (".txt", ".json") if self._extensions is None else ending in self._extensions

    def _index(self, chosen: list[str], files: set[str]) -> Iterator[_Entry]:
        for file in chosen:
            split = part_name(file.partition("/")[0]) if self._split_folders else None
            beside = os.path.splitext(file)[0] + ".txt"
            if self._captions is None or beside not in files:
                yield _Entry(file, split)
                continue
            try:
                text = Path(self.root, beside).read_text(encoding="utf-8-sig")
            except (OSError, UnicodeDecodeError) as error:
                fault: FaultKind = "encoding" if isinstance(error, UnicodeDecodeError) else "missing"
                yield _Entry(file, split, error=Unreadable(f"'{beside}' cannot be read: {error}", fault))
                continue
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            for number, line in enumerate(lines, start=1):
                yield _Entry(file, split, number, caption=line)
            if not lines:
                yield _Entry(file, split, error=Unreadable("caption is empty", "empty"))

    @property
    def fields(self) -> tuple[str, ...]:
        """The field of the files and, when any file has captions beside it, the field of captions."""
        return (self._field, self._captions) if self._captions and self._captioned else (self._field,)

    def __len__(self) -> int:
        return len(self._entries)

    def key(self, index: int) -> Record:
        """Return the record at `index` without its values."""
        entry = self._entries[index]
        # A file name that is not Unicode still makes an id that every machine can write and hash.
        name = entry.path.encode("utf-8", "backslashreplace").decode()
        folders = PurePosixPath(name).parts[1 if self._split_folders else 0 : -1]
        labels = {"class": folders[0]} if folders else {}
        if self._pattern and (match := self._pattern.fullmatch(PurePosixPath(name).stem)):
            labels |= match.groupdict()
        labels |= {label: self._name(label, labels[label], name) for label in self._classes if label in labels}
        id = name if entry.number == 1 else f"{name}#{entry.number}"
        return Record(id, {}, labels, entry.split, labels.get(self._group, name) if self._group else name)

    def __getitem__(self, index: int) -> Record:
        key, entry = self.key(index), self._entries[index]
        values: dict[str, object] = {
            self._field: self._text(entry.path) if entry.path.lower().endswith(".txt") else entry.path
        }
        if entry.error:
            beside = os.path.join(self.root, os.path.splitext(entry.path)[0] + ".txt")
            return replace(key, values={**values, self._captions or "": replace(entry.error, where=beside)})
        caption = self._caption_of(key.labels) if entry.caption is None else entry.caption
        if self._captions is not None and caption is not None:
            values[self._captions] = caption
        return Record(key.id, values, key.labels, key.split, key.group)

    def _name(self, label: str, value: str, file: str) -> str:
        number = int(value) if value.isdecimal() else None
        return class_name(self._classes[label], number, value, label, f"'{file}'")

    def _caption_of(self, labels: Mapping[str, str]) -> str | None:
        if self._template is None or not all(name in labels for name in self._in_template):
            return None
        return BRACED.sub(lambda found: labels[found[1]], self._template)

    def _text(self, path: str) -> str:
        try:
            return Path(self.root, path).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            kind: FaultKind = "encoding" if isinstance(error, UnicodeDecodeError) else "missing"
            raise BadSample(f"cannot be read as text: {error}", kind, os.path.join(self.root, path)) from error


def _walk(folder: Path) -> Iterator[str]:
    """Yield the relative posix paths of the visible files below a folder, sorted within each folder."""
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        within = Path(parent).relative_to(folder).as_posix()
        for name in sorted(files):
            if not name.startswith("."):
                yield name if within == "." else f"{within}/{name}"


def _compiled(pattern: str | None) -> re.Pattern[str] | None:
    """Compile a pattern with names in braces to a regular expression with groups of these names."""
    if pattern is None:
        return None
    pieces = BRACED.split(pattern)
    names = pieces[1::2]
    if not names or len(set(names)) < len(names) or any(not name.isidentifier() for name in names):
        raise DataError(
            f"The pattern '{pattern}' names no label, or one twice: write '{{digit}}_{{speaker}}_{{take}}'."
        )
    parts = [f"(?P<{piece}>.+?)" if i % 2 else re.escape(piece) for i, piece in enumerate(pieces)]
    return re.compile("".join(parts))
