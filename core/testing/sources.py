"""Checks of sources."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any
from unittest import SkipTest, mock

import numpy as np

from sensorium.contracts import Source
from sensorium.errors import BadSample
from sensorium.testing.another_process import in_another_process
from sensorium.testing.checked_part import CheckedPart, expect
from sensorium.testing.equality import global_random_state, same
from sensorium.types import Record

MAX_RECORDS = 64
"""How many records are read with their values; keys are compared for all."""


def has_unique_record_ids(checked: CheckedPart) -> None:
    """It has records, each with a unique id."""
    source = checked.source
    ids = [source.key(index).id for index in range(len(source))]
    expect(len(ids) > 0, "it has no records")
    expect(all(isinstance(one, str) and one for one in ids), "an id is empty, or not a string")
    duplicates = sorted({one for one in ids if ids.count(one) > 1})[:1] if len(set(ids)) < len(ids) else []
    expect(not duplicates, f"several records have the id {duplicates}")


def returns_records_that_match_their_keys(checked: CheckedPart) -> None:
    """`source[i]` is `source.key(i)` with values, under the declared fields."""
    source = checked.source
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


def reads_several_records_at_once(checked: CheckedPart) -> None:
    """`source.read(positions)` gives records in the order of the positions, twice where one is asked for twice."""
    source = checked.source
    some = list(range(min(len(source), 16)))
    positions = [*reversed(some), *some[:2], *some[-1:]]
    found = source.read(positions)
    expect(isinstance(found, list), f"read returns a {type(found).__name__}, not a list")
    expect(len(found) == len(positions), f"read returns {len(found)} records for {len(positions)} positions")
    for position, record in zip(positions, found, strict=True):
        (alone,) = Source.read(source, [position])
        if isinstance(alone, BadSample) or isinstance(record, BadSample):
            expect(
                isinstance(alone, BadSample) and isinstance(record, BadSample),
                f"record {position} cannot be read in one of source[{position}] and read, and can in the other: "
                "a BadSample stands for its own record alone",
            )
        else:
            expect(same(record, alone), f"read returns another record than source[{position}] has at its place")
    expect(source.read([]) == [], "read returns something for no positions")


def says_in_columns_what_its_keys_say(checked: CheckedPart) -> None:
    """`columns()` has the id, labels, split, group and times of every record that `key(i)` has, the second time too."""
    source = checked.source
    for columns in (source.columns(), source.columns()):
        expect(len(columns) == len(source), f"columns() has {len(columns)} records, the source {len(source)}")
        for index in range(min(len(source), MAX_RECORDS)):
            expect(
                same(columns.key(index), replace(source.key(index), values={})),
                f"columns() says of record {index} something else than key({index})",
            )


def raises_index_error_past_the_end(checked: CheckedPart) -> None:
    """Reading past the last record raises `IndexError`, so that iteration ends."""
    source = checked.source
    for read in (source.__getitem__, source.key):
        try:
            read(len(source))
        except IndexError:
            continue
        expect(False, "reading past the last record raises no IndexError")


def can_be_pickled(checked: CheckedPart) -> None:
    """It can be pickled, as the loader's workers require."""
    source = checked.source
    copied = pickle.loads(pickle.dumps(source))
    expect(
        [copied.key(i) for i in range(min(len(copied), MAX_RECORDS))]
        == [source.key(i) for i in range(min(len(source), MAX_RECORDS))],
        "an unpickled copy has other records",
    )


def has_the_same_records_in_every_object(checked: CheckedPart) -> None:
    """Two objects made with the same options have the same records, in one order."""
    one, other = _keys(checked.source), _keys(checked.build())
    _expect_same_ids(one, other, "another object with the same options")
    expect(same(one, other), "another object with the same options has other labels, splits, groups or times")


def has_the_same_records_in_every_process(checked: CheckedPart) -> None:
    """Another process has the same records with the same values: none comes of `hash()`, a set or the clock."""
    here, there = _keys_and_values(checked.source), in_another_process(_made_keys_and_values, checked.alone())
    _expect_same_ids(here[0], there[0], "another process")
    expect(same(here[0], there[0]), "another process has other labels, splits, groups or times")
    expect(same(here[1], there[1]), "another process reads other values: they depend on hash(), a set, or the object")


def has_the_same_order_whatever_the_order_of_files(checked: CheckedPart) -> None:
    """Records keep their order when the operating system lists the files of a folder in another order."""
    before = _keys(checked.source)
    with _folders_listed_backwards():
        after = _keys(checked.build())
    expect(same(before, after), "records follow the order in which a folder lists its files: sort them by name")


def reads_the_same_values_each_time(checked: CheckedPart) -> None:
    """Reading a record twice gives the same values, without global randomness."""
    source = checked.source
    first = _values(source)
    before = global_random_state()
    again = _values(source)
    expect(same(first, again), "a record has other values when it is read again: read no value at random")
    expect(same(global_random_state(), before), "reading a record draws from a global generator")


