"""Columns of records say what keys say."""

import numpy as np
import pyarrow as pa
import pytest

import sensorium
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


def test_labels_of_two_kinds_are_refused():
    with pytest.raises(DataError, match="The label 'n' is a number in some records and a string in others"):
        sensorium.RecordColumns.of_keys([Record("a", {}, {"n": 1}), Record("b", {}, {"n": "one"})])
