"""The names of the parts of a split, and how others write them."""

from __future__ import annotations

from collections.abc import Iterable

from sensorium.contracts import Source
from sensorium.errors import DataError
from sensorium.types import Record

PARTS = ("train", "val", "test")
ALIASES = {"training": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test"}


def part_name(word: str) -> str | None:
    """Return the part that a folder or cell names ("validation" is "val"), or None when it names none."""
    word = word.strip().lower()
    word = ALIASES.get(word, word)
    return word if word in PARTS else None


def group_of(key: Record) -> str:
    """Return the group whose records share a part: the record's own, or, without one, its id."""
    return key.id if key.group is None else key.group


def first_duplicate(ids: Iterable[str]) -> str | None:
    """Return the first id that occurs twice, or None."""
    seen: set[str] = set()
    for id in ids:
        if id in seen:
            return id
        seen.add(id)
    return None


def positions_by_group(source: Source) -> dict[str, list[int]]:
    """Return group -> the positions of its records, in the order of the source."""
    groups: dict[str, list[int]] = {}
    for i in range(len(source)):
        groups.setdefault(group_of(source.key(i)), []).append(i)
    return groups


def torn(group: str, one: str, other: str, id: str) -> DataError:
    """Return the error of a group with records in two parts."""
    return DataError(
        f"The group '{group}' has records in {one} and in {other} (one is '{id}'); records of one group must share a "
        "split."
    )
