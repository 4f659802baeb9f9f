import gzip
import json
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sensorium.data.table import TableSource
from sensorium.errors import DataError
from sensorium.types import Unreadable

CSV = 'name,caption,kind,part\na,"a ""dog"",\nrunning",1,train\nb,,2,test\nc,NA,,validation\n'


@pytest.fixture
def file(tmp_path):
    """Write one file and return its path."""

    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def parquet(path, **columns):
    pq.write_table(pa.table(columns), path, row_group_size=2)
    return str(path)


def test_csv(file):
    source = TableSource(file("d.csv", CSV), id="name", labels={"k": "kind"}, split="part")
    assert source.fields == ("caption",)
    assert [r.id for r in source] == ["a", "b", "c"]
    # A quoted newline is text, an empty cell is missing, "NA" is a word.
    assert [r.values["caption"] for r in source] == ['a "dog",\nrunning', None, "NA"]
    assert [r.labels for r in source] == [{"k": 1}, {"k": 2}, {}]
    assert [r.split for r in source] == ["train", "test", "val"]
    assert source.present("caption").tolist() == [True, False, True]


def test_text_cells_stay_text(file):
    source = TableSource(file("d.csv", "code\n007\n1e3\ntrue\n2020-01-01\n"))
    assert [r.values["code"] for r in source] == ["007", "1e3", "true", "2020-01-01"]
    rows = [{"code": "007"}, {"code": "2020-01-01"}]
    source = TableSource(file("d.jsonl", "\n".join(map(json.dumps, rows))))
    assert [r.values["code"] for r in source] == ["007", "2020-01-01"]


def test_csv_dialects(file):
    expected = [{"a": "x", "b": "1"}, {"a": "y,z", "b": "2"}]
    bodies = {
        "bom.csv": ('\ufeffa,b\r\nx,1\r\n"y,z",2\r\n', {}),
        "semicolon.csv": ("a;b\nx;1\ny,z;2\n", {"delimiter": ";"}),
        "tabs.tsv": ("a\tb\nx\t1\ny,z\t2\n", {}),
        "headless.csv": ('x,1\n"y,z",2\n', {"header": ["a", "b"]}),
        "odd.data": ('a,b\nx,1\n"y,z",2\n', {"format": "csv"}),
    }
    for name, (body, options) in bodies.items():
        assert [dict(r.values) for r in TableSource(file(name, body), **options)] == expected, name
    zipped = file("z.csv.gz", gzip.compress(b'a,b\nx,1\n"y,z",2\n'))
    assert [dict(r.values) for r in TableSource(zipped)] == expected


def test_jsonl(file):
    rows = [{"series": [1.0, 2.5], "y": 1}, {"series": [3.0], "y": None}, {"y": 3}]
    source = TableSource(file("d.jsonl", "\n\n".join(map(json.dumps, rows))), columns={"x": "series"}, labels=["y"])
    assert [r.values["x"] for r in source] == [[1.0, 2.5], [3.0], None]
    assert [r.labels for r in source] == [{"y": 1}, {}, {"y": 3}]


def test_parquet_of_bytes_and_paths(tmp_path):
    images = [{"bytes": b"\x89", "path": None}, {"bytes": None, "path": "b.png"}, {"bytes": None, "path": None}, None]
    path = parquet(tmp_path / "d.parquet", image=images, raw=[b"a", b"", None, b"d"], label=[0, 1, 1, 0])
    source = TableSource(path, labels=["label"], classes={"label": ["cat", "dog"]})
    assert [r.values["image"] for r in source] == [b"\x89", "b.png", None, None]
    assert [r.values["raw"] for r in source] == [b"a", None, None, b"d"]
    assert source.present("image").tolist() == [True, True, False, False]
    assert source.present("raw").tolist() == [True, False, False, True]
    assert [r.labels["label"] for r in source] == ["cat", "dog", "dog", "cat"]
    assert source.root == str(tmp_path)
    assert [r.id for r in pickle.loads(pickle.dumps(source))] == ["0", "1", "2", "3"]


