"""What is known of a pack, beside its shards: how it was begun, how far it is, and a checksum of every file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sensorium.errors import DataError
from sensorium.packing.layout import Layout
from sensorium.packing.shards import checksum
from sensorium.runs.atomic import write_json

NAME = "pack.json"


@dataclass(frozen=True)
class Shard:
    """One shard.

    Args:
        stop: the position in the source of the first record behind it.
        records: how many it has.
        bytes: its size.
        before: bytes of the raw values of its records.
        files: file -> SHA-256.
        extensions: field -> the extensions of its members in this shard and those before, where it has such.
    """

    stop: int
    records: int
    bytes: int
    before: int
    files: Mapping[str, str]
    extensions: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """A pack.

    Args:
        form: of its shards.
        source: what tells the source and the options of the pack from others.
        layout: of the records.
        count: records of the source.
        shards: those that are written.
        finished: whether they are all.
    """

    form: str
    source: Mapping[str, Any]
    layout: Layout
    count: int
    shards: tuple[Shard, ...] = field(default_factory=tuple)
    finished: bool = False

    @property
    def stop(self) -> int:
        """How many records of the source have been packed, or left out."""
        return self.shards[-1].stop if self.shards else 0

    @property
    def records(self) -> int:
        """How many records it has."""
        return sum(shard.records for shard in self.shards)

    @property
    def bytes(self) -> int:
        """The size of its shards."""
        return sum(shard.bytes for shard in self.shards)

    def with_shard(self, shard: Shard) -> Manifest:
        """Return it with one more shard."""
        return replace(self, shards=(*self.shards, shard))

    def write(self, folder: Path) -> None:
        """Write it into the folder of the shards."""
        write_json(folder / NAME, {**asdict(self), "layout": self.layout.described()})

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """Return what a folder has; None where no pack was begun.

        Raises:
            DataError: when it cannot be read.
        """
        try:
            found = json.loads((folder / NAME).read_text(encoding="utf-8"))
            shards = tuple(Shard(**shard) for shard in found["shards"])
            return cls(**{**found, "layout": Layout.of_description(found["layout"]), "shards": shards})
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"'{folder / NAME}' is damaged ({error}): delete the folder, and pack again.") from error

    def verify(self, folder: Path) -> None:
        """Check that every file is there, as it was written.

        Raises:
            DataError: with the first that is not, or when the pack is not finished.
        """
        for shard in self.shards:
            for name, expected in shard.files.items():
                file = folder / name
                if not file.is_file():
                    raise DataError(f"'{file}' is missing: pack again, or bring it back.")
                if (found := checksum(file)) != expected:
                    raise DataError(
                        f"'{file}' is not what was packed: its SHA-256 begins with {found[:12]}, and began with "
                        f"{expected[:12]}; bring it back, or delete it and '{folder / NAME}', and pack again."
                    )
        if not self.finished:
            raise DataError(
                f"The pack in '{folder}' is not finished: {self.stop:,} of {self.count:,} records are packed; the "
                "command that began it goes on with it."
            )
