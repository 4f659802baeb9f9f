"""An evaluator that fails costs its own table, never the training and never the tables of others."""

import json
import logging

import pytest

import sensorium
from sensorium.errors import DataError, EvaluationError, RecipeError
from sensorium.evaluation.dry_run import WIDTH
from sensorium.evaluation.knn import KNN
from sensorium.runs.run import Run
from tests import toys

EVALUATORS = {"knn": {"k": 5}, "health": None}


def fit(folder, overrides=(), **changes):
    recipe = toys.recipe(evaluate={"evaluators": EVALUATORS} | changes)
    return sensorium.fit(recipe, overrides, source=toys.vectors(), run_dir=folder, extensions=toys.extensions())


@pytest.fixture
def broken(monkeypatch):
    """KNN fails on what a model gives, with an error that nobody expects, until it is mended."""

    def measure(self, test):
        if test.features["a"].shape[1] != WIDTH:
            raise ZeroDivisionError("nothing to divide by")
        return {"accuracy": 0.5}

    def mend():
        monkeypatch.undo()

    monkeypatch.setattr(KNN, "measure", measure)
    return mend


def test_a_training_stays_finished_when_an_evaluator_fails(tmp_path, broken):
    with pytest.raises(EvaluationError) as error:
        fit(tmp_path / "run")
    run = Run.open(tmp_path / "run")
    assert str(error.value) == (
        "The evaluator 'knn' failed: ZeroDivisionError: nothing to divide by. The training is finished and its model "
        f"is kept: measure again with `sensorium evaluate {run.folder}`."
    )
    assert error.value.code == 7
    assert list(error.value.tables) == ["health"]
    assert run.status()["state"] == "finished"
    assert run.status()["failed_evaluators"] == {"knn": "ZeroDivisionError: nothing to divide by"}
    assert [path.name for path in sorted(run.evaluations.glob("*.json"))] == ["health.json"]

    broken()
    tables = sensorium.evaluate(run.folder, source=toys.vectors(), extensions=toys.extensions())
    assert list(tables) == ["knn", "health"]
    assert Run.open(run.folder).status()["failed_evaluators"] == {}
    assert (run.evaluations / "knn.json").exists()


def test_features_that_cannot_be_had_fail_every_evaluator(tmp_path, monkeypatch):
    def refuse(*_):
        raise DataError("The features are not finite.")

    monkeypatch.setattr("sensorium.evaluation.run_evaluation.RunEvaluation._read", refuse)
    with pytest.raises(EvaluationError, match=r"The evaluators 'knn', 'health' failed: the features are not finite\."):
        fit(tmp_path / "run")
    assert Run.open(tmp_path / "run").status()["state"] == "finished"


def test_during_training_a_failure_is_warned_of_once_and_the_training_goes_on(tmp_path, broken, caplog):
    with caplog.at_level(logging.WARNING, logger="sensorium"), pytest.raises(EvaluationError):
        fit(tmp_path / "run", ["checkpoint.best=knn/accuracy"], every=1)
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [
        "The evaluator 'knn' failed: ZeroDivisionError: nothing to divide by. "
        "The training goes on without these metrics."
    ]
    run = Run.open(tmp_path / "run")
    assert run.status()["state"] == "finished"
    lines = [json.loads(line) for line in run.metrics_file.read_text().splitlines()]
    measured = [line for line in lines if "val/health/a RankMe" in line]
    assert len(measured) == 3
    assert not any("val/knn/accuracy" in line for line in lines)


@pytest.mark.parametrize(
    ("overrides", "error", "sentence"),
    [
        (["evaluate.evaluators.knn.label=kind"], DataError, "no label 'kind'"),
        (["evaluate.every=1", "checkpoint.best=knn/acuracy"], RecipeError, "did you mean 'knn/accuracy'"),
        (["evaluate.evaluators.knn.k=0"], RecipeError, "'k' of the evaluator 'knn' must be at least 1, not 0"),
        (["evaluate.evaluators.knn.protocol=kfodl"], RecipeError, "did you mean 'kfold'"),
    ],
)
def test_what_cannot_be_measured_is_told_before_the_first_step(tmp_path, overrides, error, sentence):
    with pytest.raises(error, match=sentence):
        fit(tmp_path / "run", overrides)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
    assert not (tmp_path / "run" / "modalities").exists()  # nor was a modality fitted


def test_metrics_of_the_dry_run_are_those_of_the_evaluation(tmp_path):
    run = fit(tmp_path / "run", ["checkpoint.best=health/a RankMe"], every=1).run
    found = {n for line in run.metrics_file.read_text().splitlines() for n in json.loads(line) if n.startswith("val/")}
    assert found == {
        *(f"val/knn/{name}" for name in ("accuracy", "balanced accuracy", "macro-F1")),
        *(f"val/health/a {name}" for name in ("RankMe", "std", "uniformity ↓")),
    }
    assert (run.checkpoints / "best.json").exists()


def test_an_evaluation_of_chosen_evaluators_ignores_what_only_a_training_needs(tmp_path):
    run = fit(tmp_path / "run", ["checkpoint.best=knn/accuracy"], every=1).run
    tables = sensorium.evaluate(run.folder, ["health"], source=toys.vectors(), extensions=toys.extensions())
    assert list(tables) == ["health"]
    with pytest.raises(DataError, match="no label 'kind'"):
        sensorium.evaluate(
            run.folder,
            overrides=["evaluate.evaluators.knn.label=kind"],
            source=toys.vectors(),
            extensions=toys.extensions(),
        )