def hands_out_mappings_of_its_own(checked: CheckedPart) -> None:
    """Whoever writes into the labels, or the mapping of values, of a record changes no later reading.

    Raw values themselves may be shared: `decode` changes none.
    """
    mappings = [mapping for record in _records(checked.source) for mapping in (record.labels, record.values)]
    written = [mapping for mapping in mappings if isinstance(mapping, dict)]
    for mapping in written:
        mapping["written by a check"] = 1
    kept = [key for record in _records(checked.source) for key in (*record.labels, *record.values)]
    for mapping in written:
        mapping.pop("written by a check", None)
    expect(
        "written by a check" not in kept,
        "what is written into the labels or values of a record stays for the next reading: hand out new mappings",
    )


def has_fragments_that_cover_its_records(checked: CheckedPart) -> None:
    """Where its storage has fragments, they are int64 (F + 1,), ascending from 0 to the number of records."""
    starts = checked.source.fragments()
    if starts is None:
        raise SkipTest("its storage has no fragments")
    count = len(checked.source)
    expect(
        starts.dtype == np.int64 and starts.ndim == 1, f"fragments is {starts.dtype} {starts.shape}, not int64 (F + 1,)"
    )
    expect(bool((np.diff(starts) > 0).all()), "fragments are not ascending: each begins behind the one before it")
    ends = starts[[0, -1]].tolist()
    expect(ends == [0, count], f"fragments reach from {ends[0]} to {ends[1]}, and its records from 0 to {count}")


def reads_in_several_threads(checked: CheckedPart) -> None:
    """Several threads that read at once get the values that one gets."""
    source = checked.source
    alone = _values(source)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda index: _value(source, index), 4 * list(range(len(alone)))))
    expect(
        same(together, 4 * alone),
        "threads that read at once get other values: open files, and move in them, in each read",
    )


def _expect_same_ids(one: list[Record], other: list[Record], whose: str) -> None:
    ids, others = [record.id for record in one], [record.id for record in other]
    expect(
        sorted(ids) == sorted(others),
        f"{whose} has other ids, such as {others[:1]} in place of {ids[:1]}: make ids of what is stored, not of "
        "hash(), a counter or the clock",
    )
    expect(ids == others, f"{whose} has the records in another order: sort them")


def _keys(source: Source) -> list[Record]:
    return [source.key(index) for index in range(min(len(source), MAX_RECORDS))]


def _value(source: Source, index: int) -> Mapping[str, Any] | None:
    """Return the values of a record, or None of one that cannot be read."""
    try:
        return source[index].values
    except BadSample:
        return None


def _values(source: Source, most: int = 16) -> list[Mapping[str, Any] | None]:
    return [_value(source, index) for index in range(min(len(source), most))]


def _keys_and_values(source: Source) -> tuple[list[Record], list[Mapping[str, Any] | None]]:
    return _keys(source), _values(source)


def _made_keys_and_values(checked: CheckedPart) -> tuple[list[Record], list[Mapping[str, Any] | None]]:
    return _keys_and_values(checked.build())


def _records(source: Source, most: int = 16) -> list[Record]:
    records = []
    for index in range(min(len(source), most)):
        with suppress(BadSample):
            records.append(source[index])
    return records


@contextmanager
def _folders_listed_backwards() -> Iterator[None]:
    """Within it, folders list their files in the opposite order."""
    listdir = os.listdir

    with (
        mock.patch.object(os, "listdir", lambda *args: listdir(*args)[::-1]),
        mock.patch.object(os, "scandir", _Backwards),
    ):
        yield


class _Backwards:
    """What `os.scandir` returns, in the opposite order."""

    def __init__(self, *args: Any, _scandir: Any = os.scandir) -> None:
        with _scandir(*args) as entries:
            self._entries = iter(list(entries)[::-1])

    def __iter__(self) -> Iterator[os.DirEntry[str]]:
        return self._entries

    def __next__(self) -> os.DirEntry[str]:
        return next(self._entries)

    def __enter__(self) -> _Backwards:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def close(self) -> None:
        """Do nothing: all entries are read."""


CHECKS = (
    has_unique_record_ids,
    returns_records_that_match_their_keys,
    reads_several_records_at_once,
    says_in_columns_what_its_keys_say,
    raises_index_error_past_the_end,
    can_be_pickled,
    has_the_same_records_in_every_object,
    has_the_same_records_in_every_process,
    has_the_same_order_whatever_the_order_of_files,
    reads_the_same_values_each_time,
    hands_out_mappings_of_its_own,
    has_fragments_that_cover_its_records,
    reads_in_several_threads,
)
