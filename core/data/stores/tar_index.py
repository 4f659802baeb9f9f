"""Where the members of a tar are: read from its headers once, and kept in a file."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from sensorium.data.stores.files import filesystem, is_local
from sensorium.errors import DataError

log = logging.getLogger("sensorium")
VERSION = 2
NAME = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)")
"""A member's name: the key of its record, up to the first point in the last part, and the extension behind it."""
COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
KEPT = ("json", "cls", "id", "txt", "text")
"""Extensions of members whose content an index has, if it is short: labels are read of them."""
SHORT = 1 << 16
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("extension", pa.dictionary(pa.int32(), pa.string())),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("content", pa.binary()),
    ]
)


@dataclass(frozen=True)
class TarIndex:
    """The members of a tar.

    Args:
        members: key, extension, offset and size of each, and its content where that is short, one row for each.
        size: bytes of the tar.
        damage: where headers are damaged, in bytes from its start.
        has_end: whether something stands behind the last member, or is missing of it: a tar that ends with a whole
            member may have lost others.
    """

    members: pa.Table
    size: int
    damage: list[int] = field(default_factory=list)
    has_end: bool = True


def tar_index(url: str, options: Mapping[str, Any], content: bool) -> TarIndex:
    """Return where the members of a tar are.

    The index lies beside the tar, or in the cache folder where there is no place; it is made anew when the tar's size
    or time has changed.

    Args:
        url: path or address of the tar.
        options: of the file system.
        content: whether the content of short members is wanted.

    Raises:
        DataError: when it is compressed, or no tar.
    """
    stamp = _stamp(url, options)
    for path in _places(url):
        if (found := _kept(path, stamp, content)) is not None:
            return found
    index = _scanned(url, options, stamp["size"])
    for path in _places(url):
        if _keep(index, path, stamp):
            break
    else:
        log.warning("the index of '%s' cannot be kept anywhere: it is made anew by every process", url)
    return index if content else replace(index, members=index.members.drop_columns("content"))


def _stamp(url: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return by what a change of the tar shows."""
    if is_local(url):
        try:
            status = os.stat(url)
        except OSError as error:
            raise DataError(f"The tar '{url}' cannot be read: {error.strerror}; check data.source.") from error
        return {"version": VERSION, "size": status.st_size, "changed": status.st_mtime_ns}
    fs, path = filesystem(url, options)
    try:
        about = fs.info(path)
    except FileNotFoundError as error:
        raise DataError(f"The tar '{url}' does not exist; check data.source.") from error
    changed = next((str(about[name]) for name in ("ETag", "etag", "LastModified", "mtime") if about.get(name)), "")
    return {"version": VERSION, "size": int(about["size"]), "changed": changed}


def _places(url: str) -> Iterator[Path]:
    """Return where the index of a tar may lie."""
    if is_local(url):
        yield Path(f"{url}.index")
        url = os.path.abspath(url)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    yield cache / "sensorium" / "tars" / f"{hashlib.blake2b(url.encode(), digest_size=16).hexdigest()}.index"


def _kept(path: Path, stamp: dict[str, Any], content: bool) -> TarIndex | None:
    """Return the index that a file holds, if it is of the tar as it is now."""
    try:
        with pq.ParquetFile(path) as file:
            about = json.loads(file.schema_arrow.metadata[b"sensorium"])
            if about["stamp"] != stamp:
                return None
            names = [name for name in SCHEMA.names if content or name != "content"]
            members = file.read(columns=names, use_threads=False)
            return TarIndex(members, stamp["size"], about["damage"], about["has_end"])
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException):
        return None


def _keep(index: TarIndex, path: Path, stamp: dict[str, Any]) -> bool:
    """Write an index to a file, whole or not at all; return whether there is room and leave for it."""
    about = json.dumps({"stamp": stamp, "damage": index.damage, "has_end": index.has_end})
    part = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(index.members.replace_schema_metadata({"sensorium": about}), part, compression="zstd")
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        return False
    return True


def _scanned(url: str, options: Mapping[str, Any], size: int) -> TarIndex:
    """Read the headers of a tar, from its start to its end."""
    log.info("indexing '%s', once", url)
    with _opened(url, options) as file:
        if kind := _compression(file.read(8)):
            raise DataError(
                f"'{url}' is compressed by {kind}, so that no member can be read by its place: unpack it to a .tar "
                f"({kind} -d), the images and recordings in it are compressed already."
            )
        columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
        damage: list[int] = []
        held = end = 0  # where the last member's bytes, and its blocks, end
        for member in _members(file, size, damage, url):
            held, end = member.offset_data + member.size, _end(member)
            name = member.name.removeprefix("./")
            if (parts := NAME.fullmatch(name)) is None or not member.isreg() or name.startswith("__"):
                continue
            extension = parts[2].lower()
            is_whole = member.offset_data + member.size <= size
            is_kept = extension.rpartition(".")[2] in KEPT and member.size <= SHORT and is_whole
            row = (parts[1], extension, member.offset_data, member.size)
            for column, cell in zip(columns.values(), (*row, _content(file, member) if is_kept else None), strict=True):
                column.append(cell)
    if not columns["key"] and damage:
        raise DataError(f"'{url}' is no tar, or damaged: it has no header that can be read; check data.source.")
    if not columns["key"]:
        raise DataError(f"'{url}' has no members that are named as those of WebDataset, such as 'a/0001.jpg'.")
    return TarIndex(pa.table(columns, schema=SCHEMA), size, damage, has_end=not held <= size < end + tarfile.BLOCKSIZE)


def _members(file: BinaryIO, size: int, damage: list[int], url: str) -> Iterator[tarfile.TarInfo]:
    """Iterate over the members of a tar, and note where something else stands between them."""
    file.seek(0)
    end = 0
    try:
        with tarfile.open(fileobj=file, mode="r:", ignore_zeros=True) as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # of millions, none is needed again
                if member.offset > end and not _is_padding(file, end, member.offset):
                    damage.append(end)
                end = _end(member)
                yield member
    except tarfile.ReadError as error:
        if not end:
            raise DataError(f"'{url}' is no tar ({error}); check data.source.") from error
    if end < size and not _is_padding(file, end, size):
        damage.append(end)


def _end(member: tarfile.TarInfo) -> int:
    """Return where the blocks of a member end."""
    return member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _is_padding(file: BinaryIO, start: int, stop: int) -> bool:
    """Whether a tar has nothing but zeros between two places, of which the first block is looked at."""
    file.seek(start)
    return not any(file.read(min(tarfile.BLOCKSIZE, stop - start)))


def _content(file: BinaryIO, member: tarfile.TarInfo) -> bytes:
    file.seek(member.offset_data)
    return file.read(member.size)


def _compression(start: bytes) -> str | None:
    return next((kind for magic, kind in COMPRESSED.items() if start.startswith(magic)), None)


def _opened(url: str, options: Mapping[str, Any]) -> Any:
    if is_local(url):
        return open(url, "rb")
    fs, path = filesystem(url, options)
    return fs.open(path, "rb")
