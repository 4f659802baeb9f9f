"""The stratified split: each class has its fraction in each part."""

from __future__ import annotations

from collections.abc import Hashable

from sensorium.contracts import Split
from sensorium.data.splits.parts import positions_by_group
from sensorium.errors import DataError
from sensorium.seeding import uniform_of


class Stratified(Split):
    """A random split of the groups of each class, so that a rare class is in every part; what the source names does not
    count.

    A class of G groups has round(f G) of them in a part of fraction f, at least one where it has three groups or more.
    A group belongs to the class of its first record.

    Args:
        by: the label column with the classes; records without a label are a class of their own.
    """

    def __init__(self, by: str) -> None:
        self.by = by

    def assign(self, source, fractions, seed):
        """Return the parts."""
        of_class: dict[Hashable, list[tuple[float, list[int]]]] = {}
        known = False
        for group, positions in positions_by_group(source).items():
            label = source.key(positions[0]).labels.get(self.by)
            known = known or label is not None
            of_class.setdefault(label, []).append((uniform_of(seed, "split", group), positions))
        if not known:
            raise DataError(
                f"No record has the label '{self.by}', by which the split 'stratified' divides: correct data.split.by."
            )
        parts = ["train"] * len(source)
        for groups in of_class.values():
            groups.sort()
            first = 0
            for part in ("test", "val"):
                fraction = fractions.get(part, 0.0)
                count = max(round(fraction * len(groups)), int(fraction > 0 and len(groups) >= 3))
                for _, positions in groups[first : first + count]:
                    for position in positions:
                        parts[position] = part
                first += count
        return parts
