"""`sensorium predict`: what finetune predicted for the test part, from any source, streamed, with names of classes."""

from __future__ import annotations

import csv
import json
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sensorium
from sensorium.cli.main import main
from sensorium.errors import DataError, RunError
from sensorium.finetuning import prediction_file
from sensorium.finetuning.prediction_file import prediction_rows, write_predictions_file
from tests import toys
from tests.core.finetuning.test_finetuner import BRIEF, QUICK, Marked

TASKS = {
    "classification": [],
    "regression": ["finetune.task=regression", "finetune.labels=[size]"],
    "multitask": ["finetune.task=multitask", "finetune.labels=[even,big]"],
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The pretrained run, and a fine-tuned one of each task."""
    folder = tmp_path_factory.mktemp("runs")
    sensorium.fit(toys.recipe(), source=toys.vectors(), run_dir=folder / "toy", extensions=toys.extensions())
    for task, changes in TASKS.items():
        sensorium.finetune(
            folder / "toy",
            [*QUICK, *BRIEF, *changes],
            source=Marked(),
            run_dir=folder / task,
            start="trained",
            extensions=toys.extensions(),
        )
    return folder


def predicted(run, out, source=None, *changes, **options):
    source = Marked() if source is None else source
    return sensorium.predict(run, source, out, changes, extensions=toys.extensions(), **options)


def of_finetune(run):
    table = pq.read_table(run / "evaluations/finetune-predictions.parquet").to_pandas()
    return table[table["row"] == "fine-tuned"]


def test_classes_are_those_that_finetune_predicted_bit_for_bit(runs, tmp_path):
    run = runs / "classification"
    done = predicted(run, tmp_path / "out.parquet", part="test")
    rows, theirs = pq.read_table(tmp_path / "out.parquet").to_pandas(), of_finetune(run)
    assert rows["id"].tolist() == theirs["id"].tolist()
    assert rows["prediction"].tolist() == theirs["prediction"].astype(int).tolist(), "classes keep their type"
    temperature = sensorium.load_predictor(run, toys.extensions()).temperature
    logits = theirs[[f"score {name}" for name in range(4)]].to_numpy(np.float32) / np.float32(temperature)
    expected = [
        list(p.values()) for p in map(sensorium.load_predictor(run, toys.extensions()).task.to_prediction, logits)
    ]
    assert rows[[f"probability.{name}" for name in range(4)]].to_numpy().tolist() == expected
    assert done.counts["prediction"] == rows["prediction"].value_counts().to_dict()


def test_numbers_and_several_labels(runs, tmp_path):
    predicted(runs / "regression", tmp_path / "size.parquet", part="test")
    rows, theirs = pq.read_table(tmp_path / "size.parquet").to_pandas(), of_finetune(runs / "regression")
    assert list(rows) == ["id", "prediction"]
    assert rows["prediction"].tolist() == pytest.approx(theirs["prediction"].tolist(), rel=1e-6)
    predicted(runs / "multitask", tmp_path / "two.parquet", part="test")
    rows, theirs = pq.read_table(tmp_path / "two.parquet").to_pandas(), of_finetune(runs / "multitask")
    assert list(rows) == ["id", "prediction.even", "prediction.big", "probability.even", "probability.big"]
    even = theirs[theirs["task"] == "even"]
    assert rows["prediction.even"].tolist() == even["prediction"].tolist()
    assert (rows["probability.even"] > 0.5).astype(int).tolist() == rows["prediction.even"].tolist()


def test_a_table_of_other_records_without_labels_some_unreadable(runs, tmp_path):
    values = [toys.vectors()[at].values["a"] for at in range(5)] + ["no numbers"]
    with open(tmp_path / "new.csv", "w", newline="") as file:
        csv.writer(file).writerows([["id", "a"], *([f"r{at}", value] for at, value in enumerate(values))])
    columns = "data.source.columns={a: a}"
    done = predicted(runs / "classification", tmp_path / "out.csv", str(tmp_path / "new.csv"), columns)
    assert (done.records, done.predicted, done.unreadable) == (6, 5, 1)
    with open(tmp_path / "out.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5
    assert sum(float(rows[0][f"probability.{name}"]) for name in range(4)) == pytest.approx(1)
    assert "no numbers" in (tmp_path / "out.unreadable.csv").read_text()
    assert "1 of 6 could not be read: they are in" in str(done)
    assert json.loads(json.dumps(done.public()))["unreadable"] == 1


def test_labels_need_not_be_there(tmp_path):
    rows = [{"id": f"r{at}", "a": toys.vectors()[at].values["a"], "kind": at % 2, "size": at} for at in range(40)]
    with open(tmp_path / "labeled.csv", "w", newline="") as file:
        written = csv.DictWriter(file, ["id", "a", "kind", "size"])
        written.writeheader()
        written.writerows(rows)
    (tmp_path / "new.csv").write_text("id,a\nx," + rows[0]["a"] + "\ny,\n")
    labeled = ["data.source={name: table, columns: {a: a}, labels: [kind, size]}"]
    labeled.append(f"data.source.path={tmp_path / 'labeled.csv'}")
    given = {"extensions": toys.extensions()}
    sensorium.fit(toys.recipe(), labeled, run_dir=tmp_path / "run", **given)
    changes = ["finetune.labels=[kind]", *QUICK[:2], *BRIEF, "finetune.trees=2"]
    sensorium.finetune(tmp_path / "run", changes, run_dir=tmp_path / "tuned", start="trained", **given)
    done = sensorium.predict(tmp_path / "tuned", str(tmp_path / "new.csv"), tmp_path / "out.csv", **given)
    assert (done.records, done.predicted, done.missing, done.unreadable) == (2, 1, 1, 0)
    assert "1 of 2 have no value." in str(done)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A folder of one table in several forms, and runs fine-tuned on it by one file, several, and one of each split."""
    folder = tmp_path_factory.mktemp("tables")
    names = ["train"] * 24 + ["test"] * 16
    table = pa.table(
        {
            "name": [f"r{at}" for at in range(40)],
            "words": [toys.vectors()[at].values["a"] for at in range(40)],
            "kind": [f"of {at % 2}" for at in range(40)],
            "part": names,
        }
    )
    parts = {"all": table, "train": table.slice(0, 24), "test": table.slice(24)}
    for name, rows in parts.items():
        pq.write_table(rows, folder / f"{name}.parquet")
        rows.to_pandas().to_csv(folder / f"{name}.csv", index=False)
        rows.to_pandas().to_json(folder / f"{name}.jsonl", orient="records", lines=True)
    paths = {
        "one": f"path: {folder}/all.csv, split: part",
        "several": f"path: [{folder}/train.csv, {folder}/test.csv], split: part",
        "of splits": f"splits: {{train: {folder}/train.csv, test: {folder}/test.csv}}",
        "parquet": f"path: {folder}/all.parquet, split: part",
    }
    given = {"extensions": toys.extensions()}
    for name, path in paths.items():
        source = "parquet" if name == "parquet" else "table, delimiter: ',', format: csv"
        source = f"data.source={{name: {source}, {path}, columns: {{a: words}}, id: name, labels: [kind]}}"
        sensorium.fit(toys.recipe(), [source], run_dir=folder / f"{name}-run", evaluate=False, **given)
        changes = ["finetune.labels=[kind]", *QUICK[:2], *BRIEF, "finetune.trees=2"]
        sensorium.finetune(folder / f"{name}-run", changes, run_dir=folder / name, start="trained", **given)
    return folder


def rows_of(tables, run, source, tmp_path, **options):
    out = tmp_path / "out.parquet"
    sensorium.predict(tables / run, str(tables / source), out, extensions=toys.extensions(), **options)
    return pq.read_table(out).to_pydict()


@pytest.mark.parametrize("run", ["one", "several", "parquet"])
@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_table_of_any_ending_is_read_with_the_options_of_the_run(tables, tmp_path, run, ending):
    rows = rows_of(tables, run, f"all.{ending}", tmp_path, part="test")
    assert rows["id"] == of_finetune(tables / run)["id"].tolist() == [f"r{at}" for at in range(24, 40)]
    assert rows["prediction"] == of_finetune(tables / run)["prediction"].tolist()
    assert len(rows_of(tables, run, f"all.{ending}", tmp_path)["id"]) == 40


def test_a_file_of_each_split(tables, tmp_path):
    theirs = of_finetune(tables / "of splits")
    for ending in ("csv", "parquet"):
        assert rows_of(tables, "of splits", f"test.{ending}", tmp_path)["id"] == theirs["id"].tolist()
    rows = rows_of(tables, "of splits", "test.csv", tmp_path, part="test")
    assert (rows["id"], rows["prediction"]) == (theirs["id"].tolist(), theirs["prediction"].tolist())
    with pytest.raises(DataError, match=r"and '.*all.csv' is not that of part 'test': .*\(--part all\)"):
        rows_of(tables, "of splits", "all.csv", tmp_path, part="test")


def test_records_without_the_ids_of_the_run_are_named_by_their_row(tables, tmp_path, caplog):
    table = pq.read_table(tables / "all.parquet")
    pq.write_table(table.select(["words"]), tables / "unnamed.parquet")
    assert rows_of(tables, "one", "unnamed.parquet", tmp_path)["id"] == [str(row) for row in range(40)]
    assert "has no column 'name', the run's ids: its records are named by their row" in caplog.text


def test_columns_of_labels_do_not_become_channels(tmp_path):
    rows = [(f"s{at}", step, np.sin(step * (0.2 + at % 2)), "ab"[at % 2]) for at in range(24) for step in range(8)]
    table = pa.table(dict(zip(["name", "time", "x", "kind"], map(list, zip(*rows, strict=True)), strict=True)))
    pq.write_table(table, tmp_path / "labeled.parquet")
    source = f"{{name: series-table, path: {tmp_path}/labeled.parquet, id: name, time: time, labels: [kind]}}"
    changes = [f"data.source={source}", "train.steps=1", "data.batch=8"]
    sensorium.fit("ts2vec", changes, run_dir=tmp_path / "run", evaluate=False)
    changes = ["finetune.labels=[kind]", *QUICK[:2], *BRIEF, "finetune.trees=2"]
    sensorium.finetune(tmp_path / "run", changes, run_dir=tmp_path / "tuned", start="trained")
    table.to_pandas().to_csv(tmp_path / "labeled.csv", index=False)
    done = sensorium.predict(tmp_path / "tuned", str(tmp_path / "labeled.csv"), tmp_path / "out.csv")
    assert (done.records, done.predicted) == (24, 24)


def test_memory_holds_one_row_group(tmp_path, monkeypatch):
    """Batches are asked for one by one, and written before the next row group is made."""
    monkeypatch.setattr(prediction_file, "ROWS", 4)
    written = []
    write = pq.ParquetWriter.write_table

    def spied(self, table, *args, **options):
        written.append(len(table))
        return write(self, table, *args, **options)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", spied)
    seen = []

    def batches():
        for start in range(0, 10, 2):
            seen.append(sum(written))
            yield {"id": [str(start), str(start + 1)], "prediction": ["x", "y"]}

    assert write_predictions_file(tmp_path / "out.parquet", batches())[0] == 10
    assert written == [4, 4, 2]
    assert seen == [0, 0, 4, 4, 8]


def test_classes_of_several_types_are_words_in_every_row_group(tmp_path, monkeypatch):
    monkeypatch.setattr(prediction_file, "ROWS", 1)
    task = SimpleNamespace(takes_several_labels=False)

    def of(outputs_NK):
        return [{1: float(first), "none": 1 - float(first)} for first in outputs_NK[:, 0]]

    predictor = SimpleNamespace(task=task, predictions=of)
    batches = [prediction_rows(predictor, [str(at)], np.full((1, 1), at)) for at in (1.0, 0.0)]
    write_predictions_file(tmp_path / "out.parquet", batches)
    assert pq.read_table(tmp_path / "out.parquet")["prediction"].to_pylist() == ["1", "none"]


def test_a_failure_leaves_the_file_that_was_there(tmp_path):
    out = tmp_path / "out.csv"
    out.write_text("before")

    def batches():
        yield {"id": ["a"], "prediction": [1.0]}
        raise DataError("no more")

    with pytest.raises(DataError):
        write_predictions_file(out, batches())
    assert out.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_errors_say_what_to_do(runs, tmp_path):
    with pytest.raises(RunError, match=r"has no fine-tuned head: `sensorium finetune .*toy` makes one"):
        predicted(runs / "toy", tmp_path / "out.csv")
    with pytest.raises(RunError, match=r"ends in \.parquet or \.csv: .*out\.txt' does not"):
        predicted(runs / "toy", tmp_path / "out.txt")
    with pytest.raises(
        sensorium.SensoriumError, match="There is no file or folder 'nowhere', and no source of that name"
    ):
        predicted(runs / "classification", tmp_path / "out.csv", "nowhere")
    with pytest.raises(
        DataError, match="None of the 2 records can be predicted: the first, a of record '0': not numbers"
    ):
        predicted(runs / "classification", tmp_path / "out.csv", {"a": ["no numbers", "none"]})
    assert not (tmp_path / "out.csv").exists()


def test_the_command_hands_on_what_is_typed(monkeypatch, capsys):
    calls = []

    def predict(*given, **options):
        calls.append((given, options))
        return type("Done", (), {"public": lambda self: {"predicted": 3}, "__str__": lambda self: "said"})()

    monkeypatch.setattr("sensorium.api.predicting.predict", predict)
    for words, printed in (([], "said\n"), (["--json"], '{\n  "predicted": 3\n}\n')):
        with pytest.raises(SystemExit) as left:
            main(["predict", "runs/x", "new.csv", "out.csv", "data.workers=0", "--part", "test", *words])
        assert left.value.code == 0
        assert capsys.readouterr().out == printed
    (run, source, out, overrides), options = calls[0]
    assert (run, source, str(out), overrides) == ("runs/x", "new.csv", "out.csv", ["data.workers=0"])
    assert options == {"part": "test", "device": "auto"}
