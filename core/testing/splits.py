"""Checks of splits, on records in groups, with labels and times."""

from __future__ import annotations

import numpy as np

from sensorium import seeding
from sensorium.contracts import Source, Split
from sensorium.data.splits import assign_parts
from sensorium.errors import SensoriumError
from sensorium.testing.another_process import in_another_process
from sensorium.testing.checked_part import CheckedPart, Failure, expect
from sensorium.testing.equality import global_random_state, same
from sensorium.types import Record, Span

RECORDS, GROUPS = 240, 80
FRACTIONS = {"val": 0.2, "test": 0.2}

Parts = dict[str, list[str]]


class GroupedRecords(Source):
    """Records in groups of three, with the labels "kind" (three words) and "number", and times.

    Args:
        is_reversed: whether the last record comes first.
    """

    fields = ("value",)

    def __init__(self, is_reversed: bool = False) -> None:
        self.is_reversed = is_reversed

    def __len__(self) -> int:
        return RECORDS

    def key(self, index: int) -> Record:
        """Return a record without its value."""
        number = range(RECORDS)[index]
        number = RECORDS - 1 - number if self.is_reversed else number
        group, labels = number % GROUPS, {"kind": "abc"[number % GROUPS % 3], "number": number % GROUPS}
        return Record(f"record-{number}", {}, labels, group=f"group-{group}", time=Span(float(group), float(group) + 1))

    def __getitem__(self, index: int) -> Record:
        key = self.key(index)
        return Record(key.id, {"value": float(index)}, key.labels, key.split, key.group, key.time)


def names_a_part_for_each_record(checked: CheckedPart) -> None:
    """Every record is in the train, val or test part, records of a group in one, and some are left for training."""
    try:
        parts = assign_parts(GroupedRecords(), FRACTIONS, 0, checked.build())
    except SensoriumError as error:
        raise Failure(str(error).rstrip(".")) from error
    expect(sum(map(len, parts.values())) == RECORDS, "a record is in no part, or in two")


def is_a_function_of_records_and_seed(checked: CheckedPart) -> None:
    """The same records and seed have the same parts each time, whatever the state of the global generators."""
    made = []
    for number in range(3):
        split = checked.build()
        seeding.seed_globals("split", number)
        before = global_random_state()
        made.append(_parts_of(split))
        expect(same(global_random_state(), before), "it draws from a global generator: seed one of its own")
    expect(made[0] == made[1] == made[2], "the same records and seed have other parts in the next call")


def is_the_same_in_every_process(checked: CheckedPart) -> None:
    """Another process has the same parts: none comes of `hash()` or the order of a set."""
    there = in_another_process(_parts, checked.alone())
    expect(
        _parts(checked) == there, "another process has other parts: do not use hash(), but a hash of the group's name"
    )


def does_not_depend_on_the_order_of_records(checked: CheckedPart) -> None:
    """A record keeps its part when the source lists its records in another order."""
    expect(
        _parts(checked) == _parts(checked, is_reversed=True),
        "records have other parts when they come in another order: decide by group, label or time, not by position",
    )


def _parts(checked: CheckedPart, is_reversed: bool = False) -> Parts:
    return _parts_of(checked.build(), is_reversed)


def _parts_of(split: Split, is_reversed: bool = False) -> Parts:
    """Return the ids of each part, sorted."""
    source = GroupedRecords(is_reversed)
    parts = assign_parts(source, FRACTIONS, 7, split)
    return {part: sorted(source.key(int(i)).id for i in np.asarray(at)) for part, at in parts.items()}


CHECKS = (
    names_a_part_for_each_record,
    is_a_function_of_records_and_seed,
    is_the_same_in_every_process,
    does_not_depend_on_the_order_of_records,
)
