"""The members of one record in a tar, as webdataset names them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from pathlib import PurePosixPath
from typing import Any

from sensorium.data.packed_values import is_packed
from sensorium.packing.layout import Layout

SIGNATURES = (
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG", ".png"),
    (b"GIF8", ".gif"),
    (b"II*\x00", ".tif"),
    (b"MM\x00*", ".tif"),
    (b"fLaC", ".flac"),
    (b"OggS", ".ogg"),
    (b"ID3", ".mp3"),
    (b"\x93NUMPY", ".npy"),
)
"""First bytes of files whose name is not known, and the extension that they get."""


def members_of(layout: Layout, row: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Iterate over the ends of names and the contents of a record's members: what is said of it, then its values."""
    said: dict[str, Any] = {"id": row[layout.id]}
    said |= {label: _plain(row[column]) for label, column in layout.labels.items() if row[column] is not None}
    for name, column in (("split", layout.split), ("group", layout.group)):
        if column is not None and row[column] is not None:
            said[name] = row[column]
    if layout.time is not None and row[layout.time[0]] is not None:
        said["time"] = [_plain(row[column]) for column in layout.time]
    yield "json", json.dumps(said, ensure_ascii=False).encode()
    for field, value in layout.values.items():
        cells = row[value.name]
        several = cells if value.is_list else [cells]
        for number, cell in enumerate(cell for cell in several or [] if cell is not None):
            name = re.sub(r"[./\s]", "_", field) + (f".{number}" if value.is_list and len(several) > 1 else "")
            if isinstance(cell, str):
                yield f"{name}.txt", cell.encode()
            else:
                yield f"{name}{_extension(cell['bytes'], cell['path'])}", cell["bytes"]


def _extension(content: bytes, path: str | None) -> str:
    found = PurePosixPath(path).suffix.lower() if path is not None else ""
    if found and found != ".json":
        return found
    if is_packed(content):
        return ".safetensors"
    if content[:4] == b"RIFF":
        return ".wav" if content[8:12] == b"WAVE" else ".webp"
    return next((extension for start, extension in SIGNATURES if content.startswith(start)), ".bin")


def _plain(cell: Any) -> Any:
    return cell.isoformat() if isinstance(cell, date | datetime) else cell
