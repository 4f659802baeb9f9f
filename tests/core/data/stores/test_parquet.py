"""Parquet and Arrow files: fragments, what is decoded how often, damage, partitions."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from sensorium import BadSample
from sensorium.data.stores.column_files import ParquetColumns
from sensorium.data.stores.parquet import ParquetSource
from sensorium.errors import DataError
from sensorium.types import Several


@pytest.fixture
def decoded(monkeypatch):
    """Return the row groups that were decoded."""
    read, groups = ParquetColumns.read, []
    monkeypatch.setattr(ParquetColumns, "read", lambda self, *args: groups.append(args[0]) or read(self, *args))
    return groups


def write(path, count=100, size=10, width=1, **options):
    x = [bytes([i % 251]) * width for i in range(count)]
    table = pa.table({"x": x, "n": range(count), "part": ["a"] * count})
    pq.write_table(table, path, row_group_size=size, **options)
    return str(path)


def test_a_batch_decodes_each_row_group_once_and_no_other(tmp_path, decoded):
    source = ParquetSource(write(tmp_path / "a.parquet"))
    records = source.read([95, 3, 91, 7, 3])
    assert [record.values["n"] for record in records] == [95, 3, 91, 7, 3]
    assert decoded == [0, 9]
    source.read([0, 99])
    assert decoded == [0, 9]


def test_row_groups_are_kept_within_the_memory_that_is_allowed(tmp_path, decoded):
    source = ParquetSource(write(tmp_path / "a.parquet", width=60_000), columns={"x": "x"}, cache_mb=2)
    for at in (0, 10, 20, 30, 31, 0):  # 0.6 MB each: three are kept
        source.read([at])
    assert decoded == [0, 1, 2, 3, 0]


def test_a_file_without_row_groups_has_no_records(tmp_path):
    table = pq.read_table(write(tmp_path / "a.parquet", count=3))
    with pq.ParquetWriter(tmp_path / "b.parquet", table.schema):
        pass
    assert [record.values["n"] for record in ParquetSource(str(tmp_path))] == [0, 1, 2]
    with pytest.raises(DataError, match="has no rows"):
        ParquetSource(str(tmp_path / "b.parquet"))


def test_only_columns_that_are_used_are_decoded(tmp_path, monkeypatch):
    source = ParquetSource(write(tmp_path / "a.parquet"), columns={"n": "n"})
    monkeypatch.setattr(
        ParquetColumns,
        "read",
        lambda self, group, columns: pytest.fail(f"{columns}") if "x" in columns else pa.table({"n": range(10)}),
    )
    assert source[4].values == {"n": 4}


def test_presence_is_known_where_statistics_say_that_all_have_a_value(tmp_path):
    table = {"full": ["a", "b"], "some": ["a", None], "blank": ["a", ""], "list": [[1], []]}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    source = ParquetSource(str(tmp_path / "a.parquet"))
    assert source.present("full").tolist() == [True, True]
    assert [source.present(name) for name in ("some", "blank", "list")] == [None] * 3


def test_a_damaged_row_group_is_named_and_the_others_are_read(tmp_path):
    path = tmp_path / "a.parquet"
    write(path, width=500, compression="none", use_dictionary=False, write_page_checksum=True)
    data = bytearray(path.read_bytes())
    at = data.index(bytes([15]) * 500)
    data[at : at + 3] = b"???"
    path.write_bytes(data)
    found = ParquetSource(str(path)).read([9, 15, 12, 20])
    assert [isinstance(record, BadSample) for record in found] == [False, True, True, False]
    assert f"row group 1 of '{path}' is damaged" in str(found[1])
    assert found[1].where.path == str(path)


def test_a_file_that_is_cut_short_is_refused(tmp_path):
    path = tmp_path / "a.parquet"
    write(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"cannot be read as Parquet: .*is it damaged, or cut short"):
        ParquetSource(str(path))


def test_row_groups_that_are_too_large_for_a_random_order_are_told(tmp_path):
    rng = np.random.default_rng(0)
    x = [rng.bytes(1 << 20) for _ in range(18)]
    pq.write_table(pa.table({"x": x}), tmp_path / "a.parquet", row_group_size=9, compression="none")
    assert ParquetSource(str(tmp_path / "a.parquet")).notes() == []  # all of it is kept
    (note,) = ParquetSource(str(tmp_path / "a.parquet"), cache_mb=8).notes()
    assert "hold 9 records and 9 MB each" in note
    assert "data.order={name: blocks}" in note


def test_folders_are_columns(tmp_path):
    for split in ("train", "test"):
        (tmp_path / f"split={split}").mkdir()
        write(tmp_path / f"split={split}" / "a.parquet", count=3)
    source = ParquetSource(str(tmp_path), columns={"n": "n", "where": "split"}, split="split")
    assert [(r.split, r.values["where"], r.values["n"]) for r in source][2:4] == [
        ("test", "test", 2),
        ("train", "train", 0),
    ]


def test_files_must_have_the_columns_that_are_used(tmp_path):
    write(tmp_path / "a.parquet")
    pq.write_table(pa.table({"x": [b"1"]}), tmp_path / "b.parquet")
    assert len(ParquetSource(str(tmp_path), columns={"x": "x"})) == 101
    with pytest.raises(DataError, match=r"There is no column 'n' in '.*b.parquet'"):
        ParquetSource(str(tmp_path), columns={"n": "n"})


def test_empty_row_groups_and_files_are_no_fragments(tmp_path):
    schema = pa.schema([("x", pa.string())])
    with pq.ParquetWriter(tmp_path / "a.parquet", schema) as writer:
        for texts in (["a"], [], ["b", "c"]):
            writer.write_table(pa.table({"x": texts}, schema=schema))
    pq.write_table(schema.empty_table(), tmp_path / "b.parquet")
    source = ParquetSource(str(tmp_path))
    assert source.fragments().tolist() == [0, 1, 3]
    assert [record.values["x"] for record in source] == ["a", "b", "c"]
    with pytest.raises(DataError, match="has no rows"):
        ParquetSource(str(tmp_path / "b.parquet"))


@pytest.mark.parametrize("form", ["file", "stream", "zstd"])
def test_arrow_files(tmp_path, form):
    table, path = pa.table({"x": [f"{i}" * 1000 for i in range(1000)], "y": range(1000)}), str(tmp_path / "a.arrow")
    if form == "stream":
        with pa.OSFile(path, "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=300)
    else:
        pyarrow.feather.write_feather(table, path, "zstd" if form == "zstd" else "uncompressed", chunksize=300)
    before = pa.total_allocated_bytes()
    source = ParquetSource(path, labels=["y"])
    assert source.fragments().tolist() == [0, 300, 600, 900, 1000]
    assert source[601] == source.read([601])[0]
    assert source[601].values["x"] == "601" * 1000
    assert source[601].labels == {"y": 601}
    if form != "zstd":
        assert pa.total_allocated_bytes() - before < 100_000  # of three megabytes, which are mapped


def test_class_names_of_a_hugging_face_dataset_are_labels(tmp_path):
    meta = b'{"info": {"features": {"y": {"names": ["no", "yes"], "_type": "ClassLabel"}, "x": {"dtype": "string"}}}}'
    table = pa.table({"x": ["a", "b", "c"], "y": [1, 0, -1]}).replace_schema_metadata({b"huggingface": meta})
    pq.write_table(table, tmp_path / "a.parquet")
    source = ParquetSource(str(tmp_path / "a.parquet"), labels={"kind": "y"})
    assert [source.key(i).labels for i in range(3)] == [{"kind": "yes"}, {"kind": "no"}, {}]


def test_class_names_of_a_hugging_face_dataset_are_groups_and_splits(tmp_path):
    features = {
        "g": {"names": ["no", "yes"], "_type": "ClassLabel"},
        "part": {"names": ["test", "train"], "_type": "ClassLabel"},
        "names": {"names": {"dtype": "string", "_type": "Value"}},  # a struct with an entry of that name
    }
    table = pa.table({"x": ["a", "b", "c"], "g": [1, 0, -1], "part": [1, 0, 1], "names": [{"names": "u"}] * 3})
    meta = {b"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(meta), tmp_path / "a.parquet")
    source = ParquetSource(str(tmp_path / "a.parquet"), group="g", split="part")
    keys = [source.key(i) for i in range(3)]
    assert [(key.group, key.split) for key in keys] == [("yes", "train"), ("no", "test"), (None, "train")]


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_columns_may_have_points_in_their_names(tmp_path, ending):
    table = pa.table({"a.b": ["x", "y"], "a": [{"b": 1, "c": 2}, {"b": 3, "c": 4}], "a.c": [1, None], "d.e": ["u", ""]})
    path = tmp_path / f"a.{ending}"
    pq.write_table(table, path) if ending == "parquet" else pyarrow.feather.write_feather(table, path, "uncompressed")
    source = ParquetSource(str(path), columns={"b": "a.b", "a": "a", "c": "a.c"}, labels=["d.e"])
    assert source[0].values == {"b": "x", "a": {"b": 1, "c": 2}, "c": 1}
    assert source[1].values == {"b": "y", "a": {"b": 3, "c": 4}}
    assert source[0].labels == {"d.e": "u"}
    assert ParquetSource(str(path), columns={"b": "a.b"})[1].values == {"b": "y"}
    known = {field: source.present(field) for field in source.fields}
    assert known["a"] is known["c"] is None
    assert ending == "arrow" or known["b"].all()


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    pq.write_table(pa.table([["a"], ["b"]], names=["x", "x"]), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"There are 2 columns named 'x' in .*a.parquet"):
        ParquetSource(str(tmp_path / "a.parquet"))


TEXTS = (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string()))


def write_types(folder, arrays):
    for number, array in enumerate(arrays):
        pq.write_table(pa.table({"x": ["a"] * len(array), "k": array}), folder / f"{number}.parquet")
    return str(folder)


def test_text_is_text_however_a_file_stores_it(tmp_path):
    path = write_types(tmp_path, [pa.array(["u", None]).cast(kind) for kind in TEXTS])
    source = ParquetSource(path, labels=["k"], group="k")
    keys = [source.key(i) for i in range(8)]
    assert [key.labels.get("k") for key in keys] == ["u", None] * 4
    assert [key.group for key in keys] == ["u", None] * 4


def test_files_whose_columns_have_types_that_do_not_go_together_are_named(tmp_path):
    path = write_types(tmp_path, [pa.nulls(1), pa.array([1]), pa.array([2]), pa.array(["u"])])
    with pytest.raises(
        DataError, match=r"'k' is of the type int64 in '.*1.parquet', but of the type string in '.*3.parquet'"
    ):
        ParquetSource(path, labels=["k"])


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_views_of_text_and_bytes_are_text_and_bytes(tmp_path, ending):
    kinds = {
        "text": pa.string_view(),
        "bytes": pa.binary_view(),
        "texts": pa.list_(pa.string_view()),
        "file": pa.struct([("bytes", pa.binary_view()), ("path", pa.string_view())]),
    }
    cells = {"text": "a", "bytes": b"b", "texts": ["c", "d"], "file": {"bytes": b"e", "path": "f"}}
    table = pa.table({name: pa.array([cells[name], None], kind) for name, kind in kinds.items()})
    path = tmp_path / f"a.{ending}"
    pq.write_table(table, path) if ending == "parquet" else pyarrow.feather.write_feather(table, path, "uncompressed")
    whole, empty = ParquetSource(str(path)).read([0, 1])
    assert whole.values == {"text": "a", "bytes": b"b", "texts": Several(["c", "d"]), "file": b"e"}
    assert empty.values == {}
