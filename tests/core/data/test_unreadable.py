import pickle
from pathlib import Path

import numpy as np
import pytest

from sensorium import BadSample, Location, Record, Unreadable
from sensorium.data.arrays import ArraysSource
from sensorium.data.folder import FolderSource
from sensorium.data.table import TableSource
from sensorium.data.unreadable import NAMED, UnreadableRecords, UnreadableValue
from sensorium.errors import DataError
from tests.core.data.toys import FileModality, VectorModality, flat, loader, numbers
from tests.unreadable import unreadable


def value(record, reason, modality="image", **more):
    return UnreadableValue.of(BadSample(reason, **more), record, more.pop("position", 0), modality)


def counter(tmp_path, total=10, max_bad=0.5, **more):
    return UnreadableRecords(total, max_bad, tmp_path / "unreadable.csv", **more)


def messages(caplog):
    return [record.getMessage() for record in caplog.records]


def test_each_value_is_written_and_logged_once(tmp_path, caplog):
    bad = counter(tmp_path, parts={"test": np.arange(10)})
    for _ in range(2):
        bad.add(value("ü,1.jpg", 'cut\nat "40"', kind="damaged", where=Location("a.csv", 3, "photo")))
    assert unreadable(tmp_path) == [
        {
            "record": "ü,1.jpg",
            "modality": "image",
            "part": "test",
            "kind": "damaged",
            "path": "a.csv",
            "line": "3",
            "column": "photo",
            "reason": 'cut at "40"',
        }
    ]
    assert len(bad) == 1
    assert messages(caplog) == ["unreadable: image of record 'ü,1.jpg': cut at \"40\" (a.csv, line 3, column 'photo')"]


def test_a_record_counts_once_whatever_number_of_its_values_is_unreadable(tmp_path):
    bad = counter(tmp_path)
    for modality in ("image", "text"):
        bad.add(value("a", "empty", modality))
    assert len(bad) == 1
    assert [row["modality"] for row in unreadable(tmp_path)] == ["image", "text"]


def test_a_resumed_run_repeats_neither_rows_nor_lines(tmp_path, caplog):
    for _ in range(2):
        bad = counter(tmp_path)
        bad.add(value("a", "empty"))
        assert len(bad) == 1
    assert len(unreadable(tmp_path)) == len(caplog.records) == 1


def test_a_row_that_a_killed_process_cut_is_written_again(tmp_path):
    for name in "ab":
        counter(tmp_path).add(value(name, "empty"))
    whole = (tmp_path / "unreadable.csv").read_bytes()
    (tmp_path / "unreadable.csv").write_bytes(whole[:-4])
    bad = counter(tmp_path)
    for name in "abc":
        bad.add(value(name, "empty"))
    assert [row["record"] for row in unreadable(tmp_path)] == ["a", "b", "c"]


def test_a_flood_is_counted_by_reason_at_the_end_of_the_pass(tmp_path, caplog):
    bad = counter(tmp_path, 400)
    for i in range(NAMED + 26):
        bad.add(value(f"{i}.jpg", f"the file {i}.jpg is empty" if i % 2 else f"byte {i} is not UTF-8"))
    bad.end_of_pass()
    bad.end_of_pass()
    assert len(caplog.records) == NAMED + 1
    path = tmp_path / "unreadable.csv"
    assert messages(caplog)[-1] == (
        "26 more unreadable values: 13 × image: byte # is not UTF-#; 13 × image: the file … is empty; "
        f"all are in {path}"
    )
    assert len(unreadable(tmp_path)) == NAMED + 26


def test_a_fraction_is_allowed_and_one_more_is_not(tmp_path):
    bad = counter(tmp_path, 400, 0.01)
    for i in range(4):
        bad.add(value(f"{i}.jpg", f"the file {i}.jpg is truncated"))
    with pytest.raises(DataError) as caught:
        bad.add(value("x", "no bytes", "text"))
    assert str(caught.value) == (
        "5 of 400 records are unreadable or have an unreadable value (1.25 %), more than data.max_bad = 1 % allows: "
        "4 × image: the file … is truncated (such as '0.jpg'); 1 × text: no bytes (such as 'x'). "
        f"All are in {tmp_path / 'unreadable.csv'}. Repair or remove them, or set data.max_bad=0.03, or more; "
        "`sensorium check` finds all of them at once."
    )


def test_one_is_always_allowed_unless_none_is(tmp_path):
    bad = UnreadableRecords(21, 0.01)
    bad.add(value("a", "empty"))
    with pytest.raises(DataError, match="2 of 21 records"):
        bad.add(value("b", "empty"))
    with pytest.raises(DataError, match="1 of 21 records"):
        UnreadableRecords(21, 0.0).add(value("a", "empty"))


