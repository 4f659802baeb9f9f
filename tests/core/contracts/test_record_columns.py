"""Columns of records say what keys say."""

from datetime import date, time
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

import sensorium
from sensorium.contracts import RecordColumns, record_columns
from sensorium.errors import DataError
from sensorium.types import Record, Span

RECORDS = [
    Record("a", {}, {"class": "cat", "weight": 1.5}, "train", "g", Span(0, 4)),
    Record("b", {}, {"class": "dog"}, None, None, None),
    Record("c", {}, {}, "test", "g", Span(np.datetime64("2026-01-01"), np.datetime64("2026-01-02"))),
]


class ByKey(sensorium.Source):
    fields = ("x",)

    def __len__(self):
        return 2

    def key(self, index):
        return RECORDS[index]

    def __getitem__(self, index):
        return RECORDS[index]


class ByColumns(ByKey):
    key = sensorium.Source.key

    def columns(self):
        return sensorium.RecordColumns(2, labels={"n": pa.array([1, None])})


@pytest.mark.parametrize("records", [RECORDS[:2], RECORDS[1:], RECORDS[2:]])
def test_keys_become_columns_and_keys_again(records):
    columns = sensorium.RecordColumns.of_keys(records)
    assert [columns.key(i) for i in range(len(records))] == records
    back = columns.take(np.arange(len(records))[::-1])
    assert [back.key(i) for i in range(len(records))] == records[::-1]


def test_a_source_defines_one_of_both():
    assert ByKey().columns().ids_at(np.array([1, 0])) == ["b", "a"]
    assert [ByColumns().key(i) for i in range(2)] == [Record("0", {}, {"n": 1}), Record("1", {})]

    class Neither(ByKey):
        key = sensorium.Source.key

    with pytest.raises(NotImplementedError, match="Neither defines neither columns nor key"):
        Neither().key(0)


def test_positions_are_ids_where_there_are_no_others():
    columns = sensorium.RecordColumns(12)
    assert columns.ids_at(np.array([11, 3])) == ["11", "3"]
    assert columns.take(np.array([11, 3])).key(0).id == "11"
    assert columns.key(-1).id == "11"
    with pytest.raises(IndexError):
        columns.key(12)


def test_columns_of_other_lengths_are_refused():
    with pytest.raises(DataError, match="The column of the label 'n' has 1 entries for 2 records"):
        sensorium.RecordColumns(2, labels={"n": pa.array([1])})


def test_a_label_may_be_a_number_here_and_a_word_there():
    cells = [1, "one", None, 1.5, True, "one", 1]
    keys = [Record(str(i), {}, {} if cell is None else {"n": cell}) for i, cell in enumerate(cells)]
    columns = sensorium.RecordColumns.of_keys(keys)
    assert [(key.labels.get("n"), type(key.labels.get("n"))) for key in columns.records()] == [
        (c, type(c)) for c in cells
    ]
    assert columns.key(4).labels == {"n": True}
    values, numbers = record_columns.numbered(columns.take(np.arange(1, 7)).labels["n"])
    assert (values.to_pylist(), numbers.tolist()) == (["one", 1.5, True, 1], [0, -1, 1, 2, 0, 3])
    assert columns.fingerprint() != columns.take(np.array([1, 0, 2, 3, 4, 5, 6])).fingerprint()


def test_a_label_that_is_neither_is_refused():
    with pytest.raises(DataError, match="The label 'n' is of the type complex: labels are numbers, booleans or words"):
        sensorium.RecordColumns.of_keys([Record("a", {}, {"n": 1j})])


@pytest.mark.parametrize("records", [RECORDS[:2], RECORDS[1:], RECORDS[2:]])
def test_keys_are_those_of_one_record_at_a_time(records):
    columns = sensorium.RecordColumns.of_keys(records)
    assert columns.records() == [columns.key(i) for i in range(len(records))] == records


