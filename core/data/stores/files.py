"""The files of a store, by path, folder, glob, braces or address; on this machine, or wherever `fsspec` reaches."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import fsspec

from sensorium.data.splits import part_name
from sensorium.errors import DataError

BRACES = re.compile(r"\{([^{}]*)\}")
WILD = re.compile(r"[*?\[]")
RANGE = re.compile(r"(\d+)\.\.(\d+)")
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
"""The name of the folder of rows without a value, in partitioned folders."""


@dataclass(frozen=True)
class StoredFile:
    """A file of a store.

    Args:
        url: its path on this machine, or its address, such as "s3://bucket/a.parquet".
        part: the split that it was given for; None where none was.
        folders: column -> value, of the folders named so that it lies in ("year=2024"); None for no value.
    """

    url: str
    part: str | None = None
    folders: Mapping[str, str | None] = field(default_factory=dict)


def is_local(url: str) -> bool:
    """Whether a path or an address is of this machine's file system."""
    return "://" not in url


def filesystem(url: str, options: Mapping[str, Any]) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return the file system behind an address, of this process, and the path there.

    Args:
        url: a path or an address.
        options: of the file system: its `storage_options`.

    Raises:
        DataError: when no installed package reaches it.
    """
    try:
        return fsspec.core.url_to_fs(url, **({} if is_local(url) else options))
    except ImportError as error:
        raise DataError(
            f"'{url}' needs a package that is not installed ({error}): run pip install 'sensorium[stores]'."
        ) from error
    except ValueError as error:
        raise DataError(f"'{url}' is no address that fsspec knows ({error}); check data.source.path.") from error


def no_ranges(url: str, told: str) -> DataError:
    """Return the error about a server of which a part of a file was asked, and that gives whole files alone.

    Args:
        url: of the file.
        told: how that was seen.
    """
    return DataError(
        f"'{url}' can only be had whole, since its server knows no ranges of bytes ({told}): copy the file to this "
        "machine, or to a server or an object store that does."
    )


def stored_files(
    source: str,
    path: str | Sequence[str] | None,
    splits: Mapping[str, str | Sequence[str]] | None,
    endings: Sequence[str],
    options: Mapping[str, Any],
) -> list[StoredFile]:
    """Return the files that a recipe names, in an order that does not depend on how a folder lists them.

    Args:
        source: the name of the source, for errors.
        path: a file, a folder, a glob ("*.parquet") or several files in braces ("{000..127}.tar"), or a list of these.
        splits: split -> the same, in place of `path`.
        endings: of the files that are read of a folder, such as ".parquet".
        options: of the file system.

    Raises:
        DataError: when there are none, or a name is none of a split.
    """
    if (path is None) == (splits is None):
        raise DataError(f"The source '{source}' takes either path or splits (split name to path).")
    named: dict[str | None, str | Sequence[str]] = {} if path is None else {None: path}
    for word, given in (splits or {}).items():
        if (part := part_name(word)) is None:
            raise DataError(f"data.source.splits names '{word}'; a split is train, val or test.")
        named[part] = given
    found = [
        StoredFile(url, part, folders)
        for part, given in named.items()
        for one in ([given] if isinstance(given, str) else given)
        for name in expand_braces(one)
        for url, folders in _listed(name, endings, options)
    ]
    if not found:
        raise DataError(f"The source '{source}' got an empty list of files.")
    if len({file.url for file in found}) < len(found):
        urls = [file.url for file in found]
        twice = next(url for url in urls if urls.count(url) > 1)
        raise DataError(f"data.source names the file '{twice}' twice; name each once.")
    return found


def expand_braces(text: str) -> list[str]:
    """Return the names that braces stand for, as shells write them: "{00..11}" is a range, "{a,b}" a choice."""
    if (found := BRACES.search(text)) is None:
        return [text]
    before, behind = text[: found.start()], text[found.end() :]
    if (ends := RANGE.fullmatch(found[1])) is not None:
        width = len(ends[1]) if ends[1].startswith("0") else 0
        words = [f"{number:0{width}}" for number in range(int(ends[1]), int(ends[2]) + 1)]
    elif "," in found[1]:
        words = found[1].split(",")
    else:  # braces that mean themselves
        return [text[: found.end()] + rest for rest in expand_braces(behind)]
    return list(dict.fromkeys(name for word in words for name in expand_braces(before + word + behind)))


def title_of(files: Sequence[StoredFile]) -> str:
    """Return the files as errors name them."""
    return f"'{files[0].url}'" + (f" and {len(files) - 1} more" if len(files) > 1 else "")


def folder_of(files: Sequence[StoredFile]) -> str:
    """Return the folder on this machine that relative paths in records start from: that of the first file."""
    return os.path.dirname(files[0].url) or "." if is_local(files[0].url) else "."


def _listed(name: str, endings: Sequence[str], options: Mapping[str, Any]) -> list[tuple[str, dict[str, str | None]]]:
    """Return what one name stands for, with the values of the folders that partition it."""
    name = os.path.expanduser(name.removeprefix("file://")) if is_local(name.removeprefix("file://")) else name
    fs, path = filesystem(name, options)
    is_web = name.startswith(("http://", "https://"))

    def is_one(candidate: str) -> bool:
        hidden = any(part.startswith((".", "_")) for part in candidate[len(base) :].split("/"))
        return candidate.lower().endswith(tuple(endings)) and not hidden

    if WILD.search(path) and not is_web and not fs.exists(path):
        base = path[: path.rfind("/", 0, WILD.search(path).start()) + 1]  # type: ignore[union-attr]
        matching = fs.glob(path, detail=True)
        files = {found for found, about in matching.items() if about["type"] == "file"}
        below = {one for found in matching.keys() - files for one in fs.find(found) if is_one(one)}
        paths = sorted(files | below)
        lacking = f"No file matches '{name}'"
    elif not is_web and fs.isdir(path):
        base = path.rstrip("/") + "/"
        paths = sorted(filter(is_one, fs.find(path)))
        lacking = f"The folder '{name}' has no file that ends in {', '.join(endings)}"
    else:
        base, lacking = path, f"The file '{name}' does not exist"
        paths = [path] if is_web or fs.exists(path) else []
    if not paths:
        raise DataError(f"{lacking}; check data.source.")
    urls = [_as_written(name, found) if is_local(name) else fs.unstrip_protocol(found) for found in paths]
    return [(url, _partitions(found[len(base) :])) for url, found in zip(urls, paths, strict=True)]


def _as_written(name: str, path: str) -> str:
    """Return the absolute path that `fsspec` found as the user wrote it: relative where he did."""
    return path if os.path.isabs(name) else os.path.relpath(path)


def _partitions(below: str) -> dict[str, str | None]:
    """Return the columns that the folders of a path name: "year=2024/" has the column "year"."""
    pairs = (folder.partition("=") for folder in below.split("/")[:-1] if "=" in folder)
    return {name: None if value == NO_VALUE else unquote(value) for name, _, value in pairs}
