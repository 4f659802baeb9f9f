import json

import pytest

from sensorium.data.unreadable import UnreadableRecords
from sensorium.errors import DataError


def test_each_record_counts_once_and_is_written_and_logged(tmp_path, caplog):
    bad = UnreadableRecords(10, 0.5, tmp_path / "bad-records.jsonl")
    bad.add("ü.jpg", "file is truncated")
    bad.add("ü.jpg", "file is truncated")
    lines = (tmp_path / "bad-records.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [{"id": "ü.jpg", "reason": "file is truncated"}]
    assert len(bad) == 1
    assert [r.getMessage() for r in caplog.records] == ["skipped record 'ü.jpg': file is truncated"]


def test_a_resumed_run_does_not_repeat_lines(tmp_path):
    for _ in range(2):
        UnreadableRecords(10, 0.5, tmp_path / "bad.jsonl").add("a", "empty")
    assert len((tmp_path / "bad.jsonl").read_text().splitlines()) == 1


def test_loaders_of_one_run_log_a_record_once(tmp_path, caplog):
    train, val = (UnreadableRecords(10, 0.5, tmp_path / "bad.jsonl") for _ in range(2))
    for bad in (train, val, UnreadableRecords(10, 0.5, tmp_path / "bad.jsonl")):
        bad.add("a", "empty")
        bad.add("b", "empty")
        assert len(bad) == 2
    assert len(caplog.records) == 2
    assert len((tmp_path / "bad.jsonl").read_text().splitlines()) == 2


def test_the_share_is_allowed_and_one_more_is_not(tmp_path):
    path = tmp_path / "bad-records.jsonl"
    bad = UnreadableRecords(400, 0.01, path)
    for i in range(4):
        bad.add(f"{i}.jpg", "file is truncated")
    with pytest.raises(DataError) as caught:
        bad.add("4.jpg", "no bytes")
    assert str(caught.value) == (
        "5 of 400 records could not be decoded (1.25 %), more than data.max_bad = 1 % allows; "
        f"the first is '0.jpg': file is truncated; see {path}."
    )


def test_no_file_without_bad_records(tmp_path):
    UnreadableRecords(4, 0.0, tmp_path / "bad.jsonl")
    assert not (tmp_path / "bad.jsonl").exists()
