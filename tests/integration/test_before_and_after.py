"""Tables of runs that start from weights: as they came beside untrained and trained, and what was forgotten."""

import json
import shutil

import pytest

import sensorium
from sensorium.errors import DataError, RecipeError, RunError
from sensorium.runs.checkpoint import Checkpoints
from tests import toys

EVALUATORS = {"knn": {"k": 5}, "health": None}
ROWS = ["chance", "baseline", "untrained", "as it came", "trained"]
STILL = {"lr": 1e-12, "weight_decay": 0.0}
"""Rates so small that what a run ends with is what it began with."""


def fit(folder, **changes):
    recipe = toys.recipe(**{"evaluate": {"evaluators": EVALUATORS}} | changes)
    return sensorium.fit(recipe, source=toys.vectors(), run_dir=folder, extensions=toys.extensions()).run


def fit_on(run):
    options = {"source": toys.vectors(), "extensions": toys.extensions(), "evaluate": False}
    copy = run.folder.with_name("longer")
    return sensorium.fit(resume=run.folder, overrides=["train.epochs=4"], run_dir=copy, **options).run


def tower(weights):
    return {"a": {"modality": "vector", "views": "noise", "encoder": "mlp", "weights": str(weights)}}


def evaluate(*runs, overrides=(), names=None, source=None):
    options = {"source": source or toys.vectors(), "extensions": toys.extensions(), "device": "cpu"}
    return sensorium.evaluate([run.folder for run in runs], names, overrides, **options)


def written(run, name):
    return json.loads((run.evaluations / f"{name}.json").read_text())


def metrics(run, row, name="knn"):
    return {key: value["mean"] for key, value in written(run, name)["rows"][row]["metrics"].items()}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A run from scratch, whose weights others start from."""
    return fit(tmp_path_factory.mktemp("first") / "run", seed=3, objective="vicreg")


@pytest.fixture(scope="module")
def continued(first, tmp_path_factory):
    """A run that starts from its weights."""
    return fit(tmp_path_factory.mktemp("continued") / "run", modalities=tower(first.folder))


def test_a_run_from_scratch_has_no_further_row(first):
    assert list(written(first, "knn")["rows"]) == [row for row in ROWS if row != "as it came"]
    assert not (first.evaluations / "forgetting.json").exists()
    assert "as it came" not in (first.evaluations / "knn.md").read_text()


def test_the_row_is_that_of_the_weights_before_the_first_step(first, continued, tmp_path):
    assert list(written(continued, "knn")["rows"]) == ROWS
    for name in EVALUATORS:
        assert metrics(continued, "as it came", name) == metrics(first, "trained", name)
        assert metrics(continued, "untrained", name) not in (metrics(continued, row, name) for row in ROWS[3:])
    scratch = fit(tmp_path / "scratch", train={"steps": 1, "accelerator": "cpu"})
    assert metrics(continued, "untrained", "health") == metrics(scratch, "untrained", "health")
    still = fit(tmp_path / "still", modalities=tower(first.folder), optimizer=STILL)
    near = metrics(still, "as it came", "knn")
    assert metrics(still, "trained", "knn") == pytest.approx(near, abs=0.2)  # but for the statistics of batch norms


def test_what_training_changed_is_said_with_its_interval(continued):
    (sentence,) = [line for line in written(continued, "knn")["remarks"] if line.startswith("trained less as it came")]
    change = metrics(continued, "trained")["accuracy"] - metrics(continued, "as it came")["accuracy"]
    assert f"accuracy {change:+.3f}, 95 % interval " in sentence
    assert "(paired bootstrap over 12 records)" in sentence
    assert not any("less as it came" in line for line in written(continued, "health")["remarks"])  # no predictions


def test_features_of_the_first_step_are_kept_for_the_collapse_alarm(first, continued):
    starts = [Checkpoints(run.checkpoints, 1).latest().extra("alarm")["start"] for run in (first, continued)]
    assert not starts[0]
    assert starts[1].keys() == {"health/features/std", "health/features/rank"}
    resumed = fit_on(continued)
    assert Checkpoints(resumed.checkpoints, 1).latest().extra("alarm")["start"] == starts[1]


def test_a_warm_start_has_the_row_too(first, tmp_path):
    run = fit(tmp_path / "run", train={"steps": 2, "accelerator": "cpu", "warm_start": str(first.folder)})
    assert list(written(run, "knn")["rows"]) == ROWS
    assert run.status()["weights"]["a"]["where"] == str(first.folder)
    assert metrics(run, "as it came", "health") == metrics(first, "trained", "health")


def test_seeds_have_a_deviation_in_every_row(first, continued, tmp_path):
    other = fit(tmp_path / "other", modalities=tower(first.folder), seed=1)
    tables = evaluate(continued, other)
    table = tables["knn"]
    assert [row.name for row in table.rows] == ROWS
    assert table.row("as it came").metrics["accuracy"].std_over_seeds == 0
    assert table.row("untrained").metrics["accuracy"].std_over_seeds is not None
    assert len(tables["forgetting"].rows[0].metrics["a CKA"].scores) == 2


def test_weights_that_are_gone_or_changed_are_said(first, tmp_path):
    moved = shutil.copytree(first.folder, tmp_path / "weights")
    run = fit(tmp_path / "run", modalities=tower(moved), train={"steps": 2, "accelerator": "cpu"})
    before = written(run, "knn")["rows"]
    moved.rename(tmp_path / "elsewhere")
    table = evaluate(run)["knn"]
    assert [row.name for row in table.rows] == [row for row in ROWS if row != "as it came"]
    (sentence,) = [line for line in table.remarks if line.startswith("as it came: left out")]
    assert "There is no file or folder" in sentence
    assert f"`sensorium evaluate {run.folder} modalities.a.weights=PATH`" in sentence
    assert evaluate(run, overrides=[f"modalities.a.weights={tmp_path / 'elsewhere'}"])["knn"].public()["rows"] == before
    other = fit(tmp_path / "other", seed=9, train={"steps": 2, "accelerator": "cpu"})
    table = evaluate(run, overrides=[f"modalities.a.weights={other.folder}"])["knn"]
    assert "as it came" not in [row.name for row in table.rows]
    assert any("are not the weights that the training of 'a' began from" in line for line in table.remarks)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A table of other vectors, as a source that a recipe can name."""
    path = tmp_path_factory.mktemp("reference") / "records.csv"
    source = toys.vectors(seed=7)
    rows = [(source[i].values["a"], source[i].labels["class"]) for i in range(len(source))]
    lines = [f"other {i},{values},{label}\n" for i, (values, label) in enumerate(rows)]
    path.write_text("name,numbers,class\n" + "".join(lines))
    return {
        "source": {"name": "table", "path": str(path), "id": "name", "labels": ["class"]},
        "fields": {"a": "numbers"},
    }


