"""What every source holds to."""

from __future__ import annotations

import pickle
from dataclasses import replace

from sensorium.contracts import Source
from sensorium.errors import BadSample
from sensorium.testing.case import Case, expect
from sensorium.types import Record

MOST = 64
"""How many records are read whole; identities are compared for all."""


def names_every_record_once(case: Case) -> None:
    """It has records, each with an id of its own."""
    source: Source = case.build()
    ids = [source.key(index).id for index in range(len(source))]
    expect(len(ids) > 0, "it has no records")
    expect(all(isinstance(one, str) and one for one in ids), "an id is no string, or empty")
    twice = sorted({one for one in ids if ids.count(one) > 1})[:1] if len(set(ids)) < len(ids) else []
    expect(not twice, f"the id {twice} stands for several records")


def gives_the_records_that_its_keys_name(case: Case) -> None:
    """`source[i]` is `source.key(i)` with values, under declared fields, each time the same."""
    source: Source = case.build()
    for index in range(min(len(source), MOST)):
        key = source.key(index)
        expect(not key.values, f"key({index}) carries values; it must be cheap")
        try:
            record = source[index]
        except BadSample:
            continue
        expect(isinstance(record, Record), f"record {index} is a {type(record).__name__}, not a Record")
        expect(replace(record, values={}) == replace(key, values={}), f"record {index} is not the one that key names")
        unknown = sorted(set(record.values) - set(source.fields))
        expect(not unknown, f"record {index} has values under {unknown}, which fields does not declare")


def ends(case: Case) -> None:
    """Reading past the last record raises `IndexError`, so that a loop over it stops."""
    source: Source = case.build()
    for read in (source.__getitem__, source.key):
        try:
            read(len(source))
        except IndexError:
            continue
        expect(False, "reading past the last record raises no IndexError")


def travels_to_workers(case: Case) -> None:
    """It survives pickling, as a loader's workers need."""
    source: Source = case.build()
    copied = pickle.loads(pickle.dumps(source))
    expect(
        [copied.key(i) for i in range(min(len(copied), MOST))]
        == [source.key(i) for i in range(min(len(source), MOST))],
        "a copy made by pickling names other records",
    )


CHECKS = (
    names_every_record_once,
    gives_the_records_that_its_keys_name,
    ends,
    travels_to_workers,
)
