"""Lance: blobs, versions, datasets that are not there."""

import pickle

import lance
import pyarrow as pa
import pytest

from sensorium.data.stores.lance import LanceSource
from sensorium.errors import DataError


def test_blobs_are_their_bytes(tmp_path):
    blob = pa.field("image", pa.large_binary(), metadata={"lance-encoding:blob": "true"})
    rows = pa.table(
        {"id": ["a", "b", "c"], "image": [b"one", None, b"three"]}, schema=pa.schema([("id", pa.string()), blob])
    )
    lance.write_dataset(rows, tmp_path / "d")
    source = LanceSource(str(tmp_path / "d"), id="id")
    assert [record.values for record in source.read([2, 0, 1])] == [{"image": b"three"}, {"image": b"one"}, {}]


def test_workers_read_the_version_that_was_opened(tmp_path):
    lance.write_dataset(pa.table({"x": ["a", "b"]}), tmp_path / "d")
    source = LanceSource(str(tmp_path / "d"))
    lance.write_dataset(pa.table({"x": ["c"]}), tmp_path / "d", mode="append")
    assert len(pickle.loads(pickle.dumps(source))) == 2
    assert len(LanceSource(str(tmp_path / "d"))) == 3
    assert len(LanceSource(str(tmp_path / "d"), version=1)) == 2


def test_deleted_rows_are_no_records(tmp_path):
    dataset = lance.write_dataset(pa.table({"x": list("abcdef")}), tmp_path / "d", max_rows_per_file=2)
    dataset.delete("x in ('b', 'c', 'd')")
    source = LanceSource(str(tmp_path / "d"))
    assert [record.values["x"] for record in source] == ["a", "e", "f"]
    assert source.fragments().tolist() == [0, 1, 3]


def test_a_dataset_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="cannot be read as a Lance dataset"):
        LanceSource(str(tmp_path / "none"))
