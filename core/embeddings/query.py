"""What a query of `search` is: the path of a file or a value, and which modality of a run reads it."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sensorium.contracts import Modality
from sensorium.errors import BadSample, RunError, not_found

MEDIA = ("audio/", "image/", "video/")
FILES = (".csv", ".json", ".jsonl", ".npy", ".npz", ".parquet", ".pdf", ".tsv", ".txt", ".zip")
"""Words that end like a file of such a type, or so, are taken for the name of one."""


@dataclass(frozen=True)
class Query:
    """A raw value, and the modality that reads it.

    Args:
        raw: the value.
        example: what the modality decoded.
        modality: name of the modality.
        others: further modalities of the run that would read it.
    """

    raw: Any
    example: Any
    modality: str
    others: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The query in one line: words and paths as they are, of anything else the type."""
        return str(self.raw) if isinstance(self.raw, str | os.PathLike) else f"({type(self.raw).__name__})"


def read_query(raw: Any, modalities: Mapping[str, Modality], by: str | None = None) -> Query:
    """Find the modality that reads a query, and decode it.

    A file goes to the modalities that name its extension, or else to those that decode it; words and other values to
    those that decode them. The first in the recipe's order is taken.

    Args:
        raw: a text, the path of a file, or any raw value.
        modalities: those of the run, by name.
        by: the modality to take; the words are then taken as they are.

    Raises:
        RunError: when there is no such modality or file, or nothing reads the query.
    """
    if by is not None:
        if by not in modalities:
            known = ", ".join(modalities)
            raise RunError(not_found(f"The run has no modality '{by}'", by, modalities, f"it has {known}"))
        if modalities[by].reads_files and isinstance(raw, str | os.PathLike):
            _require_file(raw, modalities)
        return _decoded(raw, {by: modalities[by]})
    if not isinstance(raw, str | os.PathLike):
        return _decoded(raw, modalities)
    words = {name: modality for name, modality in modalities.items() if not modality.reads_files}
    if not os.path.isfile(raw):
        if isinstance(raw, os.PathLike) or not words or _is_path(raw, modalities):
            _require_file(raw, modalities)
        return _decoded(raw, words)
    extension = os.path.splitext(raw)[1].lower()
    files = {name: modality for name, modality in modalities.items() if modality.reads_files}
    reading = {name: modality for name, modality in files.items() if extension in modality.extensions}
    try:
        return _decoded(raw, reading or files)
    except RunError:
        if isinstance(raw, os.PathLike) or not words or _is_path(raw, modalities):
            raise
        return _decoded(raw, words)  # a word that happens to be the name of a file


def _decoded(raw: Any, candidates: Mapping[str, Modality]) -> Query:
    """Return the query as the first of the candidates that decodes it, with the others that do."""
    examples: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for name, modality in candidates.items():
        try:
            examples[name] = modality.decode(raw)
        except BadSample as error:
            reasons[name] = str(error)
    if not examples:
        told = "; ".join(f"{name}: {reason}" for name, reason in reasons.items()) or "none of them reads files"
        raise RunError(f"No modality of the run reads {_named(raw)} ({told}).")
    first, *others = examples
    return Query(raw, examples[first], first, tuple(others))


def _require_file(path: str | os.PathLike[str], modalities: Mapping[str, Modality]) -> None:
    if os.path.isfile(path):
        return
    words = [name for name, modality in modalities.items() if not modality.reads_files]
    rest = (
        f"To search for these words, name the modality that reads them: --by {words[0]}."
        if words
        else f"The run has no modality of texts; it has {', '.join(modalities)}."
    )
    raise RunError(f"There is no file '{path}'. {rest}")


def _is_path(words: str, modalities: Mapping[str, Modality]) -> bool:
    """Return whether words look like the path of a file: by their extension, or a folder that they begin with."""
    folder, extension = os.path.dirname(words), os.path.splitext(words)[1].lower()
    kind = mimetypes.guess_type(f"file{extension}")[0] or ""
    known = {known for modality in modalities.values() for known in modality.extensions}
    ends_as_file = extension in known or extension in FILES or kind.startswith(MEDIA)
    return ends_as_file or words.startswith(("./", "../", "~/", "/")) or (folder != "" and os.path.isdir(folder))


def _named(raw: Any) -> str:
    return f"'{raw}'" if isinstance(raw, str | os.PathLike) else f"a value of the type {type(raw).__name__}"
