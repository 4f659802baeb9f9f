"""The random split: by a hash of group or id, beside the parts that the source names."""

from __future__ import annotations

from collections.abc import Mapping

from sensorium.contracts import Split
from sensorium.data.splits.parts import PARTS, group_of, torn
from sensorium.errors import DataError
from sensorium.seeding import uniform_of
from sensorium.types import Record


class RandomSplit(Split):
    """The parts that the source names, and a random split of the other records, with groups kept together.

    A part that no record names is drawn from the train part by a hash of the group's name, so that a record keeps its
    part when records are added or removed.
    """

    def assign(self, source, fractions, seed):
        """Return the named part of a record's group, or the one that its group draws."""
        keys = range(len(source))
        known: dict[str, str] = {}
        for i in keys:
            key = source.key(i)
            if (part := self.part_of(key)) is not None:
                first = known.setdefault(group_of(key), part)
                if first != part:
                    raise torn(group_of(key), first, part, key.id)
        named = set(known.values())
        drawn = {part: fractions.get(part, 0.0) for part in ("test", "val") if part not in named}

        def assigned(key: Record) -> str:
            group = group_of(key)
            part = known.get(group, "train")
            return _draw(uniform_of(seed, "split", group), drawn) if part == "train" and any(drawn.values()) else part

        return [assigned(source.key(i)) for i in keys]

    def part_of(self, key: Record) -> str | None:
        """Return the part that a record names, or None.

        Raises:
            DataError: when it names no part.
        """
        if key.split is not None and key.split not in PARTS:
            raise DataError(f"The record '{key.id}' has the split '{key.split}'; it must be train, val or test.")
        return key.split


class HoldOut(RandomSplit):
    """One value of a label as the test part, whatever the source says; the rest is train and, drawn from it, val.

    Args:
        by: the label column, such as the device or the speaker.
        value: its value; compared as text, so that 9 and "9" are the same.
    """

    def __init__(self, by: str, value: str | int | float | bool) -> None:
        self.by, self.value = by, str(value)

    def part_of(self, key: Record) -> str:
        """Return "test" for a record that is held out, and for all others the source's val part, or "train"."""
        label, named = key.labels.get(self.by), super().part_of(key)
        if label is not None and str(label) == self.value:
            return "test"
        return "val" if named == "val" else "train"

    def assign(self, source, fractions, seed):
        """Return the parts; some record must have the value."""
        parts = super().assign(source, dict(fractions) | {"test": 0.0}, seed)
        if "test" not in parts:
            raise DataError(
                f"No record has the value '{self.value}' of the label '{self.by}', which the split 'hold-out' names: "
                "correct data.split.by and data.split.value."
            )
        return parts


def _draw(number: float, fractions: Mapping[str, float]) -> str:
    """Return the part that a number in [0, 1) falls into."""
    for part, fraction in fractions.items():
        if number < fraction:
            return part
        number -= fraction
    return "train"
