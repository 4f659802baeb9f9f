"""Lance: blobs, versions, datasets that are not there."""

import pickle

import lance
import pyarrow as pa
import pytest

from sensorium.data.stores.lance import LanceSource
from sensorium.errors import BadSample, DataError


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


@pytest.fixture
def damaged(tmp_path):
    """Write three fragments of four rows, and cut the second short."""
    rows = {"id": [f"r{i}" for i in range(12)], "x": [f"{i}" * 100 for i in range(12)]}
    dataset = lance.write_dataset(pa.table(rows), tmp_path / "d", max_rows_per_file=4)
    file = tmp_path / "d" / "data" / dataset.get_fragments()[1].data_files()[0].path
    file.write_bytes(file.read_bytes()[:50])
    return str(tmp_path / "d")


def test_the_records_of_a_damaged_fragment_are_unreadable_and_the_others_are_read(damaged):
    found = LanceSource(damaged, columns={"x": "x"}).read(range(12))
    assert [isinstance(record, BadSample) for record in found] == [False] * 4 + [True] * 4 + [False] * 4
    assert found[8].values == {"x": "8" * 100}
    assert f"fragment 1 of '{damaged}' is damaged, or missing: " in str(found[5])
    assert ".rs:" not in str(found[5])
    assert str(found[5].where).endswith("line 6, column 'x'")


def test_a_column_of_keys_in_a_damaged_fragment_is_said_in_a_sentence(damaged):
    with pytest.raises(DataError, match=r"The columns id of .*/d' cannot be read: .*; a fragment is damaged") as error:
        LanceSource(damaged, id="id")
    assert ".rs:" not in str(error.value)


def test_a_disk_that_fails_is_no_damage(damaged, monkeypatch):
    def fail(*args, **options):
        raise OSError("LanceError(IO): Generic LocalFileSystem error: Input/output error (os error 5), x/local.rs:1:2")

    source = LanceSource(damaged)
    monkeypatch.setattr(lance.LanceDataset, "take", fail)
    with pytest.raises(OSError, match="os error 5"):
        source.read([0, 1])