def test_a_file_for_each_split(tmp_path):
    files = {
        "train": [parquet(tmp_path / f"{i}.parquet", x=[f"{i}a", f"{i}b"]) for i in range(2)],
        "validation": parquet(tmp_path / "v.parquet", x=["v"]),
    }
    source = TableSource(splits=files)
    assert [(r.id, r.split, r.values["x"]) for r in source] == [
        ("train/0", "train", "0a"),
        ("train/1", "train", "0b"),
        ("train/2", "train", "1a"),
        ("train/3", "train", "1b"),
        ("val/4", "val", "v"),
    ]


def test_groups(file):
    source = TableSource(file("d.csv", "x,g\na,1\nb,1\nc,\n"), group="g")
    assert [r.group for r in source] == ["1", "1", None]


@pytest.mark.parametrize(
    ("name", "content", "options", "sentence"),
    [
        ("d.csv", CSV, {"columns": {"text": "captoin"}}, r"has no column 'captoin', did you mean 'caption'\?"),
        ("d.csv", CSV, {"columns": {"text": "zzz"}}, "its columns are: name, caption, kind, part"),
        ("d.csv", CSV, {"columns": {}, "labels": ["zzz"]}, "has no column 'zzz'"),
        ("d.csv", "a,a\n1,2\n", {}, "has 2 columns named 'a'"),
        ("d.csv", "a,b\n1,2,3\n", {}, "No row of .* can be read; .*line 2 cannot be read: it has 3 cells, not 2"),
        ("d.csv", b"\xff\xe4\n1\n", {}, r"The first line of .* character 1 is the byte 0xff.* data\.source\.encoding"),
        ("d.csv", "", {}, "is empty"),
        ("d.csv", "a,b\n", {}, "has no rows"),
        ("d.csv", "a,b\nx,1\ny,2\nx,3\n", {"id": "a"}, "The id 'x' occurs twice in column 'a'"),
        ("d.csv", "a,b\nx,1\n,2\n", {"id": "a"}, "Row 2 of .* has an empty id"),
        ("d.csv", "a,b\nx,holdout\n", {"split": "b"}, "has the split 'holdout'"),
        ("d.csv", "a,b\nx,5\n", {"labels": ["b"], "classes": {"b": ["p", "q"]}}, "has the value 5"),
        ("d.parquet", "PAR1 but no Parquet", {}, "cannot be read as PARQUET"),
        ("d.csv.gz", "not gzip", {}, "cannot be read as CSV"),
        ("d.jsonl", '{"a": ', {}, "Line 1 of .* is not JSON"),
        ("d.jsonl", "[1]", {}, "Line 1 of .* is not a JSON object"),
        (
            "d.jsonl",
            '{"a": 1}\n{"a": [2]}',
            {},
            r"column 'a' holds 1 in line 1 of .* and \[2\] in line 2 of .*one type",
        ),
        ("d.xls", "a", {}, "ends in none of"),
    ],
)
def test_invalid_files_are_refused(file, name, content, options, sentence):
    path = file(name, content)
    with pytest.raises(DataError, match=sentence) as caught:
        TableSource(path, **options)
    assert path in str(caught.value)


def test_invalid_options_are_refused(tmp_path, file):
    with pytest.raises(DataError, match=r"nowhere\.csv' does not exist"):
        TableSource(str(tmp_path / "nowhere.csv"))
    with pytest.raises(DataError, match="is a folder, not a file"):
        TableSource(str(tmp_path))
    with pytest.raises(DataError, match="takes either path"):
        TableSource()
    with pytest.raises(DataError, match="takes either path"):
        TableSource("a.csv", splits={"train": "b.csv"})
    with pytest.raises(DataError, match="names 'holdout'"):
        TableSource(splits={"holdout": "b.csv"})
    with pytest.raises(DataError, match="empty list of files"):
        TableSource([])
    with pytest.raises(DataError, match="columns of different types"):
        TableSource([file("a.jsonl", '{"x": 1}'), file("b.jsonl", '{"x": [1]}')])


