"""Records of another source beside a run: their unreadable values are not those of its training."""

import pytest

import sensorium
from sensorium.api.run_records import OTHER
from sensorium.data.arrays import ArraysSource
from sensorium.runs.run import Run
from tests import toys

PAIRS = toys.vectors(count=60)


def vectors(torn=(), prefix="r"):
    values = ["torn" if row in torn else PAIRS[row].values["a"] for row in range(60)]
    labels = [PAIRS.key(row).labels["class"] for row in range(60)]
    return ArraysSource({"a": values}, {"class": labels}, [f"{prefix}{row}" for row in range(60)])


@pytest.mark.parametrize("what", ["evaluate", "embed"])
def test_unreadable_values_of_other_records_have_a_table_of_their_own(what, tmp_path):
    run, given = tmp_path / "run", {"extensions": toys.extensions()}
    recipe = toys.recipe() | {"train": {"epochs": 1, "accelerator": "cpu"}}
    sensorium.fit(recipe, ["data.max_bad=0.5"], source=vectors(range(8)), run_dir=run, **given)
    table = Run.open(run).unreadable_file
    before = table.read_text(encoding="utf-8")
    assert 0 < before.count("torn") <= 8
    other = {"source": vectors(range(10, 30), "x"), **given}
    if what == "evaluate":
        sensorium.evaluate(run, ["knn"], ["data.max_bad=0.5"], **other)
    else:
        sensorium.embed(run, tmp_path / "out.parquet", ["data.max_bad=0.5"], **other)
    assert table.read_text(encoding="utf-8") == before
    assert (run / OTHER).read_text(encoding="utf-8").count("torn") > 0
