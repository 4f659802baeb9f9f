"""A folder of files as a source: class folders, split folders, captions in text files beside the files."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sensorium.contracts import OpenedAgain, RecordColumns
from sensorium.data.classes import class_name
from sensorium.data.encodings import read_text
from sensorium.data.file_tree import FileTree
from sensorium.data.patience import is_transient
from sensorium.data.several import one_or_several
from sensorium.data.splits import part_name
from sensorium.errors import BadSample, DataError
from sensorium.types import Record, Unreadable

BRACED = re.compile(r"\{(\w+)\}")
"""The name of a label in braces."""


NO_RECORDS = (
    *(".txt", ".json", ".jsonl", ".csv", ".tsv", ".parquet", ".md", ".rst", ".html", ".htm", ".xml", ".yaml", ".yml"),
    *(".toml", ".ini", ".cfg", ".log", ".pdf", ".doc", ".docx", ".xls", ".xlsx", ".py", ".sh", ".ipynb"),
    *(".zip", ".tar", ".tgz", ".tbz2", ".txz", ".tzst", ".7z", ".rar", ".jar", ".iso", ".dmg"),
    *(".db", ".sqlite", ".md5", ".sha256", ".bak", ".tmp", ".part", ".lnk", ".url"),
)
"""Extensions of texts, tables, documents, programs and archives, which come with data: records if asked for."""
COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
"""Extensions on top of that of what is compressed: a .csv.gz is a table, and one alone an archive."""
NOTICES = frozenset({"readme", "license", "licence", "copying", "changelog", "citation", "authors", "sha256sums"})
"""Names, in small letters, of files without extension that come with data."""


class FolderSource(OpenedAgain):
    """Every visible file below a folder, by relative path; each real file once, whatever links lead to it.

    - When the folder contains only folders named train, val or test (validation, valid and dev mean val), they are the
      splits, and the following applies within each.
    - The first folder of a file's path is its label "class"; a file directly in the folder has none.
    - With a `pattern`, parts of a file's name are further labels: `{digit}_{speaker}_{take}` gives `7_theo_12.wav` the
      labels digit 7, speaker theo and take 12. A file whose name does not match has none of them.
    - `x.txt` beside `x.jpg` contains its captions, one a line. Of several, one is drawn in each epoch, and all are used
      in evaluation. A file without captions is a record without that field.
    - With a `template`, a file without captions gets one from its labels: "a photo of a {class}".

    A record's value is the file's path relative to the folder; the value of a `.txt` file, which `extensions` must
    list, is its text. What is left out is said at the start of a run: hidden files and those that systems leave behind
    aside, files that come with data rather than are data (`.csv`, `.json`, `.md`, `.zip` and their like).

    Args:
        path: the folder.
        field: the field of the files.
        captions: the field of the captions; None ignores the `.txt` files beside others.
        extensions: the file extensions to read, such as [".jpg", ".png"]; default all but those of texts, tables,
            documents, programs and archives.
        pattern: pattern of file names, without folders and extension: label names in braces, all else literal.
        group: the label whose value is a record's group; records of one group share a split.
        classes: label name to its class names, by index.
        template: the caption of a file without one, with label names in braces; a file that lacks a label gets none.
        encoding: of texts without a byte-order mark, such as cp1252; default utf-8.
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
        encoding: str | None = None,
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
                raise DataError(
                    f"data.source.{option} names '{unknown}', which is no label of the folder; its labels are: {known}."
                )
        if template is not None and not (captions and asked["template"]):
            raise DataError("A template needs a field, data.source.captions, and a label in braces: 'a {class}'.")
        self._classes, self._template, self._in_template = classes or {}, template, asked["template"]
        self.root = str(folder)
        self._field = field
        self._extensions = None if extensions is None else {"." + e.lower().lstrip(".") for e in extensions}
        self._captions = None if self._takes("x.txt") else captions
        self._encoding = encoding
        tree = FileTree(folder)
        taken = [file for file in tree.files if self._takes(file)]
        files, repeats = tree.each_once(taken)
        if not files:
            kinds = "that ends in " + ", ".join(sorted(self._extensions)) if self._extensions else "of data"
            left_out = _counted(Counter(map(_ending, tree.files)))
            raise DataError(
                f"The folder '{path}' contains no readable records: there is no visible file {kinds}"
                + (f"; it holds {left_out}: name what to read with data.source.extensions." if left_out else ".")
            )
        if self._pattern and not any(self._pattern.fullmatch(PurePosixPath(file).stem) for file in files):
            raise DataError(
                f"No file of the folder '{path}' matches the pattern '{pattern}'; the first is "
                f"'{PurePosixPath(files[0]).stem}'."
            )
        tops = {file.partition("/")[0] if "/" in file else "" for file in files}
        self._split_folders = all(part_name(top) for top in tops)
        texts = {os.path.splitext(file)[0]: file for file in tree.files if _ending(file) == ".txt"}
        beside = [texts.get(os.path.splitext(file)[0]) for file in files] if self._captions is not None else []
        captioned = {text for text in beside if text is not None}
        self._texts_beside = _paths(beside) if captioned else None
        self._files = _paths(files)
        self._notes = _notes(tree, files, repeats, captioned, self._captions is not None)

    def _takes(self, file: str) -> bool:
        if self._extensions is not None:
            return _ending(file) in self._extensions
        name = PurePosixPath(file)
        kind = _ending(name.stem) or ".tar" if _ending(file) in COMPRESSED else _ending(file)
        return kind not in NO_RECORDS and name.name.lower() not in NOTICES

    @property
    def fields(self) -> tuple[str, ...]:
        """The field of the files and, when any file has captions beside it, the field of captions."""
        captioned = self._captions is not None and (self._texts_beside is not None or self._template is not None)
        return (self._field, self._captions) if captioned and self._captions else (self._field,)

    def __len__(self) -> int:
        return len(self._files)

    def notes(self) -> list[str]:
        """Return which kinds of files are records, and what is left out."""
        return list(self._notes)

    def columns(self) -> RecordColumns:
        """Return ids, labels, splits and groups of all records."""
        return self._columns

    @cached_property
    def _columns(self) -> RecordColumns:
        count, names, splits = len(self), [], []
        of_label: dict[str, list[str | None]] = {}
        for at in range(count):
            name, labels, split = self._key_of(self._path(self._files, at))
            for label, value in labels.items():
                if label not in of_label:
                    of_label[label] = [None] * count
                of_label[label][at] = value
            names.append(name)
            splits.append(split)
        ids, columns = pa.array(names, pa.string()), {label: pa.array(cells) for label, cells in of_label.items()}
        groups = pc.coalesce(columns[self._group], ids) if self._group in columns else ids
        return RecordColumns(
            count, ids, columns, pa.array(splits, pa.string()) if self._split_folders else None, groups
        )

    def key(self, index: int) -> Record:
        """Return the record at `index` without its values."""
        name, labels, split = self._key_of(self._path(self._files, index))
        return Record(name, {}, labels, split, labels.get(self._group, name) if self._group else name)

    def _key_of(self, file: str) -> tuple[str, dict[str, str], str | None]:
        """Return the id, the labels and the split of a file."""
        # A file name that is not Unicode still makes an id that every machine can write and hash.
        name = file.encode("utf-8", "backslashreplace").decode()
        folders = PurePosixPath(name).parts[1 if self._split_folders else 0 : -1]
        labels = {"class": folders[0]} if folders else {}
        if self._pattern and (match := self._pattern.fullmatch(PurePosixPath(name).stem)):
            labels |= match.groupdict()
        labels |= {label: self._name(label, labels[label], name) for label in self._classes if label in labels}
        return name, labels, part_name(file.partition("/")[0]) if self._split_folders else None

    def _path(self, paths: pa.Array, index: int) -> Any:
        """Return a path, relative to the folder; None where there is none."""
        found = paths[range(len(self))[index]].as_py()
        return None if found is None else os.fsdecode(found)

    def __getitem__(self, index: int) -> Record:
        key, file = self.key(index), self._path(self._files, index)
        values: dict[str, Any] = {self._field: self._text(file) if _ending(file) == ".txt" else file}
        beside = None if self._texts_beside is None else self._path(self._texts_beside, index)
        captions = None if beside is None else self._captions_in(beside)
        if captions is None and (caption := self._caption_of(key.labels)) is not None:
            captions = [caption]
        if captions is not None and self._captions is not None:
            values[self._captions] = one_or_several(captions) if isinstance(captions, list) else captions
        return replace(key, values=values)

    def _captions_in(self, beside: str) -> list[str] | Unreadable:
        """Return the captions in the text beside a file, or why they cannot be read."""
        path = Path(self.root, beside)
        try:
            text = read_text(path, self._encoding)
        except BadSample as error:
            if is_transient(error):
                raise
            return Unreadable(f"'{beside}' cannot be read: {error}", error.kind, str(path))
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines or Unreadable("caption is empty", "empty", str(path))

    def _name(self, label: str, value: str, file: str) -> str:
        number = int(value) if value.isdecimal() else None
        return class_name(self._classes[label], number, value, label, f"'{file}'")

    def _caption_of(self, labels: Mapping[str, str]) -> str | None:
        if self._template is None or not all(name in labels for name in self._in_template):
            return None
        return BRACED.sub(lambda found: labels[found[1]], self._template)

    def _text(self, file: str) -> str | Unreadable:
        try:
            return read_text(Path(self.root, file), self._encoding)
        except BadSample as error:
            if is_transient(error):
                raise
            return Unreadable(f"cannot be read as text: {error}", error.kind, error.where)


