"""Embeddings as files: arrays, or tables with ids, parts, labels, captions."""

import csv

import numpy as np
import pyarrow.parquet as pq
import pytest

import sensorium
from sensorium.errors import RunError, SensoriumError
from tests import toys


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return toys.train_pairs(tmp_path_factory.mktemp("embedding") / "run")


@pytest.fixture(scope="module")
def known():
    return {"source": toys.incomplete_pairs(), "extensions": toys.extensions()}


def test_every_format_has_the_same_numbers(run, known, tmp_path):
    for name in ("v.npz", "v.parquet", "v.csv"):
        assert sensorium.embed(run, tmp_path / name, **known) == 120
    arrays, table = np.load(tmp_path / "v.npz"), pq.read_table(tmp_path / "v.parquet").to_pylist()
    with (tmp_path / "v.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert arrays["ids"].tolist() == [row["id"] for row in table] == [row["id"] for row in rows]
    absent = 0
    for i, (of_table, of_csv) in enumerate(zip(table, rows, strict=True)):
        for name in ("a", "b"):
            if np.isnan(arrays[name][i]).all():
                absent += 1
                assert of_table[name] is None
                assert {of_csv[f"{name}.{n}"] for n in range(8)} == {""}
                continue
            np.testing.assert_array_equal(arrays[name][i], np.float32(of_table[name]))
            np.testing.assert_allclose(arrays[name][i], [float(of_csv[f"{name}.{n}"]) for n in range(8)], rtol=1e-5)
    assert 0 < absent < 60


def test_tables_have_parts_labels_and_captions(run, known, tmp_path):
    sensorium.embed(run, tmp_path / "v.parquet", part="test", **known)
    table = pq.read_table(tmp_path / "v.parquet").to_pylist()
    assert {row["split"] for row in table} == {"test"}
    for row in table:
        record = known["source"][int(row["id"])]
        assert row["label.class"] == record.labels["class"]
        assert (row["caption.a"], row["caption.b"]) == (record.values["a"], record.values["b"])
    sensorium.embed(run, tmp_path / "all.parquet", **known)
    assert set(pq.read_table(tmp_path / "all.parquet")["split"].to_pylist()) == {"train", "val", "test"}


def test_another_ending_is_refused_before_anything_is_read(run, known, tmp_path):
    with pytest.raises(RunError, match=r"ends in one of .parquet, .lance, .npz, .csv: '.*v.txt' does not"):
        sensorium.embed(run, tmp_path / "v.txt", **known)
    with pytest.raises(RunError, match=r"write .*n.parquet, not '.*n.csv'"):
        sensorium.mine(run, tmp_path / "n.csv", **known)
    assert not list(tmp_path.iterdir())


def test_a_part_or_a_space_that_is_not_there_is_named(run, known, tmp_path):
    with pytest.raises(SensoriumError, match="no part 'tests' of the split, did you mean 'test'"):
        sensorium.embed(run, tmp_path / "v.npz", part="tests", **known)
    with pytest.raises(SensoriumError, match="no space 'feature', did you mean 'features'"):
        sensorium.embed(run, tmp_path / "v.npz", space="feature", **known)
    assert not list(tmp_path.iterdir())
