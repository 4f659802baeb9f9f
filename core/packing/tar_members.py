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
NOT_READ_AS_BYTES = (".json", ".txt", ".text", ".cls", ".id")
"""Extensions of members that are read as text, numbers or JSON: a file that has one is stored without, as bytes."""
LONGEST = 40
"""Characters of the name of a field in a tar, whose names have 100 bytes in all."""


def members_of(layout: Layout, row: Mapping[str, Any]) -> Iterator[tuple[str | None, str, bytes]]:
    """Iterate over the members of a record: the field, None for what is said of it; the end of the name; the content.

    The first of several values is "0.FIELD.EXTENSION".
    """
    columns = [layout.id, *layout.labels.values(), layout.split, layout.group, *(layout.time or ())]
    # With what a record lacks, as null: a label that none has is a label still.
    said = {name: None if row[name] is None else _plain(row[name]) for name in columns if name is not None}
    yield None, "json", json.dumps(said, ensure_ascii=False).encode()
    for field, value in layout.values.items():
        cells = row[value.name] or [] if value.is_list else [row[value.name]]
        for number, cell in enumerate(cell for cell in cells if cell is not None):
            before = f"{number}." if len(cells) > 1 else ""
            if isinstance(cell, str):
                yield field, f"{before}{value.name}.txt", cell.encode()
            else:
                yield field, f"{before}{value.name}{_extension(cell['bytes'], cell['path'])}", cell["bytes"]


def member_name(name: str) -> str:
    """Return a name as it may stand in those of members: no capitals, which readers lower, no number alone."""
    plain = re.sub(r"[^a-z0-9_-]", "_", name.lower())[:LONGEST]
    return f"column_{plain}" if plain.isdigit() else plain


def _extension(content: bytes, path: str | None) -> str:
    found = PurePosixPath(path).suffix.lower() if path is not None else ""
    if re.fullmatch(r"\.[a-z0-9]{1,16}", found) and found not in NOT_READ_AS_BYTES:
        return found
    if is_packed(content):
        return ".safetensors"
    if content[:4] == b"RIFF":
        return ".wav" if content[8:12] == b"WAVE" else ".webp"
    return next((extension for start, extension in SIGNATURES if content.startswith(start)), ".bin")


def _plain(cell: Any) -> Any:
    return cell.isoformat() if isinstance(cell, date | datetime) else cell