def test_several_numeric_columns_are_one_value(file):
    rows = "a,b,c,class\n1,2.5,x,0\n,3,y,1\n,,z,1\n"
    source = TableSource(file("d.csv", rows), columns={"row": ["b", "a"], "word": "c"}, labels=["class"])
    assert source.fields == ("row", "word")
    assert source[0].values["row"].tolist() == [2.5, 1.0]
    assert source[0].values["word"] == "x"
    assert np.isnan(source[1].values["row"]).tolist() == [False, True]
    assert "row" not in source[2].values
    assert source.present("row").tolist() == [True, True, False]
    assert source[1].labels == {"class": 1}
    with pytest.raises(DataError, match=r"The column 'c' holds 'x' \(row 1 of .+\), which is no number"):
        TableSource(file("d.csv", rows), columns={"row": ["a", "c"]})
    with pytest.raises(DataError, match="the field 'row' an empty list"):
        TableSource(file("d.csv", rows), columns={"row": []})


def test_a_mapping_of_columns_is_one_value(file):
    rows = b"a,b,c,class\n1.5,x,2,k\n,,,l\n,\xff,3,m\n"
    source = TableSource(file("d.csv", rows), columns={"row": {"first": "a", "b": "b", "c": "c"}}, labels=["class"])
    assert source.fields == ("row",)
    assert source[0].values == {"row": {"first": 1.5, "b": "x", "c": 2}}
    assert source[1].values == {"row": None}
    assert source.present("row").tolist() == [True, False, True]
    unreadable = source[2].values["row"]
    assert isinstance(unreadable, Unreadable)
    assert str(source.locate(0, "row").column) == "a, b, c"
    assert source[0].labels == {"class": "k"}
    with pytest.raises(DataError, match="gives the field 'row' an empty mapping of columns"):
        TableSource(file("d.csv", rows), columns={"row": {}})
    keyed = TableSource(file("k.csv", "k,a,b\n1,2,x\n1,3,y\n2,,\n"), key="k", columns={"row": {"a": "a", "b": "b"}})
    assert [record.values["row"] for record in keyed] == [({"a": 2, "b": "x"}, {"a": 3, "b": "y"}), None]


def test_large_integers_in_a_list_of_columns_are_numbers(tmp_path):
    path = tmp_path / "large.parquet"
    pq.write_table(pa.table({"a": [2**60 + 1, 1], "b": [3, 4]}), path)
    source = TableSource(str(path), columns={"x": ["a", "b"]})
    assert source[0].values["x"].tolist() == [2.0**60, 3.0]


def test_large_parquet_files_are_better_read_by_another_source(tmp_path, monkeypatch):
    pq.write_table(pa.table({"x": ["a"]}), tmp_path / "a.parquet")
    assert TableSource(str(tmp_path / "a.parquet")).notes() == []
    monkeypatch.setattr("sensorium.data.table.LARGE", 10)
    (note,) = TableSource(str(tmp_path / "a.parquet")).notes()
    assert "data.source.name=parquet" in note


def test_class_labels_of_a_hugging_face_dataset_are_their_names(tmp_path):
    meta = b'{"info": {"features": {"k": {"names": ["no", "yes"], "_type": "ClassLabel"}}}}'
    table = pa.table({"x": ["a", "b", "c"], "k": [1, 0, -1]}).replace_schema_metadata({b"huggingface": meta})
    pq.write_table(table, tmp_path / "a.parquet")
    source = TableSource(str(tmp_path / "a.parquet"), labels=["k"], group="k")
    keys = [source.key(i) for i in range(3)]
    assert [key.labels.get("k") for key in keys] == ["yes", "no", None]
    assert [key.group for key in keys] == ["yes", "no", None]
    other = TableSource(str(tmp_path / "a.parquet"), labels=["k"], classes={"k": ["n", "y"]})
    assert [other.key(i).labels.get("k") for i in range(3)] == ["y", "n", None]
