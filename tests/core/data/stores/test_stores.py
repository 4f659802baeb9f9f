"""What all stores have in common: the records, wherever and however they are read."""

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from torch.utils.data import DataLoader

from sensorium.data.table import TableSource
from sensorium.errors import DataError, Location
from sensorium.registration.discovery import load_extensions
from tests.conformance import passed
from tests.core.data.stores.written import COUNT, KINDS, STORES, USES, rows, write_store

FRAGMENTS = {
    "parquet": [0, 10, 15, 23],
    "arrow": [0, 9, 18, 23],
    "lance": [0, 10, 20, 23],
    "webdataset": [0, 9, 18, 23],
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    return {name: write_store(name, folder / name) for name in STORES}


def opened(written, store):
    name, options = written[store]
    return load_extensions(found=[]).registry.find("sources", name).load()(**options)


@pytest.fixture(params=STORES)
def store(request):
    return request.param


@pytest.fixture
def source(written, store):
    return opened(written, store)


def test_stores_have_the_records_of_a_table(source, tmp_path):
    pq.write_table(rows(), tmp_path / "all.parquet")
    table = TableSource(str(tmp_path / "all.parquet"), **USES)
    assert [source[i] for i in range(len(source))] == [table[i] for i in range(len(table))]
    assert source.read([5, 0, 22, 5]) == [table[i] for i in (5, 0, 22, 5)]
    assert [source.key(i) for i in range(COUNT)] == [table.key(i) for i in range(COUNT)]
    assert source.fields == ("image", "text")


def test_stores_pass_the_kit(written, store):
    name, options = written[store]
    assert passed("sources", {f"sources/{name}": options}, only=f"source {name} ") >= 12


def test_fragments_are_those_of_the_store(source, store):
    assert (source.fragments() if store == "hf" else source.fragments().tolist()) == FRAGMENTS.get(store)


@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_open_a_store_that_is_open_already(written, store, start):
    source = opened(written, store)
    if start == "fork" and not source.fork_safe:
        start = "spawn"  # as the loader of a training does
    expected = source.read(range(COUNT))  # opens what a fork must not share
    batches = [range(at, min(at + 4, COUNT)) for at in range(0, COUNT, 4)]
    loader = DataLoader(source, batch_sampler=batches, num_workers=2, collate_fn=list, multiprocessing_context=start)
    assert [record for batch in loader for record in batch] == expected


def test_a_store_pickles_as_its_options_and_says_when_it_has_changed(tmp_path):
    name, options = write_store("parquet", tmp_path)
    source = opened({"one": (name, options)}, "one")
    pickled = pickle.dumps(source)
    assert len(pickled) < 1000
    assert pickle.loads(pickled)[3] == source[3]
    (tmp_path / "b.parquet").unlink()
    with pytest.raises(DataError, match="had 23 records when it was opened, and has 15 now"):
        pickle.loads(pickled)


def test_positions_outside_are_refused(source):
    with pytest.raises(IndexError, match="none at 23"):
        source.read([0, 23])
    assert source.read([-1])[0] == source[22]


def test_values_are_located(written):
    assert str(opened(written, "parquet").locate(16, "text")).endswith("b.parquet, line 2, column 'text'")
    assert str(opened(written, "lance").locate(16, "text")).endswith("all.lance, line 17, column 'text'")
    assert str(opened(written, "webdataset").locate(16, "image")).endswith("part-1.tar:r16.bin")
    assert isinstance(opened(written, "hf").locate(16, "text"), Location)


def write(tmp_path, **columns):
    pq.write_table(pa.table(columns), tmp_path / "some.parquet")
    return {"path": str(tmp_path / "some.parquet")}


def open_parquet(options, **more):
    return opened({"one": ("parquet", options | more)}, "one")


def test_labels_that_are_no_numbers_or_classes_are_left_out(tmp_path):
    y = pa.array([1.5, np.nan, np.inf, None])
    options = write(tmp_path, x=["a", "b", "c", "d"], y=y, k=[0, 2, -1, 1], e=["u", "", "v", None])
    source = open_parquet(options, labels=["y", "k", "e"], classes={"k": KINDS})
    assert [source.key(i).labels for i in range(4)] == [
        {"y": 1.5, "k": "ant", "e": "u"},
        {"k": "cat"},
        {"e": "v"},
        {"k": "bee"},
    ]
    assert "the label 'y' is left out of 1 records" in source.notes()[0]


@pytest.mark.parametrize(
    ("columns", "uses", "reason"),
    [
        ({"k": [0, 3]}, {"labels": ["k"], "classes": {"k": ["a"]}}, "has the value 3, but data.source.classes names 1"),
        ({"k": ["u", ""]}, {"id": "k"}, "Row 2 of .* has an empty id in column 'k'"),
        ({"k": ["train", "later"]}, {"split": "k"}, "has the split 'later'; it must be train, val or test"),
        ({"k": [[1], [2]]}, {"group": "k"}, "whose cells cannot be groups"),
        ({"k": [1, 2]}, {"labels": ["kk"]}, "There is no column 'kk' in .*did you mean 'k'"),
        ({"k": ["1", "2"]}, {"columns": {"x": ["k"]}}, "has the type string, which is no number"),
        ({}, {"id": "x"}, "No column of .* is left for values"),
    ],
)
def test_columns_that_cannot_be_what_they_are_used_for(tmp_path, columns, uses, reason):
    with pytest.raises(DataError, match=reason):
        open_parquet(write(tmp_path, x=["a", "b"], **columns), **uses)


def test_ids_without_a_column_are_numbers_behind_their_split(tmp_path):
    for part in ("train", "dev"):
        pq.write_table(pa.table({"x": [part] * 2}), tmp_path / f"{part}.parquet")
    files = {part: str(tmp_path / f"{part}.parquet") for part in ("train", "dev")}
    source = open_parquet({"splits": files})
    assert [(r.id, r.split, r.values["x"]) for r in source] == [
        *(("train/0", "train", "train"), ("train/1", "train", "train")),
        *(("val/2", "val", "dev"), ("val/3", "val", "dev")),
    ]


def test_values_of_several_columns(tmp_path):
    options = write(tmp_path, a=[1, None, None], b=[2.5, 3.5, None], s=["u", "", None], v=[[1.0], [2.0, 3.0], []])
    source = open_parquet(options, columns={"x": ["a", "b"], "m": {"p": "a", "q": "s"}, "v": "v"})
    first, second, third = source
    assert first.values["x"].tolist() == [1, 2.5]
    assert first.values["m"] == {"p": 1, "q": "u"}
    assert np.isnan(second.values["x"][0])
    assert second.values["v"].tolist() == [2, 3]
    assert "m" not in second.values
    assert not {"x", "m"} & third.values.keys()


def test_text_in_another_encoding_is_an_unreadable_value(tmp_path):
    torn = pa.StringArray.from_buffers(2, pa.py_buffer(np.array([0, 1, 2], np.int32)), pa.py_buffer(b"a\xff"))
    source = open_parquet(write(tmp_path, x=torn))
    assert source[0].values["x"] == "a"
    assert source[1].values["x"].kind == "encoding"
    assert source[1].values["x"].where == source.locate(1, "x")


def test_an_empty_list_is_a_missing_value(tmp_path):
    lists = {"floats": [[1.0], []], "numbers": [[1], []], "texts": [["a"], []]}
    options = write(tmp_path, **lists)
    for source in (open_parquet(options), TableSource(**options)):
        assert source[0].values.keys() == lists.keys()
        assert not any(value is not None for value in source[1].values.values())
    mapped = {"columns": {"m": {"p": "floats", "q": "numbers"}}}
    for source in (open_parquet(options, **mapped), TableSource(**options, **mapped)):
        assert source[1].values.get("m") is None
