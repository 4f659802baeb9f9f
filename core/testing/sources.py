"""Checks of sources."""

from __future__ import annotations

import pickle
from dataclasses import replace

from sensorium.contracts import Source
from sensorium.errors import BadSample
from sensorium.testing.checked_part import CheckedPart, expect
from sensorium.types import Record

MAX_RECORDS = 64
"""How many records are read with their values; keys are compared for all."""


def has_unique_record_ids(checked: CheckedPart) -> None:
    """It has records, each with a unique id."""
    source: Source = checked.build()
    ids = [source.key(index).id for index in range(len(source))]
    expect(len(ids) > 0, "it has no records")
    expect(all(isinstance(one, str) and one for one in ids), "an id is empty, or not a string")
    duplicates = sorted({one for one in ids if ids.count(one) > 1})[:1] if len(set(ids)) < len(ids) else []
    expect(not duplicates, f"several records have the id {duplicates}")


def returns_records_that_match_their_keys(checked: CheckedPart) -> None:
    """`source[i]` is `source.key(i)` with values, under the declared fields."""
    source: Source = checked.build()
    for index in range(min(len(source), MAX_RECORDS)):
        key = source.key(index)
        expect(not key.values, f"key({index}) has values; it must be cheap")
        try:
            record = source[index]
        except BadSample:
            continue
        expect(isinstance(record, Record), f"record {index} is a {type(record).__name__}, not a Record")
        expect(replace(record, values={}) == replace(key, values={}), f"record {index} does not match its key")
        unknown = sorted(set(record.values) - set(source.fields))
        expect(not unknown, f"record {index} has values under {unknown}, which are not declared in fields")


def raises_index_error_past_the_end(checked: CheckedPart) -> None:
    """Reading past the last record raises `IndexError`, so that iteration ends."""
    source: Source = checked.build()
    for read in (source.__getitem__, source.key):
        try:
            read(len(source))
        except IndexError:
            continue
        expect(False, "reading past the last record raises no IndexError")


def can_be_pickled(checked: CheckedPart) -> None:
    """It can be pickled, as the loader's workers require."""
    source: Source = checked.build()
    copied = pickle.loads(pickle.dumps(source))
    expect(
        [copied.key(i) for i in range(min(len(copied), MAX_RECORDS))]
        == [source.key(i) for i in range(min(len(source), MAX_RECORDS))],
        "an unpickled copy has other records",
    )


CHECKS = (
    has_unique_record_ids,
    returns_records_that_match_their_keys,
    raises_index_error_past_the_end,
    can_be_pickled,
)
