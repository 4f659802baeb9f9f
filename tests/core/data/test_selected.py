"""Records that a file selects: they are those of the source, with everything that it says of them."""

from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sensorium
from sensorium.contracts import RecordColumns, Source
from sensorium.data.arrays import ArraysSource
from sensorium.data.selected import Selected, selected
from sensorium.data.splits import assign_parts, numbers_of
from sensorium.data.splits.by_time import ByTime
from sensorium.data.splits.random_split import RandomSplit
from sensorium.data.splits.stratified import Stratified
from sensorium.errors import DataError
from tests import toys


def source():
    ids = [f"r{i}" for i in range(6)]
    return ArraysSource({"a": [*"abcde", None]}, labels={"class": list(range(6))}, ids=ids, groups=list("xxyyzz"))


def write(path, **columns):
    pq.write_table(pa.table(columns), path)
    return str(path)


def test_rows_that_are_kept_are_the_records_in_the_order_of_the_source(tmp_path):
    path = write(tmp_path / "kept.parquet", id=["r4", "r1", "r0", "r5"], keep=[True, True, False, True])
    chosen = selected(source(), path)
    assert [record.id for record in chosen.columns().records()] == ["r1", "r4", "r5"]
    assert [record.group for record in chosen.columns().records()] == ["x", "z", "z"]
    assert [(record.id, record.values, record.labels) for record in chosen.read([2, 0])] == [
        ("r5", {"a": None}, {"class": 5}),
        ("r1", {"a": "b"}, {"class": 1}),
    ]
    assert chosen[1].id == "r4"
    assert chosen.key(2).id == "r5"
    assert chosen.fields == ("a",)
    assert "3 of 6 records are selected (data.select)" in chosen.notes()


def test_a_text_file_and_a_table_without_keep_list_ids(tmp_path):
    (tmp_path / "ids.txt").write_text("r3\n\n r0 \n")
    assert len(selected(source(), str(tmp_path / "ids.txt"))) == 2
    assert len(selected(source(), write(tmp_path / "ids.parquet", id=["r2"]))) == 1
    assert selected((whole := source()), None) is whole


def test_fragments_are_those_of_selected_records():
    class Stored(ArraysSource):
        def fragments(self):
            return np.array([0, 2, 4, 6])

    stored = Stored({"a": list("abcdef")})
    assert Selected(stored, np.array([0, 1, 5])).fragments().tolist() == [0, 2, 3]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"id": ["r0", "stranger"]}, "data.select names the record 'stranger', which the source does not have"),
        ({"name": ["r0"]}, "has no column 'id'; its columns: name"),
        ({"id": ["r0"], "keep": [False]}, "selects no record"),
    ],
)
def test_a_file_that_selects_nothing_of_the_source_is_refused(tmp_path, columns, said):
    with pytest.raises(DataError, match=said):
        selected(source(), write(tmp_path / "ids.parquet", **columns))


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(DataError, match=r"'no\.parquet' is no file of ids that can be read"):
        selected(source(), "no.parquet")


def test_a_training_sees_the_selected_records_and_its_parts_are_those_of_all(tmp_path):
    whole = toys.vectors(count=96)
    kept = [str(i) for i in range(96) if i % 3]
    (tmp_path / "ids.txt").write_text("\n".join(kept))
    recipe = toys.recipe() | {"train": {"steps": 1, "accelerator": "cpu"}, "evaluate": {"evaluators": {}}}
    recipe["data"] = recipe["data"] | {"select": str(tmp_path / "ids.txt")}
    options = {"source": whole, "extensions": toys.extensions()}
    sensorium.fit(recipe, run_dir=tmp_path / "run", **options)
    vectors = tmp_path / "vectors.parquet"
    assert sensorium.embed(tmp_path / "run", vectors, **options) == 64
    rows = pq.read_table(vectors, columns=["id", "split"]).to_pylist()
    assert [row["id"] for row in rows] == kept
    sensorium.embed(tmp_path / "run", tmp_path / "all.parquet", ["data.select=null"], **options)
    of_all = {row["id"]: row["split"] for row in pq.read_table(tmp_path / "all.parquet").to_pylist()}
    assert {row["id"]: row["split"] for row in rows} == {name: of_all[name] for name in kept}


@pytest.mark.parametrize("name", ["by-time", "stratified", "random"])
def test_what_is_selected_keeps_its_part_under_every_split(name):
    stamps = np.arange(100).astype("datetime64[s]").astype("datetime64[ns]")
    kinds, times = pa.array(list("ab") * 50), pa.array(stamps)
    columns = RecordColumns(100, None, {"kind": kinds}, None, None, times, times)
    whole = Told(columns)
    split = build_split(name)
    fractions = {"val": 0.1, "test": 0.1}
    of_all = numbers_of(assign_parts(whole, fractions, 0, split), 100)
    rows = np.flatnonzero((of_all > 0) | (np.arange(100) % 7 == 0))
    of_some = numbers_of(assign_parts(Selected(whole, rows), fractions, 0, split), len(rows))
    assert of_some.tolist() == of_all[rows].tolist()


class Told(Source):
    """Records without values, of which the columns are told."""

    fields = ("x",)

    def __init__(self, columns):
        self._columns = columns

    def __len__(self):
        return len(self._columns)

    def __getitem__(self, index):
        return self.key(index)

    def columns(self):
        return self._columns


def build_split(name):
    return {"by-time": ByTime, "stratified": partial(Stratified, by="kind"), "random": RandomSplit}[name]()
