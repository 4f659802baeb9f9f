import pytest

mlflow = pytest.importorskip("mlflow")

from sensorium.loggers.mlflow_run import MLflow  # noqa: E402


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The address of a database, and where its artifacts lie."""
    folder = tmp_path_factory.mktemp("mlflow")
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    client.create_experiment("birds", artifact_location=(folder / "artifacts").as_uri())
    return f"sqlite:///{folder}/mlflow.db", client


def test_one_run_has_metrics_parameters_and_artifacts_and_a_resume_continues_it(store, tmp_path):
    uri, client = store
    folder = tmp_path / "birds-1"
    folder.mkdir()
    table = folder / "knn.md"
    table.write_text("| accuracy |\n")
    recipe = {"train": {"epochs": 3.0}, "wide": {f"key-{i}": "x" * 300 for i in range(120)}}
    for step, ending in ((0, "interrupted"), (10, "finished")):
        logger = MLflow("birds", uri, tags={"team": "ours"})
        logger.start(folder, recipe, step)
        logger.log(step + 10, {"loss": 1.0 - step / 100, "val/retrieval/A->B R@1": 0.5, "val/ridge/RMSE ↓": 2.0})
        logger.log_file(table)
        logger.close(ending)
    (run,) = client.search_runs([client.get_experiment_by_name("birds").experiment_id])
    assert (run.info.run_name, run.info.status) == ("birds-1", "FINISHED")
    assert run.data.params["train.epochs"] == "3.0"
    assert len(run.data.params) == 121
    assert run.data.tags["team"] == "ours"
    assert {m: run.data.metrics[m] for m in ("val/retrieval/A to B R_1", "val/ridge/RMSE")} == {
        "val/retrieval/A to B R_1": 0.5,
        "val/ridge/RMSE": 2.0,
    }
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(m.step, m.value) for m in history] == [(10, 1.0), (20, 0.9)]
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["knn.md"]


def test_an_interrupted_run_says_so(store, tmp_path):
    uri, client = store
    logger = MLflow("others", uri)
    logger.start(tmp_path, {}, 0)
    logger.close("interrupted")
    (run,) = client.search_runs([client.get_experiment_by_name("others").experiment_id])
    assert run.info.status == "KILLED"


def test_artifacts_lie_beside_the_database_and_its_making_says_nothing(tmp_path, monkeypatch, capfd):
    for name in ("here", "data base", "run"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for uri in (f"sqlite:///{tmp_path}/data base/a.db", "sqlite:///../data base/b.db"):
        logger = MLflow("our/birds", uri)
        logger.start(tmp_path / "run", {}, 0)
        (tmp_path / "run" / "knn.md").write_text("| accuracy |\n")
        logger.log_file(tmp_path / "run" / "knn.md")
        logger.close("finished")
    assert not list((tmp_path / "here").iterdir())
    assert len(list((tmp_path / "data base" / "mlruns" / "our_birds").rglob("knn.md"))) == 2
    assert "INFO" not in "".join(capfd.readouterr())
