"""The split: which part (train, val or test) each record belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from sensorium.contracts import Source
from sensorium.errors import DataError, RecipeError
from sensorium.recipe.schema import HoldOut
from sensorium.seeding import uniform_of
from sensorium.types import Record

PARTS = ("train", "val", "test")
ALIASES = {"training": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test"}


def part_name(word: str) -> str | None:
    """Return the part that a folder or cell names ("validation" is "val"), or None when it names none."""
    word = word.strip().lower()
    word = ALIASES.get(word, word)
    return word if word in PARTS else None


def first_duplicate(ids: Iterable[str]) -> str | None:
    """Return the first id that occurs twice, or None."""
    seen: set[str] = set()
    for id in ids:
        if id in seen:
            return id
        seen.add(id)
    return None


def assign_parts(
    source: Source, fractions: Mapping[str, float], seed: int, hold_out: HoldOut | None = None
) -> dict[str, np.ndarray]:
    """Assign every record of a source to a part.

    The split that a record of the source has takes precedence, for its whole group. A part that no record names is
    drawn from the train part, by `fractions` and a hash of the group's name: a record keeps its part when records are
    added or removed.

    Args:
        source: the records.
        fractions: the fractions of "val" and "test", together below 1.
        seed: of the hash.
        hold_out: the records of the test part; a test part that the source names then belongs to the train part.

    Returns:
        "train", "val" and "test" -> int64 positions in the source, ascending; train is never empty.

    Raises:
        RecipeError: when the fractions are negative, or leave nothing to train.
        DataError: when two records have one id, a split has an unknown name, a group has records in two splits of the
            source, or no record is left for training.
    """
    if (
        not set(fractions) <= {"val", "test"}
        or min(fractions.values(), default=0.0) < 0
        or sum(fractions.values()) >= 1
    ):
        raise RecipeError(
            f"data.val and data.test are fractions, at least 0 and together below 1, not {dict(fractions)}."
        )
    known = _known_parts(source, hold_out)
    named = set(known.values())
    if hold_out is not None and "test" not in named:
        raise DataError(
            f"No record has the value '{hold_out.value}' of the label '{hold_out.by}', which data.hold_out names: "
            "correct its by and value."
        )
    drawn_fractions = {part: fractions.get(part, 0.0) for part in ("test", "val") if part not in named}

    def part_of(key: Record) -> int:
        group = _group(key)
        part = known.get(group, "train")
        if part == "train" and any(drawn_fractions.values()):
            part = _draw(uniform_of(seed, "split", group), drawn_fractions)
        return PARTS.index(part)

    parts_N = np.fromiter((part_of(source.key(i)) for i in range(len(source))), np.int8, len(source))
    if not (parts_N == PARTS.index("train")).any():
        raise DataError(
            f"None of the {len(source)} records is left for training; check the splits and their fractions."
        )
    return {part: np.flatnonzero(parts_N == number) for number, part in enumerate(PARTS)}


def _known_parts(source: Source, hold_out: HoldOut | None) -> dict[str, str]:
    """Return the part of every group of which a record names one; refuse ids that occur twice.

    Only a hash of each id is kept, so that a source of millions of records costs little memory.
    """
    known: dict[str, str] = {}
    hashes_N = np.empty(len(source), np.int64)
    for i in range(len(source)):
        key = source.key(i)
        hashes_N[i] = hash(key.id)
        if key.split is not None and key.split not in PARTS:
            raise DataError(f"The record '{key.id}' has the split '{key.split}'; it must be train, val or test.")
        part = key.split if hold_out is None else _part_of(key, hold_out)
        if part is None:
            continue
        group = _group(key)
        if known.setdefault(group, part) != part:
            raise DataError(
                f"The group '{group}' has records in {known[group]} and in {part} (one is '{key.id}'); "
                "records of one group must share a split."
            )
    hashes, counts = np.unique(hashes_N, return_counts=True)
    candidates = np.flatnonzero(np.isin(hashes_N, hashes[counts > 1]))
    if (twice := first_duplicate(source.key(int(i)).id for i in candidates)) is not None:
        raise DataError(f"Two records have the id '{twice}'; ids must be unique in their source.")
    return known


def _part_of(key: Record, hold_out: HoldOut) -> str:
    """Return "test" for a record that is held out, and for all others the source's val part, or "train"."""
    label = key.labels.get(hold_out.by)
    if label is not None and str(label) == hold_out.value:
        return "test"
    return "val" if key.split == "val" else "train"


def _group(key: Record) -> str:
    return key.id if key.group is None else key.group


def _draw(number: float, fractions: Mapping[str, float]) -> str:
    """Return the part that a number in [0, 1) falls into."""
    for part, fraction in fractions.items():
        if number < fraction:
            return part
        number -= fraction
    return "train"
