"""What an evaluation writes and says, while it runs and when it is stopped."""

import logging

import numpy as np
import pyarrow.parquet as pq
import pytest

import sensorium
from sensorium.evaluation.svm import SVM
from sensorium.runs.run import Run
from tests import toys

EVALUATORS = {"knn": {"k": 5}, "svm": {"Cs": [1.0]}, "health": None}


def fit(folder, overrides=(), recipe=None, **options):
    recipe = recipe or toys.recipe(evaluate={"evaluators": EVALUATORS}, train={"epochs": 1, "accelerator": "cpu"})
    return sensorium.fit(
        recipe, overrides, source=toys.vectors(), run_dir=folder, extensions=toys.extensions(), **options
    )


def evaluate(run, *overrides, **options):
    return sensorium.evaluate(
        run.folder, overrides=overrides, source=toys.vectors(), extensions=toys.extensions(), **options
    )


def test_each_step_has_a_line_and_each_table_comes_when_it_is_done(tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="sensorium"):
        run = fit(tmp_path / "run").run
    lines = [record.message for record in caplog.records]
    steps = [line.rpartition(":")[0] for line in lines if line.endswith(" s")]
    rows = [f"{name}, {row}" for name in EVALUATORS for row in ("baseline", "untrained", "trained")]
    assert [step for step in steps if ", " in step] == rows
    assert any(step.startswith("features of the test part (") for step in steps)
    table = next(number for number, line in enumerate(lines) if "## knn" in line)
    assert table < next(number for number, line in enumerate(lines) if line.startswith("svm, baseline"))

    predicted = pq.read_table(run.evaluations / "knn-predictions.parquet").to_pydict()
    assert list(predicted)[:7] == ["row", "model", "repetition", "fold", "id", "label", "prediction"]
    assert [name for name in predicted if name.startswith("score")] == [f"score {i}" for i in range(4)]
    trained = np.array([row == "trained" for row in predicted["row"]])
    hits = np.array(predicted["label"]) == np.array(predicted["prediction"])
    tables = evaluate(run)
    assert tables["knn"].row("trained").metrics["accuracy"].mean == pytest.approx(hits[trained].mean())
    classes = (run.evaluations / "knn-classes.csv").read_text().splitlines()
    assert classes[0] == "row,class,records,recall,precision,F1"
    assert "### trained, by class" in (run.evaluations / "knn.md").read_text()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, sensorium.errors.Interrupted])
def test_whoever_stops_keeps_what_is_done(tmp_path, monkeypatch, stop):
    def stopping(self, *_):
        raise stop("stopped")

    run = fit(tmp_path / "run", evaluate=False).run
    assert not run.evaluations.exists()
    shown = []
    monkeypatch.setattr(SVM, "learn", stopping)
    monkeypatch.setattr("sensorium.evaluation.run_evaluation.dry_run", lambda *_: {})
    with pytest.raises(sensorium.errors.Interrupted):
        evaluate(run, show=lambda table: shown.append(table.evaluator))
    assert shown == ["knn"]
    assert (run.evaluations / "knn.json").exists()
    left = Run.open(run.folder).status()
    assert list(left["failed_evaluators"]) == ["svm", "health"]
    assert "did not come to it" in left["failed_evaluators"]["health"]
    monkeypatch.undo()
    evaluate(run)
    assert Run.open(run.folder).status()["failed_evaluators"] == {}


def test_a_training_may_leave_evaluation_to_later(tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="sensorium"):
        run = fit(tmp_path / "run", ["data.test=0"], evaluate=False).run
    assert f"Not evaluated: measure with `sensorium evaluate {run.folder}`." in caplog.text
    assert run.status()["state"] == "finished"


def test_rows_to_compare_with_can_be_left_out(tmp_path):
    run = fit(tmp_path / "run", ["evaluate.baselines=off"]).run
    assert [row.name for row in evaluate(run)["knn"].rows] == ["chance", "trained"]


def test_a_sheet_that_cannot_be_drawn_costs_no_table(tmp_path, monkeypatch, caplog):
    def broken(*_, **__):
        raise OSError("no such font")

    monkeypatch.setattr("sensorium.evaluation.run_evaluation.draw_retrieval_sheets", broken)
    recipe = toys.pair_recipe(evaluate={"evaluators": {"retrieval": None}})
    run = fit(tmp_path / "run", recipe=recipe).run
    assert (run.evaluations / "retrieval.json").exists()
    assert "The contact sheets could not be drawn: OSError: no such font." in caplog.text


def test_left_out_groups_say_whether_pretraining_saw_them(tmp_path):
    run = fit(tmp_path / "run", evaluate=False).run
    protocol = "evaluate.evaluators={knn: {k: 5, label: class, protocol: {name: leave-one-group-out, by: class}}}"
    table = evaluate(run, protocol)["knn"]
    (sentence,) = [line for line in table.remarks if "transductive" in line]
    assert sentence.startswith("trained: transductive, pretraining saw the held-out groups, without labels (")
    assert "records in 4 groups of" in table.markdown()
    assert "pooled accuracy" in table.row("trained").metrics
    assert set(table.groups["trained"]) == {"0", "1", "2", "3"}
    table = evaluate(run, "evaluate.evaluators={knn: {k: 5, protocol: {name: kfold, folds: 3, repeats: 1}}}")["knn"]
    assert "pretraining saw the held-out folds" in "".join(table.remarks)
    assert "records in 3 folds of" in table.markdown()
    assert "pooled accuracy" not in table.row("trained").metrics


def test_the_given_protocol_may_be_named_in_a_recipe(tmp_path):
    """Its name is also what a recipe writes for objects that were handed in."""
    run = fit(tmp_path / "run", evaluate=False).run
    protocol = "{name: given, repeats: 2}"
    table = evaluate(run, f"evaluate.evaluators={{linear: {{label: class, protocol: {protocol}}}}}")["linear"]
    assert [len(scores) for scores in table.row("trained").metrics["accuracy"].scores] == [1, 1]