def test_a_group_is_never_an_id():
    keys = [Record("a", {}), Record("b", {}, group="a"), Record("c", {}, group="a"), Record("d", {})]
    numbers = sensorium.RecordColumns.of_keys(keys).group_numbers()
    assert numbers[1] == numbers[2]
    assert len(set(numbers.tolist())) == 3
    assert sensorium.RecordColumns(3).group_numbers().tolist() == [0, 1, 2]


def test_records_are_found_by_their_ids():
    wanted = pa.chunked_array([["c", "x"], ["a"]])
    assert sensorium.RecordColumns(3, pa.array(["a", "b", "c"])).positions_of(wanted).tolist() == [2, -1, 0]
    wanted = pa.array(["2", "3", "02", "-1", "x", "9" * 30])
    assert sensorium.RecordColumns(3).positions_of(wanted).tolist() == [2, -1, -1, -1, -1, -1]


@pytest.mark.parametrize(
    "column",
    [
        pa.nulls(3),
        pa.array([date(2020, 1, 1), None, date(2021, 1, 1)]),
        pa.array([time(1), None, time(2)], pa.time32("s")),
        pa.array([Decimal("1.5"), None, Decimal("2")]),
        pa.array(["a", None, "b"], pa.string_view()),
        pa.array([True, None, False]),
        pa.array([1.5, None, 2], pa.float16()),
    ],
    ids=lambda column: str(column.type),
)
def test_a_fingerprint_takes_every_type_of_a_label(column):
    once = RecordColumns(3, labels={"x": column}).fingerprint()
    assert RecordColumns(3, labels={"x": pa.chunked_array([column[:1], column[1:]])}).fingerprint() == once
    assert (
        RecordColumns(3, labels={"x": pa.concat_arrays([column[:2], column[:1]])}).fingerprint() == once
    ) == pa.types.is_null(column.type)


def test_a_fingerprint_is_of_the_cells_alone(monkeypatch):
    monkeypatch.setattr(record_columns, "PIECE", 3)
    ids, kinds, sizes = [f"r{i}" for i in range(10)], [*"xyxyx", None, *"yxyx"], [*map(float, range(9)), None]

    def columns(ids=ids, kinds=kinds, sizes=sizes, chunked=False, dictionary=False):
        kind = pa.array(kinds)
        made = [pa.array(ids), kind.dictionary_encode() if dictionary else kind, pa.array(sizes)]
        made = [pa.chunked_array([column[:4], column[4:4], column[4:]]) if chunked else column for column in made]
        return sensorium.RecordColumns(10, made[0], {"kind": made[1], "size": made[2]})

    once = columns().fingerprint()
    assert columns(chunked=True).fingerprint() == columns(dictionary=True).fingerprint() == once
    assert columns(chunked=True, dictionary=True).fingerprint() == once
    others = [
        columns(ids=[*ids[:8], "r9", "r8"]),
        columns(kinds=[*kinds[:9], None]),
        columns(kinds=[*kinds[:5], "", *kinds[6:]]),
        columns(sizes=[*sizes[:9], 0.0]),
        columns(ids=["r0r", "1", *ids[2:]]),
        sensorium.RecordColumns(10),
    ]
    assert len({once, *(other.fingerprint() for other in others)}) == len(others) + 1


@pytest.mark.parametrize(("ids", "twice"), [("abc", None), ("abcb", "b"), ("cabbac", "c")])
def test_the_first_id_that_comes_twice_is_named(ids, twice):
    assert RecordColumns(len(ids), pa.array(list(ids))).duplicate_id == twice
    assert RecordColumns(3).duplicate_id is None


def test_groups_are_numbered_once():
    columns = RecordColumns(4, None, {}, None, pa.array(["x", None, "y", "x"]))
    assert columns.group_numbers().tolist() == [0, 5, 1, 0]
    assert columns.numbered_groups is columns.numbered_groups
    assert RecordColumns(2).group_numbers().tolist() == [0, 1]
