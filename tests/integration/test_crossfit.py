"""Pretraining and evaluation once for each group left out: who sees what, what is joined, what a stop keeps."""

import logging

import numpy as np
import pyarrow.parquet as pq
import pytest

import sensorium
from sensorium.data.arrays import ArraysSource
from sensorium.errors import DataError, Interrupted, RunError
from sensorium.evaluation.knn import KNN
from sensorium.runs.run import Run
from tests import toys

KNN_OF_CLASS = {"knn": {"k": 5, "label": "class", "protocol": {"name": "leave-one-group-out", "by": "device"}}}
DEVICES = ["d1", "d2", "d/3"]


def source(**changes):
    made = toys.vectors()
    labels = {"class": [made.key(i).labels["class"] for i in range(96)], "device": [DEVICES[i % 3] for i in range(96)]}
    values = {"a": [made[i].values["a"] for i in range(96)]}
    return ArraysSource(values, labels=labels, splits=["test" if i < 9 else None for i in range(96)], **changes)


def crossfit(folder, **changes):
    recipe = toys.recipe(evaluate={"evaluators": KNN_OF_CLASS}, train={"epochs": 1, "accelerator": "cpu"}, **changes)
    return sensorium.crossfit(recipe, "device", source=source(), run_dir=folder, extensions=toys.extensions())


def test_each_group_is_left_out_of_pretraining_and_probes(tmp_path):
    table = crossfit(tmp_path / "all")["knn"]
    folders = sorted(path.name for path in (tmp_path / "all").iterdir() if path.is_dir())
    assert folders == ["device-d1", "device-d2", "device-d_3", "evaluations"]
    run = Run.open(tmp_path / "all" / "device-d2")
    assert "hold-out" in run.recipe_file.read_text()
    predicted = pq.read_table(run.evaluations / "knn-predictions.parquet").to_pydict()
    assert {int(id) % 3 for id in predicted["id"]} == {1}
    model = sensorium.load(run.folder, extensions=toys.extensions())
    assert model.run is not None

    assert np.shape(table.row("trained").metrics["accuracy"].scores) == (1, 3)
    joined = pq.read_table(tmp_path / "all/evaluations/knn-predictions.parquet").to_pandas()
    trained = joined[joined.row == "trained"]
    assert len(trained) == 96
    assert set(trained.fold) == set(DEVICES)
    pooled = table.row("trained").metrics["pooled accuracy"].mean
    assert pooled == pytest.approx(np.mean(trained.label == trained.prediction))
    assert "96 records in 3 groups of 32" in table.markdown()
    assert "Inductive: pretraining and probes of each group never saw it" in table.markdown()
    groups = (tmp_path / "all/evaluations/knn-groups.csv").read_text().splitlines()
    assert groups[0] == "row,group,accuracy,balanced accuracy,macro-F1"
    assert sum(line.startswith("trained,") for line in groups) == 3


def test_the_same_call_continues_and_trains_nothing_twice(tmp_path, monkeypatch, caplog):
    folder, measure, seen = tmp_path / "all", KNN.measure, []

    def stopping(self, test):
        seen.append(test.ids[0])
        if len(test) > 20 and int(test.ids[0]) % 3 == 1:  # the evaluation of d2
            raise Interrupted("stopped", 2)
        return measure(self, test)

    monkeypatch.setattr(KNN, "measure", stopping)
    monkeypatch.setattr("sensorium.evaluation.run_evaluation.dry_run", lambda *_: {})
    with pytest.raises(Interrupted, match=r"Stopped at device d2, 2 of 3 are finished and kept") as error:
        crossfit(folder)
    assert error.value.code == 130
    monkeypatch.undo()
    assert Run(folder / "device-d_3").status()["failed_evaluators"] == {}
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.ckpt")}
    with caplog.at_level(logging.INFO, logger="sensorium"):
        table = crossfit(folder)["knn"]
    assert f"The training in {folder / 'device-d_3'} is finished: no step is taken." in caplog.text
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(table.folds.held_out) == 3
    with pytest.raises(RunError, match="differs in recipe: choose another folder"):
        crossfit(folder, seed=7)


def test_a_label_of_one_value_or_none_is_refused(tmp_path):
    recipe, extensions = toys.recipe(evaluate={"evaluators": {"knn": {"k": 5}}}), toys.extensions()
    one = ArraysSource({"a": ["1 2 3 4 5 6 7 8"] * 6}, labels={"device": ["x"] * 6})
    with pytest.raises(DataError, match="'device' has one value, 'x'"):
        sensorium.crossfit(recipe, "device", source=one, run_dir=tmp_path / "run", extensions=extensions)
    with pytest.raises(sensorium.SensoriumError, match="no label 'devcie', did you mean 'device'"):
        sensorium.crossfit(recipe, "devcie", source=one, run_dir=tmp_path / "run", extensions=extensions)
    assert not (tmp_path / "run").exists()