def test_a_reference_set_is_measured_by_the_same_code(first, reference, tmp_path, caplog):
    evaluation = {"evaluators": {"knn": {"k": 5, "label": "class"}}, "reference": reference}
    run = fit(tmp_path / "run", modalities=tower(first.folder), evaluate=evaluation)
    table = written(run, "reference/knn")
    assert list(table["rows"]) == ROWS
    forgotten = written(run, "forgetting")
    assert list(forgotten["rows"]) == ["test part", "reference"]
    assert any(
        line == f"reference: split {table['split']} ({table['train']} train, {table['test']} test)."
        for line in forgotten["remarks"]
    )
    for row, name in (("test part", "knn"), ("reference", "reference/knn")):
        found = metrics(run, row, "forgetting")
        drop = metrics(run, "as it came", name)["accuracy"] - metrics(run, "trained", name)["accuracy"]
        assert found["knn accuracy drop"] == pytest.approx(drop)
        assert 0 < found["a cosine distance"] < 1
        assert found["a CKA"] < 1
        assert {"a RankMe before", "a RankMe after", "a std before", "a std after"} <= found.keys()
    assert any(line.startswith("Weights of 'a' moved by") for line in forgotten["remarks"])
    assert (run.evaluations / "reference" / "knn-predictions.parquet").exists()
    again = evaluate(run, names=["reference/knn"])
    assert {name: found.public()["rows"] for name, found in again.items()} == {"reference/knn": table["rows"]}
    with pytest.raises(RecipeError, match="There is no table 'reference/kn'"):
        evaluate(run, names=["reference/kn"])


def test_a_reference_set_that_cannot_be_measured_is_an_error_before_the_training(first, reference, tmp_path):
    def start(**changes):
        evaluation = {"evaluators": {"knn": {"k": 5, "label": "class"}}, "reference": {**reference, **changes}}
        fit(tmp_path / "run", modalities=tower(first.folder), evaluate=evaluation)

    with pytest.raises(DataError, match=r"Correct evaluate\.reference\.evaluators\.knn"):
        start(evaluators={"knn": {"label": "kind"}})
    with pytest.raises(DataError, match=r"evaluate\.reference\.test is 0"):
        start(test=0.0)
    with pytest.raises(RecipeError, match=r"evaluate\.reference\.fields names the modality 'b'"):
        start(fields={"b": "numbers"})
    assert not (tmp_path / "run").exists()


def test_features_that_did_not_move_have_no_distance(first, tmp_path):
    encoder = {"name": "mlp", "dropout": 0.0}
    frozen = {"a": {**tower(first.folder)["a"], "encoder": encoder, "frozen": True}}
    run = fit(tmp_path / "run", modalities=frozen, train={"steps": 2, "accelerator": "cpu"})
    found = metrics(run, "test part", "forgetting")
    assert found["a cosine distance"] == pytest.approx(0, abs=1e-6)
    assert found["a CKA"] == pytest.approx(1, abs=1e-6)
    assert found["a std before"] == found["a std after"]
    assert found["knn accuracy drop"] == 0


def test_fine_tuning_starts_from_the_weights_of_before_too(first, continued, tmp_path):
    known = {"source": toys.vectors(), "extensions": toys.extensions(), "device": "cpu"}
    brief = ["finetune.seeds=1", "finetune.epochs=1", "finetune.trees=5"]
    table = sensorium.finetune(continued.folder, brief, run_dir=tmp_path / "tuned", **known).table
    rows = ["untrained, linear probe", "from scratch", "as it came, linear probe", "as it came, fine-tuned"]
    assert [row.name for row in table.rows] == ["chance", "baseline", *rows, "linear probe", "fine-tuned"]
    assert any(line.startswith("fine-tuned less as it came, fine-tuned: accuracy") for line in table.remarks)
    with pytest.raises(RunError, match="The run started from random weights"):
        sensorium.finetune(first.folder, brief, start="weights", run_dir=tmp_path / "none", **known)
