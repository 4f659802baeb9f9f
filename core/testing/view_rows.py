"""Checks of which record a row of a view, and its target, is of. Letters: B records, N rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple
from unittest import SkipTest

import torch

from sensorium.data.content import digest
from sensorium.testing.checked_part import CheckedPart, expect
from sensorium.types import Batch, View

ROWS = 4
SEEDS = (1, 2)
IGNORED = -100
"""The target of a token that no loss counts."""


def keeps_rows_with_their_records(checked: CheckedPart) -> None:
    """Row i of every view is made of record i: another record there changes that row."""
    if strays := _strays(checked, lambda part: part == "rows"):
        stray = strays[0]
        expect(
            False,
            f"another record {stray.row} changes row {stray.changed} of view {stray.view}, and not row {stray.row}: "
            "the rows of every view must be in the order of records",
        )


def keeps_targets_with_their_rows(checked: CheckedPart) -> None:
    """Row i of a target, and of an entry of `info`, is of row i of its view."""
    if strays := _strays(checked, lambda part: part != "rows"):
        stray = strays[0]
        expect(
            False,
            f"another record {stray.row} changes row {stray.changed} of the {stray.part} of view {stray.view}, and not "
            f"row {stray.row}: they must be in the order of the view's rows",
        )
    if checked.generator.target is not None:
        conflicts = [_unequal_targets_of_equal_rows(checked, record) for record in (0, len(checked.batch) - 1)]
        expect(
            not all(conflicts),
            "of one record, rows of equal views have different targets: the target of a row must be what was drawn "
            "for that row",
        )


def draws_for_each_record(checked: CheckedPart) -> None:
    """Where a view is random, equal records of one batch have different views."""
    count = min(len(checked.batch), 2)
    batch = checked.batch.select(torch.arange(count).repeat_interleave(ROWS))
    one, other = (_rows(checked.views(seed, batch)) for seed in SEEDS)
    for number, (rows, others) in enumerate(zip(one, other, strict=True)):
        groups = [(each[n : n + ROWS]) for each in (rows, others) for n in range(0, len(each), ROWS)]
        expect(
            rows == others or any(len(set(group)) > 1 for group in groups),
            f"view {number} differs from step to step, and is the same for equal records of one batch: draw as many "
            "values as the batch has rows, not one for all",
        )


class Stray(NamedTuple):
    """A row that does not change with its record, while another row does."""

    view: int
    part: str
    row: int
    changed: int


def _strays(checked: CheckedPart, of: Callable[[str], bool]) -> list[Stray]:
    """Return strays among the parts of views that are asked for, if there are some under each of two seeds."""
    found: list[Stray] = []
    for seed in SEEDS:
        if f"strays {seed}" not in checked.kept:
            checked.kept[f"strays {seed}"] = list(_found_strays(checked, seed))
        found = [stray for stray in checked.kept[f"strays {seed}"] if of(stray.part)]
        if not found:
            return []
    return found


def _found_strays(checked: CheckedPart, seed: int) -> Iterator[Stray]:
    contents = _batch_rows(checked.batch)
    different = [record for record, content in enumerate(contents) if content != contents[0]]
    if not different:
        raise SkipTest("its samples are equal, so that no row can be told from another")
    equal = checked.views(seed, checked.batch.select(torch.zeros(ROWS, dtype=torch.int64)))
    for row in range(ROWS):
        records = torch.zeros(ROWS, dtype=torch.int64)
        records[row] = different[0]
        views = checked.views(seed, checked.batch.select(records))
        for number, pair in enumerate(zip(equal, views, strict=True)):
            parts = {} if pair[0].is_negative else _changed_parts(*pair)
            for name, rows in parts.items():
                # Where other rows of the view change too, draws depend on the records.
                if rows and row not in rows and (name == "rows" or parts["rows"] == [row]):
                    yield Stray(number, name, row, rows[0])


def _changed_parts(one: View, other: View) -> dict[str, list[int]]:
    """Return the rows in which two views differ, and those of their target and info."""
    parts = {"rows": (_batch_rows(one.batch), _batch_rows(other.batch))}
    if one.target is not None and other.target is not None:
        parts["target"] = [digest(row) for row in one.target], [digest(row) for row in other.target]
    for name in one.info.keys() & other.info.keys():
        parts[f"info '{name}'"] = [digest(row) for row in one.info[name]], [digest(row) for row in other.info[name]]
    return {
        name: [row for row, pair in enumerate(zip(*both, strict=True)) if len(set(pair)) > 1]
        for name, both in parts.items()
    }


def _unequal_targets_of_equal_rows(checked: CheckedPart, record: int) -> bool:
    """Return whether two rows of one record have equal views, and targets that exclude each other."""
    views = checked.views(SEEDS[0], checked.batch.select(torch.full((6 * ROWS,), record)))
    shown = list(zip(*(_batch_rows(view.batch) for view in views if not view.is_negative), strict=True))
    targets = [view.target for view in views if view.target is not None]
    first: dict[tuple[int, ...], int] = {}
    for row, content in enumerate(shown):
        for target in targets:
            one, other = target[first.setdefault(content, row)], target[row]
            if bool(((one != other) & (one != IGNORED) & (other != IGNORED)).any()):
                return True
    return False


def _batch_rows(batch: Batch) -> list[int]:
    """Return a digest of each row."""
    return [digest(batch.select(torch.tensor([row]))) for row in range(len(batch))]


def _rows(views: list[View]) -> list[list[int]]:
    """Return for each view a digest of each row, its target and info included."""
    made = []
    for view in views:
        extra = [*([] if view.target is None else [view.target]), *view.info.values()]
        rows = _batch_rows(view.batch)
        made.append([digest([content, *(part[row] for part in extra)]) for row, content in enumerate(rows)])
    return made


CHECKS = (keeps_rows_with_their_records, keeps_targets_with_their_rows, draws_for_each_record)