def _paths(files: Sequence[str | None]) -> pa.Array:
    """Return paths as a column of bytes, as the system has them: not every name of a file is text."""
    return pa.array([None if file is None else os.fsencode(file) for file in files], pa.large_binary())


def _ending(file: str) -> str:
    return PurePosixPath(file).suffix.lower()


def _counted(endings: Counter[str]) -> str:
    """Return extensions with their counts, the commonest first: "40 .jpg, 2 without extension"."""
    return ", ".join(f"{count} {ending or 'without extension'}" for ending, count in endings.most_common())


def _notes(
    tree: FileTree, files: Sequence[str], repeats: Sequence[str], captions: set[str], has_captions: bool
) -> list[str]:
    """Return what a user must know of a folder beside its records.

    Args:
        tree: the folder.
        files: those that are records.
        repeats: links to them.
        captions: the files of captions.
        has_captions: whether texts beside records are captions.
    """
    said = []
    kinds = Counter(map(_ending, files))
    if len(kinds) > 1:
        said.append(
            f"the records are files of several kinds, {_counted(kinds)}; data.source.extensions names those to read"
        )
    known = {*files, *repeats, *captions}
    others = Counter(_ending(file) for file in tree.files if file not in known)
    if has_captions and captions and others.pop(".txt", 0):
        alone = [file for file in tree.files if _ending(file) == ".txt" and file not in captions]
        said.append(f"{len(alone)} .txt files are captions of no record; the first is '{alone[0]}'")
    if others:
        said.append(f"{others.total()} files are no records: {_counted(others)}; data.source.extensions adds them")
    if links := [*repeats, *tree.not_followed]:
        said.append(f"{len(links)} links to what is read already are left out; the first is '{links[0]}'")
    for folder, reason in tree.unreadable.items():
        said.append(f"the folder '{folder}' cannot be read: {reason}")
    return said


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