def test_the_options_that_would_help_are_named(tmp_path):
    bad = UnreadableRecords(2, 0.0, options=("path", "extensions", "encoding"))
    with pytest.raises(DataError, match=r"list the extensions to read in data\.source\.extensions .* end in \.db"):
        bad.add(value("a/Thumbs.db", "no known format", kind="unsupported", where="a/Thumbs.db"))
    with pytest.raises(DataError, match=r"name the encoding of the text in data\.source\.encoding"):
        bad.add(value("b", "byte 3 is not UTF-8", kind="encoding"))
    with pytest.raises(DataError) as caught:
        UnreadableRecords(2, 0.0).add(value("b", "byte 3 is not UTF-8", kind="encoding", where="b.txt"))
    assert "data.source" not in str(caught.value)


def test_no_file_without_unreadable_values(tmp_path):
    counter(tmp_path).end_of_pass()
    assert not (tmp_path / "unreadable.csv").exists()


def test_a_bad_sample_survives_pickling():
    fault = pickle.loads(pickle.dumps(BadSample("cut", "missing", Location("a.csv", 2))))
    assert (str(fault), fault.kind, fault.where) == ("cut", "missing", Location("a.csv", 2, None))
    assert BadSample("cut", where="a.wav").where == Location("a.wav")


FIELDS = {name: name for name in "abcdef"}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("cache", ["off", "ram"])
def test_one_unreadable_cell_of_six_leaves_the_other_five(tmp_path, workers, cache):
    rows = [[f"{i} {i}"] * 6 for i in range(12)]
    rows[3][4] = "oh"
    path = tmp_path / "six.csv"
    path.write_text("\n".join([",".join(FIELDS), *(",".join(row) for row in rows)]) + "\n")
    source = TableSource(str(path))
    bad = counter(tmp_path, 12, parts={"train": np.arange(12)})
    loaded = loader(source, fields=FIELDS, batch=12, workers=workers, cache=cache, bad=bad)
    (batch,) = flat(loaded.batches(0, 1))
    assert len(batch) == 12
    assert {name: len(batch.batches[name]) for name in FIELDS} == dict.fromkeys("abcdf", 12) | {"e": 11}
    (row,) = unreadable(tmp_path)
    assert (row["record"], row["modality"], row["part"]) == ("3", "e", "train")
    assert (row["path"], row["line"], row["column"], row["reason"]) == (str(path), "5", "e", "'oh' is no vector")


def test_what_a_source_could_not_read_is_unreadable(tmp_path):
    wrong = Unreadable("line 4 is no JSON", "encoding", Location("a.jsonl", 4, "x"))
    source = ArraysSource({"x": [*numbers(7), wrong], "y": numbers(8)})
    bad = counter(tmp_path, 8)
    (batch,) = flat(loader(source, fields={"x": "x", "y": "y"}, batch=8, bad=bad).batches(0, 1))
    assert (len(batch.batches["x"]), len(batch.batches["y"])) == (7, 8)
    (row,) = unreadable(tmp_path)
    assert (row["kind"], row["path"], row["line"], row["column"]) == ("encoding", "a.jsonl", "4", "x")


def test_a_record_of_unreadable_values_alone_is_left_out():
    source = ArraysSource({"x": ["oh", *numbers(7)], "y": ["oh", *numbers(7)]})
    for fields, require in (({"x": "x"}, "any"), ({"x": "x", "y": "y"}, "any"), ({"x": "x", "y": "y"}, "all")):
        (batch,) = flat(loader(source, fields=fields, require=require, batch=8).batches(0, 1))
        assert "0" not in batch.ids
        assert len(batch) == 7


def test_a_file_that_is_gone_is_missing_with_its_path(tmp_path):
    for i in range(4):
        (tmp_path / f"{i}.vec").write_text("1 2")
    source = FolderSource(str(tmp_path), field="x")
    (tmp_path / "2.vec").unlink()
    bad = UnreadableRecords(4, 0.5)
    flat(loader(source, modalities={"x": FileModality()}, batch=4, bad=bad).batches(0, 1))
    (found,) = bad.values.values()
    assert (found.kind, found.where) == ("missing", Location(str(tmp_path / "2.vec")))


class VanishingSource(ArraysSource):
    """Its second record is in a file that is gone."""

    def __getitem__(self, index) -> Record:
        if index == 1:
            Path("/nowhere/at/all").read_bytes()
        return super().__getitem__(index)


def test_a_source_whose_file_is_gone_loses_that_record_alone():
    bad = UnreadableRecords(8, 0.5)
    (batch,) = flat(loader(VanishingSource({"x": numbers(8)}), batch=8, bad=bad).batches(0, 1))
    assert len(batch) == 7
    (found,) = bad.values.values()
    assert (found.record, found.modality, found.kind) == ("1", "", "missing")


def test_modalities_are_not_asked_for_what_the_source_could_not_read():
    class Strict(VectorModality):
        def decode(self, raw):
            assert not isinstance(raw, Unreadable)
            return super().decode(raw)

    source = ArraysSource({"x": [Unreadable("gone", "missing"), *numbers(7)]})
    (batch,) = flat(loader(source, modalities={"x": Strict()}, batch=8).batches(0, 1))
    assert len(batch) == 7
